package config

import (
	"fmt"
	"slices"
	"strings"
)

const (
	// variablePrefix is what the variables of settings begin with.
	variablePrefix = "TOW_"
	// nearby is how many letters a name may differ by to be taken for another one that was typed wrong.
	nearby = 3
)

// Unknown says of the variables that look like those of settings and are none, in the order of their names. environ is os.Environ or its like.
//
// They are no errors: what another version of tow knows may be set for all of them.
func Unknown(environ []string) []*Error {
	var variables []string
	for _, s := range All() {
		variables = append(variables, s.Variable())
	}
	var out []*Error
	for _, v := range environ {
		name, _, _ := strings.Cut(v, "=")
		if !strings.HasPrefix(name, variablePrefix) || slices.Contains(variables, name) {
			continue
		}
		out = append(out, &Error{Where: name, Text: "there is no such setting, and the variable does nothing", Hint: meant(name, variables)})
	}
	slices.SortFunc(out, func(a, b *Error) int { return strings.Compare(a.Where, b.Where) })
	return out
}

func meant(name string, variables []string) string {
	best, least := "", nearby+1
	for _, v := range variables {
		if d := distance(name, v); d < least {
			best, least = v, d
		}
	}
	if best == "" {
		return "the variables are " + strings.Join(variables, ", ")
	}
	return fmt.Sprintf("did you mean %s?", best)
}

// distance is the number of letters to add, drop or change to make b of a.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0]++
		for j := range len(b) {
			change := before
			if a[i] != b[j] {
				change++
			}
			before = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
