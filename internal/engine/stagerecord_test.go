package engine

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/session"
)

func TestStageRecordsSurvive(t *testing.T) {
	l := late{Reads: session.Reads{Files: []session.ReadFile{{Name: "a\nb", Digest: "d"}}}, Tools: []toolUse{{Name: "cp", Path: "/bin/cp", Digest: digest.Empty()}}}
	text, err := l.encode()
	if err != nil {
		t.Fatal(err)
	}
	none, err := late{}.encode()
	if err != nil || none != "" {
		t.Errorf("nothing is %q, %v", none, err)
	}
	for _, late := range []string{text, none} {
		want := stageRecord{Value: []byte("{\"a\":1}"), Late: late, Run: "20260102-030405-0001", Duration: time.Second}
		got, err := decodeStage(want.encode())
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%v %s", err, diff)
		}
	}
	back, err := decodeLate(text)
	if diff := cmp.Diff(l, back); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
}

func TestWhatIsNoStageRecord(t *testing.T) {
	for _, text := range []string{
		"", "{}", `{"value":1,"reads":{},"run":"r","duration_ns":1}`, "towpath-stage-1 r 1\n\n", "towpath-stage-1 r 1\n1", "towpath-stage-1 r\n\n1", "towpath-stage-1 r x\n\n1", "towpath-stage-2 r 1\n\n1",
	} {
		if rec, err := decodeStage([]byte(text)); err == nil {
			t.Errorf("%q is %+v", text, rec)
		}
	}
}
