package digest

import (
	"bytes"
	"testing"
)

func TestParseIsTheInverseOfString(t *testing.T) {
	d := OfBytes([]byte("towpath"))
	got, err := Parse(d.String())
	if err != nil || got != d {
		t.Fatalf("Parse(%q) = %v, %v", d, got, err)
	}
}

func TestParseRefuses(t *testing.T) {
	good := OfBytes(nil).Hex()
	for _, s := range []string{
		"", "/", good, good + "/", good + "/-1", good + "/01", good + "/1x", good[:63] + "/1", good[:63] + "G/1",
		good[:63] + "g/1", good + "/+1", good + "/99999999999999999999",
	} {
		if d, err := Parse(s); err == nil {
			t.Errorf("Parse(%q) = %v, want an error", s, d)
		}
	}
}

func TestReaderAndBytesAgree(t *testing.T) {
	b := bytes.Repeat([]byte("abc"), 100_000)
	d, err := OfReader(bytes.NewReader(b))
	if err != nil || d != OfBytes(b) {
		t.Fatalf("OfReader = %v, %v, want %v", d, err, OfBytes(b))
	}
	if Empty().Hex() != "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" {
		t.Error("the digest of nothing is not SHA-256's")
	}
}
