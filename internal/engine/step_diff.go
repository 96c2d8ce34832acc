package engine

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/digest"
	"github.com/towpath/towpath/internal/event"
	"github.com/towpath/towpath/internal/executor"
	"github.com/towpath/towpath/internal/quote"
	"github.com/towpath/towpath/internal/tree"
)

const (
	// maxNamed is how many changes of one sort are named, files of the input tree for one.
	maxNamed = 20
	// maxCounted is how many changed files are counted.
	maxCounted = 1000
	// maxShown bounds a value in a text, and maxKept in a reason.
	maxShown, maxKept = 60, 4 << 10
)

// difference lists in what two actions differ: what comes from the caller first, then what comes from the machine.
func difference(ctx context.Context, store cas.Store, was, is executor.Action) []event.Reason {
	out := arguments(was.Args, is.Args)
	out = append(out, variables(was, is)...)
	if was.Cwd != is.Cwd {
		out = append(out, changed(event.ReasonFolder, "", "the folder that it starts in", orTop(was.Cwd), orTop(is.Cwd)))
	}
	out = append(out, inputFiles(ctx, store, was.InputRoot, is.InputRoot)...)
	out = append(out, outputs(was.Outputs, is.Outputs)...)
	if was.Network != is.Network {
		out = append(out, network(is.Network))
	}
	if was.Root != is.Root {
		out = append(out, changed(event.ReasonPlatform, "root", "the image that it runs in", orNone(was.Root), orNone(is.Root)))
	}
	out = append(out, limitChanges(was.Limits, is.Limits)...)
	out = append(out, toolChanges(was.Tools, is.Tools)...)
	return append(out, platform(was.Platform, is.Platform)...)
}

// changed says that something has another value.
func changed(kind event.ReasonKind, subject, what, before, after string) event.Reason {
	return event.Reason{
		Kind: kind, Subject: subject, Before: clip(before, maxKept), After: clip(after, maxKept),
		Text: fmt.Sprintf("%s changed from %s to %s", what, shown(before), shown(after)),
	}
}

// appeared says that something is there that was not, and vanished that it is not any more.
func appeared(kind event.ReasonKind, subject, what, after string) event.Reason {
	return event.Reason{Kind: kind, Subject: subject, After: clip(after, maxKept), Text: what + " is new"}
}

func vanished(kind event.ReasonKind, subject, what, before string) event.Reason {
	return event.Reason{Kind: kind, Subject: subject, Before: clip(before, maxKept), Text: what + " is gone"}
}

// arguments compares two commands: one by one where they are equally many, else by what lies between their equal ends.
func arguments(was, is []string) []event.Reason {
	if len(was) == len(is) {
		var out []event.Reason
		for i := range is {
			if was[i] != is[i] {
				out = append(out, changed(event.ReasonArgument, strconv.Itoa(i), argument(i, i+1), was[i], is[i]))
			}
		}
		return bounded(out, "argument")
	}
	from := 0
	for from < min(len(was), len(is)) && was[from] == is[from] {
		from++
	}
	end := 0
	for end < min(len(was), len(is))-from && was[len(was)-1-end] == is[len(is)-1-end] {
		end++
	}
	before, after := was[from:len(was)-end], is[from:len(is)-end]
	subject := strconv.Itoa(from)
	switch {
	case len(before) == 0:
		what := argument(from, from+len(after)) + " (" + clip(quote.Words(after...), maxShown) + ")"
		return []event.Reason{appeared(event.ReasonArgument, subject, what, quote.Words(after...))}
	case len(after) == 0:
		what := argument(from, from+len(before)) + " (" + clip(quote.Words(before...), maxShown) + ")"
		return []event.Reason{vanished(event.ReasonArgument, subject, what, quote.Words(before...))}
	}
	return []event.Reason{{
		Kind: event.ReasonArgument, Subject: subject, Before: clip(quote.Words(before...), maxKept), After: clip(quote.Words(after...), maxKept),
		Text: fmt.Sprintf("%s changed from %s to %s", argument(from, from+len(before)), clip(quote.Words(before...), maxShown), clip(quote.Words(after...), maxShown)),
	}}
}

// argument names the arguments from one up to another.
func argument(from, to int) string {
	switch {
	case from == 0 && to == 1:
		return "the program"
	case to == from+1:
		return fmt.Sprintf("argument %d", from)
	}
	return fmt.Sprintf("arguments %d to %d", from, to-1)
}

// variables compares what two commands find in their environment. Both are sorted.
func variables(was, is executor.Action) []event.Reason {
	var out []event.Reason
	for _, v := range is.Env {
		before, had := was.Lookup(v.Name)
		switch {
		case !had:
			r := appeared(event.ReasonVariable, v.Name, "variable "+v.Name, v.Value)
			r.Text += ": " + shown(v.Value)
			out = append(out, r)
		case before != v.Value:
			out = append(out, changed(event.ReasonVariable, v.Name, "variable "+v.Name, before, v.Value))
		}
	}
	for _, v := range was.Env {
		if _, has := is.Lookup(v.Name); !has {
			out = append(out, vanished(event.ReasonVariable, v.Name, "variable "+v.Name, v.Value))
		}
	}
	return bounded(out, "variable")
}

// inputFiles compares two input trees. Where one is not in the store any more, only that they differ is known.
func inputFiles(ctx context.Context, store cas.Store, was, is digest.Digest) []event.Reason {
	if was == is {
		return nil
	}
	changes, err := tree.Diff(ctx, store, was, is, maxCounted)
	if err != nil || len(changes) == 0 {
		return []event.Reason{{Kind: event.ReasonFile, Before: was.String(), After: is.String(), Text: "its inputs changed"}}
	}
	out := make([]event.Reason, 0, min(len(changes), maxNamed+1))
	for _, c := range changes[:min(len(changes), maxNamed)] {
		out = append(out, inputFile(c))
	}
	switch more := len(changes) - maxNamed; {
	case len(changes) == maxCounted:
		out = append(out, event.Reason{Kind: event.ReasonFile, Text: fmt.Sprintf("and %d more inputs at least", more)})
	case more > 0:
		out = append(out, and(event.ReasonFile, more, "input"))
	}
	return out
}

func inputFile(c tree.Change) event.Reason {
	what := "input " + c.Path
	switch c.Kind {
	case tree.Added:
		return appeared(event.ReasonFile, c.Path, what, content(c.New))
	case tree.Removed:
		return vanished(event.ReasonFile, c.Path, what, content(c.Old))
	case tree.Modified:
	}
	r := event.Reason{Kind: event.ReasonFile, Subject: c.Path, Before: content(c.Old), After: content(c.New)}
	switch {
	case c.Old.Kind == tree.KindSymlink && c.New.Kind == tree.KindSymlink:
		r.Text = fmt.Sprintf("%s led to %s and leads to %s", what, shown(c.Old.Target), shown(c.New.Target))
	case c.Old.Kind != c.New.Kind:
		r.Text = what + " is of another kind"
	case c.Old.Digest != c.New.Digest:
		r.Text = fmt.Sprintf("%s changed (digest %s… -> %s…)", what, c.Old.Digest.Short(), c.New.Digest.Short())
	case c.New.Executable:
		r.Text = what + " is executable now"
	default:
		r.Text = what + " is not executable any more"
	}
	return r
}

// content is what a path of a tree holds: a digest, or where a symbolic link leads.
func content(e tree.Entry) string {
	if e.Kind == tree.KindSymlink {
		return e.Target
	}
	return e.Digest.String()
}

func outputs(was, is []string) []event.Reason {
	var out []event.Reason
	for _, o := range is {
		if !slices.Contains(was, o) {
			out = append(out, appeared(event.ReasonOutput, o, "output "+o, o))
		}
	}
	for _, o := range was {
		if !slices.Contains(is, o) {
			out = append(out, vanished(event.ReasonOutput, o, "output "+o, o))
		}
	}
	return bounded(out, "output")
}

func network(now bool) event.Reason {
	if now {
		return event.Reason{Kind: event.ReasonNetwork, Before: "none", After: "host", Text: "it may use the network now"}
	}
	return event.Reason{Kind: event.ReasonNetwork, Before: "host", After: "none", Text: "it may not use the network any more"}
}

// limitChanges compares what two commands may use.
func limitChanges(was, is executor.Limits) []event.Reason {
	number := func(n int64) string { return strconv.FormatInt(n, 10) }
	var out []event.Reason
	for _, l := range []struct{ name, before, after string }{
		{"cpus", strconv.FormatFloat(was.CPUs, 'f', -1, 64), strconv.FormatFloat(is.CPUs, 'f', -1, 64)},
		{"memory", inBytes(was.MemoryBytes), inBytes(is.MemoryBytes)},
		{"pids", number(was.PIDs), number(is.PIDs)},
		{"output", inBytes(was.OutputBytes), inBytes(is.OutputBytes)},
	} {
		before, after := orUnlimited(l.before), orUnlimited(l.after)
		if before != after {
			r := changed(event.ReasonPlatform, l.name, "", before, after)
			r.Text = fmt.Sprintf("the limit %s changed from %s to %s", l.name, before, after)
			out = append(out, r)
		}
	}
	return out
}

// orUnlimited is how a limit is written.
func orUnlimited(limit string) string {
	if limit == "0" || limit == inBytes(0) {
		return "none"
	}
	return limit
}

// toolChanges compares the programs of the machine that two commands may run.
func toolChanges(was, is []executor.Tool) []event.Reason {
	find := func(list []executor.Tool, name string) (executor.Tool, bool) {
		i := slices.IndexFunc(list, func(t executor.Tool) bool { return t.Name == name })
		if i < 0 {
			return executor.Tool{}, false
		}
		return list[i], true
	}
	text := func(t executor.Tool) string { return t.Path + " " + t.Digest.String() }
	var out []event.Reason
	for _, t := range is {
		before, had := find(was, t.Name)
		switch r := changed(event.ReasonTool, t.Name, "", text(before), text(t)); {
		case !had:
			out = append(out, appeared(event.ReasonTool, t.Name, "the tool "+t.Name, text(t)))
		case before.Digest != t.Digest:
			r.Text = fmt.Sprintf("the tool %s changed (digest %s… -> %s…)", t.Name, before.Digest.Short(), t.Digest.Short())
			out = append(out, r)
		case before.Path != t.Path:
			r.Text = fmt.Sprintf("the tool %s was %s and is %s", t.Name, before.Path, t.Path)
			out = append(out, r)
		}
	}
	for _, t := range was {
		if _, has := find(is, t.Name); !has {
			out = append(out, vanished(event.ReasonTool, t.Name, "the tool "+t.Name, text(t)))
		}
	}
	return bounded(out, "tool")
}

// platform compares the properties that are not told otherwise.
func platform(was, is []executor.Property) []event.Reason {
	value := func(list []executor.Property, name string) string {
		for _, p := range list {
			if p.Name == name {
				return p.Value
			}
		}
		return ""
	}
	told := func(name string) bool {
		return slices.Contains([]string{executor.NetworkProperty, executor.RootProperty, executor.LimitsProperty}, name) || strings.HasPrefix(name, executor.ToolPrefix)
	}
	var names []string
	for _, p := range slices.Concat(was, is) {
		if !told(p.Name) && !slices.Contains(names, p.Name) {
			names = append(names, p.Name)
		}
	}
	var out []event.Reason
	for _, name := range names {
		if before, after := value(was, name), value(is, name); before != after {
			subject := strings.TrimPrefix(name, "towpath-")
			out = append(out, changed(event.ReasonPlatform, subject, subject, before, after))
		}
	}
	return out
}

// bounded keeps as many reasons as anyone reads and counts the others.
func bounded(list []event.Reason, noun string) []event.Reason {
	if len(list) <= maxNamed {
		return list
	}
	more := len(list) - maxNamed
	return append(list[:maxNamed:maxNamed], and(list[0].Kind, more, noun))
}

func and(kind event.ReasonKind, more int, noun string) event.Reason {
	if more > 1 {
		noun += "s"
	}
	return event.Reason{Kind: kind, Text: fmt.Sprintf("and %d more %s", more, noun)}
}

func orTop(cwd string) string {
	if cwd == "" {
		return "."
	}
	return cwd
}

func orNone(d digest.Digest) string {
	if d.IsZero() {
		return "none"
	}
	return d.String()
}

// shown writes a value for a line: as a shell would read it, and not too long.
func shown(s string) string { return clip(quote.Words(s), maxShown) }

// clip cuts a text that is longer than limit.
func clip(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	return strings.ToValidUTF8(s[:limit], "") + "…"
}
