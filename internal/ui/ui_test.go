package ui

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/towpath/towpath/internal/ui/jsonl"
	"github.com/towpath/towpath/internal/ui/plain"
	"github.com/towpath/towpath/internal/ui/tty"
	"github.com/towpath/towpath/internal/ui/uitest"
)

// env looks variables up in a list like `A=1 B=`.
func env(list string) func(string) (string, bool) {
	vars := map[string]string{}
	for v := range strings.FieldsSeq(list) {
		name, value, _ := strings.Cut(v, "=")
		vars[name] = value
	}
	return func(name string) (string, bool) {
		v, ok := vars[name]
		return v, ok
	}
}

func TestKind(t *testing.T) {
	for _, c := range []struct {
		o        Options
		env      string
		terminal bool
		want     kind
	}{
		{Options{}, "", true, kindTTY},
		{Options{}, "TERM=xterm CI=", true, kindTTY},
		{Options{}, "CI=false", true, kindTTY},
		{Options{}, "CI=true", true, kindPlain},
		{Options{}, "CI=1", true, kindPlain},
		{Options{}, "TERM=dumb", true, kindPlain},
		{Options{}, "NO_COLOR=1", true, kindTTY},
		{Options{}, "", false, kindPlain},
		{Options{}, "FORCE_COLOR=1", false, kindPlain},
		{Options{Plain: true}, "", true, kindPlain},
		{Options{ForceTTY: true}, "CI=true TERM=dumb", false, kindTTY},
		{Options{JSON: true}, "", true, kindJSON},
		{Options{JSON: true, Quiet: true}, "CI=true", false, kindJSON},
	} {
		c.o.LookupEnv = env(c.env)
		if got, err := c.o.kind(c.terminal); err != nil || got != c.want {
			t.Errorf("%+v with %q on a terminal %v: %v, %v, want %v", c.o, c.env, c.terminal, got, err, c.want)
		}
	}
	for _, o := range []Options{{JSON: true, Plain: true}, {JSON: true, ForceTTY: true}, {Plain: true, ForceTTY: true}, {Verbose: true, Quiet: true}} {
		if _, err := o.kind(true); err == nil {
			t.Errorf("%+v is no error", o)
		}
	}
}

func TestColor(t *testing.T) {
	for _, c := range []struct {
		env            string
		terminal, want bool
	}{
		{"", true, true},
		{"", false, false},
		{"NO_COLOR=", true, true},
		{"NO_COLOR=1", true, false},
		{"NO_COLOR=0", true, false},
		{"NO_COLOR=1 FORCE_COLOR=1", true, false},
		{"FORCE_COLOR=1", false, true},
		{"FORCE_COLOR=3 TERM=dumb", false, true},
		{"FORCE_COLOR=0", true, false},
		{"FORCE_COLOR=false", true, false},
		{"CLICOLOR_FORCE=1", false, true},
		{"CLICOLOR_FORCE=0", false, false},
		{"CLICOLOR=0", true, false},
		{"CLICOLOR=0 CLICOLOR_FORCE=1", true, true},
		{"TERM=dumb", true, false},
		{"CI=true", true, true},
	} {
		if got := Color(env(c.env), c.terminal); got != c.want {
			t.Errorf("with %q on a terminal %v: %v", c.env, c.terminal, got)
		}
	}
}

func TestASCII(t *testing.T) {
	for e, want := range map[string]bool{
		"": false, "TERM=linux LANG=de_DE.UTF-8": true, "LANG=C": true, "LANG=C LC_ALL=C.UTF-8": false, "LC_CTYPE=en_US.utf8 LANG=C": false,
		"LC_ALL=de_DE.ISO-8859-1": true,
	} {
		if got := ascii(env(e)); got != want {
			t.Errorf("with %q: %v", e, got)
		}
	}
}

func TestChoose(t *testing.T) {
	for _, c := range []struct {
		o    Options
		is   func(UI) bool
		want string
	}{
		{Options{}, func(u UI) bool { _, ok := u.(*plain.UI); return ok }, "ok: 3 ran, 2 cached"},
		{Options{JSON: true}, func(u UI) bool { _, ok := u.(*jsonl.UI); return ok }, `"type":"run.finished"`},
		{Options{ForceTTY: true}, func(u UI) bool { _, ok := u.(*tty.UI); return ok }, "\x1b[32mok:\x1b[m 3 ran, 2 cached"},
	} {
		path := filepath.Join(t.TempDir(), "out")
		f, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		c.o.Stdout, c.o.LookupEnv = f, env("")
		u, err := Choose(c.o)
		if err != nil {
			t.Fatal(err)
		}
		if !c.is(u) {
			t.Errorf("%+v chose %T", c.o, u)
		}
		for _, r := range uitest.Records(uitest.Success()...) {
			u.Emit(r)
		}
		if err := u.Close(); err != nil {
			t.Error(err)
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		out, err := io.ReadAll(f)
		if err != nil || !strings.Contains(string(out), c.want) {
			t.Errorf("%T wrote %q, %v", u, out, err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := Choose(Options{JSON: true, Plain: true, LookupEnv: env(""), Stdout: os.Stdout}); err == nil {
		t.Error("a contradiction is no error")
	}
}
