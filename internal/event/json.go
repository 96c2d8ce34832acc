package event

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// SchemaVersion is the version of the JSON form, which docs/events.md describes. New members and new types may come within a version.
const SchemaVersion = 1

// header is what every event has in JSON before its own members.
type header struct {
	Schema int       `json:"schema,omitempty"`
	Seq    int64     `json:"seq"`
	Time   time.Time `json:"time"`
	Run    string    `json:"run"`
	Type   string    `json:"type"`
}

// MarshalJSON writes the record as one flat object: `{"seq":1,"time":…,"run":…,"type":…,` and the members of the event.
func (r Record) MarshalJSON() ([]byte, error) { return r.AppendJSON(nil) }

// AppendJSON appends what MarshalJSON returns. A fully cached run has two events for each stage and little else to do, so those are written without
// encoding/json.
func (r Record) AppendJSON(b []byte) ([]byte, error) {
	b = append(b, '{')
	if r.Seq == 1 {
		b = append(b, `"schema":`...)
		b = append(strconv.AppendInt(b, SchemaVersion, 10), ',')
	}
	b = append(b, `"seq":`...)
	b = strconv.AppendInt(b, r.Seq, 10)
	b = append(b, `,"time":"`...)
	b = r.Time.AppendFormat(b, time.RFC3339Nano)
	b = append(b, `","run":`...)
	b = appendText(b, r.Run)
	b = append(b, `,"type":`...)
	b = appendText(b, r.Event.Type())
	switch e := r.Event.(type) {
	case StageCached:
		return e.append(b), nil
	case StageFinished:
		if e.Failure == nil {
			return e.append(b)
		}
	}
	body, err := json.Marshal(r.Event)
	if err != nil {
		return nil, err
	}
	if len(body) > len("{}") {
		b = append(b, ',')
	}
	b = append(b, body[1:]...)
	if f, ok := r.Event.(StageFinished); ok {
		return f.appendValue(b[:len(b)-1])
	}
	return b, nil
}

// append appends the members and the end of the object.
func (e StageCached) append(b []byte) []byte {
	b = append(b, `,"stage":`...)
	b = appendText(b, e.Stage)
	b = append(b, `,"key":`...)
	b = appendText(b, e.Key)
	b = append(b, `,"from":`...)
	b = appendText(b, e.From)
	b = append(b, `,"saved_ns":`...)
	b = strconv.AppendInt(b, int64(e.Saved), 10)
	return append(b, '}')
}

// append appends the members of an end without a failure, and the end of the object.
func (e StageFinished) append(b []byte) ([]byte, error) {
	b = append(b, `,"stage":`...)
	b = appendText(b, e.Stage)
	b = append(b, `,"outcome":`...)
	b = appendText(b, string(e.Outcome))
	if e.Key != "" {
		b = append(b, `,"key":`...)
		b = appendText(b, e.Key)
	}
	b = append(b, `,"duration_ns":`...)
	b = strconv.AppendInt(b, int64(e.Duration), 10)
	if e.Because != "" {
		b = append(b, `,"because":`...)
		b = appendText(b, e.Because)
	}
	return e.appendValue(b)
}

// appendValue appends the value, if there is one, and the end of the object.
func (e StageFinished) appendValue(b []byte) ([]byte, error) {
	if e.Value == nil {
		return append(b, '}'), nil
	}
	b = append(b, `,"value":`...)
	if !plain(e.Value) {
		value, err := json.Marshal(json.RawMessage(e.Value))
		if err != nil {
			return nil, err
		}
		return append(append(b, value...), '}'), nil
	}
	return append(append(b, e.Value...), '}'), nil
}

// appendText appends a string as encoding/json does.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			text, _ := json.Marshal(s) // a string always can be
			return append(b, text...)
		}
	}
	b = append(append(b, '"'), s...)
	return append(b, '"')
}

// plain tells whether encoding/json would change nothing in canonical JSON.
func plain(value []byte) bool {
	for _, c := range value {
		if c < ' ' || c > '~' || c == '<' || c == '>' || c == '&' {
			return false
		}
	}
	return len(value) > 0
}

// UnmarshalJSON reads what MarshalJSON wrote. An unknown type is an error, since leaving an event out would change what a run was.
func (r *Record) UnmarshalJSON(b []byte) error {
	var h header
	if err := json.Unmarshal(b, &h); err != nil {
		return err
	}
	r.Seq, r.Time, r.Run = h.Seq, h.Time, h.Run
	var err error
	r.Event, err = decode(h.Type, b)
	return err
}

func decode(typ string, b []byte) (Event, error) {
	switch typ {
	case "run.started":
		return as[RunStarted](b)
	case "plan.made":
		return as[PlanMade](b)
	case "sources.snapshot":
		return as[SourcesSnapshot](b)
	case "stage.expanded":
		return as[StageExpanded](b)
	case "stage.cached":
		return as[StageCached](b)
	case "stage.started":
		return as[StageStarted](b)
	case "stage.finished":
		f, err := as[StageFinished](b)
		if err != nil {
			return nil, err
		}
		var v struct {
			Value json.RawMessage `json:"value"`
		}
		if err := json.Unmarshal(b, &v); err != nil {
			return nil, err
		}
		finished := f.(StageFinished)
		finished.Value = v.Value
		return finished, nil
	case "step.started":
		return as[StepStarted](b)
	case "step.output":
		return as[StepOutput](b)
	case "step.finished":
		return as[StepFinished](b)
	case "stage.log":
		return as[StageLog](b)
	case "program.output":
		return as[ProgramOutput](b)
	case "warning":
		return as[Warning](b)
	case "run.refused":
		return as[RunRefused](b)
	case "run.finished":
		return as[RunFinished](b)
	}
	return nil, fmt.Errorf("unknown event type %q", typ)
}

func as[E Event](b []byte) (Event, error) {
	var e E
	if err := json.Unmarshal(b, &e); err != nil {
		return nil, err
	}
	return e, nil
}
