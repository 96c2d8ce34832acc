package statindex

import "os"

// createTemp opens the temporary file of the index at path, or nil
// while another process saves the same index.
func createTemp(path string) (*os.File, error) {
	f, err := os.OpenFile(tempName(path), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if os.IsExist(err) {
		return nil, nil
	}
	return f, err
}

// publish closes the temporary file and gives it the name path.
func publish(tmp *os.File, path string) error {
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

// sweep removes the temporary file of a process that was killed. Windows refuses that while one has it open.
func sweep(path string) { _ = os.Remove(tempName(path)) }
