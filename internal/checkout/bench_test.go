//go:build unix

package checkout_test

import (
	"fmt"
	"testing"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/tree"
)

// largeTree is a tree of n files, of which one says changed.
func largeTree(b *testing.B, store cas.Store, n int, changed string) digest.Digest {
	b.Helper()
	builder := tree.NewBuilder(store)
	for i := range n {
		content := fmt.Sprintln("file", i)
		if i == n/2 {
			content += changed
		}
		d, err := cas.PutBytes(b.Context(), store, []byte(content))
		if err == nil {
			err = builder.File(fmt.Sprintf("p%d/f%d", i/50, i), d, false)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	d, err := builder.Build(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	return d
}

// What a step with one input file of its own pays.
func BenchmarkMakeOneFile(b *testing.B) {
	store := openDisk(b)
	trees := make([]digest.Digest, b.N)
	for i := range trees {
		d, err := cas.PutBytes(b.Context(), store, fmt.Append(nil, i))
		if err != nil {
			b.Fatal(err)
		}
		builder := tree.NewBuilder(store)
		if err := builder.File("in", d, false); err != nil {
			b.Fatal(err)
		}
		if trees[i], err = builder.Build(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	c := open(b, store, b.TempDir())
	b.ResetTimer()
	for _, d := range trees {
		if _, err := c.Folder(b.Context(), d); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkMake20000(b *testing.B) {
	store := openDisk(b)
	d := largeTree(b, store, 20_000, "")
	for b.Loop() {
		if _, err := open(b, store, b.TempDir()).Folder(b.Context(), d); err != nil {
			b.Fatal(err)
		}
	}
}

// One file of the tree is new, the others are kept.
func BenchmarkChangeOneOf20000(b *testing.B) {
	store := openDisk(b)
	c := open(b, store, b.TempDir())
	if _, err := c.Folder(b.Context(), largeTree(b, store, 20_000, "")); err != nil {
		b.Fatal(err)
	}
	trees := make([]digest.Digest, b.N)
	for i := range trees {
		trees[i] = largeTree(b, store, 20_000, fmt.Sprint(i))
	}
	b.ResetTimer()
	for _, d := range trees {
		if _, err := c.Folder(b.Context(), d); err != nil {
			b.Fatal(err)
		}
	}
}

// The first use of a tree in a process looks at all of it.
func BenchmarkFirstUse20000(b *testing.B) {
	store, dir := openDisk(b), b.TempDir()
	d := largeTree(b, store, 20_000, "")
	for b.Loop() {
		if _, err := open(b, store, dir).Folder(b.Context(), d); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFurtherUse20000(b *testing.B) {
	store := openDisk(b)
	c := open(b, store, b.TempDir())
	d := largeTree(b, store, 20_000, "")
	for b.Loop() {
		if _, err := c.Folder(b.Context(), d); err != nil {
			b.Fatal(err)
		}
	}
}
