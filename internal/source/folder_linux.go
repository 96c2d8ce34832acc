package source

import (
	"bytes"
	"encoding/binary"
	"os"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/internal/source/statindex"
)

// The layout of struct linux_dirent64.
const (
	direntLength = 16 // 2 bytes
	direntType   = 18 // 1 byte
	direntName   = 19 // ends in a zero byte
)

// list appends the names in the folder to all, in no order. The names that were read together share one string.
func (f *folder) list(buf []byte, all []child) ([]child, error) {
	for {
		n, err := retry(func() (int, error) { return unix.ReadDirent(f.fd, buf) })
		if err != nil {
			return nil, &os.PathError{Op: "readdir", Path: f.path, Err: err}
		}
		if n <= 0 {
			return all, nil
		}
		text := string(buf[:n])
		for rest := buf[:n]; len(rest) > direntName; {
			length := int(binary.NativeEndian.Uint16(rest[direntLength:]))
			if length <= direntName || length > len(rest) {
				return nil, &os.PathError{Op: "readdir", Path: f.path, Err: unix.EIO}
			}
			name := rest[direntName:length]
			if end := bytes.IndexByte(name, 0); end >= 0 {
				name = name[:end]
			}
			at := n - len(rest) + direntName
			if s := text[at : at+len(name)]; s != "." && s != ".." {
				all = append(all, child{name: s, kind: direntKind(rest[direntType])})
			}
			rest = rest[length:]
		}
	}
}

func direntKind(t byte) uint32 {
	switch t {
	case unix.DT_REG:
		return statindex.TypeRegular
	case unix.DT_DIR:
		return statindex.TypeFolder
	case unix.DT_LNK:
		return statindex.TypeSymlink
	case unix.DT_UNKNOWN:
		return kindUnknown
	default:
		return kindSpecial
	}
}
