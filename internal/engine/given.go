package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/protocol"
)

// given is what a node is looked up with or called with: its inputs, all read at one moment, and the key that these very inputs give. What the function
// makes of them is recorded under that key and no other, whatever is made again meanwhile.
type given struct {
	inputs map[string]json.RawMessage
	// document is what the key is the digest of. An effect has neither.
	document []byte
	key      digest.Digest
	// at is how many values had been replaced by then.
	at int
}

// give reads what a node is called with now. It is what it was probed with, unless something has been made again since.
func (r *run) give(n *node) (given, error) {
	r.values.RLock()
	if g := n.probed.given; g.inputs != nil && g.at == r.replaced {
		r.values.RUnlock()
		return g, nil
	}
	in, err := r.inputsNow(n)
	g := given{inputs: in, at: r.replaced}
	r.values.RUnlock()
	if err != nil {
		return given{}, err
	}
	if !n.stage.Effect() {
		g.document = r.e.key(n, in, r.p).Document()
		g.key = digest.OfBytes(g.document)
	}
	n.probed.given = g
	return g, nil
}

// inputsNow returns the inputs of a node. The caller holds values.
func (r *run) inputsNow(n *node) (map[string]json.RawMessage, error) {
	element, err := r.elementNow(n)
	if err != nil {
		return nil, err
	}
	return inputs(n.stage, element, r.p, r.valuesOf), nil
}

// elementNow returns the element that a node stands for: the one at its place, since the list may have been made again. The caller holds values.
func (r *run) elementNow(n *node) (json.RawMessage, error) {
	if n.element == nil || r.replaced == 0 {
		return n.element, nil
	}
	list, err := elements(n.stage, inputValue(n.stage.Inputs[n.stage.Each].From.Each, r.p, r.valuesOf))
	if err != nil {
		return nil, err
	}
	siblings := r.byStage[n.stage].elements
	if len(list) != len(siblings) {
		return nil, &protocol.Error{
			Code: protocol.CodeFailed, Message: fmt.Sprintf("stage %s was fanned out over %d elements, and the list has %d since it was made again", n.stage.Name, len(siblings), len(list)),
			Hint: "run again",
		}
	}
	return list[slices.Index(siblings, n)], nil
}

// current tells whether the inputs of a node are what they were. The caller holds values.
func (r *run) current(n *node, was map[string]json.RawMessage) bool {
	now, err := r.inputsNow(n)
	return err == nil && maps.EqualFunc(now, was, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) })
}

// settle makes the result of a node final: from here on, what it was made of cannot become something else. It is false if it has already.
func (r *run) settle(n *node, g given) bool {
	r.values.Lock()
	defer r.values.Unlock()
	if g.at != r.replaced && !r.current(n, g.inputs) {
		return false
	}
	r.settled[n] = g.inputs
	return true
}

// unsettle is called before the inputs of a node are looked after, since it may have to be called again itself.
func (r *run) unsettle(n *node) (was map[string]json.RawMessage) {
	r.values.Lock()
	defer r.values.Unlock()
	was = r.settled[n]
	delete(r.settled, n)
	return was
}

// replace gives a node that was called again the value that it returned now. No run mixes two: if that is another value, nothing may have ended
// well with the one before.
func (r *run) replace(n *node, value json.RawMessage) error {
	r.values.Lock()
	defer r.values.Unlock()
	if bytes.Equal(n.value, value) {
		return nil
	}
	n.value = value
	r.replaced++
	used := ""
	for c, was := range r.settled {
		if !r.current(c, was) && (used == "" || c.name < used) {
			used = c.name
		}
	}
	if used == "" {
		return nil
	}
	return &protocol.Error{
		Code: protocol.CodeFailed, Message: fmt.Sprintf("stage %s was made again and came out different, and stage %s has used what it was before", n.name, used),
		Hint: "run again, and all stages get what it is now",
	}
}

// outdated says that a call ended with inputs that have been made again meanwhile and came out different. The call is repeated with what they are now.
func (r *run) outdated(n *node) error {
	if !repeatable(n.stage) {
		return &protocol.Error{
			Code: protocol.CodeFailed, Message: fmt.Sprintf("what stage %s takes was made again while it ran, and came out different", n.name),
			Hint: "it is an effect, which does not run twice: see what it has done before you run again",
		}
	}
	r.rec.emit(event.Warning{Message: fmt.Sprintf("what stage %s takes was made again while it ran, and came out different: it is called with that", n.name)})
	return nil
}
