package durable

import (
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestFileSystemsAreSyncedByWhatIsOpen holds that a file system is synced through a descriptor that is older than what was written, and by nothing else.
func TestFileSystemsAreSyncedByWhatIsOpen(t *testing.T) {
	dir := t.TempDir()
	temp, err := OpenTemp(filepath.Join(dir, "tmp"))
	if err != nil {
		t.Fatal(err)
	}
	if temp.SyncFileSystem() {
		t.Error("it is synced though nothing was open when nothing was written")
	}
	if _, err := temp.Write([]byte("x"), 0o644, time.Unix(1, 0)); err != nil {
		t.Fatal(err)
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	known := fs.Type == unix.EXT4_SUPER_MAGIC || fs.Type == unix.XFS_SUPER_MAGIC || fs.Type == unix.BTRFS_SUPER_MAGIC || fs.Type == unix.TMPFS_MAGIC
	if got := temp.SyncFileSystem(); got != (known && reportsFailures()) {
		t.Errorf("SyncFileSystem = %v on a file system of type %#x", got, fs.Type)
	}
	if err := temp.Close(); err != nil {
		t.Fatal(err)
	}
	if temp.SyncFileSystem() {
		t.Error("it is synced after the end")
	}
}
