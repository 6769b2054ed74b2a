package main

import (
	"fmt"
	"time"
)

// groupRow compares how long a group takes to be stable again.
func groupRow(name, what string, measure func(*bench, arm, time.Duration) (sample, error)) *row {
	r := &row{name: name, arms: twoArms(), measure: measure, warm: warmBy(measure)}
	for _, step := range []struct{ metric, what string }{{"birth_ms", "all join"}, {"join_ms", "one more joins"}, {"leave_ms", "one leaves"}} {
		r.lines = append(r.lines, line{what: what + ": stable after " + step.what, metric: step.metric, unit: "ms", ours: 0, theirs: 1, goal: goal{ratioMost, 0.1}})
	}
	r.lines = append(r.lines, line{what: what + ": server CPU of all three", metric: "cpu_s", unit: "s", ours: 0, theirs: 1})
	return r
}

// commitRow compares commits of so many offsets each; ours are on stable storage when they are answered.
func commitRow(name string, partitions int) *row {
	measure := offsetCommits(partitions)
	what := fmt.Sprintf("256 groups commit %d offsets at a time", partitions)
	return &row{
		name: name, arms: twoArms(), measure: measure, warm: warmBy(measure),
		lines: []line{
			{what: what + ": offsets", metric: "offsets_per_s", unit: "offsets/s", ours: 0, theirs: 1, goal: goal{oursLeast, 100_000}},
			{what: what + ": server CPU", metric: "cpu_us_per_commit", unit: "us/commit", ours: 0, theirs: 1},
		},
	}
}

func shareRow() *row {
	return &row{
		name: "share", arms: twoArms(), measure: shareDelivery, warm: warmBy(shareDelivery),
		lines: []line{
			{what: "4 members of a share group take 100 B records: for each second of CPU", metric: "records_per_cpu_s", unit: "records", ours: 0, theirs: 1, goal: goal{ratioLeast, 2}},
			{what: "4 members of a share group take 100 B records: rate", metric: "records_per_s", unit: "records/s", ours: 0, theirs: 1},
		},
	}
}

func groupLoadRow() *row {
	return &row{
		name: "groupload", arms: twoArms(), alone: true, rounds: 2, measure: groupLoad,
		lines: []line{
			{what: "start with 1,000,000 committed offsets until all are answered", metric: "answering_ms", unit: "ms", ours: 0, theirs: 1, goal: goal{oursMost, 2000}},
			{what: "start with 1,000,000 committed offsets: CPU until then", metric: "cpu_s", unit: "s", ours: 0, theirs: 1},
		},
	}
}

func compactionRow() *row {
	return &row{
		name: "compaction", arms: twoArms(), alone: true, rounds: 2, measure: compaction,
		lines: []line{
			{what: "compaction of keys written twice: server CPU", metric: "cpu_s_per_gb", unit: "s/GB", ours: 0, theirs: 1, goal: goal{ratioMost, 0.3}},
			{what: "compaction of keys written twice: until the log rests", metric: "seconds", unit: "s", ours: 0, theirs: 1},
		},
	}
}
