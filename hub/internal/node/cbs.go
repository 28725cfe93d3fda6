package node

import (
	"github.com/hubferry/hubferry/hub/internal/entity"
)

// This file implements put-token on $cbs. Tokens are checked for key, time and
// audience; what they allow is compared when a link attaches, as the service
// does it. A later token for the same audience replaces the earlier one and
// does not disturb open links.

func (c *conn) putToken(r *request) response {
	if op := r.text("operation"); op != "put-token" {
		return badRequest("The operation '" + op + "' is not supported by $cbs.")
	}
	audience := r.text("name")
	switch {
	case audience == "":
		return badRequest("The property 'name' is missing.")
	case r.body == "":
		return badRequest("The token is missing.")
	}
	claim, err := c.ns.Authorize(r.body, audience)
	if err != nil {
		c.log.Info("token refused", "audience", entity.ParseAddress(audience).Path(), "error", err)
		return failure(err)
	}
	c.claims.Put(claim)
	return response{status: 202, description: "Accepted"}
}
