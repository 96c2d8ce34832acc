package cas

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/towpath/towpath/internal/digest"
)

// rangeSize is how much of a file the kernel is asked to copy at once.
const rangeSize = 4 << 20

// Duplicate copies what is left of src to the file dst and returns the digest of all that dst then holds, which it reads back while it copies: no byte
// of the copy goes through this process but to be hashed. It calls progress, unless that is nil, with how much dst holds. Where the system cannot copy
// between these files it returns errors.ErrUnsupported and has changed nothing; no other error is that one.
func Duplicate(ctx context.Context, dst, src *os.File, progress func(total int64)) (digest.Digest, error) {
	return duplicate(ctx, dst, src, progress, copyRange)
}

// duplicate is Duplicate with what has the kernel copy, as copyRange does.
func duplicate(
	ctx context.Context, dst, src *os.File, progress func(total int64), copyRange func(dst, src *os.File, limit int) (int64, error),
) (digest.Digest, error) {
	total, err := dst.Seek(0, io.SeekCurrent)
	if err != nil {
		return digest.Digest{}, err
	}
	n, err := copyRange(dst, src, rangeSize)
	if err != nil {
		return digest.Digest{}, err
	}
	back, err := os.Open(dst.Name())
	if err != nil {
		return digest.Digest{}, begun(err)
	}
	defer back.Close()
	arrived, hashed := make(chan int64, 16), make(chan error, 1)
	h := digest.NewHasher()
	go func() { hashed <- hashAs(h, back, arrived) }()
	for ; err == nil && n > 0; n, err = copyRange(dst, src, rangeSize) {
		if total += n; progress != nil {
			progress(total)
		}
		arrived <- total
		if err = ctx.Err(); err != nil {
			break
		}
	}
	if err == nil || errors.Is(err, errors.ErrUnsupported) {
		// The kernel may stop before the end, or find that it cannot go on. The end is reached when reading says so.
		n, err = Copy(ctx, dst, src)
		arrived <- total + n
	}
	close(arrived)
	if err := errors.Join(err, <-hashed); err != nil {
		return digest.Digest{}, begun(err)
	}
	return h.Digest(), nil
}

// begun returns err, which happened when something had been copied, such that nobody takes it for errors.ErrUnsupported: some errors of the system match
// that, too.
func begun(err error) error {
	if errors.Is(err, errors.ErrUnsupported) {
		return fmt.Errorf("copy: %v", err) //nolint:errorlint // what it wraps is what must not be seen
	}
	return err
}

// hashAs hashes what f holds as it is told how much that is. It takes everything that it is told, even after it failed.
func hashAs(h *digest.Hasher, f *os.File, arrived <-chan int64) (err error) {
	buf := make([]byte, copyBuffer)
	var at int64
	for total := range arrived {
		for err == nil && at < total {
			var n int
			n, err = f.Read(buf[:min(int64(len(buf)), total-at)])
			_, _ = h.Write(buf[:n]) // never fails
			at += int64(n)
		}
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}
