package disk

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"

	"github.com/towpath/towpath/internal/actioncache"
	"github.com/towpath/towpath/internal/digest"
)

// An entry's file is
//
//	magic | SHA-256 of all that follows | hash of the key | size of the key, 8 bytes | length of the kind, 1 byte | kind | value
//
// so that a file that was cut, damaged, or moved to another name is told from the entry that belongs there. The checksum is not
// a signature: who can write to the folder can forge entries.
const (
	magic      = "towpath-result-1\n"
	sumEnd     = len(magic) + sha256.Size
	keyEnd     = sumEnd + sha256.Size + 8
	headerSize = keyEnd + 1
)

// encode returns the file of an entry.
func encode(kind actioncache.Kind, key digest.Digest, value []byte) []byte {
	b := make([]byte, sumEnd, headerSize+len(kind)+len(value))
	copy(b, magic)
	b = appendName(b, kind, key)
	b = append(b, value...)
	sum := sha256.Sum256(b[sumEnd:])
	copy(b[len(magic):], sum[:])
	return b
}

// decode returns the value in the file b if that is an intact entry for kind and key.
func decode(b []byte, kind actioncache.Kind, key digest.Digest) ([]byte, bool) {
	if len(b) < sumEnd || string(b[:len(magic)]) != magic {
		return nil, false
	}
	if sum := sha256.Sum256(b[sumEnd:]); !bytes.Equal(sum[:], b[len(magic):sumEnd]) {
		return nil, false
	}
	var name [128]byte
	return bytes.CutPrefix(b[sumEnd:], appendName(name[:0], kind, key))
}

func appendName(b []byte, kind actioncache.Kind, key digest.Digest) []byte {
	b = append(b, key.Hash[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(key.Size))
	b = append(b, byte(len(kind)))
	return append(b, kind...)
}
