package faults

import (
	"context"
	"fmt"
	"time"
)

// moment is when a fault comes.
type moment uint8

const (
	whenIdle     moment = iota // nothing is under way
	inBatch                    // events are on their way to the target
	atCheckpoint               // a checkpoint is about to be stored
	atTakeOver                 // an instance has just got a partition
	atStart                    // an instance is about to connect
	moments
	underLoad = moments // the moment that was asked for did not come: some other
)

var momentNames = [...]string{"idle", "in mid-batch", "at a checkpoint", "at a take-over", "at start", "at some other moment"}

// moments that do not come for so long do not come: nothing is sent, or nothing saved, while
// an earlier fault lasts.
const noShow = 4 * time.Second

func (m moment) String() string { return momentNames[m] }

// reach is called where a moment is: whoever waits for it acts before it passes.
func (w *world) reach(m moment, x *instance) {
	w.mu.Lock()
	act := w.armed[m]
	delete(w.armed, m)
	w.mu.Unlock()
	if act != nil {
		act(x)
	}
}

// at waits for a moment, and has something done in it. It reports whether the moment came.
func (w *world) at(m moment, act func(x *instance)) bool {
	if m == whenIdle {
		w.load.pause(true)
		defer w.load.pause(false)
		for end := time.Now().Add(noShow); !w.idle(); pause(w.ctx, 10*time.Millisecond) {
			if time.Now().After(end) || w.ctx.Err() != nil {
				return false
			}
		}
		act(w.running()[0])
		return true
	}
	done := make(chan struct{})
	once := func(x *instance) { act(x); close(done) }
	w.mu.Lock()
	w.armed[m] = once
	w.mu.Unlock()
	if m == inBatch {
		for _, x := range w.running() {
			x.watchTarget()
		}
	}
	go w.bringAbout(m)
	wait, cancel := context.WithTimeout(w.ctx, noShow)
	defer cancel()
	select {
	case <-done:
		return true
	case <-wait.Done():
	}
	w.mu.Lock()
	_, still := w.armed[m]
	delete(w.armed, m)
	w.mu.Unlock()
	if !still { // it has come just now
		<-done
		return true
	}
	return false
}

// watchTarget waits for the next transfer of events to the target.
func (x *instance) watchTarget() {
	for host, r := range x.relays {
		if sideOf(host) == target {
			r.await(func(chunk []byte) bool {
				if len(chunk) < 200 {
					return false
				}
				x.w.reach(inBatch, x)
				return true
			})
		}
	}
}

// bringAbout makes a moment come that does not come by itself.
func (w *world) bringAbout(m moment) {
	if m != atTakeOver && m != atStart {
		return
	}
	all := w.running()
	if len(all) > 2 || (len(all) == 2 && m == atTakeOver) {
		if err := w.leave(all[0]); err != nil {
			w.fail(fmt.Errorf("leave: %w", err))
		}
		return
	}
	if err := w.join(); err != nil {
		w.fail(fmt.Errorf("join: %w", err))
	}
}
