// Package event is the vocabulary of a run: everything that happens in one is one of these values.
//
// A run is an append-only list of them. The terminal, the JSON output, the history and whatever comes later are readers of that list
// and nothing else: what is not an event cannot be shown. The set is sealed, so that a reader can switch over all of it and a test can
// check that it does.
//
// The package is a leaf. It knows nothing of engines, stores or terminals, and its values hold no secret: they are redacted before they
// are made.
package event

import (
	"time"
)

// Event is one thing that happened in a run. The types of this package are all there are.
type Event interface {
	// Type is the name of the event in JSON, `stage.started`.
	Type() string
	sealed()
}

// Record is an event with its place in the run.
type Record struct {
	// Seq numbers the events of a run from 1, without gaps.
	Seq int64
	// Time is when it happened, in UTC.
	Time time.Time
	// Run is the id of the run.
	Run string
	// Event is what happened.
	Event Event
}

// Sink takes the events of a run in order. It is called by one goroutine at a time and must not block for long.
type Sink interface {
	Emit(Record)
}

// SinkFunc is a function as a Sink.
type SinkFunc func(Record)

// Emit implements Sink.
func (f SinkFunc) Emit(r Record) { f(r) }

// Outcome is how a stage or a run ended.
type Outcome string

// The outcomes. Cached is a success that needed no work.
const (
	Succeeded Outcome = "succeeded"
	Cached    Outcome = "cached"
	Failed    Outcome = "failed"
	Cancelled Outcome = "cancelled"
	Skipped   Outcome = "skipped"
)

// OK tells whether the outcome is a success.
func (o Outcome) OK() bool { return o == Succeeded || o == Cached }

// ReasonKind is what sort of a cause a Reason is.
type ReasonKind string

// The kinds of reasons.
const (
	ReasonFirst     ReasonKind = "first"     // it has not been done before
	ReasonInput     ReasonKind = "input"     // an input has another value
	ReasonFile      ReasonKind = "file"      // a file changed
	ReasonParameter ReasonKind = "parameter" // a plain value changed
	ReasonProgram   ReasonKind = "program"   // the pipeline program changed
	ReasonTool      ReasonKind = "tool"      // a program of the machine changed
	ReasonArgument  ReasonKind = "argument"  // an argument of the command changed
	ReasonVariable  ReasonKind = "variable"  // a variable of the step changed
	ReasonFolder    ReasonKind = "folder"    // the folder in which the command starts changed
	ReasonOutput    ReasonKind = "output"    // a declared output changed
	ReasonNetwork   ReasonKind = "network"   // whether the network may be used changed
	ReasonPlatform  ReasonKind = "platform"  // the isolation, the image, a limit or the kind of machine changed
	ReasonResult    ReasonKind = "result"    // there was a result, and it cannot be used
	ReasonEffect    ReasonKind = "effect"    // effects always run
	ReasonNoCache   ReasonKind = "no-cache"  // the cache is not to be used
	ReasonOther     ReasonKind = "other"
)

// Reason is one cause of a miss: why a stage or a step has to be done again.
type Reason struct {
	Kind ReasonKind `json:"kind"`
	// Subject is what changed: an input's name, a file's path.
	Subject string `json:"subject,omitempty"`
	// Before and After are what it was and is: an argument, a value, the digest of a file. Each may be empty where there is none.
	Before string `json:"before,omitempty"`
	After  string `json:"after,omitempty"`
	// Text says it to a person: `src/app.py changed`.
	Text string `json:"text"`
}

// Failure says why a stage or a run failed.
type Failure struct {
	// Code is one of the error codes of protocol/SPEC.md, section 2.
	Code string `json:"code"`
	// Message says what was being done, to what, and why it failed.
	Message string `json:"message"`
	// Hint says what to do next; it may be empty.
	Hint string `json:"hint,omitempty"`
	// File and Line are where in the pipeline program; File may be empty.
	File string `json:"file,omitempty"`
	Line int    `json:"line,omitempty"`
	// Trace is a stack trace in the language of the program; it may be empty.
	Trace string `json:"trace,omitempty"`
	// ExitCode is that of the step with code `step_failed`.
	ExitCode int `json:"exit_code,omitempty"`
}

type (
	// RunStarted is the first event of a run.
	RunStarted struct {
		Version string            `json:"version"`
		Program string            `json:"program"`
		Targets []string          `json:"targets"`
		Params  map[string]string `json:"params,omitempty"`
		Jobs    int               `json:"jobs"`
	}

	// PlanMade says which stages the run consists of. Stages made by a fan-out come later, as StageExpanded.
	PlanMade struct {
		Stages []PlannedStage `json:"stages"`
		// FromCache tells that the program did not have to be asked.
		FromCache bool          `json:"from_cache"`
		Duration  time.Duration `json:"duration_ns"`
	}

	// SourcesSnapshot says that the declared sources were read.
	SourcesSnapshot struct {
		Sources  int           `json:"sources"`
		Files    int           `json:"files"`
		Duration time.Duration `json:"duration_ns"`
	}

	// StageExpanded says that a fanned-out stage turned out to have these elements.
	StageExpanded struct {
		Stage    string   `json:"stage"`
		Elements []string `json:"elements"`
	}

	// StageCached says that a stage has a result already and is not called.
	StageCached struct {
		Stage string `json:"stage"`
		Key   string `json:"key"`
		// From is the run that made the result.
		From string `json:"from"`
		// Saved is how long the stage took then.
		Saved time.Duration `json:"saved_ns"`
	}

	// StageStarted says that a stage is being called, and why it had to be.
	StageStarted struct {
		Stage   string   `json:"stage"`
		Key     string   `json:"key,omitempty"`
		Reasons []Reason `json:"reasons"`
	}

	// StageFinished is the end of every stage of the run, cached and skipped ones included.
	StageFinished struct {
		Stage    string        `json:"stage"`
		Outcome  Outcome       `json:"outcome"`
		Key      string        `json:"key,omitempty"`
		Duration time.Duration `json:"duration_ns"`
		Failure  *Failure      `json:"failure,omitempty"`
		// Because says why a stage was skipped or cancelled, or that an element of a fan-out failed; that one has the Failure.
		Because string `json:"because,omitempty"`
		// Value is what the stage returned, in canonical JSON (SPEC.md, section 6).
		Value []byte `json:"-"`
	}

	// StepStarted says that a stage runs a command.
	StepStarted struct {
		Stage string   `json:"stage"`
		Step  int      `json:"step"`
		Args  []string `json:"args"`
		// Key is the digest of the step's action, whose messages are in the store.
		Key string `json:"key"`
		// Reasons say why the command runs; none when its result was cached.
		Reasons []Reason `json:"reasons,omitempty"`
	}

	// StepOutput is a piece of what a step printed: whole lines where the step prints lines. It is not kept in the history's events,
	// the log holds it.
	StepOutput struct {
		Stage  string `json:"stage"`
		Step   int    `json:"step"`
		Stream string `json:"stream"`
		Text   string `json:"text"`
		// Omitted is how much was printed right before Text and is told by no event. The log has it.
		Omitted int64 `json:"omitted_bytes,omitempty"`
	}

	// StepFinished is the end of a step.
	StepFinished struct {
		Stage  string `json:"stage"`
		Step   int    `json:"step"`
		Cached bool   `json:"cached"`
		// From is the run that did the step, where it was cached.
		From     string `json:"from,omitempty"`
		ExitCode int    `json:"exit_code"`
		Signal   string `json:"signal,omitempty"`
		// Exceeded names the limit that ended the command: "memory", "pids", "output".
		Exceeded string        `json:"exceeded,omitempty"`
		Duration time.Duration `json:"duration_ns"`
		UserTime time.Duration `json:"user_ns,omitempty"`
		SysTime  time.Duration `json:"system_ns,omitempty"`
		MaxRSS   int64         `json:"max_rss_bytes,omitempty"`
		// Refused says why the stage did not get the result of a command that ran to its end, in words that follow "it": "ended with exit code 1",
		// "did not make out.txt". It is empty where the exit code is one that the stage accepts and all outputs are there.
		Refused string `json:"refused,omitempty"`
		// Error is set when the command could not be run to its end.
		Error string `json:"error,omitempty"`
	}

	// StageLog is a message that the stage's function logged.
	StageLog struct {
		Stage   string         `json:"stage"`
		Level   string         `json:"level"`
		Message string         `json:"message"`
		Fields  map[string]any `json:"fields,omitempty"`
	}

	// ProgramOutput is a line that the pipeline program printed on its own standard output or error.
	ProgramOutput struct {
		Stream string `json:"stream"`
		Text   string `json:"text"`
	}

	// Warning is something a person should know although the run goes on.
	Warning struct {
		Message string `json:"message"`
		Hint    string `json:"hint,omitempty"`
	}

	// RunRefused is the last event of a run that could not begin: the pipeline or its use is wrong, or the machine failed. The history has no such run.
	RunRefused struct {
		ExitCode int `json:"exit_code"`
		// Failure says what is wrong; tow says it on standard error as well.
		Failure *Failure `json:"failure"`
	}

	// RunFinished is the last event of a run.
	RunFinished struct {
		Outcome   Outcome       `json:"outcome"`
		ExitCode  int           `json:"exit_code"`
		Duration  time.Duration `json:"duration_ns"`
		Succeeded int           `json:"succeeded"`
		Cached    int           `json:"cached"`
		Failed    int           `json:"failed"`
		Cancelled int           `json:"cancelled"`
		Skipped   int           `json:"skipped"`
		// Saved is the time that cached stages took when they last ran.
		Saved time.Duration `json:"saved_ns"`
		// FirstFailed is the stage that failed first, empty when none did.
		FirstFailed string   `json:"first_failed,omitempty"`
		Failure     *Failure `json:"failure,omitempty"`
	}
)

// PlannedStage is a node of the graph as PlanMade tells it.
type PlannedStage struct {
	Name string   `json:"name"`
	Kind string   `json:"kind"`
	Doc  string   `json:"doc,omitempty"`
	Deps []string `json:"deps,omitempty"`
	// Expected is how long it took when it last ran; 0 when that is not known.
	Expected time.Duration `json:"expected_ns,omitempty"`
}

// Type implements Event.
func (RunStarted) Type() string      { return "run.started" }
func (PlanMade) Type() string        { return "plan.made" }
func (SourcesSnapshot) Type() string { return "sources.snapshot" }
func (StageExpanded) Type() string   { return "stage.expanded" }
func (StageCached) Type() string     { return "stage.cached" }
func (StageStarted) Type() string    { return "stage.started" }
func (StageFinished) Type() string   { return "stage.finished" }
func (StepStarted) Type() string     { return "step.started" }
func (StepOutput) Type() string      { return "step.output" }
func (StepFinished) Type() string    { return "step.finished" }
func (StageLog) Type() string        { return "stage.log" }
func (ProgramOutput) Type() string   { return "program.output" }
func (Warning) Type() string         { return "warning" }
func (RunRefused) Type() string      { return "run.refused" }
func (RunFinished) Type() string     { return "run.finished" }

func (RunStarted) sealed()      {}
func (PlanMade) sealed()        {}
func (SourcesSnapshot) sealed() {}
func (StageExpanded) sealed()   {}
func (StageCached) sealed()     {}
func (StageStarted) sealed()    {}
func (StageFinished) sealed()   {}
func (StepStarted) sealed()     {}
func (StepOutput) sealed()      {}
func (StepFinished) sealed()    {}
func (StageLog) sealed()        {}
func (ProgramOutput) sealed()   {}
func (Warning) sealed()         {}
func (RunRefused) sealed()      {}
func (RunFinished) sealed()     {}
