package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hubferry/hubferry"
)

const sendHelp = `Send events to a hub: each line of the files, or of standard input, is the body of one.

The address is CONNECTION/HUB[/PARTITION], with a connection of the configuration, or
HUB[/PARTITION] with --connection or --brokers. --key names the field of the JSON line that
becomes the partition key, --key-separator what stands between the key and the body of each
line; without a key events are spread over the partitions. Lines of one key are stored in
their order. Empty lines are left out. A line that cannot be sent ends the command with
exit code 1, when what stands before it has been sent.

With --tombstones a line that has a key and no body is sent with a null body, which deletes
the key in a compacted Kafka topic.

--generate makes a load of its own instead of reading anything.`

const sendExample = `  hubferry send west/flights flights.ndjson --key origin
  tail -f app.log | hubferry send west/logs
  printf 'a7:on\na8:\n' | hubferry send --brokers kafka-1:9092 state --key-separator : --tombstones
  hubferry send west/load --generate 100000 --size 1024 --keys 1000 --rate 5000`

// sendFlags are the flags of send.
type sendFlags struct {
	endpointFlags
	key, contentType     string
	separator            string
	tombstones           bool
	properties           []string
	rate                 float64
	generate, size, keys int
	json                 bool
	parsed               hubferry.Properties
	partition            int // index of the only partition that is sent to, or -1
}

func (e *environment) sendCommand() *cobra.Command {
	var f sendFlags
	c := &cobra.Command{
		Use: "send ADDRESS [FILE...]", Short: "Send events", Long: sendHelp, Example: sendExample,
		Args: cobra.MinimumNArgs(1),
		RunE: func(c *cobra.Command, args []string) error { return e.send(c.Context(), &f, args[0], args[1:]) },
	}
	f.add(c)
	c.Flags().StringVar(&f.key, "key", "", "`FIELD` of the JSON line that becomes the partition key, such as origin or properties.net")
	c.Flags().StringVar(&f.separator, "key-separator", "", "`TEXT` between the key and the body of a line")
	c.Flags().BoolVar(&f.tombstones, "tombstones", false, "send a null body where a line has a key and nothing after --key-separator")
	c.MarkFlagsMutuallyExclusive("key", "key-separator")
	c.Flags().StringVar(&f.contentType, "content-type", "", "content `TYPE` of the events")
	c.Flags().StringArrayVar(&f.properties, "property", nil, "application property as `NAME=VALUE`; may repeat")
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
	case f.generate > 0 && (f.key != "" || f.separator != ""):
		return errors.New("--key and --key-separator are about lines; made-up events get their keys by --keys")
	case f.tombstones && f.separator == "":
		return errors.New("--tombstones needs --key-separator: a line holds its key then")
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
	if p.address.HasSequence {
		return &exitError{ExitUsage, fmt.Errorf("%s: the hub gives the sequence number: send to a hub or a partition", address)}
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
		f.partition = slices.IndexFunc(layout.Places, func(at *hubferry.Place) bool { return at.Partition == p.address.Partition })
		if f.partition < 0 {
			return noSuchPartition(p.address.Partition, len(layout.Places))
		}
	}
	report, err := e.transfer(ctx, f, files, w, &layout)
	if f.json {
		err = errors.Join(err, json.NewEncoder(e.stdout).Encode(report))
	} else {
		fmt.Fprintf(e.stderr, "sent %d events, %d bytes, in %.1f s\n", report.Events, report.Bytes, report.Seconds)
	}
	if err == nil && ctx.Err() != nil && (f.generate > 0 || len(files) > 0) {
		err = errors.New("interrupted before everything was sent")
	}
	return failed(err) // an interrupt ends a pipe in good order
}

// transfer sends what is produced. Whatever ends it, a bad line too, what was read before
// that is sent.
func (e *environment) transfer(ctx context.Context, f *sendFlags, files []string, w hubferry.Writer, l *hubferry.Layout) (sent, error) {
	reading, stop := context.WithCancel(ctx)
	defer stop()
	events, produced := make(chan *hubferry.Event, 1000), make(chan error, 1)
	go func() {
		err := e.produce(reading, f, files, events)
		produced <- err
		close(events)
	}()
	report, err := (&delivery{writer: w, route: spread(l, f.partition)}).deliver(ctx, len(l.Places), events)
	select {
	case problem := <-produced:
		if ctx.Err() == nil {
			err = errors.Join(err, problem)
		}
	default: // it waits for a line that nobody needs any more
	}
	return report, err
}
