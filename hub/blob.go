package hub

import (
	"cmp"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hubferry/hubferry/hub/internal/blob"
	"github.com/hubferry/hubferry/hub/internal/entity"
	"github.com/hubferry/hubferry/hub/internal/seglog"
)

// The account and the key that Microsoft publishes for local storage, and that
// an account has for which nothing else is given.
const (
	PublishedAccount    = "devstoreaccount1"
	PublishedAccountKey = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

// ErrUnknownAccount is returned for a storage account that Options did not
// name.
var ErrUnknownAccount = errors.New("unknown blob account")

// blobFolder is the subfolder of Options.Dir that holds storage accounts.
const blobFolder = "blob"

// AccountOptions describe one storage account: the operations on containers
// and small block blobs that checkpoint stores use.
type AccountOptions struct {
	// Name is unique in the server, 3 to 24 lower-case letters and digits;
	// empty is PublishedAccount.
	Name string `yaml:"name" jsonschema:"default=devstoreaccount1" jsonschema_description:"Name of the account, 3 to 24 lower-case letters and digits."`
	// Listen is the address to listen on. Empty is port 10000 of the loopback
	// interface for the first account, as in Azurite, 10001 for the second and
	// so on. ServeBlob does not look at it: it is for who makes the listeners.
	Listen string `yaml:"listen" jsonschema:"example=127.0.0.1:10000" jsonschema_description:"Address and port; by default 127.0.0.1:10000 for the first account, 10001 for the second, and so on. Port 0 is any free one."`
	// Key signs requests, in base64. Empty is PublishedAccountKey, which is
	// refused when Listen is not on the loopback interface.
	Key string `yaml:"key" jsonschema_description:"Key of the account in base64; by default the published key of devstoreaccount1."`
	// SecondaryKey is accepted besides, if there is one.
	SecondaryKey string `yaml:"secondaryKey" jsonschema_description:"Second key that is accepted too, in base64."`
	// Containers are created at start when they are not there yet.
	Containers []string `yaml:"containers" jsonschema_description:"Containers that are created at start when they are not there yet."`
}

// AccountName is Name or its default.
func (a *AccountOptions) AccountName() string { return cmp.Or(a.Name, PublishedAccount) }

func (a *AccountOptions) key() string { return cmp.Or(a.Key, PublishedAccountKey) }

// BlobListenAddress is where the account of that index is to listen.
func (o *Options) BlobListenAddress(index int) string {
	return cmp.Or(o.Blob[index].Listen, net.JoinHostPort("127.0.0.1", strconv.Itoa(10000+index)))
}

// ConnectionString is the connection string with which an SDK reaches the
// account at addr (host:port, as a listener's Addr gives it). A client on the
// same machine reaches a listener on all interfaces at the loopback address.
//
// The string holds the key of the account: treat it as a secret.
func (a *AccountOptions) ConnectionString(addr string) string {
	return "DefaultEndpointsProtocol=http;AccountName=" + a.AccountName() + ";AccountKey=" + a.key() +
		";BlobEndpoint=http://" + reachableAt(addr) + "/" + a.AccountName() + ";"
}

func (o *Options) validateAccounts(v *problems) {
	for i := range o.Namespaces {
		if n := &o.Namespaces[i]; len(o.Blob) > 0 && o.Dir != "" && strings.EqualFold(n.Name, blobFolder) {
			v.add(fmt.Sprintf("namespaces[%d].name", i), fmt.Errorf("%q is the folder of storage accounts; choose another name", n.Name))
		}
	}
	seen := map[string]bool{}
	for i := range o.Blob {
		a := &o.Blob[i]
		at := fmt.Sprintf("blob[%d]", i)
		v.add(at+".name", blob.CheckAccountName(a.AccountName()))
		if seen[a.AccountName()] {
			v.add(at+".name", fmt.Errorf("%q is given twice", a.AccountName()))
		}
		seen[a.AccountName()] = true
		if v.listen(at+".listen", a.Listen) && a.Key == "" {
			v.add(at+".key", fmt.Errorf("%s can be reached from other machines, where the published key would let everybody in; give a key of your own, such as that of \"openssl rand -base64 64\"", a.Listen))
		}
		_, err := a.keys()
		v.add(at+".key", err)
		names := map[string]bool{}
		for j, name := range a.Containers {
			containerAt := fmt.Sprintf("%s.containers[%d]", at, j)
			v.add(containerAt, blob.CheckContainerName(name))
			if names[name] {
				v.add(containerAt, fmt.Errorf("%q is given twice", name))
			}
			names[name] = true
		}
	}
}

// keys are the keys of the account, decoded.
func (a *AccountOptions) keys() ([][]byte, error) {
	var keys [][]byte
	for _, text := range []string{a.key(), a.SecondaryKey} {
		if text == "" {
			continue
		}
		key, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(key) == 0 {
			return nil, errors.New("a key is not base64") // and must not be shown
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// account is one storage account with what serves it.
type account struct {
	blob   *blob.Account
	http   *http.Server
	handed *handoff
	raw    atomic.Int64 // connections, whatever they have said yet
}

func (s *Server) addAccount(ctx context.Context, o AccountOptions) error {
	keys, err := o.keys()
	if err != nil {
		return err
	}
	fsync, err := seglog.ParseFsync(string(s.o.Fsync))
	if err != nil {
		return err
	}
	options := blob.Options{
		Name: o.AccountName(), Keys: keys, Fsync: fsync, SyncEvery: s.o.FsyncEvery, Now: s.o.Now, Log: s.log,
		Limits: blob.Limits{BlobBytes: int64(s.o.Limits.BlobBytes), AccountBytes: int64(s.o.Limits.AccountBytes)},
	}
	if s.o.Dir != "" {
		options.Dir = filepath.Join(s.o.Dir, blobFolder, o.AccountName())
	}
	if s.o.AcceptJWT {
		options.Bearer = s.bearer
	}
	b, err := blob.Open(ctx, options)
	if err != nil {
		return err
	}
	a := &account{blob: b, handed: newHandoff()}
	a.http = a.server(&s.o.Limits, s.log)
	s.accounts[o.AccountName()] = a
	s.serving.Go(func() { _ = a.http.Serve(a.handed) })
	for _, name := range o.Containers {
		if err := b.EnsureContainer(ctx, name); err != nil {
			return fmt.Errorf("create container %q: %w", name, err)
		}
	}
	return nil
}

// bearer accepts every JSON web token that has not expired.
func (s *Server) bearer(token string) error {
	now := time.Now
	if s.o.Now != nil {
		now = s.o.Now
	}
	_, err := entity.CheckJWT(token, now())
	return err
}

// server returns the HTTP server of an account.
func (a *account) server(l *Limits, log *slog.Logger) *http.Server {
	within := cmp.Or(l.Write, time.Minute)
	return &http.Server{
		Handler:           a.blob,
		ReadHeaderTimeout: l.Handshake,
		ReadTimeout:       within,
		WriteTimeout:      2 * within, // from the end of the header: for the body and for the answer
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
		ConnContext:       func(ctx context.Context, c net.Conn) context.Context { return blobConn(c).Context(ctx) },
		ConnState: func(c net.Conn, state http.ConnState) {
			if state == http.StateIdle {
				blobConn(c).Idle()
			}
		},
	}
}

// blobConn is the connection of which an account knows, inside of what the HTTP
// server was handed.
func blobConn(c net.Conn) *blob.Conn { return c.(*heldConn).Conn.(*blob.Conn) }

// overTLS reports whether there is TLS below what sniff has returned.
func overTLS(c net.Conn) bool {
	p, ok := c.(*peeked)
	if !ok {
		return false
	}
	_, ok = p.Conn.(*tls.Conn)
	return ok
}

// ServeBlob is Serve for a storage account: it takes connections, HTTP and with
// Options.TLS also HTTPS, from ln. The error is ErrClosed after Close,
// ErrUnknownAccount, or that of ctx or ln.
func (s *Server) ServeBlob(ctx context.Context, ln net.Listener, name string) error {
	a := s.accounts[name]
	if a == nil {
		return errors.Join(fmt.Errorf("%w %q", ErrUnknownAccount, name), ln.Close())
	}
	return s.accept(ctx, ln, func(_ context.Context, nc net.Conn) {
		defer s.untrack(nc)
		defer a.raw.Add(-1)
		if !s.admit(&a.raw, nc, "account", name) {
			return
		}
		c, _, err := sniff(nc, s.o.TLS, s.o.Limits.Handshake)
		if err != nil {
			s.log.Debug("connection ended before it said anything", "remote", nc.RemoteAddr().String(), "error", err)
			return
		}
		a.handed.give(blob.NewConn(c, overTLS(c))) // what is not HTTP is told so by the HTTP server
	})
}

// shutdown waits for the requests under way, until ctx ends.
func (a *account) shutdown(ctx context.Context) {
	_ = a.http.Shutdown(ctx)
	_ = a.http.Close()
	_ = a.handed.Close()
}
