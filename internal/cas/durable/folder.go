package durable

import "os"

// Mkdir makes a new folder with the permissions perm, less the umask, and returns its path. Like a file of Create it is private until it is renamed.
func (t *Temp) Mkdir(perm os.FileMode) (made string, err error) {
	err = t.place(func(path string) error {
		made = path
		return os.Mkdir(path, perm)
	})
	return made, err
}
