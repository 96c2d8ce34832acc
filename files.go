package towpath

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/towpath/towpath/protocol"
)

// Content is a File or a Directory.
type Content interface {
	content() (protocol.Content, error)
}

// File is an immutable file that the engine keeps. NewFile and steps make files;
// the zero File is none.
type File struct{ file protocol.File }

// Directory is an immutable directory that the engine keeps. Steps, sources and
// NewDirectory make directories; the zero Directory is none.
type Directory struct{ directory protocol.Directory }

// Secret is the handle of a secret.
type Secret struct{ secret protocol.Secret }

// TestReport is the outcome of a test run.
type TestReport struct {
	Tests    int           // how many there were
	Failures int           // failed
	Errors   int           // ended with an error
	Skipped  int           // did not run
	Time     time.Duration // that they took, to the millisecond
	JUnit    File          // the JUnit file that the report was read from
}

// Passed reports whether no test failed or ended with an error.
func (r TestReport) Passed() bool { return r.Failures == 0 && r.Errors == 0 }

func (r TestReport) report() protocol.TestReport {
	return protocol.TestReport{
		Tests: r.Tests, Failures: r.Failures, Errors: r.Errors, Skipped: r.Skipped,
		TimeMS: r.Time.Milliseconds(), JUnit: r.JUnit.file,
	}
}

func testReportOf(r protocol.TestReport) TestReport {
	return TestReport{
		Tests: r.Tests, Failures: r.Failures, Errors: r.Errors, Skipped: r.Skipped,
		Time: time.Duration(r.TimeMS) * time.Millisecond, JUnit: File{file: r.JUnit},
	}
}

// NewTestReport reads a JUnit XML file.
func NewTestReport(ctx context.Context, junit File) (TestReport, error) {
	what := fmt.Sprintf("read the test report %q", junit.Name())
	if err := junit.check(); err != nil {
		return TestReport{}, failed(what, err)
	}
	result, err := request[protocol.ReportParseResult](ctx, what, protocol.MethodReportParse, func(call uint64) any {
		return protocol.ReportParseParams{Call: call, JUnit: junit.file}
	})
	return testReportOf(result.Value), err
}

// NewSecret returns the handle of a secret, for calling a stage in a unit test. A
// handle that the pipeline does not give to a stage opens nothing.
func NewSecret(name string) Secret { return Secret{secret: protocol.Secret{Name: name}} }

// Name returns the name of the secret.
func (s Secret) Name() string { return s.secret.Name }

// Name returns the name of the file, without a folder.
func (f File) Name() string { return f.file.Name }

// Digest returns what identifies the content: the SHA-256 in hexadecimal, "/", and
// the size in bytes.
func (f File) Digest() string { return f.file.Digest }

// Size returns the size in bytes.
func (f File) Size() int64 {
	_, size, _ := strings.Cut(f.file.Digest, "/")
	n, _ := strconv.ParseInt(size, 10, 64) // a File that is not zero has a size
	return n
}

// Executable reports whether the file may be executed.
func (f File) Executable() bool { return f.file.Executable }

// String returns the name.
func (f File) String() string { return f.file.Name }

func (f File) check() error {
	if !isDigest(f.file.Digest) {
		return errors.New("the File is empty: NewFile and steps make files")
	}
	return nil
}

func (f File) content() (protocol.Content, error) {
	return protocol.Content{File: &f.file}, f.check()
}

// isDigest reports whether s is a SHA-256 in lower-case hexadecimal, "/", and a
// size in decimal.
func isDigest(s string) bool {
	hash, size, ok := strings.Cut(s, "/")
	if !ok || len(hash) != 64 || strings.Trim(hash, "0123456789abcdef") != "" {
		return false
	}
	n, err := strconv.ParseInt(size, 10, 64)
	return err == nil && n >= 0 && strconv.FormatInt(n, 10) == size
}

// Open returns a reader of the content. It reads ahead 1 MiB at a time and holds
// no more than that. Close need not be called where reading ended with an error.
func (f File) Open(ctx context.Context) io.ReadCloser {
	return &fileReader{ctx: ctx, file: f}
}

type fileReader struct {
	ctx    context.Context // of the stage; a reader has no other way to get it
	file   File
	offset int64
	limit  int64 // how many bytes are wanted; 0 for all
	data   []byte
	err    error
}

// Read reads on in the file.
func (r *fileReader) Read(p []byte) (int, error) {
	for len(r.data) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		if len(p) == 0 {
			return 0, nil
		}
		r.next()
	}
	n := copy(p, r.data)
	r.data = r.data[n:]
	return n, nil
}

// WriteTo writes what is left of the file.
func (r *fileReader) WriteTo(w io.Writer) (int64, error) {
	var written int64
	for {
		n, err := w.Write(r.data)
		written += int64(n)
		r.data = r.data[n:]
		if err != nil {
			return written, err
		}
		if r.err != nil {
			if r.err == io.EOF {
				return written, nil
			}
			return written, r.err
		}
		r.next()
	}
}

func (r *fileReader) next() {
	what := fmt.Sprintf("read the file %q", r.file.Name())
	if err := r.file.check(); err != nil {
		r.err = failed(what, err)
		return
	}
	length := protocol.MaxChunk
	if r.limit > 0 {
		length = int(min(r.limit, protocol.MaxChunk))
	}
	result, err := request[protocol.FileReadResult](r.ctx, what, protocol.MethodFileRead, func(call uint64) any {
		return protocol.FileReadParams{Call: call, File: r.file.file, Offset: r.offset, Length: length}
	})
	r.data, r.err = result.Data, err
	r.offset += int64(len(result.Data))
	switch {
	case err != nil:
	case result.EOF:
		r.err = io.EOF
	case len(result.Data) == 0:
		r.err = failed(what, protocol.Errorf(protocol.CodeInternal, "the engine sent nothing before the end"))
	}
}

// Close ends reading.
func (r *fileReader) Close() error {
	r.data, r.err = nil, os.ErrClosed
	return nil
}

// Read returns up to length bytes from an offset on; fewer at the end of the file.
func (f File) Read(ctx context.Context, offset, length int64) ([]byte, error) {
	if offset < 0 || length < 0 {
		return nil, failed(fmt.Sprintf("read the file %q", f.Name()),
			protocol.Errorf(protocol.CodeInvalid, "offset and length cannot be negative: %d, %d", offset, length))
	}
	return io.ReadAll(io.LimitReader(&fileReader{ctx: ctx, file: f, offset: offset, limit: length}, length))
}

// Content returns the content. For a large file, use Open.
func (f File) Content(ctx context.Context) ([]byte, error) {
	return io.ReadAll(f.Open(ctx))
}

// Text returns the content, which has to be UTF-8. For a large file, use Open.
func (f File) Text(ctx context.Context) (string, error) {
	data, err := f.Content(ctx)
	if err == nil && !utf8.Valid(data) {
		err = fmt.Errorf("read the file %q: it is not text in UTF-8", f.Name())
	}
	return string(data), err
}

// Download writes the file to a path of this machine, where it replaces what is
// there. It is executable there if the File is. Where Download fails, it leaves
// nothing at the path that looks like the file.
func (f File) Download(ctx context.Context, path string) error {
	mode := os.FileMode(0o644)
	if f.Executable() {
		mode = 0o755
	}
	part := path + ".part"
	out, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return fmt.Errorf("download the file %q: %w", f.Name(), err)
	}
	_, err = io.Copy(out, f.Open(ctx))
	if closeErr := out.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		_ = os.Remove(part) // there may be none
		return fmt.Errorf("download the file %q: %w", f.Name(), err)
	}
	return nil
}

// NewFile stores what r yields, to its end, as a file of this name.
func NewFile(ctx context.Context, name string, r io.Reader) (File, error) {
	return newFile(ctx, name, r, false)
}

// NewExecutable is NewFile for a file that may be executed.
func NewExecutable(ctx context.Context, name string, r io.Reader) (File, error) {
	return newFile(ctx, name, r, true)
}

// NewFileFromPath stores a file of this machine under its name. It may be executed if
// that one may.
func NewFileFromPath(ctx context.Context, path string) (File, error) {
	file, err := os.Open(path)
	if err != nil {
		return File{}, fmt.Errorf("store a file: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return File{}, fmt.Errorf("store a file: %w", err)
	}
	return newFile(ctx, filepath.Base(path), file, info.Mode()&0o100 != 0)
}

func newFile(ctx context.Context, name string, r io.Reader, executable bool) (File, error) {
	what := fmt.Sprintf("store the file %q", name)
	if !isFileName(name) {
		return File{}, failed(what, protocol.Errorf(protocol.CodeInvalid, "this is not the name of a file"))
	}
	begun, err := request[protocol.BlobBeginResult](ctx, what, protocol.MethodBlobBegin, func(call uint64) any {
		return protocol.BlobBeginParams{Call: call}
	})
	if err != nil {
		return File{}, err
	}
	chunk := make([]byte, protocol.MaxChunk)
	for {
		n, readErr := io.ReadFull(r, chunk)
		if n > 0 {
			_, err := request[protocol.BlobAppendResult](ctx, what, protocol.MethodBlobAppend, func(call uint64) any {
				return protocol.BlobAppendParams{Call: call, Blob: begun.Blob, Data: chunk[:n]}
			})
			if err != nil {
				return File{}, err
			}
		}
		if readErr == io.EOF || readErr == io.ErrUnexpectedEOF {
			break
		}
		if readErr != nil {
			return File{}, fmt.Errorf("%s: %w", what, readErr)
		}
	}
	result, err := request[protocol.BlobCommitResult](ctx, what, protocol.MethodBlobCommit, func(call uint64) any {
		return protocol.BlobCommitParams{Call: call, Blob: begun.Blob, Name: name, Executable: executable}
	})
	return File{file: result.Value}, err
}

// Mount is content at a path of a workspace or a new directory.
type Mount struct {
	Path    string // relative, with "/"; "" is the root, and takes a Directory
	Content Content
}

func mountsOf(mounts []Mount) ([]protocol.Mount, error) {
	out := make([]protocol.Mount, len(mounts))
	for i, mount := range mounts {
		if mount.Content == nil {
			return nil, protocol.Errorf(protocol.CodeInvalid, "nothing is mounted at %q", mount.Path)
		}
		content, err := mount.Content.content()
		if err != nil {
			return nil, protocol.Errorf(protocol.CodeInvalid, "the mount at %q: %v", mount.Path, err)
		}
		out[i] = protocol.Mount{Path: mount.Path, Value: content}
	}
	return out, nil
}

// NewDirectory makes a directory of the mounts, merged in order: two different
// contents at one path are an error.
func NewDirectory(ctx context.Context, mounts ...Mount) (Directory, error) {
	const what = "make a directory"
	tree, err := mountsOf(mounts)
	if err != nil {
		return Directory{}, failed(what, err)
	}
	result, err := request[protocol.DirectoryMakeResult](ctx, what, protocol.MethodDirectoryMake, func(call uint64) any {
		return protocol.DirectoryMakeParams{Call: call, Mounts: tree}
	})
	return Directory{directory: result.Value}, err
}

// Digest returns what identifies the directory: the SHA-256 of its Directory
// message of the Remote Execution API in hexadecimal, "/", and the size of that
// message in bytes.
func (d Directory) Digest() string { return d.directory.Digest }

func (d Directory) check() error {
	if !isDigest(d.directory.Digest) {
		return errors.New("the Directory is empty: sources, steps and NewDirectory make directories")
	}
	return nil
}

func (d Directory) content() (protocol.Content, error) {
	return protocol.Content{Directory: &d.directory}, d.check()
}

// EntryKind tells what an Entry is.
type EntryKind string

// The kinds of entries.
const (
	EntryFile      EntryKind = "file"
	EntryDirectory EntryKind = "directory"
	EntrySymlink   EntryKind = "symlink"
)

// Entry is one path of a directory, or one output of a step.
type Entry struct {
	Path   string // relative to what was listed, with "/"
	Kind   EntryKind
	Value  Content // a File or a Directory; nil for a symlink
	Target string  // of a symlink
}

func entryOf(e protocol.Entry) Entry {
	out := Entry{Path: e.Path, Kind: EntryKind(e.Kind), Target: e.Target}
	switch {
	case e.Value == nil:
	case e.Value.File != nil:
		out.Value = File{file: *e.Value.File}
	case e.Value.Directory != nil:
		out.Value = Directory{directory: *e.Value.Directory}
	}
	return out
}

// Entries lists the folder at a path of the directory, "" for the directory
// itself, sorted by bytes.
func (d Directory) Entries(ctx context.Context, path string) ([]Entry, error) {
	var entries []Entry
	for entry, err := range d.list(ctx, path, false) {
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry)
	}
	return entries, nil
}

// Walk yields everything below a path of the directory, sorted by bytes. An error
// is yielded last.
func (d Directory) Walk(ctx context.Context, path string) iter.Seq2[Entry, error] {
	return d.list(ctx, path, true)
}

func (d Directory) list(ctx context.Context, path string, recursive bool) iter.Seq2[Entry, error] {
	what := fmt.Sprintf("list %q", path)
	return func(yield func(Entry, error) bool) {
		if err := d.check(); err != nil {
			yield(Entry{}, failed(what, err))
			return
		}
		after, more := "", true
		for more {
			page, err := request[protocol.DirectoryListResult](ctx, what, protocol.MethodDirectoryList, func(call uint64) any {
				return protocol.DirectoryListParams{Call: call, Directory: d.directory, Path: path, Recursive: recursive, After: after}
			})
			if err == nil && page.More && len(page.Entries) == 0 {
				err = failed(what, protocol.Errorf(protocol.CodeInternal, "the engine sent an empty page"))
			}
			if err != nil {
				yield(Entry{}, err)
				return
			}
			for _, entry := range page.Entries {
				after = entry.Path
				if !yield(entryOf(entry), nil) {
					return
				}
			}
			more = page.More
		}
	}
}

// File returns the file at a path of the directory.
func (d Directory) File(ctx context.Context, path string) (File, error) {
	return getContent[File](ctx, d, path, "a file")
}

// Directory returns the folder at a path of the directory.
func (d Directory) Directory(ctx context.Context, path string) (Directory, error) {
	return getContent[Directory](ctx, d, path, "a directory")
}

func getContent[C Content](ctx context.Context, d Directory, path, kind string) (C, error) {
	var none C
	what := fmt.Sprintf("look %q up", path)
	if err := d.check(); err != nil {
		return none, failed(what, err)
	}
	result, err := request[protocol.DirectoryGetResult](ctx, what, protocol.MethodDirectoryGet, func(call uint64) any {
		return protocol.DirectoryGetParams{Call: call, Directory: d.directory, Path: path}
	})
	if err != nil {
		return none, err
	}
	return contentOf[C](entryOf(result.Entry), what, kind)
}

func contentOf[C Content](entry Entry, what, kind string) (C, error) {
	content, ok := entry.Value.(C)
	if !ok {
		return content, failed(what, protocol.Errorf(protocol.CodeNotFound, "it is a %s, not %s", entry.Kind, kind))
	}
	return content, nil
}

// Filter returns the directory of the paths that match one of the globs, which
// are written as those of Pipeline.Source.
func (d Directory) Filter(ctx context.Context, globs ...string) (Directory, error) {
	const what = "filter a directory"
	if err := d.check(); err != nil {
		return Directory{}, failed(what, err)
	}
	result, err := request[protocol.DirectoryFilterResult](ctx, what, protocol.MethodDirectoryFilter, func(call uint64) any {
		return protocol.DirectoryFilterParams{Call: call, Directory: d.directory, Globs: globs}
	})
	return Directory{directory: result.Value}, err
}
