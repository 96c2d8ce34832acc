package plan_test

import (
	"bytes"
	"encoding/json"
	"maps"
	"reflect"
	"testing"

	"github.com/towpath/towpath/internal/plan"
	"github.com/towpath/towpath/protocol"
	"pgregory.net/rapid"
)

func key() plan.Key {
	return plan.Key{
		Stage: "test[os=\"ä\"]", Function: "test", Program: digestOf("program"), Isolation: "none", Protocol: 1,
		Inputs: map[string]json.RawMessage{"b": json.RawMessage(`{"x":1.0}`), "a": json.RawMessage(`"<&>"`), "B": json.RawMessage("null")},
	}
}

func TestKeyDocumentIsCanonicalJSONAndReadsBack(t *testing.T) {
	for _, k := range []plan.Key{key(), {}, {Stage: "s", Inputs: map[string]json.RawMessage{}}} {
		doc := k.Document()
		canonical, err := protocol.Canonicalize(doc)
		if err != nil || !bytes.Equal(canonical, doc) {
			t.Errorf("the document is\n%s\nits canonical form is\n%s (%v)", doc, canonical, err)
		}
		// The zero digest identifies nothing: it has a text, and reads back.
		back, err := plan.ParseKey(doc)
		if err != nil || !bytes.Equal(back.Document(), doc) {
			t.Errorf("ParseKey = %+v, %v", back, err)
		}
	}
}

func TestKeyDocumentOfAnyPartsIsCanonicalJSON(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := plan.Key{
			Stage: rapid.String().Draw(t, "stage"), Function: rapid.String().Draw(t, "function"), Isolation: rapid.String().Draw(t, "isolation"),
			Protocol: rapid.Int().Draw(t, "protocol"), Program: digestOf(rapid.String().Draw(t, "program")), Inputs: map[string]json.RawMessage{},
		}
		for name, v := range rapid.MapOf(rapid.String(), rapid.Float64Range(-1e9, 1e9)).Draw(t, "inputs") {
			text, err := protocol.Canonical(protocol.Float(v))
			if err != nil {
				t.Fatal(err)
			}
			k.Inputs[name] = text
		}
		doc := k.Document()
		canonical, err := protocol.Canonicalize(doc)
		if err != nil || !bytes.Equal(canonical, doc) {
			t.Fatalf("the document is\n%s\nits canonical form is\n%s (%v)", doc, canonical, err)
		}
		if back, err := plan.ParseKey(doc); err != nil || !reflect.DeepEqual(back, k) {
			t.Fatalf("ParseKey = %+v, %v, want %+v", back, err, k)
		}
	})
}

func TestKeyDocumentChangesWithEveryPart(t *testing.T) {
	base := string(key().Document())
	for part, change := range map[string]func(k *plan.Key){
		"stage":           func(k *plan.Key) { k.Stage = "test" },
		"function":        func(k *plan.Key) { k.Function = "test2" },
		"program":         func(k *plan.Key) { k.Program.Size++ },
		"isolation":       func(k *plan.Key) { k.Isolation = "" },
		"protocol":        func(k *plan.Key) { k.Protocol++ },
		"value of input":  func(k *plan.Key) { k.Inputs["B"] = json.RawMessage("1") },
		"another input":   func(k *plan.Key) { k.Inputs["c"] = json.RawMessage("null") },
		"fewer inputs":    func(k *plan.Key) { delete(k.Inputs, "B") },
		"name of input":   func(k *plan.Key) { k.Inputs["C"] = k.Inputs["B"]; delete(k.Inputs, "B") },
		"values swapped":  func(k *plan.Key) { k.Inputs["a"], k.Inputs["b"] = k.Inputs["b"], k.Inputs["a"] },
		"names as values": func(k *plan.Key) { k.Stage, k.Function = k.Function, k.Stage },
	} {
		k := key()
		change(&k)
		if string(k.Document()) == base {
			t.Errorf("the document does not change with: %s", part)
		}
	}
	if fields := reflect.TypeFor[plan.Key]().NumField(); fields != 6 {
		t.Errorf("the key has %d parts, this test knows of 6", fields)
	}
}

func TestManifestDocumentIsCanonicalAndReadsBack(t *testing.T) {
	m := plan.Manifest{Runtime: "cpython 3.11", Files: map[string]string{"pipeline.py": digestOf("p").String(), "stages/ä.py": "", "/abs": digestOf("a").String()}}
	doc, err := m.Document()
	if err != nil {
		t.Fatal(err)
	}
	if canonical, err := protocol.Canonicalize(doc); err != nil || !bytes.Equal(canonical, doc) {
		t.Errorf("the document is\n%s\nits canonical form is\n%s (%v)", doc, canonical, err)
	}
	back, err := plan.ParseManifest(doc)
	if err != nil || back.Runtime != m.Runtime || !maps.Equal(back.Files, m.Files) {
		t.Errorf("ParseManifest = %+v, %v", back, err)
	}
	m.Files["stages/ä.py"] = digestOf("").String()
	if other, err := m.Document(); err != nil || bytes.Equal(other, doc) {
		t.Errorf("a missing file and an empty one are the same: %s, %v", other, err)
	}
}

func TestParsersOfDocumentsReportWhatTheyCannotRead(t *testing.T) {
	if k, err := plan.ParseKey([]byte(`{"program":"x"}`)); err == nil {
		t.Errorf("ParseKey = %+v", k)
	}
	if m, err := plan.ParseManifest([]byte(`[]`)); err == nil {
		t.Errorf("ParseManifest = %+v", m)
	}
}
