package main

import (
	"fmt"
	"os"
	"strings"
)

// writeCSV writes the samples of a run.
func writeCSV(path string, list []probe) error {
	var b strings.Builder
	b.WriteString("cycle,rss_bytes,jit_bytes,goroutines,fds,mappings\n")
	for _, p := range list {
		fmt.Fprintf(&b, "%d,%d,%d,%d,%d,%d\n", p.Cycle, p.RSS, p.JIT, p.Goroutines, p.FDs, p.Mappings)
	}
	return os.WriteFile(path, []byte(b.String()), 0o644)
}

// readCSV is the inverse of writeCSV.
func readCSV(path string) ([]probe, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var list []probe
	for _, line := range strings.Split(strings.TrimSpace(string(text)), "\n")[1:] {
		var p probe
		if _, err := fmt.Sscanf(line, "%d,%d,%d,%d,%d,%d", &p.Cycle, &p.RSS, &p.JIT, &p.Goroutines, &p.FDs, &p.Mappings); err != nil {
			return nil, fmt.Errorf("%s: %q: %w", path, line, err)
		}
		list = append(list, p)
	}
	return list, nil
}

// The plot's measures, in its own units.
const (
	plotWidth, plotHeight       = 820, 360
	left, right, upper, lowEdge = 70, 20, 44, 50
)

// curve is one line of a plot.
type curve struct {
	label, color string
	points       []probe
}

// plot draws resident memory over cycles.
func plot(title string, curves []curve) string {
	most, cycles := int64(64<<20), 1
	for _, c := range curves {
		for _, p := range c.points {
			most, cycles = max(most, p.RSS), max(cycles, p.Cycle)
		}
	}
	step := int64(16 << 20)
	for most/step > 6 {
		step *= 2
	}
	most = (most + step) / step * step
	x := func(cycle int) float64 { return left + float64(cycle)/float64(cycles)*(plotWidth-left-right) }
	y := func(rss int64) float64 {
		return plotHeight - lowEdge - float64(rss)/float64(most)*(plotHeight-upper-lowEdge)
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="13">`+"\n", plotWidth, plotHeight)
	fmt.Fprintf(&b, `<rect width="%d" height="%d" fill="#fff"/><text x="%d" y="24" font-size="15" fill="#222">%s</text>`+"\n", plotWidth, plotHeight, left, title)
	for rss := int64(0); rss <= most; rss += step {
		fmt.Fprintf(&b, `<path d="M%d %.1fH%d" stroke="#ddd"/><text x="%d" y="%.1f" text-anchor="end" fill="#555">%d MiB</text>`+"\n",
			left, y(rss), plotWidth-right, left-8, y(rss)+4, rss>>20)
	}
	for part := range 5 {
		cycle := cycles * part / 4
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle" fill="#555">%s</text>`+"\n", x(cycle), plotHeight-lowEdge+20, thousands(cycle))
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle" fill="#555">modules loaded, run and unloaded</text>`+"\n", (left+plotWidth-right)/2, plotHeight-10)
	for i, c := range curves {
		var d strings.Builder
		for k, p := range c.points {
			fmt.Fprintf(&d, "%c%.1f %.1f", "ML"[min(k, 1)], x(p.Cycle), y(p.RSS))
		}
		fmt.Fprintf(&b, `<path d="%s" fill="none" stroke="%s" stroke-width="2.5"/>`+"\n", d.String(), c.color)
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="14" height="4" fill="%s"/><text x="%d" y="%d" fill="#222">%s</text>`+"\n",
			left+16, upper+12+20*i, c.color, left+38, upper+18+20*i, c.label)
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// thousands writes a number with commas.
func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
