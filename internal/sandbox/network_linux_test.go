package sandbox_test

import (
	"testing"

	"github.com/towpath/towpath/internal/nobody"
	"github.com/towpath/towpath/internal/sandbox"
)

// TestNetworks holds that a network is used again where that makes no difference, and never where something has happened in it.
func TestNetworks(t *testing.T) {
	nobody.Run(t)
	s := sandbox.New()
	defer s.Close()
	const facts = "cat /proc/net/dev /proc/net/snmp /proc/net/netstat; head -n 1 /proc/net/sockstat; find /proc/sys/net -type f | sort | xargs grep -s ."
	const changeSettings = "for f in $(find /proc/sys/net -type f); do echo 7 > $f; done 2>/dev/null"
	name := sh(t, s, "readlink /proc/self/ns/net")
	if again := sh(t, s, "readlink /proc/self/ns/net"); again != name {
		t.Errorf("after a command that did nothing in %q the next has %q", name, again)
	}
	first := sh(t, s, facts)
	for what, script := range map[string]string{
		"packets":                                "(exec 3<>/dev/tcp/127.0.0.1/9) 2>&1",
		"a connection elsewhere":                 "(exec 3<>/dev/tcp/192.0.2.1/9) 2>&1",
		"datagrams":                              "echo hello > /dev/udp/127.0.0.1/9",
		"changes of settings":                    changeSettings,
		"changes as an owner of user namespaces": "unshare --user --map-root-user bash -c '" + changeSettings + "'",
	} {
		spec := slot(t)
		spec.Programs, spec.Args = []string{"/bin/bash"}, []string{"bash", "-c", script + "; true"}
		if _, _, err := run(t, s, spec); err != nil {
			t.Fatal(err)
		}
		if now := sh(t, s, facts); now != first {
			t.Errorf("after %s the next command sees %q, want %q", what, now, first)
		}
	}
}
