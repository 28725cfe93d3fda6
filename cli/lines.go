package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hubferry/hubferry"
)

// produce puts events into out until there are no more.
func (e *environment) produce(ctx context.Context, f *sendFlags, files []string, out chan<- *hubferry.Event) error {
	began, n := time.Now(), 0
	emit := func(key hubferry.Key, body []byte) error {
		if f.rate > 0 {
			due := began.Add(time.Duration(float64(n) / f.rate * float64(time.Second)))
			if err := wait(ctx, time.Until(due)); err != nil {
				return err
			}
		}
		n++
		c := &hubferry.Content{Body: body, Properties: f.parsed}
		if f.tombstones && len(body) == 0 {
			c.Body, c.BodyKind = nil, hubferry.BodyNull
		}
		if f.contentType != "" {
			c.Message = hubferry.Properties{{Name: hubferry.ContentType, Value: hubferry.String(f.contentType)}}
		}
		event := hubferry.NewEvent(c)
		event.Key = key
		select {
		case out <- &event:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if f.generate > 0 {
		for i := range f.generate {
			var key hubferry.Key
			if f.keys > 0 {
				key = hubferry.Text(fmt.Sprintf("key-%d", i%f.keys))
			}
			if err := emit(key, madeUp(i, f.size)); err != nil {
				return err
			}
		}
		return nil
	}
	if len(files) == 0 {
		return readLines("standard input", e.stdin, f.cut, emit)
	}
	for _, name := range files {
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		err = readLines(name, file, f.cut, emit)
		_ = file.Close() // it was only read
		if err != nil {
			return err
		}
	}
	return nil
}

// madeUp returns a body of a size that tells its number.
func madeUp(i, size int) []byte {
	b := fmt.Appendf(nil, `{"n":%d,"pad":"`, i)
	if pad := size - len(b) - 2; pad > 0 {
		b = append(b, bytes.Repeat([]byte{'x'}, pad)...)
	}
	return append(b, `"}`...)
}

// readLines emits the key and the body of each line.
func readLines(name string, r io.Reader, cut func([]byte) (hubferry.Key, []byte, error), emit func(hubferry.Key, []byte) error) error {
	lines := bufio.NewReaderSize(r, 64<<10)
	for number := 1; ; number++ {
		line, err := lines.ReadBytes('\n')
		line = bytes.TrimRight(line, "\r\n")
		if len(line) > 0 {
			key, body, problem := cut(line)
			if problem != nil {
				return fmt.Errorf("%s line %d: %w", name, number, problem)
			}
			if err := emit(key, body); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
	}
}

// cut returns the key and the body of a line.
func (f *sendFlags) cut(line []byte) (hubferry.Key, []byte, error) {
	if f.separator != "" {
		key, body, found := bytes.Cut(line, []byte(f.separator))
		if !found {
			return hubferry.Key{}, nil, fmt.Errorf("there is no %q after the key", f.separator)
		}
		switch {
		case len(key) == 0:
			return hubferry.Key{}, body, nil
		case !utf8.Valid(key):
			return hubferry.Key{Kind: hubferry.ByteKey, Bytes: key}, body, nil
		}
		return hubferry.Text(string(key)), body, nil
	}
	key, err := keyOf(line, f.key)
	if err != nil || key == "" {
		return hubferry.Key{}, line, err
	}
	return hubferry.Text(key), line, nil
}

// keyOf returns the value of a field of a JSON line, given by its path.
func keyOf(line []byte, path string) (string, error) {
	if path == "" {
		return "", nil
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return "", fmt.Errorf("--key needs JSON lines: %w", err)
	}
	for field := range strings.SplitSeq(path, ".") {
		object, _ := v.(map[string]any) // nothing else has fields
		inner, ok := object[field]
		if !ok {
			return "", fmt.Errorf("there is no field %q for the key", path)
		}
		v = inner
	}
	switch v := v.(type) {
	case nil:
		return "", nil
	case map[string]any, []any:
		return "", fmt.Errorf("the field %q is no text or number: it makes no key", path)
	default:
		return fmt.Sprint(v), nil
	}
}
