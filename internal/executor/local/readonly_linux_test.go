package local_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/towpath/towpath/internal/cas/mem"
	"github.com/towpath/towpath/internal/checkout"
	"github.com/towpath/towpath/internal/executor/local"
	"github.com/towpath/towpath/internal/nobody"
)

// TestReadOnlyWorkFolder holds that a cache which may only be read is found under the isolation that filled it, also on a machine or at a start of it
// that has tried no sandbox yet.
func TestReadOnlyWorkFolder(t *testing.T) {
	if nobody.Run(t) {
		return
	}
	for want, marks := range map[string][]string{local.Workspace: nil, local.Sandbox: {"sandbox"}} {
		dir, store := t.TempDir(), mem.New()
		work := filepath.Join(dir, "work")
		if err := os.Mkdir(work, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range marks {
			if err := os.WriteFile(filepath.Join(work, name), []byte("another start of the machine\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(work, 0o555); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(work, 0o755) })
		folders, err := checkout.Open(checkout.Config{Store: store, Dir: filepath.Join(dir, "checkouts"), UID: -1, GID: -1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = folders.Close() })
		e, err := local.New(local.Config{Store: store, Dir: work, Checkouts: folders})
		if err != nil {
			t.Fatalf("%s: %v", want, err)
		}
		if got := e.Isolation(); got != want {
			t.Errorf("the isolation is %s, want %s", got, want)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
}
