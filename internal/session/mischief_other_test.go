//go:build !unix

package session

const mischiefVariable = "TOWPATH_TEST_MISCHIEF"

// misbehave has no file descriptors to do it with here.
func misbehave(string) {}
