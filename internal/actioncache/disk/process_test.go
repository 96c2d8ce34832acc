package disk_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/towpath/towpath/internal/actioncache"
	"github.com/towpath/towpath/internal/actioncache/disk"
	"github.com/towpath/towpath/internal/digest"
)

// The test binary starts itself again as another process that writes to the cache named here.
const writerVariable = "TOWPATH_TEST_ACTION_CACHE"

func TestMain(m *testing.M) {
	dir := os.Getenv(writerVariable)
	if dir == "" {
		os.Exit(m.Run())
	}
	fmt.Fprintln(os.Stderr, writer(dir))
	os.Exit(1)
}

func processKey(i int) digest.Digest { return digest.OfBytes([]byte(strconv.Itoa(i))) }

func processValue(i int) []byte { return bytes.Repeat([]byte(strconv.Itoa(i)), 2000) }

// writer puts and says which keys it has put, until it is killed.
func writer(dir string) error {
	c, err := disk.Open(dir)
	if err != nil {
		return err
	}
	for i := 0; ; i = (i + 1) % 50 {
		if err := c.Put(context.Background(), actioncache.Step, processKey(i), processValue(i)); err != nil {
			return err
		}
		if _, err := fmt.Println(i); err != nil {
			return err
		}
	}
}

// Writers are killed at any moment. What they said is put is there, and everything that is there is right.
func TestKilledWriters(t *testing.T) {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	put := map[int]bool{}
	for round := range 8 {
		var cmds []*exec.Cmd
		for range 2 {
			cmd := exec.CommandContext(t.Context(), self)
			cmd.Env = append(os.Environ(), writerVariable+"="+dir)
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			cmds = append(cmds, cmd)
			lines := bufio.NewScanner(out)
			for n := 0; n <= 3*round && lines.Scan(); n++ {
				i, err := strconv.Atoi(strings.TrimSpace(lines.Text()))
				if err != nil {
					t.Fatal(err)
				}
				put[i] = true
			}
		}
		for _, cmd := range cmds {
			if err := cmd.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait()
		}
		c := open(t, dir)
		before, _, err := c.Info(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for i := range 50 {
			got, ok, err := c.Get(t.Context(), actioncache.Step, processKey(i))
			if err != nil || put[i] && !ok || ok && !bytes.Equal(got, processValue(i)) {
				t.Errorf("key %d: %d bytes, %v, %v", i, len(got), ok, err)
			}
		}
		if after, _, err := c.Info(t.Context()); err != nil || after != before {
			t.Errorf("of %d entries %d were damaged, %v", before, before-after, err)
		}
	}
	open(t, dir)
	if left, err := filepath.Glob(filepath.Join(dir, "tmp", "*", "*")); err != nil || len(left) > 0 {
		t.Errorf("left in tmp: %v, %v", left, err)
	}
}
