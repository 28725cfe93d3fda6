package hubferry_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/hubferry/hubferry"
)

func TestErrorTexts(t *testing.T) {
	cause := errors.New("connection reset")
	place := hubferry.NewPlace("west", "hub", "3", "", 3)
	tests := []struct {
		err  hubferry.Error
		want string
	}{
		{hubferry.Error{Op: "send"}, "send: fatal"},
		{hubferry.Error{Op: "send", Kind: hubferry.Transient, Err: cause}, "send: connection reset"},
		{hubferry.Error{Op: "send", Place: place, Kind: hubferry.NotFound, Hint: "create it"}, "send west/hub/3: not found (create it)"},
		{hubferry.Error{Op: "read", Place: place, Kind: hubferry.Gap, From: 4, To: 9}, "read west/hub/3: events 4 to 9 are missing"},
		{hubferry.Error{Op: "read", Kind: hubferry.Gap, From: 4, To: 3}, "read: event 4 is missing"},
		{hubferry.Error{Op: "read", Kind: hubferry.Gap, From: 4, To: 4, Err: cause}, "read: events 4 to 4 are missing: connection reset"},
		{hubferry.Error{Op: "read", Kind: hubferry.ErrorKind(99)}, "read: kind(99)"},
	}
	for _, tt := range tests {
		if got := tt.err.Error(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
		if tt.err.Err != nil && !errors.Is(&tt.err, cause) {
			t.Errorf("%v hides its cause", &tt.err)
		}
	}
}

func TestKindOf(t *testing.T) {
	lost := &hubferry.Error{Kind: hubferry.Lost, Op: "read", Err: &hubferry.Error{Kind: hubferry.Fatal}}
	tests := []struct {
		err  error
		want hubferry.ErrorKind
	}{
		{lost, hubferry.Lost},
		{fmt.Errorf("task: %w", lost), hubferry.Lost},
		{errors.Join(errors.New("x"), lost), hubferry.Lost},
		{errors.New("nobody knows"), hubferry.Transient},
		{nil, hubferry.Transient},
	}
	for _, tt := range tests {
		if got := hubferry.KindOf(tt.err); got != tt.want {
			t.Errorf("%v is %v, want %v", tt.err, got, tt.want)
		}
	}
	for k, want := range map[hubferry.ErrorKind]bool{hubferry.TooLarge: true, hubferry.Refused: true, hubferry.Fatal: false, hubferry.Gap: false} {
		if k.Poison() != want {
			t.Errorf("%v is poison: %v", k, !want)
		}
	}
}

// A secret does not show itself, whatever prints it (INV-8).
func TestSecretsStaySecret(t *testing.T) {
	const text = "kJ8-very-secret"
	type exported struct{ Password hubferry.Secret }
	type hidden struct{ password hubferry.Secret }
	s := hubferry.NewSecret(text)
	var b strings.Builder
	log := slog.New(slog.NewTextHandler(&b, nil))
	log.Info("connect", "secret", s, "in", exported{s}, "hidden", hidden{s})
	slog.New(slog.NewJSONHandler(&b, nil)).Info("connect", "secret", s, "in", exported{s})
	for _, v := range []any{s, &s, exported{s}, &exported{s}, hidden{s}, &hidden{s}, []hubferry.Secret{s}, map[string]any{"s": s}, []any{hidden{s}}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d", "%T"} {
			fmt.Fprintf(&b, verb+"\n", v)
		}
	}
	marshalled, err := json.Marshal(exported{s})
	if err != nil {
		t.Fatal(err)
	}
	b.Write(marshalled)
	for _, shown := range []string{text, fmt.Sprintf("%x", text)} {
		if i := strings.Index(b.String(), shown); i >= 0 {
			t.Errorf("a secret shows itself: ...%s", b.String()[max(0, i-60):i+len(shown)])
		}
	}
	var back hubferry.Secret
	if err := back.UnmarshalText([]byte(text)); err != nil || back.Reveal() != text || back.IsZero() {
		t.Errorf("unmarshalled to %q, %v", back.Reveal(), err)
	}
	if zero := (hubferry.Secret{}); !zero.IsZero() || zero.Reveal() != "" || !hubferry.NewSecret("").IsZero() {
		t.Error("a zero secret is empty")
	}
}
