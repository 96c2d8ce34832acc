package main

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/internal/nobody"
)

// leaving is a pipeline whose steps leave processes behind that nobody waits for, folders that cannot be entered, and files that are open. @MARK@ is how
// its processes are known.
const leaving = `from towpath import Directory, File, gather, out, run, source, stage

LEAVE = "(setsid sh -c 'trap \"\" TERM HUP; sleep @MARK@ & exec 3>kept; sleep @MARK@' >/dev/null 2>&1 &); "
FILES = "mkdir -p d/e; for i in 1 2 3 4; do cat a.txt >d/e/$i; done; chmod 0 d/e; "


@stage
async def part(n: int, src: Directory = source("a.txt")) -> File:
    await run("sh", "-c", LEAVE + FILES + "echo $HOME/x >\"$HOME/x\"; chmod 0 \"$HOME\"", tree=src)
    made = await run("sh", "-c", LEAVE + f"(echo {n}; cat a.txt) >{n}.txt", tree=src, outputs=[f"{n}.txt"], memory="256MiB", pids=64)
    return made.file(f"{n}.txt")


@stage
async def whole(parts: list[File] = gather(part.bind(n=i) for i in range(3))) -> File:
    tree = {f"{i}.txt": p for i, p in enumerate(parts)}
    return (await run("sh", "-c", LEAVE + "cat *.txt >whole.txt; mkfifo p; sleep 0.02", tree=tree, outputs=["whole.txt"])).file("whole.txt")
`

const (
	killedRounds = 100
	// lookEvery is after how many kills tow is started to its end, and everything is looked at.
	lookEvery = 5
)

// TestKilled kills tow at random instants of a run, and now and then its worker or the helper of its sandbox: after the next start no process, mount,
// temporary file or control group is left, nothing that is damaged is in the cache, and results are what they are without that.
func TestKilled(t *testing.T) {
	nobody.Run(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("the seed is %d", seed)
	k := newKilled(t, rand.New(rand.NewPCG(seed, 0)))
	clean := k.place
	clean.cache = t.TempDir()
	k.undisturbed(clean)
	k.usual = shapes(t, clean.cache)
	k.length = k.measure()
	for round := range killedRounds {
		k.change(round)
		k.kill(k.instant(round))
		if (round+1)%lookEvery == 0 {
			k.look()
		}
	}
	k.want(0, "ok: nothing is damaged", "cache", "verify")
	t.Logf("a run takes %v; killed were %v", k.length, k.victims)
}

type killed struct {
	place
	random  *rand.Rand
	mark    string
	usual   map[string]bool // the shapes of what is in a cache that nobody has disturbed
	length  time.Duration   // of a run
	started []int           // the numbers of all tows that were killed
	victims map[string]int  // what was killed how often
	text    string          // that of the source
}

func newKilled(t *testing.T, random *rand.Rand) *killed {
	t.Helper()
	k := &killed{place: newPlace(t, t.TempDir(), "text\n"), random: random, mark: strconv.Itoa(1_000_000_000 + os.Getpid()), victims: map[string]int{}}
	if err := os.WriteFile(filepath.Join(k.dir, "pipeline.py"), []byte(strings.ReplaceAll(leaving, "@MARK@", k.mark)), 0o644); err != nil {
		t.Fatal(err)
	}
	k.change(-1)
	return k
}

// change makes the next run do everything once more.
func (k *killed) change(round int) {
	k.text = fmt.Sprintf("text %d %d\n", round, k.random.Uint64())
	if err := os.WriteFile(filepath.Join(k.dir, "a.txt"), []byte(k.text), 0o644); err != nil {
		k.t.Fatal(err)
	}
}

// undisturbed runs the pipeline to its end, and compares what it makes.
func (k *killed) undisturbed(p place) {
	k.t.Helper()
	p.want(0, "ok: ", "run")
	file := filepath.Join(k.t.TempDir(), "whole")
	p.want(0, "whole", "artifacts", "export", "whole", file)
	got, err := os.ReadFile(file)
	if want := "0\n" + k.text + "1\n" + k.text + "2\n" + k.text; err != nil || string(got) != want {
		k.t.Errorf("the pipeline made %q, %v, want %q", got, err, want)
	}
}

// measure returns how long a run takes.
func (k *killed) measure() time.Duration {
	var took []time.Duration
	for i := range 4 {
		k.change(-2 - i)
		begin := time.Now()
		k.want(0, "ok: ", "run")
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	return took[1]
}

// instant returns when the run of a round is killed: each part of it once in a while, and a bit after its end as well.
func (k *killed) instant(round int) time.Duration {
	part := (float64(round*37%killedRounds) + k.random.Float64()) / killedRounds
	return time.Duration(part * 1.1 * float64(k.length))
}

// kill runs tow and kills something of it after a while.
func (k *killed) kill(after time.Duration) {
	k.t.Helper()
	cmd := k.command("run")
	if err := cmd.Start(); err != nil {
		k.t.Fatal(err)
	}
	k.started = append(k.started, cmd.Process.Pid)
	timer := time.NewTimer(after) // that something happens at any instant is what is tested
	<-timer.C
	name, victim := "tow", cmd.Process.Pid
	if k.random.IntN(4) == 0 {
		if other, pid := k.child(cmd.Process.Pid); pid != 0 {
			name, victim = other, pid
		}
	}
	k.victims[name]++
	_ = unix.Kill(victim, unix.SIGKILL) // it may have ended
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		k.t.Fatal(err)
	}
}

// child returns one of the processes that a tow has started, if there is any yet.
func (k *killed) child(tow int) (name string, pid int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", tow))
	var found []int
	for _, list := range lists {
		b, _ := os.ReadFile(list)
		for field := range strings.FieldsSeq(string(b)) {
			if pid, err := strconv.Atoi(field); err == nil {
				found = append(found, pid)
			}
		}
	}
	if len(found) == 0 {
		return "", 0
	}
	pid = found[k.random.IntN(len(found))]
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	name, _, _ = strings.Cut(string(b), "\x00")
	return filepath.Base(name), pid
}

// look starts tow once more and looks for what was left until then.
func (k *killed) look() {
	k.t.Helper()
	k.undisturbed(k.place)
	self, err := os.Executable() // which every tow and every helper of a sandbox is as well
	if err != nil {
		k.t.Fatal(err)
	}
	for _, p := range processesOf(k.t, self, k.cache, k.dir, k.mark) {
		k.t.Errorf("process %s is left", p)
	}
	if mounts, err := os.ReadFile("/proc/self/mountinfo"); err != nil || strings.Contains(string(mounts), k.cache) {
		k.t.Errorf("a mount is left: %v\n%s", err, mounts)
	}
	for shape := range shapes(k.t, k.cache) {
		if !k.usual[shape] {
			k.t.Errorf("%s is left in the cache", shape)
		}
	}
	for _, pid := range k.started {
		for _, depth := range []string{"", "*/", "*/*/", "*/*/*/"} {
			if groups, _ := filepath.Glob(fmt.Sprintf("/sys/fs/cgroup/%stow-%d-*", depth, pid)); len(groups) > 0 {
				k.t.Errorf("control groups are left: %v", groups)
			}
		}
	}
	k.started = nil
	k.want(0, "ok: nothing is damaged", "cache", "verify")
}

// processesOf returns the processes that execute a program, or have to do with one of the texts, and do not end. Those that are on their way out are
// waited for.
func processesOf(t *testing.T, program string, texts ...string) []string {
	t.Helper()
	names, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, name := range names {
		pid, err := strconv.Atoi(filepath.Base(name))
		if err != nil || pid == os.Getpid() {
			continue
		}
		fd, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			continue // it has ended
		}
		exe, _ := os.Readlink(name + "/exe")
		about := aboutProcess(name)
		if exe == program || slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(about, text) }) {
			command, _ := os.ReadFile(name + "/cmdline")
			if n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000); n == 0 || err != nil {
				left = append(left, fmt.Sprintf("%d (%q)", pid, command))
			}
		}
		_ = unix.Close(fd)
	}
	return left
}

// aboutProcess returns what a process was started as, where it is, and what it has mounted.
func aboutProcess(dir string) string {
	cwd, _ := os.Readlink(dir + "/cwd")
	parts := []string{cwd}
	for _, name := range []string{"cmdline", "environ", "mountinfo"} {
		b, _ := os.ReadFile(dir + "/" + name)
		parts = append(parts, string(b))
	}
	return strings.Join(parts, "\n")
}

// shapes returns what there is in a cache, without what differs from one to another.
func shapes(t *testing.T, cache string) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	digits := regexp.MustCompile(`\b[0-9a-f]+\b|[0-9]+`)
	err := filepath.WalkDir(cache, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(cache, path)
		if err != nil {
			return err
		}
		if rel == "sdk" {
			return fs.SkipDir
		}
		out[digits.ReplaceAllString(filepath.ToSlash(rel), "#")] = true
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
