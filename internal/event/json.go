package event

import (
	"bytes"
	"encoding/json"
	"fmt"
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
func (r Record) MarshalJSON() ([]byte, error) {
	h := header{Seq: r.Seq, Time: r.Time, Run: r.Run, Type: r.Event.Type()}
	if r.Seq == 1 {
		h.Schema = SchemaVersion
	}
	head, err := json.Marshal(h)
	if err != nil {
		return nil, err
	}
	var body []byte
	if f, ok := r.Event.(StageFinished); ok && f.Value != nil {
		type withValue struct {
			StageFinished
			Value json.RawMessage `json:"value"`
		}
		body, err = json.Marshal(withValue{f, f.Value})
	} else {
		body, err = json.Marshal(r.Event)
	}
	if err != nil {
		return nil, err
	}
	if bytes.Equal(body, []byte("{}")) {
		return head, nil
	}
	head[len(head)-1] = ','
	return append(head, body[1:]...), nil
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
