package plan_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/towpath/towpath/internal/plan"
	"github.com/towpath/towpath/protocol"
)

func TestCheckValue(t *testing.T) {
	file, dir := fileValue("a.whl", "a"), directoryValue("d")
	record := protocol.RecordOf("Wheel", protocol.Field{Name: "file", Type: typ("file")}, protocol.Field{Name: "n", Type: protocol.OptionalOf(typ("int"))})
	good := digestOf("a").String()
	withFile := func(members string) string { return `{"$file":{` + members + `}}` }
	for _, tt := range []struct {
		t           protocol.Type
		value, want string // what is wrong; nothing where it fits
	}{
		{typ("null"), "null", ""}, {typ("null"), "false", "it is no null but a bool"},
		{typ("bool"), "true", ""}, {typ("bool"), "1", "it is no bool but an int"}, {typ("bool"), "null", "it is no bool but null"},
		{typ("int"), "-9223372036854775808", ""}, {typ("int"), "9223372036854775808", "it is no int but an int"}, {typ("int"), "1.0", "it is no int but a float"},
		{typ("int"), "1e3", "it is no int but a float"}, {typ("int"), `"1"`, "it is no int but a string"},
		{typ("float"), "1.0", ""}, {typ("float"), "1e+300", ""}, {typ("float"), "1", "it is no float but an int"}, {typ("float"), "1e999", "it is no float but a float"},
		{typ("string"), `""`, ""}, {typ("string"), "[]", "it is no string but a list"},
		{typ("file"), file, ""}, {typ("file"), dir, "it is no file but a directory"}, {typ("file"), `{}`, "it is no file but an object"},
		{typ("file"), `{"$evil` + "\x1b" + `":1}`, "the value is no JSON"},
		{typ("file"), withFile(`"digest":"abc/1","executable":false,"name":"a"`), "it is no file"},
		{typ("file"), withFile(`"digest":"` + good + `","executable":0,"name":"a"`), "it is no file"},
		{typ("file"), withFile(`"digest":"` + good + `","executable":false`), "it is no file"},
		{typ("file"), withFile(`"digest":"` + good + `","executable":false,"mode":511,"name":"a"`), "it is no file"},
		{typ("file"), `{"$file":null}`, "it is no file"}, {typ("file"), `{"$file":{},"x":1}`, "it is no file but an object"},
		{typ("file"), fileValue("", "a"), "it is no file"}, {typ("file"), fileValue("..", "a"), "it is no file"},
		{typ("file"), fileValue("../../etc/passwd", "a"), "it is no file"}, {typ("file"), fileValue(`a\u0000`, "a"), "it is no file"},
		{typ("directory"), dir, ""}, {typ("directory"), file, "it is no directory but a file"},
		{typ("directory"), `{"$directory":{"digest":"` + good + `","name":"x"}}`, "it is no directory"}, {typ("directory"), `{"$directory":{"digest":7}}`, "it is no directory"},
		{typ("test_report"), reportValue("3", file), ""}, {typ("test_report"), reportValue("-3", file), "it is no test_report but a test report"},
		{typ("test_report"), reportValue("1.5", file), "it is no test_report"}, {typ("test_report"), reportValue("3", dir), "it is no test_report"},
		{typ("test_report"), `{"$test_report":{"junit":` + file + `}}`, "it is no test_report"},
		{typ("secret"), `{"$secret":{"name":"TOKEN"}}`, ""}, {typ("secret"), `{"$secret":{"name":""}}`, "it is no secret but a secret"},
		{typ("secret"), `{"$secret":{"name":"TOKEN","value":"x"}}`, "it is no secret"},
		{protocol.ListOf(typ("int")), "[]", ""}, {protocol.ListOf(typ("int")), `[1,2,"3"]`, "[2] is no int but a string"}, {protocol.ListOf(typ("int")), "{}", "it is no list[int] but an object"},
		{protocol.MapOf(typ("int")), `{"":1,"a b":2}`, ""}, {protocol.MapOf(typ("int")), `{"a b":"x"}`, `["a b"] is no int but a string`},
		{protocol.MapOf(typ("int")), `{"$x":1}`, "it is no map[int] but an object"}, {protocol.MapOf(typ("int")), "[]", "it is no map[int] but a list"},
		{protocol.MapOf(typ("string")), dir, "it is no map[string] but a directory"},
		{protocol.MapOf(typ("int")), `{"` + strings.Repeat("k", 1000) + `":"x"}`, `["` + strings.Repeat("k", 198) + "… is no int but a string"},
		{protocol.OptionalOf(typ("int")), "null", ""}, {protocol.OptionalOf(typ("int")), "1", ""}, {protocol.OptionalOf(typ("int")), "true", "it is no int but a bool"},
		{record, `{"file":` + file + `,"n":null}`, ""}, {record, `{"file":` + file + `}`, "it lacks the field n of Wheel"},
		{record, `{"file":` + file + `,"n":1,"z":2}`, `it has the field "z", which Wheel does not have`}, {record, "1", "it is no Wheel but an int"},
		{protocol.ListOf(record), `[{"file":` + dir + `,"n":null}]`, "[0].file is no file but a directory"},
		{typ("int"), "", "the value is no JSON: EOF"}, {typ("int"), "1 2", "there is something after the value"}, {typ("int"), "1]", "there is something after the value"},
		{typ("int"), strings.Repeat("[", 100_000), "the value is no JSON"},
	} {
		err := plan.CheckValue(tt.t, json.RawMessage(tt.value))
		if (err == nil) != (tt.want == "") || err != nil && !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("CheckValue(%s, %.80s) = %v, want %q", tt.t, tt.value, err, tt.want)
		}
	}
}

func TestArtifactsAreListedWithTheirPlaces(t *testing.T) {
	value, err := protocol.Canonicalize([]byte(`{"z":[` + fileValue("a.whl", "a") + `,null,{"d":` + directoryValue("d") + `}],"report":` + reportValue("1", fileValue("junit.xml", "j")) +
		`,"linux/arm64":` + fileValue("b", "b") + `,"secret":{"$secret":{"name":"X"}},"text":"$file"}`))
	if err != nil {
		t.Fatal(err)
	}
	got, err := plan.Artifacts(value)
	if err != nil {
		t.Fatal(err)
	}
	want := []plan.Artifact{
		{Path: `["linux/arm64"]`, Name: "b", Digest: digestOf("b")},
		{Path: "report.junit", Name: "junit.xml", Digest: digestOf("j")},
		{Path: "z[0]", Name: "a.whl", Digest: digestOf("a")},
		{Path: "z[2].d", Directory: true, Digest: digestOf("d")},
	}
	if len(got) != len(want) {
		t.Fatalf("Artifacts = %+v", got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("artifact %d is %+v, want %+v", i, got[i], want[i])
		}
	}
}

func TestArtifactsOfOneFileHaveAnEmptyPath(t *testing.T) {
	got, err := plan.Artifacts(json.RawMessage(`{"$file":{"digest":"` + digestOf("x").String() + `","executable":true,"name":"x"}}`))
	if err != nil || len(got) != 1 || got[0] != (plan.Artifact{Name: "x", Executable: true, Digest: digestOf("x")}) {
		t.Errorf("Artifacts = %+v, %v", got, err)
	}
}

func TestDifferentPlacesInAValueHaveDifferentPaths(t *testing.T) {
	f := fileValue("f", "f")
	got, err := plan.Artifacts(json.RawMessage(`{"a":{"b":` + f + `},"a.b":` + f + `,"a[0]":` + f + `}`))
	if err != nil || len(got) != 3 {
		t.Fatalf("Artifacts = %+v, %v", got, err)
	}
	seen := map[string]bool{}
	for _, a := range got {
		if seen[a.Path] {
			t.Errorf("two artifacts are at %s", a.Path)
		}
		seen[a.Path] = true
	}
}

func TestArtifactsReportWhatIsNoJSON(t *testing.T) {
	if got, err := plan.Artifacts(json.RawMessage(`{"$file":`)); err == nil {
		t.Errorf("Artifacts = %+v", got)
	}
	if got, err := plan.Artifacts(json.RawMessage(`[1,2]`)); err != nil || got != nil {
		t.Errorf("Artifacts = %+v, %v", got, err)
	}
}

// The short way for single artifacts says what the long one says.
func TestOneArtifact(t *testing.T) {
	d := digestOf("x").String()
	for _, value := range []string{
		`{"$file":{"digest":"` + d + `","executable":false,"name":"a.txt"}}`, `{"$file":{"digest":"` + d + `","executable":true,"name":"a b"}}`,
		`{"$directory":{"digest":"` + d + `"}}`, `{"$file":{"digest":"` + d + `","executable":1,"name":"a"}}`,
		`{"$file":{"digest":"` + d + `","executable":false,"name":"a/b"}}`, `{"$file":{"digest":"` + d + `","executable":false,"name":".."}}`,
		`{"$file":{"digest":"` + d + `","executable":false,"name":""}}`, `{"$file":{"digest":"x","executable":false,"name":"a"}}`,
		`{"$file":{"digest":"` + d + `","executable":false,"name":"\u00e9\\n"}}`, `{"$file":{"digest":"` + d + `","executable":false,"name":"a","z":{"b":"c"}}}`,
		`{"$directory":{"digest":"` + d + `","z":"y"}}`, `{"a":{"$directory":{"digest":"` + d + `"}}}`,
	} {
		got, err := plan.Artifacts(json.RawMessage(value))
		if err != nil {
			t.Fatalf("%s: %v", value, err)
		}
		want, err := plan.Artifacts(json.RawMessage("[" + value + "]"))
		if err != nil {
			t.Fatalf("%s: %v", value, err)
		}
		for i := range want {
			want[i].Path = strings.TrimPrefix(strings.TrimPrefix(want[i].Path, "[0]"), ".")
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %+v, want %+v", value, got, want)
		}
	}
}
