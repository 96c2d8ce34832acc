package local

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/sandbox"
)

// provenName is the file in the work folder that says that a sandbox was made here. Making one to find out takes longer than a fully
// cached run.
const provenName = "sandbox"

// isolate picks the isolation: that which is wanted, or the strongest that the machine allows.
func (e *Executor) isolate(want string) error {
	switch {
	case want == Workspace:
		return nil
	case want != Sandbox && want != "":
		return fmt.Errorf("isolation %q is neither %q nor %q", want, Sandbox, Workspace)
	case e.folders == nil && want == "":
		return nil
	case e.folders == nil:
		return errors.New("a sandbox needs checkouts")
	}
	e.work.owner, e.work.overlay = sandbox.Owner(), true
	box := sandbox.New()
	if e.proven() {
		e.sandbox, e.isolation = box, Sandbox
		return nil
	}
	if want == "" && cas.IsReadOnly(e.work.unusable) {
		e.asFilled(box)
		return nil
	}
	err := e.try(box)
	if err == nil {
		e.sandbox, e.isolation = box, Sandbox
		e.prove()
		return nil
	}
	_ = box.Close() // there is nothing in it
	e.work.owner, e.work.overlay = -1, false
	if want == Sandbox || !errors.As(err, &e.refused) {
		return fmt.Errorf("make a sandbox: %w", err)
	}
	return nil
}

// asFilled picks, for a folder that may only be read, the isolation of who filled it. There is no room to try a sandbox, or to run anything: what
// is cached can be found, and its keys tell the isolation.
func (e *Executor) asFilled(box *sandbox.Sandbox) {
	if _, err := os.Lstat(e.provenFile()); err == nil {
		e.sandbox, e.isolation = box, Sandbox
		return
	}
	_ = box.Close() // there is nothing in it
	e.work.owner, e.work.overlay = -1, false
	e.refused = &sandbox.RefusedError{
		Why: "the cache may only be read, and was not filled from sandboxes", Remedy: "name another cache with --cache-dir or TOW_CACHE_DIR", Err: e.work.unusable,
	}
}

// try makes a sandbox in which nothing is run.
func (e *Executor) try(box *sandbox.Sandbox) error {
	w, err := e.work.acquire()
	if err != nil {
		return err
	}
	defer e.work.release(w)
	lower := filepath.Join(w.dir, "lower")
	if err := os.Mkdir(lower, 0o755); err != nil {
		return err
	}
	defer os.Remove(lower)
	return box.Check(&sandbox.Spec{Lower: lower, Upper: w.root, Work: w.overlay, Home: w.home, Tmp: w.tmp})
}

// place identifies what an answer holds for: this start of the machine, this user, and where this process is.
func place() string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	parts := []string{strings.TrimSpace(string(boot)), fmt.Sprint(os.Geteuid())}
	for _, name := range []string{"user", "mnt"} {
		link, err := os.Readlink("/proc/self/ns/" + name)
		if err != nil {
			return ""
		}
		parts = append(parts, link)
	}
	return digest.OfBytes([]byte(strings.Join(parts, " "))).Hex() + "\n"
}

func (e *Executor) provenFile() string {
	return filepath.Join(filepath.Dir(e.work.session), provenName)
}

func (e *Executor) proven() bool {
	here := place()
	content, err := os.ReadFile(e.provenFile())
	return err == nil && here != "" && string(content) == here
}

func (e *Executor) prove() {
	if here := place(); here != "" {
		_ = os.WriteFile(e.provenFile(), []byte(here), 0o644) // it is found out once more where it is not there
	}
}

// disprove makes the next Executor find out.
func (e *Executor) disprove() { _ = os.Remove(e.provenFile()) }
