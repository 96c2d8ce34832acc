package sdk

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/towpath/towpath/protocol"
)

// Reads reads files and folders for a program and keeps account of it. First the
// program is loaded; what is read after Loaded is late.
type Reads struct {
	mu      sync.Mutex // guards what follows
	root    string
	loading span
	late    span
	loaded  bool
}

// span is what was read in one span of time, by absolute path.
type span struct {
	files   map[string]string   // digests; "" where there was none, or more than one
	folders map[string][]string // the names in them when they were listed first
}

func newSpan() span {
	return span{files: make(map[string]string), folders: make(map[string][]string)}
}

func (s span) addFile(path, digest string) {
	if known, ok := s.files[path]; ok && known != digest {
		digest = ""
	}
	s.files[path] = digest
}

// addFolder keeps the first listing: what a program made of it is not made right by
// a later one.
func (s span) addFolder(path string, names []string) {
	if _, ok := s.folders[path]; !ok {
		s.folders[path] = names
	}
}

// NewReads returns a Reads for which relative paths begin at root.
func NewReads(root string) *Reads {
	return &Reads{root: root, loading: newSpan(), late: newSpan()}
}

// SetRoot says where relative paths begin.
func (r *Reads) SetRoot(root string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.root = root
}

// File returns the content of a file.
func (r *Reads) File(path string) ([]byte, error) {
	path, err := r.absolute(path)
	if err != nil {
		return nil, err
	}
	data, err := os.ReadFile(path)
	digest := ""
	if err == nil {
		digest = fmt.Sprintf("%x/%d", sha256.Sum256(data), len(data))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now().addFile(path, digest)
	return data, err
}

// Dir returns the names in a folder, sorted by bytes.
func (r *Reads) Dir(path string) ([]string, error) {
	path, err := r.absolute(path)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(path)
	names := make([]string, 0, len(entries))
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	slices.Sort(names)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err != nil {
		r.now().addFolder(path, nil)
		return nil, err
	}
	r.now().addFolder(path, names)
	return slices.Clone(names), nil
}

func (r *Reads) absolute(path string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if filepath.IsAbs(path) {
		return filepath.Clean(path), nil
	}
	return filepath.Abs(filepath.Join(r.root, path))
}

func (r *Reads) now() span {
	if r.loaded {
		return r.late
	}
	return r.loading
}

// Loaded takes everything that was read so far for the program itself, and returns
// it. Whatever is read from now on is late.
func (r *Reads) Loaded() (protocol.List[protocol.ProgramFile], protocol.List[protocol.ProgramFolder]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.loaded = true
	for path, digest := range r.late.files {
		r.loading.addFile(path, digest)
	}
	for path, names := range r.late.folders {
		r.loading.addFolder(path, names)
	}
	r.late = newSpan()
	return r.loading.report()
}

// Late returns what was read since Loaded.
func (r *Reads) Late() (protocol.List[protocol.ProgramFile], protocol.List[protocol.ProgramFolder]) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.late.report()
}

func (s span) report() (files protocol.List[protocol.ProgramFile], folders protocol.List[protocol.ProgramFolder]) {
	for _, path := range slices.Sorted(maps.Keys(s.files)) {
		files = append(files, protocol.ProgramFile{Path: path, Digest: s.files[path]})
	}
	for _, path := range slices.Sorted(maps.Keys(s.folders)) {
		folders = append(folders, protocol.ProgramFolder{Path: path, Names: s.folders[path]})
	}
	return files, folders
}
