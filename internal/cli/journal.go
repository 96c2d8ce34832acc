package cli

import (
	"context"

	"github.com/towpath/towpath/internal/engine"
	"github.com/towpath/towpath/internal/history"
)

// journal is a history as the engine knows it. The engine does not know the room, which reads events as the terminal does.
type journal struct{ store history.Store }

func (j journal) Begin(ctx context.Context, id string) (engine.RunWriter, error) {
	return j.store.Begin(ctx, id)
}

func (j journal) Last(ctx context.Context) (map[string]engine.LastCall, error) {
	stages, err := j.store.Last(ctx)
	calls := make(map[string]engine.LastCall, len(stages))
	for name, s := range stages {
		calls[name] = engine.LastCall(s)
	}
	return calls, err
}

func (j journal) Steps(ctx context.Context, run string) (map[string][]engine.PastStep, error) {
	calls, err := history.CallsOf(ctx, j.store, run)
	stages := make(map[string][]engine.PastStep, len(calls.Stages))
	for _, c := range calls.Stages {
		for _, s := range c.Steps {
			stages[c.Stage] = append(stages[c.Stage], engine.PastStep{Key: s.Key, Number: s.Step, Refused: s.Refused(), Cut: !calls.Ended})
		}
	}
	return stages, err
}

func (j journal) Remember(ctx context.Context, calls map[string]engine.LastCall) error {
	stages := make(map[string]history.Stage, len(calls))
	for name, c := range calls {
		stages[name] = history.Stage(c)
	}
	return j.store.Remember(ctx, stages)
}
