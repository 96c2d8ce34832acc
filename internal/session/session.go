package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"

	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/plan"
	"github.com/towpath/towpath/protocol"
)

// Config is what sessions need of their surroundings.
type Config struct {
	CacheDir string
	// Python is the interpreter of Python programs, a path or a name in PATH; empty: python3.
	Python string
	// Version is that of tow.
	Version string
	// Lookup is os.LookupEnv or its like.
	Lookup func(string) (string, bool)
	// Digest returns the digest of a regular file; fs.ErrNotExist where there is none.
	Digest func(ctx context.Context, path string) (digest.Digest, error)
	// PythonSDK and GoSDK are the SDKs that travel with tow.
	PythonSDK, GoSDK fs.FS
	// Handler answers the worker; nil where no stage will be called.
	Handler protocol.Handler
	// Output is told the lines that the program prints, those of both streams at once; it may be nil.
	Output func(stream, line string)

	patience patience // usualPatience where it is zero
}

// Session is a program with its plan.
type Session struct {
	Program Program
	// Graph is the program's graph, checked.
	Graph *plan.Graph
	// PlanText is the plan in canonical JSON.
	PlanText []byte
	// Manifest is what the program consists of, and Digest names it in stage keys.
	Manifest plan.Manifest
	Digest   digest.Digest
	// FromCache tells that the program was not asked.
	FromCache bool

	config Config
	record *record
	worker *Worker
}

// Open describes a program: from the record of the last time when nothing that it was made from has changed, else by asking it. A program
// that is wrong has an *Error or a *plan.Error. The caller closes the session.
func Open(ctx context.Context, p Program, c Config) (*Session, error) {
	s := &Session{Program: p, config: c}
	if c.Handler == nil {
		s.config.Handler = refuse{}
	}
	sdk, err := sdkDigest(c.sdkOf(p.Language))
	if err != nil {
		return nil, fmt.Errorf("read the SDK inside tow: %w", err)
	}
	env := c.workerEnv()
	before := c.readRecord(p)
	if before != nil {
		why, err := c.changed(ctx, p, before, sdk.String(), env)
		if err != nil {
			return nil, err
		}
		if why == "" {
			if p.Language == Go {
				_ = touch(before.Runtime.Executable) // else it may have to be compiled again one day
			}
			s.record, s.FromCache = before, true
			if err := s.adopt(); err != nil {
				return nil, err
			}
			return s, nil
		}
	}
	if err := s.describe(ctx, before, sdk.String(), env); err != nil {
		s.Close()
		return nil, err
	}
	if err := s.adopt(); err != nil {
		s.Close()
		return nil, err
	}
	// Remembered only once it is known to be valid, so that a wrong program is asked, and heard, each time.
	if err := c.writeRecord(p, s.record); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (c Config) sdkOf(l Language) fs.FS {
	if l == Go {
		return c.GoSDK
	}
	return c.PythonSDK
}

// workerEnv is the environment of a program. It is in no stage key: what could steer a result is the same everywhere, as it is for steps. The others
// are where programs, folders and the user are, without which tools do not start. They are another on every machine, and what a program finds by
// them is noted where it matters: the tools that a stage asks for, the files that it reads. A program that they lead to another plan is asked again.
func (c Config) workerEnv() []string {
	env := []string{"LANG=C.UTF-8", "TZ=UTC"}
	for _, name := range []string{"PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "SystemRoot"} {
		if v, ok := c.Lookup(name); ok {
			env = append(env, name+"="+v)
		}
	}
	return env
}

// adopt takes the graph and the digest over from the record.
func (s *Session) adopt() error {
	p, err := protocol.DecodePlan(s.record.plan)
	if err != nil {
		return &Error{Text: fmt.Sprintf("the plan of %s cannot be read: %v", s.Program.Name(), err)}
	}
	if s.Graph, err = plan.New(p, s.record.Sites); err != nil {
		return err
	}
	s.PlanText, s.Manifest = s.record.plan, s.record.Manifest
	doc, err := s.Manifest.Document()
	if err != nil {
		return fmt.Errorf("name the files of the pipeline program: %w", err)
	}
	s.Digest = digest.OfBytes(doc)
	return nil
}

// describe starts the program and asks it for its plan. What is known from before spares looking for the interpreter again.
func (s *Session) describe(ctx context.Context, before *record, sdk string, env []string) error {
	r := &record{SDK: sdk, Env: env}
	var sources goSources // nothing for other languages
	var err error
	switch {
	case s.Program.Language == Go:
		if sources, err = s.config.goSources(ctx, s.Program); err == nil {
			r.Runtime, err = s.config.buildGo(ctx, s.Program, sources)
		}
	case before != nil && before.Runtime.valid(s.config.asked(Python), s.config.Lookup):
		r.Runtime = before.Runtime
	default:
		r.Runtime, err = s.config.findPython(ctx, s.Program)
	}
	if err != nil {
		return err
	}
	if s.worker, err = s.start(ctx, r.Runtime); err != nil {
		return s.explain(err)
	}
	d, err := s.worker.describe(ctx)
	if err != nil {
		return s.explain(err)
	}
	if r.plan, err = protocol.Canonicalize(d.Plan); err != nil {
		return &Error{Text: fmt.Sprintf("%s sent a plan that is no canonical JSON: %v", s.Program.Name(), err)}
	}
	r.Sites = d.Sites
	for name, at := range r.Sites {
		r.Sites[name] = sources.place(s.Program, at)
	}
	made := slices.Concat(sources.files, d.Files)
	r.Files, r.Folders = slices.Concat(made, sources.settings), sources.folders
	for _, f := range d.Folders {
		r.Folders = append(r.Folders, folder{Path: f.Path, Filter: f.Filter, Names: listedNames(f)})
	}
	r.Manifest = manifest(s.Program, r.Runtime.Version, made)
	s.record = r
	return nil
}

func (s *Session) start(ctx context.Context, r runtimeInfo) (*Worker, error) {
	c := command{args: []string{r.Executable}, dir: s.Program.Root, env: s.config.workerEnv(), patience: s.config.patience}
	if c.patience == (patience{}) {
		c.patience = usualPatience()
	}
	if s.Program.Language == Python {
		sdk, err := unpack(s.config.CacheDir, "python", s.config.PythonSDK)
		if err != nil {
			return nil, err
		}
		c.args = pythonCommand(r.Executable, sdk)
	}
	return start(ctx, s.Program, c, s.config.Version, s.config.Handler, s.config.Output)
}

// Worker returns the process of the program with the program loaded, and starts it when there is none. It is not safe for concurrent use. A
// program that is not any more what was described is an *Error.
func (s *Session) Worker(ctx context.Context) (*Worker, error) {
	if s.worker == nil {
		w, err := s.start(ctx, s.record.Runtime)
		if err != nil {
			return nil, s.explain(err)
		}
		s.worker = w
	}
	if s.worker.loaded {
		return s.worker, nil
	}
	files, err := s.worker.load(ctx)
	if err != nil {
		return nil, s.explain(err)
	}
	if name, same := sameFiles(s.Program, s.Manifest, files); !same {
		return nil, &Error{Text: fmt.Sprintf("%s was changed while it was being run", name), Hint: "run again"}
	}
	return s.worker, nil
}

// Close ends the process of the program, if there is one.
func (s *Session) Close() {
	if s.worker != nil {
		s.worker.Close()
		s.worker = nil
	}
}

// explain turns what a worker answered to hello, describe and load into an *Error where it is the program's fault.
func (s *Session) explain(err error) error {
	if pe, ok := errors.AsType[*protocol.Error](err); ok {
		if pe.Code == protocol.CodeInternal || pe.Code == protocol.CodeUnsupported || pe.Code == protocol.CodeCancelled {
			return fmt.Errorf("describe %s: %w", s.Program.Name(), err)
		}
		e := &Error{Text: pe.Message, Hint: pe.Hint, Trace: pe.Trace}
		if pe.Site != nil && !startsWithSite(pe.Message) {
			e.File, e.Line = pe.Site.File, pe.Site.Line
		}
		return e
	}
	if lost, ok := errors.AsType[*LostError](err); ok {
		return &Error{
			Text: fmt.Sprintf("%s could not be loaded: %v", s.Program.Name(), err), Trace: lost.Output,
			Hint: "loading a pipeline only declares stages; it must not exit, nor wait for something",
		}
	}
	return err
}

var siteBefore = regexp.MustCompile(`^\S[^:\n]*:\d+: `)

// startsWithSite tells whether a message names its places itself, as one that lists several problems does.
func startsWithSite(message string) bool {
	return siteBefore.MatchString(message)
}

// Reads is what a stage's function read besides what was declared, by names as in manifests.
type Reads struct {
	Files   []ReadFile   `json:"files,omitempty"`
	Folders []ReadFolder `json:"folders,omitempty"`
}

// ReadFile is a file; its Digest is empty where there was none.
type ReadFile struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
}

// ReadFolder is a folder that was listed.
type ReadFolder struct {
	Name   string        `json:"name"`
	Filter string        `json:"filter,omitempty"`
	Names  digest.Digest `json:"names"`
}

// Late returns what a call reported: what the program has read since it was described, and that is not part of the manifest.
func (s *Session) Late(result protocol.StageCallResult) Reads {
	var out Reads
	for _, f := range result.Files {
		name := s.Program.relative(f.Path)
		if then, ok := s.Manifest.Files[name]; !ok || then != f.Digest {
			out.Files = append(out.Files, ReadFile{Name: name, Digest: f.Digest})
		}
	}
	for _, f := range result.Folders {
		out.Folders = append(out.Folders, ReadFolder{Name: s.Program.relative(f.Path), Filter: f.Filter, Names: listedNames(f)})
	}
	return out
}

// Changed returns the first of the files and folders that is not any more as it was when it was read, or "".
func (s *Session) Changed(ctx context.Context, r Reads) (string, error) {
	for _, f := range r.Files {
		now, err := s.config.digestFile(ctx, s.Program.absolute(f.Name))
		if err != nil {
			return "", err
		}
		if now != f.Digest {
			return f.Name, nil
		}
	}
	for _, f := range r.Folders {
		if listing(s.Program.absolute(f.Name), f.Filter) != f.Names {
			return "the list of files in " + f.Name, nil
		}
	}
	return "", nil
}

// SDKPath unpacks the SDK of a language and returns the folder to put on its path.
func (c Config) SDKPath(l Language) (string, error) {
	return unpack(c.CacheDir, string(l), c.sdkOf(l))
}

// refuse is the handler of a session that calls no stage.
type refuse struct{}

func (refuse) Handle(context.Context, uint64, string, json.RawMessage) (any, error) {
	return nil, protocol.Errorf(protocol.CodeInvalid, "no stage is being called")
}

func (refuse) Notify(method string, _ json.RawMessage) error {
	if method != protocol.MethodLog {
		return errors.New("it is not known")
	}
	return nil // of no call
}
