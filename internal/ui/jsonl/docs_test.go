package jsonl

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/ui/uitest"
)

// section is what a heading of docs/events.md stands for.
type section struct {
	members  map[string]string // "type, presence" by member
	examples []string
}

// readDocs returns the sections of docs/events.md by their headings.
func readDocs(t *testing.T) map[string]*section {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "events.md"))
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile("^\\| `([^`]+)` \\| ([^|]+) \\| (always|optional) \\| [^|]+ \\|$")
	sections := map[string]*section{}
	current := &section{}
	fence := ""
	for line := range strings.Lines(string(b)) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case strings.HasPrefix(line, "```"):
			if fence == "" {
				fence = line
			} else {
				fence = ""
			}
		case fence == "```json":
			current.examples = append(current.examples, line)
		case fence == "" && strings.HasPrefix(line, "#"):
			current = &section{members: map[string]string{}}
			sections[strings.Trim(line, "#` ")] = current
		case fence == "":
			if m := row.FindStringSubmatch(line); m != nil {
				current.members[m[1]] = m[2] + ", " + m[3]
			}
		}
	}
	return sections
}

// members returns what the document has to say of the members of a type.
func members(t *testing.T, typ reflect.Type) map[string]string {
	t.Helper()
	m := map[string]string{}
	for f := range typ.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch name {
		case "-":
			continue
		case "":
			t.Errorf("%s.%s has no name in JSON", typ, f.Name)
		}
		presence := "always"
		if strings.Contains(options, "omitempty") {
			presence = "optional"
		}
		m[name] = typeName(t, f.Type) + ", " + presence
		if f.Type == reflect.TypeFor[time.Duration]() && !strings.HasSuffix(name, "_ns") {
			t.Errorf("%s.%s is a duration, but its name %q has no unit", typ, f.Name, name)
		}
	}
	if typ == reflect.TypeFor[event.StageFinished]() {
		m["value"] = "any, optional"
	}
	return m
}

func typeName(t *testing.T, typ reflect.Type) string {
	t.Helper()
	switch typ {
	case reflect.TypeFor[*event.Failure]():
		return "failure"
	case reflect.TypeFor[[]event.Reason]():
		return "list of reasons"
	case reflect.TypeFor[[]event.PlannedStage]():
		return "list of planned stages"
	case reflect.TypeFor[[]string]():
		return "list of strings"
	case reflect.TypeFor[map[string]string]():
		return "object of strings"
	case reflect.TypeFor[map[string]any]():
		return "object"
	}
	switch typ.Kind() {
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Int, reflect.Int64:
		return "integer"
	}
	t.Errorf("no word for a member of type %s", typ)
	return ""
}

func TestTheDocumentHasEveryMemberAndNoOther(t *testing.T) {
	docs := readDocs(t)
	want := map[string]map[string]string{
		"Every record": {"schema": "integer, optional", "seq": "integer, always", "time": "string, always", "run": "string, always",
			"type": "string, always"},
		"A planned stage": members(t, reflect.TypeFor[event.PlannedStage]()),
		"A reason":        members(t, reflect.TypeFor[event.Reason]()),
		"A failure":       members(t, reflect.TypeFor[event.Failure]()),
	}
	for _, e := range uitest.Every(t) {
		want[e.Type()] = members(t, reflect.TypeOf(e))
	}
	for title, members := range want {
		s := docs[title]
		if s == nil {
			t.Errorf("docs/events.md has no heading %q", title)
			continue
		}
		if diff := cmp.Diff(members, s.members); diff != "" {
			t.Errorf("docs/events.md, %s (-code +document):\n%s", title, diff)
		}
	}
	for title, s := range docs {
		if want[title] == nil && len(s.members) > 0 {
			t.Errorf("docs/events.md describes %q, which does not exist", title)
		}
	}
}

// The names of the members that every record has come from a real one, since their type is not exported.
func TestTheDocumentHasTheHeader(t *testing.T) {
	b, err := json.Marshal(event.Record{Seq: 1, Event: event.Warning{}})
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	delete(got, "message")
	docs := readDocs(t)["Every record"]
	for name := range got {
		if docs.members[name] == "" {
			t.Errorf("docs/events.md does not have the member %q of every record", name)
		}
	}
	if len(got) != len(docs.members) {
		t.Errorf("docs/events.md has %d members of every record, there are %d", len(docs.members), len(got))
	}
}

// Every example is what the code would write, and every type has one.
func TestTheExamplesAreReal(t *testing.T) {
	docs := readDocs(t)
	for _, e := range uitest.Every(t) {
		s := docs[e.Type()]
		if s == nil || len(s.examples) == 0 {
			t.Errorf("docs/events.md has no example of %s", e.Type())
			continue
		}
		for _, example := range s.examples {
			var r event.Record
			if err := json.Unmarshal([]byte(example), &r); err != nil {
				t.Errorf("%s: %v", example, err)
				continue
			}
			b, err := json.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			if string(b) != example || r.Event.Type() != e.Type() {
				t.Errorf("an example of %s\nis    %s\nnot   %s", e.Type(), example, b)
			}
		}
	}
}

func TestTheDocumentHasEveryOutcome(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "..", "docs", "events.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []event.Outcome{event.Succeeded, event.Cached, event.Failed, event.Cancelled, event.Skipped} {
		if !strings.Contains(string(b), "\n| `"+string(o)+"` | ") {
			t.Errorf("docs/events.md does not have the outcome %q", o)
		}
	}
}
