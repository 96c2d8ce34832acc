package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/towpath/towpath/internal/config"
	"github.com/towpath/towpath/internal/engine"
	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/session"
	"github.com/towpath/towpath/internal/source"
	"github.com/towpath/towpath/internal/ui"
	"github.com/towpath/towpath/internal/watch"
)

// sight is what a run would start from, as far as it can be seen.
type sight struct {
	program  session.Program
	settings config.Settings
	inputs   engine.Inputs
	// err is what is wrong with the pipeline.
	err error
	// printed is what the program printed when it was described, where nothing is wrong: else the run says it.
	printed []string
}

// same tells whether a run would start from the same, or be refused for the same reason.
func (s sight) same(t sight) bool {
	if s.err != nil && t.err != nil {
		return s.err.Error() == t.err.Error()
	}
	return s.err == nil && t.err == nil && s.inputs.Digest == t.inputs.Digest && reflect.DeepEqual(s.settings, t.settings)
}

// rerunner runs again and again.
type rerunner struct {
	app     *App
	options runOptions
	watcher *watch.Watcher
	ignored *ignored
	// root is the folder of the program.
	root    string
	changes chan watch.Change
	broken  chan error
	// seen is what the run that is going on, or the last one, started from.
	seen sight
	// result and err are how it ended, and when.
	result engine.Result
	err    error
	ended  time.Time
}

// watch runs, waits until something is saved that matters, and runs again, until ctx ends.
//
// Whether a save matters is not decided by names but by looking again: only where the program, the selected stages, their parameters or the digest of
// their sources came out different, or a result cannot be used any more, is there another run.
func (a *App) watch(ctx context.Context, o runOptions) error {
	p, err := session.Find(a.Dir, a.file)
	if err != nil {
		return err
	}
	settings, err := a.settings(p.Root, p.Repository)
	if err != nil {
		return err
	}
	r := &rerunner{
		app: a, options: o, changes: make(chan watch.Change, 1), broken: make(chan error, 1),
		root: p.Root, ignored: &ignored{git: source.NewIgnorer(p.Repository), ours: []string{settings.CacheDir, settings.StateDir}},
	}
	if r.watcher, err = watch.New(r.ignored.skip); err != nil {
		return err
	}
	if err := r.watcher.Watch([]watch.Folder{{Path: p.Root, Deep: true}}); err != nil {
		return errors.Join(err, r.watcher.Close())
	}
	inner, stop := context.WithCancel(ctx)
	var listening sync.WaitGroup
	listening.Go(func() { r.listen(inner) })
	err = r.loop(ctx)
	stop()
	listening.Wait()
	return errors.Join(err, r.watcher.Close())
}

// listen passes changes on. Those that nobody has taken yet become one.
func (r *rerunner) listen(ctx context.Context) {
	for {
		c, err := r.watcher.Next(ctx)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			r.broken <- err
			return
		}
		select {
		case before := <-r.changes:
			c.Paths, c.Lost = append(before.Paths, c.Paths...), c.Lost || before.Lost // what came last is the new one's
		default:
		}
		r.changes <- c
	}
}

func (r *rerunner) loop(ctx context.Context) error {
	for {
		r.seen = r.look(ctx)
		r.say(r.seen.printed)
		if err := r.follow(); err != nil {
			return err
		}
		again, err := r.once(ctx)
		if err != nil {
			return err
		}
		if again {
			continue
		}
		fmt.Fprintln(r.app.Stderr, "tow: waiting for a file to be saved; Ctrl-C ends")
		for !again {
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case err := <-r.broken:
				return err
			case c := <-r.changes:
				if again, err = r.matters(ctx, c); err != nil {
					return err
				}
				r.tell(c, again)
			}
		}
	}
}

// once does one run, and tells whether something was saved meanwhile that makes another one necessary.
func (r *rerunner) once(ctx context.Context) (again bool, err error) {
	running, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	ended := make(chan struct{})
	var printed []string // by the program, while the screen is the run's
	r.result = engine.Result{}
	go func() {
		defer close(ended)
		r.err = r.app.with(running, func(w *workplace) error {
			var err error
			r.result, err = r.app.runOnce(running, w, r.options)
			return err
		})
	}()
	for {
		select {
		case <-ended:
			r.ended = time.Now()
			r.say(printed)
			return again, r.report(ctx, again)
		case err := <-r.broken:
			cancel(err)
			<-ended
			return false, err
		case c := <-r.changes:
			if again {
				continue
			}
			now := r.look(ctx)
			printed = append(printed, now.printed...)
			if now.same(r.seen) {
				continue
			}
			again = true
			r.tell(c, true)
			if !r.seen.inputs.Effects {
				cancel(engine.ErrSuperseded)
			}
		}
	}
}

// report tells why a run did not begin, and returns what ends all of it.
func (r *rerunner) report(ctx context.Context, again bool) error {
	if ctx.Err() != nil {
		if r.result.ExitCode == engine.ExitCancelled {
			return &exitError{engine.ExitCancelled} // the run has said so
		}
		return context.Cause(ctx)
	}
	usage, wrong := errors.AsType[*usageError](r.err)
	switch {
	case r.err == nil, again && errors.Is(r.err, engine.ErrSuperseded):
		return nil
	case wrong:
		return usage // what was typed does not become right by saving files
	}
	r.app.complain(r.err)
	return nil
}

// look finds out what a run would start from now.
func (r *rerunner) look(ctx context.Context) sight {
	var s sight
	var printed []string
	s.err = r.app.with(ctx, func(w *workplace) error {
		w.session.Output = func(_, line string) { printed = append(printed, line) }
		s.program, s.settings = w.program, w.settings
		request, err := w.request(r.options)
		if err != nil {
			return err
		}
		s.inputs, err = r.app.engine(w).Inputs(ctx, request)
		return err
	})
	if s.err == nil {
		s.printed = printed
	}
	return s
}

func (r *rerunner) say(lines []string) {
	for _, line := range lines {
		fmt.Fprintln(r.app.Stderr, line)
	}
}

// follow watches what the run starts from. The folder of the program is watched whole, since functions may read more there than was declared.
func (r *rerunner) follow() error {
	if r.seen.err != nil {
		return nil // what was watched stays
	}
	r.ignored.reads(r.seen.inputs.Files)
	p := r.seen.program
	folders := []watch.Folder{{Path: p.Root, Deep: true}}
	for _, g := range r.seen.inputs.Globs {
		if !strings.HasPrefix(g, "!") {
			folders = append(folders, watch.Folder{Path: filepath.Join(p.Repository, filepath.FromSlash(fixedPart(g))), Deep: true})
		}
	}
	for _, path := range r.seen.inputs.Files {
		folders = append(folders, watch.Folder{Path: filepath.Dir(path)})
	}
	for _, folder := range []string{p.Repository, p.Root} { // settings may come
		folders = append(folders, watch.Folder{Path: folder})
	}
	return r.watcher.Watch(folders)
}

// fixedPart returns what all matches of a glob are, or are below.
func fixedPart(glob string) string {
	i := strings.IndexAny(glob, `*?[{\`)
	if i < 0 {
		return glob
	}
	return glob[:max(strings.LastIndexByte(glob[:i], '/'), 0)]
}

// matters tells whether a save makes another run necessary.
func (r *rerunner) matters(ctx context.Context, c watch.Change) (bool, error) {
	now := r.look(ctx)
	r.say(now.printed)
	if !now.same(r.seen) {
		return true, context.Cause(ctx)
	}
	if r.result.ExitCode != engine.ExitOK && r.mayMend(c) {
		return true, nil
	}
	var stale bool
	err := r.app.with(ctx, func(w *workplace) error {
		succeeded, err := r.succeeded(ctx, w)
		if err != nil || len(succeeded) == 0 {
			return err
		}
		request, err := w.request(r.options)
		if err != nil {
			return err
		}
		request.NoCache = false
		all, err := r.app.engine(w).Explain(ctx, request)
		for _, x := range all {
			stale = stale || x.State == "runs" && succeeded[x.Stage]
		}
		return err
	})
	return stale, err
}

// mayMend tells whether a change may be a reason for a function that failed to succeed: it has not told what it had read. What was written before the end
// of the run may have been written by the function itself, and would be again.
func (r *rerunner) mayMend(c watch.Change) bool {
	inside := func(path string) bool { return strings.HasPrefix(path, r.root+string(filepath.Separator)) }
	return c.Last.After(r.ended) && (c.Lost || slices.ContainsFunc(c.Paths, inside))
}

// succeeded names the stages of the last run that have a result, which are all that succeeded but effects.
func (r *rerunner) succeeded(ctx context.Context, w *workplace) (map[string]bool, error) {
	out := map[string]bool{}
	if r.result.Run == "" {
		return out, nil
	}
	err := w.stores.History.Events(ctx, r.result.Run, func(rec event.Record) error {
		if e, ok := rec.Event.(event.StageFinished); ok && e.Outcome.OK() && e.Key != "" {
			out[e.Stage] = true
		}
		return nil
	})
	return out, err
}

// tell says what was saved. What does not matter is said only to those who want to know more.
func (r *rerunner) tell(c watch.Change, matters bool) {
	paths := slices.DeleteFunc(slices.Clone(c.Paths), func(p string) bool { _, err := os.Lstat(p); return err != nil })
	if len(paths) == 0 {
		paths = c.Paths // else it is what editors write first and then rename
	}
	what := "something"
	if len(paths) > 0 {
		what = paths[0]
		if rel, err := filepath.Rel(r.app.Dir, what); err == nil {
			what = rel
		}
		if n := len(paths) - 1; n > 0 {
			what = fmt.Sprintf("%s and %d more", what, n)
		}
	}
	switch {
	case matters:
		fmt.Fprintf(r.app.Stderr, "tow: %s changed; running again\n", ui.Clean(what))
	case r.options.verbose:
		fmt.Fprintf(r.app.Stderr, "tow: %s changed, and nothing that the stages depend on\n", ui.Clean(what))
	}
}

// ignored tells what need not be watched: what git ignores, git's own files, and the stores of tow, but for files that the program has read.
type ignored struct {
	git  *source.Ignorer
	ours []string

	mu   sync.Mutex
	read map[string]bool
}

// skip implements what watch asks.
func (g *ignored) skip(path string, dir bool) bool {
	for _, folder := range g.ours {
		if path == folder || strings.HasPrefix(path, folder+string(filepath.Separator)) {
			return true
		}
	}
	g.mu.Lock()
	read := g.read[path]
	g.mu.Unlock()
	name := filepath.Base(path)
	switch {
	case name == "__pycache__":
		return true
	case read:
		return false
	case name == ".git", filepath.Base(filepath.Dir(path)) == ".git":
		return true
	case name == ".gitignore":
		g.git.Forget() // it may say something else now
		return false
	}
	return g.git.Ignored(path, dir)
}

// reads says which files the program reads when it is described.
func (g *ignored) reads(files []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.read = make(map[string]bool, len(files))
	for _, path := range files {
		g.read[path] = true
	}
}
