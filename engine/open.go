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

func tailer(w hubferry.Writer) (hubferry.Tailer, bool) {
	t, ok := w.(hubferry.Tailer)
	return t, ok
}

func piecemeal(s hubferry.Source) (hubferry.Piecemeal, bool) {
	p, ok := s.(hubferry.Piecemeal)
	return p, ok
}

func piecemealTailer(t hubferry.Tailer) (hubferry.PiecemealTailer, bool) {
	p, ok := t.(hubferry.PiecemealTailer)
	return p, ok
}

func leased(h hubferry.Holder) (hubferry.Leased, bool) {
	l, ok := h.(hubferry.Leased)
	return l, ok
}

func closer(e hubferry.Editor) (hubferry.Closer, bool) {
	c, ok := e.(hubferry.Closer)
	return c, ok
}

func committerOf(w hubferry.Writer) (hubferry.Committer, bool) {
	c, ok := w.(hubferry.Committer)
	return c, ok
}

func maker(t hubferry.Target) (hubferry.Maker, bool) {
	m, ok := t.(hubferry.Maker)
	return m, ok
}

func describer(s hubferry.Source) (hubferry.Describer, bool) {
	d, ok := s.(hubferry.Describer)
	return d, ok
}

func copies(w hubferry.Writer) bool {
	_, ok := w.(hubferry.Copier)
	return ok
}

func submitter(w hubferry.Writer) (hubferry.Submitter, bool) {
	s, ok := w.(hubferry.Submitter)
	return s, ok
}
