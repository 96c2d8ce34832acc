package session

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/towpath/towpath/internal/digest"
)

// sdkDigest names the content of an SDK.
func sdkDigest(sdk fs.FS) (digest.Digest, error) {
	h := digest.NewHasher()
	err := fs.WalkDir(sdk, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(sdk, path)
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%s\x00%d\x00", path, len(b))
		_, err = h.Write(b)
		return err
	})
	return h.Digest(), err
}

// unpack puts an SDK below the cache folder, once for each content, and returns its folder. A folder that is there is whole, since it is
// renamed into place.
func unpack(cacheDir, language string, sdk fs.FS) (string, error) {
	d, err := sdkDigest(sdk)
	if err != nil {
		return "", fmt.Errorf("read the %s SDK inside tow: %w", language, err)
	}
	parent := filepath.Join(cacheDir, "sdk", language)
	final := filepath.Join(parent, d.Short())
	if intact(final, sdk) && touch(final) == nil {
		return final, nil
	}
	if err := os.MkdirAll(parent, 0o755); err != nil {
		return "", fmt.Errorf("unpack the %s SDK: %w", language, err)
	}
	tmp, err := os.MkdirTemp(parent, ".unpack-")
	if err != nil {
		return "", fmt.Errorf("unpack the %s SDK: %w", language, err)
	}
	defer os.RemoveAll(tmp) // gone already when it was renamed
	err = os.CopyFS(tmp, sdk)
	if err == nil && language == string(Go) {
		err = os.WriteFile(filepath.Join(tmp, "go.mod"), []byte("module "+sdkModule+"\n\ngo 1.26\n"), 0o644)
	}
	if err == nil {
		err = os.Chmod(tmp, 0o755)
	}
	if err == nil {
		err = syncTree(tmp)
	}
	if err == nil && exists(final) && !intact(final, sdk) {
		// Damaged: out of the way, and swept with what else is left over.
		err = os.Rename(final, tmp+"-damaged")
		defer os.RemoveAll(tmp + "-damaged")
	}
	if err == nil {
		err = os.Rename(tmp, final)
	}
	if err != nil && !intact(final, sdk) {
		return "", fmt.Errorf("unpack the %s SDK into %s: %w", language, final, err)
	}
	sweep(parent, func(string) string { return "" })
	return final, nil
}

// intact tells whether every file of an SDK is in the folder as it should be.
func intact(folder string, sdk fs.FS) bool {
	return fs.WalkDir(sdk, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		want, err := fs.ReadFile(sdk, path)
		if err != nil {
			return err
		}
		got, err := os.ReadFile(filepath.Join(folder, filepath.FromSlash(path)))
		if err == nil && !bytes.Equal(got, want) {
			err = fs.ErrInvalid
		}
		return err
	}) == nil
}

// syncTree makes files durable, so that a folder which is renamed into place is never found empty after a power cut.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}
