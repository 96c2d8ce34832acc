// Package tty shows a run on a terminal: what is done scrolls by and stays, and below it a few lines tell what is going on now.
//
// The screen is drawn by a small renderer of its own and not by bubbletea. There is no input: bubbletea would put the terminal into raw mode
// and read from it, while Ctrl-C has to remain the signal that stops a run and type-ahead has to reach the shell. What is left is few lines.
//
// A frame is one write, between the marks of synchronized output, and there are at most 12.5 of them in a second. It goes up over the lines of
// the frame before, prints over them what has become permanent, and draws the live lines anew. Each begins with erasing its row and none
// wraps, so nothing flickers. After a frame the cursor stands visible at the start of the row below the live lines and the terminal is in the
// state in which it was: whatever kills the process, nothing has to be restored.
//
// When the terminal gets narrower, terminals wrap the rows that are there; the next frame reckons with it.
package tty

import (
	"io"
	"sync"
	"time"

	"github.com/towpath/towpath/internal/event"
)

const (
	// period is the time between two frames.
	period = 80 * time.Millisecond
	// maxPending is how many bytes may wait to be written before Emit waits too.
	maxPending = 1 << 20
)

// Options say how to draw. A zero size and a nil function stand for 80 columns and 24 rows.
type Options struct {
	// Width and Height are asked before every frame.
	Width, Height func() int
	// Color uses colours. The lines of steps that are shown keep theirs.
	Color bool
	// ASCII uses no signs beyond it.
	ASCII bool
	// Verbose shows everything that steps print, not only what was printed last.
	Verbose bool
	// Quiet leaves only warnings, failures and the summary, besides the live lines.
	Quiet bool
	// Command is how tow was called, for hints; without it "tow".
	Command string
}

// UI shows a run on a terminal. Writing is left to a goroutine, so that a terminal that was stopped does not stop the run.
type UI struct {
	w    io.Writer
	opts Options
	wake chan struct{}
	quit chan struct{}
	done chan struct{}
	once sync.Once

	mu      sync.Mutex
	written *sync.Cond
	screen  *screen
	closed  bool
	err     error
}

// New returns a UI that draws on w until it is closed.
func New(w io.Writer, opts Options) *UI {
	u := &UI{
		w:      w,
		opts:   opts,
		wake:   make(chan struct{}, 1),
		quit:   make(chan struct{}),
		done:   make(chan struct{}),
		screen: newScreen(opts),
	}
	u.written = sync.NewCond(&u.mu)
	go u.loop()
	return u
}

// Emit implements event.Sink.
func (u *UI) Emit(r event.Record) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for len(u.screen.above) > maxPending && u.err == nil && !u.closed {
		u.written.Wait()
	}
	if u.closed {
		return
	}
	u.screen.apply(r.Event, time.Now())
	if _, last := r.Event.(event.RunFinished); last || len(u.screen.above) > maxPending {
		select {
		case u.wake <- struct{}{}:
		default:
		}
	}
}

// Close draws what is left without live lines and returns the first error that writing met.
func (u *UI) Close() error {
	u.once.Do(func() {
		u.mu.Lock()
		u.closed = true
		u.written.Broadcast()
		u.mu.Unlock()
		close(u.quit)
		<-u.done
		u.mu.Lock()
		u.screen.close()
		u.mu.Unlock()
		u.draw()
	})
	return u.err
}

// loop draws a frame now and then.
func (u *UI) loop() {
	defer close(u.done)
	ticker := time.NewTicker(period)
	defer ticker.Stop()
	for {
		select {
		case <-u.quit:
			return
		case <-ticker.C:
		case <-u.wake:
		}
		u.draw()
	}
}

// draw writes a frame. Only one goroutine at a time calls it.
func (u *UI) draw() {
	width, height := ask(u.opts.Width, 80), ask(u.opts.Height, 24)
	u.mu.Lock()
	frame := u.screen.frame(width, height, time.Now())
	failed := u.err != nil
	u.mu.Unlock()
	if len(frame) == 0 || failed {
		return
	}
	_, err := u.w.Write(frame)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.err = err
	u.written.Broadcast()
}

func ask(size func() int, otherwise int) int {
	if size != nil {
		if n := size(); n > 0 {
			return n
		}
	}
	return otherwise
}
