package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// durability is what an acknowledgement means.
type durability string

const (
	synced  durability = "synced"           // ours, the default: on stable storage
	written durability = "written"          // ours, weaker: in the page cache
	cached  durability = "page cache"       // Kafka's default
	flushed durability = "flush.messages=1" // Kafka, stronger: every append is synced
)

// configs are the settings of a topic that make it so. A deleted topic's files go at once, to keep the disk free.
func (d durability) configs() map[string]string {
	c := map[string]string{"file.delete.delay.ms": "1000"}
	switch d {
	case written:
		c["ack.durability"] = "written"
	case flushed:
		c["flush.messages"] = "1"
	}
	return c
}

// arm is one of the things that a row measures in turn: a side with a durability.
type arm struct {
	side       side
	durability durability
}

func (a arm) String() string { return fmt.Sprintf("%v/%s", a.side, a.durability) }

// sample is what one measurement gives, by metric.
type sample map[string]float64

// String gives the metrics in the order of their names.
func (s sample) String() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(&b, " %s=%.4g", name, s[name])
	}
	return strings.TrimSpace(b.String())
}

// line is one comparison of the table.
type line struct {
	what         string
	metric, unit string
	ours, theirs int // arms
	goal         goal
}

// row is one workload with everything that is read off it.
type row struct {
	name    string
	arms    []arm
	lines   []line
	rounds  int  // at most; 0 for as many as are asked for
	alone   bool // with servers of its own, while nothing else runs
	secure  bool // with servers whose clients use TLS
	warm    func(b *bench, a arm, d time.Duration) error
	measure func(b *bench, a arm, d time.Duration) (sample, error)
}

// results holds the samples of a row: by arm, by round.
type results [][]sample

// values are an arm's values of one metric, by round.
func (r results) values(arm int, metric string) []float64 {
	var v []float64
	for _, s := range r[arm] {
		v = append(v, s[metric])
	}
	return v
}

// run warms up every arm and measures them in turn, forwards and backwards.
func (b *bench) run(r *row) (results, error) {
	if r.alone || r.secure != b.fleet.secure {
		if err := b.stopShared(); err != nil {
			return nil, err
		}
	}
	b.fleet.secure = r.secure
	defer b.forgetTopics()
	for _, a := range r.arms {
		if r.warm == nil || b.skips(a.side) {
			continue
		}
		b.note("%s: %v warms up", r.name, a)
		if err := r.warm(b, a, b.warmTime(a.side)); err != nil {
			return nil, fmt.Errorf("%s: %v warming up: %w", r.name, a, err)
		}
	}
	got := make(results, len(r.arms))
	rounds := b.flags.rounds
	if r.rounds > 0 {
		rounds = min(rounds, r.rounds)
	}
	for round := range rounds {
		for i := range r.arms {
			if round%2 == 1 {
				i = len(r.arms) - 1 - i
			}
			a := r.arms[i]
			if b.skips(a.side) {
				continue
			}
			syncDisks()
			s, err := r.measure(b, a, b.flags.duration)
			if err != nil {
				return nil, fmt.Errorf("%s: %v in round %d: %w", r.name, a, round+1, err)
			}
			got[i] = append(got[i], s)
			b.raw("row=%s round=%d arm=%q %v", r.name, round+1, a.String(), s)
			b.warn(r, a, s)
		}
	}
	return got, nil
}

// warn tells when others had so much of the machine that the measurement says little.
func (b *bench) warn(r *row, a arm, s sample) {
	if s["other"] > 0.15 || s["stolen"] > 0.02 {
		b.note("%s: %v: while measuring, other processes and the kernel's threads had %.0f %% of the machine, the hypervisor %.0f %%", r.name, a, 100*s["other"], 100*s["stolen"])
	}
}

// account adds the CPU of an interval to a sample.
func (s sample) account(u usage) {
	s["seconds"] = u.wall.Seconds()
	s["cpu_s"] = u.server.Seconds()
	s["client_cpu_s"] = u.client.Seconds()
	s["other"] = u.other
	s["stolen"] = u.stolen
}

// selected gives the rows whose name, or its part before the slash, is asked for; all for an empty list.
func selected(all []*row, names string) ([]*row, error) {
	if names == "" {
		return all, nil
	}
	var list []*row
	for name := range strings.SplitSeq(names, ",") {
		found := slices.Collect(func(yield func(*row) bool) {
			for _, r := range all {
				family, _, _ := strings.Cut(r.name, "/")
				if (r.name == name || family == name) && !yield(r) {
					return
				}
			}
		})
		if len(found) == 0 {
			return nil, fmt.Errorf("no row is called %q; there are: %s", name, strings.Join(rowNames(all), ", "))
		}
		list = append(list, found...)
	}
	return list, nil
}

func rowNames(all []*row) []string {
	var names []string
	for _, r := range all {
		names = append(names, r.name)
	}
	return names
}

// stopShared ends the servers that rows share.
func (b *bench) stopShared() error {
	var errs []error
	for s, v := range b.shared {
		if v != nil {
			errs = append(errs, v.discard())
			b.shared[s] = nil
		}
	}
	return errors.Join(errs...)
}

// server gives the side's shared server, started when first asked for.
func (b *bench) server(s side) (*server, error) {
	if b.shared[s] != nil {
		return b.shared[s], nil
	}
	v, err := b.fleet.prepare(s, "shared-"+s.String())
	if err != nil {
		return nil, err
	}
	if err := v.start(); err != nil {
		return nil, err
	}
	if err := v.ready(); err != nil {
		return nil, errors.Join(err, v.kill())
	}
	b.shared[s] = v
	return v, nil
}

// topic creates a topic for one measurement, or gives the one that the row keeps for the arm.
func (b *bench) topic(a arm, partitions int, keep bool) (*topic, error) {
	if t := b.kept[a]; keep && t != nil {
		return t, nil
	}
	v, err := b.server(a.side)
	if err != nil {
		return nil, err
	}
	b.topics++
	t, err := createTopic(v.addr, fmt.Sprintf("bench-%d", b.topics), partitions, a.durability.configs())
	if err != nil {
		return nil, v.explain(err)
	}
	if keep {
		b.kept[a] = t
	}
	return t, nil
}

// forgetTopics deletes what a row has kept.
func (b *bench) forgetTopics() {
	for a, t := range b.kept {
		if b.shared[a.side] != nil {
			if err := t.remove(); err != nil {
				b.note("topic %s of %v stays: %v", t.name, a.side, err)
			}
		}
	}
	clear(b.kept)
}
