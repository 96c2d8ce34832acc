package quote

import (
	"os/exec"
	"strings"
	"testing"
)

// A command is told from others by a line, however many lines it has.
func TestLine(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"echo", "a b", ""}, "echo 'a b' ''"},
		{[]string{"sh", "-ec", "\n  cc -c x.c  \n  ld x.o\n", "last"}, "sh -ec 'cc -c x.c …' last"},
		{[]string{"sh", "-c", "one\n\n"}, "sh -c one"},
		{[]string{"sh", "\n\n"}, "sh '  '"},
	} {
		if got := Line(c.args...); got != c.want {
			t.Errorf("Line(%q) = %q, want %q", c.args, got, c.want)
		}
	}
}

// What is printed can be pasted: a shell makes the same arguments of it.
func TestWordsArePastable(t *testing.T) {
	args := []string{"printf", `%s\0`, "plain", "", "with space", "it's", "two\nlines", "tab\there", "\x1b[31mred", "back\\slash\x01%d'\"$HOME`id`", "ünï", "\x80broken"}
	text := Words(args...)
	if strings.ContainsAny(text, "\x1b\x01") || strings.Contains(text, "\x80") {
		t.Errorf("a terminal would obey %q", text)
	}
	sh, err := exec.LookPath("sh")
	if err != nil {
		return // Windows has none
	}
	out, err := exec.Command(sh, "-c", text).Output()
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	if want := strings.Join(args[2:], "\x00") + "\x00"; string(out) != want {
		t.Errorf("a shell makes %q of %s, want %q", out, text, want)
	}
}
