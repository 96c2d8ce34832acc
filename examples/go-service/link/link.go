// Package link keeps short names of long addresses.
package link

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"sync"
)

const (
	alphabet  = "23456789abcdefghjkmnpqrstuvwxyz" // nothing that is easily mistaken for something else
	minName   = 4
	maxTarget = 2048
)

var (
	// ErrNotFound says that there is no link of that name.
	ErrNotFound = errors.New("no such link")
	// ErrTarget says that the address cannot be linked to.
	ErrTarget = errors.New("not a linkable address")
)

// Store keeps links in memory. It may be used by several goroutines. The zero Store is empty and ready.
type Store struct {
	mu      sync.RWMutex
	targets map[string]string
	visits  map[string]int
}

// Add returns the short name of target, which is the same each time.
func (s *Store) Add(target string) (string, error) {
	if err := check(target); err != nil {
		return "", err
	}
	digits := encode(target)

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.targets == nil {
		s.targets, s.visits = map[string]string{}, map[string]int{}
	}
	for n := minName; n <= len(digits); n++ {
		name := digits[:n]
		switch taken, ok := s.targets[name]; {
		case !ok:
			s.targets[name] = target
			return name, nil
		case taken == target:
			return name, nil
		}
	}
	return "", fmt.Errorf("every name for %q is taken", target)
}

// Visit returns the target of the link and counts the visit.
func (s *Store) Visit(name string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	target, ok := s.targets[name]
	if !ok {
		return "", fmt.Errorf("%w: %q", ErrNotFound, name)
	}
	s.visits[name]++
	return target, nil
}

// Visits returns how often the link was visited.
func (s *Store) Visits(name string) (int, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if _, ok := s.targets[name]; !ok {
		return 0, fmt.Errorf("%w: %q", ErrNotFound, name)
	}
	return s.visits[name], nil
}

func check(target string) error {
	if len(target) > maxTarget {
		return fmt.Errorf("%w: longer than %d bytes", ErrTarget, maxTarget)
	}
	u, err := url.Parse(target)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrTarget, err)
	}
	if (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return fmt.Errorf("%w: %q is no http or https address", ErrTarget, target)
	}
	return nil
}

func encode(target string) string {
	sum := sha256.Sum256([]byte(target))
	n, base, digit := new(big.Int).SetBytes(sum[:]), big.NewInt(int64(len(alphabet))), new(big.Int)
	var digits []byte
	for n.Sign() > 0 {
		n.DivMod(n, base, digit)
		digits = append(digits, alphabet[digit.Int64()])
	}
	return string(digits)
}
