package main

import (
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// table writes the comparisons of all rows that have results.
func (b *bench) table(w io.Writer, done []*row, got map[*row]results) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "row\twhat\tmoldau acknowledges\tkafka acknowledges\tmoldau\tkafka\tunit\tratio\tlowest..greatest\tgoal\tmet")
	for _, r := range done {
		for _, l := range r.lines {
			own, other := got[r].values(l.ours, l.metric), got[r].values(l.theirs, l.metric)
			s := compare(own, other)
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s..%s\t%s\t%s\n",
				r.name, l.what, r.arms[l.ours].durability, r.arms[l.theirs].durability, number(s.ours), number(s.theirs), l.unit,
				number(s.ratio), number(s.lowest), number(s.greatest), l.goal.text(l.unit), l.goal.verdict(s))
		}
	}
	return t.Flush()
}

// number gives three digits, or a dash for what was not measured.
func number(v float64) string {
	switch {
	case math.IsNaN(v):
		return "-"
	case math.Abs(v) >= 100:
		return fmt.Sprintf("%.0f", v)
	default:
		return fmt.Sprintf("%.3g", v)
	}
}

func (g goal) text(unit string) string {
	switch g.bound {
	case ratioMost:
		return fmt.Sprintf("<= %gx", g.limit)
	case ratioLeast:
		return fmt.Sprintf(">= %gx", g.limit)
	case oursMost:
		return fmt.Sprintf("<= %g %s", g.limit, unit)
	case oursLeast:
		return fmt.Sprintf(">= %g %s", g.limit, unit)
	default:
		return ""
	}
}

func (g goal) verdict(s spread) string {
	switch {
	case g.bound == noBound:
		return ""
	case g.met(s):
		return "yes"
	case math.IsNaN(s.ratio) && (g.bound != oursMost && g.bound != oursLeast || math.IsNaN(s.ours)):
		return "-"
	default:
		return "no"
	}
}

// describe says on what machine the figures arise, and what a sync costs on its disk.
func (b *bench) describe() error {
	cost, err := syncCost(b.fleet.dir)
	if err != nil {
		return err
	}
	model := "unknown processor"
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	b.raw("machine: %d x %s, %s/%s, %s; fsync of 4 KB: median %v", runtime.NumCPU(), model, runtime.GOOS, runtime.GOARCH, runtime.Version(), cost)
	b.raw("kafka: %s, heap 1 GB, G1; %d rounds, %v each, at most %.3g GB a measurement; warm-up %v", kafkaVersion, b.flags.rounds, b.flags.duration, float64(b.flags.bytes)/gigabyte, b.flags.warm)
	return nil
}

// syncCost is the median time of a 4 KB append with its sync.
func syncCost(dir string) (time.Duration, error) {
	f, err := os.Create(filepath.Join(dir, "sync"))
	if err != nil {
		return 0, err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	page := make([]byte, 4096)
	var costs []time.Duration
	for range 100 {
		begin := time.Now()
		if _, err := f.Write(page); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
		costs = append(costs, time.Since(begin))
	}
	slices.Sort(costs)
	return percentile(costs, 50).Round(time.Microsecond), nil
}
