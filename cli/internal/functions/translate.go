package functions

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// Finding is something that a person should know of the translation.
type Finding struct {
	Function string // "" is the host
	Key      string
	Text     string
	// Lost says that something was not carried, or must be looked at; else it was carried in
	// another form, or is not needed.
	Lost bool
}

// Translation is a configuration made of a function app.
type Translation struct {
	YAML     []byte
	Findings []Finding
	Tasks    int
}

// Translate makes a configuration. Secrets are never copied: connections name environment
// variables in their place.
func Translate(app *App) (*Translation, error) {
	t := &translator{app: app, names: map[string]string{}}
	var tasks yaml.MapSlice
	for i := range app.Functions {
		if task := t.task(&app.Functions[i]); task != nil {
			tasks = append(tasks, yaml.MapItem{Key: taskName(app.Functions[i].Name), Value: task})
		}
	}
	t.host()
	result := &Translation{Findings: t.findings, Tasks: len(tasks)}
	if len(tasks) == 0 {
		return result, nil
	}
	document := yaml.MapSlice{{Key: "version", Value: 1}, {Key: "connections", Value: t.connections}}
	if t.store {
		document = append(document, yaml.MapItem{Key: "checkpoints", Value: yaml.MapSlice{{Key: "blob", Value: t.blob()}}})
	}
	if d := t.defaults(); len(d) > 0 {
		document = append(document, yaml.MapItem{Key: "defaults", Value: d})
	}
	body, err := yaml.Marshal(append(document, yaml.MapItem{Key: "tasks", Value: tasks}))
	result.YAML = append([]byte(head), body...)
	return result, err
}

const head = `# yaml-language-server: $schema=./hubferry.schema.json
#
# By "hubferry import functions", which said what it could not carry.
#
# What is not as with the function app:
# - An event that cannot be sent stops its partition, with an error, until it is resumed. A function whose retries are used
#   up goes on without the event. "onError: dead-letter" puts such events aside.
# - Events get repl-source and repl-id beside the properties of the guidance, which tell where they come from.
`

type translator struct {
	app         *App
	connections yaml.MapSlice
	names       map[string]string // connections by what they are made of
	findings    []Finding
	store       bool // a source needs a checkpoint store
}

func (t *translator) say(function, key string, lost bool, format string, args ...any) {
	t.findings = append(t.findings, Finding{Function: function, Key: key, Lost: lost, Text: fmt.Sprintf(format, args...)})
}

// task translates a function, or says why it cannot.
func (t *translator) task(f *Function) yaml.MapSlice {
	var in map[string]any
	var outs []map[string]any
	for _, b := range f.Bindings {
		switch kind := strings.ToLower(text(b, "type")); {
		case strings.HasSuffix(kind, "trigger"):
			in = b
		case strings.EqualFold(text(b, "direction"), "out"):
			outs = append(outs, b)
		default:
			t.say(f.Name, text(b, "name"), true, "the input binding of type %s is not carried; what the code does with it needs an editor", text(b, "type"))
		}
	}
	if in == nil {
		t.say(f.Name, "bindings", true, "it has no trigger, and is left out")
		return nil
	}
	if !slices.ContainsFunc(outs, isTarget) {
		t.say(f.Name, "bindings", true, "it has no output binding that could be a target (compiled functions may have theirs in the code), and is left out")
		return nil
	}
	source := t.source(f, in)
	if source == nil {
		return nil
	}
	var targets []string
	for _, b := range outs {
		if !isTarget(b) {
			t.say(f.Name, text(b, "name"), true, "an output of type %s cannot be a target yet, and is left out", text(b, "type"))
			continue
		}
		targets = append(targets, t.target(f, b))
	}
	t.code(f)
	task := yaml.MapSlice{{Key: "source", Value: source}}
	if len(targets) == 1 {
		task = append(task, yaml.MapItem{Key: "target", Value: targets[0]})
	} else {
		task = append(task, yaml.MapItem{Key: "targets", Value: targets})
	}
	if retry := t.retry(f.Name, f.Retry); retry != nil {
		task = append(task, yaml.MapItem{Key: "retry", Value: retry})
	}
	if f.Disabled {
		t.say(f.Name, "disabled", true, "it is disabled; the task would run: start hubferry with --task for the others")
	}
	return task
}

// forwarders are the entry points of Microsoft's replication samples, which forward events
// as they are.
var forwarders = regexp.MustCompile(`(EventHubReplicationTasks\.ForwardToEventHub|\.ForwardToEventHub|\.ForwardToKafka)$`)

// code says what the function's own code may do.
func (t *translator) code(f *Function) {
	if f.EntryPoint != "" && forwarders.MatchString(f.EntryPoint) {
		t.say(f.Name, "entryPoint", false, "it forwards events, as the task does")
		return
	}
	t.say(f.Name, "entryPoint", true, "what its code does to events is not known here: the task forwards them unchanged; filters and transformations become editors or conditions")
}

// source translates a trigger.
func (t *translator) source(f *Function, b map[string]any) any {
	switch kind := strings.ToLower(text(b, "type")); kind {
	case "eventhubtrigger":
		t.store = true
		group := t.setting(text(b, "consumerGroup"))
		if group == "" {
			group = "$Default"
			t.say(f.Name, "consumerGroup", true, "it reads with $Default; give the task a consumer group of its own, if others read with that one")
		}
		at := yaml.MapSlice{{Key: "hub", Value: t.eventHub(f, b)}, {Key: "consumerGroup", Value: group}}
		if start := t.start(); start != "" {
			at = append(at, yaml.MapItem{Key: "start", Value: start})
		}
		// The checkpoints in the container are the function app's: another program's (G-10).
		return append(at, yaml.MapItem{Key: "shared", Value: true})
	case "kafkatrigger":
		at := yaml.MapSlice{{Key: "hub", Value: t.kafka(f, b)}}
		if group := t.setting(text(b, "consumerGroup")); group != "" {
			t.say(f.Name, "consumerGroup", true, "the task has a consumer group of its own name; %q is not carried, nor where it stands", group)
		}
		return at
	default:
		t.say(f.Name, text(b, "name"), true, "a trigger of type %s cannot be a source yet, so the function is left out", text(b, "type"))
		return nil
	}
}

// isTarget reports whether an output binding can be a target.
func isTarget(b map[string]any) bool {
	kind := text(b, "type")
	return strings.EqualFold(kind, "eventHub") || strings.EqualFold(kind, "kafka")
}

// target translates an output binding that can be a target.
func (t *translator) target(f *Function, b map[string]any) string {
	if strings.EqualFold(text(b, "type"), "kafka") {
		return t.kafka(f, b)
	}
	return t.eventHub(f, b)
}

// eventHub returns the address of an event hub, and adds its connection.
func (t *translator) eventHub(f *Function, b map[string]any) string {
	setting := text(b, "connection")
	hub := t.setting(text(b, "eventHubName"))
	if hub == "" {
		hub = t.setting(text(b, "path")) // of the first version
	}
	if hub == "" {
		if hub = entityPath(t.app.Settings[setting]); hub == "" {
			hub = "HUB"
			t.say(f.Name, "eventHubName", true, "the hub is named in the connection string only (EntityPath): write its name in the place of HUB")
		}
	}
	name := t.connect(setting, func() yaml.MapSlice {
		var options yaml.MapSlice
		if namespace, ok := t.identity(setting); ok {
			options = yaml.MapSlice{{Key: "namespace", Value: namespace}, {Key: "credential", Value: "default"}}
		} else {
			options = yaml.MapSlice{{Key: "connectionString", Value: t.variable(setting)}}
		}
		host := object(t.app.Host, "extensions", "eventHubs")
		if strings.EqualFold(text(host, "transportType"), "amqpWebSockets") {
			options = append(options, yaml.MapItem{Key: "transport", Value: "websocket"})
		}
		if e := text(host, "customEndpointAddress"); e != "" {
			options = append(options, yaml.MapItem{Key: "customEndpoint", Value: strings.TrimPrefix(strings.TrimPrefix(e, "sb://"), "amqps://")})
		}
		return yaml.MapSlice{{Key: "eventhubs", Value: options}}
	})
	return name + "/" + hub
}

// kafka returns the address of a topic, and adds its connection.
func (t *translator) kafka(f *Function, b map[string]any) string {
	brokers := t.setting(text(b, "brokerList"))
	name := t.connect(brokers, func() yaml.MapSlice {
		options := yaml.MapSlice{{Key: "brokers", Value: strings.Split(brokers, ",")}}
		protocol := strings.ToLower(strings.ReplaceAll(text(b, "protocol"), "_", ""))
		if strings.HasSuffix(protocol, "ssl") {
			options = append(options, yaml.MapItem{Key: "tls", Value: yaml.MapSlice{}})
		}
		mechanism := map[string]string{"plain": "plain", "scramsha256": "scram-sha-256", "scramsha512": "scram-sha-512"}[strings.ToLower(text(b, "authenticationMode"))]
		if mechanism != "" {
			options = append(options, yaml.MapItem{Key: "sasl", Value: yaml.MapSlice{
				{Key: "mechanism", Value: mechanism},
				{Key: "username", Value: t.credential(text(b, "username"), "KAFKA_USERNAME")},
				{Key: "password", Value: t.credential(text(b, "password"), "KAFKA_PASSWORD")},
			}})
		} else if mode := text(b, "authenticationMode"); mode != "" && !strings.EqualFold(mode, "NotSet") {
			t.say(f.Name, "authenticationMode", true, "%s is not carried: see the options of kafka connections", mode)
		}
		return yaml.MapSlice{{Key: "kafka", Value: options}}
	})
	return name + "/" + t.setting(text(b, "topic"))
}

// connect adds a connection once, and returns its name.
func (t *translator) connect(of string, options func() yaml.MapSlice) string {
	if name := t.names[of]; name != "" {
		return name
	}
	name := strings.Trim(notInName.ReplaceAllString(strings.ToLower(of), "-"), "-")
	for _, suffix := range []string{"-connection", "connection", "-connectionstring"} {
		if short := strings.TrimSuffix(name, suffix); short != "" {
			name = short
		}
	}
	if name == "" || name[0] < 'a' || name[0] > 'z' || strings.Contains(of, ":") {
		name = fmt.Sprintf("connection-%d", len(t.names)+1)
	}
	for base, n := name, 2; slices.ContainsFunc(t.connections, func(i yaml.MapItem) bool { return i.Key == name }); n++ {
		name = fmt.Sprintf("%s-%d", base, n)
	}
	t.names[of] = name
	t.connections = append(t.connections, yaml.MapItem{Key: name, Value: options()})
	return name
}

var (
	notInName     = regexp.MustCompile(`[^a-z0-9]+`)
	notInVariable = regexp.MustCompile(`[^A-Za-z0-9_]+`)
	settingRef    = regexp.MustCompile(`%([^%]+)%`)
)

// taskName makes a name for a task of a function's.
func taskName(function string) string {
	return strings.Trim(regexp.MustCompile(`[^A-Za-z0-9._-]+`).ReplaceAllString(function, "-"), "-.")
}

// variable refers to the environment variable that a secret setting is to stand in.
func (t *translator) variable(setting string) string {
	name := notInVariable.ReplaceAllString(setting, "_")
	if name != setting {
		t.say("", setting, true, "give the environment variable %s the value of this app setting", name)
	}
	return "${" + name + "}"
}

// credential refers to a value that may be a secret: as a setting, or else as a variable.
func (t *translator) credential(value, otherwise string) string {
	if m := settingRef.FindStringSubmatch(value); m != nil {
		return t.variable(m[1])
	}
	if _, isSetting := t.app.Settings[value]; isSetting {
		return t.variable(value)
	}
	t.say("", otherwise, true, "give the environment variable %s the value that the binding has", otherwise)
	return "${" + otherwise + "}"
}

// setting resolves %NAME% in a value that is no secret: with the local settings, or else as
// an environment variable.
func (t *translator) setting(value string) string {
	return settingRef.ReplaceAllStringFunc(value, func(ref string) string {
		name := strings.Trim(ref, "%")
		if v, ok := t.app.Settings[name]; ok && !strings.ContainsAny(v, ";=") {
			return v
		}
		return t.variable(name)
	})
}

// identity returns the namespace of a connection that signs in without a secret.
func (t *translator) identity(setting string) (string, bool) {
	for _, key := range []string{setting + "__fullyQualifiedNamespace", setting + ":fullyQualifiedNamespace"} {
		if v := t.app.Settings[key]; v != "" {
			return v, true
		}
	}
	return "", false
}

// entityPath returns the hub that a connection string names.
func entityPath(connectionString string) string {
	for part := range strings.SplitSeq(connectionString, ";") {
		if name, value, _ := strings.Cut(part, "="); strings.EqualFold(strings.TrimSpace(name), "EntityPath") {
			return value
		}
	}
	return ""
}

// start translates where a function begins without a checkpoint.
func (t *translator) start() any {
	o := object(t.app.Host, "extensions", "eventHubs", "initialOffsetOptions")
	switch kind := strings.ToLower(text(o, "type")); kind {
	case "fromend":
		return "latest"
	case "fromenqueuedtime":
		if at, err := time.Parse(time.RFC3339, text(o, "enqueuedTimeUtc")); err == nil {
			return at.UTC().Format(time.RFC3339)
		}
		t.say("", "initialOffsetOptions", true, "its enqueuedTimeUtc %q is no time; the task begins with the first event", text(o, "enqueuedTimeUtc"))
	}
	return ""
}

// retry translates a retry policy.
func (t *translator) retry(function string, policy map[string]any) yaml.MapSlice {
	if policy == nil {
		if policy = object(t.app.Host, "retry"); policy == nil {
			return nil
		}
	}
	least, most := duration(text(policy, "minimumInterval")), duration(text(policy, "maximumInterval"))
	if strings.EqualFold(text(policy, "strategy"), "fixedDelay") {
		least = duration(text(policy, "delayInterval"))
		most = least
	}
	var retry yaml.MapSlice
	if least > 0 {
		retry = append(retry, yaml.MapItem{Key: "min", Value: least.String()})
	}
	if most > 0 {
		retry = append(retry, yaml.MapItem{Key: "max", Value: most.String()})
	}
	if n, err := strconv.Atoi(text(policy, "maxRetryCount")); err == nil && n > 0 {
		retry = append(retry, yaml.MapItem{Key: "attempts", Value: n})
		t.say(function, "maxRetryCount", true, "after %d attempts a task stops the partition, while a function skips the events: see onError", n)
	}
	return retry
}

// duration reads a .NET time span such as 00:05:00 or 1.02:00:00; 0 is none.
func duration(span string) time.Duration {
	days, clock, has := strings.Cut(span, ".")
	if !has || !strings.Contains(clock, ":") {
		days, clock = "0", span
	}
	parts := strings.Split(clock, ":")
	d, err := strconv.Atoi(days)
	if len(parts) != 3 || err != nil {
		return 0
	}
	hms, err := time.ParseDuration(parts[0] + "h" + parts[1] + "m" + parts[2] + "s")
	if err != nil {
		return 0
	}
	return time.Duration(d)*24*time.Hour + hms
}

// blob is the store that the Functions host keeps its checkpoints in.
func (t *translator) blob() yaml.MapSlice {
	const container = "azure-webjobs-eventhub" // of the extension, in every version
	at := yaml.MapSlice{}
	if account := t.app.Settings["AzureWebJobsStorage__accountName"]; account != "" {
		at = append(at, yaml.MapItem{Key: "account", Value: "https://" + account + ".blob.core.windows.net"}, yaml.MapItem{Key: "credential", Value: "default"})
	} else {
		at = append(at, yaml.MapItem{Key: "connectionString", Value: "${AzureWebJobsStorage}"})
	}
	return append(at, yaml.MapItem{Key: "container", Value: container})
}

// defaults translates the times of load balancing.
func (t *translator) defaults() yaml.MapSlice {
	host := object(t.app.Host, "extensions", "eventHubs")
	var balance yaml.MapSlice
	interval, expiry := duration(text(host, "loadBalancingUpdateInterval")), duration(text(host, "partitionOwnershipExpirationInterval"))
	if interval > 0 {
		balance = append(balance, yaml.MapItem{Key: "interval", Value: interval.String()})
	}
	if expiry == 0 && t.store {
		expiry = 2 * time.Minute // the extension's own, for as long as both run
	}
	if expiry > 0 {
		if 3*interval > expiry {
			t.say("", "partitionOwnershipExpirationInterval", true, "%s is less than three times the interval %s; the task takes that", expiry, interval)
			expiry = 3 * interval
		}
		balance = append(balance, yaml.MapItem{Key: "expiry", Value: expiry.String()})
	}
	if len(balance) == 0 {
		return nil
	}
	return yaml.MapSlice{{Key: "balance", Value: balance}}
}

// hostKeys are the keys of host.json below extensions.eventHubs. Those with "" are carried.
var hostKeys = map[string]string{
	"initialoffsetoptions": "", "transporttype": "", "customendpointaddress": "", "loadbalancingupdateinterval": "", "partitionownershipexpirationinterval": "",
	"batchcheckpointfrequency": "not needed: progress is stored every 1,000 events or 5 s (checkpointEvery)",
	"maxeventbatchsize":        "not needed: batches fill themselves under load", "mineventbatchsize": "not needed: batches fill themselves under load",
	"maxwaittime": "not needed: nothing waits for a batch to fill", "prefetchcount": "not needed: see prefetch of the source",
	"clientretryoptions":               "not needed: see retry of the task",
	"tracklastenqueuedeventproperties": "not needed: lag is always known", "targetunprocessedeventthreshold": "not needed: nothing scales by itself; start more instances",
	"eventprocessoroptions": "of an older extension: batch and prefetch are not needed",
	"webproxy":              "not carried: set proxy on the connection",
}

// host says what became of the keys of host.json.
func (t *translator) host() {
	for key := range object(t.app.Host, "extensions", "eventHubs") {
		why, known := hostKeys[strings.ToLower(key)]
		switch {
		case !known:
			t.say("", key, true, "this key of host.json is not known, and not carried")
		case why != "":
			t.say("", key, strings.HasPrefix(why, "not carried"), "%s", why)
		}
	}
	slices.SortStableFunc(t.findings, func(a, b Finding) int {
		return strings.Compare(a.Function+"\x00"+a.Key, b.Function+"\x00"+b.Key)
	})
}
