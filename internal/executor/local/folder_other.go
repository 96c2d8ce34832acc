//go:build !linux

package local

// spread does nothing where no file system knows of it.
func spread(string) {}

// isMarkedFolder is not asked where folders are not used again.
func isMarkedFolder(string, bool) bool { return false }
