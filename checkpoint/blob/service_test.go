package blob

import (
	"context"
	"net"
	"testing"

	"github.com/hubferry/hubferry/hub"
)

// service starts the embedded hub's Blob service, in memory, and returns the URL of its
// account. Real clients judge that server; Azurite is the second opinion.
func service(t testing.TB) string {
	t.Helper()
	server, err := hub.New(t.Context(), hub.Options{Blob: []hub.AccountOptions{{}}})
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	ctx := context.WithoutCancel(t.Context())
	go func() {
		defer close(served)
		_ = server.ServeBlob(ctx, listener, hub.PublishedAccount)
	}()
	t.Cleanup(func() {
		if err := server.Close(ctx); err != nil {
			t.Errorf("close the hub: %v", err)
		}
		<-served
	})
	return "http://" + listener.Addr().String() + "/" + hub.PublishedAccount
}
