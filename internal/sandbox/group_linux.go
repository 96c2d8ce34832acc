//go:build linux

package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// The controllers of control groups that a Group uses.
const (
	cpuController    = "cpu"
	memoryController = "memory"
	pidsController   = "pids"
	groupPrefix      = "tow-"
	cpuPeriod        = 100_000 // microseconds
)

func controllers() []string { return []string{cpuController, memoryController, pidsController} }

// Groups make control groups, which hold what a command and all that it starts use together. It is for the methods of one process; they
// are safe for concurrent use.
type Groups struct {
	parents map[string]parent // by controller, where this process may make groups
	prefix  string            // of the names of the groups of processes that this one can see
	last    atomic.Uint64
	settle  func() error // does what has to be done before the first group is made
}

// parent is where groups are made.
type parent struct {
	dir     string
	unified bool // version 2: all controllers are in one hierarchy
	leave   bool // this process has to leave it for one below it first
}

// OpenGroups finds out where this process may make control groups, and removes what dead processes have left there.
func OpenGroups() *Groups {
	g := &Groups{prefix: groupsOfNamespace()}
	g.parents = findParents(g.leaf())
	g.settle = sync.OnceValue(g.leaveParents)
	for _, p := range g.parents {
		g.sweep(p.dir)
	}
	return g
}

// groupsOfNamespace returns how the names of groups begin that are made by processes whose numbers mean something here.
func groupsOfNamespace() string {
	link, err := os.Readlink("/proc/self/ns/pid")
	if err != nil {
		return groupPrefix
	}
	return groupPrefix + strings.Trim(strings.TrimPrefix(link, "pid:"), "[]") + "-"
}

// leaf is the name of the group that this process makes for itself, where it has to.
func (g *Groups) leaf() string { return fmt.Sprintf("%s%d-0", g.prefix, os.Getpid()) }

// Missing returns which of "cpu", "memory" and "pids" cannot be held for a command as a whole.
func (g *Groups) Missing() []string {
	var out []string
	for _, c := range controllers() {
		if _, ok := g.parents[c]; !ok {
			out = append(out, c)
		}
	}
	return out
}

func findParents(leaf string) map[string]parent {
	out := map[string]parent{}
	content, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return out
	}
	for line := range strings.Lines(string(content)) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 {
			continue
		}
		for name := range strings.SplitSeq(fields[1], ",") {
			dir := filepath.Join("/sys/fs/cgroup", name, fields[2])
			switch {
			case name == "":
				findUnified(dir, leaf, out)
			case slices.Contains(controllers(), name) && unix.Access(dir, unix.W_OK) == nil && isFile(dir+"/cgroup.procs"):
				out[name] = parent{dir: dir}
			}
		}
	}
	return out
}

func isFile(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// findUnified looks where groups can be made in a hierarchy of version 2: below the group own of this process, so that they are held to its limits as
// well. A group that has processes cannot have others below it that are limited, except for the first of all; those of own can be moved to the
// group leaf in it where they are all this process's. Where not, and where own has no limit of a kind, the group above it is as good.
func findUnified(own, leaf string, out map[string]parent) {
	if filepath.Base(own) == leaf {
		addUnified(parent{filepath.Dir(own), true, true}, "cgroup.controllers", out)
		return
	}
	first := !isFile(own + "/cgroup.type")
	if first || isAlone(own) {
		addUnified(parent{own, true, !first}, "cgroup.controllers", out)
	}
	free := map[string]parent{}
	addUnified(parent{dir: filepath.Dir(own), unified: true}, "cgroup.subtree_control", free)
	for c, p := range free {
		content, err := os.ReadFile(filepath.Join(own, c+".max"))
		if _, taken := out[c]; !taken && err == nil && strings.HasPrefix(string(content), "max") {
			out[c] = p
		}
	}
}

// addUnified adds a parent for those controllers that are in one of its lists, if this process may make groups there.
func addUnified(p parent, list string, out map[string]parent) {
	for _, path := range []string{p.dir, p.dir + "/cgroup.procs", p.dir + "/cgroup.subtree_control"} {
		if unix.Access(path, unix.W_OK) != nil {
			return
		}
	}
	there, err := os.ReadFile(filepath.Join(p.dir, list))
	if err != nil {
		return
	}
	for _, c := range controllers() {
		if _, taken := out[c]; !taken && slices.Contains(strings.Fields(string(there)), c) {
			out[c] = p
		}
	}
}

// isAlone tells whether all processes of a group are this one and those that it has started.
func isAlone(dir string) bool {
	content, err := os.ReadFile(dir + "/cgroup.procs")
	if err != nil {
		return false
	}
	for field := range strings.FieldsSeq(string(content)) {
		pid, err := strconv.Atoi(field)
		if err != nil || !isOurs(pid) {
			return false
		}
	}
	return true
}

// isOurs tells whether a process is this one or comes from it. One that is gone is.
func isOurs(pid int) bool {
	for pid > 1 && pid != os.Getpid() {
		content, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH)
		}
		// The name of the program, in parentheses, may hold anything.
		fields := strings.Fields(string(content[bytes.LastIndexByte(content, ')')+1:]))
		if len(fields) < 2 {
			return false
		}
		if pid, err = strconv.Atoi(fields[1]); err != nil {
			return false
		}
	}
	return pid == os.Getpid()
}

// leaveRounds bounds how often the processes of a group are moved: they may have started others meanwhile.
const leaveRounds = 16

// leaveParents moves this process and those that it has started out of the group in which others are to be made, and has the controllers there.
func (g *Groups) leaveParents() error {
	for c, p := range g.parents {
		if !p.unified {
			continue
		}
		enabled, err := os.ReadFile(p.dir + "/cgroup.subtree_control")
		if err != nil {
			return err
		}
		if slices.Contains(strings.Fields(string(enabled)), c) {
			continue
		}
		if p.leave {
			if err := moveAll(p.dir, filepath.Join(p.dir, g.leaf())); err != nil {
				return err
			}
		}
		if err := os.WriteFile(p.dir+"/cgroup.subtree_control", []byte("+"+c), 0); err != nil {
			return err
		}
	}
	return nil
}

// moveAll moves the processes of a group to another, which it makes.
func moveAll(from, to string) error {
	if err := os.Mkdir(to, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	for range leaveRounds {
		content, err := os.ReadFile(from + "/cgroup.procs")
		if err != nil {
			return err
		}
		if len(content) == 0 {
			break
		}
		for field := range strings.FieldsSeq(string(content)) {
			if err := os.WriteFile(to+"/cgroup.procs", []byte(field), 0); err != nil && !errors.Is(err, unix.ESRCH) {
				return err
			}
		}
	}
	return nil
}

// sweep removes the groups of processes that are dead, and ends what is left in them.
func (g *Groups) sweep(dir string) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return
	}
	for _, entry := range entries {
		rest, ok := strings.CutPrefix(entry.Name(), g.prefix)
		if !ok {
			continue
		}
		number, _, _ := strings.Cut(rest, "-")
		pid, err := strconv.Atoi(number)
		if err == nil && pid != os.Getpid() && errors.Is(unix.Kill(pid, 0), unix.ESRCH) {
			_ = removeGroup(filepath.Join(dir, entry.Name())) // who comes next tries again
		}
	}
}

const (
	// sweepRounds bounds how often the processes of a group are gone through: they may have started others meanwhile.
	sweepRounds = 16
	// sweepWait is how long a killed process gets to be gone. Only one that hangs in the kernel needs more than a moment.
	sweepWait = time.Second
)

// removeGroup ends the processes of a group, which may be about to end anyway, and removes it.
func removeGroup(dir string) error {
	for range sweepRounds {
		if err := unix.Rmdir(dir); err != unix.EBUSY {
			return err
		}
		content, err := os.ReadFile(dir + "/cgroup.procs")
		if err != nil {
			return err
		}
		for field := range strings.FieldsSeq(string(content)) {
			if pid, err := strconv.Atoi(field); err == nil && pid > 0 {
				killMember(dir, pid)
			}
		}
	}
	return unix.EBUSY
}

// killMember kills a process of a group through a descriptor of it, so that no other is hit that has got its number meanwhile, and waits for it to be gone.
func killMember(dir string, pid int) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	content, err := os.ReadFile(dir + "/cgroup.procs")
	if err != nil || !slices.Contains(strings.Fields(string(content)), strconv.Itoa(pid)) || unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) != nil {
		return
	}
	_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(sweepWait.Milliseconds()))
}

// GroupLimits are held for a command and all that it starts together. Zero is none.
type GroupLimits struct {
	CPUs        float64
	MemoryBytes int64
	PIDs        int64
}

// Group is a control group, or several with one controller each.
type Group struct {
	dirs  map[string]string // by controller
	files []*os.File
}

// New makes a group that holds those limits that can be held; Holds tells which.
func (g *Groups) New(l GroupLimits) (*Group, error) {
	if err := g.settle(); err != nil {
		return nil, fmt.Errorf("make room for control groups: %w", err)
	}
	for {
		group, err := g.make(fmt.Sprintf("%s%d-%d", g.prefix, os.Getpid(), g.last.Add(1)), l)
		if !errors.Is(err, fs.ErrExist) { // other Groups of this process count as well
			return group, err
		}
	}
}

func (g *Groups) make(name string, l GroupLimits) (*Group, error) {
	group := &Group{dirs: map[string]string{}}
	for _, c := range []struct {
		name string
		want bool
	}{{cpuController, l.CPUs > 0}, {memoryController, l.MemoryBytes > 0}, {pidsController, l.PIDs > 0}} {
		p, ok := g.parents[c.name]
		if !c.want || !ok {
			continue
		}
		if err := group.add(filepath.Join(p.dir, name), c.name, settings(c.name, p.unified, l)); err != nil {
			return nil, errors.Join(fmt.Errorf("make a control group: %w", err), group.Close())
		}
	}
	return group, nil
}

// setting is a file of a group and what is to be written to it.
type setting struct {
	file, value string
	optional    bool
}

func settings(controller string, unified bool, l GroupLimits) []setting {
	memory, pids := strconv.FormatInt(l.MemoryBytes, 10), strconv.FormatInt(l.PIDs, 10)
	quota := strconv.FormatInt(max(int64(l.CPUs*cpuPeriod), 1000), 10)
	switch {
	case controller == pidsController:
		return []setting{{"pids.max", pids, false}}
	case controller == memoryController && unified:
		return []setting{{"memory.max", memory, false}, {"memory.swap.max", "0", true}}
	case controller == memoryController:
		return []setting{{"memory.limit_in_bytes", memory, false}, {"memory.memsw.limit_in_bytes", memory, true}}
	case unified:
		return []setting{{"cpu.max", fmt.Sprintf("%s %d", quota, cpuPeriod), false}}
	}
	return []setting{{"cpu.cfs_period_us", strconv.Itoa(cpuPeriod), false}, {"cpu.cfs_quota_us", quota, false}}
}

func (g *Group) add(dir, controller string, settings []setting) error {
	known := false
	for _, other := range g.dirs {
		known = known || other == dir
	}
	if !known {
		if err := os.Mkdir(dir, 0o755); err != nil {
			return err
		}
		g.dirs[controller] = dir
		f, err := os.OpenFile(dir+"/cgroup.procs", os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		g.files = append(g.files, f)
	}
	g.dirs[controller] = dir
	for _, s := range settings {
		if err := os.WriteFile(filepath.Join(dir, s.file), []byte(s.value), 0); err != nil && !s.optional {
			return err
		}
	}
	return nil
}

// Files are the lists of processes, for Sandbox.Start.
func (g *Group) Files() []*os.File { return g.files }

// Holds tells whether the group has the limits of a controller.
func (g *Group) Holds(controller string) bool { return g.dirs[controller] != "" }

// OutOfMemory tells whether a process was killed since there was no memory for it.
func (g *Group) OutOfMemory() bool {
	dir := g.dirs[memoryController]
	return dir != "" && (counter(dir+"/memory.events", "oom_kill") > 0 || counter(dir+"/memory.oom_control", "oom_kill") > 0)
}

// OutOfPIDs tells whether a process could not be started since there were too many.
func (g *Group) OutOfPIDs() bool {
	dir := g.dirs[pidsController]
	return dir != "" && counter(dir+"/pids.events", "max") > 0
}

// counter returns the number behind a name in a file of such lines, 0 where there is none.
func counter(path, name string) int64 {
	content, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(content)) {
		if fields := strings.Fields(line); len(fields) == 2 && fields[0] == name {
			n, _ := strconv.ParseInt(fields[1], 10, 64)
			return n
		}
	}
	return 0
}

// Close removes the group, and ends what is left in it.
func (g *Group) Close() error {
	var errs []error
	for _, f := range g.files {
		errs = append(errs, f.Close())
	}
	for _, dir := range g.dirs {
		if err := removeGroup(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("remove the control group %s: %w", dir, err))
		}
	}
	g.dirs, g.files = nil, nil
	return errors.Join(errs...)
}
