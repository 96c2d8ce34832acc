package checkout

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/towpath/towpath/internal/cas/mem"
)

// Whoever notes a use while the tree is being removed either keeps it or sees that it is gone.
func TestNoteWhileRemoving(t *testing.T) {
	c, err := Open(Config{Store: mem.New(), Dir: t.TempDir(), UID: -1, GID: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	name := filepath.Base(c.generation) + "/tree"
	path := c.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	kept := 0
	for range 2000 {
		if err := os.Mkdir(path, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			t.Fatal(err)
		}
		old := time.Now().Add(-5 * time.Hour)
		if err := stamp(path, old); err != nil {
			t.Fatal(err)
		}
		noted := make(chan error)
		go func() { noted <- note(path, time.Now()) }()
		removed, _, err := c.remove(t.Context(), name, old.Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if err := <-noted; err == nil && removed {
			t.Fatal("a tree whose use was noted was removed")
		}
		if !removed {
			kept++
		}
	}
	t.Logf("%d of 2000 were kept", kept)
}
