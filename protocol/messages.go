package protocol

import (
	"encoding/json"
	"slices"
	"strconv"
)

// The methods of the protocol. The engine sends the first group, the worker the
// second. MethodCancel goes both ways and is a notification, as is MethodLog.
const (
	MethodHello     = "hello"
	MethodDescribe  = "describe"
	MethodLoad      = "load"
	MethodStageCall = "stage.call"
	MethodPing      = "ping"
	MethodCancel    = "cancel"

	MethodStepRun         = "step.run"
	MethodFileRead        = "file.read"
	MethodBlobBegin       = "blob.begin"
	MethodBlobAppend      = "blob.append"
	MethodBlobCommit      = "blob.commit"
	MethodDirectoryList   = "directory.list"
	MethodDirectoryGet    = "directory.get"
	MethodDirectoryMake   = "directory.make"
	MethodDirectoryFilter = "directory.filter"
	MethodReportParse     = "report.parse"
	MethodToolFind        = "tool.find"
	MethodLog             = "log"
)

// The features of MethodStepRun that an engine names as capabilities. An SDK does
// not use one that is missing, since an older engine would ignore what asks for it.
const (
	FeatureNetwork = "step.run:network"
	FeatureRoot    = "step.run:root"
	FeatureLimits  = "step.run:limits"
)

// FDsVariable is the environment variable that names the worker's file
// descriptors, as "READ,WRITE".
const FDsVariable = "TOWPATH_FDS"

// VersionRange is the versions that an engine speaks, both ends included.
type VersionRange struct {
	Min int `json:"min"`
	Max int `json:"max"`
}

// EngineInfo names the engine.
type EngineInfo struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// SDKInfo names the SDK of a worker.
type SDKInfo struct {
	Language string `json:"language"` // "python" or "go"
	Version  string `json:"version"`
	Runtime  string `json:"runtime"` // the language runtime as far as results depend on it, such as "go1.26"
}

// HelloParams opens a connection.
type HelloParams struct {
	Protocol     VersionRange `json:"protocol"`
	Engine       EngineInfo   `json:"engine"`
	Capabilities List[string] `json:"capabilities"` // methods and features that the engine answers
}

// HelloResult is the worker's side of the handshake.
type HelloResult struct {
	Protocol     int          `json:"protocol"` // the highest version that both know
	SDK          SDKInfo      `json:"sdk"`
	Capabilities List[string] `json:"capabilities"`
}

// DescribeParams asks for the plan of a program.
type DescribeParams struct {
	Program string `json:"program"` // absolute path of the program
	Root    string `json:"root"`    // absolute path that globs and sites are relative to
}

// DescribeResult is the plan of a program and what it was made from.
type DescribeResult struct {
	// Plan is kept as it was sent, so that its canonical form can be taken of
	// exactly that. DecodePlan reads it.
	Plan    json.RawMessage     `json:"plan"`
	Sites   Map[Site]           `json:"sites"` // by stage
	Files   List[ProgramFile]   `json:"files"` // in Go, what was read through the SDK; the engine knows the sources
	Folders List[ProgramFolder] `json:"folders"`
}

// ProgramFile is a file that a program read, or tried to.
type ProgramFile struct {
	Path   string `json:"path"`             // absolute
	Digest string `json:"digest,omitempty"` // "HASH/SIZE"; empty where there was no such file
}

// ProgramFolder is a folder that a program listed.
type ProgramFolder struct {
	Path   string       `json:"path"`  // absolute
	Names  List[string] `json:"names"` // sorted by bytes
	Filter string       `json:"filter"`
}

// FilterImports is the ProgramFolder.Filter of a folder that only an import
// system listed.
const FilterImports = "imports"

// LoadParams asks a worker to load a program without describing it.
type LoadParams struct {
	Program string `json:"program"`
	Root    string `json:"root"`
}

// LoadResult names what loading read and listed.
type LoadResult struct {
	Files   List[ProgramFile]   `json:"files"`
	Folders List[ProgramFolder] `json:"folders"`
}

// StageCallParams asks a worker to call the function of a stage.
type StageCallParams struct {
	Stage    string               `json:"stage"` // name of the node, or of its element: "test[os=linux][0]"
	Function string               `json:"function"`
	Inputs   Map[json.RawMessage] `json:"inputs"` // values by name
}

// StageCallResult is what the function returned.
type StageCallResult struct {
	Value   json.RawMessage     `json:"value"`
	Files   List[ProgramFile]   `json:"files"`   // read since describe
	Folders List[ProgramFolder] `json:"folders"` // listed since describe
}

// UnmarshalJSON reads the result. One without a value, which is not the same as
// one whose value is null, is a *ViolationError.
func (r *StageCallResult) UnmarshalJSON(data []byte) error {
	type plain StageCallResult // without this method
	var result plain
	if err := json.Unmarshal(data, &result); err != nil {
		return err
	}
	if result.Value == nil {
		return violation("the result of %s has no value", MethodStageCall)
	}
	*r = StageCallResult(result)
	return nil
}

// PingParams asks whether the peer is alive.
type PingParams struct{}

// PingResult is the answer of a peer that is alive.
type PingResult struct{}

// CancelParams asks the peer to stop working on a request of the sender.
type CancelParams struct {
	ID uint64 `json:"id"`
}

// Mount is content at a path of a workspace or directory.
type Mount struct {
	Path  string  `json:"path"` // relative, with "/"; "" is the root and takes a directory
	Value Content `json:"value"`
}

// EntryKind tells what an Entry is.
type EntryKind string

// The kinds of entries.
const (
	EntryFile      EntryKind = "file"
	EntryDirectory EntryKind = "directory"
	EntrySymlink   EntryKind = "symlink"
)

// Entry is one path of a directory or one output of a step.
type Entry struct {
	Path   string    `json:"path"` // relative, with "/"
	Kind   EntryKind `json:"kind"`
	Value  *Content  `json:"value,omitempty"`  // nil for a symlink
	Target string    `json:"target,omitempty"` // of a symlink
}

// OK is the exit codes that a stage accepts. Its zero value accepts 0 only.
type OK struct {
	Codes []int
	Any   bool // every code is accepted; Codes is ignored
}

// Accepts reports whether the stage accepts the exit code.
func (o OK) Accepts(code int) bool {
	return o.Any || len(o.Codes) == 0 && code == 0 || slices.Contains(o.Codes, code)
}

// MarshalJSON writes "any" or the list of codes.
func (o OK) MarshalJSON() ([]byte, error) {
	if o.Any {
		return []byte(`"any"`), nil
	}
	if len(o.Codes) == 0 {
		return []byte("[0]"), nil
	}
	return json.Marshal(o.Codes)
}

// UnmarshalJSON reads "any" or a list of codes.
func (o *OK) UnmarshalJSON(data []byte) error {
	if string(data) == `"any"` {
		*o = OK{Any: true}
		return nil
	}
	var codes []int
	if err := json.Unmarshal(data, &codes); err != nil {
		return err
	}
	if len(codes) == 0 {
		return Errorf(CodeInvalid, "ok is empty: no exit code would be accepted")
	}
	*o = OK{Codes: codes}
	return nil
}

// StepRunParams runs one command in a fresh workspace.
type StepRunParams struct {
	Call    uint64       `json:"call"`
	Args    List[string] `json:"args"`
	Tree    List[Mount]  `json:"tree"`
	Cwd     string       `json:"cwd"` // folder of the workspace; "" is its root
	Env     Map[string]  `json:"env"`
	Outputs List[string] `json:"outputs"` // paths or globs, relative to the workspace
	OK      OK           `json:"ok"`
	Network bool         `json:"network,omitempty"` // the step may use the network
	Root    *Directory   `json:"root,omitempty"`    // unpacked image in place of the machine's toolchain
	Limits  *StepLimits  `json:"limits,omitempty"`
}

// Features returns the capabilities that the step needs besides its method.
func (p StepRunParams) Features() []string {
	var out []string
	if p.Network {
		out = append(out, FeatureNetwork)
	}
	if p.Root != nil {
		out = append(out, FeatureRoot)
	}
	if p.Limits != nil {
		out = append(out, FeatureLimits)
	}
	return out
}

// StepLimits bound what a step may use. What is left out or 0 is not limited.
type StepLimits struct {
	CPUs   float64 `json:"cpus,omitempty"`   // processors' worth of time
	Memory int64   `json:"memory,omitempty"` // in bytes, of all processes of the step together
	PIDs   int64   `json:"pids,omitempty"`   // processes and threads at once
	Output int64   `json:"output,omitempty"` // in bytes, of what it prints and its outputs together
}

// UnmarshalJSON reads the limits and refuses negative ones.
func (l *StepLimits) UnmarshalJSON(data []byte) error {
	type plain StepLimits // without this method
	var limits plain
	if err := json.Unmarshal(data, &limits); err != nil {
		return err
	}
	if limits.CPUs < 0 || limits.Memory < 0 || limits.PIDs < 0 || limits.Output < 0 {
		return Errorf(CodeInvalid, "limits: a limit cannot be negative: %s", data)
	}
	*l = StepLimits(limits)
	return nil
}

// StepRunResult is a step that ended with an exit code that is accepted.
type StepRunResult struct {
	ExitCode int         `json:"exit_code"`
	Cached   bool        `json:"cached"` // the command did not run
	Stdout   File        `json:"stdout"`
	Stderr   File        `json:"stderr"`
	Outputs  List[Entry] `json:"outputs"` // one for each path that matched
	Tree     Directory   `json:"tree"`    // all outputs
}

// FileReadParams reads a part of a file.
type FileReadParams struct {
	Call   uint64 `json:"call"`
	File   File   `json:"file"`
	Offset int64  `json:"offset"` // in bytes
	Length int    `json:"length"` // in bytes, 1 to MaxChunk
}

// FileReadResult is a part of a file.
type FileReadResult struct {
	Data Data `json:"data"`
	EOF  bool `json:"eof"` // nothing follows
}

// BlobBeginParams begins to store a file.
type BlobBeginParams struct {
	Call uint64 `json:"call"`
}

// BlobBeginResult names the file that was begun.
type BlobBeginResult struct {
	Blob uint64 `json:"blob"`
}

// BlobAppendParams adds bytes to a file that was begun.
type BlobAppendParams struct {
	Call uint64 `json:"call"`
	Blob uint64 `json:"blob"`
	Data Data   `json:"data"` // at most MaxChunk bytes
}

// BlobAppendResult says that the bytes were taken.
type BlobAppendResult struct{}

// BlobCommitParams ends a file that was begun.
type BlobCommitParams struct {
	Call       uint64 `json:"call"`
	Blob       uint64 `json:"blob"`
	Name       string `json:"name"`
	Executable bool   `json:"executable"`
}

// BlobCommitResult is the stored file.
type BlobCommitResult struct {
	Value File `json:"value"`
}

// DirectoryListParams lists one page of a directory.
type DirectoryListParams struct {
	Call      uint64    `json:"call"`
	Directory Directory `json:"directory"`
	Path      string    `json:"path"` // inside the directory; "" is the directory itself
	Recursive bool      `json:"recursive"`
	After     string    `json:"after"` // the last path of the page before, or ""
}

// DirectoryListResult is one page of a directory, sorted by path.
type DirectoryListResult struct {
	Entries List[Entry] `json:"entries"` // at most MaxEntries
	More    bool        `json:"more"`
}

// DirectoryGetParams looks one path up.
type DirectoryGetParams struct {
	Call      uint64    `json:"call"`
	Directory Directory `json:"directory"`
	Path      string    `json:"path"`
}

// DirectoryGetResult is what the path names.
type DirectoryGetResult struct {
	Entry Entry `json:"entry"`
}

// DirectoryMakeParams makes a directory of mounts, merged in order.
type DirectoryMakeParams struct {
	Call   uint64      `json:"call"`
	Mounts List[Mount] `json:"mounts"`
}

// DirectoryMakeResult is the directory that was made.
type DirectoryMakeResult struct {
	Value Directory `json:"value"`
}

// DirectoryFilterParams keeps the paths that match one of the globs.
type DirectoryFilterParams struct {
	Call      uint64       `json:"call"`
	Directory Directory    `json:"directory"`
	Globs     List[string] `json:"globs"`
}

// DirectoryFilterResult is the directory that is left.
type DirectoryFilterResult struct {
	Value Directory `json:"value"`
}

// ReportParseParams reads a JUnit file.
type ReportParseParams struct {
	Call  uint64 `json:"call"`
	JUnit File   `json:"junit"`
}

// ReportParseResult is the report.
type ReportParseResult struct {
	Value TestReport `json:"value"`
}

// ToolFindParams looks a program up in the engine's PATH; an absolute path is
// taken as it is.
type ToolFindParams struct {
	Call uint64 `json:"call"`
	Name string `json:"name"`
}

// ToolFindResult is the real file of the program.
type ToolFindResult struct {
	Path string `json:"path"` // absolute
}

// LogLevel is the weight of a log line.
type LogLevel string

// The levels of log lines.
const (
	LogDebug   LogLevel = "debug"
	LogInfo    LogLevel = "info"
	LogWarning LogLevel = "warning"
	LogError   LogLevel = "error"
)

// LogParams is one log line.
type LogParams struct {
	Call    uint64               `json:"call"`
	Level   LogLevel             `json:"level"`
	Message string               `json:"message"` // at most MaxMessage bytes
	Fields  Map[json.RawMessage] `json:"fields"`  // at most MaxFields bytes in canonical JSON; CutFields
}

// ElementName returns the name of element i, counted from 0, of a fanned-out
// stage.
func ElementName(stage string, i int) string {
	return stage + "[" + strconv.Itoa(i) + "]"
}
