//go:build !windows

package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// SyncsLate tells whether a file can be synced after it was closed.
const SyncsLate = true

// Publish gives the file tmp the name final unless that is taken, which is an error that matches fs.ErrExist. A blob that is
// being synced under its name is so never swapped for another that is not.
func Publish(tmp, final string) error {
	err := renameNew(tmp, final)
	if !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	if err := os.Link(tmp, final); err == nil {
		return os.Remove(tmp)
	} else if errors.Is(err, fs.ErrExist) || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// A file system without hard links either. Between the look and the rename another may take the name with the same content.
	if _, err := os.Lstat(final); err == nil {
		return &os.LinkError{Op: "rename", Old: tmp, New: final, Err: fs.ErrExist}
	}
	return os.Rename(tmp, final)
}

// Replace gives the file tmp the name final, whatever had it.
func Replace(tmp, final string) error { return os.Rename(tmp, final) }

// SyncDir makes the names in the folder dir durable. A folder that is gone has none.
func SyncDir(dir string) error {
	f, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := SyncFile(f); err != nil {
		return fmt.Errorf("sync %s: %w", dir, err)
	}
	return nil
}
