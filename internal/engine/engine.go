// Package engine does one run of a pipeline: it composes session, plan, scheduler, sources, caches and executor, and tells what happens in events.
//
// It decides what a stage depends on, whether a result can be used again, and why not where it cannot. It answers what a running stage asks for
// (steps, files, directories, reports, tools), so that both languages get every feature at once. It must not know how anything is shown, which
// command a person typed, or which implementation of a contract it was given.
//
// A run goes through one loop, which owns the scheduler (run.go). Probing a node computes its key and looks its result up (probe.go), calling it asks the
// worker (call.go), and while it runs the worker asks the engine (operations.go, step.go). Why something is done again is found where that is
// decided (reasons.go).
package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/towpath/towpath/internal/actioncache"
	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/plan"
	"github.com/towpath/towpath/internal/session"
	"github.com/towpath/towpath/internal/source"
	"github.com/towpath/towpath/protocol"
)

// Exit codes of a run, and of tow.
const (
	ExitOK        = 0
	ExitFailed    = 1   // a stage failed
	ExitPipeline  = 2   // the pipeline or its use is wrong; nothing was run
	ExitFault     = 3   // the engine or the machine failed
	ExitCancelled = 130 // the run was interrupted
)

// Config is what an Engine is made of.
type Config struct {
	Store    cas.Store
	Cache    actioncache.Cache
	Executor executor.Executor
	Sources  *source.Snapshotter
	Journal  Journal
	// Session is used with Handler and Output set by the engine.
	Session session.Config
	Program session.Program
	// Jobs is how many steps run at once. Two more stages are called at once, unless it is 1.
	Jobs int
	// Now is the clock.
	Now func() time.Time
	// Lookup is os.LookupEnv or its like: it gives parameters their values and tools their PATH.
	Lookup func(string) (string, bool)
}

// Engine runs a pipeline, or explains what a run would do.
type Engine struct {
	c     Config
	tools *tools
}

// New returns an engine.
func New(c Config) *Engine { return &Engine{c: c, tools: newTools(c)} }

// Request says what to run.
type Request struct {
	// Targets are the stages to run, with all that they need; none stands for every stage that is no effect.
	Targets []string
	// Params are the values that a person gave.
	Params map[string]string
	// NoCache runs everything again. New results are stored all the same.
	NoCache bool
}

// Result is how a run ended.
type Result struct {
	Run      string
	Outcome  event.Outcome
	ExitCode int
	// Failure says why the run failed; nil when it did not.
	Failure *event.Failure
}

// prepared is a run of which everything is known that is known before anything runs.
type prepared struct {
	session *session.Session
	stages  []*plan.Stage
	params  map[string]json.RawMessage
	sources map[string]sourceValue // by sourceKey
	last    map[string]LastCall
	// ensure sees to it that the store has the sources. A run in which everything is cached does without.
	ensure func(context.Context) error
}

// sourceValue is a snapshot as the value of an input.
type sourceValue struct {
	value json.RawMessage
	files int
}

// Run does one run and tells sink what happens in it. The error is one that came before anything ran, such as a wrong pipeline, and the history
// has no such run; a run that fails is a Result.
func (e *Engine) Run(ctx context.Context, q Request, sink event.Sink) (Result, error) {
	ops := newOperations(e)
	rec, err := e.record(ctx, sink)
	if err != nil {
		return Result{}, err
	}
	c := e.c.Session
	c.Handler = ops
	c.Output = func(stream, line string) { rec.emit(event.ProgramOutput{Stream: stream, Text: line}) }
	rec.emit(event.RunStarted{
		Version: c.Version, Program: e.c.Program.Name(), Targets: append([]string{}, q.Targets...), Params: q.Params, Jobs: e.c.Jobs,
	})
	p, err := e.prepare(ctx, q, c, rec)
	if err != nil {
		if p != nil {
			p.session.Close()
		}
		return Result{}, errors.Join(err, rec.refuse(event.RunRefused{ExitCode: ExitCode(err), Failure: describe(err, nil)}))
	}
	r := newRun(e, q, p, ops, rec)
	defer p.session.Close()
	return r.run(ctx)
}

// prepare describes the program, selects, binds and snapshots. rec may be nil.
func (e *Engine) prepare(ctx context.Context, q Request, c session.Config, rec *recorder) (*prepared, error) {
	began := e.c.Now()
	s, err := session.Open(ctx, e.c.Program, c)
	if err != nil {
		return nil, err
	}
	p := &prepared{session: s, ensure: once(e.c.Sources.Ensure)}
	if p.stages, err = s.Graph.Select(q.Targets); err != nil {
		return p, err
	}
	if err := refuseSecrets(p.stages); err != nil {
		return p, err
	}
	if p.params, err = s.Graph.Values(p.stages, q.Params, e.c.Lookup); err != nil {
		return p, err
	}
	if p.last, err = e.c.Journal.Last(ctx); err != nil {
		return p, err
	}
	if rec != nil {
		made := event.PlanMade{FromCache: s.FromCache, Duration: e.c.Now().Sub(began)}
		for _, st := range p.stages {
			deps := make([]string, len(st.Needs))
			for i, n := range st.Needs {
				deps[i] = n.Name
			}
			made.Stages = append(made.Stages, event.PlannedStage{
				Name: st.Name, Kind: string(st.Kind), Doc: st.Doc, Deps: deps, Expected: p.last[st.Name].Duration,
			})
		}
		rec.emit(made)
		for _, w := range ignored(p.stages) {
			rec.emit(w)
		}
	}
	began = e.c.Now()
	if err := e.snapshot(ctx, p); err != nil {
		return p, err
	}
	if rec != nil {
		snap := event.SourcesSnapshot{Sources: len(p.sources), Duration: e.c.Now().Sub(began)}
		for _, v := range p.sources {
			snap.Files += v.files
		}
		rec.emit(snap)
	}
	return p, nil
}

// once returns a function that calls f until that succeeds, and then no more.
func once(f func(context.Context) error) func(context.Context) error {
	turn := make(chan struct{}, 1)
	done := false
	return func(ctx context.Context) error {
		select {
		case turn <- struct{}{}:
			defer func() { <-turn }()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if done {
			return nil
		}
		err := f(ctx)
		done = err == nil
		return err
	}
}

// refuseSecrets refuses what this version cannot do yet, before anything runs.
func refuseSecrets(stages []*plan.Stage) error {
	for _, s := range stages {
		for _, in := range s.Inputs {
			if in.From.Secret != "" {
				return &plan.UsageError{
					Text: fmt.Sprintf("%sstage %s takes the secret %s, and this version of tow has no provider of secrets", place(s.Site), s.Name, in.From.Secret),
					Hint: "run stages that take none: `tow run STAGE…`",
				}
			}
		}
	}
	return nil
}

// ignored warns of policies that are declared and that this version does not follow.
func ignored(stages []*plan.Stage) []event.Warning {
	var retry, timeout string
	for _, s := range stages {
		if s.Policy.Retry > 0 && retry == "" {
			retry = s.Name
		}
		if s.Policy.TimeoutMS > 0 && timeout == "" {
			timeout = s.Name
		}
	}
	var out []event.Warning
	if retry != "" {
		out = append(out, event.Warning{Message: fmt.Sprintf("retry is declared (by stage %s) and not yet followed by this version: a stage is tried once", retry)})
	}
	if timeout != "" {
		out = append(out, event.Warning{Message: fmt.Sprintf("timeout is declared (by stage %s) and not yet followed by this version: a stage may take any time", timeout)})
	}
	return out
}

func place(site protocol.Site) string {
	if site.File == "" {
		return ""
	}
	return fmt.Sprintf("%s:%d: ", site.File, site.Line)
}

// sourceKey tells two sources apart.
func sourceKey(s *protocol.Source) string {
	key := string(s.Root)
	for _, g := range s.Globs {
		key += "\x00" + g
	}
	return key
}

// snapshot reads all sources of the stages at once.
func (e *Engine) snapshot(ctx context.Context, p *prepared) error {
	var requests []source.Request
	var keys []string
	sites := map[string]*plan.Stage{}
	for _, s := range p.stages {
		for _, in := range s.Inputs {
			src := in.From.Source
			if src == nil {
				continue
			}
			key := sourceKey(src)
			if sites[key] != nil {
				continue
			}
			sites[key] = s
			keys = append(keys, key)
			requests = append(requests, e.request(src))
		}
	}
	p.sources = make(map[string]sourceValue, len(keys))
	if len(requests) == 0 {
		return nil
	}
	results, err := e.c.Sources.Snapshot(ctx, requests)
	if err != nil {
		return fmt.Errorf("read the sources: %w", err)
	}
	for i, r := range results {
		if r.Err != nil {
			return &SourceError{Stage: sites[keys[i]].Name, Site: sites[keys[i]].Site, Err: r.Err}
		}
		p.sources[keys[i]] = sourceValue{value: directoryValue(r.Digest), files: r.Files}
	}
	return nil
}

// request asks for a snapshot of a source.
func (e *Engine) request(src *protocol.Source) source.Request {
	root := e.c.Program.Root
	if src.Root == protocol.RootRepository {
		root = e.c.Program.Repository
	}
	return source.Request{Root: root, Globs: src.Globs}
}

// SourceError is a declared source that cannot be read as it is. It is the user's to mend: exit code 2.
type SourceError struct {
	Stage string
	Site  protocol.Site
	Err   error
}

func (e *SourceError) Error() string {
	return fmt.Sprintf("%sa source of stage %s: %v", place(e.Site), e.Stage, e.Err)
}

// Unwrap returns what source said.
func (e *SourceError) Unwrap() error { return e.Err }
