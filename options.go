package towpath

import (
	"strings"
	"time"

	"github.com/towpath/towpath/protocol"
)

// Option says how a stage is declared or run.
type Option interface {
	stage(*options)
}

// options is what the Options of one stage add up to.
type options struct {
	doc     string
	policy  protocol.Policy
	timeout *time.Duration // as it was written
	after   []Node
	bind    []string // nil without Bind
}

type option func(*options)

func (o option) stage(to *options) { o(to) }

// Retry makes the engine call a stage that failed up to n times more. The zero
// times that are the default need not be declared. An effect has to be
// Idempotent for it.
func Retry(n int) Option {
	return option(func(o *options) { o.policy.Retry = n })
}

// Timeout bounds one call of the stage, to the millisecond. Without it a call
// may take as long as it likes.
func Timeout(d time.Duration) Option {
	return option(func(o *options) { o.timeout, o.policy.TimeoutMS = &d, d.Milliseconds() })
}

// After makes the stage wait until these stages have succeeded, though it takes
// nothing from them. A Gather stands for all that it gathers.
func After(stages ...Node) Option {
	return option(func(o *options) { o.after = append(o.after, stages...) })
}

// Idempotent says of an effect that doing it twice is as good as doing it once,
// so that it may be retried and resumed.
func Idempotent() Option {
	return option(func(o *options) { o.policy.Idempotent = true })
}

// Bind makes the values of these inputs a part of the stage's name, as in
// test[shard=0], so that one function can be declared several times. The inputs
// are called as in the plan, in snake_case, and have plain values.
func Bind(inputs ...string) Option {
	return option(func(o *options) { o.bind = append(append([]string{}, o.bind...), inputs...) })
}

// DocOption is what Doc returns: an option of stages and of parameters.
type DocOption struct{ text string }

// Doc describes a stage or a parameter to the people who run the pipeline. Of a
// stage's, the plan keeps the first paragraph.
func Doc(text string) DocOption { return DocOption{text: text} }

func (d DocOption) stage(o *options) {
	var paragraph []string
	for line := range strings.Lines(strings.TrimSpace(d.text)) {
		if strings.TrimSpace(line) == "" {
			break
		}
		paragraph = append(paragraph, strings.Fields(line)...)
	}
	o.doc = strings.Join(paragraph, " ")
}
