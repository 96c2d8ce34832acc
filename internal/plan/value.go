package plan

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/protocol"
)

// CheckValue reports why raw, a value in canonical JSON, is not of type t.
func CheckValue(t protocol.Type, raw json.RawMessage) error {
	v, err := decodeValue(raw)
	if err != nil {
		return err
	}
	return check(t, v, "")
}

func decodeValue(raw json.RawMessage) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("the value is no JSON: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("there is something after the value")
	}
	return v, nil
}

// check reports why v, found at path inside a value, is not of type t.
func check(t protocol.Type, v any, path string) error {
	wrong := func() error { return fmt.Errorf("%sis no %s but %s", where(path), t, describe(v)) }
	switch t.Kind {
	case protocol.TypeOptional:
		if v == nil {
			return nil
		}
		return check(*t.Elem, v, path)
	case protocol.TypeList:
		list, ok := v.([]any)
		if !ok {
			return wrong()
		}
		for i, e := range list {
			if err := check(*t.Elem, e, fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
		return nil
	case protocol.TypeMap:
		m, ok := v.(map[string]any)
		if !ok {
			return wrong()
		}
		for _, k := range slices.Sorted(maps.Keys(m)) {
			if strings.HasPrefix(k, "$") {
				return wrong()
			}
			if err := check(*t.Elem, m[k], below(path, k)); err != nil {
				return err
			}
		}
		return nil
	case protocol.TypeRecord:
		return checkRecord(t, v, path)
	default:
		if !isScalar(t.Kind, v) {
			return wrong()
		}
		return nil
	}
}

func checkRecord(t protocol.Type, v any, path string) error {
	m, ok := v.(map[string]any)
	if !ok {
		return fmt.Errorf("%sis no %s but %s", where(path), t, describe(v))
	}
	for _, f := range t.Record.Fields {
		e, ok := m[f.Name]
		if !ok {
			return fmt.Errorf("%slacks the field %s of %s", where(path), f.Name, t)
		}
		if err := check(f.Type, e, below(path, f.Name)); err != nil {
			return err
		}
	}
	if len(m) == len(t.Record.Fields) {
		return nil
	}
	for _, f := range t.Record.Fields {
		delete(m, f.Name)
	}
	return fmt.Errorf("%shas the field %.60q, which %s does not have", where(path), slices.Sorted(maps.Keys(m))[0], t)
}

// isScalar tells whether v is of a type without parts.
func isScalar(k protocol.TypeKind, v any) bool {
	switch k {
	case protocol.TypeNull:
		return v == nil
	case protocol.TypeBool:
		_, ok := v.(bool)
		return ok
	case protocol.TypeString:
		_, ok := v.(string)
		return ok
	case protocol.TypeInt:
		n, ok := v.(json.Number)
		if !ok || strings.ContainsAny(string(n), ".eE") {
			return false
		}
		_, err := n.Int64()
		return err == nil
	case protocol.TypeFloat:
		n, ok := v.(json.Number)
		if !ok || !strings.ContainsAny(string(n), ".eE") {
			return false
		}
		_, err := n.Float64()
		return err == nil
	case protocol.TypeFile:
		_, ok := fileIn(v)
		return ok
	case protocol.TypeDirectory:
		_, ok := directoryIn(v)
		return ok
	case protocol.TypeTestReport:
		return isReport(v)
	case protocol.TypeSecret:
		m, ok := only(v, "$secret", 1)
		if !ok {
			return false
		}
		name, ok := m["name"].(string)
		return ok && name != ""
	default:
		return false
	}
}

// only returns the members that {tag: {…}} holds, where there are so many.
func only(v any, tag string, members int) (map[string]any, bool) {
	m, ok := v.(map[string]any)
	if !ok || len(m) != 1 {
		return nil, false
	}
	inner, ok := m[tag].(map[string]any)
	return inner, ok && len(inner) == members
}

// fileIn reads a file. Its name is one that a file can have, since files are exported by it.
func fileIn(v any) (Artifact, bool) {
	m, ok := only(v, "$file", 3)
	if !ok {
		return Artifact{}, false
	}
	d, ok := digestIn(m)
	name, isText := m["name"].(string)
	executable, isBool := m["executable"].(bool)
	legal := name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00")
	return Artifact{Name: name, Executable: executable, Digest: d}, ok && isText && isBool && legal
}

func directoryIn(v any) (Artifact, bool) {
	m, ok := only(v, "$directory", 1)
	if !ok {
		return Artifact{}, false
	}
	d, ok := digestIn(m)
	return Artifact{Directory: true, Digest: d}, ok
}

func digestIn(m map[string]any) (digest.Digest, bool) {
	text, ok := m["digest"].(string)
	if !ok {
		return digest.Digest{}, false
	}
	d, err := digest.Parse(text)
	return d, err == nil
}

func isReport(v any) bool {
	m, ok := only(v, "$test_report", 6)
	if !ok {
		return false
	}
	for _, name := range []string{"errors", "failures", "skipped", "tests", "time_ms"} {
		if !isScalar(protocol.TypeInt, m[name]) || m[name].(json.Number)[0] == '-' {
			return false
		}
	}
	_, ok = fileIn(m["junit"])
	return ok
}

// below is the path of a member of what is at path.
func below(path, key string) string {
	if identifier(key) {
		return path + "." + key
	}
	return fmt.Sprintf("%s[%q]", path, key)
}

// where begins a message about what is at path.
func where(path string) string {
	if path == "" {
		return "it "
	}
	const longest = 200
	path = strings.TrimPrefix(path, ".")
	if len(path) > longest {
		path = strings.ToValidUTF8(path[:longest], "") + "…"
	}
	return path + " "
}

// describe names what a decoded value is, for messages.
func describe(v any) string {
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return "a bool"
	case string:
		return "a string"
	case json.Number:
		if strings.ContainsAny(string(v), ".eE") {
			return "a float"
		}
		return "an int"
	case []any:
		return "a list"
	case map[string]any:
		for k := range v {
			switch k {
			case "$file", "$directory", "$test_report", "$secret":
				if len(v) == 1 {
					return "a " + strings.ReplaceAll(k[1:], "_", " ")
				}
			}
		}
		return "an object"
	}
	return "something else"
}

// Artifact is a file or a directory that a value holds.
type Artifact struct {
	// Path is where in the value: "", "wheel", "reports[2].junit", `wheels["linux/arm64"]`. No two have the same.
	Path      string
	Directory bool
	Name      string // of a file
	// Executable is of a file.
	Executable bool
	Digest     digest.Digest
}

// Artifacts lists the files and directories in a value, which is canonical JSON: lists in their order, and objects in that of their keys.
func Artifacts(raw json.RawMessage) ([]Artifact, error) {
	if !bytes.Contains(raw, []byte(`"$`)) {
		return nil, nil
	}
	if a, ok := oneArtifact(string(raw)); ok {
		return []Artifact{a}, nil
	}
	v, err := decodeValue(raw)
	if err != nil {
		return nil, err
	}
	return appendArtifacts(nil, v, ""), nil
}

// oneArtifact reads a value that is a file or a directory and nothing else, as most are. It knows only names that are written as they are.
func oneArtifact(raw string) (Artifact, bool) {
	if rest, ok := strings.CutPrefix(raw, `{"$directory":{"digest":"`); ok {
		text, ok := strings.CutSuffix(rest, `"}}`)
		d, err := digest.Parse(text)
		return Artifact{Directory: true, Digest: d}, ok && err == nil
	}
	rest, ok := strings.CutPrefix(raw, `{"$file":{"digest":"`)
	text, rest, ok2 := strings.Cut(rest, `","executable":`)
	executable, rest, ok3 := strings.Cut(rest, `,"name":"`)
	name, ok4 := strings.CutSuffix(rest, `"}}`)
	if !ok || !ok2 || !ok3 || !ok4 || executable != "true" && executable != "false" || !plainName(name) {
		return Artifact{}, false
	}
	d, err := digest.Parse(text)
	return Artifact{Name: name, Executable: executable == "true", Digest: d}, err == nil
}

// plainName tells whether a file can have the name, and JSON has it as it is.
func plainName(name string) bool {
	for _, c := range []byte(name) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' || c == '/' {
			return false
		}
	}
	return name != "" && name != "." && name != ".."
}

func appendArtifacts(out []Artifact, v any, path string) []Artifact {
	switch v := v.(type) {
	case []any:
		for i, e := range v {
			out = appendArtifacts(out, e, fmt.Sprintf("%s[%d]", path, i))
		}
	case map[string]any:
		a, ok := fileIn(v)
		if !ok {
			a, ok = directoryIn(v)
		}
		if ok {
			a.Path = strings.TrimPrefix(path, ".")
			return append(out, a)
		}
		if report, ok := only(v, "$test_report", 6); ok {
			v = report
		}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			out = appendArtifacts(out, v[k], below(path, k))
		}
	}
	return out
}
