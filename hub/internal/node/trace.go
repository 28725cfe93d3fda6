package node

import (
	"github.com/hubferry/hubferry/internal/amqp"
)

// tracer shows the frames of one connection.
type tracer struct {
	line func(string)
}

func newTracer(id uint64, line func(string)) *tracer {
	return &tracer{line: line}
}

func (t *tracer) header(out bool, h amqp.ProtocolHeader) {}
func (t *tracer) frame(out bool, f amqp.Frame)           {}
func (t *tracer) raw(out bool, frames []byte)            {}
