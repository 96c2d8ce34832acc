package towpath

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"testing"
	"unicode"

	"github.com/towpath/towpath/protocol"
)

// goType returns a Go type whose values are those of a type of the protocol.
func goType(t *testing.T, typ protocol.Type) reflect.Type {
	switch typ.Kind {
	case protocol.TypeNull:
		return reflect.TypeFor[None]()
	case protocol.TypeBool:
		return reflect.TypeFor[bool]()
	case protocol.TypeInt:
		return reflect.TypeFor[int64]()
	case protocol.TypeFloat:
		return reflect.TypeFor[float64]()
	case protocol.TypeString:
		return reflect.TypeFor[string]()
	case protocol.TypeFile:
		return reflect.TypeFor[File]()
	case protocol.TypeDirectory:
		return reflect.TypeFor[Directory]()
	case protocol.TypeTestReport:
		return reflect.TypeFor[TestReport]()
	case protocol.TypeSecret:
		return reflect.TypeFor[Secret]()
	case protocol.TypeList:
		return reflect.SliceOf(goType(t, *typ.Elem))
	case protocol.TypeMap:
		return reflect.MapOf(reflect.TypeFor[string](), goType(t, *typ.Elem))
	case protocol.TypeOptional:
		return reflect.PointerTo(goType(t, *typ.Elem))
	case protocol.TypeRecord:
		var fields []reflect.StructField
		for _, field := range typ.Record.Fields {
			name := []rune(field.Name)
			name[0] = unicode.ToUpper(name[0])
			fields = append(fields, reflect.StructField{
				Name: string(name), Type: goType(t, field.Type), Tag: reflect.StructTag(`towpath:"` + field.Name + `"`),
			})
		}
		return reflect.StructOf(fields)
	}
	t.Fatalf("no Go type for %v", typ)
	return nil
}

func TestValueVectors(t *testing.T) {
	text, err := os.ReadFile("protocol/vectors/values.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Name      string        `json:"name"`
		Type      protocol.Type `json:"type"`
		Value     string        `json:"value"`
		Canonical string        `json:"canonical"`
		Error     bool          `json:"error"`
	}
	if err := json.Unmarshal(text, &vectors); err != nil || len(vectors) == 0 {
		t.Fatalf("%d vectors, %v", len(vectors), err)
	}
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			to := reflect.New(goType(t, v.Type)).Elem()
			err := decode(json.RawMessage(v.Value), to)
			if v.Error {
				if err == nil {
					t.Errorf("%s was read as %+v", v.Value, to)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got, err := encode(to)
			if err != nil || string(got) != v.Canonical {
				t.Errorf("written as %s, %v, want %s", got, err, v.Canonical)
			}
		})
	}
}

func TestStepVectors(t *testing.T) {
	text, err := os.ReadFile("protocol/vectors/steps.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Name    string `json:"name"`
		Options struct {
			Network bool    `json:"network"`
			Root    string  `json:"root"`
			CPUs    float64 `json:"cpus"`
			Memory  string  `json:"memory"`
			PIDs    int     `json:"pids"`
			Output  string  `json:"output"`
		} `json:"options"`
		Params json.RawMessage `json:"params"`
		Error  bool            `json:"error"`
	}
	if err := json.Unmarshal(text, &vectors); err != nil || len(vectors) == 0 {
		t.Fatalf("%d vectors, %v", len(vectors), err)
	}
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			o := v.Options
			step := Step{
				Network: o.Network, Root: Directory{directory: protocol.Directory{Digest: o.Root}},
				CPUs: o.CPUs, Memory: o.Memory, PIDs: o.PIDs, Output: o.Output,
			}
			params, err := step.params()
			if v.Error {
				if protocol.CodeOf(err) != protocol.CodeInvalid {
					t.Errorf("parameters %+v, error %v, want %s", params, err, protocol.CodeInvalid)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			checkWanted(t, params, v.Params)
		})
	}
}

// checkWanted compares what a step without a command asks for with the members that
// a vector shows.
func checkWanted(t *testing.T, params protocol.StepRunParams, want json.RawMessage) {
	t.Helper()
	members := make(map[string]any)
	got, wanted := make(map[string]any), make(map[string]any)
	for name, value := range map[string]any{"network": params.Network, "root": params.Root, "limits": params.Limits} {
		if !reflect.ValueOf(value).IsZero() {
			members[name] = value
		}
	}
	text, err := protocol.Canonical(members)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(json.Unmarshal(text, &got), json.Unmarshal(want, &wanted)); err != nil || !reflect.DeepEqual(got, wanted) {
		t.Errorf("asks for %s, want %s (%v)", text, want, err)
	}
	var read protocol.StepRunParams
	if err := protocol.Decode(want, &read); err != nil || len(read.Features()) != len(members) {
		t.Errorf("read as %+v with the features %q, %v", read, read.Features(), err)
	}
}

func TestSnakeCase(t *testing.T) {
	for name, want := range map[string]string{
		"Src": "src", "ShardCount": "shard_count", "ID": "id", "UserID": "user_id", "IDs": "ids", "UserIDs": "user_ids",
		"HTTPServer": "http_server", "URLs": "urls", "OSName": "os_name", "Python3Version": "python3_version", "X": "x",
		"X2": "x2", "A_B": "a_b", "JSONDecoder2": "json_decoder2", "HTMLPage": "html_page", "ServerURL": "server_url",
	} {
		if got := snakeCase(name); got != want {
			t.Errorf("snakeCase(%q) = %q, want %q", name, got, want)
		}
	}
}

func TestUntrim(t *testing.T) {
	l := locator{program: "/home/me/repo/ci/pipeline", root: "/home/me/repo"}
	for _, test := range []struct{ file, main, module, want string }{
		{"example.com/app/ci/pipeline/main.go", "example.com/app/ci/pipeline", "example.com/app", "/home/me/repo/ci/pipeline/main.go"},
		{"example.com/app/lib/stages.go", "example.com/app/ci/pipeline", "example.com/app", "/home/me/repo/lib/stages.go"},
		{"pipeline/main.go", "pipeline", "pipeline", "/home/me/repo/ci/pipeline/main.go"},
		{"./main.go", "command-line-arguments", "", "/home/me/repo/ci/pipeline/main.go"},
		{"other.com/lib@v1.0.0/x.go", "example.com/app/ci/pipeline", "example.com/app", "other.com/lib@v1.0.0/x.go"},
	} {
		if got := l.untrim(test.file, test.main, test.module); got != test.want {
			t.Errorf("untrim(%q) = %q, want %q", test.file, got, test.want)
		}
	}
	if got := l.site(site{file: "/home/me/repo/x/y.go", line: 3}); got.File != "x/y.go" || got.Line != 3 {
		t.Errorf("site = %+v", got)
	}
	if got := l.site(site{file: "/elsewhere/y.go"}); got.File != "/elsewhere/y.go" {
		t.Errorf("a site outside of the root = %+v", got)
	}
}
