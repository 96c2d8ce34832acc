package local

import (
	"context"
	"errors"
	"io"
	"sync/atomic"

	"github.com/towpath/towpath/internal/tree"
)

// exceededOutput is the name of the limit, in Result.Exceeded.
const exceededOutput = "output"

var errExceeded = errors.New("the command printed more than it may")

// meter counts what a command prints.
type meter struct {
	limit   int64 // 0 is none
	printed atomic.Int64
}

func (m *meter) exceeded() bool { return m.limit > 0 && m.printed.Load() > m.limit }

// metered returns a writer that passes on to w, which may be nil, as much as may be printed, and then fails.
func (m *meter) metered(w io.Writer) io.Writer {
	if w == nil {
		w = io.Discard
	}
	if m.limit == 0 {
		return w
	}
	return meteredWriter{m, w}
}

type meteredWriter struct {
	meter *meter
	to    io.Writer
}

func (w meteredWriter) Write(b []byte) (int, error) {
	over := w.meter.printed.Add(int64(len(b))) - w.meter.limit
	if over <= 0 {
		return w.to.Write(b)
	}
	if n := int64(len(b)) - over; n > 0 {
		if _, err := w.to.Write(b[:n]); err != nil {
			return 0, err
		}
	}
	return 0, errExceeded
}

// captureAtMost takes outputs that are with what was printed not larger than limit, where that is not 0.
func (e *Executor) captureAtMost(ctx context.Context, dir string, outputs []string, limit, printed int64) (tree.Captured, error) {
	if limit == 0 {
		return tree.Capture(ctx, e.store, dir, outputs)
	}
	return tree.CaptureAtMost(ctx, e.store, dir, outputs, limit-printed)
}
