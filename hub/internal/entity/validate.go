package entity

import (
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// Longest names, from the service's quotas.
const (
	maxHubName   = 256
	maxGroupName = 50
	maxRuleName  = 256
	maxRules     = 12
)

// nameForm is the service's rule for entity names: letters, digits, '.', '-',
// '_' and, in hubs only, '/'; letters or digits at both ends.
var (
	hubForm   = regexp.MustCompile(`^[A-Za-z0-9]$|^[A-Za-z0-9][\w\-./]*[A-Za-z0-9]$`)
	groupForm = regexp.MustCompile(`^[A-Za-z0-9]$|^[A-Za-z0-9][\w\-.]*[A-Za-z0-9]$`)
)

// CheckHubName returns nil for a name that a hub can have.
func CheckHubName(name string) error {
	switch {
	case name == "":
		return invalid("hub name", "it is empty")
	case utf8.RuneCountInString(name) > maxHubName:
		return invalid("hub name", "it has %d characters, at most %d are allowed", utf8.RuneCountInString(name), maxHubName)
	case !hubForm.MatchString(name) || strings.Contains(name, "//"):
		return invalid("hub name", "'%s' is not allowed: use letters, digits, '.', '-', '_' and '/', and begin and end with a letter or digit", name)
	}
	for word := range strings.SplitSeq(strings.ToLower(name), "/") {
		switch word {
		case "consumergroups", "partitions", "publishers", "messages":
			return invalid("hub name", "'%s' is not allowed: the part '%s' has a meaning in addresses", name, word)
		}
	}
	return nil
}

// CheckGroupName returns nil for a name that a consumer group can have.
func CheckGroupName(name string) error {
	switch {
	case strings.EqualFold(name, DefaultGroup):
		return nil
	case name == "":
		return invalid("consumer group name", "it is empty")
	case utf8.RuneCountInString(name) > maxGroupName:
		return invalid("consumer group name", "it has %d characters, at most %d are allowed", utf8.RuneCountInString(name), maxGroupName)
	case !groupForm.MatchString(name):
		return invalid("consumer group name", "'%s' is not allowed: use letters, digits, '.', '-' and '_', and begin and end with a letter or digit", name)
	}
	return nil
}

// CheckRules returns nil for rules that a namespace or a hub can have. Keys
// are not part of the error.
func CheckRules(rules []Rule) error {
	if len(rules) > maxRules {
		return invalid("authorization rules", "there are %d, at most %d are allowed", len(rules), maxRules)
	}
	seen := map[string]bool{}
	for _, r := range rules {
		low := strings.ToLower(r.Name)
		switch {
		case r.Name == "":
			return invalid("authorization rule", "the name is empty")
		case utf8.RuneCountInString(r.Name) > maxRuleName || strings.ContainsAny(r.Name, "&=;"):
			return invalid("authorization rule", "the name '%s' is not allowed", r.Name)
		case seen[low]:
			return invalid("authorization rule", "the name '%s' is given twice", r.Name)
		case r.Key == "":
			return invalid("authorization rule", "'%s' has no key", r.Name)
		case r.Rights&^AllRights != 0 || r.Rights == 0:
			return invalid("authorization rule", "'%s' needs at least one of the rights Listen, Send and Manage", r.Name)
		}
		seen[low] = true
	}
	return nil
}

// check validates a spec and sets its defaults.
func (s *HubSpec) check(l Limits) error {
	if err := CheckHubName(s.Name); err != nil {
		return err
	}
	if s.Partitions == 0 {
		s.Partitions = min(4, l.Partitions)
	}
	if s.Partitions < 1 || s.Partitions > l.Partitions {
		return invalid("partition count", "%d is not between 1 and %d", s.Partitions, l.Partitions)
	}
	seen := map[string]bool{strings.ToLower(DefaultGroup): true}
	for _, g := range s.Groups {
		if err := CheckGroupName(g); err != nil {
			return err
		}
		if low := strings.ToLower(g); seen[low] && low != strings.ToLower(DefaultGroup) {
			return invalid("consumer group name", "'%s' is given twice", g)
		} else {
			seen[low] = true
		}
	}
	if len(seen) > l.Groups {
		return quota(fmt.Sprintf("The hub '%s' would have %d consumer groups with $Default; the limit is %d.", s.Name, len(seen), l.Groups))
	}
	if s.Status > ReceiveDisabled {
		return invalid("status", "it is not known")
	}
	if s.Retention.For < 0 || s.Retention.Bytes < 0 || s.Retention.Tombstones < 0 {
		return invalid("retention", "it is negative")
	}
	return CheckRules(s.Rules)
}
