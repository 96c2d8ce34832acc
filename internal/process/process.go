// Package process ends commands together with all that they start.
//
// A command gets a process group of its own. It knows the differences between the systems: Linux also kills the command when tow dies, which it
// tells by the thread that started it; Windows has no groups, and only the command itself is killed there. What leaves the group is beyond it.
package process

import (
	"os"
	"os/exec"
	"sync"
)

// Group is a command with what it starts.
type Group struct {
	cmd *exec.Cmd

	mu   sync.Mutex // guards gone, and is held while the group is signalled
	gone bool       // the number of the group may be another's by now
}

// New prepares a command that has not been started. On Linux the command dies with the thread that calls its Start: keep the thread with
// runtime.LockOSThread until Wait has returned.
func New(cmd *exec.Cmd) *Group {
	prepare(cmd)
	return &Group{cmd: cmd}
}

// Wait waits for the command, which was started, and kills what is left of the group. How it ended is in the command's ProcessState.
func (g *Group) Wait() error {
	if awaitEnd(g.cmd.Process) {
		g.end()
		return g.cmd.Wait()
	}
	err := g.cmd.Wait()
	g.end()
	return err
}

// end kills the group for the last time. As far as the system allows, that is before the command is reaped.
func (g *Group) end() {
	g.mu.Lock()
	defer g.mu.Unlock()
	kill(g.cmd.Process)
	g.gone = true
}

// Terminate asks the group to end. Once the command has ended it does nothing.
func (g *Group) Terminate() { g.signal(terminate) }

// Kill ends the group at once. Once the command has ended it does nothing: Wait has done it.
func (g *Group) Kill() { g.signal(kill) }

func (g *Group) signal(send func(*os.Process)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.gone {
		send(g.cmd.Process)
	}
}
