package cli

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/hubferry/hubferry"
)

const sendHelp = `Send events to a hub: each line of the files, or of standard input, is the body of one.

The address is CONNECTION/HUB[/PARTITION], with a connection of the configuration, or
HUB[/PARTITION] with --connection. --key names the field of the JSON line that becomes the
partition key; without one events are spread over the partitions. Lines of one key are
stored in their order.

--generate makes a load of its own instead of reading anything.`

const sendExample = `  hubferry send west/flights flights.ndjson --key origin
  tail -f app.log | hubferry send west/logs
  hubferry send west/load --generate 100000 --size 1024 --keys 1000 --rate 5000`

// sendFlags are the flags of send.
type sendFlags struct {
	endpointFlags
	key, contentType     string
	properties           []string
	rate                 float64
	generate, size, keys int
	json                 bool
	parsed               hubferry.Properties
	partition            int
}

func (e *environment) sendCommand() *cobra.Command {
	var f sendFlags
	c := &cobra.Command{
		Use: "send ADDRESS [FILE...]", Short: "Send events", Long: sendHelp, Example: sendExample,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return e.send(c.Context(), &f, args[0], args[1:]) },
	}
	f.add(c)
	c.Flags().StringVar(&f.key, "key", "", "field of the JSON line that becomes the partition key, such as origin or properties.net")
	c.Flags().StringVar(&f.contentType, "content-type", "", "content type of the events")
	c.Flags().StringArrayVar(&f.properties, "property", nil, "application property as NAME=VALUE; may repeat")
	c.Flags().Float64Var(&f.rate, "rate", 0, "events per second; 0 means as fast as it goes")
	c.Flags().IntVar(&f.generate, "generate", 0, "send so many made-up events instead of lines")
	c.Flags().IntVar(&f.size, "size", 1024, "bytes of each made-up body")
	c.Flags().IntVar(&f.keys, "keys", 0, "number of different keys of made-up events; 0 means none")
	c.Flags().BoolVar(&f.json, "json", false, "print what was sent as one JSON object")
	return c
}

// check finds what is wrong with the flags before anything is opened.
func (f *sendFlags) check(files []string) error {
	switch {
	case f.generate < 0 || f.size < 0 || f.keys < 0 || f.rate < 0:
		return errors.New("--generate, --size, --keys and --rate cannot be negative")
	case f.generate > 0 && len(files) > 0:
		return errors.New("--generate makes its own events: give no files")
	case f.generate > 0 && f.key != "":
		return errors.New("--key names a field of JSON lines; made-up events get their keys by --keys")
	}
	for _, p := range f.properties {
		name, value, ok := strings.Cut(p, "=")
		if !ok || name == "" {
			return fmt.Errorf("--property %s: expected NAME=VALUE", p)
		}
		f.parsed = append(f.parsed, hubferry.Property{Name: name, Value: hubferry.String(value)})
	}
	return nil
}

// sent is the report of send, a promise to scripts.
type sent struct {
	Events  int     `json:"events"`
	Bytes   int64   `json:"bytes"`
	Seconds float64 `json:"seconds"`
}

func (e *environment) send(ctx context.Context, f *sendFlags, address string, files []string) error {
	if err := f.check(files); err != nil {
		return &exitError{ExitUsage, err}
	}
	p, err := e.endpoint(ctx, &f.endpointFlags, address)
	if err != nil {
		return err
	}
	defer func() { _ = p.Close(context.WithoutCancel(ctx)) }() // everything is confirmed
	w, err := p.writer(ctx)
	if err != nil {
		return failed(err)
	}
	layout, err := w.Layout(ctx)
	if err != nil {
		return failed(err)
	}
	f.partition = -1
	if p.address.Partition != "" {
		if f.partition, err = strconv.Atoi(p.address.Partition); err != nil || f.partition < 0 || f.partition >= len(layout.Places) {
			return &exitError{ExitUsage, fmt.Errorf("there is no partition %q; the hub has %d", p.address.Partition, len(layout.Places))}
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	events := make(chan *hubferry.Event, 1000)
	go func() {
		defer close(events)
		if err := e.produce(ctx, f, files, events); err != nil {
			cancel(err)
		}
	}()
	report, err := deliver(ctx, f, w, &layout, events)
	if cause := context.Cause(ctx); cause != nil && err == nil {
		err = cause
	}
	if f.json {
		err = errors.Join(err, json.NewEncoder(e.stdout).Encode(report))
	} else {
		fmt.Fprintf(e.stderr, "sent %d events, %d bytes, in %.1f s\n", report.Events, report.Bytes, report.Seconds)
	}
	if errors.Is(err, context.Canceled) {
		return nil // an interrupt ends a pipe in good order
	}
	return failed(err)
}

// produce puts events into out until there are no more.
func (e *environment) produce(ctx context.Context, f *sendFlags, files []string, out chan<- *hubferry.Event) error {
	began, n := time.Now(), 0
	emit := func(key string, body []byte) error {
		if f.rate > 0 {
			due := began.Add(time.Duration(float64(n) / f.rate * float64(time.Second)))
			if wait := time.Until(due); wait > 0 {
				select {
				case <-time.After(wait):
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
		n++
		c := &hubferry.Content{Body: body, Properties: f.parsed}
		if f.contentType != "" {
			c.Message = hubferry.Properties{{Name: hubferry.ContentType, Value: hubferry.String(f.contentType)}}
		}
		event := hubferry.NewEvent(c)
		if key != "" {
			event.Key = hubferry.Text(key)
		}
		select {
		case out <- &event:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if f.generate > 0 {
		for i := range f.generate {
			key := ""
			if f.keys > 0 {
				key = fmt.Sprintf("key-%d", i%f.keys)
			}
			if err := emit(key, madeUp(i, f.size)); err != nil {
				return err
			}
		}
		return nil
	}
	if len(files) == 0 {
		return readLines("standard input", e.stdin, f.key, emit)
	}
	for _, name := range files {
		file, err := os.Open(name)
		if err != nil {
			return err
		}
		err = readLines(name, file, f.key, emit)
		_ = file.Close() // it was only read
		if err != nil {
			return err
		}
	}
	return nil
}

// madeUp returns a body of a size that tells its number.
func madeUp(i, size int) []byte {
	b := fmt.Appendf(nil, `{"n":%d,"pad":"`, i)
	if pad := size - len(b) - 2; pad > 0 {
		b = append(b, bytes.Repeat([]byte{'x'}, pad)...)
	}
	return append(b, `"}`...)
}

// readLines emits each line with its key.
func readLines(name string, r io.Reader, key string, emit func(key string, body []byte) error) error {
	lines := bufio.NewReaderSize(r, 64<<10)
	for number := 1; ; number++ {
		line, err := lines.ReadBytes('\n')
		line = bytes.TrimRight(line, "\r\n")
		if len(line) > 0 {
			k, problem := keyOf(line, key)
			if problem != nil {
				return fmt.Errorf("%s line %d: %w", name, number, problem)
			}
			if err := emit(k, line); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
	}
}

// keyOf returns the value of a field of a JSON line, given by its path.
func keyOf(line []byte, path string) (string, error) {
	if path == "" {
		return "", nil
	}
	var v any
	d := json.NewDecoder(bytes.NewReader(line))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return "", fmt.Errorf("--key needs JSON lines: %w", err)
	}
	for field := range strings.SplitSeq(path, ".") {
		object, _ := v.(map[string]any) // nothing else has fields
		inner, ok := object[field]
		if !ok {
			return "", fmt.Errorf("there is no field %q for the key", path)
		}
		v = inner
	}
	switch v := v.(type) {
	case nil:
		return "", nil
	case map[string]any, []any:
		return "", fmt.Errorf("the field %q is no text or number: it makes no key", path)
	default:
		return fmt.Sprint(v), nil
	}
}

// deliver writes what arrives, gathering while writes are under way.
func deliver(ctx context.Context, f *sendFlags, w hubferry.Writer, l *hubferry.Layout, in <-chan *hubferry.Event) (sent, error) {
	var s sent
	began, turn := time.Now(), 0
	defer func() { s.Seconds = time.Since(began).Seconds() }()
	runs := make([][]*hubferry.Event, len(l.Places))
	for {
		event, more := <-in
		if !more {
			s.Seconds = time.Since(began).Seconds()
			return s, nil
		}
		for n := 0; more; n++ {
			p := f.partition
			switch {
			case p >= 0:
			case event.Key.Kind != hubferry.NoKey && l.Partition != nil:
				p = l.Partition(event.Key, len(l.Places))
			default:
				p = turn % len(l.Places)
			}
			runs[p] = append(runs[p], event)
			if c, err := event.Content(); err == nil {
				s.Bytes += int64(c.Size())
			}
			if n == 5000 {
				break
			}
			select {
			case event, more = <-in:
				continue
			default:
			}
			break
		}
		turn++
		n, err := write(ctx, w, runs)
		s.Events += n
		if err != nil {
			s.Seconds = time.Since(began).Seconds()
			return s, err
		}
	}
}

// write writes all runs at once and empties them. Blips are retried, in order.
func write(ctx context.Context, w hubferry.Writer, runs [][]*hubferry.Event) (int, error) {
	var all sync.WaitGroup
	counts, errs := make([]int, len(runs)), make([]error, len(runs))
	for p := range runs {
		if len(runs[p]) == 0 {
			continue
		}
		all.Go(func() {
			for attempt := 0; len(runs[p]) > 0; attempt++ {
				receipt, err := w.Write(ctx, hubferry.Run{Partition: p, Events: runs[p]})
				counts[p] += receipt.N
				runs[p] = runs[p][receipt.N:]
				kind := hubferry.KindOf(err)
				if err != nil && (attempt == 5 || ctx.Err() != nil || (kind != hubferry.Transient && kind != hubferry.Throttled)) {
					errs[p] = err
					return
				}
				if err != nil {
					select {
					case <-time.After(time.Duration(attempt+1) * time.Second):
					case <-ctx.Done():
					}
				}
			}
			runs[p] = nil
		})
	}
	all.Wait()
	total := 0
	for _, n := range counts {
		total += n
	}
	return total, errors.Join(errs...)
}
