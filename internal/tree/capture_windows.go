package tree

// nonBlocking has no meaning here.
const nonBlocking = 0

// isLoop tells whether symlinks led in a circle, which is not told from other errors here.
func isLoop(error) bool { return false }
