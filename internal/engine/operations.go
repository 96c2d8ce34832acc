package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"sync"
	"syscall"
	"unicode/utf8"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/integration/junit"
	"github.com/towpath/towpath/internal/tree"
	"github.com/towpath/towpath/protocol"
)

// operations answers what running stages ask for (SPEC.md, section 5).
type operations struct {
	e   *Engine
	run *run // set before anything is called

	steps chan struct{} // a place for each step that may run

	mu    sync.Mutex
	calls map[uint64]*calling

	locks keyed

	commits *committer

	past *past
	gaps sync.Once
}

func newOperations(e *Engine) *operations {
	return &operations{e: e, steps: make(chan struct{}, e.c.Jobs), calls: map[uint64]*calling{}, locks: keyed{m: map[digest.Digest]*lock{}}, commits: newCommitter(e.c.Store, e.c.Cache), past: newPast()}
}

// open makes a call known by its id.
func (o *operations) open(id uint64, c *calling) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.calls[id] = c
	c.forget = func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.calls, id)
	}
}

func (o *operations) calling(id uint64) (*calling, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if c := o.calls[id]; c != nil {
		return c, nil
	}
	return nil, protocol.Errorf(protocol.CodeInvalid, "call %d has ended", id)
}

// operation answers one method for a call.
type operation func(ctx context.Context, c *calling, params json.RawMessage) (any, error)

// Handle implements protocol.Handler.
func (o *operations) Handle(ctx context.Context, _ uint64, method string, params json.RawMessage) (any, error) {
	op := o.operation(method)
	if op == nil {
		return nil, &protocol.Error{Code: protocol.CodeUnsupported, Message: fmt.Sprintf("this tow does not know %q", method)}
	}
	var head struct {
		Call uint64 `json:"call"`
	}
	if err := protocol.Decode(params, &head); err != nil {
		return nil, err
	}
	c, err := o.calling(head.Call)
	if err != nil {
		return nil, err
	}
	if !c.enter() {
		return nil, protocol.Errorf(protocol.CodeInvalid, "call %d has ended", head.Call)
	}
	defer c.leave()
	// What is asked for on behalf of a call ends with it.
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stop := context.AfterFunc(c.ctx, func() { cancel(context.Cause(c.ctx)) })
	defer stop()
	result, err := op(ctx, c, params)
	c.met(err)
	if err != nil && ctx.Err() != nil {
		return nil, protocol.Errorf(protocol.CodeCancelled, "%s was cancelled: %v", method, context.Cause(ctx))
	}
	return result, wireError(method, err)
}

func (o *operations) operation(method string) operation {
	switch method {
	case protocol.MethodStepRun:
		return with(o.stepRun)
	case protocol.MethodFileRead:
		return with(o.fileRead)
	case protocol.MethodBlobBegin:
		return with(o.blobBegin)
	case protocol.MethodBlobAppend:
		return with(o.blobAppend)
	case protocol.MethodBlobCommit:
		return with(o.blobCommit)
	case protocol.MethodDirectoryList:
		return with(o.directoryList)
	case protocol.MethodDirectoryGet:
		return with(o.directoryGet)
	case protocol.MethodDirectoryMake:
		return with(o.directoryMake)
	case protocol.MethodDirectoryFilter:
		return with(o.directoryFilter)
	case protocol.MethodReportParse:
		return with(o.reportParse)
	case protocol.MethodToolFind:
		return with(o.toolFind)
	}
	return nil
}

// with makes an operation of a method's function, which takes the parameters of that method.
func with[P any](f func(ctx context.Context, c *calling, p P) (any, error)) operation {
	return func(ctx context.Context, c *calling, params json.RawMessage) (any, error) {
		var p P
		if err := protocol.Decode(params, &p); err != nil {
			return nil, err
		}
		return f(ctx, c, p)
	}
}

// Notify implements protocol.Handler.
func (o *operations) Notify(method string, params json.RawMessage) error {
	if method != protocol.MethodLog {
		return fmt.Errorf("the notification %q is not known", method)
	}
	var p protocol.LogParams
	if err := protocol.Decode(params, &p); err != nil {
		return err
	}
	c, err := o.calling(p.Call)
	if err != nil {
		return nil //nolint:nilerr // the call may have ended while the message was on its way
	}
	c.message(p)
	return nil
}

// wireError gives an error the code that the worker, and the run's exit code, go by.
func wireError(method string, err error) error {
	var pe *protocol.Error
	if err == nil || errors.As(err, &pe) {
		return err
	}
	var (
		notFound *tree.NotFoundError
		conflict *tree.ConflictError
		missing  *executor.MissingInputError
		invalid  *executor.InvalidError
		command  *executor.CommandNotFoundError
		output   *executor.OutputError
		corrupt  *cas.CorruptError
		blobGone *cas.NotFoundError
		hint     = diskHint(err)
		code     = protocol.CodeInternal
	)
	switch {
	case errors.As(err, &notFound):
		code = protocol.CodeNotFound
	case errors.As(err, &conflict), errors.As(err, &invalid):
		code = protocol.CodeInvalid
	case errors.As(err, &command):
		code, hint = protocol.CodeNotFound, commandHint(command)
	case errors.As(err, &output):
		code = protocol.CodeStepFailed
	case errors.As(err, &missing), errors.As(err, &corrupt), errors.As(err, &blobGone):
		code, hint = protocol.CodeInternal, "the store has lost or damaged it: run again, and the stage that made it runs again"
	}
	return &protocol.Error{Code: code, Message: method + ": " + err.Error(), Hint: hint}
}

// commandHint says what to do where a program cannot be started.
func commandHint(e *executor.CommandNotFoundError) string {
	switch {
	case errors.Is(e.Err, syscall.E2BIG):
		return "the system takes no arguments and variables that are so long together: hand them over in a file"
	case errors.Is(e.Err, fs.ErrPermission):
		return "a program has to be a file that is executable (chmod +x), in a folder that everybody may enter"
	case !errors.Is(e.Err, fs.ErrNotExist):
		return ""
	case e.Image:
		return "with an image as its root a step sees the programs of the image, its inputs, and the tools that its stage was given"
	}
	return hintCommand
}

// hintCommand says what a step can run.
const hintCommand = "a step sees only its inputs, the system's own programs (/usr, /bin), and the tools that its stage was given: tool(NAME) finds one in your PATH"

func invalid(format string, args ...any) error {
	return protocol.Errorf(protocol.CodeInvalid, format, args...)
}

func parseDigest(text string) (digest.Digest, error) {
	d, err := digest.Parse(text)
	if err != nil {
		return d, invalid("%v", err)
	}
	return d, nil
}

// checkPath refuses what is no path inside a directory (SPEC.md, section 5). The empty path is the root.
func checkPath(p string) error {
	if p == "" {
		return nil
	}
	if !fs.ValidPath(p) || p == "." || !utf8.ValidString(p) {
		return invalid("%q is no path inside a directory: it must be relative, with /, without . and ..", p)
	}
	return nil
}

func (o *operations) fileRead(ctx context.Context, c *calling, p protocol.FileReadParams) (any, error) {
	d, err := parseDigest(p.File.Digest)
	if err != nil {
		return nil, err
	}
	if p.Offset < 0 || p.Length < 1 || p.Length > protocol.MaxChunk {
		return nil, invalid("cannot read %d bytes from %d: the offset is from 0, the length from 1 to %d", p.Length, p.Offset, protocol.MaxChunk)
	}
	data, eof, err := c.readers.read(ctx, o.e.c.Store, d, p.Offset, p.Length)
	if err != nil {
		return nil, err
	}
	return protocol.FileReadResult{Data: data, EOF: eof}, nil
}

// mounts turns the mounts of a request into those of a tree.
func mounts(list []protocol.Mount) ([]tree.Mount, error) {
	out := make([]tree.Mount, 0, len(list))
	for _, m := range list {
		if err := checkPath(m.Path); err != nil {
			return nil, err
		}
		e, err := entryOf(m.Value)
		if err != nil {
			return nil, err
		}
		if m.Path == "" && e.Kind != tree.KindDirectory {
			return nil, invalid("the root of a tree is a directory, not a file")
		}
		out = append(out, tree.Mount{Path: m.Path, Entry: e})
	}
	return out, nil
}

func entryOf(c protocol.Content) (tree.Entry, error) {
	if c.Directory != nil {
		d, err := parseDigest(c.Directory.Digest)
		return tree.Entry{Kind: tree.KindDirectory, Digest: d}, err
	}
	d, err := parseDigest(c.File.Digest)
	return tree.Entry{Kind: tree.KindFile, Digest: d, Executable: c.File.Executable}, err
}

// wireEntry is the inverse for an entry of a tree.
func wireEntry(e tree.Entry) protocol.Entry {
	out := protocol.Entry{Path: e.Path}
	switch e.Kind {
	case tree.KindDirectory:
		out.Kind = protocol.EntryDirectory
		out.Value = &protocol.Content{Directory: &protocol.Directory{Digest: e.Digest.String()}}
	case tree.KindSymlink:
		out.Kind, out.Target = protocol.EntrySymlink, e.Target
	default:
		out.Kind = protocol.EntryFile
		out.Value = &protocol.Content{File: &protocol.File{Digest: e.Digest.String(), Executable: e.Executable, Name: path.Base(e.Path)}}
	}
	return out
}

// merge lays mounts over each other. All that they name must be in the store: a worker may not make up digests.
func (o *operations) merge(ctx context.Context, list []protocol.Mount) (digest.Digest, error) {
	ms, err := mounts(list)
	if err != nil {
		return digest.Digest{}, err
	}
	named := make([]digest.Digest, len(ms))
	for i, m := range ms {
		named[i] = m.Entry.Digest
	}
	gone, err := o.e.c.Store.Missing(ctx, named)
	if err != nil {
		return digest.Digest{}, err
	}
	if len(gone) > 0 {
		return digest.Digest{}, &cas.NotFoundError{Digest: gone[0]}
	}
	return tree.Merge(ctx, o.e.c.Store, ms)
}

func (o *operations) directoryMake(ctx context.Context, _ *calling, p protocol.DirectoryMakeParams) (any, error) {
	d, err := o.merge(ctx, p.Mounts)
	if err != nil {
		return nil, err
	}
	return protocol.DirectoryMakeResult{Value: protocol.Directory{Digest: d.String()}}, nil
}

func (o *operations) directoryFilter(ctx context.Context, _ *calling, p protocol.DirectoryFilterParams) (any, error) {
	d, err := parseDigest(p.Directory.Digest)
	if err != nil {
		return nil, err
	}
	if _, err := tree.ParseGlobs(p.Globs); err != nil {
		return nil, invalid("%v", err)
	}
	out, err := tree.Filter(ctx, o.e.c.Store, d, p.Globs)
	if err != nil {
		return nil, err
	}
	return protocol.DirectoryFilterResult{Value: protocol.Directory{Digest: out.String()}}, nil
}

func (o *operations) directoryGet(ctx context.Context, _ *calling, p protocol.DirectoryGetParams) (any, error) {
	d, err := parseDigest(p.Directory.Digest)
	if err != nil {
		return nil, err
	}
	if err := checkPath(p.Path); err != nil {
		return nil, err
	}
	e := tree.Entry{Kind: tree.KindDirectory, Digest: d}
	if p.Path != "" {
		if e, err = tree.Lookup(ctx, o.e.c.Store, d, p.Path); err != nil {
			return nil, err
		}
	}
	return protocol.DirectoryGetResult{Entry: wireEntry(e)}, nil
}

func (o *operations) directoryList(ctx context.Context, _ *calling, p protocol.DirectoryListParams) (any, error) {
	d, err := parseDigest(p.Directory.Digest)
	if err != nil {
		return nil, err
	}
	if err := checkPath(p.Path); err != nil {
		return nil, err
	}
	if p.Path != "" {
		e, err := tree.Lookup(ctx, o.e.c.Store, d, p.Path)
		if err != nil {
			return nil, err
		}
		if e.Kind != tree.KindDirectory {
			return nil, invalid("%s is not a directory", p.Path)
		}
		d = e.Digest
	}
	var page []protocol.Entry
	err = tree.Walk(ctx, o.e.c.Store, d, func(e tree.Entry) error {
		switch {
		case e.Path > p.After && len(page) > protocol.MaxEntries:
			return errPageFull
		case e.Path > p.After:
			page = append(page, wireEntry(e))
		}
		// What is below a folder sorts before the folder's name and the character behind "/".
		if e.Kind == tree.KindDirectory && (!p.Recursive || e.Path+"0" <= p.After) {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil && !errors.Is(err, errPageFull) {
		return nil, err
	}
	more := len(page) > protocol.MaxEntries
	if more {
		page = page[:protocol.MaxEntries]
	}
	return protocol.DirectoryListResult{Entries: page, More: more}, nil
}

// errPageFull ends a walk that has more than a page.
var errPageFull = errors.New("the page is full")

func (o *operations) reportParse(ctx context.Context, _ *calling, p protocol.ReportParseParams) (any, error) {
	d, err := parseDigest(p.JUnit.Digest)
	if err != nil {
		return nil, err
	}
	f, err := o.e.c.Store.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	r, err := junit.Parse(f)
	err = errors.Join(err, f.Close())
	if isGone(err) {
		return nil, err
	}
	if err != nil {
		return nil, invalid("read %s as a JUnit report: %v", p.JUnit.Name, err)
	}
	return protocol.ReportParseResult{Value: protocol.TestReport{
		Tests: r.Tests, Failures: r.Failures, Errors: r.Errors, Skipped: r.Skipped, TimeMS: r.Time.Milliseconds(), JUnit: p.JUnit,
	}}, nil
}

func (o *operations) toolFind(ctx context.Context, c *calling, p protocol.ToolFindParams) (any, error) {
	if err := checkToolName(p.Name); err != nil {
		return nil, err
	}
	t, err := o.e.tools.find(ctx, p.Name, "")
	if err != nil {
		return nil, err
	}
	c.give(t)
	return protocol.ToolFindResult{Path: t.Path}, nil
}

// readers keeps the readers of files open between the parts that a stage reads, since files are mostly read from beginning to end.
type readers struct {
	mu   sync.Mutex
	open []*partReader
}

type partReader struct {
	d  digest.Digest
	at int64
	r  io.ReadCloser
}

// maxReaders is how many files of one call are kept open.
const maxReaders = 8

func (rs *readers) read(ctx context.Context, store cas.Store, d digest.Digest, offset int64, length int) (data []byte, eof bool, err error) {
	if offset >= d.Size {
		return nil, true, nil
	}
	pr := rs.take(d, offset)
	if pr == nil {
		// The reader outlives this request, so it must not end with its context.
		r, err := store.Open(context.WithoutCancel(ctx), d)
		if err != nil {
			return nil, false, err
		}
		pr = &partReader{d: d, r: r}
		if n, err := io.CopyN(io.Discard, r, offset); err != nil {
			return nil, false, errors.Join(fmt.Errorf("skip %d bytes: %w", offset-n, err), r.Close())
		}
		pr.at = offset
	}
	buf := make([]byte, min(int64(length), d.Size-offset))
	n, err := io.ReadFull(pr.r, buf)
	pr.at += int64(n)
	if err != nil {
		return nil, false, errors.Join(err, pr.r.Close())
	}
	if pr.at < d.Size {
		rs.put(pr)
		return buf, false, nil
	}
	// Only the end tells whether what was read is what the digest says.
	_, err = pr.r.Read(make([]byte, 1))
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return buf, true, errors.Join(err, pr.r.Close())
}

func (rs *readers) take(d digest.Digest, at int64) *partReader {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for i, pr := range rs.open {
		if pr.d == d && pr.at == at {
			rs.open = slices.Delete(rs.open, i, i+1)
			return pr
		}
	}
	return nil
}

func (rs *readers) put(pr *partReader) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	rs.open = append(rs.open, pr)
	if len(rs.open) > maxReaders {
		_ = rs.open[0].r.Close() // it was only read
		rs.open = slices.Delete(rs.open, 0, 1)
	}
}

func (rs *readers) close() {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, pr := range rs.open {
		_ = pr.r.Close() // it was only read
	}
	rs.open = nil
}
