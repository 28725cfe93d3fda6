// Package rules holds the rules of this repository as tests. Each says why it is a rule when it fails, so that one can
// judge whether the rule or the change is wrong. What a linter can see is in .golangci.yml instead; import rules are in
// both, because here they hold for transitive imports too.
package rules
