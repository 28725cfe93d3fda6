package hubferry_test

import (
	"strings"
	"testing"

	"github.com/hubferry/hubferry"
)

// list makes properties of "name=text" words.
func list(words string) hubferry.Properties {
	var p hubferry.Properties
	for w := range strings.FieldsSeq(words) {
		name, text, _ := strings.Cut(w, "=")
		p = append(p, hubferry.Property{Name: name, Value: hubferry.String(text)})
	}
	return p
}

func words(p hubferry.Properties) string {
	var all []string
	for _, q := range p {
		all = append(all, q.Name+"="+q.Value.String())
	}
	return strings.Join(all, " ")
}

func TestPropertiesSet(t *testing.T) {
	tests := []struct{ before, name, after string }{
		{"", "a", "a=new"},
		{"b=1", "a", "b=1 a=new"},
		{"a=1", "a", "a=new"},
		{"a=1 b=2 a=3 c=4", "a", "b=2 a=new c=4"},
		{"a=1 a=2 a=3", "a", "a=new"},
	}
	for _, tt := range tests {
		p := list(tt.before)
		p.Set(tt.name, hubferry.String("new"))
		if got := words(p); got != tt.after {
			t.Errorf("set %s in %q: %q, want %q", tt.name, tt.before, got, tt.after)
		}
	}
}

func TestPropertiesGetAndDelete(t *testing.T) {
	p := list("a=1 b=2 a=3")
	if v, ok := p.Get("a"); !ok || v.String() != "3" {
		t.Errorf("a is %v", v)
	}
	if v, ok := p.Get("A"); ok {
		t.Errorf("names differ in case, yet A is %v", v)
	}
	if v, ok := hubferry.Properties(nil).Get("a"); ok || !v.IsNull() {
		t.Errorf("nothing holds %v", v)
	}
	if p.Delete("c") || words(p) != "a=1 b=2 a=3" {
		t.Errorf("deleting nothing left %q", words(p))
	}
	if !p.Delete("a") || words(p) != "b=2" {
		t.Errorf("deleting a left %q", words(p))
	}
	if p.Size() < len("b2") || hubferry.Properties(nil).Size() != 0 {
		t.Errorf("size %d", p.Size())
	}
}

func BenchmarkPropertiesGet(b *testing.B) {
	p := list("a=1 b=2 c=3 d=4 e=5 f=6 g=7 h=8")
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := p.Get("a"); !ok {
			b.Fatal("lost")
		}
	}
}
