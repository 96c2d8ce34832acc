package link

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
)

func TestAddAndVisit(t *testing.T) {
	var store Store
	name, err := store.Add("https://go.dev/doc")
	if err != nil {
		t.Fatal(err)
	}
	if len(name) != minName {
		t.Errorf("Add returned %q, want %d characters", name, minName)
	}
	again, err := store.Add("https://go.dev/doc")
	if err != nil || again != name {
		t.Errorf("Add returned %q, %v the second time, want %q", again, err, name)
	}
	for want := 1; want <= 3; want++ {
		target, err := store.Visit(name)
		if err != nil || target != "https://go.dev/doc" {
			t.Fatalf("Visit(%q) = %q, %v", name, target, err)
		}
		if got, err := store.Visits(name); err != nil || got != want {
			t.Errorf("Visits(%q) = %d, %v, want %d", name, got, err, want)
		}
	}
}

func TestUnknown(t *testing.T) {
	var store Store
	if _, err := store.Visit("nope"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Visit = %v, want %v", err, ErrNotFound)
	}
	if _, err := store.Visits("nope"); !errors.Is(err, ErrNotFound) {
		t.Errorf("Visits = %v, want %v", err, ErrNotFound)
	}
}

func TestTargets(t *testing.T) {
	for target, ok := range map[string]bool{
		"https://example.com":           true,
		"http://localhost:8080/a?b=c#d": true,
		"":                              false,
		"example.com":                   false,
		"ftp://example.com":             false,
		"https://":                      false,
		"javascript:alert(1)":           false,
		"https://%zz":                   false,
		"https://x.example/" + strings.Repeat("a", 2048): false,
	} {
		t.Run(target[:min(len(target), 30)], func(t *testing.T) {
			var store Store
			_, err := store.Add(target)
			if ok && err != nil {
				t.Errorf("Add(%q): %v", target, err)
			}
			if !ok && !errors.Is(err, ErrTarget) {
				t.Errorf("Add(%q) = %v, want %v", target, err, ErrTarget)
			}
		})
	}
}

func TestNamesThatCollideGrow(t *testing.T) {
	const target = "https://example.com"
	short := encode(target)[:minName]
	store := Store{targets: map[string]string{short: "https://taken.example"}, visits: map[string]int{}}
	name, err := store.Add(target)
	if err != nil || len(name) != minName+1 || !strings.HasPrefix(name, short) {
		t.Errorf("Add = %q, %v, want %q and one character more", name, err, short)
	}
}

func TestConcurrentUse(t *testing.T) {
	var store Store
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() {
			name, err := store.Add(fmt.Sprintf("https://example.com/%d", i%10))
			if err != nil {
				t.Error(err)
			} else if _, err := store.Visit(name); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(store.targets) != 10 {
		t.Errorf("%d links, want 10", len(store.targets))
	}
}
