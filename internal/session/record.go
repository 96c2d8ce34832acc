package session

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/plan"
	"github.com/towpath/towpath/protocol"
)

// recordVersion changes with the form or the meaning of records.
const recordVersion = 2

// record remembers a plan together with all that it was made from.
type record struct {
	Version int `json:"version"`
	// SDK is the digest of the SDK that described the program.
	SDK string `json:"sdk"`
	// Env is what the program was given of the environment.
	Env []string `json:"env"`
	// Runtime is the interpreter or toolchain.
	Runtime runtimeInfo `json:"runtime"`
	// Files and Folders are what the program read.
	Files   []protocol.ProgramFile `json:"files"`
	Folders []folder               `json:"folders"`
	// Manifest is what stage keys depend on.
	Manifest plan.Manifest `json:"manifest"`
	// PlanDigest guards the plan against a damaged record.
	PlanDigest digest.Digest            `json:"plan_digest"`
	Sites      map[string]protocol.Site `json:"sites"`

	plan []byte
}

// folder is a listing, by the digest of its names.
type folder struct {
	Path   string        `json:"path"`
	Filter string        `json:"filter"`
	Names  digest.Digest `json:"names"`
}

// runtimeInfo is what runs the program: the interpreter, or the compiled program.
type runtimeInfo struct {
	// Asked is the setting that the choice followed.
	Asked string `json:"asked"`
	// Executable is the real file.
	Executable string `json:"executable"`
	// Version is such as `cpython 3.11`.
	Version string `json:"version"`
	// Stamps are the files that the choice of it depended on.
	Stamps []stamp `json:"stamps"`
	// Env are the variables that the choice depended on.
	Env []string `json:"env"`
}

// stamp is a file that has not changed as long as its metadata has not: programs of the system, which are too large to be read each time. The time
// is 0 for a file that tow made, and whose time says when it was used.
type stamp struct {
	Path  string `json:"path"`
	Size  int64  `json:"size"`
	MTime int64  `json:"mtime_ns"`
}

func stampOf(path string) stamp {
	info, err := os.Stat(path)
	if err != nil {
		return stamp{Path: path, Size: -1}
	}
	return stamp{Path: path, Size: info.Size(), MTime: info.ModTime().UnixNano()}
}

func (s stamp) withoutTime() stamp {
	s.MTime = 0
	return s
}

func (s stamp) valid() bool {
	now := stampOf(s.Path)
	if s.MTime == 0 {
		now = now.withoutTime()
	}
	return now == s
}

func (r runtimeInfo) valid(asked string, env func(string) (string, bool)) bool {
	if r.Asked != asked {
		return false
	}
	for _, s := range r.Stamps {
		if !s.valid() {
			return false
		}
	}
	for _, v := range r.Env {
		name, _, _ := strings.Cut(v, "=")
		if variable(env, name) != v {
			return false
		}
	}
	return true
}

// variable notes the value of a variable by its digest: that of a proxy may hold a password.
func variable(env func(string) (string, bool), name string) string {
	if v, ok := env(name); ok {
		return name + "=" + digest.OfBytes([]byte(v)).Hex()
	}
	return name
}

func (c Config) recordFile(p Program) string {
	return filepath.Join(c.CacheDir, "programs", p.id()+".record")
}

// id names the program in the cache folder.
func (p Program) id() string { return digest.OfBytes([]byte(p.Path)).Hex() }

// asked is the setting that the choice of what runs a program follows.
func (c Config) asked(l Language) string {
	if l == Go {
		return ""
	}
	return c.Python
}

// readRecord returns the record of a program, or nil when there is none that can be read.
func (c Config) readRecord(p Program) *record {
	b, err := os.ReadFile(c.recordFile(p))
	if err != nil {
		return nil
	}
	head, planText, ok := bytes.Cut(b, []byte("\n"))
	var r record
	if !ok || json.Unmarshal(head, &r) != nil || r.Version != recordVersion || digest.OfBytes(planText) != r.PlanDigest {
		return nil
	}
	r.plan = planText
	return &r
}

// writeRecord replaces the record of a program. The write is atomic; it need not be durable, since a lost record only costs time.
func (c Config) writeRecord(p Program, r *record) error {
	path := c.recordFile(p)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("remember the plan: %w", err)
	}
	r.Version, r.PlanDigest = recordVersion, digest.OfBytes(r.plan)
	head, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("remember the plan: %w", err)
	}
	tmp, err := os.CreateTemp(filepath.Dir(path), "record-*")
	if err != nil {
		return fmt.Errorf("remember the plan: %w", err)
	}
	defer os.Remove(tmp.Name()) // gone already when it was renamed
	_, err = tmp.Write(slices.Concat(head, []byte("\n"), r.plan))
	if err = errors.Join(err, tmp.Close()); err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("remember the plan: %w", err)
	}
	return nil
}

// changed tells why a record cannot be used any more; it is empty when it can.
func (c Config) changed(ctx context.Context, p Program, r *record, sdk string, env []string) (string, error) {
	switch {
	case r.SDK != sdk:
		return "the SDK", nil
	case !slices.Equal(r.Env, env):
		return "the environment", nil
	case !r.Runtime.valid(c.asked(p.Language), c.Lookup):
		return "the " + r.Runtime.Version + " runtime", nil
	}
	for _, f := range r.Files {
		now, err := c.digestFile(ctx, f.Path)
		if err != nil {
			return "", err
		}
		if now != f.Digest {
			return f.Path, nil
		}
	}
	for _, f := range r.Folders {
		if listing(f.Path, f.Filter) != f.Names {
			return "the files in " + f.Path, nil
		}
	}
	return "", nil
}

// digestFile returns the digest of a file in text, or "" where there is none that can be read.
func (c Config) digestFile(ctx context.Context, path string) (string, error) {
	d, err := c.Digest(ctx, path)
	if ctx.Err() != nil {
		return "", context.Cause(ctx)
	}
	if err != nil {
		return "", nil //nolint:nilerr // to the program, a file that cannot be read is as one that is not there
	}
	return d.String(), nil
}

// listing returns the digest of the names in a folder, as SPEC.md (describe) has it; a folder that cannot be read has none.
func listing(path, filter string) digest.Digest {
	list, err := os.ReadDir(path)
	if err != nil {
		return digest.Digest{}
	}
	var names []string
	for _, e := range list {
		if filter == protocol.FilterImports && !importable(path, e) {
			continue
		}
		names = append(names, string([]rune(e.Name()))) // a name that is no text comes from the worker with U+FFFD in it
	}
	return namesDigest(names)
}

// listedNames returns the digest of the names that a worker told of. The protocol does not tell an empty folder from one that is not there.
func listedNames(f protocol.ProgramFolder) digest.Digest {
	if len(f.Names) == 0 {
		return listing(f.Path, f.Filter)
	}
	return namesDigest(f.Names)
}

func namesDigest(names []string) digest.Digest {
	slices.Sort(names)
	return digest.OfBytes([]byte(strings.Join(names, "\x00")))
}

func importable(parent string, e fs.DirEntry) bool {
	switch filepath.Ext(e.Name()) {
	case ".py", ".pyc", ".so", ".pyd":
		return true
	}
	if e.Type()&fs.ModeSymlink != 0 {
		info, err := os.Stat(filepath.Join(parent, e.Name()))
		return err == nil && info.IsDir()
	}
	return e.IsDir()
}

// manifest returns what stage keys depend on: the files of the program, by names that do not depend on where the repository is.
func manifest(p Program, runtime string, files []protocol.ProgramFile) plan.Manifest {
	m := plan.Manifest{Runtime: runtime, Files: make(map[string]string, len(files))}
	for _, f := range files {
		m.Files[p.relative(f.Path)] = f.Digest
	}
	return m
}

// relative names a path for manifests: relative to the root for files of the repository, else as it is.
func (p Program) relative(path string) string {
	if rel, err := filepath.Rel(p.Repository, path); err != nil || rel == ".." || strings.HasPrefix(rel, "../") {
		return path
	}
	rel, err := filepath.Rel(p.Root, path)
	if err != nil {
		return path
	}
	return filepath.ToSlash(rel)
}

// absolute is the inverse of relative.
func (p Program) absolute(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(p.Root, filepath.FromSlash(name))
}

// sameFiles tells whether what a worker loaded is what was described.
func sameFiles(p Program, m plan.Manifest, files []protocol.ProgramFile) (string, bool) {
	now := manifest(p, m.Runtime, files).Files
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if then, ok := m.Files[name]; !ok || then != now[name] {
			return name, false
		}
	}
	return "", true
}
