package towpathtest

import (
	"bytes"
	"crypto/sha256"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/towpath/towpath/internal/sdk"
	"github.com/towpath/towpath/protocol"
)

// store keeps files and directories by digest.
type store struct {
	files map[string][]byte
	trees map[string]tree
}

func newStore() store {
	return store{files: make(map[string][]byte), trees: make(map[string]tree)}
}

// tree is a directory: everything in it, folders included, by path.
type tree map[string]node

// node is a file, or a folder where file is nil.
type node struct{ file *protocol.File }

// put adds a node and the folders above it.
func (t tree) put(at string, n node) {
	t[at] = n
	for dir := path.Dir(at); dir != "."; dir = path.Dir(dir) {
		t[dir] = node{}
	}
}

func (t tree) paths() []string { return slices.Sorted(maps.Keys(t)) }

// below returns the node at a path and all that is below it, and the folders
// above.
func (t tree) below(at string) tree {
	out := tree{}
	for p, n := range t {
		if p == at || strings.HasPrefix(p, at+"/") {
			out.put(p, n)
		}
	}
	return out
}

// sub returns the folder at a path as a tree of its own.
func (t tree) sub(at string) tree {
	if at == "" {
		return t
	}
	out := tree{}
	for p, n := range t {
		if rest, ok := strings.CutPrefix(p, at+"/"); ok {
			out[rest] = n
		}
	}
	return out
}

func digestOf(data []byte) string {
	return fmt.Sprintf("%x/%d", sha256.Sum256(data), len(data))
}

func (s store) addFile(name string, data []byte, executable bool) protocol.File {
	digest := digestOf(data)
	s.files[digest] = data
	return protocol.File{Digest: digest, Name: name, Executable: executable}
}

func (s store) addTree(t tree) protocol.Directory {
	var listing bytes.Buffer
	for _, p := range t.paths() {
		fmt.Fprintf(&listing, "%q", p)
		if file := t[p].file; file != nil {
			fmt.Fprintf(&listing, " %s %v", file.Digest, file.Executable)
		}
		listing.WriteByte('\n')
	}
	digest := digestOf(listing.Bytes())
	s.trees[digest] = t
	return protocol.Directory{Digest: digest}
}

func (s store) tree(d protocol.Directory) (tree, error) {
	t, ok := s.trees[d.Digest]
	if !ok {
		return nil, protocol.Errorf(protocol.CodeNotFound, "no directory %s: Engine.Directory makes one", d.Digest)
	}
	return t, nil
}

func (s store) data(f protocol.File) ([]byte, error) {
	data, ok := s.files[f.Digest]
	if !ok {
		return nil, protocol.Errorf(protocol.CodeNotFound, "no file %s: Engine.File makes one", f.Digest)
	}
	return data, nil
}

// contents returns the content of the files in a tree.
func (s store) contents(t tree) map[string]string {
	out := make(map[string]string)
	for p, n := range t {
		if n.file != nil {
			out[p] = string(s.files[n.file.Digest])
		}
	}
	return out
}

// mount lays mounts over each other.
func (s store) mount(mounts []protocol.Mount) (tree, error) {
	out := tree{}
	add := func(at string, n node) error {
		old, taken := out[at]
		if taken && (old.file == nil) != (n.file == nil) ||
			taken && n.file != nil && (old.file.Digest != n.file.Digest || old.file.Executable != n.file.Executable) {
			return protocol.Errorf(protocol.CodeInvalid, "two contents at %q", at)
		}
		out[at] = n
		return nil
	}
	for _, m := range mounts {
		if !isPath(m.Path) || m.Path == "" && m.Value.Directory == nil {
			return nil, protocol.Errorf(protocol.CodeInvalid, "%q is not a path to mount at", m.Path)
		}
		content := tree{}
		if m.Value.File != nil {
			if _, err := s.data(*m.Value.File); err != nil {
				return nil, err
			}
			content.put(m.Path, node{file: m.Value.File})
		} else {
			t, err := s.tree(*m.Value.Directory)
			if err != nil {
				return nil, err
			}
			if m.Path != "" {
				content.put(m.Path, node{})
			}
			for p, n := range t {
				content.put(path.Join(m.Path, p), n)
			}
		}
		for _, p := range content.paths() {
			if err := add(p, content[p]); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

func isPath(p string) bool {
	return p == "" || path.Clean(p) == p && !path.IsAbs(p) && p != "." && p != ".." && !strings.HasPrefix(p, "../")
}

func (s store) read(p protocol.FileReadParams) (protocol.FileReadResult, error) {
	data, err := s.data(p.File)
	if err != nil {
		return protocol.FileReadResult{}, err
	}
	if p.Offset < 0 || p.Length < 1 || p.Length > protocol.MaxChunk {
		return protocol.FileReadResult{}, protocol.Errorf(protocol.CodeInvalid, "read %d bytes at %d", p.Length, p.Offset)
	}
	start := min(p.Offset, int64(len(data)))
	end := min(start+int64(p.Length), int64(len(data)))
	return protocol.FileReadResult{Data: data[start:end], EOF: end == int64(len(data))}, nil
}

// entry describes what is at a path of a tree.
func (s store) entry(t tree, at, shown string) protocol.Entry {
	if file := t[at].file; file != nil {
		named := *file
		named.Name = path.Base(at)
		return protocol.Entry{Path: shown, Kind: protocol.EntryFile, Value: &protocol.Content{File: &named}}
	}
	directory := s.addTree(t.sub(at))
	return protocol.Entry{Path: shown, Kind: protocol.EntryDirectory, Value: &protocol.Content{Directory: &directory}}
}

func (s store) list(p protocol.DirectoryListParams) (protocol.DirectoryListResult, error) {
	t, err := s.tree(p.Directory)
	if err != nil {
		return protocol.DirectoryListResult{}, err
	}
	if at, ok := t[p.Path]; p.Path != "" && (!ok || at.file != nil) {
		return protocol.DirectoryListResult{}, protocol.Errorf(protocol.CodeNotFound, "no folder %q", p.Path)
	}
	var out protocol.DirectoryListResult
	sub := t.sub(p.Path)
	for _, at := range sub.paths() {
		if at <= p.After || !p.Recursive && strings.Contains(at, "/") {
			continue
		}
		if len(out.Entries) == protocol.MaxEntries {
			out.More = true
			break
		}
		out.Entries = append(out.Entries, s.entry(sub, at, at))
	}
	return out, nil
}

func (s store) get(p protocol.DirectoryGetParams) (protocol.DirectoryGetResult, error) {
	t, err := s.tree(p.Directory)
	if err != nil {
		return protocol.DirectoryGetResult{}, err
	}
	if _, ok := t[p.Path]; !ok && p.Path != "" {
		return protocol.DirectoryGetResult{}, protocol.Errorf(protocol.CodeNotFound, "no %q", p.Path)
	}
	return protocol.DirectoryGetResult{Entry: s.entry(t, p.Path, p.Path)}, nil
}

func (s store) filter(p protocol.DirectoryFilterParams) (protocol.DirectoryFilterResult, error) {
	t, err := s.tree(p.Directory)
	if err != nil {
		return protocol.DirectoryFilterResult{}, err
	}
	for _, glob := range p.Globs {
		if _, err := sdk.CompileGlob(strings.TrimPrefix(glob, "!")); err != nil {
			return protocol.DirectoryFilterResult{}, protocol.Errorf(protocol.CodeInvalid, "%v", err)
		}
	}
	kept := tree{}
	for at, n := range t {
		taken := false
		for _, glob := range p.Globs {
			glob, away := strings.CutPrefix(glob, "!")
			if sdk.Takes(glob, at) {
				taken = !away
			}
		}
		if taken {
			kept.put(at, n)
		}
	}
	return protocol.DirectoryFilterResult{Value: s.addTree(kept)}, nil
}

// parseReport counts the tests of a JUnit file.
func (s store) parseReport(p protocol.ReportParseParams) (protocol.ReportParseResult, error) {
	data, err := s.data(p.JUnit)
	if err != nil {
		return protocol.ReportParseResult{}, err
	}
	report := protocol.TestReport{JUnit: p.JUnit}
	decoder := xml.NewDecoder(bytes.NewReader(data))
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			return protocol.ReportParseResult{Value: report}, nil
		}
		if err != nil {
			return protocol.ReportParseResult{}, protocol.Errorf(protocol.CodeInvalid, "%s is not a JUnit file: %v", p.JUnit.Name, err)
		}
		if start, ok := token.(xml.StartElement); ok {
			if err := count(&report, start); err != nil {
				return protocol.ReportParseResult{}, protocol.Errorf(protocol.CodeInvalid, "%s is not a JUnit file: %v", p.JUnit.Name, err)
			}
		}
	}
}

func count(report *protocol.TestReport, start xml.StartElement) error {
	switch start.Name.Local {
	case "failure":
		report.Failures++
	case "error":
		report.Errors++
	case "skipped":
		report.Skipped++
	case "testcase":
		report.Tests++
		for _, attr := range start.Attr {
			if attr.Name.Local != "time" {
				continue
			}
			var seconds float64
			if _, err := fmt.Sscan(attr.Value, &seconds); err != nil {
				return fmt.Errorf("the time %q: %w", attr.Value, err)
			}
			report.TimeMS += int64(seconds*1000 + 0.5)
		}
	}
	return nil
}
