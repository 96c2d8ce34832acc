package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// Git keeps what it tracks although it is ignored, and so do sources: it is watched as well.
func TestWatchSeesWhatIsTrackedAlthoughItIsIgnored(t *testing.T) {
	t.Parallel()
	w := watchTracked(t, map[string]string{"pipeline.py": cat, "src/a": "one\n", ".gitignore": "src\n"})
	w.await(waiting)
	w.save("src/a", "two\n")
	w.await("src/a changed; running again")
	w.await(waiting)
	if out := w.end(); !strings.Contains(out, "│ two\n") {
		t.Error("it does not run with what was saved")
	}
}

// What the program reads when it is described counts although git ignores it.
func TestWatchSeesWhatTheProgramReadsAlthoughItIsIgnored(t *testing.T) {
	t.Parallel()
	program := "from pathlib import Path\n\nfrom towpath import log, stage\n\nTEXT = Path(\".env\").read_text()\n\n\n@stage\ndef tell() -> None:\n    log(TEXT)\n"
	w := watch(t, map[string]string{"pipeline.py": program, ".env": "one", ".gitignore": ".env\nother\n"})
	w.await(waiting)
	w.save("other", "x")
	w.save(".env", "two")
	w.await(".env changed; running again")
	w.await(waiting)
	w.end()
}

// A function that failed has not told what it read: any save may have mended it. What it writes itself is no save.
func TestWatchRunsAgainWhenWhatAFunctionReadIsMended(t *testing.T) {
	t.Parallel()
	program := "from pathlib import Path\n\nfrom towpath import stage\n\n\n@stage\ndef read() -> int:\n" +
		"    Path(\"trace.txt\").write_text(\"x\")\n    return int(Path(\"config.json\").read_text())\n"
	w := watch(t, map[string]string{"pipeline.py": program, "config.json": "none"})
	w.await(waiting)
	w.save("config.json", "none either")
	w.await("running again")
	w.await(waiting)
	w.save("config.json", "3")
	w.await("running again")
	w.await(waiting)
	if out := w.end(); strings.Count(out, "failed: 1 failed") != 2 || strings.Count(out, "ok: 1 ran") != 1 {
		t.Error("it did not fail twice and then succeed")
	}
	if strings.Contains(strings.Join(w.said, "\n"), "trace.txt changed; running again") {
		t.Error("it runs again for what the function wrote")
	}
}

// watchTracked is watch in a repository that tracks all files.
func watchTracked(t *testing.T, files map[string]string) *watched {
	t.Helper()
	return watchPrepared(t, files, func(dir string) {
		if err := os.Remove(dir + "/.git"); err != nil {
			t.Fatal(err)
		}
		for _, args := range [][]string{{"init", "-q"}, {"add", "-f", "."}} {
			cmd := exec.Command("git", args...)
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("git %v: %v\n%s", args, err, out)
			}
		}
	})
}
