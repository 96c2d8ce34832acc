// Command hello is the least that a Go program can do: what the start of `tow version` is measured against.
package main

import "fmt"

func main() {
	fmt.Println("hello, world")
}
