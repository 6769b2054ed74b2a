package main

import "time"

// Arms by their place in the arms below.
const (
	armWritten = iota
	armSynced
	armCached
	armFlushed
)

// threeArms is ours both ways, and Kafka as it comes.
func threeArms() []arm { return []arm{{ours, written}, {ours, synced}, {theirs, cached}} }

// twoArms is each side as it comes.
func twoArms() []arm { return []arm{{ours, synced}, {theirs, cached}} }

// allRows is every row, in the order in which they run: those that share servers, and then those with their own.
func allRows() []*row {
	return append([]*row{
		produceRow("produce1k", "1 KB records in 100 KB batches", bulk(1), [3]goal{{ratioMost, 0.12}, {ratioLeast, 6}, {ratioLeast, 3}}),
		produceRow("produce100", "100 B records in 100 KB batches", small(), [3]goal{{ratioMost, 0.15}}),
		produceRow("single/1", "one 1 KB record a request, 1 connection", single(1), [3]goal{{ratioMost, 0.22}}),
		produceRow("single/16", "one 1 KB record a request, 16 connections", single(16), [3]goal{{ratioMost, 0.22}}),
		partitions1000(),
		partitions100(),
		fetchRow(),
		tailRow(),
		latencyRow(),
		txnRow(),
		visibleRow(),
		idempotenceRow(),
		txn100Row(),
		txnIDsRow(),
		groupRow("groups1000/classic", "1,000 members, 1,000 partitions, classic protocol", classicGroup),
		groupRow("groups1000/consumer", "1,000 members, 1,000 partitions, KIP-848", consumerGroup),
		commitRow("offsetcommit/1", 1),
		commitRow("offsetcommit/10", 10),
		shareRow(),
		startRow(),
		freshRow("fresh/1k", "1 KB records in 100 KB batches", bulk(1), [3]goal{{ratioMost, 0.12}, {ratioLeast, 6}, {ratioLeast, 3}}),
		freshRow("fresh/100", "100 B records in 100 KB batches", small(), [3]goal{{ratioMost, 0.15}}),
		freshRow("fresh/single", "one 1 KB record a request, 1 connection", single(1), [3]goal{{ratioMost, 0.22}}),
		memoryRow(),
		hostileRow(),
		recoveryRow(),
		groupLoadRow(),
		compactionRow(),
	}, tlsRows()...)
}

// small is 100 B records in batches of 100 KB.
func small() shape {
	return shape{partitions: 1, perRequest: 1, records: 930, valueSize: 100, conns: 1}
}

// single is one record of 1 KB a request, on each of several connections.
func single(conns int) shape {
	return shape{partitions: conns, perRequest: 1, records: 1, valueSize: 1000, conns: conns}
}

// freshRow is produceRow for servers that have just been started.
func freshRow(name, what string, p shape, goals [3]goal) *row {
	r := produceRow(name, what+", the first 5 s after the start", p, goals)
	r.alone, r.warm, r.measure = true, nil, fresh(p)
	return r
}

// warmBy warms up with the measurement itself.
func warmBy(measure func(*bench, arm, time.Duration) (sample, error)) func(*bench, arm, time.Duration) error {
	return func(b *bench, a arm, d time.Duration) error {
		_, err := measure(b, a, d)
		return err
	}
}

// produceRow compares CPU and rate without syncs, and the rate with ours synced; the goals are in that order.
func produceRow(name, what string, p shape, goals [3]goal) *row {
	measure := produce(p)
	return &row{
		name: name, arms: threeArms(), measure: measure, warm: warmBy(measure),
		lines: []line{
			{what: what + ": server CPU", metric: "cpu_s_per_gb", unit: "s/GB", ours: armWritten, theirs: armCached, goal: goals[0]},
			{what: what + ": rate, 10 in flight", metric: "mb_per_s", unit: "MB/s", ours: armWritten, theirs: armCached, goal: goals[1]},
			{what: what + ": rate, 10 in flight", metric: "mb_per_s", unit: "MB/s", ours: armSynced, theirs: armCached, goal: goals[2]},
			{what: what + ": server CPU", metric: "cpu_s_per_gb", unit: "s/GB", ours: armSynced, theirs: armCached},
		},
	}
}

// tiny is batches of one 100 B record, 100 to a request.
func tiny(partitions int) shape {
	return shape{partitions: partitions, perRequest: 100, records: 1, valueSize: 100, conns: 1, keep: true}
}

func partitions1000() *row {
	measure := produce(tiny(1000))
	return &row{
		name: "partitions1000", arms: append(threeArms(), arm{theirs, flushed}), measure: measure, warm: warmBy(measure),
		lines: []line{
			{what: "100 B batches over 1,000 partitions: server CPU", metric: "cpu_s_per_gb", unit: "s/GB", ours: armWritten, theirs: armCached, goal: goal{ratioMost, 0.15}},
			{what: "100 B batches over 1,000 partitions: rate", metric: "mb_per_s", unit: "MB/s", ours: armWritten, theirs: armCached},
			{what: "100 B batches over 1,000 partitions: rate", metric: "mb_per_s", unit: "MB/s", ours: armSynced, theirs: armCached},
			{what: "100 B batches over 1,000 partitions: rate", metric: "mb_per_s", unit: "MB/s", ours: armSynced, theirs: armFlushed, goal: goal{ratioLeast, 100}},
		},
	}
}

func partitions100() *row {
	measure := produce(tiny(100))
	return &row{
		name: "partitions100", arms: []arm{{ours, synced}, {theirs, flushed}}, measure: measure, warm: warmBy(measure),
		lines: []line{{what: "100 B batches over 100 partitions: rate", metric: "mb_per_s", unit: "MB/s", ours: 0, theirs: 1, goal: goal{ratioLeast, 20}}},
	}
}

func fetchRow() *row {
	return &row{
		name: "fetch", arms: twoArms(), measure: fetchLarge, warm: warmBy(fetchLarge),
		lines: []line{
			{what: "fetch, 1 MB answers, from the page cache: server CPU", metric: "cpu_s_per_gb", unit: "s/GB", ours: 0, theirs: 1, goal: goal{ratioMost, 0.7}},
			{what: "fetch, 1 MB answers, from the page cache: rate", metric: "mb_per_s", unit: "MB/s", ours: 0, theirs: 1},
		},
	}
}

func tailRow() *row {
	return &row{
		name: "tailfetch", arms: twoArms(), measure: fetchTail, warm: warmBy(fetchTail),
		lines: []line{
			{what: "8 consumers at the tail, 500 records a second: server CPU beyond producing", metric: "cpu_s_per_gb", unit: "s/GB", ours: 0, theirs: 1, goal: goal{ratioMost, 0.25}},
			{what: "8 consumers at the tail, 500 records a second: server CPU beyond producing", metric: "cpu_us_per_request", unit: "us/fetch", ours: 0, theirs: 1},
		},
	}
}

func latencyRow() *row {
	r := &row{name: "latency", arms: threeArms(), measure: latency, warm: warmLatency}
	for _, own := range []int{armSynced, armWritten} {
		for _, p := range []struct {
			metric string
			limit  float64
		}{{"p50_ms", 0.5}, {"p99_ms", 0.2}, {"p99.9_ms", 0.1}, {"p100_ms", 0}} {
			l := line{what: "end to end at 1,000 records a second: " + p.metric[:len(p.metric)-len("_ms")], metric: p.metric, unit: "ms", ours: own, theirs: armCached}
			if own == armSynced && p.limit > 0 {
				l.goal = goal{ratioMost, p.limit}
			}
			r.lines = append(r.lines, l)
		}
	}
	return r
}

func startRow() *row {
	return &row{
		name: "start", arms: twoArms(), alone: true, measure: start,
		lines: []line{
			{what: "start on an empty directory to first acknowledged record", metric: "first_ms", unit: "ms", ours: 0, theirs: 1, goal: goal{oursMost, 60}},
			{what: "start again to first acknowledged record", metric: "again_ms", unit: "ms", ours: 0, theirs: 1, goal: goal{oursMost, 60}},
			{what: "start on an empty directory: CPU until then", metric: "first_cpu_ms", unit: "ms", ours: 0, theirs: 1},
		},
	}
}

func memoryRow() *row {
	return &row{
		name: "memory", arms: twoArms(), alone: true, rounds: 2, measure: occupied,
		lines: []line{
			{what: "resident memory at rest", metric: "idle_mb", unit: "MB", ours: 0, theirs: 1, goal: goal{oursMost, 22}},
			{what: "resident memory under the load of produce1k", metric: "load_mb", unit: "MB", ours: 0, theirs: 1, goal: goal{ratioMost, 0.15}},
			{what: "resident memory for an idle connection", metric: "connection_kb", unit: "KB", ours: 0, theirs: 1, goal: goal{oursMost, 10}},
		},
	}
}

func recoveryRow() *row {
	return &row{
		name: "recovery", arms: twoArms(), alone: true, rounds: 2, measure: recovery,
		lines: []line{
			{what: "kill -9 and start to a record acknowledged in each of 100 partitions", metric: "acknowledged_ms", unit: "ms", ours: 0, theirs: 1, goal: goal{oursMost, 1000}},
			{what: "kill -9 and start to the last record fetched from each as well", metric: "serving_ms", unit: "ms", ours: 0, theirs: 1, goal: goal{oursMost, 1000}},
		},
	}
}
