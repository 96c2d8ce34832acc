package sandbox_test

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"testing"

	"github.com/towpath/towpath/internal/nobody"
	"github.com/towpath/towpath/internal/sandbox"
)

// aloneVariable is set where a test is run by root of a namespace that has no other users.
const aloneVariable = "TOWPATH_TEST_ALONE"

// TestRootOfANamespace holds that root of a container that has no other users is like an ordinary user, unless it is the machine's root: its commands
// would be that as well.
func TestRootOfANamespace(t *testing.T) {
	if os.Getenv(aloneVariable) != "" {
		asRootOfANamespace(t, os.Getenv(aloneVariable) == "0")
		return
	}
	cmd := exec.Command("/proc/self/exe", "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), aloneVariable+"="+strconv.Itoa(os.Getuid()))
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("user %d as root of a namespace: %v\n%s", os.Getuid(), err, out)
	}
	nobody.Run(t)
}

func asRootOfANamespace(t *testing.T, machines bool) {
	t.Helper()
	if os.Getuid() != 0 || sandbox.Owner() != -1 {
		t.Errorf("user %d, whose commands' folders have to be those of %d", os.Getuid(), sandbox.Owner())
	}
	s := sandbox.New()
	defer s.Close()
	spec := slot(t)
	spec.Programs, spec.Args = []string{"/bin/sh"}, []string{"sh", "-c", "id -u; touch f $HOME/f /tmp/f && echo made"}
	_, out, err := run(t, s, spec)
	if machines {
		if _, ok := errors.AsType[*sandbox.RefusedError](err); !ok {
			t.Errorf("the error is %v, want a RefusedError", err)
		}
		return
	}
	if out != "1000\nmade\n" || err != nil {
		t.Errorf("it prints %q, %v", out, err)
	}
}
