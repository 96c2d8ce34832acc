// Package actioncachetest holds implementations of actioncache.Cache to the contract that is stated there. Each runs the whole of
// it with Run. It uses nothing but the contract; damage to what a cache keeps is the business of each implementation's own tests.
package actioncachetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/towpath/towpath/internal/actioncache"
	"github.com/towpath/towpath/internal/digest"
)

// Run checks the caches that open returns, each of which must be empty and of its own.
func Run(t *testing.T, open func(t *testing.T) actioncache.Cache) {
	for _, c := range []struct {
		name string
		test func(*testing.T, actioncache.Cache)
	}{
		{"RoundTrip", testRoundTrip},
		{"Replace", testReplace},
		{"KindsAndKeysAreApart", testKindsAndKeysAreApart},
		{"PutAll", testPutAll},
		{"Delete", testDelete},
		{"CallerOwnsItsBytes", testCallerOwnsItsBytes},
		{"Refuses", testRefuses},
		{"CancelledContext", testCancelledContext},
		{"Concurrent", testConcurrent},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

func key(s string) digest.Digest { return digest.OfBytes([]byte(s)) }

func put(t *testing.T, c actioncache.Cache, kind actioncache.Kind, k digest.Digest, value []byte) {
	t.Helper()
	if err := c.Put(t.Context(), kind, k, value); err != nil {
		t.Errorf("Put of %d bytes: %v", len(value), err)
	}
}

func want(t *testing.T, c actioncache.Cache, kind actioncache.Kind, k digest.Digest, value []byte) {
	t.Helper()
	got, ok, err := c.Get(t.Context(), kind, k)
	if err != nil || !ok || !bytes.Equal(got, value) {
		t.Errorf("Get of %s %s = %d bytes, %v, %v, want %d bytes", kind, k.Short(), len(got), ok, err, len(value))
	}
}

func wantMiss(t *testing.T, c actioncache.Cache, kind actioncache.Kind, k digest.Digest) {
	t.Helper()
	if got, ok, err := c.Get(t.Context(), kind, k); err != nil || ok || len(got) != 0 {
		t.Errorf("Get of %s %s = %q, %v, %v, want a miss", kind, k.Short(), got, ok, err)
	}
}

func testRoundTrip(t *testing.T, c actioncache.Cache) {
	for _, n := range []int{0, 1, 4095, 4096, 1 << 20, actioncache.MaxValue} {
		value := bytes.Repeat([]byte{byte(n), 0, '\n'}, n/3+1)[:n]
		k := key(fmt.Sprint(n))
		wantMiss(t, c, actioncache.Step, k)
		put(t, c, actioncache.Step, k, value)
		want(t, c, actioncache.Step, k, value)
		want(t, c, actioncache.Step, k, value)
	}
}

func testReplace(t *testing.T, c actioncache.Cache) {
	for _, v := range []string{"first", "the second, which is longer", "3rd", ""} {
		put(t, c, actioncache.Stage, key("k"), []byte(v))
		want(t, c, actioncache.Stage, key("k"), []byte(v))
	}
}

func testKindsAndKeysAreApart(t *testing.T, c actioncache.Cache) {
	k := key("k")
	resized := digest.Digest{Hash: k.Hash, Size: k.Size + 1}
	put(t, c, actioncache.Stage, k, []byte("stage"))
	wantMiss(t, c, actioncache.Step, k)
	wantMiss(t, c, actioncache.Stage, resized)
	wantMiss(t, c, actioncache.Stage, key("l"))
	put(t, c, actioncache.Step, k, []byte("step"))
	put(t, c, actioncache.Stage, resized, []byte("resized"))
	want(t, c, actioncache.Stage, k, []byte("stage"))
	want(t, c, actioncache.Step, k, []byte("step"))
	want(t, c, actioncache.Stage, resized, []byte("resized"))
}

func testPutAll(t *testing.T, c actioncache.Cache) {
	if err := c.PutAll(t.Context(), nil); err != nil {
		t.Errorf("PutAll of nothing: %v", err)
	}
	put(t, c, actioncache.Step, key("0"), []byte("old"))
	var entries []actioncache.Entry
	for i := range 600 {
		kind := []actioncache.Kind{actioncache.Stage, actioncache.Step}[i%2]
		entries = append(entries, actioncache.Entry{Kind: kind, Key: key(fmt.Sprint(i / 2)), Value: fmt.Appendf(nil, "%s %d", kind, i)})
	}
	entries = append(entries, actioncache.Entry{Kind: actioncache.Stage, Key: key("big"), Value: make([]byte, actioncache.MaxValue)})
	if err := c.PutAll(t.Context(), entries); err != nil {
		t.Fatalf("PutAll: %v", err)
	}
	for _, e := range entries {
		want(t, c, e.Kind, e.Key, e.Value)
	}
	few := []actioncache.Entry{{Kind: actioncache.Step, Key: key("few")}, {Kind: actioncache.Step, Key: key("0"), Value: []byte("new")}}
	if err := c.PutAll(t.Context(), few); err != nil {
		t.Fatalf("PutAll: %v", err)
	}
	want(t, c, actioncache.Step, key("few"), nil)
	want(t, c, actioncache.Step, key("0"), []byte("new"))
	wrong := []actioncache.Entry{{Kind: actioncache.Step, Key: key("fine")}, {Kind: "no kind", Key: key("wrong")}}
	if err := c.PutAll(t.Context(), wrong); err == nil {
		t.Error("PutAll with a kind that there is not: no error")
	}
	wantMiss(t, c, actioncache.Step, key("fine"))
}

func testDelete(t *testing.T, c actioncache.Cache) {
	k := key("k")
	if err := c.Delete(t.Context(), actioncache.Step, k); err != nil {
		t.Errorf("Delete of what is not there: %v", err)
	}
	put(t, c, actioncache.Step, k, []byte("v"))
	put(t, c, actioncache.Stage, k, []byte("v"))
	if err := c.Delete(t.Context(), actioncache.Step, k); err != nil {
		t.Errorf("Delete: %v", err)
	}
	wantMiss(t, c, actioncache.Step, k)
	want(t, c, actioncache.Stage, k, []byte("v"))
	put(t, c, actioncache.Step, k, []byte("w"))
	want(t, c, actioncache.Step, k, []byte("w"))
}

func testCallerOwnsItsBytes(t *testing.T, c actioncache.Cache) {
	value := []byte("value")
	put(t, c, actioncache.Step, key("k"), value)
	copy(value, "XXXXX")
	got, _, _ := c.Get(t.Context(), actioncache.Step, key("k"))
	copy(got, "YYYYY")
	want(t, c, actioncache.Step, key("k"), []byte("value"))
}

func testRefuses(t *testing.T, c actioncache.Cache) {
	if err := c.Put(t.Context(), actioncache.Step, key("k"), make([]byte, actioncache.MaxValue+1)); err == nil {
		t.Error("Put of more than MaxValue bytes: no error")
	}
	wantMiss(t, c, actioncache.Step, key("k"))
	for _, kind := range []actioncache.Kind{"", "..", "stages"} {
		_, _, getErr := c.Get(t.Context(), kind, key("k"))
		for _, err := range []error{getErr, c.Put(t.Context(), kind, key("k"), nil), c.Delete(t.Context(), kind, key("k"))} {
			if err == nil {
				t.Errorf("kind %q: no error", kind)
			}
		}
	}
}

func testCancelledContext(t *testing.T, c actioncache.Cache) {
	put(t, c, actioncache.Step, key("k"), []byte("v"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, getErr := c.Get(ctx, actioncache.Step, key("k"))
	putErr := c.Put(ctx, actioncache.Step, key("l"), nil)
	allErr := c.PutAll(ctx, []actioncache.Entry{{Kind: actioncache.Step, Key: key("m")}})
	for i, err := range []error{getErr, putErr, c.Delete(ctx, actioncache.Step, key("k")), allErr} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s with a cancelled context: %v", []string{"Get", "Put", "Delete", "PutAll"}[i], err)
		}
	}
	want(t, c, actioncache.Step, key("k"), []byte("v"))
}

// Many goroutines put, get and delete the same few keys. A value tells which key it belongs to and is long enough to be torn.
func testConcurrent(t *testing.T, c actioncache.Cache) {
	var wg sync.WaitGroup
	for g := range 16 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(2, uint64(g)))
			for range 40 {
				n := r.IntN(5)
				k := key(fmt.Sprint(n))
				switch r.IntN(4) {
				case 0:
					put(t, c, actioncache.Stage, k, bytes.Repeat([]byte{byte(n), byte(g)}, 5000))
				case 1:
					if err := c.Delete(t.Context(), actioncache.Stage, k); err != nil {
						t.Errorf("Delete: %v", err)
					}
				default:
					got, ok, err := c.Get(t.Context(), actioncache.Stage, k)
					if err != nil {
						t.Errorf("Get: %v", err)
					}
					if ok && (len(got) != 10000 || !bytes.Equal(got, bytes.Repeat([]byte{byte(n), got[1]}, 5000))) {
						t.Errorf("Get of key %d: a value that nobody put", n)
					}
				}
			}
		})
	}
	wg.Wait()
}
