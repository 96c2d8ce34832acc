//go:build linux && (amd64 || arm64)

package sandbox

import (
	"bytes"
	"fmt"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// network is a network namespace with a loopback interface and nothing else. Making one and taking it down takes longer than all else of a sandbox, so
// that it is used again where that can make no difference: when nothing has gone over it and nothing is open in it. A command has no right to
// change anything else there.
type network struct {
	fd    int
	facts []fact
}

// fact is a file in which the system tells what has gone on in a network, and what it said at first.
type fact struct {
	fd    int
	first []byte
}

// factFiles tell of packets, failed connections, open sockets, and of flow labels, which outlive their sockets.
func factFiles() []string {
	return []string{"dev", "snmp", "netstat", "sockstat", "unix", "snmp6", "ip6_flowlabel"}
}

// takeNetwork returns a network that nobody uses and nothing has happened in.
func (h *helper) takeNetwork() (*network, error) {
	h.mu.Lock()
	if n := len(h.networks); n > 0 {
		last := h.networks[n-1]
		h.networks = h.networks[:n-1]
		h.mu.Unlock()
		return last, nil
	}
	h.mu.Unlock()
	var n *network
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The thread is in another namespace from here on, and ends with the goroutine.
		runtime.LockOSThread()
		n, err = makeNetwork()
	}()
	<-done
	return n, err
}

// giveNetwork takes a network back when all commands in it have ended.
func (h *helper) giveNetwork(n *network) {
	if n == nil {
		return
	}
	if !n.untouched() {
		n.close()
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.networks = append(h.networks, n)
}

func makeNetwork() (*network, error) {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return nil, &SetupError{networkOp, err}
	}
	if err := startLoopback(); err != nil {
		return nil, &SetupError{"start the loopback interface", err}
	}
	fd, err := unix.Open("/proc/thread-self/ns/net", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &SetupError{"open a network", err}
	}
	n := &network{fd: fd}
	for _, name := range factFiles() {
		fd, err := unix.Open("/proc/thread-self/net/"+name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == unix.ENOENT && strings.Contains(name, "6") {
			continue // there is no such protocol
		}
		if err != nil {
			n.close()
			return nil, &SetupError{"open a network", err}
		}
		n.facts = append(n.facts, fact{fd: fd})
	}
	for i := range n.facts {
		first, err := n.facts[i].now(nil)
		if err != nil {
			n.close()
			return nil, &SetupError{"look at a network", err}
		}
		n.facts[i].first = first
	}
	return n, nil
}

func startLoopback() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	lo, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	lo.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, lo)
}

// now returns what the file says.
func (f *fact) now(buf []byte) ([]byte, error) {
	for {
		buf = slices.Grow(buf, 4<<10)
		n, err := unix.Pread(f.fd, buf[len(buf):cap(buf)], int64(len(buf)))
		if err != nil {
			return nil, fmt.Errorf("read: %w", err)
		}
		if n == 0 {
			break
		}
		buf = buf[:len(buf)+n]
	}
	if first, _, ok := bytes.Cut(buf, []byte("\n")); ok && bytes.HasPrefix(first, []byte("sockets:")) {
		return first, nil // the rest counts what is in other networks, too
	}
	return buf, nil
}

// untouched tells whether the system says of the network what it said when that was new.
func (n *network) untouched() bool {
	buf := make([]byte, 0, 8<<10)
	for i := range n.facts {
		now, err := n.facts[i].now(buf)
		if err != nil || !bytes.Equal(now, n.facts[i].first) {
			return false
		}
	}
	return true
}

func (n *network) close() {
	_ = unix.Close(n.fd)
	for _, f := range n.facts {
		_ = unix.Close(f.fd)
	}
}
