package executor_test

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/executor"
)

// The vectors were made by the generated code of the Remote Execution API in another program, from fields in canonical
// order.
func TestEncodeVectors(t *testing.T) {
	a, err := executor.NewAction(executor.Command{
		Args:    []string{"make", "", "-j2", "größe"},
		Env:     []executor.EnvVar{{Name: "Z", Value: "last"}, {Name: "EMPTY"}},
		Cwd:     "src/app",
		Outputs: []string{"src/app/build/app", "dist/*.whl", "dist/*.whl"},
	}, digest.Empty(), []executor.Property{
		{Name: "towpath-isolation", Value: "workspace"}, {Name: "OSFamily", Value: "linux"}, {Name: "ISA", Value: "x86-64"},
	})
	if err != nil {
		t.Fatal(err)
	}
	action, command, d := a.Encode()
	wantCommand := "0a046d616b650a000a032d6a320a076772c3b6c39f6512070a05454d505459120f0a044c414e471207432e5554462d3812440a0450415448123c" +
		"2f7573722f6c6f63616c2f7362696e3a2f7573722f6c6f63616c2f62696e3a2f7573722f7362696e3a2f7573722f62696e3a2f7362696e3a2f62696e" +
		"121e0a11534f555243455f444154455f45504f4348120933313535333238303012090a02545a120355544312090a015a12046c617374" +
		"32077372632f6170703a102e2e2f2e2e2f646973742f2a2e77686c3a096275696c642f617070"
	wantAction := "0a450a4030366434303931366434313061386464313161353939633263626136343833353336333733653738663335653232653035643338333165633165633438" +
		"66653910d20112420a4065336230633434323938666331633134396166626634633839393666623932343237616534316534363439623933346361343935393931" +
		"62373835326238353552420a0d0a0349534112067838362d36340a110a084f5346616d696c7912056c696e75780a1e0a11746f77706174682d69736f6c6174696f" +
		"6e1209776f726b7370616365"
	if got := hex.EncodeToString(command); got != wantCommand {
		t.Errorf("the command is\n%s, want\n%s", got, wantCommand)
	}
	if got := hex.EncodeToString(action); got != wantAction {
		t.Errorf("the action is\n%s, want\n%s", got, wantAction)
	}
	if want := "e92f9fc1830b7f2fb678c78c43f63aa00080595d2792bb1fab8855c0b5c17f09/207"; d.String() != want || a.Digest() != d {
		t.Errorf("the digest is %v and %v, want %s", d, a.Digest(), want)
	}
}

func TestNewActionRefuses(t *testing.T) {
	ok := executor.Command{Args: []string{"true"}}
	tests := []struct {
		name  string
		make  func(c *executor.Command)
		field string
	}{
		{"no program", func(c *executor.Command) { c.Args = nil }, "args"},
		{"an empty program", func(c *executor.Command) { c.Args = []string{"", "x"} }, "args"},
		{"NUL in an argument", func(c *executor.Command) { c.Args = []string{"x", "a\x00b"} }, "args"},
		{"an argument that is not UTF-8", func(c *executor.Command) { c.Args = []string{"x", "\xff"} }, "args"},
		{"a variable without a name", func(c *executor.Command) { c.Env = []executor.EnvVar{{Value: "x"}} }, "env"},
		{"a variable with =", func(c *executor.Command) { c.Env = []executor.EnvVar{{Name: "A=B"}} }, "env"},
		{"NUL in a value", func(c *executor.Command) { c.Env = []executor.EnvVar{{Name: "A", Value: "\x00"}} }, "env"},
		{"a variable twice", func(c *executor.Command) { c.Env = []executor.EnvVar{{Name: "A", Value: "1"}, {Name: "A", Value: "2"}} }, "env"},
		{"HOME", func(c *executor.Command) { c.Env = []executor.EnvVar{{Name: "HOME", Value: "/"}} }, "env"},
		{"TMPDIR", func(c *executor.Command) { c.Env = []executor.EnvVar{{Name: "TMPDIR", Value: "/tmp"}} }, "env"},
		{"an absolute cwd", func(c *executor.Command) { c.Cwd = "/etc" }, "cwd"},
		{"a cwd that leaves", func(c *executor.Command) { c.Cwd = "../x" }, "cwd"},
		{"a cwd that is not clean", func(c *executor.Command) { c.Cwd = "a/" }, "cwd"},
		{"the dot as cwd", func(c *executor.Command) { c.Cwd = "." }, "cwd"},
		{"an absolute output", func(c *executor.Command) { c.Outputs = []string{"/x"} }, "outputs"},
		{"an output that leaves", func(c *executor.Command) { c.Outputs = []string{"a/../../x"} }, "outputs"},
		{"an empty output", func(c *executor.Command) { c.Outputs = []string{""} }, "outputs"},
		{"a limit below 0", func(c *executor.Command) { c.Limits.MemoryBytes = -1 }, "limits"},
		{"a limit that is no number", func(c *executor.Command) { c.Limits.CPUs = math.NaN() }, "limits"},
		{"a glob that is none", func(c *executor.Command) { c.Outputs = []string{"a[b"} }, "outputs"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := ok
			test.make(&c)
			_, err := executor.NewAction(c, digest.Empty(), nil)
			var invalid *executor.InvalidError
			if !errors.As(err, &invalid) || invalid.Field != test.field {
				t.Errorf("the error is %v, want one of %s", err, test.field)
			}
		})
	}
	if _, err := executor.NewAction(ok, digest.Digest{}, nil); err == nil {
		t.Error("an action without an input root is taken")
	}
}

// TestDeclaredEnvWins holds that a declared variable takes the place of a constant one.
func TestDeclaredEnvWins(t *testing.T) {
	a, err := executor.NewAction(executor.Command{Args: []string{"x"}, Env: []executor.EnvVar{{Name: "TZ", Value: "CET"}}}, digest.Empty(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if tz, ok := a.Lookup("TZ"); tz != "CET" || !ok {
		t.Errorf("TZ is %q", tz)
	}
	if lang, ok := a.Lookup("LANG"); lang != "C.UTF-8" || !ok {
		t.Errorf("LANG is %q", lang)
	}
	if _, ok := a.Lookup("CI"); ok {
		t.Error("CI is set")
	}
	if got, want := len(a.Env), len(executor.BaseEnv()); got != want {
		t.Errorf("there are %d variables, want %d", got, want)
	}
}

func TestPlatform(t *testing.T) {
	got := executor.Platform("workspace")
	if !slices.Contains(got, executor.Property{Name: "towpath-isolation", Value: "workspace"}) {
		t.Errorf("the isolation is missing: %v", got)
	}
	if runtime.GOOS == "linux" && runtime.GOARCH == "amd64" {
		want := []executor.Property{{Name: "ISA", Value: "x86-64"}, {Name: "OSFamily", Value: "linux"}, {Name: "towpath-isolation", Value: "workspace"}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	}
}

// TestDigestIsCanonical holds that the order in which things are declared does not matter, and that everything that is
// declared does.
func TestDigestIsCanonical(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.StringMatching(`[a-z]{1,3}`)
		path := rapid.StringMatching(`[a-c]{1,2}(/[a-c]{1,2}){0,3}`)
		c := executor.Command{
			Args:    rapid.SliceOfN(name, 1, 4).Draw(t, "args"),
			Cwd:     rapid.OneOf(rapid.Just(""), path).Draw(t, "cwd"),
			Outputs: rapid.SliceOf(path).Draw(t, "outputs"),
		}
		for _, n := range rapid.SliceOfDistinct(name, rapid.ID[string]).Draw(t, "names") {
			c.Env = append(c.Env, executor.EnvVar{Name: n, Value: name.Draw(t, "value")})
		}
		digestOf := func(c executor.Command) digest.Digest {
			a, err := executor.NewAction(c, digest.Empty(), executor.Platform("x"))
			if err != nil {
				t.Fatal(err)
			}
			return a.Digest()
		}
		c.Network = rapid.Bool().Draw(t, "network")
		if rapid.Bool().Draw(t, "root") {
			c.Root = digest.OfBytes([]byte("root"))
		}
		for _, n := range rapid.SliceOfDistinct(name, rapid.ID[string]).Draw(t, "tools") {
			c.Tools = append(c.Tools, executor.Tool{Name: n, Path: "/opt/a b/" + n, Digest: digest.OfBytes([]byte(n))})
		}
		c.Limits = executor.Limits{
			CPUs: rapid.Float64Range(0, 1e9).Draw(t, "cpus"), MemoryBytes: rapid.Int64Min(0).Draw(t, "memory"),
			PIDs: rapid.Int64Range(0, 3).Draw(t, "pids"), OutputBytes: rapid.Int64Range(0, 3).Draw(t, "output"),
		}
		want := digestOf(c)
		whole, err := executor.NewAction(c, digest.Empty(), executor.Platform("x"))
		if err != nil {
			t.Fatal(err)
		}
		action, command, _ := whole.Encode()
		decoded, err := executor.Decode(action, command)
		if diff := cmp.Diff(whole, decoded, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Fatalf("what was encoded is decoded as another: %v\n%s", err, diff)
		}

		same := c
		same.Env = rapid.Permutation(c.Env).Draw(t, "env")
		same.Outputs = append(rapid.Permutation(c.Outputs).Draw(t, "permuted"), c.Outputs...)
		if digestOf(same) != want {
			t.Fatalf("%+v and %+v differ", c, same)
		}
		for _, change := range []func(c *executor.Command){
			func(c *executor.Command) { c.Args = append(slices.Clone(c.Args), "") },
			func(c *executor.Command) { c.Args = []string{strings.Join(c.Args, "") + "x"} },
			func(c *executor.Command) { c.Env = append(slices.Clone(c.Env), executor.EnvVar{Name: "NEW"}) },
			func(c *executor.Command) { c.Outputs = append(slices.Clone(c.Outputs), "new") },
			func(c *executor.Command) { c.Cwd += "x" },
			func(c *executor.Command) { c.Network = !c.Network },
			func(c *executor.Command) { c.Limits.CPUs = c.Limits.CPUs/2 + 0.5e9 + 1 },
			func(c *executor.Command) { c.Limits.MemoryBytes ^= 1 },
			func(c *executor.Command) { c.Limits.PIDs++ },
			func(c *executor.Command) { c.Limits.OutputBytes++ },
			func(c *executor.Command) { c.Root = digest.OfBytes([]byte("another root")) },
			func(c *executor.Command) {
				c.Tools = append(slices.Clone(c.Tools), executor.Tool{Name: "new", Path: "/new", Digest: digest.Empty()})
			},
		} {
			other := c
			change(&other)
			if digestOf(other) == want {
				t.Fatalf("%+v and %+v do not differ", c, other)
			}
		}
	})
}

func TestErrorsSayWhatToLookAt(t *testing.T) {
	tests := []struct {
		err  error
		want string
	}{
		{&executor.InvalidError{Field: "cwd", Reason: "no"}, "cwd: no"},
		{&executor.CommandNotFoundError{Name: "cc", Path: "/bin", Err: fs.ErrNotExist}, `command "cc" is not in the step's PATH (/bin)`},
		{&executor.CommandNotFoundError{Name: "./cc", Err: fs.ErrNotExist}, `command "./cc" does not exist in the step's workspace, or what it needs to start does not`},
		{&executor.CommandNotFoundError{Name: "./cc", Err: errors.New("permission denied")}, `command "./cc" cannot be started: permission denied`},
		{&executor.OutputError{Path: "dist", Err: errors.New("no")}, "output dist: no"},
		{&executor.InfrastructureError{Op: "make the workspace", Err: errors.New("no")}, "make the workspace: no"},
	}
	for _, test := range tests {
		if got := test.err.Error(); got != test.want {
			t.Errorf("it says %q, want %q", got, test.want)
		}
	}
}

// TestLimitsAreNamedOnlyWhereTheyAre holds that a command without limits has the key that it had before there were any.
func TestLimitsAreNamedOnlyWhereTheyAre(t *testing.T) {
	for want, l := range map[string]executor.Limits{
		"":       {},
		"pids=3": {PIDs: 3},
		"cpus=1.5 memory=1048576 output=10 pids=3": {CPUs: 1.5, MemoryBytes: 1 << 20, OutputBytes: 10, PIDs: 3},
	} {
		a, err := executor.NewAction(executor.Command{Args: []string{"x"}, Limits: l}, digest.Empty(), nil)
		if err != nil {
			t.Fatal(err)
		}
		var platform []executor.Property
		if want != "" {
			platform = []executor.Property{{Name: executor.LimitsProperty, Value: want}}
		}
		if !slices.Equal(a.Platform, platform) {
			t.Errorf("%+v: the platform is %v, want %v", l, a.Platform, platform)
		}
	}
}
