//go:build !linux

package checkout

import (
	"crypto/rand"
	"io/fs"
	"os"
	"time"
)

// bootID names this process where it is not known when the machine was started: no other trusts what it made.
func bootID(string) string { return rand.Text() }

// bootFile is none here.
const bootFile = ""

// accessed is not known here. What no other process uses may be taken for old.
func accessed(fs.FileInfo) time.Time { return time.Time{} }

// openQuietly opens the folder at path.
func openQuietly(path string) (*os.File, error) { return os.Open(path) }
