//go:build unix

package process

import (
	"bufio"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

// TestNothingIsSignalledOnceTheCommandIsReaped holds that a group whose number may be another's is left alone: the number is that of a group which
// lives.
func TestNothingIsSignalledOnceTheCommandIsReaped(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	other := exec.Command("cat")
	in, err := other.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	living := New(other)
	if err := other.Start(); err != nil {
		t.Fatal(err)
	}
	ended := exec.Command("true")
	g := New(ended)
	if err := ended.Start(); err != nil {
		t.Fatal(err)
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	ended.Process = other.Process // as if the number had been given to another
	g.Terminate()
	g.Kill()
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	if err := living.Wait(); err != nil {
		t.Errorf("another group was signalled: %v", err)
	}
}

func TestWaitEndsWhatIsLeftOfTheGroup(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd := exec.Command("sh", "-c", "sleep 1000 & echo started")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	g := New(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	read := make(chan string)
	go func() {
		s := bufio.NewScanner(out)
		var lines []string
		for s.Scan() {
			lines = append(lines, s.Text())
		}
		read <- strings.Join(lines, "\n")
	}()
	if runtime.GOOS == "linux" {
		awaitEnd(cmd.Process)
		g.end()
		if got := <-read; got != "started" { // ends only once nobody holds the pipe
			t.Errorf("it wrote %q", got)
		}
		_ = cmd.Wait() // killed only after it ended by itself
		return
	}
	if err := g.Wait(); err != nil {
		t.Error(err)
	}
	<-read
}
