package source_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/towpath/towpath/internal/cas/disk"
	"github.com/towpath/towpath/internal/source"
)

const (
	benchFolders = 500
	benchFiles   = 100 // in each
)

// writeBenchTree makes 50,000 files of 0.2 to 6 kB, the same ones every time.
func writeBenchTree(b *testing.B) string {
	b.Helper()
	top := b.TempDir()
	rng := rand.New(rand.NewPCG(1, 2))
	content := bytes.Repeat([]byte("func main() { println(\"towpath\") }\n"), 200)
	for d := range benchFolders {
		folder := filepath.Join(top, fmt.Sprintf("src%d", d%10), fmt.Sprintf("pkg%03d", d))
		if err := os.MkdirAll(folder, 0o755); err != nil {
			b.Fatal(err)
		}
		for f := range benchFiles {
			data := append(fmt.Appendf(nil, "// %d %d\n", d, f), content[:200+rng.IntN(5800)]...)
			if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("file_%03d.go", f)), data, 0o644); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := os.WriteFile(filepath.Join(top, ".gitignore"), []byte("*.pyc\n__pycache__/\n/build/\nnode_modules\n*.log\n.venv\n"), 0o644); err != nil {
		b.Fatal(err)
	}
	return top
}

func benchGit(b *testing.B, dir string, args ...string) {
	b.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("git %v: %v\n%s", args, err, out)
	}
}

func benchSnapshot(b *testing.B, top, store, index string, lazy bool, requests []source.Request) {
	b.Helper()
	s, err := disk.Open(store)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	sn, err := source.Open(source.Config{Store: s, Repository: top, IndexFile: index, Lazy: lazy})
	if err != nil {
		b.Fatal(err)
	}
	results, err := sn.Snapshot(context.Background(), requests)
	if err != nil {
		b.Fatal(err)
	}
	for _, r := range results {
		if r.Err != nil {
			b.Fatal(r.Err)
		}
	}
	if err := sn.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkWarm(b *testing.B) {
	top := writeBenchTree(b)
	benchGit(b, top, "init", "-q")
	benchGit(b, top, "add", "-A")
	cache := b.TempDir()
	for name, globs := range map[string][]string{"everything": {"."}, "suffix": {"**/*.go"}} {
		requests := []source.Request{{Root: top, Globs: globs}}
		for range 2 { // the second time, the index remembers folders as well
			benchSnapshot(b, top, cache, filepath.Join(cache, "index"), false, requests)
		}
		for _, lazy := range []bool{true, false} {
			b.Run(fmt.Sprintf("%s/lazy=%v", name, lazy), func(b *testing.B) {
				for b.Loop() {
					benchSnapshot(b, top, cache, filepath.Join(cache, "index"), lazy, requests)
				}
			})
		}
	}
	benchGit(b, top, "status", "--porcelain")
	b.Run("git_status", func(b *testing.B) {
		for b.Loop() {
			benchGit(b, top, "status", "--porcelain")
		}
	})
}

func BenchmarkCold(b *testing.B) {
	top := writeBenchTree(b)
	b.Run("everything", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			cache := b.TempDir()
			b.StartTimer()
			benchSnapshot(b, top, cache, filepath.Join(cache, "index"), true, []source.Request{{Root: top, Globs: []string{"."}}})
		}
	})
	b.Run("git_add", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			if err := os.RemoveAll(filepath.Join(top, ".git")); err != nil {
				b.Fatal(err)
			}
			benchGit(b, top, "init", "-q")
			b.StartTimer()
			benchGit(b, top, "add", "-A")
		}
	})
}

// BenchmarkManyLiterals is a plan of 1,000 stages with one file each.
func BenchmarkManyLiterals(b *testing.B) {
	top := writeBenchTree(b)
	cache := b.TempDir()
	var requests []source.Request
	for i := range 1000 {
		d := i % benchFolders
		requests = append(requests, source.Request{Root: top, Globs: []string{fmt.Sprintf("src%d/pkg%03d/file_%03d.go", d%10, d, i%benchFiles)}})
	}
	for _, layout := range []struct {
		name string
		of   func(i int) source.Request
	}{
		{"500_folders", func(i int) source.Request { return requests[i] }},
		{"10_folders", func(i int) source.Request {
			d := i / benchFiles
			return source.Request{Root: top, Globs: []string{fmt.Sprintf("src%d/pkg%03d/file_%03d.go", d%10, d, i%benchFiles)}}
		}},
	} {
		var all []source.Request
		for i := range 1000 {
			all = append(all, layout.of(i))
		}
		benchSnapshot(b, top, cache, filepath.Join(cache, "index"), true, all)
		b.Run(layout.name, func(b *testing.B) {
			for b.Loop() {
				benchSnapshot(b, top, cache, filepath.Join(cache, "index"), true, all)
			}
		})
	}
}
