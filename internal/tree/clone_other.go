//go:build !linux

package tree

import (
	"errors"
	"os"
)

// cloneFile cannot clone here.
func cloneFile(_, _ *os.File) error { return errors.ErrUnsupported }
