// Package digest names content: the SHA-256 of some bytes together with their number, as the Remote Execution API v2 does.
//
// It is a leaf: it knows neither stores nor files.
package digest

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
)

// Digest identifies a sequence of bytes. It is comparable and its zero value identifies nothing.
type Digest struct {
	// Hash is the SHA-256 of the bytes.
	Hash [sha256.Size]byte
	// Size is the number of bytes.
	Size int64
}

// Empty is the digest of no bytes.
func Empty() Digest { return OfBytes(nil) }

// OfBytes returns the digest of b.
func OfBytes(b []byte) Digest {
	return Digest{Hash: sha256.Sum256(b), Size: int64(len(b))}
}

// OfReader returns the digest of everything that r yields.
func OfReader(r io.Reader) (Digest, error) {
	h := NewHasher()
	if _, err := io.Copy(h, r); err != nil {
		return Digest{}, err
	}
	return h.Digest(), nil
}

// Parse reads the form that String writes, "HASH/SIZE" (protocol/SPEC.md, section 6).
func Parse(s string) (Digest, error) {
	var d Digest
	hexHash, size, ok := strings.Cut(s, "/")
	if !ok || len(hexHash) != 2*sha256.Size || strings.ToLower(hexHash) != hexHash {
		return Digest{}, fmt.Errorf("digest %q is not of the form HASH/SIZE", s)
	}
	if _, err := hex.Decode(d.Hash[:], []byte(hexHash)); err != nil {
		return Digest{}, fmt.Errorf("digest %q: the hash is not hexadecimal", s)
	}
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != size {
		return Digest{}, fmt.Errorf("digest %q: the size is not a decimal number", s)
	}
	d.Size = n
	return d, nil
}

// Hex returns the hash in 64 lower-case hexadecimal digits.
func (d Digest) Hex() string { return hex.EncodeToString(d.Hash[:]) }

// Short returns the first 12 digits of the hash, for people.
func (d Digest) Short() string { return hex.EncodeToString(d.Hash[:6]) }

// String returns "HASH/SIZE".
func (d Digest) String() string { return d.Hex() + "/" + strconv.FormatInt(d.Size, 10) }

// IsZero tells whether d identifies nothing.
func (d Digest) IsZero() bool { return d == Digest{} }

// MarshalText implements encoding.TextMarshaler with the form of String.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler with the form of Parse.
func (d *Digest) UnmarshalText(b []byte) error {
	p, err := Parse(string(b))
	if err != nil {
		return err
	}
	*d = p
	return nil
}

// Hasher computes a digest of what is written to it.
type Hasher struct {
	h hash.Hash
	n int64
}

// NewHasher returns a Hasher that has seen nothing yet.
func NewHasher() *Hasher { return &Hasher{h: sha256.New()} }

// Write implements io.Writer and never fails.
func (h *Hasher) Write(p []byte) (int, error) {
	h.n += int64(len(p))
	return h.h.Write(p)
}

// Digest returns the digest of everything written so far.
func (h *Hasher) Digest() Digest {
	d := Digest{Size: h.n}
	h.h.Sum(d.Hash[:0])
	return d
}
