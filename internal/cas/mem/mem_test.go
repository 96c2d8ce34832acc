package mem_test

import (
	"testing"

	"github.com/towpath/towpath/internal/cas"
	"github.com/towpath/towpath/internal/cas/castest"
	"github.com/towpath/towpath/internal/cas/mem"
)

func TestStore(t *testing.T) {
	castest.Run(t, func(*testing.T) cas.Store { return mem.New() })
}
