package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/plan"
	"github.com/towpath/towpath/protocol"
)

// ErrSuperseded is the cause of a context whose run makes way for the next one.
var ErrSuperseded = errors.New("a file was saved, and the run starts again")

// Inputs is what a run starts from, as far as that is known before anything runs.
type Inputs struct {
	// Digest changes with the program, the stages that are selected, their parameters and their sources.
	Digest digest.Digest
	// Effects tells that the run would have effects.
	Effects bool
	// Globs are those of the sources that are taken from the top of the repository.
	Globs []string
	// Files are what describing the program read, by absolute paths.
	Files []string
}

// Inputs says what a run of the request would start from now. It calls nothing.
func (e *Engine) Inputs(ctx context.Context, q Request) (Inputs, error) {
	p, err := e.prepare(ctx, q, e.c.Session, nil)
	if p != nil {
		defer p.session.Close()
	}
	if err != nil {
		return Inputs{}, err
	}
	in := Inputs{Files: p.session.Paths(), Effects: slices.ContainsFunc(p.stages, (*plan.Stage).Effect)}
	doc := struct {
		Program digest.Digest
		Stages  []string
		Params  map[string]json.RawMessage
		Sources map[string]json.RawMessage
	}{Program: p.session.Digest, Params: p.params, Sources: map[string]json.RawMessage{}}
	for _, s := range p.stages {
		doc.Stages = append(doc.Stages, s.Name)
		for i := range s.Inputs {
			if src := s.Inputs[i].From.Source; src != nil && src.Root == protocol.RootRepository {
				in.Globs = append(in.Globs, src.Globs...)
			}
		}
	}
	for key, v := range p.sources {
		doc.Sources[key] = v.value
	}
	b, err := json.Marshal(doc)
	if err != nil {
		return Inputs{}, fmt.Errorf("name what the run starts from: %w", err)
	}
	in.Digest = digest.OfBytes(b)
	return in, nil
}
