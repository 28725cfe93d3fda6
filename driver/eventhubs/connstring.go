package eventhubs

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// connString is a parsed connection string. It holds secrets: it is never printed.
type connString struct {
	host       string // as written, with the port if there is one
	keyName    string
	key        string
	signature  string // a ready SharedAccessSignature
	entityPath string // the only hub that the key is good for, or ""
	emulator   bool
}

// parseConnString parses what the portal, the emulator and "hubferry hub env" print.
// Keys are compared without regard to case, because the SDKs of some languages do so.
// Its errors name a field and never its value.
func parseConnString(s string) (connString, error) {
	var c connString
	endpoint := ""
	for part := range strings.SplitSeq(s, ";") {
		part = strings.TrimSpace(part)
		if part == "" {
			continue
		}
		name, value, ok := strings.Cut(part, "=")
		if !ok {
			return c, errors.New("a part has no \"=\"; write Endpoint=sb://…;SharedAccessKeyName=…;SharedAccessKey=…")
		}
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "endpoint":
			endpoint = strings.TrimSpace(value)
		case "sharedaccesskeyname":
			c.keyName = value
		case "sharedaccesskey":
			c.key = value
		case "sharedaccesssignature":
			c.signature = value
		case "entitypath":
			c.entityPath = strings.Trim(value, "/ ")
		case "usedevelopmentemulator":
			b, err := strconv.ParseBool(strings.TrimSpace(value))
			if err != nil {
				return c, errors.New("UseDevelopmentEmulator must be true or false")
			}
			c.emulator = b
		case "runtimeport", "transporttype", "operationtimeout":
			// Old .NET clients wrote these; they say nothing that we need.
		default:
			return c, fmt.Errorf("%q is not a part of a connection string; known are Endpoint, SharedAccessKeyName, SharedAccessKey, SharedAccessSignature, EntityPath and UseDevelopmentEmulator", strings.TrimSpace(name))
		}
	}
	return c.check(endpoint)
}

func (c connString) check(endpoint string) (connString, error) {
	if endpoint == "" {
		return c, errors.New("its Endpoint is missing; it looks like Endpoint=sb://contoso.servicebus.windows.net")
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.User != nil {
		return c, errors.New("its Endpoint is not a URL; it looks like sb://contoso.servicebus.windows.net")
	}
	switch strings.ToLower(u.Scheme) {
	case "sb", "amqps", "amqp", "https", "http":
	default:
		return c, errors.New("its Endpoint must begin with sb://")
	}
	c.host = u.Host
	switch {
	case c.signature != "" && (c.keyName != "" || c.key != ""):
		return c, errors.New("it has both a SharedAccessSignature and a SharedAccessKey; keep one")
	case c.signature != "":
	case c.keyName == "":
		return c, errors.New("SharedAccessKeyName is missing")
	case c.key == "":
		return c, errors.New("SharedAccessKey is missing")
	}
	return c, nil
}
