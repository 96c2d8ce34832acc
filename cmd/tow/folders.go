package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/config"
)

// mark is a file that tells other programs what a folder is.
type mark struct{ name, text string }

// makeFolders makes the folders that the settings name. They are marked, so that neither git nor a source of a pipeline takes them for work when
// they are in a work tree.
func makeFolders(s config.Settings) error {
	ignore := mark{".gitignore", "# Made by tow.\n*\n"}
	tag := mark{"CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n# Made by tow. See https://bford.info/cachedir/\n"}
	if err := makeFolder(s.CacheDir, tag, ignore); err != nil {
		return folderError(s, "cache_dir", err)
	}
	if err := makeFolder(s.StateDir, ignore); err != nil && !cas.IsFull(err) && !cas.IsReadOnly(err) {
		return folderError(s, "state_dir", err) // one that may only be read is an error of those who write there
	}
	return nil
}

// folderError tells apart what only another setting helps against.
func folderError(s config.Settings, key string, err error) error {
	if cas.IsFull(err) {
		return fmt.Errorf("make the folder of the setting %s: %w", key, err)
	}
	return s.Wrong(key, fmt.Sprintf("the folder cannot be made: %v", err))
}

// makeFolder makes a folder and marks it if it has nothing in it, or nothing but what tow has made before there were marks. A folder that a person
// uses for other things as well is not marked: what is in it would be ignored.
func makeFolder(folder string, marks ...mark) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	last := filepath.Join(folder, marks[len(marks)-1].name)
	if _, err := os.Lstat(last); err == nil {
		return nil
	}
	entries, err := os.ReadDir(folder)
	if err != nil || slices.ContainsFunc(entries, func(e os.DirEntry) bool { return !isOurs(e.Name()) }) {
		return err
	}
	for _, m := range marks {
		err := os.WriteFile(filepath.Join(folder, m.name), []byte(m.text), 0o644)
		if cas.IsReadOnly(err) || cas.IsFull(err) {
			return nil // one that is served from has no marks then
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// isOurs tells whether a name in a folder of tow is one that tow gives.
func isOurs(name string) bool {
	switch name {
	case "cas", "results", "index", "checkouts", "work", "programs", "sdk", "gowork", "projects", "CACHEDIR.TAG":
		return true
	}
	return false
}
