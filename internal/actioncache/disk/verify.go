package disk

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/towpath/towpath/internal/actioncache"
	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/cas/durable"
	"github.com/towpath/towpath/internal/digest"
)

// Verify reads every entry and drops those that are damaged, and those that dangle: check tells, by an *actioncache.DamagedError, which values cannot be
// read, and by what it returns whether all that a value names is there. Any other error ends it, and the entry stays. Reading is no use: the time of the
// last use stays.
func (c *Cache) Verify(ctx context.Context, check func(actioncache.Entry) (whole bool, err error)) (cas.Verified, error) {
	items, err := c.Items(ctx)
	if err != nil {
		return cas.Verified{}, err
	}
	v := cas.Verified{Checked: len(items)}
	for _, i := range items {
		if err := ctx.Err(); err != nil {
			return v, err
		}
		v.Bytes += i.Bytes
		e, st, err := c.load(i.Name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if errors.Is(err, fs.ErrPermission) {
			v.Unreadable++
			continue
		}
		whole := false
		if err == nil {
			whole, err = check(e)
		}
		switch {
		case ctx.Err() != nil:
			return v, ctx.Err()
		case isDamage(err):
			v.Damaged++
		case err != nil:
			return v, fmt.Errorf("action cache: verify: %w", err)
		case whole:
			continue
		default:
			v.Dangling++
		}
		if err := c.removeUnlessReplaced(i.Name, st); err != nil {
			return v, fmt.Errorf("action cache: verify: %w", cas.Writing(c.dir, err))
		}
	}
	return v, nil
}

// removeUnlessReplaced removes the entry name if it is still the one that st tells of.
func (c *Cache) removeUnlessReplaced(name string, st durable.Stat) error {
	path := c.named(name)
	if now, err := durable.Lstat(path); err == nil && (!now.Modified.Equal(st.Modified) || now.Size != st.Size) {
		return nil
	}
	return os.RemoveAll(path)
}

func isDamage(err error) bool {
	_, damaged := errors.AsType[*actioncache.DamagedError](err)
	return damaged || errors.Is(err, errDamaged)
}

var errDamaged = errors.New("the entry is damaged")

// load reads the entry name.
func (c *Cache) load(name string) (actioncache.Entry, durable.Stat, error) {
	kind, file, _ := strings.Cut(name, "/")
	st, err := durable.Lstat(c.named(name))
	if err != nil {
		return actioncache.Entry{}, st, err
	}
	hash, size, _ := strings.Cut(file, "-")
	key, err := digest.Parse(hash + "/" + size)
	if err != nil || strconv.FormatInt(key.Size, 10) != size || !st.Regular {
		return actioncache.Entry{}, st, errDamaged
	}
	e := actioncache.Entry{Kind: actioncache.Kind(kind), Key: key}
	b, err := durable.ReadUnnoted(filepath.Join(c.dir, kind, file), int64(actioncache.MaxValue+2*headerSize))
	if err != nil {
		return e, st, err
	}
	value, ok := decode(b, e.Kind, e.Key)
	if !ok {
		return e, st, errDamaged
	}
	e.Value = value
	return e, st, nil
}
