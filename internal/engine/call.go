package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/towpath/towpath/internal/actioncache"
	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/plan"
	"github.com/towpath/towpath/protocol"
)

// cancelGrace is how long a function may take to end once it has been asked to. Then its process is ended.
const cancelGrace = 10 * time.Second

// call calls the function of a node and stores what it returns.
func (r *run) call(ctx context.Context, n *node) answer {
	a := answer{node: n}
	reasons := n.probed.reasons
	r.rec.emit(event.StageStarted{Stage: n.name, Key: n.keyText(), Reasons: reasons})
	a.value, a.failure = r.callMending(ctx, n)
	a.failure = causeOf(ctx, a.failure)
	a.duration = r.e.c.Now().Sub(n.began)
	return a
}

// causeOf returns why ctx was cancelled where err is no more than that it was, so that what was stopped is not told as a failure.
func causeOf(ctx context.Context, err error) error {
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (r *run) callFunction(ctx context.Context, n *node, g given) (json.RawMessage, error) {
	w, err := r.startWorker()
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	calling := newCalling(ctx, r, n)
	defer calling.close()
	ended := make(chan struct{})
	defer close(ended)
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-ended:
		case <-time.After(cancelGrace):
			w.Kill()
		}
	})
	defer stop()
	// Before the call, since it is a call that failed that somebody will ask about.
	if err := r.storeKey(ctx, n, g); err != nil {
		return nil, err
	}
	result, err := w.Call(ctx, protocol.StageCallParams{Stage: n.name, Function: n.stage.Function, Inputs: g.inputs}, func(id uint64) {
		r.ops.open(id, calling)
	})
	calling.close()
	n.steps = calling.steps
	if err != nil && ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		return nil, context.Cause(ctx)
	}
	if err := errors.Join(calling.lostIn(err), calling.err()); err != nil {
		return nil, err
	}
	// A function that ended well has ended well, also when the run is being stopped: its result is kept.
	value, err := r.accept(context.WithoutCancel(ctx), n, g, result.Value)
	if err != nil {
		return nil, err
	}
	return value, r.store(n, g, value, late{Reads: r.p.session.Late(result), Tools: calling.toolsUsed()})
}

// accept checks what a function returned: that it is what the plan says, and that all it refers to is in the store.
func (r *run) accept(ctx context.Context, n *node, g given, raw json.RawMessage) (json.RawMessage, error) {
	value, err := protocol.Canonicalize(raw)
	if err != nil {
		return nil, protocol.Errorf(protocol.CodeFailed, "stage %s returned a value that cannot be kept: %v", n.name, err)
	}
	if len(value) > protocol.MaxValue {
		return nil, &protocol.Error{
			Code: protocol.CodeTooLarge, Message: fmt.Sprintf("stage %s returned a value of %d bytes, at most %d are allowed", n.name, len(value), protocol.MaxValue),
			Hint: "return a File that holds it",
		}
	}
	if err := plan.CheckValue(n.stage.Output, value); err != nil {
		return nil, protocol.Errorf(protocol.CodeFailed, "stage %s returned something else than it declares: %v", n.name, err)
	}
	artifacts, err := plan.Artifacts(value)
	if err != nil {
		return nil, fmt.Errorf("read the value of stage %s: %w", n.name, err)
	}
	missing, err := newPresence(r.e.c.Store).missing(ctx, artifacts)
	if err != nil {
		return nil, fmt.Errorf("check the outputs of stage %s: %w", n.name, err)
	}
	if missing != "" {
		// It made the digest up, or passes on what the store had when it was called.
		err := protocol.Errorf(protocol.CodeFailed, "stage %s returned %s, which is not in the store", n.name, missing)
		if r.cleared(ctx, n, g) {
			err.Code, err.Hint = protocol.CodeInternal, "the cache was cleared while the stage ran: run again"
		}
		return nil, &lostError{err: err}
	}
	return value, nil
}

// cleared tells whether the store has lost what was stored for a call right before it. Nothing but clearing it drops what is as new as that.
func (r *run) cleared(ctx context.Context, n *node, g given) bool {
	if n.stage.Effect() {
		return false // nothing was stored
	}
	gone, err := r.e.c.Store.Missing(ctx, []digest.Digest{digest.OfBytes(g.document)})
	return err == nil && len(gone) > 0
}

// storeKey stores what the key of a node is the digest of, so that later runs can say what changed. Effects have no key.
func (r *run) storeKey(ctx context.Context, n *node, g given) error {
	if n.stage.Effect() {
		return nil
	}
	err := r.storeManifest(ctx)
	if err == nil {
		_, err = cas.PutBytes(ctx, r.e.c.Store, g.document)
	}
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("store the key of stage %s: %w", n.name, err)
	}
	return nil
}

// store has the result of a node recorded. Effects have no key and are never recorded.
func (r *run) store(n *node, g given, value json.RawMessage, l late) error {
	if n.stage.Effect() {
		return nil
	}
	rec := stageRecord{Value: value, Run: r.rec.id, Duration: r.e.c.Now().Sub(n.began)}
	var err error
	if rec.Late, err = l.encode(); err != nil {
		return fmt.Errorf("record the result of stage %s: %w", n.name, err)
	}
	b := rec.encode()
	if err := actioncache.Check(actioncache.Stage, b); err != nil {
		return fmt.Errorf("record the result of stage %s: %w", n.name, err)
	}
	r.ops.commits.add(actioncache.Stage, g.key, b)
	return nil
}
