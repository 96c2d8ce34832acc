// Package checkout keeps directories of the store as folders on disk, each made once, for who mounts them read-only as the lower layer of a step's
// root. So what a step's inputs cost does not grow with the number of files in them.
//
//	DIR/tmp/                 what is still being made, swept like the temporary files of a store
//	DIR/GENERATION/trees/    finished folders; the name of one is the SHA-256 of its Directory message
//	DIR/GENERATION/files/    their files by content and permissions, to which the trees have hard links
//
// A tree is made in tmp and gets its name when it is whole, so that whoever dies leaves nothing that is taken for whole. Nothing is synced: what was made
// before the machine was last started may have lost content in a power cut, so a generation has the name of one start of the machine (and of the owner of the
// files) and is never looked at after another. Files are not hard links to blobs of the store: those have other permissions, and damage to one would be
// damage to both. Their modification time is one constant, as that of blobs is: the first use of a tree in a process looks at all of it, and what was
// written to since is made again. When a tree was last used is the access time of its folder.
//
// The package knows nothing of steps, mounts and namespaces (internal/executor), nor who decides what is collected.
package checkout

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/cas/durable"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/tree"
)

// refreshAfter is how old a tree's last use may be on record while it is in use.
const refreshAfter = time.Hour

// untouched is the modification time of everything in a tree: that of blobs, for the same reason.
func untouched() time.Time { return time.Unix(315532800, 0) }

// Config says what is checked out, and where.
type Config struct {
	Store cas.Store
	// Dir is made when something is checked out. Processes share it.
	Dir string
	// UID and GID are who the files belong to, where this process may give them away; -1 is the caller.
	UID, GID int
}

// Checkouts are the folders. All methods are safe for concurrent use, and processes do not get in each other's way.
type Checkouts struct {
	store      cas.Store
	files      *tree.Files
	dir        string
	generation string // below dir
	boot       string // names this start of the machine, or this process
	uid, gid   int    // -1: files have the owner that they are made with
	temp       *durable.Temp

	mu   sync.Mutex
	uses map[digest.Digest]*use

	index poolIndex
}

// use is a tree that this process has asked for.
type use struct {
	done    chan struct{} // closed when path or err is there
	path    string
	err     error
	touched time.Time // when its last use was put on record; guarded by Checkouts.mu
}

// Open returns the checkouts in a folder. It sweeps what dead processes left there.
func Open(c Config) (*Checkouts, error) {
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("checkout: open: %w", err)
	}
	boot := bootID(bootFile)
	temp, err := durable.OpenTemp(filepath.Join(dir, tempName))
	if err != nil {
		return nil, fmt.Errorf("checkout: open: %w", err)
	}
	o := &Checkouts{
		store: c.Store, files: tree.NewFiles(c.Store), dir: dir, temp: temp,
		uid: foreign(c.UID, os.Geteuid()), gid: foreign(c.GID, os.Getegid()),
		uses: map[digest.Digest]*use{}, boot: boot,
	}
	o.generation = filepath.Join(dir, fmt.Sprintf("%s.%d.%d", boot, owner(c.UID, os.Geteuid()), owner(c.GID, os.Getegid())))
	return o, nil
}

// owner is who files belong to when want was asked for by who is own.
func owner(want, own int) int {
	if want < 0 {
		return own
	}
	return want
}

// foreign is whom files are to be given to, or -1 where they have the right owner anyway.
func foreign(want, own int) int {
	if want == own {
		return -1
	}
	return want
}

// Close gives up what is being made. Folders stay for the next who uses them.
func (c *Checkouts) Close() error { return c.temp.Close() }

// Folder returns the absolute path of a folder that holds exactly the directory d: files of mode 0644 or 0755, folders of mode 0755. It is shared and
// nobody may write to it. A blob that is missing or damaged in the store is a *cas.NotFoundError or *cas.CorruptError.
func (c *Checkouts) Folder(ctx context.Context, d digest.Digest) (string, error) {
	for {
		u, mine := c.use(d)
		if mine {
			u.path, u.err = c.provide(ctx, d)
			c.provided(d, u)
			return u.path, wrap(d, u.err)
		}
		select {
		case <-u.done:
		case <-ctx.Done():
			return "", wrap(d, ctx.Err())
		}
		switch {
		case u.err == nil && c.refresh(d, u):
			return u.path, nil
		case ctx.Err() != nil:
			return "", wrap(d, ctx.Err())
		case u.err != nil && !errors.Is(u.err, context.Canceled) && !errors.Is(u.err, context.DeadlineExceeded):
			return "", wrap(d, u.err)
		}
	}
}

func wrap(d digest.Digest, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("check out directory %s: %w", d.Short(), err)
}

// use returns the use of d, and whether the caller has to provide it.
func (c *Checkouts) use(d digest.Digest) (u *use, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if u := c.uses[d]; u != nil {
		return u, false
	}
	u = &use{done: make(chan struct{}), touched: time.Now()}
	c.uses[d] = u
	return u, true
}

// provided lets those go on who wait for u. A failure is forgotten, so that the next one tries again.
func (c *Checkouts) provided(d digest.Digest, u *use) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if u.err != nil {
		delete(c.uses, d)
	}
	close(u.done)
}

// refresh puts on record that u is used, if that was long ago, and tells whether its folder is still there: another process may have removed it.
func (c *Checkouts) refresh(d digest.Digest, u *use) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	var err error
	if now := time.Now(); now.Sub(u.touched) < refreshAfter {
		_, err = os.Lstat(u.path)
	} else if err = note(u.path, now); err == nil {
		u.touched = now
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return true
	}
	if c.uses[d] == u {
		delete(c.uses, d)
	}
	return false
}

// bootLength is how long the name of a start of the machine is, that of a process being shorter.
const bootLength = len("00000000-0000-0000-0000-000000000000")

// isDead tells whether a generation is of an earlier start of the machine, so that nobody will use it any more.
func (c *Checkouts) isDead(generation string) bool {
	boot, _, _ := strings.Cut(generation, ".")
	return len(c.boot) == bootLength && len(boot) == bootLength && boot != c.boot
}

// bury removes the generations that are dead. What cannot be removed, since it is another user's, is left to who collects.
func (c *Checkouts) bury() {
	generations, _ := list(c.dir)
	for _, g := range generations {
		if c.isDead(g) {
			_ = c.takeAway(filepath.Join(c.dir, g))
		}
	}
}

// provide returns the folder of d, which is looked at where there is one and made where not.
func (c *Checkouts) provide(ctx context.Context, d digest.Digest) (string, error) {
	path := c.tree(d)
	made := ""
	defer func() {
		if made != "" {
			_ = os.RemoveAll(made)
		}
	}()
	for {
		state, err := c.inspect(ctx, d, path)
		switch {
		case err != nil:
			return "", err
		case state.sound():
			return path, nil
		case state.there:
			if err := c.drop(path, state.damaged); err != nil {
				return "", err
			}
		}
		if made == "" {
			if made, err = c.make(ctx, d); err != nil {
				return "", err
			}
		}
		switch published, err := c.publish(made, path); {
		case err != nil:
			return "", err
		case published:
			made = ""
			return path, nil
		}
		// Another process was faster: what it made is looked at like anything else.
	}
}

// The folders: one for all, and those of a generation.
const (
	tempName  = "tmp"
	treesName = "trees"
	filesName = "files"
)

func (c *Checkouts) tree(d digest.Digest) string {
	const sep = string(filepath.Separator)
	return c.generation + sep + treesName + sep + d.Hex()
}

// pooled returns where the file e is kept for trees to come.
func (c *Checkouts) pooled(e tree.Entry) string {
	const sep = string(filepath.Separator)
	hex := e.Digest.Hex()
	return strings.Join([]string{c.generation, filesName, hex[:1], hex + suffix(e.Executable)}, sep)
}

func suffix(executable bool) string {
	if executable {
		return "x"
	}
	return ""
}
