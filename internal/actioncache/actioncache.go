// Package actioncache is the contract of the memory for results: a key, which is the digest of everything that a piece of work
// depends on, to the few bytes that describe what came of it.
//
// The bytes are the caller's (internal/engine writes stage results and REAPI ActionResults); the blobs that they name are in
// internal/cas, and this package knows neither. It promises one thing: what Get returns is what some Put stored for that kind and
// key. Everything else, a damaged entry above all, is a miss, since work can always be done again. Implementations live in the
// rooms below (disk, mem, …) and are held to the contract by actioncachetest.
package actioncache

import (
	"context"
	"fmt"

	"github.com/towpath/towpath/internal/digest"
)

// Kind separates the keys of one sort of work from those of another.
type Kind string

const (
	// Stage is for results of stages.
	Stage Kind = "stage"
	// Step is for results of steps.
	Step Kind = "step"
)

// MaxValue is the largest value in bytes: what a stage may return (protocol/SPEC.md, section 8) with room for what is noted
// beside it.
const MaxValue = 16 << 20

// Entry is a result with what it is the result of.
type Entry struct {
	Kind  Kind
	Key   digest.Digest
	Value []byte
}

// DamagedError says that the value of an entry cannot be read, or names what cannot be. To drop the entry mends that.
type DamagedError struct{ Err error }

func (e *DamagedError) Error() string { return fmt.Sprintf("the result is damaged: %v", e.Err) }

func (e *DamagedError) Unwrap() error { return e.Err }

// Cache remembers results. All methods are safe for concurrent use, also by several processes where the cache is shared by them,
// and a cancelled context ends any of them with its error.
type Cache interface {
	// Get returns the value of key. A value that is not there, or of which anything is damaged, is a miss and not an error; the
	// latter is removed. The caller owns the value.
	Get(ctx context.Context, kind Kind, key digest.Digest) (value []byte, ok bool, err error)
	// Put stores value for key in the place of what was there. It is durable when Put returns. The blobs that value names must be
	// durable before (cas.Store.Flush), so that no crash leaves a result without them. A value larger than MaxValue is an error.
	Put(ctx context.Context, kind Kind, key digest.Digest, value []byte) error
	// PutAll stores entries as Put does, all of them for little more than the cost of one. Those that no error names may be stored or not when there is one;
	// when there is none, all are durable.
	PutAll(ctx context.Context, entries []Entry) error
	// Delete forgets key. One that is not there is no error.
	Delete(ctx context.Context, kind Kind, key digest.Digest) error
}

// Check returns an error unless kind is one of the kinds above and value is not too large. Implementations call it first.
func Check(kind Kind, value []byte) error {
	if kind != Stage && kind != Step {
		return fmt.Errorf("action cache: there is no kind %q", string(kind))
	}
	if len(value) > MaxValue {
		return fmt.Errorf("action cache: a value of %d bytes is larger than the limit of %d", len(value), MaxValue)
	}
	return nil
}
