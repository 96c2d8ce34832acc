package towpath

import (
	"embed"
	"io/fs"
)

// The files are named one by one to leave out the tests; a test holds the list
// complete.
//
//go:embed codec.go doc.go engine.go errors.go files.go locator.go options.go param.go pipeline.go
//go:embed process_other.go process_unix.go ref.go sdk_source.go step.go tow.go types.go worker.go
//go:embed protocol/canonical.go protocol/conn.go protocol/doc.go protocol/errors.go protocol/frame.go
//go:embed protocol/messages.go protocol/plan.go protocol/plan_decode.go protocol/scan.go protocol/values.go
//go:embed internal/sdk/call.go internal/sdk/doc.go internal/sdk/glob.go internal/sdk/reads.go internal/sdk/size.go
var sdkSource embed.FS

// SDKSource is for tow and no part of the API: it returns the source of this package
// and of those that it imports, without their tests. With a go.mod that names the module they build, so that `tow` can
// put them beside a pipeline which has no module of its own.
func SDKSource() fs.FS { return sdkSource }
