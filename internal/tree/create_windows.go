package tree

import (
	"errors"
	"os"
)

// create writes a new file.
func create(path string, content []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Close()); err != nil {
		_ = os.Remove(path)
		return err
	}
	return nil
}

// MakeFolder makes a folder.
func MakeFolder(path string) error { return os.Mkdir(path, ModeFolder) }
