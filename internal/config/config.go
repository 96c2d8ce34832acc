// Package config reads the settings of tow: from flags, from TOW_ variables, and from `[tool.towpath]` in pyproject.toml or towpath.toml, the
// first that says anything winning.
//
// Settings change how a run is done and never what its results are: what a pipeline computes depends on its program, inputs and parameters
// alone. The package knows files and variables; it knows no command and no engine.
package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2"
)

// Settings is everything that can be set.
type Settings struct {
	// Jobs is how many steps run at once.
	Jobs int
	// CacheDir holds what can be made again: blobs, results, SDKs.
	CacheDir string
	// StateDir holds what cannot: the history of runs.
	StateDir string
	// Python is the interpreter of Python pipelines: a path or a name in PATH. Empty: python3.
	Python string
	// Targets are the stages of a `tow run` that names none. Empty: every stage that is no effect and needs none.
	Targets []string
	// Cache tells whether results of earlier runs are used.
	Cache bool
	// Isolation is how steps are kept from what they do not declare: one of the constants below.
	Isolation string

	places map[string]string // where settings were given, by key
}

// Wrong reports that what a setting says cannot be used, with the place that says so.
func (s Settings) Wrong(key, text string) *Error {
	settings := All()
	setting := settings[indexOf(settings, key)]
	where := s.places[key]
	switch where {
	case "":
		where = "the setting " + key
	case setting.Variable(), setting.flag():
	default:
		text = key + ": " + text // a file has several
	}
	return &Error{Where: where, Text: text, Hint: setting.Doc}
}

// Given tells whether something other than the default sets a setting.
func (s Settings) Given(key string) bool { return s.places[key] != "" }

// What the setting isolation can be.
const (
	// IsolationAuto takes the strongest that the machine has.
	IsolationAuto = "auto"
	// IsolationSandbox refuses a machine that has no sandbox.
	IsolationSandbox = "sandbox"
	// IsolationWorkspace gives steps a folder of their own and nothing more.
	IsolationWorkspace = "workspace"
)

// Setting describes one setting for help and documentation.
type Setting struct {
	// Key is its name in a settings file; its variable is TOW_ and the key in capitals.
	Key string
	// Flag is the flag of every command that sets it; empty where only some commands have one.
	Flag string
	// Doc says what it does, in one line.
	Doc string
	set func(*Settings, string) error
}

// Variable is the name of the setting's environment variable.
func (s Setting) Variable() string { return variablePrefix + strings.ToUpper(s.Key) }

func (s Setting) flag() string { return "--" + s.Flag }

// All lists the settings in the order in which they are documented.
func All() []Setting {
	return []Setting{
		{"jobs", "", "how many steps run at once (default: the number of CPUs)", setJobs},
		{"cache_dir", "cache-dir", "folder for what can be made again: blobs, results, SDKs", setFolder(func(s *Settings) *string { return &s.CacheDir })},
		{"state_dir", "state-dir", "folder for the history of runs", setFolder(func(s *Settings) *string { return &s.StateDir })},
		{"python", "python", "interpreter of Python pipelines, a path or a name in PATH (default: python3)", func(s *Settings, v string) error {
			s.Python = v
			return nil
		}},
		{"targets", "", "stages that `tow run` runs when none is named, separated by commas", func(s *Settings, v string) error {
			s.Targets = strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' })
			return nil
		}},
		{"cache", "", "whether results of earlier runs are used (default: true)", setCache},
		{"isolation", "isolation", "how steps are kept from what they do not declare: auto, sandbox or workspace (default: auto)", setIsolation},
	}
}

func setJobs(s *Settings, v string) error {
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 {
		return fmt.Errorf("%q is not a number from 1", v)
	}
	s.Jobs = n
	return nil
}

func setFolder(field func(*Settings) *string) func(*Settings, string) error {
	return func(s *Settings, v string) error {
		if v == "" {
			return errors.New("it is empty")
		}
		abs, err := filepath.Abs(v)
		if err != nil {
			return err
		}
		*field(s) = abs
		return nil
	}
}

func setCache(s *Settings, v string) error {
	b, err := strconv.ParseBool(v)
	if err != nil {
		return fmt.Errorf("%q is neither true nor false", v)
	}
	s.Cache = b
	return nil
}

func setIsolation(s *Settings, v string) error {
	switch v {
	case IsolationAuto, IsolationSandbox, IsolationWorkspace:
		s.Isolation = v
		return nil
	}
	return fmt.Errorf("%q is none of auto, sandbox and workspace", v)
}

// Error is a setting that cannot be used. It is the user's to mend.
type Error struct {
	// Where is the file with line and column, or the variable.
	Where string
	Text  string
	Hint  string
}

func (e *Error) Error() string { return e.Where + ": " + e.Text }

// Load returns the settings for a program: defaults, then the settings file of the first of folders that has one, then variables, then flags by the key
// of their setting. lookup is os.LookupEnv or its like.
func Load(folders []string, lookup func(string) (string, bool), flags map[string]string) (Settings, error) {
	s := Settings{Jobs: runtime.NumCPU(), Cache: true, Isolation: IsolationAuto, places: map[string]string{}}
	for _, folder := range folders {
		found, err := s.readFolder(folder)
		if err != nil {
			return s, err
		}
		if found {
			break
		}
	}
	for _, setting := range All() {
		if v, ok := lookup(setting.Variable()); ok {
			if err := setting.set(&s, v); err != nil {
				return s, &Error{Where: setting.Variable(), Text: err.Error(), Hint: setting.Doc}
			}
			s.places[setting.Key] = setting.Variable()
		}
		if v, ok := flags[setting.Key]; ok {
			if err := setting.set(&s, v); err != nil {
				return s, &Error{Where: setting.flag(), Text: err.Error(), Hint: setting.Doc}
			}
			s.places[setting.Key] = setting.flag()
		}
	}
	return s, s.defaultFolders(lookup)
}

// defaultFolders follows the XDG base directory specification, and the system's habit elsewhere.
func (s *Settings) defaultFolders(lookup func(string) (string, bool)) error {
	folder := func(variable, below string) (string, error) {
		if v, ok := lookup(variable); ok && filepath.IsAbs(v) {
			return filepath.Join(v, "towpath"), nil
		}
		home, ok := lookup("HOME")
		if !ok || home == "" {
			h, err := os.UserHomeDir()
			if err != nil {
				return "", &Error{Where: "HOME", Text: "it is not set, so that there is no place for the cache", Hint: "set HOME, or TOW_CACHE_DIR and TOW_STATE_DIR"}
			}
			home = h
		}
		return filepath.Join(home, filepath.FromSlash(below), "towpath"), nil
	}
	var err error
	if s.CacheDir == "" {
		if s.CacheDir, err = folder("XDG_CACHE_HOME", ".cache"); err != nil {
			return err
		}
	}
	if s.StateDir == "" {
		if s.StateDir, err = folder("XDG_STATE_HOME", ".local/state"); err != nil {
			return err
		}
	}
	return nil
}

func (s *Settings) readFolder(folder string) (bool, error) {
	own, errOwn := readTable(filepath.Join(folder, "towpath.toml"), nil)
	py, errPy := readTable(filepath.Join(folder, "pyproject.toml"), []string{"tool", "towpath"})
	if err := errors.Join(errOwn, errPy); err != nil {
		return false, err
	}
	switch {
	case own.found && py.found:
		return false, &Error{
			Where: filepath.Join(folder, "towpath.toml"), Text: "pyproject.toml beside it has a [tool.towpath] as well",
			Hint: "keep the settings in one of the two",
		}
	case own.found:
		return true, own.apply(s, folder)
	case py.found:
		return true, py.apply(s, folder)
	}
	return false, nil
}

// table is what a settings file says.
type table struct {
	path   string
	found  bool
	values map[string]any
}

func readTable(path string, below []string) (table, error) {
	t := table{path: path}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return t, &Error{Where: path, Text: err.Error()}
	}
	if len(below) > 0 && !bytes.Contains(b, []byte(below[len(below)-1])) {
		return t, nil // most of the time there is nothing of ours, and parsing takes longer than looking
	}
	var m map[string]any
	if err := toml.Unmarshal(b, &m); err != nil {
		where := path
		if de, ok := errors.AsType[*toml.DecodeError](err); ok {
			line, col := de.Position()
			where = fmt.Sprintf("%s:%d:%d", path, line, col)
		}
		return t, &Error{Where: where, Text: strings.TrimPrefix(err.Error(), "toml: ")}
	}
	for _, key := range below {
		next, ok := m[key].(map[string]any)
		if !ok {
			return t, nil
		}
		m = next
	}
	t.found, t.values = true, m
	return t, nil
}

// apply sets what the table says. A relative folder in it is relative to the file.
func (t table) apply(s *Settings, folder string) error {
	settings := All()
	for key, v := range t.values {
		i := indexOf(settings, key)
		if i < 0 {
			return &Error{Where: t.path, Text: fmt.Sprintf("there is no setting %q", key), Hint: "the settings are " + names(settings)}
		}
		text, err := asText(v)
		if err != nil {
			return &Error{Where: t.path, Text: key + ": " + err.Error(), Hint: settings[i].Doc}
		}
		if strings.HasSuffix(key, "_dir") && !filepath.IsAbs(text) {
			text = filepath.Join(folder, text)
		}
		if err := settings[i].set(s, text); err != nil {
			return &Error{Where: t.path, Text: key + ": " + err.Error(), Hint: settings[i].Doc}
		}
		s.places[key] = t.path
	}
	return nil
}

func asText(v any) (string, error) {
	switch v := v.(type) {
	case string:
		return v, nil
	case int64:
		return strconv.FormatInt(v, 10), nil
	case bool:
		return strconv.FormatBool(v), nil
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			text, ok := e.(string)
			if !ok {
				return "", errors.New("the list holds something other than strings")
			}
			parts[i] = text
		}
		return strings.Join(parts, ","), nil
	}
	return "", fmt.Errorf("a %T cannot be used here", v)
}

func indexOf(settings []Setting, key string) int {
	for i, s := range settings {
		if s.Key == key {
			return i
		}
	}
	return -1
}

func names(settings []Setting) string {
	keys := make([]string, len(settings))
	for i, s := range settings {
		keys[i] = s.Key
	}
	return strings.Join(keys, ", ")
}
