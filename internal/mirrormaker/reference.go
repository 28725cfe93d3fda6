package mirrormaker

import (
	"regexp"
	"strings"
)

// providerRule is what Kafka's ConfigTransformer replaces: ${provider:path:key} or
// ${provider:key}.
var providerRule = regexp.MustCompile(`\$\{([^}:]*):(?:([^}:]*):)?([^}]*)\}`)

// variable returns the name of the environment variable that stands for something of a
// cluster, such as WEST_PASSWORD.
func variable(cluster, what string) string {
	var b strings.Builder
	for _, r := range strings.ToUpper(cluster) {
		if r < '0' || r > '9' && r < 'A' || r > 'Z' {
			r = '_'
		}
		b.WriteRune(r)
	}
	name := b.String() + "_" + what
	if name[0] >= '0' && name[0] <= '9' {
		name = "_" + name
	}
	return name
}

// reference turns a value into one of ours: the references to configuration providers
// become references to variables and files. name is the variable that stands for what
// has no other reference.
func (t *translator) reference(s *setting, value, name string) string {
	var b strings.Builder
	for {
		at := providerRule.FindStringSubmatchIndex(value)
		if at == nil {
			b.WriteString(literal(value))
			return b.String()
		}
		part := func(i int) string {
			if at[2*i] < 0 {
				return ""
			}
			return value[at[2*i]:at[2*i+1]]
		}
		b.WriteString(literal(value[:at[0]]))
		b.WriteString(t.provider(s, part(1), part(2), part(3), name))
		value = value[at[1]:]
	}
}

// literal escapes what Hubferry would take for a reference.
func literal(s string) string { return strings.ReplaceAll(s, "${", "$${") }

// provider returns our reference for one of a provider.
func (t *translator) provider(s *setting, provider, path, key, name string) string {
	class := t.file.find([2]string{"", "config.providers." + provider + ".class"}).value(map[string]string{
		"file": "FileConfigProvider", "env": "EnvVarConfigProvider", "directory": "DirectoryConfigProvider",
	}[provider])
	switch class[strings.LastIndexByte(class, '.')+1:] {
	case "EnvVarConfigProvider":
		return "${" + key + "}"
	case "DirectoryConfigProvider":
		return "${file:" + path + "/" + key + "}"
	case "FileConfigProvider":
		t.say(s, Todo, "set %s to the value of %q in %s: ${file:PATH} of Hubferry is the content of a whole file", name, key, path)
	default:
		t.say(s, Todo, "set %s to what the configuration provider %q gives for it: Hubferry reads variables and files", name, provider)
	}
	return "${" + name + "}"
}

// secret returns a reference for a secret. One that stands in the file is never copied.
func (t *translator) secret(s *setting, value, name string) string {
	if providerRule.MatchString(value) {
		return t.reference(s, value, name)
	}
	t.say(s, Todo, "set %s to the secret in this setting: it was not copied", name)
	return "${" + name + "}"
}

// jaasOption finds an option of a login module:
//
//	org.apache.kafka.common.security.scram.ScramLoginModule required username="a" password="b";
var jaasOption = regexp.MustCompile(`([A-Za-z][\w.]*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([^\s;"']+))`)

// jaas returns the options of a login module.
func jaas(value string) map[string]string {
	options := map[string]string{}
	for _, m := range jaasOption.FindAllStringSubmatch(value, -1) {
		options[m[1]] = jaasEscape.ReplaceAllString(m[2]+m[3], "$1") + m[4]
	}
	return options
}

var jaasEscape = regexp.MustCompile(`\\(.)`)
