package executor

import (
	"cmp"
	"fmt"
	"path"
	"runtime"
	"slices"
	"strings"
	"unicode/utf8"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/proto"

	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/tree"
)

// EnvVar is a variable of a command's environment.
type EnvVar struct {
	Name, Value string
}

// Property is a requirement on the machine that runs an action.
type Property struct {
	Name, Value string
}

// Names of the properties that NewAction and Platform make.
const (
	// IsolationProperty holds Executor.Isolation.
	IsolationProperty = "towpath-isolation"
	// NetworkProperty is "host" where Command.Network is set, and is not there otherwise.
	NetworkProperty = "towpath-network"
	// RootProperty holds Command.Root where that is set.
	RootProperty = "towpath-root"
	// LimitsProperty holds Command.Limits where there are some.
	LimitsProperty = "towpath-limits"
	// ToolPrefix begins the properties of Command.Tools; the name of the tool follows.
	ToolPrefix = "towpath-tool:"
)

// Tool is a program of the machine that a command runs or was given.
type Tool struct {
	// Name is what it was looked up as, Path the real file, and Digest what is in it.
	Name, Path string
	Digest     digest.Digest
}

// Command is what is run.
type Command struct {
	// Args is the program and its arguments.
	Args []string
	// Env holds the declared variables.
	Env []EnvVar
	// Cwd is the folder in which the command starts, relative to the workspace; empty is the workspace itself.
	Cwd string
	// Outputs are paths, or globs as tree.Globs has them, relative to the workspace. None of them begins with "!".
	Outputs []string
	// Network tells that the command may use the machine's network. Without it there is none, where the executor can hold that.
	Network bool
	// Root is the directory of an unpacked image that takes the place of the machine's toolchain; zero is the machine's.
	Root digest.Digest
	// Tools are the programs of the machine that the command may run besides those of the toolchain.
	Tools []Tool
	// Limits bound what the command may use.
	Limits Limits
}

// Action is a command with everything that its result depends on. NewAction makes them.
type Action struct {
	Command
	// InputRoot is the directory that the workspace starts with.
	InputRoot digest.Digest
	Platform  []Property
}

// BaseEnv returns the variables that every command has unless it declares them otherwise. They are constants, and part of
// the action:
//
//   - PATH is the usual one of a login, without anything of a user's own;
//   - LANG and TZ make messages, sorting and times the same everywhere;
//   - SOURCE_DATE_EPOCH (reproducible-builds.org) is the first moment of 1980, the earliest that every archive format can
//     hold, zip and therefore wheels included.
func BaseEnv() []EnvVar {
	return []EnvVar{
		{"LANG", "C.UTF-8"},
		{"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		{"SOURCE_DATE_EPOCH", "315532800"},
		{"TZ", "UTC"},
	}
}

// Platform returns the properties of this machine, by the lexicon of the Remote Execution API, with the isolation of an
// executor.
func Platform(isolation string) []Property {
	family := runtime.GOOS
	if family == "darwin" {
		family = "macos"
	}
	isa := runtime.GOARCH
	switch isa {
	case "amd64":
		isa = "x86-64"
	case "arm64":
		isa = "arm-a64"
	}
	return []Property{{"ISA", isa}, {"OSFamily", family}, {IsolationProperty, isolation}}
}

// NewAction checks a command and brings everything into the canonical form in which equal actions have equal digests:
// variables completed by BaseEnv, sorted by name; outputs sorted and named once; properties sorted. What is wrong is an
// *InvalidError.
//
// A declared variable takes precedence over BaseEnv. HOME and TMPDIR cannot be declared: a value that holds for every
// execution could only name a folder that they share.
func NewAction(c Command, inputRoot digest.Digest, platform []Property) (Action, error) {
	if err := c.check(); err != nil {
		return Action{}, err
	}
	if inputRoot.IsZero() {
		return Action{}, &InvalidError{"input root", "there is none"}
	}
	a := Action{InputRoot: inputRoot, Platform: slices.Clone(platform)}
	a.Args = slices.Clone(c.Args)
	a.Cwd, a.Network, a.Root, a.Limits = c.Cwd, c.Network, c.Root, c.Limits
	a.Tools = slices.Clone(c.Tools)
	slices.SortFunc(a.Tools, compareTools)
	a.Tools = slices.Compact(a.Tools)
	a.Platform = append(a.Platform, c.properties()...)
	for _, output := range c.Outputs {
		a.Outputs = append(a.Outputs, cleanOutput(output))
	}
	slices.Sort(a.Outputs)
	a.Outputs = slices.Compact(a.Outputs)
	slices.SortFunc(a.Platform, func(p, q Property) int {
		return cmp.Or(strings.Compare(p.Name, q.Name), strings.Compare(p.Value, q.Value))
	})
	a.Env = slices.Clone(c.Env)
	for _, base := range BaseEnv() {
		if !slices.ContainsFunc(c.Env, func(v EnvVar) bool { return v.Name == base.Name }) {
			a.Env = append(a.Env, base)
		}
	}
	slices.SortFunc(a.Env, func(v, w EnvVar) int { return strings.Compare(v.Name, w.Name) })
	for i := 1; i < len(a.Env); i++ {
		if a.Env[i].Name == a.Env[i-1].Name {
			return Action{}, &InvalidError{"env", fmt.Sprintf("%s is declared twice", a.Env[i].Name)}
		}
	}
	return a, nil
}

func compareTools(t, u Tool) int {
	return cmp.Or(strings.Compare(t.Name, u.Name), strings.Compare(t.Path, u.Path), strings.Compare(t.Digest.String(), u.Digest.String()))
}

// properties returns what of a command the messages of the Remote Execution API have no field for.
func (c Command) properties() []Property {
	var out []Property
	if c.Network {
		out = append(out, Property{NetworkProperty, "host"})
	}
	if !c.Root.IsZero() {
		out = append(out, Property{RootProperty, c.Root.String()})
	}
	if text := c.Limits.String(); text != "" {
		out = append(out, Property{LimitsProperty, text})
	}
	for _, t := range c.Tools {
		out = append(out, Property{ToolPrefix + t.Name, t.Path + " " + t.Digest.String()})
	}
	return out
}

func (c Command) check() error {
	if len(c.Args) == 0 || c.Args[0] == "" {
		return &InvalidError{"args", "there is no program"}
	}
	for _, arg := range c.Args {
		if !isText(arg) {
			return &InvalidError{"args", fmt.Sprintf("%q is not UTF-8 without NUL", arg)}
		}
	}
	for _, v := range c.Env {
		switch {
		case v.Name == "" || strings.Contains(v.Name, "=") || !isText(v.Name):
			return &InvalidError{"env", fmt.Sprintf("%q is not the name of a variable", v.Name)}
		case !isText(v.Value):
			return &InvalidError{"env", fmt.Sprintf("the value of %s is not UTF-8 without NUL", v.Name)}
		case v.Name == "HOME" || v.Name == "TMPDIR":
			return &InvalidError{"env", v.Name + " is a private folder of every execution and cannot be declared"}
		}
	}
	if c.Cwd != "" && !isInside(c.Cwd) {
		return &InvalidError{"cwd", fmt.Sprintf("%q is not a path below the workspace", c.Cwd)}
	}
	for _, output := range c.Outputs {
		if cleanOutput(output) == "." || output == "./" {
			return &InvalidError{"outputs", fmt.Sprintf("%q is the workspace itself: ** takes everything in it", output)}
		}
		if !isInside(cleanOutput(output)) || strings.HasPrefix(output, "!") {
			return &InvalidError{"outputs", fmt.Sprintf("%q is not a path below the workspace", output)}
		}
		if _, err := tree.ParseGlobs([]string{output}); err != nil {
			return &InvalidError{"outputs", err.Error()}
		}
	}
	return c.Limits.check()
}

// cleanOutput takes away what means nothing: "./dist/" is "dist".
func cleanOutput(output string) string {
	return strings.TrimSuffix(strings.TrimPrefix(output, "./"), "/")
}

func isText(s string) bool { return utf8.ValidString(s) && !strings.Contains(s, "\x00") }

// isInside tells whether p is relative, with slashes, without ".", ".." or empty parts.
func isInside(p string) bool {
	return isText(p) && p != "." && p != ".." && !strings.HasPrefix(p, "/") && !strings.HasPrefix(p, "../") && path.Clean(p) == p
}

// Lookup returns the value of a variable of the action.
func (a Action) Lookup(name string) (value string, ok bool) {
	i, ok := slices.BinarySearchFunc(a.Env, name, func(v EnvVar, name string) int { return strings.Compare(v.Name, name) })
	if !ok {
		return "", false
	}
	return a.Env[i].Value, true
}

// CheckIsolation returns an *InvalidError unless the action asks for the isolation of an executor. Execute begins with it.
func (a Action) CheckIsolation(isolation string) error {
	for _, p := range a.Platform {
		if p.Name == IsolationProperty && p.Value != isolation {
			return &InvalidError{"platform", fmt.Sprintf("the action is for isolation %q, this executor has %q", p.Value, isolation)}
		}
	}
	if !slices.Contains(a.Platform, Property{IsolationProperty, isolation}) {
		return &InvalidError{"platform", fmt.Sprintf("the action does not ask for isolation %q", isolation)}
	}
	return nil
}

// Digest returns the digest of the Action message, which is the key of the step.
func (a Action) Digest() digest.Digest {
	_, _, d := a.Encode()
	return d
}

// Encode returns the Action and Command messages of the Remote Execution API v2 in canonical form, and the digest of the
// former. Both belong into the store before a remote executor runs the action.
func (a Action) Encode() (action, command []byte, d digest.Digest) {
	command = marshal(a.commandProto())
	action = marshal(a.actionProto(digest.OfBytes(command)))
	return action, command, digest.OfBytes(action)
}

// commandProto returns the Command message. Output paths are relative to the working directory there, unlike here.
func (a Action) commandProto() *repb.Command {
	m := &repb.Command{Arguments: a.Args, WorkingDirectory: a.Cwd}
	for _, v := range a.Env {
		m.EnvironmentVariables = append(m.EnvironmentVariables, &repb.Command_EnvironmentVariable{Name: v.Name, Value: v.Value})
	}
	for _, output := range a.Outputs {
		m.OutputPaths = append(m.OutputPaths, relative(a.Cwd, output))
	}
	slices.Sort(m.OutputPaths)
	return m
}

func (a Action) actionProto(command digest.Digest) *repb.Action {
	m := &repb.Action{CommandDigest: digestProto(command), InputRootDigest: digestProto(a.InputRoot)}
	if len(a.Platform) > 0 {
		m.Platform = &repb.Platform{}
	}
	for _, p := range a.Platform {
		m.Platform.Properties = append(m.Platform.Properties, &repb.Platform_Property{Name: p.Name, Value: p.Value})
	}
	return m
}

func digestProto(d digest.Digest) *repb.Digest {
	return &repb.Digest{Hash: d.Hex(), SizeBytes: d.Size}
}

// marshal returns the canonical form of a message. It fails only on strings that are not UTF-8, which NewAction refuses.
func marshal(m proto.Message) []byte {
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
	if err != nil {
		panic(fmt.Sprintf("executor: an action that NewAction has not made: %v", err))
	}
	return b
}

// relative returns the path from the folder cwd to p, both relative to the workspace and clean. What cwd and p share are
// only whole names, as a glob may begin with a name but not with a part of one.
func relative(cwd, p string) string {
	if cwd == "" {
		return p
	}
	from, to := strings.Split(cwd, "/"), strings.Split(p, "/")
	shared := 0
	for shared < len(from) && shared < len(to)-1 && from[shared] == to[shared] {
		shared++
	}
	return strings.Repeat("../", len(from)-shared) + strings.Join(to[shared:], "/")
}
