package demo

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"time"
)

// errEndedWell is how a process ended that ended well.
var errEndedWell = errors.New("exit status 0")

// process is the replicating process: "hubferry run", as a user would start it.
type process struct {
	program, config, log string

	cmd  *exec.Cmd
	exit chan error
}

// start starts it. Its output is appended to the log file.
func (p *process) start() error {
	out, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	p.cmd = exec.Command(p.program, "run", "--config", p.config) //nolint:gosec,noctx // our own program; it is killed by hand
	p.cmd.Stdout, p.cmd.Stderr = out, out
	err = p.cmd.Start()
	_ = out.Close() // the process has its own handle
	if err != nil {
		return fmt.Errorf("start %s: %w", p.program, err)
	}
	exit, cmd := make(chan error, 1), p.cmd
	p.exit = exit
	go func() {
		err := cmd.Wait()
		if err == nil {
			err = errEndedWell
		}
		exit <- err
		close(exit) // whoever waits later finds that it is gone
	}()
	return nil
}

func (p *process) pid() int { return p.cmd.Process.Pid }

// ended receives when the process ends without having been killed by us.
func (p *process) ended() <-chan error { return p.exit }

// kill ends it as kill -9 does, and waits until it is gone.
func (p *process) kill() {
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Kill() // it may be gone already
	<-p.exit                 //nolint:errcheck // what is killed ends with an error
	p.cmd = nil
}

// stop asks it to stop, as an operator does, and waits. If ctx has ended, that was perhaps
// an interrupt from a terminal, which the process got as well, and a second one would end
// it at once: it first has a moment to end by itself.
func (p *process) stop(ctx context.Context) error {
	if ctx.Err() != nil {
		select {
		case err := <-p.exit:
			return p.gone(err)
		case <-time.After(3 * time.Second):
		}
	}
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		return nil //nolint:nilerr // some systems know no interrupt: kill follows
	}
	select {
	case err := <-p.exit:
		return p.gone(err)
	case <-time.After(40 * time.Second):
		return errors.New("the replicating process did not stop within 40 s")
	}
}

// gone notes that it has ended, and judges how.
func (p *process) gone(err error) error {
	p.cmd = nil
	if errors.Is(err, errEndedWell) {
		return nil
	}
	return fmt.Errorf("the replicating process did not stop cleanly: %w (see %s)", err, p.log)
}
