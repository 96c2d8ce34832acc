//go:build linux && (amd64 || arm64)

package sandbox

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// sockets returns both ends of a connection.
func sockets(t *testing.T) (ours, theirs *socket) {
	t.Helper()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	for i, to := range []**socket{&ours, &theirs} {
		s, err := newSocket(os.NewFile(uintptr(pair[i]), "socket"))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		*to = s
	}
	return ours, theirs
}

// TestFilesOfAMessage holds that a message whose files cannot all be taken is none.
func TestFilesOfAMessage(t *testing.T) {
	for n, whole := range map[int]bool{filesMax: true, filesMax + 4: false} {
		ours, theirs := sockets(t)
		if err := ours.send(&request{ID: 1}, make([]int, n)...); err != nil {
			t.Fatal(err)
		}
		var r request
		fds, err := theirs.receive(make([]byte, messageMax+1), &r)
		closeAll(fds)
		if whole != (err == nil && len(fds) == n) || !whole && !errors.Is(err, unix.EMFILE) {
			t.Errorf("of %d files %d came, %v", n, len(fds), err)
		}
	}
}

// TestHelperThatCannotBeUnderstood holds that it is let go, so that nobody waits for it.
func TestHelperThatCannotBeUnderstood(t *testing.T) {
	for message, want := range map[string]error{
		"babble": nil,
		`{"ID":0,"Failure":{"Kind":"setup","Op":"set the host name","Errno":1}}`: unix.EPERM,
	} {
		ours, theirs := sockets(t)
		c := &conn{socket: ours, ended: make(chan struct{}), waiting: map[uint64]chan answer{}}
		if _, err := theirs.Write([]byte(message)); err != nil {
			t.Fatal(err)
		}
		c.receive()
		if n, err := theirs.Read(make([]byte, 1)); n != 0 || err != nil && err != io.EOF {
			t.Errorf("the helper reads %d bytes, %v", n, err)
		}
		c.end(nil, "")
		p := &Process{conn: c, answer: make(chan answer, 1)}
		if _, err := p.Wait(); !errors.Is(err, errHelperDied) || c.failed == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("after %q the error is %v", message, err)
		}
	}
}

// TestSignalForNobody holds that nothing is kept of a signal for a command that has ended.
func TestSignalForNobody(t *testing.T) {
	h := &helper{running: map[uint64]*running{}}
	h.signal(7, 9)
	if len(h.running) != 0 {
		t.Errorf("running are %v", h.running)
	}
}

// TestTemplatesAreLetGo holds that those that were used last are kept, and those that are in use.
func TestTemplatesAreLetGo(t *testing.T) {
	h := &helper{templates: map[string]*template{}}
	use := func(key string) *template {
		tpl := h.enter(key)
		if tpl.fd < 0 {
			fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err != nil {
				t.Fatal(err)
			}
			tpl.fd = fd
		}
		return tpl
	}
	inUse := use("in use")
	first := use("first")
	h.leave(first)
	for i := range 3 * templatesMax {
		h.leave(use(fmt.Sprint(i)))
		h.leave(use("again"))
	}
	if len(h.templates) != templatesMax || h.templates["in use"] != inUse || h.templates["again"] == nil || h.templates["first"] != nil {
		t.Errorf("%d templates are kept, want %d", len(h.templates), templatesMax)
	}
	for key, tpl := range h.templates {
		if err := unix.Close(tpl.fd); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// TestRefused holds that only a machine that does not allow a sandbox refuses one: where it fails just now nothing is run in a weaker way.
func TestRefused(t *testing.T) {
	for _, c := range []struct {
		err     error
		refusal bool
	}{
		{&SetupError{helperOp, unix.EPERM}, true},
		{&SetupError{"mount /proc", unix.EACCES}, true},
		{&SetupError{"make an overlay", unix.EINVAL}, true},
		{&SetupError{"make an overlay", unix.ENODEV}, true},
		{&SetupError{"bind /usr", unix.ENOSYS}, true},
		{&SetupError{helperOp, unix.ENOSPC}, true},
		{&SetupError{networkOp, unix.ENOSPC}, true},
		{&SetupError{initOp, unix.ENOSPC}, true},
		{rootAlone(), true},
		{fmt.Errorf("%w: %w", errHelperDied, &SetupError{"set the host name", unix.EPERM}), true},
		{&SetupError{"bind /usr", unix.ENOSPC}, false},
		{&SetupError{"make a socket", unix.EMFILE}, false},
		{&SetupError{helperOp, unix.ENOMEM}, false},
		{&SetupError{helperOp, unix.EAGAIN}, false},
		{&SetupError{"make an overlay", unix.EIO}, false},
		{&SetupError{"run the command", errHelperDied}, false},
	} {
		if _, refusal := errors.AsType[*RefusedError](refused(c.err)); refusal != c.refusal || !errors.Is(refused(c.err), c.err) {
			t.Errorf("%v: it is %v, a refusal is %v", c.err, refused(c.err), c.refusal)
		}
	}
}

// TestInitKeepsFiles holds which files an init closes.
func TestInitKeepsFiles(t *testing.T) {
	for _, c := range []struct {
		keep []int
		want string
	}{{[]int{12, 3, 7, 8}, "4-6 9-11 13-2147483646 "}, {nil, "3-2147483646 "}, {[]int{4}, "3-3 5-2147483646 "}} {
		p := &program{}
		p.keep(c.keep)
		var got strings.Builder
		for _, call := range p.initCalls {
			fmt.Fprintf(&got, "%d-%d ", call.args[0], call.args[1])
		}
		if got.String() != c.want {
			t.Errorf("with %v it closes %s, want %s", c.keep, got.String(), c.want)
		}
	}
}
