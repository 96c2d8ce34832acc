package local

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/sandbox"
)

// held is a folder of inputs that is open while a command has it mounted. Somebody may take it away meanwhile, and its files with it: what the command
// made of the rest is no result. While it is open no other folder can have its number.
type held struct {
	digest digest.Digest
	path   string
	fd     int
}

// hold opens the folders that a sandbox shows.
func hold(a executor.Action, s *sandbox.Spec) (all []held, err error) {
	for _, h := range []held{{digest: a.InputRoot, path: s.Lower}, {digest: a.Root, path: s.Root}} {
		if h.path == "" {
			continue
		}
		if h.fd, err = unix.Open(h.path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err != nil {
			release(all)
			return nil, h.gone(err)
		}
		all = append(all, h)
	}
	return all, nil
}

func release(all []held) {
	for _, h := range all {
		_ = unix.Close(h.fd)
	}
}

// takenAway returns an error where one of the folders is not in its place any more. Folders leave their place before anything in them is removed.
func takenAway(all []held) error {
	for _, h := range all {
		var was, is unix.Stat_t
		err := errors.Join(unix.Fstat(h.fd, &was), unix.Lstat(h.path, &is))
		if err == nil && (was.Dev != is.Dev || was.Ino != is.Ino) {
			err = errors.New("another folder is in its place")
		}
		if err != nil {
			return h.gone(err)
		}
	}
	return nil
}

func (h held) gone(err error) error {
	return &executor.MissingInputError{Digest: h.digest, Err: fmt.Errorf("its folder was removed while a command needed it: %w", err)}
}
