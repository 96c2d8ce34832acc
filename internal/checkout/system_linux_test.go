package checkout

import (
	"path/filepath"
	"testing"
)

// Where the system does not say which start of the machine this is, each process is on its own.
func TestBootID(t *testing.T) {
	if a, b := bootID(bootFile), bootID(bootFile); a != b || len(a) != bootLength {
		t.Errorf("this start of the machine is %q and %q", a, b)
	}
	none := filepath.Join(t.TempDir(), "none")
	if a, b := bootID(none), bootID(none); a == "" || a == b || len(a) == bootLength {
		t.Errorf("where it is not known it is %q and %q", a, b)
	}
}
