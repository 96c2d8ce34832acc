package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/towpath/towpath/bench/harness"
	"github.com/towpath/towpath/bench/proc"
	"github.com/towpath/towpath/internal/cas/disk"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/tree"
)

// artifactArgument is the first argument of this program where it is its own child that stores and restores a file.
const artifactArgument = "artifact-child"

const (
	artifactName   = "artifact"
	artifactBytes  = 4 << 30
	artifactMemory = 100 << 20 // at most, of the process that stores and restores it
)

func artifactOpenssl(l *lab) harness.Row {
	return harness.Row{
		Name:    "artifact-4g-openssl-cp",
		About:   "storing and restoring an artifact of 4 GiB in at most 100 MiB of memory against openssl dgst and cp of it, twice",
		Limit:   1.3,
		Metrics: timeAndCPU(),
		Warmups: 1,
		Runs:    5,
		Prepare: func(ctx context.Context) (*harness.Trial, error) {
			self, err := os.Executable()
			if err != nil {
				return nil, err
			}
			shell, err := exec.LookPath("sh")
			if err != nil {
				return nil, err
			}
			version, err := l.prepare(ctx, l.folder, "openssl", "version")
			if err != nil {
				return nil, err
			}
			folder, err := l.workload("artifact", "ChaCha8, seed 0", nil, makeArtifact)
			if err != nil {
				return nil, err
			}
			var file digest.Digest
			// Hashing is not measured here; it brings the file into memory for both sides.
			if file, err = digestOf(filepath.Join(folder, artifactName)); err != nil {
				return nil, err
			}
			const twice = "set -e; openssl dgst -sha256 artifact; cp artifact made/stored; openssl dgst -sha256 made/stored; cp made/stored made/restored"
			ours := proc.Cmd{Path: self, Args: []string{artifactArgument, artifactName, "made"}, Dir: folder, Env: l.environment()}
			theirs := proc.Cmd{Path: shell, Args: []string{"-c", twice}, Dir: folder, Env: l.environment()}
			return &harness.Trial{
				Peer:   strings.TrimSpace(version) + " and cp",
				Ours:   l.moved(ours, folder, func(stdout string) error { return l.restored(stdout, file) }, onceRestored(file)),
				Theirs: l.moved(theirs, folder, func(stdout string) error { return hashedTwice(stdout, file) }, func(string) error { return nil }),
			}, nil
		},
	}
}

// makeArtifact makes the file in folder: what cannot be compressed, and the same in every run.
func makeArtifact(folder string) error {
	if err := os.MkdirAll(folder, 0o777); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(folder, artifactName))
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, io.LimitReader(rand.NewChaCha8([32]byte{}), artifactBytes), make([]byte, 1<<20))
	// On the disk, so that writing it is no part of the first run.
	return errors.Join(err, f.Sync(), f.Close())
}

func digestOf(path string) (digest.Digest, error) {
	f, err := os.Open(path)
	if err != nil {
		return digest.Digest{}, err
	}
	defer f.Close()
	return digest.OfReader(f)
}

// moved returns a sampler of a command that writes to the folder made, which is empty before and removed afterwards. Neither is measured.
// Before that, whole looks at what is in it.
func (l *lab) moved(c proc.Cmd, folder string, check func(stdout string) error, whole func(made string) error) harness.Sampler {
	timed := l.timed(c, check)
	return func(ctx context.Context) ([]float64, error) {
		made := filepath.Join(folder, "made")
		if err := errors.Join(os.RemoveAll(made), os.Mkdir(made, 0o777)); err != nil {
			return nil, err
		}
		values, err := timed(ctx)
		if err == nil {
			err = whole(made)
		}
		return values, errors.Join(err, os.RemoveAll(made))
	}
}

// onceRestored returns a function that hashes what was restored, the first time that it is called: four more GiB to read are enough.
func onceRestored(want digest.Digest) func(made string) error {
	looked := false
	return func(made string) error {
		if looked {
			return nil
		}
		looked = true
		got, err := digestOf(filepath.Join(made, "restored", artifactName))
		if err == nil && got != want {
			err = fmt.Errorf("what was restored is %s and not %s", got, want)
		}
		return err
	}
}

// hashedTwice checks that openssl has found the digest of the file in both.
func hashedTwice(stdout string, file digest.Digest) error {
	if strings.Count(stdout, file.Hex()) != 2 {
		return fmt.Errorf("printed %q, which are not two times the digest %s", stdout, file.Hex())
	}
	return nil
}

// moves is what the child tells its parent.
type moves struct {
	Digest   digest.Digest `json:"digest"`   // under which the file was stored
	Restored int64         `json:"restored"` // how many bytes the restored file has
	Memory   int64         `json:"memory"`   // at the peak, all of the process
}

func (l *lab) restored(stdout string, file digest.Digest) error {
	var m moves
	if err := json.Unmarshal([]byte(stdout), &m); err != nil {
		return fmt.Errorf("printed %q: %w", stdout, err)
	}
	if m.Digest != file || m.Restored != file.Size {
		return fmt.Errorf("stored %s and restored %d bytes, want %s", m.Digest, m.Restored, file)
	}
	if m.Memory > artifactMemory {
		return fmt.Errorf("took %d MiB of memory, want at most %d", m.Memory>>20, artifactMemory>>20)
	}
	l.say("an artifact of 4 GiB was moved in %d MiB of memory", m.Memory>>20)
	return nil
}

// artifactChild stores the file as a step's output is stored, and restores it as an artifact is exported.
func artifactChild(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	m, err := move(ctx, args)
	if err == nil {
		err = json.NewEncoder(stdout).Encode(m)
	}
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	return 0
}

func move(ctx context.Context, args []string) (m moves, err error) {
	if len(args) != 2 {
		return moves{}, errors.New("takes a file and a folder")
	}
	store, err := disk.Open(filepath.Join(args[1], "store"))
	if err != nil {
		return moves{}, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	captured, err := tree.Capture(ctx, store, filepath.Dir(args[0]), []string{filepath.Base(args[0])})
	if err != nil {
		return moves{}, err
	}
	if err := store.Flush(ctx); err != nil {
		return moves{}, err
	}
	out := filepath.Join(args[1], "restored")
	if err := os.Mkdir(out, 0o777); err != nil {
		return moves{}, err
	}
	if err := tree.Materialize(ctx, store, captured.Root, out); err != nil {
		return moves{}, err
	}
	info, err := os.Stat(filepath.Join(out, filepath.Base(args[0])))
	if err != nil {
		return moves{}, err
	}
	if len(captured.Entries) != 1 {
		return moves{}, fmt.Errorf("captured %d files", len(captured.Entries))
	}
	m = moves{Digest: captured.Entries[0].Digest, Restored: info.Size()}
	m.Memory, err = peakMemory()
	return m, err
}
