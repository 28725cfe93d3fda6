package config_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/hubferry/hubferry/config"
)

// FuzzLoad feeds anything to Load: it must not panic, every problem must have a place
// inside the file, and nothing that came from outside may appear in a message.
func FuzzLoad(f *testing.F) {
	for _, folder := range []string{"bad", "good"} {
		for _, a := range archives(f, folder) {
			f.Add(unescape.Replace(a.file("hubferry.yaml")))
		}
	}
	const secret = "hunter2-hunter2-hunter2"
	reg := registry()
	f.Fuzz(func(t *testing.T, data []byte) {
		_, err := config.Load(config.Input{
			File:   "hubferry.yaml",
			Lookup: func(string) (string, bool) { return secret, true },
			ReadFile: func(name string) ([]byte, error) {
				if name == "hubferry.yaml" {
					return data, nil
				}
				return []byte(secret), nil
			},
			Now: now,
		}, reg)
		if err == nil {
			return
		}
		var problems config.Problems
		if !errors.As(err, &problems) || !problems.Fatal() {
			t.Fatalf("%T is not a list of problems with an error", err)
		}
		lines := 1 // YAML has three line breaks
		for i, c := range data {
			if c == '\n' || c == '\r' && (i+1 == len(data) || data[i+1] != '\n') {
				lines++
			}
		}
		for _, p := range problems {
			if p.Line < 1 || p.Column < 1 || p.Line > lines+1 {
				t.Errorf("no place in a file of %d lines: %s", lines, p)
			}
			if strings.Contains(p.Message, secret) {
				t.Errorf("a value is shown: %s", p)
			}
		}
	})
}

// FuzzAddress checks that what ParseAddress accepts comes back the same.
func FuzzAddress(f *testing.F) {
	for _, s := range []string{"west/telemetry", "west/telemetry/3@1841", "a/b%2Fc/%40", "a//", "a/b@1", "%/%", "a/b/c@-1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := config.ParseAddress(text)
		if err != nil {
			return
		}
		b, err := config.ParseAddress(a.String())
		if err != nil || a != b {
			t.Errorf("%q became %+v, then %+v (%v)", text, a, b, err)
		}
	})
}
