package sdk

import "testing"

func TestGlobs(t *testing.T) {
	for _, test := range []struct {
		glob, path string
		want       bool
	}{
		{"a.go", "a.go", true},
		{"a.go", "axgo", false},
		{"*.go", "sub/a.go", false},
		{"**/*.go", "a.go", true},
		{"**/*.go", "x/y/a.go", true},
		{"src/**", "src/a/b", true},
		{"src/**/x", "src/x", true},
		{"?.py", "é.py", true},
		{"[a-c]1", "b1", true},
		{"[!a-c]1", "b1", false},
		{"*.{py,toml}", "a.toml", true},
		{"*.{py,toml}", "a.txt", false},
		{"a,b", "a,b", true},
		{`\*`, "*", true},
		{"é*", "éa", true},
		{"[", "[", false},
		{"{a", "a", false},
	} {
		if got := Matches(test.glob, test.path); got != test.want {
			t.Errorf("Matches(%q, %q) = %v", test.glob, test.path, got)
		}
	}
}
