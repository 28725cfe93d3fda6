package hub

import (
	"net"
	"net/netip"
	"strings"
)

// PublishedKey is the key of the rule RootManageSharedAccessKey of the official
// emulator, and of a namespace for which no rules are given.
const PublishedKey = "SAS_KEY_VALUE"

// DefaultRule is that rule.
func DefaultRule() Rule {
	return Rule{Name: "RootManageSharedAccessKey", Key: PublishedKey, Rights: Manage}
}

// ConnectionString is the connection string with which an SDK reaches a
// namespace of this server at addr (host:port, as a listener's Addr gives it)
// with the key of a rule. hub may be empty. A client on the same machine
// reaches a listener on all interfaces at the loopback address.
//
// The string holds the key of the rule: treat it as a secret.
func ConnectionString(addr string, rule Rule, hub string) string {
	s := "Endpoint=sb://" + reachableAt(addr) + ";SharedAccessKeyName=" + rule.Name + ";SharedAccessKey=" + rule.Key +
		";UseDevelopmentEmulator=true;"
	if hub != "" {
		s += "EntityPath=" + hub + ";"
	}
	return s
}

// reachableAt is how a client on this machine names an address that is listened
// on.
func reachableAt(addr string) string {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		host, port = addr, ""
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "localhost"
	}
	switch {
	case port != "":
		host = net.JoinHostPort(host, port)
	case strings.Contains(host, ":"):
		host = "[" + host + "]"
	}
	return host
}
