package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/plan"
	"github.com/towpath/towpath/internal/tree"
)

// maxChanges is how many changed files of one input are named.
const maxChanges = 5

// maxDocument bounds the documents that are read to explain a miss.
const maxDocument = 64 << 20

// reasons finds out why a stage has no result for its key: it compares the key with the one of the last time. What it needs of the past may be
// gone; then it says less, and never something wrong.
type reasons struct {
	store    cas.Store
	last     map[string]LastCall
	manifest plan.Manifest
	ensure   func(context.Context) error // has the sources of now put into the store
}

func newReasons(store cas.Store, p *prepared) *reasons {
	return &reasons{store: store, last: p.last, manifest: p.session.Manifest, ensure: p.ensure}
}

// changed lists what is different from the last time that the stage was called.
func (r *reasons) changed(ctx context.Context, name string, key digest.Digest, now plan.Key) []event.Reason {
	before, ok := r.last[name]
	if !ok || before.Key == "" {
		return []event.Reason{firstTime()}
	}
	if before.Key == key.String() {
		return []event.Reason{{Kind: event.ReasonResult, Text: "nothing changed, but there is no result of it: it failed, or the cache was cleared"}}
	}
	then, err := r.keyOf(ctx, before.Key)
	if err != nil {
		return []event.Reason{{Kind: event.ReasonOther, Text: "something changed since run " + before.Run + ", of which the cache holds no record any more"}}
	}
	out := r.differences(ctx, then, now)
	for _, in := range slices.Sorted(maps.Keys(then.Inputs)) {
		if _, has := now.Inputs[in]; !has {
			out = append(out, event.Reason{Kind: event.ReasonInput, Subject: in, Text: "input " + in + " is gone"})
		}
	}
	if len(out) == 0 {
		out = []event.Reason{{Kind: event.ReasonOther, Text: "its key changed"}}
	}
	return out
}

// surely lists what is different from the last time although some inputs are not known yet, and so are not in now.
func (r *reasons) surely(ctx context.Context, name string, now plan.Key) []event.Reason {
	before, ok := r.last[name]
	if !ok || before.Key == "" {
		return []event.Reason{firstTime()}
	}
	then, err := r.keyOf(ctx, before.Key)
	if err != nil {
		return nil
	}
	return r.differences(ctx, then, now)
}

func firstTime() event.Reason {
	return event.Reason{Kind: event.ReasonFirst, Text: "it has not been run here before"}
}

// differences lists what two keys do not have in common, without inputs that now does not have.
func (r *reasons) differences(ctx context.Context, then, now plan.Key) []event.Reason {
	var out []event.Reason
	if then.Program != now.Program {
		out = append(out, r.program(ctx, then.Program)...)
	}
	if then.Isolation != now.Isolation {
		out = append(out, event.Reason{Kind: event.ReasonOther, Subject: "isolation", Text: fmt.Sprintf("the isolation of steps was %s and is %s", then.Isolation, now.Isolation)})
	}
	if then.Protocol != now.Protocol {
		out = append(out, event.Reason{Kind: event.ReasonOther, Subject: "protocol", Text: "tow speaks another version of the protocol"})
	}
	if then.Function != now.Function {
		out = append(out, event.Reason{Kind: event.ReasonProgram, Subject: now.Function, Text: fmt.Sprintf("its function was %s and is %s", then.Function, now.Function)})
	}
	for _, in := range slices.Sorted(maps.Keys(now.Inputs)) {
		was, had := then.Inputs[in]
		if !had {
			out = append(out, event.Reason{Kind: event.ReasonInput, Subject: in, Text: "input " + in + " is new"})
		} else if string(was) != string(now.Inputs[in]) {
			out = append(out, r.input(ctx, in, was, now.Inputs[in])...)
		}
	}
	return out
}

func (r *reasons) keyOf(ctx context.Context, text string) (plan.Key, error) {
	d, err := digest.Parse(text)
	if err != nil {
		return plan.Key{}, err
	}
	doc, err := cas.ReadAll(ctx, r.store, d, maxDocument)
	if err != nil {
		return plan.Key{}, err
	}
	return plan.ParseKey(doc)
}

// program names the files of the pipeline program that changed.
func (r *reasons) program(ctx context.Context, before digest.Digest) []event.Reason {
	unknown := []event.Reason{{Kind: event.ReasonProgram, Text: "the pipeline program changed"}}
	doc, err := cas.ReadAll(ctx, r.store, before, maxDocument)
	if err != nil {
		return unknown
	}
	then, err := plan.ParseManifest(doc)
	if err != nil {
		return unknown
	}
	var out []event.Reason
	names := maps.Clone(then.Files)
	maps.Copy(names, r.manifest.Files)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		was, had := then.Files[name]
		is, has := r.manifest.Files[name]
		switch {
		case !had:
			out = append(out, event.Reason{Kind: event.ReasonProgram, Subject: name, Text: name + " is a new part of the pipeline program"})
		case !has:
			out = append(out, event.Reason{Kind: event.ReasonProgram, Subject: name, Text: name + " is no part of the pipeline program any more"})
		case was != is:
			out = append(out, event.Reason{Kind: event.ReasonProgram, Subject: name, Text: name + " of the pipeline program changed"})
		}
	}
	// A compiled program is named with its runtime. That it is another one says nothing where its sources are.
	was, _, _ := strings.Cut(then.Runtime, " program ")
	is, _, _ := strings.Cut(r.manifest.Runtime, " program ")
	if was != is || then.Runtime != r.manifest.Runtime && len(out) == 0 {
		text := fmt.Sprintf("the pipeline program ran on %s and runs on %s", then.Runtime, r.manifest.Runtime)
		out = append(out, event.Reason{Kind: event.ReasonProgram, Subject: "runtime", Text: text})
	}
	if len(out) == 0 {
		return unknown
	}
	return out
}

// input says how one input changed.
func (r *reasons) input(ctx context.Context, name string, was, is json.RawMessage) []event.Reason {
	from, to := oneDirectory(was), oneDirectory(is)
	if !from.IsZero() && !to.IsZero() {
		if out := r.files(ctx, name, from, to); len(out) > 0 {
			return out
		}
	}
	if strings.Contains(string(was), `"$`) || strings.Contains(string(is), `"$`) {
		return []event.Reason{{Kind: event.ReasonInput, Subject: name, Text: "input " + name + " changed"}}
	}
	return []event.Reason{{Kind: event.ReasonParameter, Subject: name, Text: fmt.Sprintf("%s was %s and is %s", name, short(was), short(is))}}
}

// files names the files of a directory that changed.
func (r *reasons) files(ctx context.Context, input string, from, to digest.Digest) []event.Reason {
	if r.ensure(ctx) != nil {
		return nil // whoever needs the sources says so
	}
	changes, err := tree.Diff(ctx, r.store, from, to, maxChanges+1)
	if err != nil {
		return nil
	}
	var out []event.Reason
	for i, c := range changes {
		if i == maxChanges {
			out = append(out, event.Reason{Kind: event.ReasonFile, Subject: input, Text: input + ": and more files changed"})
			break
		}
		out = append(out, event.Reason{Kind: event.ReasonFile, Subject: c.Path, Text: fmt.Sprintf("%s: %s %s", input, c.Path, verb(c.Kind))})
	}
	return out
}

func verb(k tree.ChangeKind) string {
	switch k {
	case tree.Added:
		return "is new"
	case tree.Removed:
		return "is gone"
	default:
		return "changed"
	}
}

// oneDirectory returns the digest of a value that is a directory and nothing else.
func oneDirectory(v json.RawMessage) digest.Digest {
	artifacts, err := plan.Artifacts(v)
	if err != nil || len(artifacts) != 1 || !artifacts[0].Directory || artifacts[0].Path != "" {
		return digest.Digest{}
	}
	return artifacts[0].Digest
}

// short cuts a value for a line.
func short(v json.RawMessage) string {
	const limit = 60
	s := string(v)
	if len(s) > limit {
		s = strings.ToValidUTF8(s[:limit], "") + "…"
	}
	return s
}
