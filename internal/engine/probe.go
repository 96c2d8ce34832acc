package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"sync"

	"github.com/towpath/towpath/internal/actioncache"
	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/plan"
	"github.com/towpath/towpath/internal/tree"
	"github.com/towpath/towpath/protocol"
)

// probed is what is known of a node before it is called.
type probed struct {
	given
	hit     *stageRecord
	reasons []event.Reason // why there is no hit
}

// probe computes the key of a node and looks its result up.
func (r *run) probe(ctx context.Context, n *node) answer {
	a := answer{node: n, probe: true}
	if n.isFanOut() {
		a.isExpand = true
		a.expand, a.failure = r.elementsOf(n)
		return a
	}
	for {
		r.values.RLock()
		in, err := r.inputsNow(n)
		at := r.replaced
		r.values.RUnlock()
		if err != nil {
			a.failure = err
			return a
		}
		a.probed, a.failure = r.e.lookUp(ctx, n, in, r.p, r.present, r.reasons, r.q.NoCache)
		a.failure = causeOf(ctx, a.failure)
		a.probed.inputs, a.probed.at = in, at
		// What it was looked up with may have been made again meanwhile.
		if a.failure != nil || a.probed.hit == nil || r.settle(n, a.probed.given) {
			return a
		}
	}
}

// elementsOf returns the elements over which a node is fanned out.
func (r *run) elementsOf(n *node) ([]json.RawMessage, error) {
	return elements(n.stage, inputValue(n.stage.Inputs[n.stage.Each].From.Each, r.p, r.valueOf))
}

func elements(s *plan.Stage, list json.RawMessage) ([]json.RawMessage, error) {
	var out []json.RawMessage
	if err := json.Unmarshal(list, &out); err != nil {
		return nil, fmt.Errorf("read the list that stage %s is fanned out over: %w", s.Name, err)
	}
	if len(out) > protocol.MaxStages {
		return nil, protocol.Errorf(protocol.CodeTooLarge, "stage %s is fanned out over %d elements, at most %d are allowed", s.Name, len(out), protocol.MaxStages)
	}
	return out, nil
}

// lookUp computes the key of a node from its inputs and looks for a result that can be used.
func (e *Engine) lookUp(ctx context.Context, n *node, in map[string]json.RawMessage, p *prepared, present *presence, why *reasons, noCache bool) (probed, error) {
	if n.stage.Effect() {
		return probed{reasons: []event.Reason{effectRuns()}}, nil
	}
	key := e.key(n, in, p)
	out := probed{given: given{document: key.Document()}}
	out.key = digest.OfBytes(out.document)
	if noCache {
		out.reasons = []event.Reason{{Kind: event.ReasonNoCache, Text: "the cache is not to be used"}}
		return out, nil
	}
	value, ok, err := e.c.Cache.Get(ctx, actioncache.Stage, out.key)
	if err != nil {
		return out, fmt.Errorf("look up the result of stage %s: %w", n.name, err)
	}
	if !ok {
		out.reasons = why.changed(ctx, n.name, out.key, key)
		return out, nil
	}
	rec, err := decodeStage(value)
	if err != nil {
		out.reasons = []event.Reason{{Kind: event.ReasonResult, Text: "its stored result cannot be read"}}
		return out, nil
	}
	reason, err := e.unusable(ctx, &rec, p, present)
	if err != nil {
		return out, fmt.Errorf("check the result of stage %s: %w", n.name, err)
	}
	if reason != nil {
		out.reasons = []event.Reason{*reason}
		return out, nil
	}
	out.hit = &rec
	return out, nil
}

// key says what the result of a node depends on.
func (e *Engine) key(n *node, in map[string]json.RawMessage, p *prepared) plan.Key {
	return plan.Key{
		Stage: n.stage.Name, Function: n.stage.Function, Program: p.session.Digest, Inputs: in,
		Isolation: e.c.Executor.Isolation(), Protocol: protocol.Version,
	}
}

func effectRuns() event.Reason {
	return event.Reason{Kind: event.ReasonEffect, Text: "it is an effect, which always runs"}
}

// unusable tells why a result that was found cannot be used, or nil.
func (e *Engine) unusable(ctx context.Context, rec *stageRecord, p *prepared, present *presence) (*event.Reason, error) {
	reason, err := present.lates.check(rec.Late, func(text string) (*event.Reason, error) { return e.changedLate(ctx, text, p) })
	if err != nil || reason != nil {
		return reason, err
	}
	artifacts, err := plan.Artifacts(rec.Value)
	if err != nil {
		return &event.Reason{Kind: event.ReasonResult, Text: "its stored result cannot be read"}, nil
	}
	missing, err := present.missing(ctx, artifacts)
	if err != nil || missing == "" {
		return nil, err
	}
	return &event.Reason{Kind: event.ReasonResult, Subject: missing, Text: fmt.Sprintf("its output %s is not in the store any more", missing)}, nil
}

// changedLate tells what of what a stage turned out to depend on is not as it was any more, or nil.
func (e *Engine) changedLate(ctx context.Context, text string, p *prepared) (*event.Reason, error) {
	l, err := decodeLate(text)
	if err != nil {
		return &event.Reason{Kind: event.ReasonResult, Text: "its stored result cannot be read"}, nil
	}
	name, err := p.session.Changed(ctx, l.Reads)
	if err != nil {
		return nil, err
	}
	if name != "" {
		return &event.Reason{Kind: event.ReasonFile, Subject: name, Text: fmt.Sprintf("%s changed, which was read while it ran", name)}, nil
	}
	for _, t := range l.Tools {
		if now, err := e.tools.find(ctx, t.Name, t.Search); err != nil || now != t {
			return &event.Reason{Kind: event.ReasonTool, Subject: t.Name, Text: fmt.Sprintf("the tool %s changed", t.Name)}, nil
		}
	}
	return nil, nil
}

// presence checks whether what results refer to is as it was: artifacts in the store, and what stages turned out to depend on, each once for a run.
type presence struct {
	store cas.Store

	mu   sync.Mutex
	dirs map[digest.Digest]bool

	lates lates
}

func newPresence(s cas.Store) *presence {
	return &presence{store: s, dirs: map[digest.Digest]bool{}, lates: lates{known: map[string]*lateChecked{}}}
}

// missing names the first artifact that is not wholly in the store.
func (p *presence) missing(ctx context.Context, artifacts []plan.Artifact) (string, error) {
	var files []digest.Digest
	for _, a := range artifacts {
		if !a.Directory {
			files = append(files, a.Digest)
		}
	}
	gone, err := p.store.Missing(ctx, files)
	if err != nil {
		return "", err
	}
	for _, a := range artifacts {
		if a.Directory {
			ok, err := p.directory(ctx, a.Digest)
			if err != nil {
				return "", err
			}
			if !ok {
				return label(a), nil
			}
			continue
		}
		if len(gone) > 0 && a.Digest == gone[0] {
			return label(a), nil
		}
	}
	return "", nil
}

func label(a plan.Artifact) string {
	switch {
	case a.Path != "":
		return a.Path
	case a.Name != "":
		return a.Name
	}
	return a.Digest.Short()
}

func (p *presence) directory(ctx context.Context, d digest.Digest) (bool, error) {
	p.mu.Lock()
	ok, known := p.dirs[d]
	p.mu.Unlock()
	if known {
		return ok, nil
	}
	ok, err := whole(ctx, p.store, d)
	if err != nil {
		return false, err
	}
	p.mu.Lock()
	p.dirs[d] = ok
	p.mu.Unlock()
	return ok, nil
}

// whole tells whether a directory and all that is in it is in the store.
func whole(ctx context.Context, store cas.Store, d digest.Digest) (bool, error) {
	all, err := tree.Closure(ctx, store, d)
	if isGone(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	gone, err := store.Missing(ctx, all)
	return len(gone) == 0, err
}

// isGone tells whether a blob is not there, or is not what it should be, which comes to the same.
func isGone(err error) bool {
	var corrupt *cas.CorruptError
	return errors.Is(err, fs.ErrNotExist) || errors.As(err, &corrupt)
}

func directoryValue(d digest.Digest) json.RawMessage {
	var b bytes.Buffer
	b.WriteString(`{"$directory":{"digest":"`)
	b.WriteString(d.String())
	b.WriteString(`"}}`)
	return b.Bytes()
}
