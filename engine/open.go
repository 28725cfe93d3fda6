package engine

import "github.com/hubferry/hubferry"

// This file is the one place where optional interfaces are asked for.

func resumer(e hubferry.Editor) (hubferry.Resumer, bool) {
	r, ok := e.(hubferry.Resumer)
	return r, ok
}

func flusher(e hubferry.Editor) (hubferry.Flusher, bool) {
	f, ok := e.(hubferry.Flusher)
	return f, ok
}

func closer(e hubferry.Editor) (hubferry.Closer, bool) {
	c, ok := e.(hubferry.Closer)
	return c, ok
}
