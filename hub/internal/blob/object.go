package blob

import (
	"cmp"
	"crypto/md5" //nolint:gosec // what the service computes and clients compare; no secret depends on it
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc64"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// defaultType is the type of bodies whose type is not told.
const defaultType = "application/octet-stream"

// putBlob serves Put Blob, of block blobs.
func (c *call) putBlob() error {
	h := c.r.Header
	switch kind := h.Get("x-ms-blob-type"); kind {
	case "BlockBlob":
	case "":
		return refuse(missingHeader, "HeaderName", "x-ms-blob-type")
	case "PageBlob", "AppendBlob":
		return refuse(notImplemented, "Reason", "The type "+kind+" is not among it.")
	default:
		return refuse(invalidHeaderValue, "HeaderName", "x-ms-blob-type", "HeaderValue", kind)
	}
	on, err := readConditions(h)
	if err != nil {
		return err
	}
	meta, err := readMetadata(h, c.spelling())
	if err != nil {
		return err
	}
	body, release, err := c.body()
	if err != nil {
		return err
	}
	defer release()
	sum, err := checkBody(h, body)
	if err != nil {
		return err
	}
	b := blob{name: c.target.blob, meta: meta, body: body, content: content{
		Type:        cmp.Or(h.Get("x-ms-blob-content-type"), h.Get("Content-Type"), defaultType),
		Encoding:    cmp.Or(h.Get("x-ms-blob-content-encoding"), h.Get("Content-Encoding")),
		Language:    cmp.Or(h.Get("x-ms-blob-content-language"), h.Get("Content-Language")),
		MD5:         cmp.Or(h.Get("x-ms-blob-content-md5"), sum),
		Cache:       cmp.Or(h.Get("x-ms-blob-cache-control"), h.Get("Cache-Control")),
		Disposition: h.Get("x-ms-blob-content-disposition"),
	}}
	at, err := c.account.store.putBlob(c.r.Context(), c.target.container, b, on, c.grant.overwrites())
	if err != nil {
		return err
	}
	c.stamped(at)
	c.w.Header().Set("Content-MD5", sum)
	c.encrypted()
	c.w.WriteHeader(http.StatusCreated)
	return nil
}

// body reads the body of a request. release is called when it is stored.
func (c *call) body() (body []byte, release func(), err error) {
	n, most := c.r.ContentLength, c.account.o.Limits.BlobBytes
	switch {
	case n < 0:
		return nil, nil, refuse(missingContentLength)
	case n > most:
		return nil, nil, refuse(requestBodyTooLarge, "MaxLimit", strconv.FormatInt(most, 10))
	case !c.account.uploads.TryAcquire(n):
		return nil, nil, refuse(serverBusy)
	}
	body = make([]byte, n)
	if _, err := io.ReadFull(c.r.Body, body); err != nil {
		c.account.uploads.Release(n)
		return nil, nil, refuse(invalidInput, "Reason", "The body did not arrive whole.")
	}
	return body, func() { c.account.uploads.Release(n) }, nil
}

// checkBody compares a body with the checksums that the client sent, and
// returns its MD5 in base64.
func checkBody(h http.Header, body []byte) (string, error) {
	hash := md5.Sum(body) //nolint:gosec // see the import
	sum := base64.StdEncoding.EncodeToString(hash[:])
	for _, name := range []string{"Content-MD5", "x-ms-blob-content-md5"} {
		sent := h.Get(name)
		if sent == "" {
			continue
		}
		if b, err := base64.StdEncoding.DecodeString(sent); err != nil || len(b) != md5.Size {
			return "", refuse(invalidMD5)
		}
		// The service does not check what is only to be stored.
		if name == "Content-MD5" && sent != sum {
			return "", refuse(md5Mismatch, "UserSpecifiedMd5", sent, "ServerCalculatedMd5", sum)
		}
	}
	if sent := h.Get("x-ms-content-crc64"); sent != "" {
		if have := storageCRC(body); sent != have {
			return "", refuse(crc64Mismatch, "UserSpecifiedCrc64", sent, "ServerCalculatedCrc64", have)
		}
	}
	return sum, nil
}

// storageCRC is the CRC-64 of the service, in base64.
func storageCRC(b []byte) string {
	sum := crc64.Checksum(b, crc64.MakeTable(0x9A6C9329AC4BC9B5))
	return base64.StdEncoding.EncodeToString(binary.LittleEndian.AppendUint64(nil, sum))
}

// encrypted says what the service says of all that it stores.
func (c *call) encrypted() { c.w.Header().Set("x-ms-request-server-encrypted", "true") }

// readable finds the blob of a request and checks the conditions of a read.
func (c *call) readable() (*blob, error) {
	on, err := readConditions(c.r.Header)
	if err != nil {
		return nil, err
	}
	b, err := c.account.store.getBlob(c.target.container, c.target.blob)
	if err != nil {
		return nil, err
	}
	if err := on.read(&b.stamp); err != nil {
		if e, ok := errors.AsType[*serviceError](err); ok && e.status == http.StatusNotModified {
			c.stamped(b.stamp)
		}
		return nil, err
	}
	return b, nil
}

// getBlob serves Get Blob and Get Blob Properties.
func (c *call) getBlob() error {
	b, err := c.readable()
	if err != nil {
		return err
	}
	h := c.w.Header()
	head := c.r.Method == http.MethodHead
	body, status := b.body, http.StatusOK
	if text := cmp.Or(c.r.Header.Get("x-ms-range"), c.r.Header.Get("Range")); text != "" && !head {
		from, to, ok := parseRange(text, len(b.body))
		if !ok {
			return refuse(invalidRange).with("Content-Range", fmt.Sprintf("bytes */%d", len(b.body)))
		}
		body, status = b.body[from:to], http.StatusPartialContent
		h.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, len(b.body)))
	}
	c.stamped(b.stamp)
	b.meta.write(h)
	c.describe(b, status == http.StatusPartialContent, body)
	if head {
		h.Set("x-ms-access-tier", "Hot")
		h.Set("x-ms-access-tier-inferred", "true")
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	c.w.WriteHeader(status)
	if !head {
		_, _ = c.w.Write(body)
	}
	return nil
}

// describe sets the headers about a blob's content, or about a part of it.
func (c *call) describe(b *blob, part bool, body []byte) {
	h := c.w.Header()
	h.Set("Accept-Ranges", "bytes")
	h.Set("x-ms-blob-type", "BlockBlob")
	h.Set("x-ms-creation-time", httpDate(b.created))
	h.Set("x-ms-server-encrypted", "true")
	leaseFree(h)
	for name, value := range map[string]string{
		"Content-Type":        cmp.Or(c.query.Get("rsct"), b.content.Type),
		"Content-Encoding":    cmp.Or(c.query.Get("rsce"), b.content.Encoding),
		"Content-Language":    cmp.Or(c.query.Get("rscl"), b.content.Language),
		"Cache-Control":       cmp.Or(c.query.Get("rscc"), b.content.Cache),
		"Content-Disposition": cmp.Or(c.query.Get("rscd"), b.content.Disposition),
	} {
		if value != "" {
			h.Set(name, value)
		}
	}
	switch {
	case !part:
		h.Set("Content-MD5", b.content.MD5)
	default:
		h.Set("x-ms-blob-content-md5", b.content.MD5)
		if c.r.Header.Get("x-ms-range-get-content-md5") == "true" {
			sum := md5.Sum(body) //nolint:gosec // see the import
			h.Set("Content-MD5", base64.StdEncoding.EncodeToString(sum[:]))
		}
		if c.r.Header.Get("x-ms-range-get-content-crc64") == "true" {
			h.Set("x-ms-content-crc64", storageCRC(body))
		}
	}
}

// parseRange reads "bytes=a-b" or "bytes=a-", the only forms that the service
// takes, for a body of n bytes: from is inclusive, to is not.
func parseRange(text string, n int) (from, to int, ok bool) {
	spec, ok := strings.CutPrefix(text, "bytes=")
	first, last, dash := strings.Cut(spec, "-")
	from, err := strconv.Atoi(first)
	if !ok || !dash || err != nil || from < 0 || from >= n {
		return 0, 0, false
	}
	if last == "" {
		return from, n, true
	}
	end, err := strconv.Atoi(last)
	if err != nil || end < from {
		return 0, 0, false
	}
	return from, min(end, n-1) + 1, true
}

// getBlobMetadata serves Get Blob Metadata.
func (c *call) getBlobMetadata() error {
	b, err := c.readable()
	if err != nil {
		return err
	}
	c.stamped(b.stamp)
	b.meta.write(c.w.Header())
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// setMetadata serves Set Blob Metadata.
func (c *call) setMetadata() error {
	on, err := readConditions(c.r.Header)
	if err != nil {
		return err
	}
	meta, err := readMetadata(c.r.Header, c.spelling())
	if err != nil {
		return err
	}
	at, err := c.account.store.setMetadata(c.r.Context(), c.target.container, c.target.blob, meta, on)
	if err != nil {
		return err
	}
	c.stamped(at)
	c.encrypted()
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// deleteBlob serves Delete Blob.
func (c *call) deleteBlob() error {
	switch snapshots := c.r.Header.Get("x-ms-delete-snapshots"); snapshots {
	case "", "include":
	case "only": // there are none, and the blob stays
		return refuse(unsupportedHeader, "HeaderName", "x-ms-delete-snapshots", "HeaderValue", snapshots)
	default:
		return refuse(invalidHeaderValue, "HeaderName", "x-ms-delete-snapshots", "HeaderValue", snapshots)
	}
	on, err := readConditions(c.r.Header)
	if err != nil {
		return err
	}
	if err := c.account.store.deleteBlob(c.r.Context(), c.target.container, c.target.blob, on); err != nil {
		return err
	}
	c.w.Header().Set("x-ms-delete-type-permanent", "true")
	c.w.WriteHeader(http.StatusAccepted)
	return nil
}
