package entity

import (
	"strconv"
	"strings"
)

// ParseFilter reads the selector of a receiver's source, such as
// "amqp.annotation.x-opt-offset > '-1'". An empty one is the beginning. The
// error is an InvalidField error.
func ParseFilter(expr string) (Start, error) {
	s := strings.TrimSpace(expr)
	if s == "" {
		return Start{Kind: StartEarliest}, nil
	}
	field, value, ok := strings.Cut(s, ">")
	if !ok {
		return Start{}, badFilter(expr)
	}
	start := Start{}
	if v, eq := strings.CutPrefix(strings.TrimSpace(value), "="); eq {
		start.Inclusive, value = true, v
	}
	value = strings.TrimSpace(value)
	if len(value) >= 2 && value[0] == '\'' && value[len(value)-1] == '\'' {
		value = value[1 : len(value)-1]
	}
	switch strings.TrimSpace(field) {
	case "amqp.annotation.x-opt-offset":
		start.Kind = StartOffset
	case "amqp.annotation.x-opt-sequence-number":
		start.Kind = StartSequence
	case "amqp.annotation.x-opt-enqueued-time", "amqp.annotation.x-opt-enqueuedtimeutc":
		start.Kind = StartTime
	default:
		return Start{}, badFilter(expr)
	}
	switch {
	case start.Kind == StartOffset && value == "@latest":
		start.Kind = StartLatest
		return start, nil
	case start.Kind != StartTime && value == "-1":
		return Start{Kind: StartEarliest}, nil
	}
	v, err := strconv.ParseInt(value, 10, 64)
	if err != nil {
		return Start{}, badFilter(expr)
	}
	start.Value = v
	return start, nil
}

func badFilter(expr string) *Error {
	return &Error{Condition: InvalidField, Text: "The filter '" + expr + "' is not valid: want amqp.annotation.x-opt-offset, x-opt-sequence-number or x-opt-enqueued-time, > or >=, and a value.", Status: 400}
}
