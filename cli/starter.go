package cli

import (
	"regexp"
	"strings"
)

// A starterPart is what a driver contributes to the configuration that init writes.
// NAME stands for the connection's name, VARIABLE for it in capitals.
type starterPart struct {
	connection string // below the connection's name
	source     string // the task's source
	target     string
}

// starters are the drivers that init knows. Others have their tables in
// docs/configuration.md.
var starters = map[string]starterPart{
	"eventhubs": {
		connection: `    eventhubs:
      connectionString: "${VARIABLE_CONNECTION}"   # of the namespace, from the portal
      # In the place of a connection string, Microsoft Entra ID:
      # namespace: contoso-NAME.servicebus.windows.net
      # credential: default
      # transport: websocket                   # through port 443
`,
		source: `      hub: NAME/telemetry                     # connection/hub
      consumerGroup: hubferry                 # belongs to this task alone; create it first
`,
		target: "NAME/telemetry",
	},
	"kafka": {
		connection: `    kafka:
      brokers: ["${VARIABLE_BROKER}"]            # host:port of one broker or several
      # tls: {}
      # sasl: { mechanism: scram-sha-512, username: hubferry, password: "${file:/run/secrets/NAME}" }
`,
		source: `      topic: NAME/telemetry                   # connection/topic
      # consumerGroup: hubferry               # by default the task's name
`,
		target: "NAME/telemetry",
	},
}

const starterHead = `# yaml-language-server: $schema=./hubferry.schema.json
#
# Hubferry replicates what this file says: "hubferry validate" checks it, "hubferry run"
# runs it. docs/configuration.md has every key.
version: 1

# Where the namespaces and clusters are. Secrets come from outside: ${NAME} is an
# environment variable, ${file:PATH} the content of a file.
connections:
`

const starterTail = `
# Where progress is kept. This is the default: an SQLite database beside this file.
# checkpoints:
#   sqlite: { path: hubferry.checkpoints.db }

# Settings for all tasks; a task can have its own.
# defaults:
#   onError: stop              # what happens to an event that the target never takes: stop, drop or dead-letter
#   onGap: stop                # what happens when the source no longer has the next event: stop or continue
#   window: { events: 20000 }  # how far reading may run ahead; a crash repeats at most that

tasks:
  telemetry:                                  # the name stays with what the task writes: keep it
    source:
`

// starter returns a configuration that moves one hub.
func starter(from, to string) string {
	fill := func(text, name string) string {
		return strings.NewReplacer("NAME", name, "VARIABLE", strings.ToUpper(name)).Replace(text)
	}
	var b strings.Builder
	b.WriteString(starterHead)
	b.WriteString("  west:\n" + fill(starters[from].connection, "west"))
	b.WriteString("  east:\n" + fill(starters[to].connection, "east"))
	b.WriteString(starterTail)
	b.WriteString(fill(starters[from].source, "west"))
	b.WriteString(`      start: earliest                         # when there is no checkpoint yet: earliest, latest or a time
    target: ` + fill(starters[to].target, "east") + `

  # One task for each value:
  # mirror-{hub}:
  #   forEach: { hub: [payments, clicks] }
  #   source: { hub: "west/{hub}", consumerGroup: "hubferry.{hub}" }
  #   target: "east/{hub}"
`)
	return b.String()
}

// variables returns the environment variables that a starter's connection needs.
func variables(driver, name string) []string {
	text := strings.ReplaceAll(starters[driver].connection, "VARIABLE", strings.ToUpper(name))
	var list []string
	for line := range strings.SplitSeq(text, "\n") {
		if m := starterVariable.FindStringSubmatch(line); m != nil && !strings.HasPrefix(strings.TrimSpace(line), "#") {
			list = append(list, m[1])
		}
	}
	return list
}

var starterVariable = regexp.MustCompile(`\$\{([A-Z_]+)\}`)

// localStarter returns a configuration that works as it is, with the commands for the
// file that it goes to: the embedded hub takes its section, and the key is the one that
// Microsoft published for the emulator.
func localStarter(file string) string {
	option := " --config " + file
	if file == "-" || file == defaultConfig {
		file, option = defaultConfig, ""
	}
	return strings.NewReplacer("CONFIG", file, "OPTION", option).Replace(localText)
}

const localText = `# yaml-language-server: $schema=./hubferry.schema.json
#
# Two Event Hubs namespaces on this machine, and a task between them:
#
#   hubferry hub --config CONFIG     serves both namespaces
#   hubferry runOPTION     moves events from west to east
#   echo '{"n":1}' | hubferry sendOPTION west/telemetry
#   hubferry peekOPTION east/telemetry
version: 1

# What "hubferry hub" serves. The key below is the one that Microsoft published for its
# emulator: it is no secret, and it is accepted on loopback only.
hub:
  dir: ./data # without it everything is in memory, and a new start finds no place to go on at
  namespaces:
    - name: west
      listen: 127.0.0.1:5672
      hubs: [ { name: telemetry, partitions: 4, consumerGroups: [hubferry] } ]
    - name: east
      listen: 127.0.0.1:5673
      hubs: [ { name: telemetry, partitions: 4 } ]

connections:
  west: { eventhubs: { connectionString: "Endpoint=sb://127.0.0.1:5672;SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;" } }
  east: { eventhubs: { connectionString: "Endpoint=sb://127.0.0.1:5673;SharedAccessKeyName=RootManageSharedAccessKey;SharedAccessKey=SAS_KEY_VALUE;UseDevelopmentEmulator=true;" } }

tasks:
  telemetry:
    source: { hub: west/telemetry, consumerGroup: hubferry }
    target: east/telemetry
`
