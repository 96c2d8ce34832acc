// Package tree makes folders out of blobs: a tree is a Remote Execution API v2 Directory message in the content-addressed store,
// which names files, symlinks and further Directory messages by their digests.
//
// Equal trees have equal digests, since a message has one canonical form: each list sorted by the bytes of the names, no name
// twice, nothing unknown, deterministic encoding. Load refuses everything else, whoever wrote it, and what it accepts is safe to
// write to a disk: no name leads out of its folder.
//
// The package reads and writes trees, folders on disk (Materialize, Capture) and globs. It does not know what a tree is for, which
// files of a work tree are sources (internal/source), nor where blobs are kept.
package tree

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"unicode/utf8"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/proto"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/digest"
)

const (
	// MaxDirectoryBytes is the largest Directory message that is read: room for about half a million files in one folder.
	MaxDirectoryBytes = 64 << 20
	// MaxDepth is how deep folders nest at most. What is deeper no operating system could open by its path anyway.
	MaxDepth = 1000
	// MaxEntries is how many entries a whole tree is walked for. A few messages that name each other twice make a tree too large
	// for any disk; nobody meets this limit by honest means.
	MaxEntries = 20_000_000
	// maxName is the longest name that common file systems take.
	maxName = 255
)

// Kind is what a path is.
type Kind int

// The kinds of entries.
const (
	KindFile Kind = iota + 1
	KindDirectory
	KindSymlink
)

// String returns the word that the protocol has for k.
func (k Kind) String() string {
	switch k {
	case KindFile:
		return "file"
	case KindDirectory:
		return "directory"
	case KindSymlink:
		return "symlink"
	}
	return "unknown"
}

// Entry is one path of a tree.
type Entry struct {
	// Path is relative, with "/"; the root of a tree is "".
	Path string
	Kind Kind
	// Digest is that of a file's content or of a directory's message.
	Digest digest.Digest
	// Executable is for files.
	Executable bool
	// Target is for symlinks: where it points, as written.
	Target string
}

// describe says what e is, in an error.
func (e Entry) describe() string {
	switch {
	case e.Kind == KindSymlink:
		return fmt.Sprintf("a symlink to %q", e.Target)
	case e.Kind == KindFile && e.Executable:
		return "an executable file " + e.Digest.Short()
	case e.Kind == KindFile:
		return "a file " + e.Digest.Short()
	}
	return "a folder"
}

// InvalidError reports a Directory message that is not canonical or not allowed.
type InvalidError struct {
	Digest digest.Digest
	Reason string
}

func (e *InvalidError) Error() string {
	return fmt.Sprintf("directory %v is not valid: %s", e.Digest, e.Reason)
}

// PathError reports a path, or a name on it, that no tree can have.
type PathError struct {
	Path   string
	Reason string
}

func (e *PathError) Error() string { return fmt.Sprintf("path %.300q %s", e.Path, e.Reason) }

// NotFoundError reports a path that a tree does not have. It matches fs.ErrNotExist.
type NotFoundError struct {
	Path string
	// Parent is the nearest folder above Path that is there; "" is the root.
	Parent string
}

func (e *NotFoundError) Error() string {
	if e.Parent == "" {
		return fmt.Sprintf("%q does not exist", e.Path)
	}
	return fmt.Sprintf("%q does not exist in %q", e.Path, e.Parent)
}

// Is makes errors.Is(err, fs.ErrNotExist) hold.
func (e *NotFoundError) Is(target error) bool { return target == fs.ErrNotExist }

// CheckPath returns a *PathError unless path is relative, with "/", and without ".", "..", empty or otherwise impossible parts.
// The empty path, which is the root, is none.
func CheckPath(path string) error {
	if strings.Count(path, "/") > MaxDepth {
		return &PathError{Path: path, Reason: fmt.Sprintf("is deeper than %d folders", MaxDepth)}
	}
	for rest, more := path, true; more; {
		var name string
		name, rest, more = strings.Cut(rest, "/")
		if reason := badName(name); reason != "" {
			return &PathError{Path: path, Reason: reason}
		}
	}
	return nil
}

// badName says what is wrong with a name, if anything is.
func badName(name string) string {
	switch {
	case name == "":
		return "has an empty part"
	case name == "." || name == "..":
		return fmt.Sprintf("has the part %q", name)
	case len(name) > maxName:
		return fmt.Sprintf("has a part of %d bytes, which is more than %d", len(name), maxName)
	case strings.ContainsAny(name, "/\x00"):
		return `has a name with "/" or a zero byte`
	case !utf8.ValidString(name):
		return "is not UTF-8, which names in a tree have to be"
	}
	return ""
}

func badTarget(target string) string {
	switch {
	case target == "":
		return "is a symlink to nothing"
	case strings.ContainsRune(target, 0):
		return "is a symlink whose target has a zero byte"
	case !utf8.ValidString(target):
		return fmt.Sprintf("is a symlink to %q, which is not UTF-8", target)
	}
	return ""
}

// join returns the path of name in dir.
func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// Load returns the Directory message d, verified: it is in canonical form, and every name and digest in it is good. What is wrong
// with it is an *InvalidError; a message that is not there is a *cas.NotFoundError.
func Load(ctx context.Context, store cas.Store, d digest.Digest) (*repb.Directory, error) {
	b, err := cas.ReadAll(ctx, store, d, MaxDirectoryBytes)
	if err != nil {
		return nil, fmt.Errorf("load directory: %w", err)
	}
	m := new(repb.Directory)
	if err := proto.Unmarshal(b, m); err != nil {
		return nil, &InvalidError{Digest: d, Reason: "it is no Directory message"}
	}
	if reason := check(m); reason != "" {
		return nil, &InvalidError{Digest: d, Reason: reason}
	}
	again, err := marshal(m)
	if err != nil {
		return nil, fmt.Errorf("load directory: %w", err)
	}
	if !slices.Equal(again, b) {
		return nil, &InvalidError{Digest: d, Reason: "it is not in canonical form"}
	}
	return m, nil
}

// marshal returns the canonical form of m, whose lists are sorted.
func marshal(m *repb.Directory) ([]byte, error) {
	return proto.MarshalOptions{Deterministic: true}.Marshal(m)
}

// check says what is wrong with m, if anything is. What marshal would keep and Entry could not say is wrong, too.
func check(m *repb.Directory) string {
	if len(m.ProtoReflect().GetUnknown()) > 0 || m.NodeProperties != nil {
		return "it has properties that are not known"
	}
	seen := make(map[string]struct{}, len(m.Files)+len(m.Directories)+len(m.Symlinks))
	last := ""
	name := func(n string, first bool) string {
		if reason := badName(n); reason != "" {
			return fmt.Sprintf("the name %q %s", n, reason)
		}
		if _, ok := seen[n]; ok {
			return fmt.Sprintf("the name %q is there twice", n)
		}
		if !first && n < last {
			return fmt.Sprintf("the name %q is not sorted", n)
		}
		seen[n], last = struct{}{}, n
		return ""
	}
	for i, f := range m.Files {
		if reason := name(f.Name, i == 0); reason != "" {
			return reason
		}
		if _, err := fromProto(f.Digest); err != nil || len(f.ProtoReflect().GetUnknown()) > 0 || f.NodeProperties != nil {
			return fmt.Sprintf("the file %q has a bad digest or properties that are not known", f.Name)
		}
	}
	for i, d := range m.Directories {
		if reason := name(d.Name, i == 0); reason != "" {
			return reason
		}
		if _, err := fromProto(d.Digest); err != nil || len(d.ProtoReflect().GetUnknown()) > 0 {
			return fmt.Sprintf("the folder %q has a bad digest or properties that are not known", d.Name)
		}
	}
	for i, l := range m.Symlinks {
		if reason := name(l.Name, i == 0); reason != "" {
			return reason
		}
		if badTarget(l.Target) != "" || len(l.ProtoReflect().GetUnknown()) > 0 || l.NodeProperties != nil {
			return fmt.Sprintf("the symlink %q has a bad target or properties that are not known", l.Name)
		}
	}
	return ""
}

func toProto(d digest.Digest) *repb.Digest {
	return &repb.Digest{Hash: d.Hex(), SizeBytes: d.Size}
}

func fromProto(d *repb.Digest) (digest.Digest, error) {
	if d == nil || len(d.ProtoReflect().GetUnknown()) > 0 {
		return digest.Digest{}, errors.New("no digest")
	}
	return digest.Parse(fmt.Sprintf("%s/%d", d.Hash, d.SizeBytes))
}

// mustDigest converts a digest of a message that check has accepted.
func mustDigest(d *repb.Digest) digest.Digest {
	got, _ := fromProto(d)
	return got
}

// list returns the entries of m, a message that Load returned, sorted by name. Their paths are their names.
func list(m *repb.Directory) []Entry {
	entries := make([]Entry, 0, len(m.Files)+len(m.Directories)+len(m.Symlinks))
	for _, f := range m.Files {
		entries = append(entries, Entry{Path: f.Name, Kind: KindFile, Digest: mustDigest(f.Digest), Executable: f.IsExecutable})
	}
	for _, d := range m.Directories {
		entries = append(entries, Entry{Path: d.Name, Kind: KindDirectory, Digest: mustDigest(d.Digest)})
	}
	for _, l := range m.Symlinks {
		entries = append(entries, Entry{Path: l.Name, Kind: KindSymlink, Target: l.Target})
	}
	slices.SortFunc(entries, func(a, b Entry) int { return strings.Compare(a.Path, b.Path) })
	return entries
}
