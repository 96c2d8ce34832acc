// Command bench compares Towpath with what people use today. Each row prepares its workload, runs Towpath and the peer alternately, and
// judges the ratio of the medians; docs/performance.md says what each row's numbers consist of.
//
//	go run ./bench                       # every row, as a table
//	go run ./bench -list                 # their names
//	go run ./bench -run 'version|import' -json
//
// It exits with 1 if a row misses its limit or could not be run, and with 2 if it was called wrongly.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"

	"github.com/towpath/towpath/bench/harness"
	"github.com/towpath/towpath/internal/sandbox"
)

func main() {
	sandbox.MainIfHelper()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := bench(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// options is what the command line says.
type options struct {
	run    *regexp.Regexp
	list   bool
	json   bool
	count  int
	folder string
}

var errUsage = errors.New("wrong usage")

func parse(args []string, stderr io.Writer) (*options, error) {
	o := &options{}
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	pattern := flags.String("run", "", "run only the rows whose name matches `regexp`")
	flags.BoolVar(&o.list, "list", false, "print the names of the rows and run nothing")
	flags.BoolVar(&o.json, "json", false, "print one JSON object for each row")
	flags.IntVar(&o.count, "count", 0, fmt.Sprintf("measure `n` pairs for each row, at least %d (default: as many as the row needs)", harness.MinRuns))
	flags.StringVar(&o.folder, "dir", "", "keep workloads in `folder` (default: towpath-bench in the user's cache folder)")
	if err := flags.Parse(args); err != nil {
		return nil, err
	}
	fail := func(format string, args ...any) (*options, error) {
		fmt.Fprintf(stderr, "bench: "+format+"\n", args...)
		return nil, errUsage
	}
	if flags.NArg() > 0 {
		return fail("unexpected argument %q", flags.Arg(0))
	}
	if o.count != 0 && o.count < harness.MinRuns {
		return fail("-count %d: a median of fewer than %d says nothing", o.count, harness.MinRuns)
	}
	var err error
	if o.run, err = regexp.Compile(*pattern); err != nil {
		return fail("-run: %v", err)
	}
	if o.folder == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return fail("no cache folder, name one with -dir: %v", err)
		}
		o.folder = filepath.Join(cache, "towpath-bench")
	}
	if o.folder, err = filepath.Abs(o.folder); err != nil {
		return fail("-dir: %v", err)
	}
	return o, nil
}

func bench(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == childArgument {
		return child(ctx, args[1:], stdout, stderr)
	}
	if len(args) > 0 && args[0] == artifactArgument {
		return artifactChild(ctx, args[1:], stdout, stderr)
	}
	if len(args) > 0 && args[0] == snapshotArgument {
		return snapshotChild(ctx, args[1:], stdout, stderr)
	}
	o, err := parse(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	}
	l := &lab{folder: o.folder, progress: stderr}
	selected := slices.DeleteFunc(rows(l), func(row harness.Row) bool { return !o.run.MatchString(row.Name) })
	if len(selected) == 0 {
		fmt.Fprintf(stderr, "bench: -run %s: no row has such a name; -list names them\n", o.run)
		return 2
	}
	if o.list {
		for _, row := range selected {
			fmt.Fprintln(stdout, row.Name)
		}
		return 0
	}
	report := harness.Table(stdout)
	if o.json {
		report = harness.JSON(stdout)
	}
	if err := measure(ctx, l, selected, o.count, report); err != nil {
		fmt.Fprintln(stderr, "bench:", err)
		return 1
	}
	return 0
}

func measure(ctx context.Context, l *lab, selected []harness.Row, count int, report func(*harness.Result) error) error {
	if err := l.open(); err != nil {
		return err
	}
	return errors.Join(harness.RunAll(ctx, selected, count, report), l.close())
}

// rows are all the rows, in the order in which they are run: the quick ones first.
func rows(l *lab) []harness.Row {
	return []harness.Row{
		versionHello(l),
		importAsyncio(l),
		schedule(l),
		snapshotWarm(l),
		snapshotCold(l),
		sandboxBwrap(l),
		sandboxCrun(l),
		inputs20k(l),
		firstStep(l),
		cachedNinja(l),
		cachedTurborepo(l),
		coldMake(l),
		artifactOpenssl(l),
		logRedirect(l),
	}
}
