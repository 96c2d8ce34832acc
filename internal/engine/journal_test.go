package engine

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"maps"
	"sync"

	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/history"
)

// memJournal is a Journal in memory.
type memJournal struct {
	mu   sync.Mutex
	runs map[string]*memRun
	last map[string]LastCall
	cut  bool // the runs before were cut off
}

// Begin implements Journal.
func (j *memJournal) Begin(_ context.Context, id string) (RunWriter, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.runs[id] != nil {
		return nil, fs.ErrExist
	}
	if j.runs == nil {
		j.runs = map[string]*memRun{}
	}
	j.runs[id] = &memRun{logs: map[string]*memLog{}, discard: func() {
		j.mu.Lock()
		defer j.mu.Unlock()
		delete(j.runs, id)
	}}
	return j.runs[id], nil
}

// Last implements Journal.
func (j *memJournal) Last(context.Context) (map[string]LastCall, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return maps.Clone(j.last), nil
}

// Steps implements Journal.
func (j *memJournal) Steps(_ context.Context, run string) (map[string][]PastStep, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	r := j.runs[run]
	if r == nil {
		return nil, fs.ErrNotExist
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	calls, err := history.ReadCalls(run, func(fn func(event.Record) error) error {
		for _, e := range r.events {
			if err := fn(e); err != nil {
				return err
			}
		}
		return nil
	})
	stages := map[string][]PastStep{}
	for _, c := range calls.Stages {
		for _, s := range c.Steps {
			stages[c.Stage] = append(stages[c.Stage], PastStep{Key: s.Key, Number: s.Step, Refused: s.Refused(), Cut: j.cut})
		}
	}
	return stages, err
}

// Remember implements Journal.
func (j *memJournal) Remember(_ context.Context, calls map[string]LastCall) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.last == nil {
		j.last = map[string]LastCall{}
	}
	maps.Copy(j.last, calls)
	return nil
}

// memRun is one run of a memJournal.
type memRun struct {
	discard func()

	mu     sync.Mutex
	events []event.Record
	logs   map[string]*memLog
}

// Emit implements event.Sink.
func (r *memRun) Emit(e event.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
}

// Log implements RunWriter.
func (r *memRun) Log(stage string) (io.WriteCloser, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.logs[stage] == nil {
		r.logs[stage] = &memLog{}
	}
	return r.logs[stage], nil
}

// Close implements RunWriter.
func (r *memRun) Close() error { return nil }

// Discard implements RunWriter.
func (r *memRun) Discard() error {
	r.discard()
	return nil
}

type memLog struct{ bytes.Buffer }

// Close implements io.Closer.
func (*memLog) Close() error { return nil }
