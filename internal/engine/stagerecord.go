package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/session"
)

// stageRecord is a stage's result in the action cache. A fully cached run reads one for each stage and does little else, so its form is made to be read
// without encoding/json:
//
//	towpath-stage-1 RUN NANOSECONDS LF
//	the Late in JSON, without line breaks, or nothing LF
//	the value
type stageRecord struct {
	// Value is what the stage returned, in canonical JSON.
	Value json.RawMessage
	// Late is a late in JSON; most stages of a pipeline have the same.
	Late string
	// Run is the run that made the result; its history has the log.
	Run      string
	Duration time.Duration
}

// late is what a stage turned out to depend on besides its key. Its result is used only while that is as it was.
type late struct {
	Reads session.Reads `json:"reads"`
	Tools []toolUse     `json:"tools,omitempty"`
}

const stageMagic = "towpath-stage-1 "

var errStageRecord = errors.New("it is not of the form of one")

func (rec stageRecord) encode() []byte {
	b := make([]byte, 0, len(stageMagic)+len(rec.Run)+len(rec.Late)+len(rec.Value)+30)
	b = append(b, stageMagic...)
	b = append(append(b, rec.Run...), ' ')
	b = append(strconv.AppendInt(b, int64(rec.Duration), 10), '\n')
	b = append(append(b, rec.Late...), '\n')
	return append(b, rec.Value...)
}

// decodeStage reads what encode wrote. The record keeps b.
func decodeStage(b []byte) (stageRecord, error) {
	head, rest, ok := bytes.Cut(b, []byte("\n"))
	late, value, whole := bytes.Cut(rest, []byte("\n"))
	head, magic := bytes.CutPrefix(head, []byte(stageMagic))
	run, duration, pair := bytes.Cut(head, []byte(" "))
	if !ok || !whole || !magic || !pair || len(value) == 0 {
		return stageRecord{}, errStageRecord
	}
	n, err := strconv.ParseInt(string(duration), 10, 64)
	if err != nil {
		return stageRecord{}, fmt.Errorf("its duration: %w", err)
	}
	return stageRecord{Value: value, Late: string(late), Run: string(run), Duration: time.Duration(n)}, nil
}

// encode returns the form that a record has it in.
func (l late) encode() (string, error) {
	if len(l.Reads.Files)+len(l.Reads.Folders)+len(l.Tools) == 0 {
		return "", nil
	}
	b, err := json.Marshal(l)
	return string(b), err
}

func decodeLate(text string) (late, error) {
	var l late
	if text == "" {
		return l, nil
	}
	err := json.Unmarshal([]byte(text), &l)
	return l, err
}

// lates remembers what was found out about what stages depended on, since most of those of a pipeline have that in common: it is looked at once in a run.
type lates struct {
	mu    sync.Mutex
	known map[string]*lateChecked
}

// lateChecked is what became of a late: nil where nothing has changed since.
type lateChecked struct {
	once   sync.Once
	reason *event.Reason
	err    error
}

// check returns what check says of text, which it is asked once.
func (l *lates) check(text string, check func(text string) (*event.Reason, error)) (*event.Reason, error) {
	l.mu.Lock()
	c := l.known[text]
	if c == nil {
		c = &lateChecked{}
		l.known[text] = c
	}
	l.mu.Unlock()
	c.once.Do(func() { c.reason, c.err = check(text) })
	return c.reason, c.err
}
