package node

import (
	"fmt"

	"github.com/hubferry/hubferry/internal/amqp"
)

// tracer shows the frames of one connection, one line each.
type tracer struct {
	t      amqp.Tracer
	prefix string
	line   func(string)
}

func newTracer(namespace string, id uint64, line func(string)) *tracer {
	return &tracer{prefix: fmt.Sprintf("%s conn=%d ", namespace, id), line: line}
}

func (t *tracer) print(text string) { t.line(t.prefix + text) }

func (t *tracer) header(d amqp.Direction, h amqp.ProtocolHeader) { t.print(t.t.Header(d, h)) }

func (t *tracer) frame(d amqp.Direction, f amqp.Frame) { t.print(t.t.Frame(d, f)) }

// sent shows the frames in a piece of output.
func (t *tracer) sent(frames []byte) { t.t.Frames(amqp.Sent, frames, t.print) }
