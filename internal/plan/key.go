package plan

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"

	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/protocol"
)

// Key says what a stage's result depends on. Its document, in canonical JSON, is what the stage key is the digest of; two documents tell
// why one stage was called again.
type Key struct {
	// Stage is the name of the stage; of an element of a fan-out it is the name of the whole, so that an element keeps its result
	// when the list around it changes.
	Stage string `json:"stage"`
	// Function is what is called.
	Function string `json:"function"`
	// Program is the digest of the pipeline program's manifest.
	Program digest.Digest `json:"program"`
	// Inputs are the values of all inputs, in canonical JSON.
	Inputs map[string]json.RawMessage `json:"inputs"`
	// Isolation is what the executor of the stage's steps enforces: a result from a weaker one never serves a stronger one.
	Isolation string `json:"isolation"`
	// Protocol is the version of the protocol.
	Protocol int `json:"protocol"`
}

// Document returns the key in canonical JSON. The values in Inputs must be canonical already.
func (k Key) Document() []byte {
	size := 400
	for name, v := range k.Inputs {
		size += len(name) + len(v) + 4
	}
	b := make([]byte, 0, size)
	b = append(b, `{"function":`...)
	b = appendString(b, k.Function)
	b = append(b, `,"inputs":{`...)
	names := make([]string, 0, len(k.Inputs))
	for name := range k.Inputs {
		names = append(names, name)
	}
	slices.SortFunc(names, strings.Compare)
	for i, name := range names {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(appendString(b, name), ':')
		b = append(b, k.Inputs[name]...)
	}
	b = append(b, `},"isolation":`...)
	b = appendString(b, k.Isolation)
	b = append(b, `,"program":"`...)
	b = append(b, k.Program.String()...)
	b = append(b, `","protocol":`...)
	b = appendInt(b, k.Protocol)
	b = append(b, `,"stage":`...)
	b = appendString(b, k.Stage)
	return append(b, '}')
}

// appendString appends s as canonical JSON. Names are checked to be valid text long before they get here.
func appendString(b []byte, s string) []byte {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '"' || c == '\\' {
			text, _ := protocol.Canonical(s) // what is no text is replaced, so that this cannot fail
			return append(b, text...)
		}
	}
	b = append(append(b, '"'), s...)
	return append(b, '"')
}

func appendInt(b []byte, n int) []byte { return strconv.AppendInt(b, int64(n), 10) }

// ParseKey reads a document.
func ParseKey(document []byte) (Key, error) {
	var k Key
	err := json.Unmarshal(document, &k)
	return k, err
}

// Manifest is what a pipeline program consists of: the files that its results may depend on, and the runtime of its language.
type Manifest struct {
	// Runtime is such as `cpython 3.11`.
	Runtime string `json:"runtime"`
	// Files are the digests in text by path: relative to the program's root where they are below it, else absolute. The digest of
	// a file that the program looked for in vain is empty.
	Files map[string]string `json:"files"`
}

// Document returns the manifest in canonical JSON; its digest is the program digest.
func (m Manifest) Document() ([]byte, error) { return protocol.Canonical(m) }

// ParseManifest reads a document.
func ParseManifest(document []byte) (Manifest, error) {
	var m Manifest
	err := json.Unmarshal(document, &m)
	return m, err
}
