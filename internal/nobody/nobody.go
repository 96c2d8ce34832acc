//go:build unix

// Package nobody lets a test that root cannot make run as an ordinary user: permissions mean nothing to root, and a test that is skipped tests
// nothing.
//
// It is for tests only.
package nobody

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// uid is the user that owns nothing, on Linux by convention.
const uid = 65534

// Run runs the calling test once more as nobody when this process is root's, and tells that it did; the caller then returns. For any other user it does
// nothing.
func Run(t *testing.T) (done bool) {
	t.Helper()
	if os.Getuid() != 0 {
		return false
	}
	// The folders of the test binary and of temporary files are root's alone.
	dir, err := os.MkdirTemp("/tmp", "nobody-") //nolint:usetesting // t.TempDir is below a folder that nobody cannot enter
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	tmp := filepath.Join(dir, "tmp")
	binary := filepath.Join(dir, "test")
	copyFile(t, binary)
	for _, err := range []error{os.Mkdir(tmp, 0o755), os.Chown(tmp, uid, uid), os.Chmod(dir, 0o755), os.Chmod(binary, 0o755)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(binary, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Dir = tmp
	cmd.Env = []string{"TMPDIR=" + tmp, "HOME=" + tmp, "PATH=" + os.Getenv("PATH")}
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: uid}}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("as an ordinary user: %v\n%s", err, out)
	}
	return true
}

func copyFile(t *testing.T, to string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	from, err := os.Open(self)
	if err != nil {
		t.Fatal(err)
	}
	defer from.Close()
	f, err := os.Create(to)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(f, from); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}
