// Command bench compares a Moldau server with an Apache Kafka server: both in one run, on one machine, under the same
// load, in turn. It prints for each workload what an acknowledgement means on either side, the medians, the median of
// the rounds' ratios with their range, and whether the goal is met.
//
//	go run ./test/bench                      all rows: hours of work for a quiet machine
//	go run ./test/bench -rows start,memory   some of them
//	go run ./test/bench -quick               a minute or so each: to see that it works, not to quote
//
// Rules that it keeps: the servers are child processes with their defaults; the client sends requests made in advance
// and costs next to nothing, and its CPU is never counted; every answer is checked, and records are counted afterwards:
// a row in which one is missing is void; the JVM is warmed up. README.md describes every row.
//
// It must never be imported, and takes nothing of the server's but the codec.
package main

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"
)

// flags are the command's arguments.
type flags struct {
	rows     string
	rounds   int
	duration time.Duration // of a measurement
	warm     time.Duration // of Kafka's warm-up
	settle   time.Duration // before memory is read
	bytes    int64         // most bytes of a measurement
	recovery int64         // bytes in the log when the server is killed
	keys     int64         // of the compacted topic, each written twice
	quick    bool
	hold     int64  // bytes of memory to keep from the hypervisor
	side     string // measure only one
	moldau   string
	kafka    string
	dir      string
	out      string
	port     int
}

// bench is one run.
type bench struct {
	flags  flags
	fleet  *fleet
	shared [2]*server // by side
	kept   map[arm]*topic
	topics int // created yet
	out    *os.File
}

func main() {
	debug.SetGCPercent(400) // the client's collector would take CPU from the servers
	if err := command(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func parseFlags() flags {
	var f flags
	var seconds, warm, gigabytes, recoveryGB, hold float64
	flag.StringVar(&f.rows, "rows", "", "rows to run, with commas between them; all when empty")
	flag.IntVar(&f.rounds, "rounds", 6, "rounds of each row")
	flag.Float64Var(&seconds, "seconds", 10, "seconds of one measurement")
	flag.Float64Var(&warm, "warm", 10, "seconds for which Kafka is warmed up before each row; Moldau gets a fifth")
	flag.Float64Var(&gigabytes, "gb", 4, "a measurement ends after so many GB, whatever the seconds")
	flag.Float64Var(&recoveryGB, "recovery-gb", 10, "GB of log for the recovery row")
	flag.Int64Var(&f.keys, "keys", 10_000_000, "keys of the compaction row, each written twice")
	flag.BoolVar(&f.quick, "quick", false, "2 rounds of 1 second, warm-up 2 seconds, recovery of 1 GB, 200,000 keys, 20,000 offsets: to see that it works")
	flag.Float64Var(&hold, "hold", 0, "GB of memory to touch first and to keep from the hypervisor, in a virtual machine and as root")
	flag.StringVar(&f.side, "side", "", "measure only moldau, or only kafka")
	flag.StringVar(&f.moldau, "moldau", "", "the moldau binary; built when empty")
	flag.StringVar(&f.kafka, "kafka", os.Getenv("KAFKA_LIB"), "directory of Kafka's jars, default $KAFKA_LIB; fetched with Maven when empty")
	flag.StringVar(&f.dir, "dir", "", "where the servers' data goes; a temporary directory when empty")
	flag.StringVar(&f.out, "out", "", "file that the raw lines are added to as well")
	flag.IntVar(&f.port, "port", 24000, "first port for the servers")
	flag.Parse()
	f.settle = 10 * time.Second
	if f.quick {
		f.rounds, seconds, warm, gigabytes, recoveryGB, f.settle = min(f.rounds, 2), min(seconds, 1), min(warm, 2), min(gigabytes, 0.5), min(recoveryGB, 1), 2*time.Second
		f.keys = min(f.keys, 200_000)
	}
	f.duration = time.Duration(seconds * float64(time.Second))
	f.warm = time.Duration(warm * float64(time.Second))
	f.bytes, f.recovery, f.hold = int64(gigabytes*gigabyte), int64(recoveryGB*gigabyte), int64(hold*gigabyte)
	return f
}

func command() (err error) {
	b := &bench{flags: parseFlags(), kept: map[arm]*topic{}}
	rows, err := selected(allRows(), b.flags.rows)
	if err != nil {
		return err
	}
	if b.flags.out != "" {
		if b.out, err = os.OpenFile(b.flags.out, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o666); err != nil {
			return err
		}
		defer b.out.Close()
	}
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	if err := b.assemble(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.clear()) }()
	if b.flags.hold > 0 {
		release, err := holdMemory(b.flags.hold)
		if err != nil {
			return err
		}
		defer release()
	}
	if err := b.describe(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- b.runAll(rows) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return ctx.Err() // the servers are killed below, and the process ends
	}
}

// runAll runs the rows, printing each one's table behind it and the whole table in the end. A row that fails is void
// and does not keep the others from running.
func (b *bench) runAll(rows []*row) error {
	var done []*row
	var failed []error
	got := map[*row]results{}
	for _, r := range rows {
		res, err := b.run(r)
		if err != nil {
			failed = append(failed, fmt.Errorf("the row is void: %w", err))
			b.note("%v", failed[len(failed)-1])
			continue
		}
		done, got[r] = append(done, r), res
		if err := b.table(os.Stdout, []*row{r}, got); err != nil {
			return err
		}
	}
	if len(done) > 1 {
		fmt.Println()
		failed = append(failed, b.table(os.Stdout, done, got))
	}
	return errors.Join(append(failed, b.stopShared())...)
}

// assemble makes the data directory and finds the servers.
func (b *bench) assemble(ctx context.Context) error {
	dir, err := os.MkdirTemp(b.flags.dir, "bench-")
	if err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	b.fleet = &fleet{dir: dir, port: b.flags.port, moldau: b.flags.moldau, kafkaLib: b.flags.kafka}
	if b.fleet.moldau == "" && !b.skips(ours) {
		b.fleet.moldau, err = buildMoldau(ctx, dir)
	}
	if err == nil && b.fleet.kafkaLib == "" && !b.skips(theirs) {
		b.fleet.kafkaLib, err = installKafka(ctx)
	}
	if err != nil {
		return errors.Join(err, os.RemoveAll(dir))
	}
	return nil
}

// clear ends all servers and deletes all data.
func (b *bench) clear() error {
	b.fleet.close()
	return os.RemoveAll(b.fleet.dir)
}

// skips tells whether a side is left out.
func (b *bench) skips(s side) bool { return cmp.Or(b.flags.side, s.String()) != s.String() }

// warmTime is how long a side runs before it is measured.
func (b *bench) warmTime(s side) time.Duration {
	if s == ours {
		return b.flags.warm / 5
	}
	return b.flags.warm
}

// raw prints a line that belongs to the record of the run.
func (b *bench) raw(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	fmt.Println(text)
	if b.out != nil {
		fmt.Fprintln(b.out, text)
	}
}

// note tells whoever watches.
func (b *bench) note(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
