package mem_test

import (
	"testing"

	"github.com/towpath/towpath/internal/actioncache"
	"github.com/towpath/towpath/internal/actioncache/actioncachetest"
	"github.com/towpath/towpath/internal/actioncache/mem"
)

func TestCache(t *testing.T) {
	actioncachetest.Run(t, func(*testing.T) actioncache.Cache { return mem.New() })
}
