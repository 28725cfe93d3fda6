package blob

import "net/http"

// createContainer serves Create Container.
func (c *call) createContainer() error {
	meta, err := readMetadata(c.r.Header, c.spelling())
	if err != nil {
		return err
	}
	at, err := c.account.store.createContainer(c.r.Context(), c.target.container, meta)
	if err != nil {
		return err
	}
	c.stamped(at)
	c.w.WriteHeader(http.StatusCreated)
	return nil
}

// getContainer serves Get Container Properties and Get Container Metadata.
func (c *call) getContainer() error {
	found, err := c.account.store.getContainer(c.target.container)
	if err != nil {
		return err
	}
	h := c.w.Header()
	c.stamped(found.stamp)
	found.meta.write(h)
	if c.query.Get("comp") == "" {
		leaseFree(h)
		h.Set("x-ms-has-immutability-policy", "false")
		h.Set("x-ms-has-legal-hold", "false")
		h.Set("x-ms-immutable-storage-with-versioning-enabled", "false")
		h.Set("x-ms-default-encryption-scope", encryptionScope)
		h.Set("x-ms-deny-encryption-scope-override", "false")
	}
	c.w.WriteHeader(http.StatusOK)
	return nil
}

// deleteContainer serves Delete Container.
func (c *call) deleteContainer() error {
	on, err := readConditions(c.r.Header)
	if err != nil {
		return err
	}
	if on.tags() { // the service compares times only
		return refuse(conditionHeadersNotAllowed)
	}
	if err := c.account.store.deleteContainer(c.r.Context(), c.target.container, on); err != nil {
		return err
	}
	c.w.WriteHeader(http.StatusAccepted)
	return nil
}

// encryptionScope is what the service says of a container without one.
const encryptionScope = "$account-encryption-key"

// stamped sets the headers that show a stamp.
func (c *call) stamped(at stamp) {
	h := c.w.Header()
	h.Set("ETag", at.etag())
	h.Set("Last-Modified", httpDate(at.modified))
}

// leaseFree sets the headers of a resource that nobody leases.
func leaseFree(h http.Header) {
	h.Set("x-ms-lease-status", "unlocked")
	h.Set("x-ms-lease-state", "available")
}
