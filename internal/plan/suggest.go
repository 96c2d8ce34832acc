package plan

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// suggest names what was probably meant, or what there is. The names are sorted; of several that are as near the first is taken.
func suggest(name string, names []string) string {
	asked := strings.ToLower(name)
	length := utf8.RuneCountInString(asked)
	best, least := "", max(1, length/3)+1
	for _, n := range names {
		other := strings.ToLower(n)
		most := min(least, length, utf8.RuneCountInString(other)) // as many changes as letters leave nothing of the name
		if d := distance(asked, other, most); d < most {
			best, least = n, d
		}
	}
	if best == "" && length >= 3 {
		best = begins(asked, names)
	}
	switch {
	case best != "":
		return "did you mean " + best + "?"
	case len(names) == 0:
		return ""
	case len(names) == 1:
		return "there is only " + names[0]
	case len(names) <= 12:
		return "there are " + strings.Join(names, ", ")
	}
	return fmt.Sprintf("there are %s and %d more", strings.Join(names[:12], ", "), len(names)-12)
}

// begins returns the first name that begins with what was asked for.
func begins(asked string, names []string) string {
	for _, n := range names {
		if strings.HasPrefix(strings.ToLower(n), asked) {
			return n
		}
	}
	return ""
}

// distance is the number of letters to add, drop, change or swap with their neighbour to make b of a, or most where it is not less.
func distance(a, b string, most int) int {
	x, y := []rune(a), []rune(b)
	if len(x)-len(y) >= most || len(y)-len(x) >= most {
		return most
	}
	before, row, next := make([]int, len(y)+1), make([]int, len(y)+1), make([]int, len(y)+1)
	for j := range row {
		row[j] = j
	}
	for i := range x {
		next[0] = i + 1
		for j := range y {
			cost := 1
			if x[i] == y[j] {
				cost = 0
			}
			next[j+1] = min(row[j+1]+1, next[j]+1, row[j]+cost)
			if i > 0 && j > 0 && x[i] == y[j-1] && x[i-1] == y[j] {
				next[j+1] = min(next[j+1], before[j-1]+1)
			}
		}
		before, row, next = row, next, before
	}
	return min(row[len(y)], most)
}

// sameBindings tells whether two names of stages differ in the order of their bindings at most.
func sameBindings(a, b string) bool {
	function, x, bound := strings.Cut(strings.TrimSuffix(a, "]"), "[")
	other, y, alsoBound := strings.Cut(strings.TrimSuffix(b, "]"), "[")
	if !bound || !alsoBound || function != other || len(x) != len(y) {
		return false
	}
	// Values may have commas of their own: sorted they are the same all the same.
	return slices.Equal(slices.Sorted(strings.SplitSeq(x, ",")), slices.Sorted(strings.SplitSeq(y, ",")))
}
