package drivertest

import (
	"fmt"
	"strings"

	"github.com/hubferry/hubferry"
)

// Capabilities returns what drivers can do, as a table in Markdown for docs. It is made of the
// same Caps that decide which cases run.
func Capabilities(drivers []hubferry.Driver) string {
	rows := []struct {
		title string
		cell  func(c *hubferry.Caps) string
	}{
		{"source", func(c *hubferry.Caps) string { return yes(c.Source) }},
		{"target", func(c *hubferry.Caps) string { return yes(c.Target) }},
		{"partitions chosen by key", func(c *hubferry.Caps) string { return yes(c.Partitions) }},
		{"partition keys", func(c *hubferry.Caps) string { return yes(c.Keys) }},
		{"null body is not an empty one", func(c *hubferry.Caps) string { return yes(c.NullBody) }},
		{"AMQP bodies (value, sequences, sections)", func(c *hubferry.Caps) string { return yes(c.AMQPBodies) }},
		{"annotations of the producer", func(c *hubferry.Caps) string { return yes(c.Annotations) }},
		{"several properties of one name", func(c *hubferry.Caps) string { return yes(c.RepeatedNames) }},
		{"epochs", func(c *hubferry.Caps) string { return yes(c.Epochs) }},
		{"retention", func(c *hubferry.Caps) string { return yes(c.Retention) }},
		{"property types", types},
		{"largest event", size},
	}
	var b strings.Builder
	b.WriteString("| |")
	for i := range drivers {
		b.WriteString(" " + drivers[i].Name + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(drivers)) + "\n")
	for _, row := range rows {
		b.WriteString("| " + row.title + " |")
		for i := range drivers {
			b.WriteString(" " + row.cell(&drivers[i].Caps) + " |")
		}
		b.WriteString("\n")
	}
	return b.String()
}

func yes(v bool) string {
	if v {
		return "yes"
	}
	return "no"
}

func types(c *hubferry.Caps) string {
	if len(c.Types) > int(hubferry.KindDescribed) {
		return "all"
	}
	var names []string
	for _, k := range c.Types {
		names = append(names, k.String())
	}
	return strings.Join(names, ", ")
}

func size(c *hubferry.Caps) string {
	if c.MaxEvent == 0 {
		return "unknown"
	}
	return fmt.Sprintf("%d bytes", c.MaxEvent)
}
