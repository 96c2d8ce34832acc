// Package sdk carries the Python SDK inside the tow binary, so that engine and SDK never differ.
//
// It holds files and nothing else. What they mean is known to internal/session alone.
package sdk

import (
	"embed"
	"io/fs"
)

//go:embed python/src/towpath/*.py python/src/towpath/py.typed
var python embed.FS

// Python returns the folder to put on the path of a Python program: it holds the package towpath.
func Python() fs.FS {
	sub, err := fs.Sub(python, "python/src")
	if err != nil {
		panic(err) // the path above is a constant
	}
	return sub
}
