package checkout

import (
	"io/fs"
	"os"
	"time"

	"github.com/towpath/towpath/internal/tree"
)

// anyMode is for systems without permissions.
const anyMode = true

func modeOf(tree.Entry) fs.FileMode { return 0o666 }

// stamp gives the file or folder at path its times. A symlink has none of its own here.
func stamp(path string, accessed time.Time) error {
	if info, err := os.Lstat(path); err == nil && info.Mode()&fs.ModeSymlink != 0 {
		return nil
	}
	return os.Chtimes(path, accessed, untouched())
}

// link gives the file from the name to too.
func link(from, to string) error { return os.Link(from, to) }

// isFull tells whether a file could not be linked since it has too many links.
func isFull(error) bool { return false }

// usage returns what is known of a file: it counts for every tree that has it, and is kept as long as the trees are.
func usage(info fs.FileInfo) (inode, links uint64, bytes int64) { return 0, 0, info.Size() }
