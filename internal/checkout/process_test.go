//go:build unix

package checkout_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/towpath/towpath/internal/cas/disk"
	"github.com/towpath/towpath/internal/checkout"
	"github.com/towpath/towpath/internal/digest"
)

// The test binary starts itself again as other processes that use the same checkouts.
const roleVariable = "TOWPATH_TEST_CHECKOUT_ROLE"

func TestMain(m *testing.M) {
	switch role := os.Getenv(roleVariable); role {
	case "":
		os.Exit(m.Run())
	case "maker":
		if err := maker(os.Args[1], os.Args[2], os.Args[3:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	default:
		fmt.Fprintln(os.Stderr, "no role", role)
		os.Exit(1)
	}
}

func child(t *testing.T, role string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	cmd.Stderr = os.Stderr
	return cmd
}

// maker checks out trees and says so after each.
func maker(blobs, dir string, trees []string) error {
	store, err := disk.Open(blobs)
	if err != nil {
		return err
	}
	c, err := checkout.Open(checkout.Config{Store: store, Dir: dir, UID: -1, GID: -1})
	if err != nil {
		return err
	}
	for _, arg := range trees {
		d, err := digest.Parse(arg)
		if err != nil {
			return err
		}
		fmt.Println("begin")
		if _, err := c.Folder(context.Background(), d); err != nil {
			return err
		}
	}
	return errors.Join(c.Close(), store.Close())
}

func TestProcesses(t *testing.T) {
	blobs, dir := t.TempDir(), t.TempDir()
	store, err := disk.Open(blobs)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	var specs []spec
	args := []string{blobs, dir}
	for i := range 8 {
		specs = append(specs, many(200+i))
		args = append(args, build(t, store, specs[i]).String())
	}
	var wg sync.WaitGroup
	for range 4 {
		cmd := child(t, "maker", args...)
		wg.Go(func() {
			if err := cmd.Run(); err != nil {
				t.Errorf("a maker: %v", err)
			}
		})
	}
	wg.Wait()
	c := open(t, store, dir)
	for _, s := range specs {
		folder(t, c, build(t, store, s), s)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "tmp", "*", "*")); len(left) > 0 {
		t.Errorf("left in tmp: %v", left)
	}
}

// Makers are killed while they make a tree. What is there is whole, and what they left goes away.
func TestKilled(t *testing.T) {
	blobs, dir := t.TempDir(), t.TempDir()
	store, err := disk.Open(blobs)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for round := range 10 {
		var specs []spec
		args := []string{blobs, dir}
		for i := range 10 {
			s := many(100 * (round + 1))
			s["round"] = fmt.Sprint(round, i)
			specs = append(specs, s)
			args = append(args, build(t, store, s).String())
		}
		cmd := child(t, "maker", args...)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; n <= round && lines.Scan(); n++ {
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		// What has a name is whole: nothing of it is made anew.
		trees, err := filepath.Glob(filepath.Join(dir, "*.*", "trees", "*"))
		if err != nil {
			t.Fatal(err)
		}
		before := map[string]uint64{}
		for _, path := range trees {
			before[path] = stat(t, path).Ino
		}
		c := open(t, store, dir)
		for _, s := range specs {
			path := folder(t, c, build(t, store, s), s)
			if ino, ok := before[path]; ok && stat(t, path).Ino != ino {
				t.Errorf("round %d: a tree that was not whole had a name", round)
			}
		}
		if left := temporary(t, dir); len(left) > 0 {
			t.Errorf("left in tmp: %v", left)
		}
	}
}
