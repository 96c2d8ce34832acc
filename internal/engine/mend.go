package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/plan"
	"github.com/towpath/towpath/internal/source"
	"github.com/towpath/towpath/internal/tree"
	"github.com/towpath/towpath/protocol"
)

// A blob may vanish from the store, or turn out to be damaged, while a run goes on. A call that meets one has failed, whatever its function made of it.
// Whoever made the blob makes it again, in the slot of that call: a source is read from the work tree again, a stage is called again, at most once
// in a run, and with it those before it whose blobs it lacks. Then the call is repeated with what they return now, under the key that this gives.

// maxCalls bounds how often a function is called because blobs were lost. The second call finds all of them, unless somebody clears the store.
const maxCalls = 4

// lostBlob returns the digest of the blob for want of which something failed.
func lostBlob(err error) (digest.Digest, bool) {
	if missing, ok := errors.AsType[*executor.MissingInputError](err); ok {
		return missing.Digest, true
	}
	if gone, ok := errors.AsType[*cas.NotFoundError](err); ok {
		return gone.Digest, true
	}
	if corrupt, ok := errors.AsType[*cas.CorruptError](err); ok {
		return corrupt.Digest, true
	}
	return digest.Digest{}, false
}

// met notes what an operation of the call failed for, where that was a blob. The function may hide the error or make another of it.
func (c *calling) met(err error) {
	d, ok := lostBlob(err)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost = append(c.lost, d)
	if c.lostErr == nil {
		c.lostErr = err
	}
}

// lostError is the failure of a call that met blobs which were lost or damaged.
type lostError struct {
	blobs []digest.Digest
	// Err is what the function made of it, else what the first operation said.
	err error
	// surely tells that an operation failed for it. Without, the function may have made a digest up.
	surely bool
}

func (e *lostError) Error() string { return e.err.Error() }

func (e *lostError) Unwrap() error { return e.err }

// lostIn returns the failure of a call if that met lost blobs, else err.
func (c *calling) lostIn(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.lost) == 0 {
		return err
	}
	if err == nil {
		err = wireError("read", c.lostErr)
	}
	return &lostError{blobs: slices.Clone(c.lost), err: err, surely: true}
}

// callMending calls the function of a node, and again once what it lacked has been made again.
func (r *run) callMending(ctx context.Context, n *node) (json.RawMessage, error) {
	if err := r.mendBefore(ctx, n); err != nil {
		return nil, err
	}
	inVain := false
	for calls := 1; ; calls++ {
		g, err := r.give(n)
		if err != nil {
			return nil, err
		}
		value, err := r.callFunction(ctx, n, g)
		if err == nil && r.settle(n, g) {
			return value, nil
		}
		if err == nil {
			if err := r.outdated(n); err != nil {
				return nil, err
			}
			continue
		}
		lost, ok := errors.AsType[*lostError](err)
		if !ok {
			return nil, err
		}
		if calls >= maxCalls || !repeatable(n.stage) {
			return nil, lost.err
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		made, err := r.mend(ctx, n, lost.blobs)
		if err != nil {
			return nil, err
		}
		// What it lacks may have been made again for another call. If not, one more call shows it.
		if !made && (inVain || !lost.surely) {
			return nil, lost.err
		}
		inVain = !made
	}
}

// repeatable tells whether a function may be called twice in a run.
func repeatable(s *plan.Stage) bool { return !s.Effect() || s.Policy.Idempotent }

// mendBefore makes sure of the inputs of an effect, since that cannot be called again when it has met a blob that is lost.
func (r *run) mendBefore(ctx context.Context, n *node) error {
	if repeatable(n.stage) {
		return nil
	}
	if err := r.p.ensure(ctx); err != nil {
		return sourcesError("store the sources", err)
	}
	_, err := r.mend(ctx, n, nil)
	return err
}

// origin is where a part of a node's inputs comes from: a stage or an element of one, or without a node a source.
type origin struct {
	node  *node
	value json.RawMessage
}

// origins lists where the inputs of a node come from, with what they are now.
func (r *run) origins(n *node) []origin {
	var out []origin
	for i := range n.stage.Inputs {
		out = r.appendOrigins(out, &n.stage.Inputs[i].From)
	}
	return out
}

func (r *run) appendOrigins(out []origin, from *protocol.From) []origin {
	switch {
	case from.Each != nil:
		return r.appendOrigins(out, from.Each)
	case from.Source != nil:
		return append(out, origin{value: r.p.sources[sourceKey(from.Source)].value})
	}
	for _, name := range stagesOf(from) {
		made := r.byStage[r.p.session.Graph.Find(name)]
		nodes := []*node{made}
		if made.isFanOut() {
			nodes = made.elements
		}
		for _, m := range nodes {
			out = append(out, origin{node: m, value: r.value(m)})
		}
	}
	return out
}

// mend makes those inputs of a node again of which a blob is lost or damaged, and tells whether there were any. suspects are blobs that the store may
// have and that are not what they should be.
func (r *run) mend(ctx context.Context, n *node, suspects []digest.Digest) (made bool, err error) {
	for _, o := range r.origins(n) {
		gone, err := r.firstGone(ctx, o.value, suspects)
		if err != nil {
			return made, fmt.Errorf("look for the inputs of stage %s: %w", n.name, err)
		}
		if gone.IsZero() {
			continue
		}
		made = true
		if o.node == nil {
			err = r.remakeSource(ctx, n, gone)
		} else {
			err = r.remakeStage(ctx, o.node, suspects)
		}
		if err != nil {
			return made, err
		}
	}
	return made, nil
}

// firstGone returns the digest of a blob that a value refers to and that is lost or damaged, or none.
func (r *run) firstGone(ctx context.Context, value json.RawMessage, suspects []digest.Digest) (digest.Digest, error) {
	artifacts, err := plan.Artifacts(value)
	if err != nil || len(artifacts) == 0 {
		return digest.Digest{}, err
	}
	store := r.e.c.Store
	var all []digest.Digest
	for _, a := range artifacts {
		if !a.Directory {
			all = append(all, a.Digest)
			continue
		}
		inside, err := tree.Closure(ctx, store, a.Digest)
		if d, lost := lostBlob(err); lost {
			return d, nil
		}
		if err != nil {
			return digest.Digest{}, err
		}
		all = append(all, inside...)
	}
	gone, err := store.Missing(ctx, all)
	if err != nil {
		return digest.Digest{}, err
	}
	if len(gone) > 0 {
		return gone[0], nil
	}
	for _, d := range suspects {
		if !slices.Contains(all, d) {
			continue
		}
		if err := readThrough(ctx, store, d); isGone(err) {
			return d, nil
		} else if err != nil {
			return digest.Digest{}, err
		}
	}
	return digest.Digest{}, nil
}

// readThrough reads a blob to its end, which verifies it.
func readThrough(ctx context.Context, store cas.Store, d digest.Digest) error {
	f, err := store.Open(ctx, d)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, f)
	return errors.Join(err, f.Close())
}

// remakeSource reads a source from the work tree again. Where that has changed since, the run cannot go on with what it began with.
func (r *run) remakeSource(ctx context.Context, n *node, gone digest.Digest) error {
	r.rec.emit(event.Warning{Message: fmt.Sprintf("blob %s of a source of stage %s was lost or damaged: the source is read again", gone.Short(), n.name)})
	if err := r.e.c.Sources.Ensure(ctx); err != nil {
		return sourcesError(fmt.Sprintf("read a source of stage %s again", n.name), err)
	}
	return nil
}

// sourcesError says why the store could not be given the sources, while doing what.
func sourcesError(what string, err error) error {
	changed, ok := errors.AsType[*source.Error](err)
	if !ok {
		return fmt.Errorf("%s: %w", what, err)
	}
	return &protocol.Error{
		Code: protocol.CodeFailed, Message: fmt.Sprintf("%s: it was changed during the run, and the store does not have what it was: %v", what, changed),
		Hint: "run again, and stages get what is there now",
	}
}

// remakeStage calls a stage again, and keeps what it returns now, unless a call of another stage has had that done already.
func (r *run) remakeStage(ctx context.Context, n *node, suspects []digest.Digest) error {
	unlock, err := r.mending.lock(ctx, digest.OfBytes([]byte(n.name)))
	if err != nil {
		return err
	}
	defer unlock()
	gone, err := r.firstGone(ctx, r.value(n), suspects)
	if err != nil || gone.IsZero() {
		return err
	}
	// It may only pass on what another stage made.
	was := r.unsettle(n)
	if made, err := r.mend(ctx, n, suspects); err != nil {
		return err
	} else if made {
		left, err := r.firstGone(ctx, r.value(n), suspects)
		if err != nil || left.IsZero() && r.settle(n, given{inputs: was, at: -1}) {
			return err
		}
	}
	what := fmt.Sprintf("blob %s of stage %s was lost or damaged", gone.Short(), n.name)
	if n.mendErr != nil {
		return n.mendErr
	}
	if n.mended {
		return fmt.Errorf("%s again, after %s had run again", what, n.name)
	}
	if !repeatable(n.stage) {
		return fmt.Errorf("%s, and %s is an effect, which does not run twice", what, n.name)
	}
	missing, err := r.e.c.Store.Missing(ctx, []digest.Digest{gone})
	if err != nil {
		return fmt.Errorf("look for the result of stage %s: %w", n.name, err)
	}
	n.fresh = len(missing) == 0
	return r.callAgain(ctx, n, gone, what)
}

// callAgain calls a stage that has ended once more, since it made a blob that is gone. What says so. The caller holds the lock of its mending.
func (r *run) callAgain(ctx context.Context, n *node, gone digest.Digest, what string) error {
	r.rec.emit(event.Warning{Message: what + ": " + n.name + " runs again"})
	if _, err := r.give(n); err != nil {
		return err
	}
	n.began = r.e.c.Now()
	r.rec.emit(event.StageStarted{Stage: n.name, Key: n.keyText(), Reasons: []event.Reason{{
		Kind: event.ReasonResult, Subject: gone.String(), Text: "a blob of its result was lost or damaged",
	}}})
	value, err := r.callMending(ctx, n)
	took := r.e.c.Now().Sub(n.began)
	finished := event.StageFinished{Stage: n.name, Outcome: event.Succeeded, Key: n.keyText(), Duration: took, Value: value}
	switch {
	case err != nil && errors.Is(err, errStopped):
		finished.Outcome, finished.Because = event.Cancelled, "the run stopped"
	case err != nil:
		finished.Outcome, finished.Failure = event.Failed, describe(err, n)
	}
	// One that was cancelled has not been tried.
	n.mended = finished.Outcome != event.Cancelled
	r.rec.emit(finished)
	r.values.Lock()
	r.remade = append(r.remade, remade{node: n, outcome: finished.Outcome, duration: took})
	r.values.Unlock()
	if err != nil {
		err = fmt.Errorf("stage %s ran again since a blob of it was lost: %w", n.name, err)
		if n.mended {
			n.mendErr = err
		}
		return err
	}
	return r.replace(n, value)
}

// remade is a stage that was called again after its end.
type remade struct {
	node     *node
	outcome  event.Outcome
	duration time.Duration
}

// value returns what a node returned last.
func (r *run) value(n *node) json.RawMessage {
	r.values.RLock()
	defer r.values.RUnlock()
	return n.value
}

// countRemade corrects what was counted and is remembered of stages that were called again after their end.
func (r *run) countRemade() {
	for _, m := range r.remade {
		r.counts[m.node.outcome]--
		r.counts[m.outcome]++
		if m.node.outcome == event.Cached {
			r.saved -= m.node.probed.hit.Duration
		}
		if m.outcome == event.Succeeded {
			r.remember[m.node.name] = LastCall{Run: r.rec.id, Key: m.node.keyText(), Duration: m.duration}
		}
	}
}
