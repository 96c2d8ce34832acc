package protocol

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
)

// List is a slice that is written as [] where it is empty, never as null.
type List[T any] []T

// MarshalJSON writes the list.
func (l List[T]) MarshalJSON() ([]byte, error) {
	if len(l) == 0 {
		return []byte("[]"), nil
	}
	return marshal([]T(l))
}

// Map is a map that is written as {} where it is empty, never as null.
type Map[T any] map[string]T

// MarshalJSON writes the map.
func (m Map[T]) MarshalJSON() ([]byte, error) {
	if len(m) == 0 {
		return []byte("{}"), nil
	}
	return marshal(map[string]T(m))
}

// Data is bytes that are written in base64.
type Data []byte

// MarshalText returns the bytes in base64, with padding.
func (d Data) MarshalText() ([]byte, error) {
	return base64.StdEncoding.AppendEncode(nil, d), nil
}

// UnmarshalText reads base64 with padding.
func (d *Data) UnmarshalText(text []byte) error {
	data, err := base64.StdEncoding.AppendDecode(nil, text)
	if err != nil {
		return err
	}
	*d = data
	return nil
}

// File is an immutable file in the engine's store. In JSON it is a $file value.
type File struct {
	Digest     string // "HASH/SIZE"
	Executable bool
	Name       string // a file name without "/"
}

// Directory is an immutable directory in the engine's store. In JSON it is a
// $directory value.
type Directory struct {
	Digest string // "HASH/SIZE" of the Remote Execution API's Directory message
}

// TestReport is what the engine understood of a JUnit file, and the file. In
// JSON it is a $test_report value.
type TestReport struct {
	Tests    int   // how many ran, failures, errors and skips included
	Failures int   // ended with a failed assertion
	Errors   int   // ended otherwise
	Skipped  int   // did not run
	TimeMS   int64 // the time that they took, in milliseconds
	JUnit    File  // the file that the report was read from
}

// Secret is a handle of a secret, never its value. In JSON it is a $secret
// value.
type Secret struct {
	Name string
}

type fileFields struct {
	Digest     string `json:"digest"`
	Executable bool   `json:"executable"`
	Name       string `json:"name"`
}

type directoryFields struct {
	Digest string `json:"digest"`
}

type reportFields struct {
	Errors   int   `json:"errors"`
	Failures int   `json:"failures"`
	JUnit    File  `json:"junit"`
	Skipped  int   `json:"skipped"`
	Tests    int   `json:"tests"`
	TimeMS   int64 `json:"time_ms"`
}

type secretFields struct {
	Name string `json:"name"`
}

// MarshalJSON writes a $file value.
func (f File) MarshalJSON() ([]byte, error) {
	return marshal(map[string]fileFields{"$file": fileFields(f)})
}

// UnmarshalJSON reads a $file value.
func (f *File) UnmarshalJSON(data []byte) error {
	return unmarshalTagged(data, "$file", (*fileFields)(nil), func(v fileFields) { *f = File(v) })
}

// MarshalJSON writes a $directory value.
func (d Directory) MarshalJSON() ([]byte, error) {
	return marshal(map[string]directoryFields{"$directory": directoryFields(d)})
}

// UnmarshalJSON reads a $directory value.
func (d *Directory) UnmarshalJSON(data []byte) error {
	return unmarshalTagged(data, "$directory", (*directoryFields)(nil), func(v directoryFields) { *d = Directory(v) })
}

// MarshalJSON writes a $test_report value.
func (r TestReport) MarshalJSON() ([]byte, error) {
	return marshal(map[string]reportFields{"$test_report": {
		Errors: r.Errors, Failures: r.Failures, JUnit: r.JUnit, Skipped: r.Skipped, Tests: r.Tests, TimeMS: r.TimeMS,
	}})
}

// UnmarshalJSON reads a $test_report value.
func (r *TestReport) UnmarshalJSON(data []byte) error {
	return unmarshalTagged(data, "$test_report", (*reportFields)(nil), func(v reportFields) {
		*r = TestReport{
			Errors: v.Errors, Failures: v.Failures, JUnit: v.JUnit, Skipped: v.Skipped, Tests: v.Tests, TimeMS: v.TimeMS,
		}
	})
}

// MarshalJSON writes a $secret value.
func (s Secret) MarshalJSON() ([]byte, error) {
	return marshal(map[string]secretFields{"$secret": secretFields(s)})
}

// UnmarshalJSON reads a $secret value.
func (s *Secret) UnmarshalJSON(data []byte) error {
	return unmarshalTagged(data, "$secret", (*secretFields)(nil), func(v secretFields) { *s = Secret(v) })
}

// unmarshalTagged reads {TAG: FIELDS} and refuses anything else, so that one
// kind of value is never taken for another. The pointer only names the type.
func unmarshalTagged[T any](data []byte, tag string, _ *T, set func(T)) error {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(data, &members); err != nil {
		return fmt.Errorf("not a %s value: %w", tag, err)
	}
	raw, ok := members[tag]
	if !ok || len(members) != 1 {
		return fmt.Errorf("not a %s value", tag)
	}
	if !bytes.HasPrefix(raw, []byte("{")) {
		return fmt.Errorf("%s is not an object", tag)
	}
	var fields T
	if err := json.Unmarshal(raw, &fields); err != nil {
		return fmt.Errorf("%s: %w", tag, err)
	}
	set(fields)
	return nil
}

// Content is a File or a Directory; exactly one is set.
type Content struct {
	File      *File
	Directory *Directory
}

// MarshalJSON writes the one that is set.
func (c Content) MarshalJSON() ([]byte, error) {
	switch {
	case c.File != nil && c.Directory == nil:
		return c.File.MarshalJSON()
	case c.Directory != nil && c.File == nil:
		return c.Directory.MarshalJSON()
	}
	return nil, errors.New("neither a file nor a directory")
}

// UnmarshalJSON reads a $file or $directory value.
func (c *Content) UnmarshalJSON(data []byte) error {
	if bytes.HasPrefix(data, []byte(`{"$directory"`)) {
		*c = Content{Directory: new(Directory)}
		return c.Directory.UnmarshalJSON(data)
	}
	var file File
	fileErr := file.UnmarshalJSON(data)
	if fileErr == nil {
		*c = Content{File: &file}
		return nil
	}
	var directory Directory
	if err := directory.UnmarshalJSON(data); err != nil {
		return errors.Join(fileErr, err)
	}
	*c = Content{Directory: &directory}
	return nil
}

// marshal is json.Marshal without the escapes for HTML, which only cost time.
func marshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}
