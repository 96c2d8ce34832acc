package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/towpath/towpath/internal/digest"
)

// goTool runs the go command for one program.
type goTool struct {
	tool       string   // its path
	environ    []string // without GOWORK
	work       string   // GOWORK; empty for what the user has
	root       string   // of the program
	repository string   // of the program
}

// goVariables are what the go command is given of the environment, and what a compiled program is compiled anew for: where things are, the go
// command's own variables (`go help environment`), those of the C compiler, and those by which modules are fetched.
func goVariables() []string {
	return strings.Fields(`
		PATH HOME USER LOGNAME TMPDIR LANG XDG_CACHE_HOME XDG_CONFIG_HOME
		SystemRoot SystemDrive ComSpec PATHEXT TEMP TMP USERPROFILE APPDATA LOCALAPPDATA ProgramData

		GO111MODULE GO386 GOAMD64 GOARCH GOARM GOARM64 GOAUTH GOBIN GOCACHE GOCACHEPROG GODEBUG GOENV GOEXPERIMENT GOFIPS140 GOFLAGS GOGC
		GOINSECURE GOMAXPROCS GOMEMLIMIT GOMIPS GOMIPS64 GOMODCACHE GONOPROXY GONOSUMDB GOOS GOPATH GOPPC64 GOPRIVATE GOPROXY GORISCV64 GOROOT
		GOSUMDB GOTMPDIR GOTOOLCHAIN GOVCS GOWASM GOWORK GO_EXTLINK_ENABLED

		CGO_ENABLED CGO_CFLAGS CGO_CFLAGS_ALLOW CGO_CFLAGS_DISALLOW CGO_CPPFLAGS CGO_CPPFLAGS_ALLOW CGO_CPPFLAGS_DISALLOW
		CGO_CXXFLAGS CGO_CXXFLAGS_ALLOW CGO_CXXFLAGS_DISALLOW CGO_FFLAGS CGO_FFLAGS_ALLOW CGO_FFLAGS_DISALLOW
		CGO_LDFLAGS CGO_LDFLAGS_ALLOW CGO_LDFLAGS_DISALLOW
		AR CC CXX FC PKG_CONFIG PKG_CONFIG_PATH PKG_CONFIG_LIBDIR PKG_CONFIG_SYSROOT_DIR CPATH C_INCLUDE_PATH CPLUS_INCLUDE_PATH LIBRARY_PATH
		LD_LIBRARY_PATH MACOSX_DEPLOYMENT_TARGET SDKROOT DEVELOPER_DIR

		HTTP_PROXY HTTPS_PROXY ALL_PROXY NO_PROXY http_proxy https_proxy all_proxy no_proxy SSL_CERT_FILE SSL_CERT_DIR NETRC SSH_AUTH_SOCK
		GIT_SSL_CAINFO GIT_SSL_CAPATH GIT_SSH GIT_SSH_COMMAND GIT_ASKPASS GIT_TERMINAL_PROMPT GIT_ALLOW_PROTOCOL GIT_CONFIG_GLOBAL GIT_CONFIG_SYSTEM`)
}

func (c Config) goTool(p Program) (goTool, error) {
	t := goTool{root: p.Root, repository: p.Repository}
	var err error
	if t.tool, err = c.lookPath("go"); err != nil {
		return t, &Error{Text: fmt.Sprintf("%s is written in Go, and the go command was not found in PATH", p.Name()), Hint: "install Go 1.26 or later"}
	}
	for _, name := range goVariables() {
		if v, ok := c.Lookup(name); ok {
			t.environ = append(t.environ, name+"="+v)
		}
	}
	return t, nil
}

func (s *goTool) command(ctx context.Context, dir string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, s.tool, args...)
	cmd.Dir = dir
	cmd.WaitDelay = time.Second // what it started may hold its output open
	cmd.Env = append([]string{}, s.environ...)
	if s.work != "" {
		cmd.Env = append(cmd.Env, "GOWORK="+s.work)
	}
	return cmd
}

// run runs the go command; what it says of a wrong program is the program's *Error.
func (s *goTool) run(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := s.command(ctx, dir, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		e := &Error{Trace: strings.TrimSpace(stderr.String())}
		if e.File, e.Line, e.Text = s.complaint(e.Trace, dir); e.Text == "" {
			e.Text = err.Error()
		}
		e.Text = fmt.Sprintf("`go %s` refused the pipeline program: %s", args[0], e.Text)
		return nil, e
	}
	return stdout.Bytes(), nil
}

// goFileLine is a complaint of the go command about a line of a file.
var goFileLine = regexp.MustCompile(`(?m)^(\S+\.go):(\d+):(?:\d+:)? ?(.*)$`)

// complaint finds the first complaint in what the go command says, and where it is, relative to the program's root where it is below that.
func (s *goTool) complaint(text, dir string) (file string, line int, complaint string) {
	m := goFileLine.FindStringSubmatch(text)
	if m == nil {
		for l := range strings.Lines(text) {
			if !strings.HasPrefix(l, "#") { // the name of a package
				return "", 0, strings.TrimSpace(l)
			}
		}
		return "", 0, ""
	}
	file = m[1]
	if !filepath.IsAbs(file) {
		file = filepath.Join(dir, file)
	}
	file = s.inTree(file)
	if rel, err := filepath.Rel(s.root, file); err == nil && filepath.IsLocal(rel) {
		file = rel
	}
	line, err := strconv.Atoi(m[2])
	if err != nil {
		return "", 0, m[3]
	}
	return filepath.ToSlash(file), line, m[3]
}

// buildGo compiles a program and returns the compiled file as its runtime. Whether anything has to be done the go command knows best. The file is
// named by its digest, and so is the runtime: flags, variables, settings and whatever else has a say are all in there. For the same sources that
// digest is the same wherever they are: -trimpath leaves out where that is, and -buildvcs=false the state of the repository.
func (c Config) buildGo(ctx context.Context, p Program, s goSources) (runtimeInfo, error) {
	dir := filepath.Join(c.CacheDir, "programs", "go")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return runtimeInfo{}, fmt.Errorf("compile the pipeline program: %w", err)
	}
	own, err := os.MkdirTemp(dir, ".build-")
	if err != nil {
		return runtimeInfo{}, fmt.Errorf("compile the pipeline program: %w", err)
	}
	defer os.RemoveAll(own)
	tmp := filepath.Join(own, "program")
	if _, err := s.run(ctx, p.Path, "build", "-trimpath", "-buildvcs=false", "-o", tmp, "."); err != nil {
		return runtimeInfo{}, err
	}
	d, err := digestBinary(tmp)
	binary := filepath.Join(dir, p.id()+"-"+d.Hex())
	if err == nil {
		err = syncTree(own)
	}
	if err == nil {
		err = os.Rename(tmp, binary)
	}
	if err != nil {
		return runtimeInfo{}, fmt.Errorf("compile the pipeline program: %w", err)
	}
	sweep(dir, func(name string) string { program, _, _ := strings.Cut(name, "-"); return program })
	r := runtimeInfo{
		Executable: binary, Version: fmt.Sprintf("go%s program %s", goLanguage(s.env.GOVERSION), d.Short()),
		Stamps: append(s.stamps, stampOf(binary).withoutTime()),
	}
	for _, name := range goVariables() {
		r.Env = append(r.Env, variable(c.Lookup, name))
	}
	return r, nil
}

func digestBinary(path string) (digest.Digest, error) {
	f, err := os.Open(path)
	if err != nil {
		return digest.Digest{}, err
	}
	h := digest.NewHasher()
	_, err = io.Copy(h, f)
	return h.Digest(), errors.Join(err, f.Close())
}
