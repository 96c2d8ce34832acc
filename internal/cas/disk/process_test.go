package disk_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/cas/disk"
	"github.com/towpath/towpath/internal/digest"
)

// The test binary starts itself again as other processes that use the same store.
const roleVariable = "TOWPATH_TEST_CAS_ROLE"

func TestMain(m *testing.M) {
	switch role := os.Getenv(roleVariable); role {
	case "":
		os.Exit(m.Run())
	case "writer":
		exit(writer(os.Args[1], os.Args[2]))
	case "stuck":
		exit(stuck(os.Args[1]))
	default:
		exit(fmt.Errorf("no role %q", role))
	}
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
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

// processBlob is the content number i, which all processes agree on.
func processBlob(i int) []byte {
	return bytes.Repeat(fmt.Appendf(nil, "blob %d;", i), 1+i*i*3)
}

// writer puts the same blobs over and over, flushes them, and says "flushed N" for each number that is durable.
func writer(dir, rounds string) error {
	n, err := strconv.Atoi(rounds)
	if err != nil {
		return err
	}
	s, err := disk.Open(dir)
	if err != nil {
		return err
	}
	ctx := context.Background()
	for i := range n {
		blob := processBlob(i % 150)
		d, err := cas.PutBytes(ctx, s, blob)
		if err != nil {
			return err
		}
		if got, err := cas.ReadAll(ctx, s, d, 1<<30); err != nil || !bytes.Equal(got, blob) {
			return fmt.Errorf("read %d bytes of %d: %w", len(got), len(blob), err)
		}
		if i%10 == 9 {
			if err := s.Flush(ctx); err != nil {
				return err
			}
			fmt.Println("flushed", i%150)
		}
	}
	return s.Close()
}

// stuck begins to put a blob and waits to be killed.
func stuck(dir string) error {
	s, err := disk.Open(dir)
	if err != nil {
		return err
	}
	half := bytes.NewReader(make([]byte, 1<<20))
	_, err = s.Put(context.Background(), io.MultiReader(half, readerFunc(func([]byte) (int, error) {
		fmt.Println("stuck")
		_, err := io.Copy(io.Discard, os.Stdin) // until the parent is gone
		return 0, errors.Join(io.ErrUnexpectedEOF, err)
	})))
	return err
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// verifyAll reads every blob that the store shows.
func verifyAll(t *testing.T, dir string) int {
	t.Helper()
	s := open(t, dir)
	files, err := filepath.Glob(filepath.Join(dir, "blobs", "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		d, err := digest.Parse(fmt.Sprintf("%s/%d", filepath.Base(f), info.Size()))
		if err != nil {
			t.Fatalf("a strange file among blobs: %v", err)
		}
		if _, err := cas.ReadAll(t.Context(), s, d, 1<<30); err != nil {
			t.Errorf("a visible blob does not verify: %v", err)
		}
	}
	return len(files)
}

func TestProcessesShareAStore(t *testing.T) {
	dir := t.TempDir()
	var wg sync.WaitGroup
	for range 4 {
		cmd := child(t, "writer", dir, "300")
		wg.Go(func() {
			if err := cmd.Run(); err != nil {
				t.Errorf("a writer: %v", err)
			}
		})
	}
	wg.Wait()
	if n := verifyAll(t, dir); n != 150 {
		t.Errorf("there are %d blobs, want 150", n)
	}
	if left := leftovers(t, dir); len(left) > 0 {
		t.Errorf("left in tmp: %v", left)
	}
}

// Writers are killed at any moment. What is visible verifies, what was reported as flushed is there, and what they
// left in tmp goes away.
func TestKilledWriters(t *testing.T) {
	dir := t.TempDir()
	flushed := map[int]bool{}
	for round := range 12 {
		cmd := child(t, "writer", dir, "1000000")
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; n <= round && lines.Scan(); n++ {
			i, err := strconv.Atoi(strings.TrimPrefix(lines.Text(), "flushed "))
			if err != nil {
				t.Fatal(err)
			}
			flushed[i] = true
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
		verifyAll(t, dir)
	}
	s := open(t, dir)
	for i := range flushed {
		if missing, err := s.Missing(t.Context(), []digest.Digest{digest.OfBytes(processBlob(i))}); err != nil || len(missing) != 0 {
			t.Errorf("blob %d was flushed and is not there: %v", i, err)
		}
	}
	if left := leftovers(t, dir); len(left) > 0 {
		t.Errorf("left in tmp: %v", left)
	}
}

// What a living process is writing stays when others open the store, and goes once it is dead.
func TestStaleFilesAreRemoved(t *testing.T) {
	dir := t.TempDir()
	cmd := child(t, "stuck", dir)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("the child said %q, %v", line, err)
	}
	open(t, dir)
	if left := leftovers(t, dir); len(left) != 1 {
		t.Errorf("in tmp beside a living process: %v, want its one file", left)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	open(t, dir)
	if left := leftovers(t, dir); len(left) != 0 {
		t.Errorf("in tmp after the process died: %v", left)
	}
	if n := verifyAll(t, dir); n != 0 {
		t.Errorf("half a blob is visible")
	}
}
