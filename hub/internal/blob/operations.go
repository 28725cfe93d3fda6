package blob

import (
	"net/http"
	"slices"
	"strings"
)

// scope is the kind of resource that an operation is about.
type scope uint8

const (
	serviceScope scope = iota
	containerScope
	objectScope
)

// letter is the scope in the field srt of an account SAS.
func (s scope) letter() rune { return []rune("sco")[s] }

// operation is something that the service can be asked to do.
type operation struct {
	name  string
	scope scope
	// methods and comp, the parameter of the query, choose the operation.
	methods []string
	comp    string
	// permissions of a SAS of which any one is enough.
	permissions string
	serve       func(*call) error
}

// operations are those that are served.
func operations() []operation {
	read := []string{http.MethodGet, http.MethodHead}
	get, put, del := []string{http.MethodGet}, []string{http.MethodPut}, []string{http.MethodDelete}
	return []operation{
		{"ListContainers", serviceScope, get, "list", "l", (*call).listContainers},
		{"CreateContainer", containerScope, put, "", "cw", (*call).createContainer},
		{"GetContainerProperties", containerScope, read, "", "r", (*call).getContainer},
		{"GetContainerMetadata", containerScope, read, "metadata", "r", (*call).getContainer},
		{"DeleteContainer", containerScope, del, "", "d", (*call).deleteContainer},
		{"ListBlobs", containerScope, get, "list", "l", (*call).listBlobs},
		{"PutBlob", objectScope, put, "", "cw", (*call).putBlob},
		{"GetBlob", objectScope, get, "", "r", (*call).getBlob},
		{"GetBlobProperties", objectScope, []string{http.MethodHead}, "", "r", (*call).getBlob},
		{"GetBlobMetadata", objectScope, read, "metadata", "r", (*call).getBlobMetadata},
		{"SetBlobMetadata", objectScope, put, "metadata", "w", (*call).setMetadata},
		{"DeleteBlob", objectScope, del, "", "d", (*call).deleteBlob},
	}
}

// otherComps are the values of comp with which the service has operations that
// are not served here, beside those that are.
const otherComps = " acl appendblock batch block blocklist blobs copy expiry immutabilitypolicies incrementalcopy lease legalhold " +
	"list metadata page pagelist properties query rename seal snapshot stats tags tier undelete userdelegationkey "

// route finds the operation of a request.
func (c *call) route() (*operation, *serviceError) {
	at := serviceScope
	switch {
	case c.target.blob != "":
		at = objectScope
	case c.target.container != "" && c.query.Get("restype") == "container":
		at = containerScope
	case c.target.container != "": // a blob in the root container
		c.target.container, c.target.blob = "$root", c.target.container
		at = objectScope
	}
	comp := strings.ToLower(c.query.Get("comp"))
	ops := operations()
	i := slices.IndexFunc(ops, func(op operation) bool {
		return op.scope == at && op.comp == comp && slices.Contains(op.methods, c.r.Method)
	})
	switch {
	case i >= 0:
		return &ops[i], nil
	case comp != "" && !strings.Contains(otherComps, " "+comp+" "):
		return nil, refuse(invalidQueryValue, "QueryParameterName", "comp", "QueryParameterValue", comp, "Reason", "")
	case comp != "":
		return nil, refuse(notImplemented, "Reason", "comp="+comp+" is not among it.")
	case at == serviceScope && c.r.Method != http.MethodOptions:
		return nil, refuse(invalidURI)
	}
	return nil, refuse(unsupportedVerb)
}

// unsupported refuses what would change the meaning of an operation and is not
// done here.
func (c *call) unsupported(op *operation) *serviceError {
	for _, name := range []string{"snapshot", "versionid", "deletetype"} {
		if c.query.Has(name) {
			return refuse(unsupportedQuery, "QueryParameterName", name, "QueryParameterValue", c.query.Get(name))
		}
	}
	for name := range c.r.Header {
		switch low := strings.ToLower(name); low {
		case "x-ms-lease-id":
			if op.scope == containerScope {
				return refuse(leaseNotPresentContainer)
			}
			return refuse(leaseNotPresentBlob)
		case "x-ms-blob-public-access":
			return refuse(publicAccessNotPermitted)
		case "x-ms-encryption-key", "x-ms-encryption-key-sha256", "x-ms-encryption-scope", "x-ms-default-encryption-scope",
			"x-ms-copy-source", "x-ms-if-tags", "x-ms-tags", "x-ms-access-tier", "x-ms-legal-hold", "x-ms-structured-body",
			"x-ms-immutability-policy-until-date", "x-ms-immutability-policy-mode", "x-ms-expiry-option", "x-ms-expiry-time":
			return refuse(unsupportedHeader, "HeaderName", low, "HeaderValue", c.r.Header.Get(name))
		}
	}
	return nil
}
