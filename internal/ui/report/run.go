package report

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/towpath/towpath/internal/event"
)

const (
	// tailLines is how much of a failed stage's output is shown again at the end.
	tailLines = 20
	// keptTails is the number of failed stages whose output is kept. Only that of the first is shown; which one that is, is certain only at
	// the end of the run.
	keptTails = 8
)

// Status is where a stage is on its way.
type Status uint8

// A stage waits, runs and is done. A stage that is tried again runs twice.
const (
	Waiting Status = iota
	Running
	Done
)

// Stage is what is known of a stage.
type Stage struct {
	Name     string
	Status   Status
	Expected time.Duration // how long it took when it last ran, 0 when that is not known
	Started  time.Time     // by the clock of the reader
	Command  string        // the command that was started last
	Outcome  event.Outcome // once it is done
	Duration time.Duration
	Failure  *event.Failure
	Because  string
	Tries    int // how often it was started

	deps    []*Stage
	left    time.Duration // scratch space of Run.Left: the longest way up to the end of this stage,
	late    bool          // and whether a stage on it has taken longer than expected
	tail    *tail
	streams []*stream
}

// stream is one stream of one step of a stage.
type stream struct {
	step int
	name string
	Lines
}

// Line is told every line that a stage prints. The line is safe to show and valid only until Line returns.
type Line func(stage string, line []byte)

// Run is the state of a run as its events tell it. Its methods are not safe for concurrent use.
type Run struct {
	Program  string             // the pipeline program
	Finished *event.RunFinished // nil while the run goes on

	color   bool
	command string
	stages  map[string]*Stage
	order   []*Stage // all of them
	sorted  bool     // whether every stage of order comes after those that it depends on
	width   int      // of the longest name
	running []*Stage // in the order of their start
	ended   map[event.Outcome][]*Stage
	done    int
}

// NewRun returns the state of a run before its first event. With color the lines of steps keep their colours; command is how tow was
// called, for hints, without it "tow".
func NewRun(color bool, command string) *Run {
	return &Run{color: color, command: cmp.Or(command, "tow"), stages: map[string]*Stage{}, ended: map[event.Outcome][]*Stage{}}
}

// Apply takes an event, which happened at a time of the reader's clock, and hands on every line of output that it completes. A line that
// never ended is handed on when its step ends.
func (r *Run) Apply(e event.Event, now time.Time, line Line) {
	switch e := e.(type) {
	case event.RunStarted:
		r.Program = e.Program
	case event.PlanMade:
		r.plan(e.Stages)
	case event.StageExpanded:
		r.expand(e)
	case event.StageCached:
		r.end(event.StageFinished{Stage: e.Stage, Outcome: event.Cached}, line)
	case event.StageStarted:
		r.start(r.stage(e.Stage), now)
	case event.StageFinished:
		r.end(e, line)
	case event.StepStarted:
		s := r.stage(e.Stage)
		s.Command = Command(e.Args)
	case event.StepOutput:
		s := r.stage(e.Stage)
		st := s.stream(e.Step, e.Stream, r.color)
		if e.Omitted > 0 {
			st.Flush(s.keep(line))
			s.keep(line)([]byte(r.omitted(s, e.Omitted)))
		}
		st.Write(e.Text, s.keep(line))
	case event.StepFinished:
		r.stage(e.Stage).flush(line, func(st *stream) bool { return st.step == e.Step })
	case event.RunFinished:
		r.Finished = &e
		for _, s := range r.running {
			s.flush(line, func(*stream) bool { return true })
		}
	case event.SourcesSnapshot, event.StageLog, event.ProgramOutput, event.Warning, event.RunRefused:
		// These change no stage.
	}
}

// Flush hands on the lines that never ended, for a run that breaks off.
func (r *Run) Flush(line Line) {
	for _, s := range r.running {
		s.flush(line, func(*stream) bool { return true })
	}
}

// omitted is the line in place of output that is not told.
func (r *Run) omitted(s *Stage, n int64) string {
	return fmt.Sprintf("… %s left out here; all of it: %s logs %s", Bytes(n), r.command, Command([]string{s.Name}))
}

// Total is the number of stages, as far as they are known.
func (r *Run) Total() int { return len(r.stages) }

// DoneCount is the number of stages that have ended in whatever way.
func (r *Run) DoneCount() int { return r.done }

// Running returns the stages that run, the one that started first before the others.
func (r *Run) Running() []*Stage { return r.running }

// Ended returns the stages that ended in a way, in the order in which they did.
func (r *Run) Ended(o event.Outcome) []*Stage { return r.ended[o] }

// NameWidth is the width of the longest name of a stage, at most limit.
func (r *Run) NameWidth(limit int) int {
	return min(r.width, limit)
}

// FirstFailed is the stage that failed before all others, nil when none did.
func (r *Run) FirstFailed() *Stage {
	if r.Finished != nil {
		if s := r.stages[r.Finished.FirstFailed]; s != nil {
			return s
		}
	}
	if failed := r.ended[event.Failed]; len(failed) > 0 {
		return failed[0]
	}
	return nil
}

// stage returns the stage with a name. One that was never announced is made, since a reader has to live with what it is told.
func (r *Run) stage(name string) *Stage {
	s := r.stages[name]
	if s == nil {
		s = &Stage{Name: name}
		r.stages[name] = s
		r.order = append(r.order, s)
		r.width = max(r.width, Width(OneLine(name)))
	}
	return s
}

func (r *Run) plan(planned []event.PlannedStage) {
	for _, p := range planned {
		r.stage(p.Name).Expected = p.Expected
	}
	for _, p := range planned {
		s := r.stages[p.Name]
		for _, d := range p.Deps {
			s.deps = append(s.deps, r.stage(d))
		}
	}
	r.sorted = false
}

// expand adds the elements of a fan-out, which need what it needs and which it waits for. What the fan-out took as a whole says nothing of
// its elements, so that their durations are not known.
func (r *Run) expand(e event.StageExpanded) {
	parent := r.stage(e.Stage)
	parent.Expected = 0
	before := slices.Clip(parent.deps)
	after := before
	for _, name := range e.Elements {
		s := r.stage(name)
		s.deps = before
		after = append(after, s)
	}
	parent.deps = after
	r.sorted = false
}

func (r *Run) start(s *Stage, now time.Time) {
	if s.Status == Done {
		r.forget(s)
	}
	if s.Status != Running {
		r.running = append(r.running, s)
	}
	s.Status = Running
	s.Started = now
	s.Tries++
}

// forget takes back the end of a stage that is tried again after all.
func (r *Run) forget(s *Stage) {
	r.done--
	r.ended[s.Outcome] = without(r.ended[s.Outcome], s)
	s.tail, s.Failure, s.Because, s.Outcome = nil, nil, "", ""
}

func (r *Run) end(e event.StageFinished, line Line) {
	s := r.stage(e.Stage)
	s.flush(line, func(*stream) bool { return true })
	if s.Status == Done {
		if s.Outcome == e.Outcome {
			return
		}
		r.forget(s)
	}
	if s.Status == Running {
		r.running = without(r.running, s)
	}
	s.Status = Done
	s.Outcome, s.Duration, s.Failure, s.Because = e.Outcome, e.Duration, e.Failure, e.Because
	r.done++
	if e.Outcome == event.Failed && e.Failure == nil && e.Because != "" {
		return // a fan-out: its element is told
	}
	r.ended[e.Outcome] = append(r.ended[e.Outcome], s)
	if e.Outcome != event.Failed || len(r.ended[event.Failed]) > keptTails {
		s.tail = nil
	}
}

func without(list []*Stage, s *Stage) []*Stage {
	for i := range list {
		if list[i] == s {
			return append(list[:i:i], list[i+1:]...)
		}
	}
	return list
}

func (s *Stage) stream(step int, name string, color bool) *stream {
	for _, st := range s.streams {
		if st.step == step && st.name == name {
			return st
		}
	}
	st := &stream{step: step, name: name, Lines: Lines{Color: color}}
	s.streams = append(s.streams, st)
	return st
}

// keep returns a function that remembers a line as one of the last ones and hands it on.
func (s *Stage) keep(line Line) func([]byte) {
	if s.tail == nil {
		s.tail = &tail{}
	}
	return func(l []byte) {
		s.tail.add(l)
		line(s.Name, l)
	}
}

// flush ends the streams that are chosen.
func (s *Stage) flush(line Line, chosen func(*stream) bool) {
	kept := s.streams[:0]
	for _, st := range s.streams {
		if !chosen(st) {
			kept = append(kept, st)
			continue
		}
		st.Flush(s.keep(line))
	}
	clear(s.streams[len(kept):])
	s.streams = kept
}

// Last is what the stage printed last: the line that it is printing, or else the last one that had something in it.
func (s *Stage) Last() string {
	for _, st := range slices.Backward(s.streams) {
		if p := st.Pending(); p != nil {
			return string(p)
		}
	}
	if s.tail == nil {
		return ""
	}
	return s.tail.last()
}

// Tail returns the last lines that the stage printed, and the number of lines before them.
func (s *Stage) Tail() (lines []string, before int) {
	if s.tail == nil {
		return nil, 0
	}
	return s.tail.lines()
}

// tail is the last lines of something, in memory that is used again.
type tail struct {
	ring [tailLines][]byte
	n    int // how many lines there were
	text int // how many there were up to the last one that is not blank
}

func (t *tail) add(line []byte) {
	slot := &t.ring[t.n%tailLines]
	*slot = append((*slot)[:0], line...)
	t.n++
	for _, c := range line {
		if c != ' ' && c != '\t' {
			t.text = t.n
			break
		}
	}
}

// last is the last line that is not blank.
func (t *tail) last() string {
	if t.text == 0 || t.n-t.text >= tailLines {
		return ""
	}
	return string(t.ring[(t.text-1)%tailLines])
}

func (t *tail) lines() (lines []string, before int) {
	before = max(t.n-tailLines, 0)
	for i := before; i < t.n; i++ {
		lines = append(lines, string(t.ring[i%tailLines]))
	}
	return lines, before
}
