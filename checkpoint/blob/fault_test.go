package blob

import (
	"testing"

	"github.com/hubferry/hubferry/internal/azuritetest"
)

// newProxy starts a proxy in front of an account.
func newProxy(t testing.TB, account string) *azuritetest.Proxy {
	t.Helper()
	p, err := azuritetest.NewProxy(account)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}
