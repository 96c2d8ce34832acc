//go:build !linux

package source

import (
	"io/fs"
	"os"

	"github.com/towpath/towpath/internal/source/statindex"
)

// list appends the names in the folder to all, in no order.
func (f *folder) list(_ []byte, all []child) ([]child, error) {
	d, err := os.Open(f.path)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	entries, err := d.ReadDir(-1)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		c := child{name: e.Name(), kind: kindSpecial}
		switch e.Type() {
		case 0:
			c.kind = statindex.TypeRegular
		case fs.ModeDir:
			c.kind = statindex.TypeFolder
		case fs.ModeSymlink:
			c.kind = statindex.TypeSymlink
		}
		all = append(all, c)
	}
	return all, nil
}
