package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/towpath/towpath/internal/process"
	"github.com/towpath/towpath/protocol"
)

// patience is how long a worker may take.
type patience struct {
	// describe is for loading a program and describing it. It is long: an import may be slow on a cold machine.
	describe time.Duration
	// pingEvery and ping find a process that lives and does nothing: one that was stopped, or that holds its interpreter.
	pingEvery, ping time.Duration
	// close is what a worker has to end by itself once its pipe is closed.
	close time.Duration
	// drain is what is waited for the output once the worker has ended, since something that it started may hold that open.
	drain time.Duration
}

func usualPatience() patience {
	return patience{
		describe: 2 * time.Minute, pingEvery: 10 * time.Second, ping: time.Minute, close: 3 * time.Second, drain: 250 * time.Millisecond,
	}
}

// LostError says that the worker process ended or stopped answering while it was needed. Nothing that it was doing counts as done.
type LostError struct {
	// Why says what became of it: "it exited with status 3".
	Why string
	// Err is what was seen on the connection.
	Err error
	// Output is the end of what it printed.
	Output string
}

func (e *LostError) Error() string {
	return "the process of the pipeline program was lost: " + e.Why
}

// Unwrap returns what was seen on the connection.
func (e *LostError) Unwrap() error { return e.Err }

// Worker is a running process that hosts the functions of a program.
type Worker struct {
	program  Program
	cmd      *exec.Cmd
	group    *process.Group
	conn     *protocol.Conn
	sdk      protocol.SDKInfo
	tail     *tail
	patience patience

	exited  chan struct{} // closed when the process has ended
	watched sync.WaitGroup
	stop    context.CancelFunc
	loaded  bool

	mu   sync.Mutex
	hung bool
	why  string // it was lost
}

// command is how a worker is started.
type command struct {
	args     []string
	dir      string
	env      []string
	patience patience
}

// start runs a worker and shakes hands with it. Requests of the worker go to handler until Close; lines that it prints go to output.
func start(ctx context.Context, p Program, c command, version string, handler protocol.Handler, output func(stream, line string)) (*Worker, error) {
	toWorker, err := newPipe()
	if err != nil {
		return nil, fmt.Errorf("start the pipeline program: %w", err)
	}
	fromWorker, err := newPipe()
	if err != nil {
		_ = toWorker.r.Close()
		_ = toWorker.w.Close()
		return nil, fmt.Errorf("start the pipeline program: %w", err)
	}
	w := &Worker{
		program: p, cmd: exec.Command(c.args[0], c.args[1:]...), conn: protocol.NewConn(fromWorker.r, toWorker.w, protocol.Options{}),
		tail: &tail{}, patience: c.patience, exited: make(chan struct{}),
	}
	out, errs := newLines("stdout", w.tail, output), newLines("stderr", w.tail, output)
	w.cmd.Dir, w.cmd.Stdout, w.cmd.Stderr = c.dir, out, errs
	w.cmd.Env = append(slices.Clone(c.env), protocol.FDsVariable+"=3,4")
	w.cmd.ExtraFiles = []*os.File{toWorker.r, fromWorker.w}
	w.cmd.WaitDelay = c.patience.drain
	w.group = process.New(w.cmd)
	started := make(chan error)
	go func() {
		defer close(w.exited)
		// Where the process dies with tow, it dies with the thread that started it, which for that has to stay.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := w.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		_ = w.group.Wait() // with what it started, which may hold its end of the connection open; the status is read from ProcessState
		out.flush()
		errs.flush()
	}()
	err = <-started
	// Now, and not when start returns: as long as we hold the worker's ends, its death is not seen.
	_ = toWorker.r.Close()
	_ = fromWorker.w.Close()
	if err != nil {
		_ = w.conn.Close()
		<-w.exited
		return nil, fmt.Errorf("start the pipeline program: %w", err)
	}
	serveCtx, stop := context.WithCancel(context.WithoutCancel(ctx))
	w.stop = stop
	w.watched.Go(func() {
		_ = w.conn.Serve(serveCtx, handler) // the reason is asked of conn.Err by whoever is owed an answer
	})
	w.watched.Go(func() {
		<-w.exited
		select {
		case <-w.conn.Done():
		case <-time.After(c.patience.drain): // what left its group has the connection still
			_ = w.conn.Close()
		}
	})
	if err := w.hello(ctx, version); err != nil {
		w.Close()
		return nil, err
	}
	w.watched.Go(func() { w.watch(serveCtx) })
	return w, nil
}

func (w *Worker) hello(ctx context.Context, version string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, w.patience.describe, errSlow)
	defer cancel()
	var result protocol.HelloResult
	err := w.call(ctx, protocol.MethodHello, protocol.HelloParams{
		Protocol: protocol.VersionRange{Min: protocol.Version, Max: protocol.Version},
		Engine:   protocol.EngineInfo{Name: "tow", Version: version}, Capabilities: Capabilities(),
	}, &result, nil)
	if protocol.CodeOf(err) == protocol.CodeUnsupported {
		return &Error{Text: err.Error(), Hint: "build the program with the SDK that this tow carries: see `tow sdk path`"}
	}
	if err != nil {
		return err
	}
	if result.Protocol != protocol.Version {
		return &Error{Text: fmt.Sprintf("the SDK of the pipeline program speaks version %d of the protocol, this tow speaks %d", result.Protocol, protocol.Version)}
	}
	w.sdk = result.SDK
	return nil
}

// Capabilities lists the methods that an engine has to answer, and their features.
func Capabilities() []string {
	return []string{
		protocol.MethodStepRun, protocol.MethodFileRead, protocol.MethodBlobBegin, protocol.MethodBlobAppend, protocol.MethodBlobCommit,
		protocol.MethodDirectoryList, protocol.MethodDirectoryGet, protocol.MethodDirectoryMake, protocol.MethodDirectoryFilter,
		protocol.MethodReportParse, protocol.MethodToolFind, protocol.MethodLog,
		protocol.FeatureNetwork, protocol.FeatureRoot, protocol.FeatureLimits,
	}
}

var errSlow = errors.New("it took too long")

func (w *Worker) describe(ctx context.Context) (protocol.DescribeResult, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, w.patience.describe, errSlow)
	defer cancel()
	var r protocol.DescribeResult
	err := w.call(ctx, protocol.MethodDescribe, protocol.DescribeParams{Program: w.program.Path, Root: w.program.Root}, &r, nil)
	w.loaded = err == nil
	return r, err
}

// load makes a worker ready for calls. It returns what the program read, or nothing when it was described and so is loaded already.
func (w *Worker) load(ctx context.Context) ([]protocol.ProgramFile, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, w.patience.describe, errSlow)
	defer cancel()
	var r protocol.LoadResult
	err := w.call(ctx, protocol.MethodLoad, protocol.LoadParams{Program: w.program.Path, Root: w.program.Root}, &r, nil)
	w.loaded = err == nil
	return r.Files, err
}

// Call calls the function of a stage. opened is told the call id before the function starts. When ctx ends the function is asked to stop; Call
// returns when it has, or when the worker is gone.
func (w *Worker) Call(ctx context.Context, p protocol.StageCallParams, opened func(id uint64)) (protocol.StageCallResult, error) {
	var r protocol.StageCallResult
	err := w.call(ctx, protocol.MethodStageCall, p, &r, opened)
	if err == nil && r.Value == nil {
		return r, protocol.Errorf(protocol.CodeInternal, "the SDK answered the call of stage %s without a value", p.Stage)
	}
	return r, err
}

// call makes a request and turns the end of the connection into a LostError. A worker that does not answer in time is ended.
func (w *Worker) call(ctx context.Context, method string, params, result any, opened func(uint64)) error {
	stopped := context.AfterFunc(ctx, func() {
		if method != protocol.MethodStageCall { // a stage has the engine's grace
			w.Kill()
		}
	})
	defer stopped()
	err := w.conn.CallWithID(ctx, method, params, result, opened)
	if err == nil || w.conn.Err() == nil {
		return err
	}
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, errSlow) {
		return cause
	}
	return w.lost(ctx, err)
}

// lost says what became of the process.
func (w *Worker) lost(ctx context.Context, err error) error {
	var v *protocol.ViolationError
	if errors.As(err, &v) {
		w.Kill()
	}
	select {
	case <-w.exited:
	case <-time.After(w.patience.close):
		w.Kill()
		<-w.exited
		return w.end("it closed its connection and went on", err)
	}
	w.mu.Lock()
	hung := w.hung
	w.mu.Unlock()
	var why string
	switch {
	case v != nil:
		why = v.Error()
	case errors.Is(context.Cause(ctx), errSlow):
		why = fmt.Sprintf("it did not answer within %v", w.patience.describe)
	case hung:
		why = fmt.Sprintf("it stopped answering for %v", w.patience.ping)
	default:
		why = "it ended: " + w.cmd.ProcessState.String()
	}
	return w.end(why, err)
}

// end keeps what is said first of the end of the process: later it would be that we killed it.
func (w *Worker) end(why string, err error) *LostError {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.why == "" {
		w.why = why
	}
	return &LostError{Why: w.why, Err: err, Output: w.tail.String()}
}

// watch asks again and again whether the worker is alive.
func (w *Worker) watch(ctx context.Context) {
	ticker := time.NewTicker(w.patience.pingEvery)
	defer ticker.Stop()
	for {
		select {
		case <-w.exited:
			return
		case <-w.conn.Done():
			return
		case <-ticker.C:
		}
		answered := make(chan struct{})
		w.watched.Go(func() {
			defer close(answered)
			_ = w.conn.Call(ctx, protocol.MethodPing, protocol.PingParams{}, nil) // any answer is a sign of life
		})
		select {
		case <-answered:
		case <-w.exited:
			return
		case <-time.After(w.patience.ping):
			w.mu.Lock()
			w.hung = true
			w.mu.Unlock()
			w.Kill()
			return
		}
	}
}

// Kill ends the process and all that it started at once.
func (w *Worker) Kill() { w.group.Kill() }

// Close ends the worker and returns when nothing of it is left: first by closing its pipe, then by killing it.
func (w *Worker) Close() {
	_ = w.conn.Close()
	select {
	case <-w.exited:
	case <-time.After(w.patience.close):
	}
	w.group.Kill()
	<-w.exited
	w.stop()
	w.watched.Wait()
}

type pipe struct{ r, w *os.File }

func newPipe() (pipe, error) {
	r, w, err := os.Pipe()
	return pipe{r, w}, err
}

// maxLine bounds a line of a worker's output.
const maxLine = 64 << 10

// lines cuts what a worker prints into lines.
type lines struct {
	stream string
	tail   *tail
	output func(stream, line string)
	buf    []byte
}

func newLines(stream string, t *tail, output func(stream, line string)) *lines {
	return &lines{stream: stream, tail: t, output: output}
}

// Write implements io.Writer.
func (l *lines) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		end := bytes.IndexByte(p, '\n')
		if end < 0 && len(l.buf)+len(p) < maxLine {
			l.buf = append(l.buf, p...)
			break
		}
		cut := end
		if end < 0 || len(l.buf)+end > maxLine {
			cut = min(len(p), max(0, maxLine-len(l.buf)))
		}
		l.buf = append(l.buf, p[:cut]...)
		p = p[cut:]
		if cut == end {
			p = p[1:]
		}
		l.emit()
	}
	return n, nil
}

// flush emits what is left without an end of line.
func (l *lines) flush() {
	if len(l.buf) > 0 {
		l.emit()
	}
}

func (l *lines) emit() {
	line := strings.ToValidUTF8(string(l.buf), "\uFFFD")
	l.buf = l.buf[:0]
	l.tail.add(line)
	if l.output != nil {
		l.output(l.stream, line)
	}
}

// tail keeps the last lines that a worker printed.
type tail struct {
	mu    sync.Mutex
	lines []string
}

func (t *tail) add(line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, line)
	if len(t.lines) > 20 {
		t.lines = slices.Delete(t.lines, 0, len(t.lines)-20)
	}
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, "\n")
}
