// Package azuritetest runs Azurite, Microsoft's server for local tests of Blob storage, for tests of this module. It is
// installed by scripts/setup-azurite.sh.
package azuritetest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// The account that Azurite serves: public, and the same everywhere.
const (
	Account = "devstoreaccount1"
	Key     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

// Server is a running Azurite that keeps its data in memory.
type Server struct {
	// Endpoint is the URL of the Blob service, with the account and without a slash at the end.
	Endpoint string
	cmd      *exec.Cmd
	ended    chan struct{}
}

// ConnectionString is that of the account at an endpoint, for all SDKs.
func ConnectionString(endpoint string) string {
	return fmt.Sprintf("DefaultEndpointsProtocol=http;AccountName=%s;AccountKey=%s;BlobEndpoint=%s;", Account, Key, endpoint)
}

// Find returns the program, or "" if it is not installed. The root is that of this repository.
func Find(ctx context.Context, root string) (string, error) {
	out, err := exec.CommandContext(ctx, "bash", filepath.Join(root, "scripts", "setup-azurite.sh"), "--where").Output() //nolint:gosec // our own script
	if err != nil {
		return "", fmt.Errorf("ask setup-azurite.sh where Azurite is: %w", err)
	}
	return strings.TrimPrefix(strings.TrimSpace(string(out)), "azurite="), nil
}

// startWait bounds how long Azurite takes to start.
const startWait = 2 * time.Minute

// Start runs the program that Find has found, until the context ends or Close. Strictness is off where the official
// SDKs need it: current ones send a version that Azurite does not know, and Python a header.
func Start(ctx context.Context, program string) (*Server, error) {
	cmd := exec.CommandContext(ctx, "node", program, //nolint:gosec // our own program
		"--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence", "--skipApiVersionCheck", "--loose", "--disableTelemetry", "--silent")
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = cmd.Stdout
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start Azurite: %w", err)
	}
	s := &Server{cmd: cmd, ended: make(chan struct{})}
	found := make(chan string, 1)
	go func() {
		defer close(s.ended)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if _, url, ok := strings.Cut(lines.Text(), "successfully listens on "); ok {
				found <- strings.TrimSpace(url)
				break
			}
		}
		_, _ = io.Copy(io.Discard, out)
	}()
	select {
	case url := <-found:
		s.Endpoint = url + "/" + Account
		return s, nil
	case <-s.ended:
		err = errors.New("it ended")
	case <-time.After(startWait):
		err = errors.New("it does not say that it listens")
	case <-ctx.Done():
		err = ctx.Err()
	}
	s.Close()
	return nil, fmt.Errorf("start Azurite: %w", err)
}

// Close ends Azurite. What it held is gone.
func (s *Server) Close() {
	_ = s.cmd.Process.Kill()
	<-s.ended
	_ = s.cmd.Wait() // it was killed
}
