package executor

import (
	"fmt"
	"strings"

	repb "github.com/bazelbuild/remote-apis/build/bazel/remote/execution/v2"
	"google.golang.org/protobuf/proto"

	"github.com/towpath/towpath/internal/digest"
)

// DecodeAction reads an Action message that Encode has made, and returns the digest of the Command message that belongs to it.
func DecodeAction(b []byte) (command digest.Digest, err error) {
	var m repb.Action
	if err := proto.Unmarshal(b, &m); err != nil {
		return digest.Digest{}, fmt.Errorf("read an action: %w", err)
	}
	return digestOf(m.GetCommandDigest())
}

// Decode is the inverse of Encode.
func Decode(action, command []byte) (Action, error) {
	var am repb.Action
	if err := proto.Unmarshal(action, &am); err != nil {
		return Action{}, fmt.Errorf("read an action: %w", err)
	}
	var cm repb.Command
	if err := proto.Unmarshal(command, &cm); err != nil {
		return Action{}, fmt.Errorf("read the command of an action: %w", err)
	}
	root, err := digestOf(am.GetInputRootDigest())
	if err != nil {
		return Action{}, err
	}
	c := Command{Args: cm.GetArguments(), Cwd: cm.GetWorkingDirectory()}
	for _, v := range cm.GetEnvironmentVariables() {
		c.Env = append(c.Env, EnvVar{v.GetName(), v.GetValue()})
	}
	for _, output := range cm.GetOutputPaths() {
		c.Outputs = append(c.Outputs, absolute(c.Cwd, output))
	}
	var platform []Property
	for _, p := range am.GetPlatform().GetProperties() {
		known, err := c.take(p.GetName(), p.GetValue())
		if err != nil {
			return Action{}, fmt.Errorf("read an action: property %s: %w", p.GetName(), err)
		}
		if !known {
			platform = append(platform, Property{p.GetName(), p.GetValue()})
		}
	}
	return NewAction(c, root, platform)
}

// take is the inverse of properties for one of them, and tells whether it is one of theirs.
func (c *Command) take(name, value string) (known bool, err error) {
	switch {
	case name == NetworkProperty:
		c.Network = true
	case name == RootProperty:
		c.Root, err = digest.Parse(value)
	case name == LimitsProperty:
		c.Limits, err = parseLimits(value)
	case strings.HasPrefix(name, ToolPrefix):
		t := Tool{Name: strings.TrimPrefix(name, ToolPrefix)}
		end := strings.LastIndexByte(value, ' ')
		t.Path = value[:max(end, 0)]
		t.Digest, err = digest.Parse(value[end+1:])
		c.Tools = append(c.Tools, t)
	default:
		return false, nil
	}
	return true, err
}

func digestOf(m *repb.Digest) (digest.Digest, error) {
	d, err := digest.Parse(fmt.Sprintf("%s/%d", m.GetHash(), m.GetSizeBytes()))
	if err != nil {
		return d, fmt.Errorf("read an action: %w", err)
	}
	return d, nil
}

// absolute is the inverse of relative: it returns the path p, which is relative to the folder cwd, relative to the workspace.
func absolute(cwd, p string) string {
	var folders []string
	if cwd != "" {
		folders = strings.Split(cwd, "/")
	}
	for strings.HasPrefix(p, "../") && len(folders) > 0 {
		p, folders = p[len("../"):], folders[:len(folders)-1]
	}
	return strings.Join(append(folders, p), "/")
}
