package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/towpath/towpath/internal/actioncache"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/quote"
	"github.com/towpath/towpath/internal/tree"
	"github.com/towpath/towpath/protocol"
)

// stepRecord is a step's result in the action cache.
type stepRecord struct {
	ExitCode int           `json:"exit_code"`
	Stdout   digest.Digest `json:"stdout"`
	Stderr   digest.Digest `json:"stderr"`
	Entries  []tree.Entry  `json:"entries"`
	Root     digest.Digest `json:"root"`
	Duration time.Duration `json:"duration_ns"`
	Run      string        `json:"run"`
}

// stepRun runs one command, or finds that it has been run.
func (o *operations) stepRun(ctx context.Context, c *calling, p protocol.StepRunParams) (any, error) {
	if err := checkLimits(p.Limits); err != nil {
		return nil, err
	}
	action, err := o.action(ctx, c, p)
	if err != nil {
		return nil, err
	}
	s := &step{o: o, c: c, p: p, action: action, key: action.Digest(), number: c.nextStep()}
	if c.node.stage.Effect() || o.run.q.NoCache || c.node.fresh {
		return s.execute(ctx)
	}
	// Two equal steps at once are one step: the second finds what the first has recorded.
	unlock, err := o.locks.lock(ctx, s.key)
	if err != nil {
		return nil, err
	}
	defer unlock()
	rec, err := s.lookUp(ctx)
	if err != nil {
		return nil, err
	}
	if rec != nil {
		return s.cached(*rec), nil
	}
	return s.execute(ctx)
}

// action makes the canonical form of a step. The program of the machine that it runs, and those that the stage was given, are part of it.
func (o *operations) action(ctx context.Context, c *calling, p protocol.StepRunParams) (executor.Action, error) {
	size := 0
	for _, a := range p.Args {
		size += len(a) + 1
	}
	command := executor.Command{Args: p.Args, Cwd: p.Cwd, Outputs: p.Outputs, Network: p.Network, Limits: limits(p.Limits)}
	if p.Root != nil {
		d, err := parseDigest(p.Root.Digest)
		if err != nil {
			return executor.Action{}, err
		}
		command.Root = d
	}
	for name, value := range p.Env {
		size += len(name) + len(value) + 2
		command.Env = append(command.Env, executor.EnvVar{Name: name, Value: value})
	}
	if size > protocol.MaxStepText {
		return executor.Action{}, protocol.Errorf(protocol.CodeTooLarge, "the arguments and variables of a step take %d bytes, at most %d are allowed", size, protocol.MaxStepText)
	}
	root, err := o.merge(ctx, p.Tree)
	if err != nil {
		return executor.Action{}, err
	}
	// An image has the programs of its own; those of the machine are no part of it.
	if p.Root == nil && len(p.Args) > 0 && p.Args[0] != "" {
		tool, ok, err := o.e.tools.ofStep(ctx, p.Args, p.Env)
		if err != nil {
			return executor.Action{}, err
		}
		if ok && !c.uses(tool) {
			c.use(tool)
		}
		if ok {
			command.Tools = append(command.Tools, c.named(tool))
		}
	}
	for _, t := range c.toolsGiven() {
		command.Tools = append(command.Tools, executor.Tool{Name: t.Name, Path: t.Path, Digest: t.Digest})
	}
	return executor.NewAction(command, root, executor.Platform(o.e.c.Executor.Isolation()))
}

// step is one step under way.
type step struct {
	o      *operations
	c      *calling
	p      protocol.StepRunParams
	action executor.Action
	key    digest.Digest
	number int
	// unusable says why a result that there is cannot be used; empty where there is none.
	unusable string
}

// lookUp returns the step's result from the cache, or nil. A result that this caller would not accept is none.
func (s *step) lookUp(ctx context.Context) (*stepRecord, error) {
	value, ok, err := s.o.commits.Get(ctx, actioncache.Step, s.key)
	if err != nil {
		return nil, fmt.Errorf("look up the result of a step: %w", err)
	}
	var rec stepRecord
	if !ok {
		return nil, nil
	}
	if json.Unmarshal(value, &rec) != nil {
		s.unusable = "its stored result cannot be read"
		return nil, nil
	}
	if !s.p.OK.Accepts(rec.ExitCode) {
		s.unusable = fmt.Sprintf("it ended with exit code %d, which is not accepted any more", rec.ExitCode)
		return nil, nil
	}
	s.unusable = "its result is not in the store any more"
	gone, err := s.o.e.c.Store.Missing(ctx, []digest.Digest{rec.Stdout, rec.Stderr})
	if err != nil || len(gone) > 0 {
		return nil, err
	}
	ok, err = whole(ctx, s.o.e.c.Store, rec.Root)
	if err != nil || !ok {
		return nil, err
	}
	s.unusable = ""
	return &rec, nil
}

// started tells that the step begins, and why it is run where it is.
func (s *step) started(reasons []event.Reason) {
	s.o.run.rec.emit(event.StepStarted{Stage: s.c.node.name, Step: s.number, Args: s.p.Args, Key: s.key.String(), Reasons: reasons})
	s.c.writeLog("$ " + s.command() + "\n")
}

func (s *step) cached(rec stepRecord) protocol.StepRunResult {
	s.started(nil)
	s.c.writeLog(fmt.Sprintf("(cached: run %s did it)\n", rec.Run))
	s.o.run.rec.emit(event.StepFinished{Stage: s.c.node.name, Step: s.number, Cached: true, From: rec.Run, ExitCode: rec.ExitCode, Duration: rec.Duration})
	return result(rec, true)
}

func result(rec stepRecord, cached bool) protocol.StepRunResult {
	out := protocol.StepRunResult{
		ExitCode: rec.ExitCode, Cached: cached, Tree: protocol.Directory{Digest: rec.Root.String()},
		Stdout: protocol.File{Digest: rec.Stdout.String(), Name: "stdout"}, Stderr: protocol.File{Digest: rec.Stderr.String(), Name: "stderr"},
	}
	for _, e := range rec.Entries {
		out.Outputs = append(out.Outputs, wireEntry(e))
	}
	return out
}

// execute runs the step and records its result.
func (s *step) execute(ctx context.Context) (any, error) {
	reasons := s.reasons(ctx)
	if err := s.storeAction(ctx); err != nil {
		return nil, err
	}
	select {
	case s.o.steps <- struct{}{}:
		defer func() { <-s.o.steps }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	s.o.warnOfGaps()
	s.started(reasons)
	stdout, stderr := s.capture(ctx, "stdout"), s.capture(ctx, "stderr")
	res, err := s.o.e.c.Executor.Execute(ctx, s.action, executor.Options{Stdout: stdout, Stderr: stderr, Accept: s.p.OK.Accepts})
	outDigest, outErr := stdout.finish()
	errDigest, errErr := stderr.finish()
	err = errors.Join(err, outErr, errErr)
	done := event.StepFinished{
		Stage: s.c.node.name, Step: s.number, ExitCode: res.ExitCode, Signal: res.Signal, Exceeded: res.Exceeded, Duration: res.Duration,
		UserTime: res.UserTime, SysTime: res.SystemTime, MaxRSS: res.MaxRSSBytes,
	}
	if err != nil {
		done.Error = err.Error()
		s.o.run.rec.emit(done)
		return nil, err
	}
	rec := stepRecord{
		ExitCode: res.ExitCode, Stdout: outDigest, Stderr: errDigest, Entries: res.Entries, Root: res.Root, Duration: res.Duration, Run: s.o.run.rec.id,
	}
	value, err := json.Marshal(rec)
	if err != nil {
		return nil, fmt.Errorf("record the result of a step: %w", err)
	}
	refused := s.refuse(res, len(value))
	if refused != nil {
		done.Refused = strings.TrimPrefix(refused.Message, s.command()+" ")
	}
	s.o.run.rec.emit(done)
	if refused != nil {
		return nil, refused
	}
	// What has ended well is kept, also when the run is being stopped.
	if !s.c.node.stage.Effect() {
		s.o.commits.add(actioncache.Step, s.key, value)
	}
	return result(rec, false), nil
}

// maxSaid bounds a command in a message, in bytes.
const maxSaid = 200

// command is what the messages about a step begin with: not more than tells which it is, since what is said of it comes after it.
func (s *step) command() string { return clip(quote.Line(s.p.Args...), maxSaid) }

// refuse says why the stage does not get what a command that ran to its end came to, or nil. size is that of its record.
func (s *step) refuse(res executor.Result, size int) *protocol.Error {
	switch {
	case !res.Accepted:
		return s.failed(res)
	case len(res.Missing) > 0:
		return s.lacks(res.Missing)
	case len(res.Entries) > protocol.MaxOutputs || size > actioncache.MaxValue && !s.c.node.stage.Effect():
		return s.tooMany(len(res.Entries))
	}
	return nil
}

// tooMany says that the outputs of the step are too many to be named one by one.
func (s *step) tooMany(n int) *protocol.Error {
	return &protocol.Error{
		Code: protocol.CodeTooLarge, Message: fmt.Sprintf("%s made %d outputs; a step has at most %d, and fewer with long names", s.command(), n, protocol.MaxOutputs),
		Hint: "declare the folder as the output instead of the files in it",
	}
}

// failed says that the command ended in a way that the stage does not accept.
func (s *step) failed(res executor.Result) *protocol.Error {
	how, hint := fmt.Sprintf("ended with exit code %d", res.ExitCode), ""
	switch {
	case res.Exceeded != "":
		how, hint = exceeded(res.Exceeded, s.action.Limits), "the stage sets this limit where it runs the step"
	case res.Signal != "":
		how = "ended with signal " + res.Signal
	}
	s.c.writeLog("(" + how + ")\n")
	return &protocol.Error{
		Code: protocol.CodeStepFailed, Message: s.command() + " " + how, Hint: hint,
		Step: &protocol.StepFailure{ExitCode: res.ExitCode, Args: s.p.Args},
	}
}

// lacks says that the command succeeded and did not make what it was said to make.
func (s *step) lacks(missing []string) *protocol.Error {
	message := fmt.Sprintf("%s did not make %s", s.command(), missing[0])
	if strings.ContainsAny(missing[0], `*?[{\`) {
		message = fmt.Sprintf("%s made nothing that matches %s", s.command(), missing[0])
	}
	hint := "outputs are relative to the top of the step's workspace"
	if s.p.Cwd != "" && !strings.HasPrefix(missing[0], s.p.Cwd+"/") {
		hint += fmt.Sprintf(", not to its cwd: did you mean %s?", path.Join(s.p.Cwd, missing[0]))
	}
	if strings.Contains(message, " matches ") {
		hint += `; *, ?, [ and { make an output a glob, and \ before one of them takes it as it is`
	}
	s.c.writeLog("(" + message + ")\n")
	return &protocol.Error{
		Code: protocol.CodeStepFailed, Message: message, Hint: hint, Step: &protocol.StepFailure{ExitCode: 0, Args: s.p.Args},
	}
}

// keyed is a set of locks by key, of which only those in use exist.
type keyed struct {
	mu sync.Mutex
	m  map[digest.Digest]*lock
}

type lock struct {
	held  chan struct{}
	users int
}

// lock waits until no one else holds the key.
func (k *keyed) lock(ctx context.Context, key digest.Digest) (unlock func(), err error) {
	k.mu.Lock()
	l := k.m[key]
	if l == nil {
		l = &lock{held: make(chan struct{}, 1)}
		k.m[key] = l
	}
	l.users++
	k.mu.Unlock()
	leave := func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(k.m, key)
		}
	}
	select {
	case l.held <- struct{}{}:
		return func() { <-l.held; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, context.Cause(ctx)
	}
}
