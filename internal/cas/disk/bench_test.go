package disk_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/cas/disk"
	"github.com/towpath/towpath/internal/digest"
)

// small returns a thousand small blobs, others for every round.
func small(round int) [][]byte {
	blobs := make([][]byte, 1000)
	for i := range blobs {
		blobs[i] = fmt.Appendf(bytes.Repeat([]byte{'x'}, 2000), "%d %d", round, i)
	}
	return blobs
}

func putAll(b *testing.B, s *disk.Store, blobs [][]byte) {
	for _, blob := range blobs {
		if _, err := cas.PutBytes(b.Context(), s, blob); err != nil {
			b.Fatal(err)
		}
	}
}

func openBench(b *testing.B) *disk.Store {
	s, err := disk.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

func BenchmarkPut1000Small(b *testing.B) {
	s := openBench(b)
	for round := 0; b.Loop(); round++ {
		putAll(b, s, small(round))
	}
}

func BenchmarkPut1000SmallAgain(b *testing.B) {
	s := openBench(b)
	blobs := small(0)
	putAll(b, s, blobs)
	for b.Loop() {
		putAll(b, s, blobs)
	}
}

func BenchmarkFlush(b *testing.B) {
	for _, n := range []int{1, 10, 100, 1000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			s := openBench(b)
			for round := 0; b.Loop(); round++ {
				b.StopTimer()
				putAll(b, s, small(round)[:n])
				b.StartTimer()
				if err := s.Flush(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkMissing1000(b *testing.B) {
	s := openBench(b)
	var ds []digest.Digest
	for _, blob := range small(0) {
		ds = append(ds, digest.OfBytes(blob))
	}
	putAll(b, s, small(0))
	if err := s.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if missing, err := s.Missing(b.Context(), ds); err != nil || len(missing) != 0 {
			b.Fatal(len(missing), err)
		}
	}
}

func BenchmarkStream(b *testing.B) {
	const size = 64 << 20
	s := openBench(b)
	b.SetBytes(size)
	for round := uint64(0); b.Loop(); round++ {
		r := io.LimitReader(zeroes{rand.New(rand.NewPCG(round, 0))}, size)
		if _, err := s.Put(b.Context(), r); err != nil {
			b.Fatal(err)
		}
	}
}

// zeroes yields zeroes and, at the start of each read, a number that makes the blob a new one.
type zeroes struct{ r *rand.Rand }

func (z zeroes) Read(p []byte) (int, error) {
	clear(p)
	p[0] = byte(z.r.Uint32())
	return len(p), nil
}
