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

// MaxValue is the largest value of a stage, in bytes of canonical JSON (SPEC.md, section 8).
const MaxValue = 4 << 20

// CheckValue reports why raw, a value in JSON, is not of type t.
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
			if err := check(*t.Elem, m[k], path+"."+k); err != nil {
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
		if err := check(f.Type, e, path+"."+f.Name); err != nil {
			return err
		}
	}
	if len(m) > len(t.Record.Fields) {
		return fmt.Errorf("%shas fields that %s does not have", where(path), t)
	}
	return nil
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
		return ok && strings.ContainsAny(string(n), ".eE")
	case protocol.TypeFile:
		_, ok := tagged(v, "$file")
		return ok
	case protocol.TypeDirectory:
		_, ok := tagged(v, "$directory")
		return ok
	case protocol.TypeTestReport:
		m, ok := tagged(v, "$test_report")
		if !ok {
			return false
		}
		_, ok = tagged(m["junit"], "$file")
		return ok
	case protocol.TypeSecret:
		m, ok := only(v, "$secret")
		if !ok {
			return false
		}
		name, ok := m["name"].(string)
		return ok && name != ""
	default:
		return false
	}
}

// only returns what {tag: {…}} holds.
func only(v any, tag string) (map[string]any, bool) {
	m, ok := v.(map[string]any)
	if !ok || len(m) != 1 {
		return nil, false
	}
	inner, ok := m[tag].(map[string]any)
	return inner, ok
}

// tagged is only, for artifacts: what they hold has a digest, a test report's file has.
func tagged(v any, tag string) (map[string]any, bool) {
	m, ok := only(v, tag)
	if !ok || tag == "$test_report" {
		return m, ok
	}
	text, ok := m["digest"].(string)
	if !ok {
		return nil, false
	}
	_, err := digest.Parse(text)
	return m, err == nil
}

func where(path string) string {
	if path == "" {
		return "it "
	}
	return strings.TrimPrefix(path, ".") + " "
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
			if kind, ok := strings.CutPrefix(k, "$"); ok && len(v) == 1 {
				return "a " + strings.ReplaceAll(kind, "_", " ")
			}
		}
		return "an object"
	}
	return "something else"
}

// Artifact is a file or a directory that a value holds.
type Artifact struct {
	// Path is where in the value: "", "wheel", "reports[2].junit".
	Path      string
	Directory bool
	Name      string // of a file
	// Executable is of a file.
	Executable bool
	Digest     digest.Digest
}

// Artifacts lists the files and directories in a value, in the order of their paths.
func Artifacts(raw json.RawMessage) ([]Artifact, error) {
	if !bytes.Contains(raw, []byte(`"$`)) {
		return nil, nil
	}
	v, err := decodeValue(raw)
	if err != nil {
		return nil, err
	}
	var out []Artifact
	err = artifacts(v, "", &out)
	return out, err
}

func artifacts(v any, path string, out *[]Artifact) error {
	switch v := v.(type) {
	case []any:
		for i, e := range v {
			if err := artifacts(e, fmt.Sprintf("%s[%d]", path, i), out); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, tag := range []string{"$file", "$directory"} {
			m, ok := tagged(v, tag)
			if !ok {
				continue
			}
			d, err := digest.Parse(m["digest"].(string))
			if err != nil {
				return err
			}
			name, _ := m["name"].(string)
			executable, _ := m["executable"].(bool)
			*out = append(*out, Artifact{
				Path: strings.TrimPrefix(path, "."), Directory: tag == "$directory", Name: name, Executable: executable, Digest: d,
			})
			return nil
		}
		for _, k := range slices.Sorted(maps.Keys(v)) {
			below := path + "." + k
			if k == "$test_report" {
				below = path
			}
			if err := artifacts(v[k], below, out); err != nil {
				return err
			}
		}
	}
	return nil
}
