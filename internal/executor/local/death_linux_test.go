package local_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/towpath/towpath/internal/cas/mem"
	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/executor/local"
	"github.com/towpath/towpath/internal/tree"
)

// dieVariable asks a test binary to be a tow that runs a step below the folder that it names, until it is killed.
const dieVariable = "TOWPATH_TEST_DIE_IN"

// dieIfAsked runs a step, which is the shell script in the first argument, and does not return where the variable asks for
// that.
func dieIfAsked() {
	dir := os.Getenv(dieVariable)
	if dir == "" {
		return
	}
	ctx, store := context.Background(), mem.New()
	err := func() error {
		root, err := tree.NewBuilder(store).Build(ctx)
		if err != nil {
			return err
		}
		a, err := executor.NewAction(executor.Command{Args: []string{"sh", "-c", os.Args[1]}}, root, executor.Platform(local.Workspace))
		if err != nil {
			return err
		}
		e, err := local.New(local.Config{Store: store, Dir: dir})
		if err != nil {
			return err
		}
		_, err = e.Execute(ctx, a, executor.Options{})
		return err
	}()
	fmt.Fprintln(os.Stderr, "the step ended:", err)
	os.Exit(1)
}

// TestTowIsKilled holds that a step's command dies with tow, whatever kills that, and that the next New ends what the
// command has started and removes its workspace.
func TestTowIsKilled(t *testing.T) {
	dir := t.TempDir()
	command, child := newPulse(t), newPulse(t)
	tow, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("touch f; (setsid sleep 1000 >%q 2>&1 &); exec sleep 1000 >%q", child.path, command.path)
	cmd := exec.Command(tow, script)
	cmd.Env = append(os.Environ(), dieVariable+"="+dir)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	childAlive, commandAlive := child.open(), command.open()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	stops(t, commandAlive)
	if left := workspaces(t, dir); len(left) != 1 || !strings.HasSuffix(left[0], "/work/f") {
		t.Errorf("the workspaces hold %v, want what the step has made", left)
	}
	newLocal(t, mem.New(), dir, time.Minute)
	stops(t, childAlive)
	if left := workspaces(t, dir); len(left) > 0 {
		t.Errorf("left of the dead are %v", left)
	}
}
