package cli

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/towpath/towpath/internal/config"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/engine"
	"github.com/towpath/towpath/internal/source"
	"github.com/towpath/towpath/internal/watch"
)

func TestWhatIsIgnoredNeedNotBeWatched(t *testing.T) {
	top := t.TempDir()
	for name, text := range map[string]string{".gitignore": "/build/\n*.log\n.env\n", "sub/.gitignore": "!keep.log\nonly\n", "sub/deeper/x": ""} {
		path := filepath.Join(top, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	g := &ignored{git: source.NewIgnorer(top), ours: []string{filepath.Join(top, ".cache")}}
	g.reads([]string{filepath.Join(top, ".env"), filepath.Join(top, "build", "made"), filepath.Join(top, ".git", "HEAD"), filepath.Join(top, ".cache", "sdk")})
	for name, want := range map[string]bool{
		"build/": true, "sub/build/": false, "a.log": true, "sub/a.log": true, "sub/keep.log": false, "sub/deeper/keep.log": false, "sub/deeper/only": true,
		"only": false, ".git/": true, "sub/.git": true, "sub/__pycache__/": true, ".cache/": true, ".cache/cas/x": true, ".cached": false,
		"src/a.py": false, "": false, "../elsewhere.log": false, ".env": false, "sub/.env": true, "build/made": false, "build/other": true,
		".git/HEAD": false, ".git/index": true, ".cache/sdk": true,
	} {
		path, dir := filepath.Join(top, filepath.FromSlash(name)), name != "" && name[len(name)-1] == '/'
		if got := g.skip(path, dir); got != want {
			t.Errorf("skip(%s) = %v", name, got)
		}
	}
	if err := os.WriteFile(filepath.Join(top, ".gitignore"), []byte("src\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if g.skip(filepath.Join(top, ".gitignore"), false) {
		t.Error("a change of .gitignore would not be seen")
	}
	if !g.skip(filepath.Join(top, "src"), true) || g.skip(filepath.Join(top, "build"), true) {
		t.Error("the new .gitignore does not hold")
	}
}

// What a failed function may have read counts when it is saved afterwards, and not what it may have written itself.
func TestSavesAfterAFailureCount(t *testing.T) {
	root := t.TempDir()
	ended := time.Now()
	r := &rerunner{root: root, ended: ended}
	inside, beside := filepath.Join(root, "config.json"), root+"-other"
	for name, test := range map[string]struct {
		change watch.Change
		want   bool
	}{
		"saved":           {watch.Change{Paths: []string{beside, inside}, Last: ended.Add(1)}, true},
		"saved elsewhere": {watch.Change{Paths: []string{beside}, Last: ended.Add(1)}, false},
		"during the run":  {watch.Change{Paths: []string{inside}, Last: ended}, false},
		"not known":       {watch.Change{Lost: true, Last: ended.Add(1)}, true},
	} {
		if got := r.mayMend(test.change); got != test.want {
			t.Errorf("%s: mayMend is %v", name, got)
		}
	}
}

func TestTheFixedPartOfAGlobIsWatched(t *testing.T) {
	for glob, want := range map[string]string{
		"src": "src", "src/a.py": "src/a.py", "src/**/*.py": "src", "*.py": "", "a/b*/c": "a", "{a,b}/c": "", "a/[bc]": "a", "a/?": "a",
	} {
		if got := fixedPart(glob); got != want {
			t.Errorf("fixedPart(%s) = %q, want %q", glob, got, want)
		}
	}
}

func TestSightsDifferWhereARunWould(t *testing.T) {
	at := func(text string) sight { return sight{inputs: engine.Inputs{Digest: digest.OfBytes([]byte(text))}} }
	jobs := at("a")
	jobs.settings = config.Settings{Jobs: 3}
	for name, c := range map[string]struct {
		a, b sight
		want bool
	}{
		"the same":       {at("a"), at("a"), true},
		"other inputs":   {at("a"), at("b"), false},
		"other settings": {at("a"), jobs, false},
		"mended":         {sight{err: errors.New("x")}, at("a"), false},
		"broken":         {at("a"), sight{err: errors.New("x")}, false},
		"as wrong":       {sight{err: errors.New("x")}, sight{err: errors.New("x")}, true},
		"wrong again":    {sight{err: errors.New("x")}, sight{err: errors.New("y")}, false},
	} {
		if c.a.same(c.b) != c.want {
			t.Errorf("%s: same is %v", name, !c.want)
		}
	}
}
