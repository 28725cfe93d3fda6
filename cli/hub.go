package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/hubferry/hubferry/config"
	"github.com/hubferry/hubferry/hub"
)

const hubHelp = `Serve one or more Event Hubs namespaces on this machine, and the blobs of checkpoint stores.

Each namespace listens on a port of its own: plain AMQP, AMQP over WebSockets and, with a
certificate, both over TLS, all on that port. The SDKs of all languages reach it unchanged
with the connection strings that are printed ("hubferry hub env" prints them too).

Without --data everything is in memory and ends with the process. With it, what was
confirmed survives a kill of the process; --fsync batch makes it survive a loss of power.

With --blob or --container there is a storage account besides, for the checkpoint stores of the
SDKs: containers and small block blobs, on a port of its own (10000, as Azurite's).

Nothing but loopback is listened on unless an address says so. What a namespace holds comes
from the flags, from the "hub" section of a configuration, or from a Config.json of
Microsoft's emulator.`

const hubExample = `  hubferry hub --hub telemetry
  hubferry hub --namespace west --namespace east --hub telemetry:8:hubferry --data ./data
  hubferry hub --hub telemetry --container checkpoints
  hubferry hub --emulator Config.json
  eval "$(hubferry hub env --namespace west)"; echo "$WEST_CONNECTION"`

// hubFlags are the flags of hub and hub env.
type hubFlags struct {
	config, emulator string
	namespaces, hubs []string
	blob, containers []string
	data, fsync      string
	retention        time.Duration
	certificate, key string
	log              logFlags
}

func (e *environment) hubCommand() *cobra.Command {
	var f hubFlags
	c := &cobra.Command{
		Use: "hub", Short: "Serve Event Hubs namespaces on this machine", Long: hubHelp, Example: hubExample,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return e.serveHub(c.Context(), &f) },
	}
	flags := c.PersistentFlags()
	flags.StringVarP(&f.config, "config", "c", "", "take the \"hub\" section of this configuration, a `FILE`")
	flags.StringVar(&f.emulator, "emulator", "", "take a Config.json of Microsoft's Event Hubs emulator, a `FILE`")
	flags.StringArrayVar(&f.namespaces, "namespace", nil, "`NAME[=ADDRESS]` of a namespace; may repeat (default \"local\")")
	flags.StringArrayVar(&f.hubs, "hub", nil, "`HUB` as NAME[:PARTITIONS[:GROUP,GROUP]], in every namespace, or NAMESPACE/NAME...; may repeat")
	flags.StringArrayVar(&f.blob, "blob", nil, "`ACCOUNT[=ADDRESS]` of a storage account for checkpoints; may repeat")
	flags.StringArrayVar(&f.containers, "container", nil, "`CONTAINER` in every storage account, or ACCOUNT/CONTAINER; may repeat (account "+hub.PublishedAccount+" without --blob)")
	flags.StringVar(&f.data, "data", "", "`FOLDER` of the data; in memory without it")
	flags.StringVar(&f.fsync, "fsync", "", "`WHEN` an event is confirmed: batch, interval or never (default interval)")
	flags.DurationVar(&f.retention, "retention", 0, "how long events are kept (default 168h)")
	flags.StringVar(&f.certificate, "tls-certificate", "", "PEM `FILE` with a certificate: TLS is taken too")
	flags.StringVar(&f.key, "tls-key", "", "PEM `FILE` with the certificate's key")
	f.log.add(c, slog.LevelInfo)
	c.AddCommand(e.hubEnvCommand(&f))
	return c
}

const hubEnvHelp = `Print the connection strings of the namespaces as shell variables, such as
WEST_CONNECTION, for the same flags as hub. The first storage account is
AZURE_STORAGE_CONNECTION_STRING; each is also NAME_STORAGE_CONNECTION.`

func (e *environment) hubEnvCommand(f *hubFlags) *cobra.Command {
	return &cobra.Command{
		Use: "env", Short: "Print connection strings", Long: hubEnvHelp, Args: cobra.NoArgs,
		Example: `  eval "$(hubferry hub env --namespace west --namespace east)"`,
		RunE: func(*cobra.Command, []string) error {
			o, err := f.options(e)
			if err != nil {
				return &exitError{ExitUsage, err}
			}
			for i := range o.Namespaces {
				n := &o.Namespaces[i]
				address := o.ListenAddress(i)
				if strings.HasSuffix(address, ":0") {
					return &exitError{ExitUsage, fmt.Errorf("namespace %s listens on any free port, which only the running hub knows", n.Name)}
				}
				fmt.Fprintf(e.stdout, "export %s_CONNECTION='%s'\n", variable(n.Name), hub.ConnectionString(address, ruleOf(n), ""))
			}
			return e.blobEnv(&o)
		},
	}
}

// blobEnv prints the connection strings of storage accounts.
func (e *environment) blobEnv(o *hub.Options) error {
	for i := range o.Blob {
		a := &o.Blob[i]
		address := o.BlobListenAddress(i)
		if strings.HasSuffix(address, ":0") {
			return &exitError{ExitUsage, fmt.Errorf("storage account %s listens on any free port, which only the running hub knows", a.AccountName())}
		}
		if i == 0 {
			fmt.Fprintf(e.stdout, "export AZURE_STORAGE_CONNECTION_STRING='%s'\n", a.ConnectionString(address))
		}
		fmt.Fprintf(e.stdout, "export %s_STORAGE_CONNECTION='%s'\n", variable(a.AccountName()), a.ConnectionString(address))
	}
	return nil
}

// serveHub serves until the context ends.
func (e *environment) serveHub(ctx context.Context, f *hubFlags) error {
	o, err := f.options(e)
	if err != nil {
		return &exitError{ExitUsage, err}
	}
	if o.Log, err = e.logger(&f.log, e.stderr); err != nil {
		return err
	}
	o.Trace = f.log.trace(e.stderr)
	signal.Ignore(syscall.SIGPIPE) // clients go on when nobody reads the log any more
	server, err := hub.New(ctx, o)
	if err != nil {
		return failed(err)
	}
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	ended, err := e.listen(ctx, serving, server, &o)
	if err != nil {
		return failed(errors.Join(err, server.Close(ctx)))
	}
	if !slices.ContainsFunc(o.Namespaces, func(n hub.NamespaceOptions) bool { return len(n.Hubs) > 0 }) && o.Dir == "" {
		fmt.Fprintln(e.stderr, "there are no hubs yet; --hub NAME makes some, and so does the management API")
	}
	select {
	case <-ctx.Done():
		err = nil
	case err = <-ended:
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	return failed(errors.Join(err, server.Close(closing)))
}

// listen serves everything that o describes, until serving ends, and prints
// the connection strings. The first error of serving comes out of ended.
func (e *environment) listen(ctx, serving context.Context, server *hub.Server, o *hub.Options) (ended <-chan error, err error) {
	errs := make(chan error, len(o.Namespaces)+len(o.Blob))
	listen := func(what, address string) (net.Listener, error) {
		ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", what, err)
		}
		return ln, nil
	}
	for i := range o.Namespaces {
		n := &o.Namespaces[i]
		ln, err := listen("namespace "+n.Name, o.ListenAddress(i))
		if err != nil {
			return nil, err
		}
		go func() { errs <- server.Serve(serving, ln, n.Name) }()
		fmt.Fprintf(e.stdout, "%-12s %s\n", n.Name, hub.ConnectionString(ln.Addr().String(), ruleOf(n), ""))
	}
	for i := range o.Blob {
		a := &o.Blob[i]
		ln, err := listen("storage account "+a.AccountName(), o.BlobListenAddress(i))
		if err != nil {
			return nil, err
		}
		go func() { errs <- server.ServeBlob(serving, ln, a.AccountName()) }()
		fmt.Fprintf(e.stdout, "%-12s %s\n", a.AccountName(), a.ConnectionString(ln.Addr().String()))
	}
	return errs, nil
}

// options puts together what the flags and the files say.
func (f *hubFlags) options(e *environment) (hub.Options, error) {
	var o hub.Options
	var err error
	switch {
	case f.config != "" && f.emulator != "":
		return o, errors.New("--config and --emulator are two descriptions of one thing: give one")
	case f.config != "":
		err = config.LoadInto(e.input(f.config), "hub", &o)
	case f.emulator != "":
		o, err = hub.LoadEmulatorConfig(f.emulator)
	}
	if err != nil {
		return o, err
	}
	if len(o.Namespaces)+len(o.Blob) == 0 && len(f.namespaces) == 0 {
		f.namespaces = []string{"local"}
	}
	for _, text := range f.namespaces {
		name, address, _ := strings.Cut(text, "=")
		o.Namespaces = append(o.Namespaces, hub.NamespaceOptions{Name: name, Listen: address})
	}
	for _, text := range f.hubs {
		if err := addHub(&o, text); err != nil {
			return o, err
		}
	}
	if err := f.accounts(&o); err != nil {
		return o, err
	}
	if f.data != "" {
		o.Dir = f.data
	}
	if f.fsync != "" {
		o.Fsync = hub.Fsync(f.fsync)
	}
	if f.retention != 0 {
		o.Retention.For = f.retention
	}
	if f.certificate != "" || f.key != "" {
		o.TLSFiles = &hub.TLSFiles{Certificate: f.certificate, Key: f.key}
	}
	return o, o.Validate()
}

// addHub adds what a --hub flag says.
func addHub(o *hub.Options, text string) error {
	parts := strings.SplitN(text, ":", 3)
	namespace, name, one := strings.Cut(parts[0], "/")
	if !one {
		namespace, name = "", parts[0]
	}
	h := hub.HubOptions{Name: name}
	if len(parts) > 1 {
		n, err := strconv.Atoi(parts[1])
		if err != nil || n < 1 {
			return fmt.Errorf("--hub %s: %q is no number of partitions", text, parts[1])
		}
		h.Partitions = n
	}
	if len(parts) > 2 {
		h.ConsumerGroups = strings.Split(parts[2], ",")
	}
	found := false
	for i := range o.Namespaces {
		if n := &o.Namespaces[i]; namespace == "" || n.Name == namespace {
			n.Hubs = append(n.Hubs, h)
			found = true
		}
	}
	if !found {
		return fmt.Errorf("--hub %s: there is no namespace %q", text, namespace)
	}
	return nil
}

// accounts adds what the --blob and --container flags say.
func (f *hubFlags) accounts(o *hub.Options) error {
	for _, text := range f.blob {
		name, address, _ := strings.Cut(text, "=")
		o.Blob = append(o.Blob, hub.AccountOptions{Name: name, Listen: address})
	}
	if len(f.containers) > 0 && len(o.Blob) == 0 {
		o.Blob = []hub.AccountOptions{{Name: hub.PublishedAccount}}
	}
	for _, text := range f.containers {
		account, name, one := strings.Cut(text, "/")
		if !one {
			account, name = "", text
		}
		found := false
		for i := range o.Blob {
			if a := &o.Blob[i]; account == "" || a.AccountName() == account {
				a.Containers = append(a.Containers, name)
				found = true
			}
		}
		if !found {
			return fmt.Errorf("--container %s: there is no storage account %q", text, account)
		}
	}
	return nil
}

// ruleOf returns the rule whose connection string is printed: the strongest one.
func ruleOf(n *hub.NamespaceOptions) hub.Rule {
	best := hub.DefaultRule()
	for i, r := range n.Rules {
		if i == 0 || r.Rights&hub.Manage != 0 {
			best = r
		}
	}
	return best
}

// variable makes a part of the name of a shell variable of that of a namespace
// or account.
func variable(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToUpper(name))
}
