// Package postgrestest runs PostgreSQL servers for tests of this module: a cluster of its own in a temporary folder, gone
// afterwards. The server is Debian's package or any other installation; scripts/setup-postgres.sh installs it.
package postgrestest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/hubferry/hubferry/internal/porttest"
)

// ErrNotInstalled says that there is no PostgreSQL server on this machine.
var ErrNotInstalled = errors.New("no PostgreSQL server is installed (scripts/setup-postgres.sh installs it)")

// Server is a running PostgreSQL. Its methods may be called by one goroutine at a time.
type Server struct {
	// Address is host and port. Everybody on this machine may connect as User, without a password.
	Address string
	dir     string
	bin     string
	cmd     *exec.Cmd
	log     *os.File
}

// User is the superuser, and also the name of the database.
const User = "postgres"

// DSN is the connection string for an address that leads to the server, such as a proxy's.
func DSN(address string) string {
	return "postgres://" + User + "@" + address + "/" + User + "?sslmode=disable"
}

// find returns the folder of the server's programs.
func find() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path), nil
		}
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if len(found) == 0 {
		return "", ErrNotInstalled
	}
	slices.Sort(found)
	return filepath.Dir(found[len(found)-1]), nil
}

// Start makes a cluster and starts its server. The caller ends it with Remove.
func Start(ctx context.Context) (*Server, error) {
	bin, err := find()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "hubferry-postgres")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, bin: bin}
	if err := s.make(ctx); err != nil {
		s.Remove()
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	return s, nil
}

func (s *Server) make(ctx context.Context) error {
	if err := give(s.dir); err != nil {
		return err
	}
	initdb := s.command(ctx, "initdb", "--pgdata", s.data(), "--username", User, "--auth", "trust", "--encoding", "UTF8", "--no-locale", "--no-sync")
	if out, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	port, err := porttest.Free()
	if err != nil {
		return err
	}
	s.Address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	return s.Run(ctx)
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// command is one of the server's programs, run by somebody who is not root: PostgreSQL refuses root.
func (s *Server) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	c := exec.CommandContext(context.WithoutCancel(ctx), filepath.Join(s.bin, name), args...) //nolint:gosec // found above
	c.Dir = s.dir
	demote(c)
	return c
}

// startWait bounds how long a server takes to start, on a machine that is busy.
const startWait = 2 * time.Minute

// Run starts the server, after Start and after Stop.
func (s *Server) Run(ctx context.Context) error {
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		return err
	}
	host, port, _ := net.SplitHostPort(s.Address)
	s.log = log
	s.cmd = s.command(ctx, "postgres", "-D", s.data(), "-c", "listen_addresses="+host, "-c", "port="+port,
		"-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "max_connections=200")
	s.cmd.Stdout, s.cmd.Stderr = log, log
	if err := s.cmd.Start(); err != nil {
		s.cmd = nil
		return err
	}
	return s.await(ctx)
}

// await returns when the server answers: one byte to a request for TLS.
func (s *Server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startWait)
	defer cancel()
	for {
		if s.ready(ctx) {
			return nil
		}
		t := time.NewTimer(50 * time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			text, _ := os.ReadFile(s.log.Name())
			return fmt.Errorf("it does not answer: %w; its log: %s", ctx.Err(), text)
		}
	}
}

// ready runs pg_isready, which knows a server that is still starting.
func (s *Server) ready(ctx context.Context) bool {
	host, port, _ := net.SplitHostPort(s.Address)
	return s.command(ctx, "pg_isready", "-q", "-h", host, "-p", port).Run() == nil
}

// Stop ends the server at once, as a crash does. Its data stay.
func (s *Server) Stop() {
	if s.cmd == nil {
		return
	}
	interrupt(s.cmd)
	_ = s.cmd.Wait() // however it ends
	_ = s.log.Close()
	s.cmd = nil
}

// Remove ends the server and removes its data.
func (s *Server) Remove() {
	s.Stop()
	_ = os.RemoveAll(s.dir)
}
