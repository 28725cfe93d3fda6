package interop

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/hubferry/hubferry/hub"
	"github.com/hubferry/hubferry/internal/azuritetest"
)

// storeServers are the Blob services that the checkpoint stores are run against.
var storeServers = []string{"Azurite", "hubferry hub"}

const storeContainer = "checkpoints"

// storeRun is one server with all clients.
type storeRun struct {
	connection string
	clients    []client
	names      func() string // a group of its own
}

// TestCheckpointStores has each SDK's Blob checkpoint store, and ours, write what each other reads, and prints who can.
func TestCheckpointStores(t *testing.T) {
	b := &bench{server: startServer(t), table: &table{cells: make(map[[2]string]cell)}}
	b.startClients(t)
	clients := append([]client{hubferryClient{}}, b.clients...)
	var doc strings.Builder
	doc.WriteString("# Checkpoint stores on one container\n\n")
	doc.WriteString("Written by `go test ./interop -run TestCheckpointStores -update`; do not edit. Each cell is a real run: the client of the\n")
	doc.WriteString("row writes with its own Blob checkpoint store, the client of the column reads with its own. Names are in lower case.\n\n")
	doc.WriteString("- hubferry: checkpoint/blob\n")
	for _, c := range b.table.clients {
		fmt.Fprintf(&doc, "- %s: the Blob checkpoint store beside %s %s\n", c.name, c.sdk, c.version)
	}
	whole := len(b.clients) == len(labels)
	var odd []string
	for _, name := range storeServers {
		connection := startStore(t, name)
		if connection == "" {
			whole = false
			continue
		}
		var n int
		var mu sync.Mutex
		r := &storeRun{connection: connection, clients: clients, names: func() string {
			mu.Lock()
			defer mu.Unlock()
			n++
			return fmt.Sprintf("group%d", n)
		}}
		fmt.Fprintf(&doc, "\n## %s\n\n%s", name, r.matrix(t, name))
		if text := r.oddRecords(t); !slices.Contains(odd, text) {
			odd = append(odd, text)
		}
	}
	doc.WriteString("\n## What is read of records that were written otherwise\n\nOffset and sequence number as the client shows them. \"fails\" means that the listing of the whole group fails.\n")
	if len(odd) == 1 {
		doc.WriteString("The same on both servers.\n")
	}
	for _, text := range odd {
		doc.WriteString("\n" + text)
	}
	t.Logf("\n%s", doc.String())
	if whole && !t.Failed() && !partial() {
		checkFile(t, "CHECKPOINTS.md", doc.String())
	}
}

// checkFile compares a generated file, or writes it.
func checkFile(t *testing.T, file, text string) {
	t.Helper()
	have, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	matrix, fleet, ok := strings.Cut(string(have), fleetTitle)
	if *update {
		if ok {
			text += fleetTitle + fleet
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if matrix != text {
		t.Errorf("%s is not what this run has shown; run go test ./interop -run TestCheckpointStores -update", file)
	}
}

// startStore starts a server with the container, and returns its connection string, or "" if it is not set up.
func startStore(t *testing.T, name string) string {
	t.Helper()
	var connection string
	if name == "Azurite" {
		program, err := azuritetest.Find(t.Context(), "..")
		if err != nil {
			t.Fatal(err)
		}
		if program == "" {
			missing(t, "Azurite")
			return ""
		}
		server, err := azuritetest.Start(context.WithoutCancel(t.Context()), program)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(server.Close)
		connection = azuritetest.ConnectionString(server.Endpoint)
	} else {
		account := hub.AccountOptions{}
		server, err := hub.New(t.Context(), hub.Options{Blob: []hub.AccountOptions{account}})
		if err != nil {
			t.Fatal(err)
		}
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() { _ = server.ServeBlob(context.Background(), listener, hub.PublishedAccount) }()
		t.Cleanup(func() { _ = server.Close(context.Background()) })
		connection = account.ConnectionString(listener.Addr().String())
	}
	c, err := container.NewClientFromConnectionString(connection, storeContainer, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	return connection
}

// storeTrial is one writer and one reader, in a group of their own.
type storeTrial struct {
	run            *storeRun
	ctx            context.Context
	writer, reader client
	group          string
}

// storeOperations are the rows of the matrix. Each says what went wrong, or nothing.
var storeOperations = []struct {
	name string
	run  func(s *storeTrial) error
}{
	{"claim", func(s *storeTrial) error {
		_, err := s.claimed("0")
		return err
	}},
	{"renew", func(s *storeTrial) error {
		first, err := s.claimed("0")
		if err != nil {
			return err
		}
		second, err := s.write(s.writer, first)
		if err != nil {
			return err
		}
		if got, err := s.seen("0", "writer"); err != nil || bareTag(got.ETag) != bareTag(second.ETag) || bareTag(got.ETag) == bareTag(first.ETag) {
			return fmt.Errorf("the reader sees %+v after a renewal that gave %+v: %w", got, second, err)
		}
		return nil
	}},
	{"steal", func(s *storeTrial) error {
		mine, err := s.claimed("0")
		if err != nil {
			return err
		}
		listed, err := s.seen("0", "writer")
		if err != nil {
			return err
		}
		listed.Owner = "reader"
		if _, err := s.write(s.reader, listed); err != nil {
			return err
		}
		out, err := s.call(s.writer, request{Action: "claim", Records: []ownership{mine}})
		if err != nil || len(out.Ownership) != 0 {
			return fmt.Errorf("the victim renewed %+v: %w", out.Ownership, err)
		}
		_, err = s.seen("0", "reader")
		return err
	}},
	{"relinquish", func(s *storeTrial) error {
		mine, err := s.claimed("0")
		if err != nil {
			return err
		}
		mine.Owner = ""
		if _, err := s.write(s.writer, mine); err != nil {
			return err
		}
		free, err := s.seen("0", "")
		if err != nil {
			return err
		}
		free.Owner = "reader"
		_, err = s.write(s.reader, free)
		return err
	}},
	{"create a checkpoint", func(s *storeTrial) error {
		return s.saved(savedRecord{"0", "4711", "12"})
	}},
	{"update a checkpoint", func(s *storeTrial) error {
		if err := s.saved(savedRecord{"0", "4711", "12"}); err != nil {
			return err
		}
		return s.saved(savedRecord{"0", "1:cnVzaA==:48", "13"})
	}},
	{"list", func(s *storeTrial) error {
		want := []savedRecord{{"0", "100", "10"}, {"1", "110", "11"}, {"10", "200", "20"}}
		for _, at := range want {
			if _, err := s.call(s.writer, request{Action: "save", At: &at}); err != nil {
				return err
			}
			if _, err := s.claimed(at.Partition); err != nil {
				return err
			}
		}
		out, err := s.call(s.reader, request{Action: "saved"})
		slices.SortFunc(out.Saved, func(a, b savedRecord) int { return strings.Compare(a.Partition, b.Partition) })
		if err != nil || !slices.Equal(out.Saved, want) {
			return fmt.Errorf("the reader lists %+v: %w", out.Saved, err)
		}
		owned, err := s.call(s.reader, request{Action: "owners"})
		if err != nil || len(owned.Ownership) != len(want) {
			return fmt.Errorf("the reader lists %+v: %w", owned.Ownership, err)
		}
		return nil
	}},
	{"create over an existing claim", func(s *storeTrial) error {
		if _, err := s.claimed("0"); err != nil {
			return err
		}
		out, err := s.call(s.reader, request{Action: "claim", Records: []ownership{{Partition: "0", Owner: "reader"}}})
		if err != nil {
			return err
		}
		if len(out.Ownership) != 0 {
			return errOverwrites
		}
		return nil
	}},
}

// errOverwrites is what some stores do to a claim that they have not seen.
var errOverwrites = fmt.Errorf("overwrites")

func bareTag(etag string) string { return strings.Trim(etag, `"`) }

// call makes one call in the trial's group.
func (s *storeTrial) call(c client, r request) (response, error) {
	ctx, cancel := context.WithTimeout(s.ctx, callTimeout)
	defer cancel()
	r.Op, r.Blob, r.Container = "store", s.run.connection, storeContainer
	r.Namespace, r.Hub, r.Group = "contoso.servicebus.windows.net", "telemetry", s.group
	out, err := c.call(ctx, r)
	if err != nil {
		return out, fmt.Errorf("%s by %s: %w", r.Action, c.name(), err)
	}
	return out, nil
}

// write claims one record, which must succeed.
func (s *storeTrial) write(c client, o ownership) (ownership, error) {
	out, err := s.call(c, request{Action: "claim", Records: []ownership{o}})
	if err != nil {
		return o, err
	}
	if len(out.Ownership) != 1 || out.Ownership[0].Owner != o.Owner || out.Ownership[0].ETag == "" {
		return o, fmt.Errorf("claim by %s gave %+v", c.name(), out.Ownership)
	}
	return out.Ownership[0], nil
}

// seen has the reader list a record, of which it must see the owner.
func (s *storeTrial) seen(partition, owner string) (ownership, error) {
	out, err := s.call(s.reader, request{Action: "owners"})
	if err != nil {
		return ownership{}, err
	}
	for _, o := range out.Ownership {
		if o.Partition == partition && o.Owner == owner {
			return o, nil
		}
	}
	return ownership{}, fmt.Errorf("%s lists %+v", s.reader.name(), out.Ownership)
}

// claimed has the writer create a record, which the reader must see.
func (s *storeTrial) claimed(partition string) (ownership, error) {
	mine, err := s.write(s.writer, ownership{Partition: partition, Owner: "writer"})
	if err != nil {
		return mine, err
	}
	got, err := s.seen(partition, "writer")
	if err == nil && bareTag(got.ETag) != bareTag(mine.ETag) {
		err = fmt.Errorf("%s lists the ETag %s, and the claim gave %s", s.reader.name(), got.ETag, mine.ETag)
	}
	return mine, err
}

// saved has the writer save a checkpoint, which the reader must see.
func (s *storeTrial) saved(at savedRecord) error {
	if _, err := s.call(s.writer, request{Action: "save", At: &at}); err != nil {
		return err
	}
	out, err := s.call(s.reader, request{Action: "saved"})
	if err != nil || !slices.Equal(out.Saved, []savedRecord{at}) {
		return fmt.Errorf("%s lists %+v: %w", s.reader.name(), out.Saved, err)
	}
	return nil
}

// matrix runs all operations for all pairs and returns the table.
func (r *storeRun) matrix(t *testing.T, server string) string {
	t.Helper()
	cells := map[[3]string]string{}
	var mu sync.Mutex
	t.Run(strings.ReplaceAll(server, " ", "-"), func(t *testing.T) {
		for _, w := range r.clients {
			for _, c := range r.clients {
				t.Run(w.name()+"-to-"+c.name(), func(t *testing.T) {
					t.Parallel()
					for _, op := range storeOperations {
						s := &storeTrial{run: r, ctx: t.Context(), writer: w, reader: c, group: r.names()}
						cell := "ok"
						if err := op.run(s); err == errOverwrites { //nolint:errorlint // never wrapped
							cell = err.Error()
						} else if err != nil {
							cell = "FAILED"
							t.Errorf("%s: %v", op.name, err)
						}
						mu.Lock()
						cells[[3]string{op.name, w.name(), c.name()}] = cell
						mu.Unlock()
					}
				})
			}
		}
	})
	var b strings.Builder
	b.WriteString("| operation | writer |")
	var rule strings.Builder
	rule.WriteString("\n| --- | --- |")
	for _, c := range r.clients {
		b.WriteString(" " + c.name() + " |")
		rule.WriteString(" --- |")
	}
	b.WriteString(rule.String() + "\n")
	for _, op := range storeOperations {
		for _, w := range r.clients {
			fmt.Fprintf(&b, "| %s | %s |", op.name, w.name())
			for _, c := range r.clients {
				b.WriteString(" " + cells[[3]string{op.name, w.name(), c.name()}] + " |")
			}
			b.WriteString("\n")
		}
	}
	return b.String()
}

// oddMetadata are checkpoints that others have written, or that something has spoiled.
var oddMetadata = []struct {
	name string
	meta map[string]string
}{
	{"both", map[string]string{"sequencenumber": "10", "offset": "100"}},
	{"with another key, as .NET writes it", map[string]string{"sequencenumber": "10", "offset": "100", "clientidentifier": "x"}},
	{"sequence only", map[string]string{"sequencenumber": "10"}},
	{"offset only", map[string]string{"offset": "100"}},
	{"empty offset", map[string]string{"sequencenumber": "10", "offset": ""}},
	{"offset `no offset`", map[string]string{"sequencenumber": "10", "offset": "no offset"}},
	{"offset `None`", map[string]string{"sequencenumber": "10", "offset": "None"}},
	{"both empty", map[string]string{"sequencenumber": "", "offset": ""}},
	{"sequence `abc`", map[string]string{"sequencenumber": "abc", "offset": "100"}},
	{"sequence `10abc`", map[string]string{"sequencenumber": "10abc", "offset": "100"}},
	{"keys `SequenceNumber`, `Offset`", map[string]string{"SequenceNumber": "10", "Offset": "100"}},
	{"no metadata", nil},
	{"`-1`, `-1`", map[string]string{"sequencenumber": "-1", "offset": "-1"}},
	{"beyond 2^53", map[string]string{"sequencenumber": "9007199254740993", "offset": "100"}},
}

// oddRecords shows what each client makes of them, one group for each.
func (r *storeRun) oddRecords(t *testing.T) string {
	t.Helper()
	c, err := container.NewClientFromConnectionString(r.connection, storeContainer, nil)
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("| record |")
	var rule strings.Builder
	rule.WriteString("\n| --- |")
	for _, reader := range r.clients {
		b.WriteString(" " + reader.name() + " |")
		rule.WriteString(" --- |")
	}
	b.WriteString(rule.String() + "\n")
	write := func(group, folder string, meta map[string]string) {
		t.Helper()
		pointers := map[string]*string{}
		for k, v := range meta {
			pointers[k] = &v
		}
		name := "contoso.servicebus.windows.net/telemetry/" + group + "/" + folder + "/0"
		_, err := c.NewBlockBlobClient(name).Upload(t.Context(), streaming.NopCloser(strings.NewReader("")), &blockblob.UploadOptions{Metadata: pointers})
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, odd := range oddMetadata {
		fmt.Fprintf(&b, "| %s |", odd.name)
		group := r.names()
		write(group, "checkpoint", odd.meta)
		for _, reader := range r.clients {
			s := &storeTrial{run: r, ctx: t.Context(), reader: reader, group: group}
			out, err := s.call(reader, request{Action: "saved"})
			cell := "none"
			switch {
			case err != nil:
				cell = "fails"
			case len(out.Saved) == 1 && out.Saved[0].Sequence == "error":
				cell = "error of the partition"
			case len(out.Saved) == 1:
				cell = fmt.Sprintf("`%s`, `%s`", out.Saved[0].Offset, out.Saved[0].Sequence)
			}
			b.WriteString(" " + cell + " |")
		}
		b.WriteString("\n")
	}
	for _, odd := range []struct {
		name string
		meta map[string]string
	}{{"ownership without metadata", nil}, {"ownership with key `OwnerId`", map[string]string{"OwnerId": "x"}}, {"ownership with other keys", map[string]string{"a": "b"}}} {
		fmt.Fprintf(&b, "| %s |", odd.name)
		group := r.names()
		write(group, "ownership", odd.meta)
		for _, reader := range r.clients {
			s := &storeTrial{run: r, ctx: t.Context(), reader: reader, group: group}
			out, err := s.call(reader, request{Action: "owners"})
			cell := "not listed"
			switch {
			case err != nil:
				cell = "fails"
			case len(out.Ownership) == 1 && out.Ownership[0].Owner == "":
				cell = "free"
			case len(out.Ownership) == 1:
				cell = "owned by `" + out.Ownership[0].Owner + "`"
			}
			b.WriteString(" " + cell + " |")
		}
		b.WriteString("\n")
	}
	return b.String()
}
