package tree

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/digest"
)

// Materialize writes the tree d below dir, a folder that exists and is empty. Files get mode 0755 where they are executable and
// 0644 where not, folders 0755. Symlinks are written as they are, wherever they point.
//
// Files are clones or copies and never hard links, since who gets them may write to them. Their content is verified on the way:
// what is damaged is an error that names the path and wraps a *cas.CorruptError. After an error dir holds some of the tree.
func Materialize(ctx context.Context, store cas.Store, d digest.Digest, dir string) error {
	if err := wantEmpty(dir); err != nil {
		return fmt.Errorf("materialize: %w", err)
	}
	files := NewFiles(store)
	err := Spread(ctx, store, d, Visitor{
		Folder: func(path string, _ int) error {
			if path == "" {
				return nil
			}
			target, err := Localize(dir, path)
			if err != nil {
				return err
			}
			return MakeFolder(target)
		},
		Leaves: func(leaves []Entry) error {
			for _, e := range leaves {
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := leaf(ctx, files, e, dir); err != nil {
					return err
				}
			}
			return nil
		},
	})
	if err != nil {
		return fmt.Errorf("materialize tree %s: %w", d.Short(), err)
	}
	return nil
}

func leaf(ctx context.Context, files *Files, e Entry, dir string) error {
	target, err := Localize(dir, e.Path)
	if err != nil {
		return err
	}
	if e.Kind == KindSymlink {
		return os.Symlink(filepath.FromSlash(e.Target), target)
	}
	if err := files.Write(ctx, e, target); err != nil {
		return fmt.Errorf("file %q: %w", e.Path, err)
	}
	return nil
}

// Localize returns where the path of a tree goes on this operating system when the tree is written to the folder dir.
func Localize(dir, path string) (string, error) {
	local, err := filepath.Localize(path)
	if err != nil {
		return "", &PathError{Path: path, Reason: "cannot be written on this operating system"}
	}
	return dir + string(filepath.Separator) + local, nil
}

func wantEmpty(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	names, err := f.Readdirnames(1)
	if len(names) > 0 {
		return fmt.Errorf("folder %s is not empty", dir)
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}
