package cas

import (
	"context"
	"io"
)

const (
	// copyBuffer is how much of a blob is moved at once, and copyBuffers how many such pieces are on their way.
	copyBuffer  = 256 << 10
	copyBuffers = 4
)

// Copy copies src to dst until src ends. Reading, which for a blob includes verifying it, and writing go on at the same time. It returns how much
// was written.
func Copy(ctx context.Context, dst io.Writer, src io.Reader) (written int64, err error) {
	ctx, cancel := context.WithCancel(ctx)
	full, free := make(chan piece, copyBuffers), make(chan []byte, copyBuffers)
	for range copyBuffers {
		free <- nil
	}
	done := make(chan struct{})
	// The reader has ended when Copy returns: src is the caller's again.
	defer func() { cancel(); <-done }()
	go func() {
		defer close(done)
		read(ctx, src, full, free)
	}()
	for p := range full {
		if p.err != nil && p.err != io.EOF {
			return written, p.err
		}
		n, err := dst.Write(p.content)
		written += int64(n)
		if err != nil {
			return written, err
		}
		if p.err == io.EOF {
			return written, nil
		}
		free <- p.content[:cap(p.content)]
	}
	return written, ctx.Err()
}

// piece is some content, and why it is the last if it is.
type piece struct {
	content []byte
	err     error
}

// read hands on what src yields, in the buffers that come back, until it ends or ctx does.
func read(ctx context.Context, src io.Reader, full chan<- piece, free <-chan []byte) {
	defer close(full)
	for {
		var buf []byte
		select {
		case buf = <-free:
		case <-ctx.Done():
			return
		}
		if buf == nil {
			buf = make([]byte, copyBuffer)
		}
		n, err := readFull(ctx, src, buf)
		full <- piece{content: buf[:n], err: err}
		if err != nil {
			return
		}
	}
}

// readFull reads until buf is full, or src or ctx ends.
func readFull(ctx context.Context, src io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		if err := ctx.Err(); err != nil {
			return n, err
		}
		var m int
		m, err = src.Read(buf[n:])
		n += m
	}
	return n, err
}
