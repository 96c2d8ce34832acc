package tree

import (
	"context"
	"fmt"
	"strings"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/digest"
)

// UnmatchedError reports globs that matched nothing.
type UnmatchedError struct {
	Globs []string
}

func (e *UnmatchedError) Error() string {
	quoted := make([]string, len(e.Globs))
	for i, g := range e.Globs {
		quoted[i] = fmt.Sprintf("%q", g)
	}
	return "nothing matches " + strings.Join(quoted, ", ")
}

// Filter returns the tree of those paths of d that globs take. Folders are kept where they are taken themselves or something in
// them is. A glob that matches nothing is an *UnmatchedError.
func Filter(ctx context.Context, store cas.Store, d digest.Digest, globs []string) (digest.Digest, error) {
	g, err := ParseGlobs(globs)
	if err != nil {
		return digest.Digest{}, err
	}
	f := &filter{ctx: ctx, store: store, globs: g, track: g.Track(), out: NewBuilder(store)}
	f.track.Match("") // "." matches the root
	if err := f.filter("", d, 0); err != nil {
		return digest.Digest{}, fmt.Errorf("filter tree: %w", err)
	}
	if unmatched := f.track.Unmatched(); len(unmatched) > 0 {
		return digest.Digest{}, &UnmatchedError{Globs: unmatched}
	}
	return f.out.Build(ctx)
}

type filter struct {
	ctx   context.Context
	store cas.Store
	globs Globs
	track *Tracker
	out   *Builder
}

// filter adds what is taken of d, the folder at dir, to the output.
func (f *filter) filter(dir string, d digest.Digest, depth int) error {
	if depth > MaxDepth {
		return &PathError{Path: dir, Reason: fmt.Sprintf("is deeper than %d folders", MaxDepth)}
	}
	cover := f.globs.Below(dir)
	if cover == All {
		if err := f.out.Directory(dir, d); err != nil {
			return err
		}
	}
	if cover != Some && !f.track.Waits(dir) {
		return nil
	}
	m, err := Load(f.ctx, f.store, d)
	if err != nil {
		return fmt.Errorf("folder %q: %w", dir, err)
	}
	for _, e := range list(m) {
		path := join(dir, e.Path)
		taken := f.track.Match(path)
		if taken && cover == Some {
			if err := f.take(path, e); err != nil {
				return err
			}
		}
		if e.Kind == KindDirectory {
			if err := f.filter(path, e.Digest, depth+1); err != nil {
				return err
			}
		}
	}
	return nil
}

// take adds an entry; of a folder, whether there is anything in it is for filter to see.
func (f *filter) take(path string, e Entry) error {
	if e.Kind == KindDirectory {
		return f.out.EmptyDirectory(path)
	}
	return f.out.Add(Mount{Path: path, Entry: e})
}
