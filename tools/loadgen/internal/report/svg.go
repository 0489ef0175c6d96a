package report

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"slices"
	"time"
)

// A plot's size and margins, in pixels.
const (
	width, height            = 720.0, 400.0
	left, right, top, bottom = 70.0, 20.0, 40.0, 45.0
)

var colours = [2]string{"#0b6e99", "#b0b0b0"} // ours, the limit

// plot is a picture of a case: latencies by percentile where there are some, and
// else the ratio of each round. Of a case with neither there is none.
func plot(title string, c Judged) []byte {
	if c.hists[0] != nil && c.hists[1] != nil {
		return latencies(title, c)
	}
	if len(c.Verdicts) > 0 && len(c.Verdicts[0].Ratios) > 0 {
		return ratios(title, c)
	}
	return nil
}

// drawing is an SVG whose axes are already scaled.
type drawing struct {
	bytes.Buffer
	minY, maxY float64
	log        bool
}

func draw(title, yName string, minY, maxY float64, log bool) *drawing {
	d := &drawing{minY: minY, maxY: maxY, log: log}
	fmt.Fprintf(d, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" font-family="sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(d, `<rect width="%g" height="%g" fill="white"/>`+"\n", width, height)
	d.text(left, 22, "start", title)
	d.text(8, top-8, "start", yName)
	for _, tick := range ticks(minY, maxY, log) {
		y := d.y(tick)
		d.line(left, y, width-right, y, "#e4e4e4")
		d.text(left-6, y+4, "end", fmt.Sprintf("%.3g", tick))
	}
	return d
}

func (d *drawing) y(v float64) float64 {
	share := (v - d.minY) / (d.maxY - d.minY)
	if d.log {
		share = math.Log(v/d.minY) / math.Log(d.maxY/d.minY)
	}
	return height - bottom - share*(height-top-bottom)
}

func (d *drawing) text(x, y float64, anchor, s string) {
	fmt.Fprintf(d, `<text x="%.1f" y="%.1f" text-anchor=%q>`, x, y, anchor)
	_ = xml.EscapeText(d, []byte(s)) // into memory
	d.WriteString("</text>\n")
}

func (d *drawing) line(x1, y1, x2, y2 float64, colour string) {
	fmt.Fprintf(d, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke=%q/>`+"\n", x1, y1, x2, y2, colour)
}

func (d *drawing) legend(names ...string) {
	for i, n := range names {
		y := top + 14*float64(i)
		fmt.Fprintf(d, `<rect x="%g" y="%g" width="10" height="10" fill=%q/>`+"\n", left+10, y, colours[i])
		d.text(left+26, y+9, "start", n)
	}
}

func (d *drawing) end() []byte {
	d.WriteString("</svg>\n")
	return d.Bytes()
}

// ticks are round numbers between two others, both included.
func ticks(lo, hi float64, log bool) []float64 {
	var out []float64
	if log {
		for v := lo; v <= hi*1.0001; v *= 10 {
			out = append(out, v)
		}
		return out
	}
	for i := range 6 {
		out = append(out, lo+(hi-lo)*float64(i)/5)
	}
	return out
}

// nines are the percentiles of the plot, each as far from the last as it has one
// nine more.
var nines = []float64{0, 50, 75, 90, 95, 99, 99.5, 99.9, 100}

func latencies(title string, c Judged) []byte {
	lo, hi := math.Inf(1), 0.0
	at := func(i int, p float64) float64 {
		return math.Max(float64(c.hists[i].ValueAtQuantile(p))/float64(time.Millisecond), 0.001)
	}
	for i := range c.hists {
		lo, hi = math.Min(lo, at(i, 0)), math.Max(hi, at(i, 100))
	}
	lo, hi = math.Pow(10, math.Floor(math.Log10(lo))), math.Pow(10, math.Ceil(math.Log10(hi)))
	if hi <= lo {
		hi = lo * 10
	}
	d := draw(title, "ms", lo, hi, true)
	x := func(n int) float64 { return left + (width-left-right)*float64(n)/float64(len(nines)-1) }
	for n, p := range nines {
		d.text(x(n), height-bottom+18, "middle", fmt.Sprintf("%g", p))
	}
	d.text((left+width-right)/2, height-8, "middle", "percentile")
	for i := range c.hists {
		d.WriteString(`<polyline fill="none" stroke-width="2" stroke="` + colours[i] + `" points="`)
		for n, p := range nines {
			fmt.Fprintf(d, "%.1f,%.1f ", x(n), d.y(at(i, p)))
		}
		d.WriteString(`"/>` + "\n")
	}
	d.legend("Sandbar", "its limit")
	return d.end()
}

func ratios(title string, c Judged) []byte {
	hi := 0.0
	bars := 0
	for _, v := range c.Verdicts {
		for _, r := range v.Ratios {
			hi = max(hi, r)
		}
		hi, bars = max(hi, v.AtMost, v.AtLeast), bars+len(v.Ratios)
	}
	d := draw(title, "ratio to its limit", 0, hi*1.1, false)
	step := (width - left - right) / float64(bars+len(c.Verdicts))
	x := left + step/2
	for _, v := range c.Verdicts {
		begin := x
		for _, r := range v.Ratios {
			y := d.y(r)
			fmt.Fprintf(d, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill=%q/>`+"\n", x+step*0.1, y, step*0.8, height-bottom-y, colours[0])
			x += step
		}
		bound := slices.Max([]float64{v.AtMost, v.AtLeast})
		d.line(begin, d.y(bound), x, d.y(bound), "#c03030")
		d.text((begin+x)/2, height-bottom+18, "middle", v.Value+" "+v.String())
		x += step
	}
	d.text((left+width-right)/2, height-8, "middle", "one bar a round; the line is the bound")
	return d.end()
}
