package source

import (
	"fmt"
	"strings"
)

// Error reports a source that cannot be taken as it was declared.
type Error struct {
	// Glob is the glob as it was declared; "" where the fault lies in no single one.
	Glob string
	// Path is the file or folder at fault, relative to the top of the repository; "" where there is none.
	Path string
	// Reason completes a sentence that starts with the glob or the path: "matches nothing".
	Reason string
	// Hint says what to do; it may be empty.
	Hint string
	// Err is what the system said, if it said anything.
	Err error
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("source")
	if e.Glob != "" {
		fmt.Fprintf(&b, " %q", e.Glob)
	}
	b.WriteString(": ")
	if e.Path != "" {
		fmt.Fprintf(&b, "%q ", e.Path)
	}
	b.WriteString(e.Reason)
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

// Unwrap returns Err.
func (e *Error) Unwrap() error { return e.Err }
