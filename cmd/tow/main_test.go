package main

import (
	"errors"
	"slices"
	"testing"
)

// All is closed, the last first, whatever fails.
func TestClosers(t *testing.T) {
	var opened closers
	var closed []int
	failed := errors.New("failed")
	for i, err := range []error{nil, failed, nil} {
		opened.add(func() error {
			closed = append(closed, i)
			return err
		})
	}
	if err := opened.close(t.Context()); !errors.Is(err, failed) || !slices.Equal(closed, []int{2, 1, 0}) {
		t.Errorf("closed %v, %v", closed, err)
	}
}
