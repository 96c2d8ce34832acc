package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/plan"
	"github.com/towpath/towpath/internal/sched"
	"github.com/towpath/towpath/internal/session"
	"github.com/towpath/towpath/protocol"
)

// node is a stage of the run, or an element of one that is fanned out. Its fields are written by the loop; what a probe or a call needs of
// another node was written before that node ended.
type node struct {
	id    sched.NodeID
	stage *plan.Stage
	name  string
	// element is the value of the input that an element stands for; nil when the node is a whole stage.
	element json.RawMessage
	// elements are the nodes of a stage that was fanned out.
	elements []*node

	probed  probed
	value   json.RawMessage // what the stage returned
	steps   int             // how many steps its calls have had
	began   time.Time
	outcome event.Outcome
	cancel  context.CancelCauseFunc // ends what is being done for the node

	// What follows, and what is above, is written by who holds the lock of the node's mending while it is called again after its end, which is once
	// at most; the value with values of the run as well.
	mended  bool
	mendErr error // why that failed
	fresh   bool  // no step of it is taken from the cache: the store has what it made, and damaged
}

// isFanOut tells whether the node stands for all elements of a stage and is not called itself.
func (n *node) isFanOut() bool { return n.stage.FannedOut() && n.element == nil }

// keyText is the key of the node in text, empty where it has none.
func (n *node) keyText() string {
	if n.probed.key.IsZero() {
		return ""
	}
	return n.probed.key.String()
}

// answer is what a probe or a call came to.
type answer struct {
	node *node
	// probe tells which of the two it was.
	probe  bool
	probed probed
	// expand holds the elements of a fan-out, which is then all there is.
	expand   []json.RawMessage
	isExpand bool

	value    json.RawMessage
	duration time.Duration
	failure  error
}

// run is one run under way. The loop in run owns everything here but what is said to be shared.
type run struct {
	e     *Engine
	q     Request
	p     *prepared
	ops   *operations
	rec   *recorder
	began time.Time

	sched   *sched.Scheduler
	nodes   []*node
	byStage map[*plan.Stage]*node
	answers chan answer

	reasons *reasons
	present *presence

	storeManifest func(context.Context) error // shared: stores what the program digest is the digest of

	mending keyed // shared: held, by the digest of its name, while a node is called again after its end

	values   sync.RWMutex // shared: guards the values of nodes that have ended, and what follows
	remade   []remade
	replaced int                                  // how often a node got another value than it had
	settled  map[*node]map[string]json.RawMessage // what the nodes that have ended well were made of

	stopping context.Context // ends when the run stops
	stop     context.CancelCauseFunc

	workerOnce sync.Once // shared: the first call starts the worker
	worker     *session.Worker
	workerErr  error

	first     *node // the first that failed
	firstErr  error
	saved     time.Duration
	counts    map[event.Outcome]int
	remember  map[string]LastCall
	cancelled error
	fault     error // results could not be recorded
}

// maxProbes is how many nodes are probed at once. A probe is a few small reads, far shorter than a turn of the loop when that has to be woken for it; with
// many at once each turn takes several answers.
const maxProbes = 32

// callsAtOnce is how many stages are called at once where so many steps may run. Most of them wait for steps: two more have the next steps ready when
// there is a place for them. One that is asked for is one.
func callsAtOnce(jobs int) int {
	if jobs == 1 {
		return 1
	}
	return jobs + 2
}

func newRun(e *Engine, q Request, p *prepared, ops *operations, rec *recorder) *run {
	r := &run{
		e: e, q: q, p: p, ops: ops, rec: rec, began: e.c.Now(),
		sched:   sched.New(sched.Config{Slots: callsAtOnce(e.c.Jobs), Probes: maxProbes}),
		byStage: make(map[*plan.Stage]*node, len(p.stages)), answers: make(chan answer, maxProbes),
		present: newPresence(e.c.Store), counts: map[event.Outcome]int{}, remember: map[string]LastCall{},
		mending: keyed{m: map[digest.Digest]*lock{}}, settled: make(map[*node]map[string]json.RawMessage, len(p.stages)),
	}
	r.reasons = newReasons(e.c.Store, p)
	r.storeManifest = once(func(ctx context.Context) error {
		doc, err := p.session.Manifest.Document()
		if err != nil {
			return err
		}
		_, err = cas.PutBytes(ctx, e.c.Store, doc)
		return err
	})
	ops.run = r
	return r
}

// run does the run.
func (r *run) run(ctx context.Context) (Result, error) {
	for _, s := range r.p.stages {
		deps := make([]sched.NodeID, len(s.Needs))
		for i, need := range s.Needs {
			deps[i] = r.byStage[need].id
		}
		n := &node{stage: s, name: s.Name, id: r.sched.AddNode(deps, r.p.last[s.Name].Duration)}
		r.nodes = append(r.nodes, n)
		r.byStage[s] = n
	}
	r.sched.Start()
	r.loop(ctx)
	r.p.session.Close() // before the end is told, so that nothing happens after it
	if r.fault = r.ops.commits.wait(); r.fault != nil && r.first != nil {
		r.rec.emit(event.Warning{Message: r.fault.Error()}) // the run has failed already, by another cause
	}
	r.countRemade()
	result := r.finish()
	remembered := r.e.c.Journal.Remember(context.WithoutCancel(ctx), r.remember)
	return result, errors.Join(r.rec.close(), remembered)
}

// loop asks the scheduler what to do until every node has ended and everything that was started has been answered.
func (r *run) loop(ctx context.Context) {
	work := context.WithoutCancel(ctx)
	r.stopping, r.stop = context.WithCancelCause(work)
	defer r.stop(nil)
	open := 0
	interrupted, failed := ctx.Done(), r.ops.commits.failed
	for {
		for {
			a, ok := r.sched.Next()
			if !ok {
				break
			}
			n := r.nodes[a.Node]
			switch a.Kind {
			case sched.Probe:
				open++
				nodeCtx := r.cancellable(work, n)
				go func() { r.answers <- r.probe(nodeCtx, n) }()
			case sched.Run:
				open++
				n.began = r.e.c.Now()
				nodeCtx := r.cancellable(work, n)
				go func() { r.answers <- r.call(nodeCtx, n) }()
			case sched.Stop:
				r.stop(errStopped)
				n.cancel(errStopped)
			case sched.Ended:
				r.end(n, r.sched.State(a.Node), r.firstErr, 0)
			}
		}
		if open == 0 {
			return
		}
		select {
		case a := <-r.answers:
			for ok := true; ok; {
				open--
				a.node.cancel(nil)
				r.take(a)
				select {
				case a = <-r.answers:
				default:
					ok = false
				}
			}
		case <-interrupted:
			interrupted = nil
			r.cancelled = context.Cause(ctx)
			r.sched.Cancel(r.cancelled)
			if n := r.sched.Counts()[sched.Running]; n > 0 && !errors.Is(r.cancelled, ErrSuperseded) {
				r.rec.emit(event.Warning{Message: "interrupted: what runs is being stopped", Hint: "interrupt again to end at once"})
			}
		case <-failed:
			failed = nil
			r.fault = errUnrecorded
			r.sched.Cancel(errUnrecorded)
		}
	}
}

// errUnrecorded is why a run stops whose results cannot be recorded; the committer knows more.
var errUnrecorded = errors.New("results cannot be recorded")

// errStopped is why a call is cancelled when the run stops.
var errStopped = errors.New("the run stops")

func (r *run) cancellable(work context.Context, n *node) context.Context {
	ctx, cancel := context.WithCancelCause(work)
	n.cancel = cancel
	return ctx
}

// take tells the scheduler what a probe or a call came to.
func (r *run) take(a answer) {
	n := a.node
	if a.probe {
		n.probed = a.probed
	}
	switch {
	case a.isExpand:
		r.expand(n, a.expand)
	case a.failure != nil && errors.Is(a.failure, errStopped):
		r.finishNode(n, sched.Cancelled, a.failure, a.duration)
	case a.failure != nil:
		r.finishNode(n, sched.Failed, a.failure, a.duration)
	case a.probe && a.probed.hit != nil:
		n.value = a.probed.hit.Value
		r.saved += a.probed.hit.Duration
		r.rec.emit(event.StageCached{Stage: n.name, Key: a.probed.key.String(), From: a.probed.hit.Run, Saved: a.probed.hit.Duration})
		r.sched.Hit(n.id)
		r.end(n, sched.Cached, nil, 0)
	case a.probe:
		r.sched.Miss(n.id)
	default:
		n.value = a.value
		r.finishNode(n, sched.Succeeded, nil, a.duration)
	}
}

func (r *run) finishNode(n *node, state sched.State, failure error, d time.Duration) {
	if state == sched.Failed && r.first == nil && r.cancelled == nil && r.fault == nil {
		r.first, r.firstErr = n, failure
	}
	r.sched.Finished(n.id, state)
	r.end(n, state, failure, d)
}

// expand makes nodes of the elements of a fan-out. Once the run stops the scheduler wants none.
func (r *run) expand(n *node, elements []json.RawMessage) {
	names := make([]string, len(elements))
	durations := make([]time.Duration, len(elements))
	for i := range elements {
		names[i] = protocol.ElementName(n.name, i)
		durations[i] = r.p.last[names[i]].Duration
	}
	ids := r.sched.Expand(n.id, durations)
	if len(ids) < len(elements) {
		return
	}
	r.rec.emit(event.StageExpanded{Stage: n.name, Elements: names})
	for i, id := range ids {
		n.elements = append(n.elements, &node{id: id, stage: n.stage, name: names[i], element: elements[i]})
		r.nodes = append(r.nodes, n.elements[i])
	}
}

// end tells the end of a node and remembers what later runs want to know of it.
func (r *run) end(n *node, state sched.State, failure error, d time.Duration) {
	n.outcome = outcomeOf(state)
	finished := event.StageFinished{Stage: n.name, Outcome: n.outcome, Key: n.keyText(), Duration: d}
	switch n.outcome {
	case event.Succeeded, event.Cached:
		finished.Value = n.value
	case event.Failed:
		if n.isFanOut() && len(n.elements) > 0 {
			finished.Because = "an element of it failed" // and has told why
		} else {
			finished.Failure = describe(failure, n)
		}
	case event.Cancelled, event.Skipped:
		finished.Because = r.because(n)
	}
	if !n.isFanOut() || len(n.elements) == 0 {
		r.counts[n.outcome]++
	}
	switch {
	case n.isFanOut() || n.began.IsZero():
	case n.outcome == event.Succeeded:
		r.remember[n.name] = LastCall{Run: r.rec.id, Key: finished.Key, Duration: d}
	case n.outcome == event.Failed:
		r.remember[n.name] = LastCall{Run: r.rec.id, Key: finished.Key, Duration: r.p.last[n.name].Duration}
	}
	r.rec.emit(finished)
}

func outcomeOf(s sched.State) event.Outcome {
	switch s {
	case sched.Succeeded:
		return event.Succeeded
	case sched.Cached:
		return event.Cached
	case sched.Failed:
		return event.Failed
	case sched.Skipped:
		return event.Skipped
	case sched.Cancelled:
		return event.Cancelled
	default:
		panic(fmt.Sprintf("engine: a node ended as %v", s))
	}
}

// because says why a node was not run to its end.
func (r *run) because(n *node) string {
	if errors.Is(r.cancelled, ErrSuperseded) {
		return ErrSuperseded.Error()
	}
	if r.cancelled != nil {
		return "the run was interrupted"
	}
	if r.fault != nil {
		return "results could not be recorded"
	}
	if r.first == nil {
		return "the run stopped"
	}
	if n.outcome == event.Skipped {
		return fmt.Sprintf("it needs %s, which failed", r.first.name)
	}
	return fmt.Sprintf("%s failed", r.first.name)
}

// finish tells the end of the run.
func (r *run) finish() Result {
	result := Result{Run: r.rec.id, Outcome: event.Succeeded}
	switch {
	case r.first != nil:
		result.Outcome = event.Failed
		result.Failure = describe(r.firstErr, r.first)
		result.ExitCode = ExitCode(r.firstErr)
	case r.fault != nil:
		result.Outcome, result.ExitCode, result.Failure = event.Failed, ExitFault, describe(r.fault, nil)
	case r.cancelled != nil:
		result.Outcome, result.ExitCode = event.Cancelled, ExitCancelled
	case !r.sched.Done():
		// Never seen, and never to be taken for a success.
		err := fmt.Errorf("the run ended before all of its stages had: %v", r.sched.Counts())
		result.Outcome, result.ExitCode, result.Failure = event.Failed, ExitFault, describe(err, nil)
	}
	done := event.RunFinished{
		Outcome: result.Outcome, ExitCode: result.ExitCode, Duration: r.e.c.Now().Sub(r.began), Saved: r.saved, Failure: result.Failure,
		Succeeded: r.counts[event.Succeeded], Cached: r.counts[event.Cached], Failed: r.counts[event.Failed],
		Cancelled: r.counts[event.Cancelled], Skipped: r.counts[event.Skipped],
	}
	if r.first != nil {
		done.FirstFailed = r.first.name
	}
	r.rec.emit(done)
	return result
}

// valueOf returns the value of a stage that has ended well; for one that was fanned out, what its elements returned.
func (r *run) valueOf(s *plan.Stage) []json.RawMessage {
	r.values.RLock()
	defer r.values.RUnlock()
	return r.valuesOf(s)
}

// valuesOf is valueOf for who holds values.
func (r *run) valuesOf(s *plan.Stage) []json.RawMessage {
	n := r.byStage[s]
	if !s.FannedOut() {
		return []json.RawMessage{n.value}
	}
	out := make([]json.RawMessage, len(n.elements))
	for i, e := range n.elements {
		out[i] = e.value
	}
	return out
}

// startWorker returns the process of the program, which the first stage that has to be called starts. Meanwhile the store is given the sources. That is for
// all stages, so it is the end of the run and not that of a call that ends the wait for it.
func (r *run) startWorker() (*session.Worker, error) {
	r.workerOnce.Do(func() {
		ensured := make(chan error, 1)
		go func() { ensured <- r.p.ensure(r.stopping) }()
		r.worker, r.workerErr = r.p.session.Worker(r.stopping)
		if err := <-ensured; err != nil && r.workerErr == nil {
			r.workerErr = sourcesError("store the sources", err)
		}
	})
	return r.worker, r.workerErr
}

// inputs returns the values of all inputs of a stage, or of the element of one, in canonical JSON. valueOf gives those of other stages.
func inputs(s *plan.Stage, element json.RawMessage, p *prepared, valueOf func(*plan.Stage) []json.RawMessage) map[string]json.RawMessage {
	out := make(map[string]json.RawMessage, len(s.Inputs))
	for i := range s.Inputs {
		in := &s.Inputs[i]
		if in.From.Each != nil {
			if element != nil {
				out[in.Name] = element
			}
			continue
		}
		out[in.Name] = inputValue(&in.From, p, valueOf)
	}
	return out
}

func inputValue(from *protocol.From, p *prepared, valueOf func(*plan.Stage) []json.RawMessage) json.RawMessage {
	g := p.session.Graph
	switch {
	case from.Stage != "":
		return valueOf(g.Find(from.Stage))[0]
	case from.Gather != nil:
		var all []json.RawMessage
		for _, name := range from.Gather {
			all = append(all, valueOf(g.Find(name))...)
		}
		return list(all)
	case from.Param != "":
		return p.params[from.Param]
	case from.Source != nil:
		return p.sources[sourceKey(from.Source)].value
	default:
		return from.Value
	}
}

// list joins values in canonical JSON into a list in canonical JSON.
func list(values []json.RawMessage) json.RawMessage {
	b := json.RawMessage{'['}
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, v...)
	}
	return append(b, ']')
}
