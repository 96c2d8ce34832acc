package towpath_test

import (
	"context"
	"fmt"
	"time"

	"github.com/towpath/towpath"
	"github.com/towpath/towpath/towpathtest"
)

// CheckIn is what the stage below takes.
type CheckIn struct {
	Src   towpath.Ref[towpath.Directory]
	Shard int
}

// Check runs one shard of the tests.
func Check(ctx context.Context, in CheckIn) (towpath.TestReport, error) {
	result, err := towpath.Run(ctx, towpath.Step{
		Args:    []string{"pytest", fmt.Sprintf("--shard=%d", in.Shard), "--junitxml=report.xml"},
		Tree:    []towpath.Mount{{Content: in.Src.Get()}},
		Outputs: []string{"report.xml"},
	})
	if err != nil {
		return towpath.TestReport{}, err
	}
	junit, err := result.File("report.xml")
	if err != nil {
		return towpath.TestReport{}, err
	}
	return towpath.NewTestReport(ctx, junit)
}

// PublishIn is what the effect below takes.
type PublishIn struct {
	Reports towpath.Ref[[]towpath.TestReport]
	Index   towpath.Ref[string]
	Token   towpath.Ref[towpath.Secret]
}

// Publish changes the world.
func Publish(ctx context.Context, in PublishIn) (towpath.None, error) {
	return towpath.None{}, nil
}

// A pipeline declares its stages in a function that it gives to Main. Here the
// tests run in two shards, and an effect waits for both.
func Example() {
	pipeline := func(p *towpath.Pipeline) {
		src := p.Source("src", "tests", "!**/*.tmp")
		var reports []towpath.Ref[towpath.TestReport]
		for shard := range 2 {
			reports = append(reports, towpath.Stage(p, "check", Check, CheckIn{Src: src, Shard: shard},
				towpath.Bind("shard"), towpath.Retry(2), towpath.Timeout(10*time.Minute)))
		}
		towpath.Effect(p, "publish", Publish, PublishIn{
			Reports: towpath.Gather(reports...),
			Index:   towpath.Param[string](p, "index", towpath.Default("staging"), towpath.Env("PUBLISH_INDEX")),
			Token:   p.Secret("PUBLISH_TOKEN"),
		}, towpath.Idempotent())
	}

	// In a program: func main() { towpath.Main(pipeline) }
	plan, err := towpathtest.Plan(pipeline)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, stage := range plan.Stages {
		fmt.Println(stage.Kind, stage.Name)
	}
	// Output:
	// stage check[shard=0]
	// stage check[shard=1]
	// effect publish
}

// A stage that is fanned out is called once for each element of a list that is
// known only when the pipeline runs.
func ExampleEach() {
	type listIn struct {
		Src towpath.Ref[towpath.Directory]
	}
	type buildIn struct {
		Package towpath.Ref[string]
	}
	type bundleIn struct {
		Files towpath.Ref[[]towpath.File]
	}
	list := func(context.Context, listIn) ([]string, error) { return nil, nil }
	build := func(context.Context, buildIn) (towpath.File, error) { return towpath.File{}, nil }
	bundle := func(context.Context, bundleIn) (towpath.Directory, error) { return towpath.Directory{}, nil }

	plan, err := towpathtest.Plan(func(p *towpath.Pipeline) {
		packages := towpath.Stage(p, "list", list, listIn{Src: p.Source("packages")})
		files := towpath.Stage(p, "build", build, buildIn{Package: towpath.Each(packages)})
		towpath.Stage(p, "bundle", bundle, bundleIn{Files: towpath.Gather(files)})
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(plan.Stages[0].Name, "is called for each element of", plan.Stages[0].Inputs[0].From.Each.Stage)
	fmt.Println(plan.Stages[1].Name, "gathers", plan.Stages[1].Inputs[0].From.Gather)
	// Output:
	// build is called for each element of list
	// bundle gathers [build]
}
