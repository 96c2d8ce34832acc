// Package files is a history in plain files: a folder a run, with events.jsonl and a log for each stage in it.
//
// The layout is `runs/ID/events.jsonl`, `runs/ID/logs/STAGE.log` (names escaped), and `stages.json`, which remembers the newest record of every
// stage. Files are enough for one machine; docs/decisions says why there is no database below it.
package files

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/history"
)

// keep is how many runs are kept; older ones are removed when a new one begins.
const keep = 200

// Store is a history.Store below one folder.
type Store struct {
	dir string
}

// Open returns the store in dir, which is made when the first run begins.
func Open(dir string) *Store { return &Store{dir: dir} }

func (s *Store) runDir(id string) string { return filepath.Join(s.dir, "runs", id) }

// Begin implements history.Store.
func (s *Store) Begin(_ context.Context, id string) (history.Writer, error) {
	if err := os.MkdirAll(filepath.Join(s.dir, "runs"), 0o755); err != nil {
		return nil, fmt.Errorf("make the history folder: %w", err)
	}
	dir := s.runDir(id)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, fmt.Errorf("begin run %s: %w", id, err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "events.jsonl"), os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("begin run %s: %w", id, err)
	}
	if err := s.prune(); err != nil {
		return nil, errors.Join(fmt.Errorf("remove old runs: %w", err), f.Close())
	}
	return &writer{dir: dir, f: f, buf: bufio.NewWriterSize(f, 64<<10)}, nil
}

func (s *Store) prune() error {
	ids, err := s.ids()
	if err != nil || len(ids) <= keep {
		return err
	}
	for _, id := range ids[keep:] {
		if err := os.RemoveAll(s.runDir(id)); err != nil {
			return err
		}
	}
	return nil
}

// ids lists the runs, the newest first.
func (s *Store) ids() ([]string, error) {
	list, err := os.ReadDir(filepath.Join(s.dir, "runs"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list the runs: %w", err)
	}
	ids := make([]string, 0, len(list))
	for _, e := range list {
		if e.IsDir() {
			ids = append(ids, e.Name())
		}
	}
	slices.Reverse(ids)
	return ids, nil
}

// Runs implements history.Store.
func (s *Store) Runs(ctx context.Context, limit int) ([]history.Summary, error) {
	ids, err := s.ids()
	if err != nil {
		return nil, err
	}
	if limit > 0 && len(ids) > limit {
		ids = ids[:limit]
	}
	out := make([]history.Summary, 0, len(ids))
	for _, id := range ids {
		sum, err := history.Summarize(id, func(fn func(event.Record) error) error { return s.Events(ctx, id, fn) })
		if errors.Is(err, fs.ErrNotExist) {
			continue // pruned by another process since it was listed
		}
		if _, damaged := errors.AsType[*history.DamagedError](err); damaged {
			sum.Damaged, err = true, nil
		}
		if err != nil {
			return nil, err
		}
		out = append(out, sum)
	}
	return out, nil
}

// Resolve implements history.Store.
func (s *Store) Resolve(_ context.Context, ref string) (string, error) {
	ids, err := s.ids()
	if err != nil {
		return "", err
	}
	if ref == "" || ref == "latest" {
		if len(ids) == 0 {
			return "", &history.NotFoundError{What: "a run of this pipeline", Hint: "start one with `tow run`"}
		}
		return ids[0], nil
	}
	var fits []string
	for _, id := range ids {
		if id == ref {
			return id, nil
		}
		if strings.HasPrefix(id, ref) {
			fits = append(fits, id)
		}
	}
	switch len(fits) {
	case 0:
		return "", &history.NotFoundError{What: fmt.Sprintf("run %q", ref), Hint: "`tow runs` lists them"}
	case 1:
		return fits[0], nil
	}
	return "", &history.AmbiguousError{Ref: ref, Fits: fits}
}

// Events implements history.Store.
func (s *Store) Events(ctx context.Context, id string, fn func(event.Record) error) error {
	f, err := os.Open(filepath.Join(s.runDir(id), "events.jsonl"))
	if errors.Is(err, fs.ErrNotExist) {
		return &history.NotFoundError{What: "run " + id, Hint: "`tow runs` lists them"}
	}
	if err != nil {
		return fmt.Errorf("read run %s: %w", id, err)
	}
	defer f.Close()
	r := bufio.NewReaderSize(f, 64<<10)
	for n := 1; ; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		line, err := r.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil // a line without its end was cut by a crash
		}
		if err != nil {
			return fmt.Errorf("read run %s: %w", id, err)
		}
		var rec event.Record
		if err := json.Unmarshal(line, &rec); err != nil {
			return &history.DamagedError{Run: id, Err: fmt.Errorf("event %d: %w", n, err)}
		}
		if err := fn(rec); err != nil {
			return err
		}
	}
}

// logName is the file name of a stage's log. A name that is too long for a file system keeps its beginning and gets a digest.
func logName(stage string) string {
	n := url.PathEscape(stage)
	if len(n) > 200 {
		n = n[:150] + "-" + digest.OfBytes([]byte(stage)).Short()
	}
	return n + ".log"
}

// Log implements history.Store.
func (s *Store) Log(_ context.Context, id, stage string) (io.ReadCloser, error) {
	f, err := os.Open(filepath.Join(s.runDir(id), "logs", logName(stage)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &history.NotFoundError{What: fmt.Sprintf("a log of stage %s in run %s", stage, id)}
	}
	if err != nil {
		return nil, fmt.Errorf("read the log of stage %s in run %s: %w", stage, id, err)
	}
	return f, nil
}

func (s *Store) stagesFile() string { return filepath.Join(s.dir, "stages.json") }

// Last implements history.Store.
func (s *Store) Last(_ context.Context) (map[string]history.Stage, error) {
	b, err := os.ReadFile(s.stagesFile())
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]history.Stage{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read what earlier runs were: %w", err)
	}
	m := map[string]history.Stage{}
	if err := json.Unmarshal(b, &m); err != nil {
		// Only durations and the reasons of a rerun are lost with it, never a result.
		return map[string]history.Stage{}, nil
	}
	return m, nil
}

// Remember implements history.Store.
func (s *Store) Remember(ctx context.Context, stages map[string]history.Stage) error {
	if len(stages) == 0 {
		return nil
	}
	unlock, err := lock(filepath.Join(s.dir, "stages.lock"))
	if err != nil {
		return fmt.Errorf("lock the history: %w", err)
	}
	defer unlock()
	m, err := s.Last(ctx)
	if err != nil {
		return err
	}
	maps.Copy(m, stages)
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(s.dir, "stages.*.tmp")
	if err != nil {
		return fmt.Errorf("write the history: %w", err)
	}
	defer os.Remove(tmp.Name()) // gone already when it was renamed
	_, err = tmp.Write(b)
	if err == nil {
		err = tmp.Sync()
	}
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), s.stagesFile())
	}
	if err != nil {
		return fmt.Errorf("write the history: %w", err)
	}
	return nil
}

type writer struct {
	dir string

	mu  sync.Mutex
	f   *os.File
	buf *bufio.Writer
	// line is where events are written before they go into buf.
	line []byte
	// called tells that a stage was called: what was done has to survive a crash of the machine, what was only looked up can be looked up again.
	called bool
	err    error
}

// Emit implements event.Sink. What steps print is left to the logs.
func (w *writer) Emit(r event.Record) {
	if _, output := r.Event.(event.StepOutput); output {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	b, err := r.AppendJSON(w.line[:0])
	if err == nil {
		w.line = append(b, '\n')
		_, err = w.buf.Write(w.line)
	}
	if _, started := r.Event.(event.StageStarted); started {
		w.called = true
	}
	// What a person would look for after a crash is written through at once.
	switch r.Event.(type) {
	case event.StageStarted, event.RunFinished, event.Warning, event.RunStarted:
		err = errors.Join(err, w.buf.Flush())
	default:
	}
	if w.err == nil {
		w.err = err
	}
}

// Log implements history.Writer.
func (w *writer) Log(stage string) (io.WriteCloser, error) {
	dir := filepath.Join(w.dir, "logs")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("open the log of stage %s: %w", stage, err)
	}
	f, err := os.OpenFile(filepath.Join(dir, logName(stage)), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the log of stage %s: %w", stage, err)
	}
	return f, nil
}

// Discard implements history.Writer.
func (w *writer) Discard() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := errors.Join(w.f.Close(), os.RemoveAll(w.dir)); err != nil {
		return fmt.Errorf("remove a run from the history: %w", err)
	}
	return nil
}

// Close implements history.Writer.
func (w *writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	err := errors.Join(w.err, w.buf.Flush())
	if w.called {
		err = errors.Join(err, w.f.Sync())
	}
	if err := errors.Join(err, w.f.Close()); err != nil {
		return fmt.Errorf("write the history of the run: %w", err)
	}
	return nil
}
