// Package values declares a pipeline that pipeline.py declares too: plain values at the edges of what they can be.
package values

import (
	"context"

	"github.com/towpath/towpath"
)

type floatsIn struct {
	Whole    float64
	Integer  float64
	Zero     float64
	Tenth    float64
	Large    float64
	Below    float64
	Small    float64
	Above    float64
	Smallest float64
	Largest  float64
	Many     []float64
}

type intsIn struct {
	Zero         int
	Smallest     int64
	Largest      int64
	BeyondDouble int64
}

type stringsIn struct {
	Empty   string
	Quotes  string
	Control string
	HTML    string
	Lines   string
	Unicode string
	Dollar  string
	Keys    map[string]int
}

type othersIn struct {
	Yes     bool
	No      bool
	Nothing *string
	Deep    [][][]bool
}

func floats(_ context.Context, in floatsIn) ([]float64, error) {
	return append([]float64{
		in.Whole, in.Integer, in.Zero, in.Tenth, in.Large, in.Below, in.Small, in.Above, in.Smallest, in.Largest,
	}, in.Many...), nil
}

func ints(_ context.Context, in intsIn) ([]int64, error) {
	return []int64{int64(in.Zero), in.Smallest, in.Largest, in.BeyondDouble}, nil
}

func strings(_ context.Context, in stringsIn) (map[string]string, error) {
	return map[string]string{in.Unicode: in.Control, in.Quotes: in.HTML, in.Lines: in.Dollar, in.Empty: in.Empty}, nil
}

func others(context.Context, othersIn) (out towpath.None, err error) { return }

// Pipeline declares the stages.
func Pipeline(p *towpath.Pipeline) {
	towpath.Stage(p, "floats", floats, floatsIn{
		Whole: 1, Integer: 2, Tenth: 0.1, Large: 1e21, Below: 1e20, Small: 1e-7, Above: 0.000001,
		Smallest: 5e-324, Largest: 1.7976931348623157e308, Many: []float64{1, 2.5, -3},
	})
	towpath.Stage(p, "ints", ints, intsIn{Smallest: -1 << 63, Largest: 1<<63 - 1, BeyondDouble: 1<<53 + 1})
	towpath.Stage(p, "strings", strings, stringsIn{
		Quotes:  `say "hi" \ or /`,
		Control: "\x00\x01\b\t\n\x0b\f\r\x1f\x7f",
		HTML:    "<a href='x'>&amp;</a>",
		Lines:   "\u2028\u2029",
		Unicode: "d\u00e9j\u00e0 e\u0301 \u20ac \U0001f600 \ufb33 \uffff",
		Dollar:  "$file",
		Keys:    map[string]int{"\U0001f600": 1, "\ufb33": 2, "z": 3, "": 4, `"`: 5, "#": 6},
	})
	towpath.Stage(p, "others", others, othersIn{Yes: true, Deep: [][][]bool{{{true}, {}}, {}}})
}
