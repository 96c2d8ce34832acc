package engine

import (
	"testing"

	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/protocol"
)

// TestAStepWithARootDependsOnNoProgram holds that the programs of the machine are part of a step unless an image takes their place.
func TestAStepWithARootDependsOnNoProgram(t *testing.T) {
	b := newBench(t, protocol.KindStage, writeOut)
	for _, root := range []*protocol.Directory{nil, {Digest: digest.Empty().String()}} {
		p := protocol.StepRunParams{Call: 1, Args: []string{"/bin/sh"}, Root: root}
		action, err := b.ops.action(t.Context(), b.call, p)
		if err != nil {
			t.Fatal(err)
		}
		if has := len(action.Tools) > 0; has != (root == nil) {
			t.Errorf("with the root %v the tools are %v", root, action.Tools)
		}
	}
}
