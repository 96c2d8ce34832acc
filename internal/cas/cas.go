// Package cas is the content-addressed store: bytes in, their digest out, and the same bytes back for that digest.
//
// Everything that Towpath keeps (source files, directories, outputs, logs) is a blob in a Store. This package holds the
// contract, the errors that callers tell apart, and what every implementation needs to keep its promise that a reader never
// takes wrong bytes for right ones. Implementations live in rooms below it (disk, mem, …) and are held to the contract by the
// suite in castest. Nothing here knows what a blob means: trees are in internal/tree, results in internal/actioncache.
package cas

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/towpath/towpath/internal/digest"
)

// Store keeps blobs. All methods are safe for concurrent use, and a cancelled context ends any of them with its error.
//
// A blob is visible only once it is whole: a Put that fails, is cancelled or is killed leaves nothing to be found. What is
// visible may vanish at any time, since someone may clear the store; it never changes into something else unnoticed.
type Store interface {
	// Put stores everything that r yields, of any length and in bounded memory, and returns its digest. The blob can be
	// opened when Put returns but is durable only after Flush. Putting what is there already is cheap; putting what is there
	// and damaged repairs it. An error of r is returned wrapped and nothing is stored.
	Put(ctx context.Context, r io.Reader) (digest.Digest, error)
	// Open returns the blob d. Who reads it until io.EOF has verified it: content that is not d's ends with a *CorruptError
	// instead of io.EOF. A digest that the store does not have is a *NotFoundError. The reader is for one goroutine.
	Open(ctx context.Context, d digest.Digest) (io.ReadCloser, error)
	// Missing returns those of ds, in their order, that the store does not have or has with another size. It does not read
	// content. A blob that was found is covered by the next Flush as if it had been put.
	Missing(ctx context.Context, ds []digest.Digest) ([]digest.Digest, error)
	// Flush makes everything durable that was put through this Store, by anyone, before the call. Concurrent callers share
	// one round. When it fails, what was put since the last Flush that succeeded must be taken for lost.
	Flush(ctx context.Context) error
}

// Pather is implemented by stores that keep each blob in a file of its own. It lets a reader clone the file.
type Pather interface {
	// Path returns the file that holds exactly the bytes of d, unverified, and whether there is one. It must not be written
	// to, and it may be gone by the time that it is opened.
	Path(d digest.Digest) (string, bool)
}

// NotFoundError reports a blob that the store does not have. It matches fs.ErrNotExist.
type NotFoundError struct {
	Digest digest.Digest
}

func (e *NotFoundError) Error() string { return fmt.Sprintf("blob %v is not in the store", e.Digest) }

// Is makes errors.Is(err, fs.ErrNotExist) hold.
func (e *NotFoundError) Is(target error) bool { return target == fs.ErrNotExist }

// CorruptError reports that the bytes stored for Digest are not its bytes.
type CorruptError struct {
	Digest digest.Digest
	// Got is the digest of what was found, zero where reading stopped because there was more than there should be.
	Got digest.Digest
}

func (e *CorruptError) Error() string {
	if e.Got.IsZero() {
		return fmt.Sprintf("blob %v is corrupt: there is more content than that", e.Digest)
	}
	return fmt.Sprintf("blob %v is corrupt: its content is %v", e.Digest, e.Got)
}

// TooLargeError reports a blob that is larger than its reader is ready to hold.
type TooLargeError struct {
	Digest digest.Digest
	Limit  int64
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("blob %v is larger than the limit of %d bytes", e.Digest, e.Limit)
}

// PutBytes stores b.
func PutBytes(ctx context.Context, s Store, b []byte) (digest.Digest, error) {
	return s.Put(ctx, bytes.NewReader(b))
}

// ReadAll returns the verified bytes of d, which may be at most limit; more is a *TooLargeError before anything is read.
func ReadAll(ctx context.Context, s Store, d digest.Digest, limit int64) ([]byte, error) {
	if d.Size > limit {
		return nil, &TooLargeError{Digest: d, Limit: limit}
	}
	r, err := s.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	// One byte more than the content, so that the read that fills the buffer is followed by one that has room to see the end.
	// The size is believed only as far as one megabyte: a digest from outside must not decide how much is allocated.
	buf := bytes.NewBuffer(make([]byte, 0, min(d.Size, 1<<20)+bytes.MinRead))
	_, err = buf.ReadFrom(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, fmt.Errorf("read blob %s: %w", d.Short(), err)
	}
	return buf.Bytes(), nil
}

// Verify returns a reader of rc that ends with a *CorruptError instead of io.EOF unless what it yielded is exactly d's content.
// It never yields more bytes than d has. Implementations of Store wrap what they open in it.
func Verify(rc io.ReadCloser, d digest.Digest) io.ReadCloser {
	return &verifier{rc: rc, want: d, left: max(d.Size, 0), hasher: digest.NewHasher()}
}

type verifier struct {
	rc     io.ReadCloser
	want   digest.Digest
	left   int64
	hasher *digest.Hasher
	err    error // what every further Read returns
}

func (v *verifier) Read(p []byte) (int, error) {
	if v.err != nil {
		return 0, v.err
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := v.rc.Read(p)
	if int64(n) > v.left {
		n, v.err = int(v.left), &CorruptError{Digest: v.want}
		v.left = 0
		return n, v.err
	}
	v.left -= int64(n)
	_, _ = v.hasher.Write(p[:n]) // never fails
	if err == io.EOF {
		if got := v.hasher.Digest(); got != v.want {
			err = &CorruptError{Digest: v.want, Got: got}
		}
	}
	v.err = err
	return n, err
}

func (v *verifier) Close() error { return v.rc.Close() }
