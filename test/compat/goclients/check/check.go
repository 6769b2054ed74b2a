// Package check is the common script of the Go clients: what every client must be able to do
// on a broker, written once against the small interface Client. Each check prints one line:
// "ok NAME", "skip NAME: why" or "fail NAME: why".
package check

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// ErrUnsupported is answered by a client that has no such function; the check is then skipped.
var ErrUnsupported = errors.New("the client has no such function")

// limit is how long one check may take.
const limit = 60 * time.Second

// Header is one header of a record.
type Header struct {
	Key   string
	Value []byte
}

// Record is a record as the script compares it. A nil key or value is Kafka's null.
type Record struct {
	Partition  int32
	Offset     int64
	Time       int64 // milliseconds since 1970
	Key, Value []byte
	Headers    []Header
}

// How tells a producer how to write.
type How struct {
	Codec      string // none, gzip, snappy, lz4, zstd
	Acks       int    // 0, 1, or -1 for all
	Idempotent bool
}

// Client is one client library. A partition of -1 lets the client's partitioner choose by key.
type Client interface {
	CreateTopic(ctx context.Context, topic string, partitions, replicas int, config map[string]string) error
	Partitions(ctx context.Context, topic string) (int, error)
	Config(ctx context.Context, topic, key string) (string, error)
	Alter(ctx context.Context, topic, key, value string) error
	Grow(ctx context.Context, topic string, partitions int) error
	Trim(ctx context.Context, topic string, partition int32, before int64) error
	Offsets(ctx context.Context, topic string, partition int32) (first, end int64, err error)
	OffsetAt(ctx context.Context, topic string, partition int32, ms int64) (int64, error)
	DeleteTopic(ctx context.Context, topic string) error
	Groups(ctx context.Context) ([]string, error)
	Committed(ctx context.Context, group, topic string) (map[int32]int64, error)
	DeleteGroup(ctx context.Context, group string) error
	Produce(ctx context.Context, topic string, partition int32, how How, records []Record) error
	Consume(ctx context.Context, topic string, partition int32, from int64, n int) ([]Record, error)
	Join(ctx context.Context, group, topic string) (Member, error)
	// Code is the protocol's error code in err, or -2 when there is none.
	Code(err error) int
}

// Lacking is a client that does not show everything that Kafka tells it: "null" when a null key
// reads as an empty one, "append-time" when it shows the producer's time where the topic has the
// broker's, "times" when a producer cannot set the time, "binary-headers" when headers are text,
// "alone" when all records of a call have the same headers.
type Lacking interface{ Lacks() []string }

// Skipping is a client that has another do a part of the script; these checks are run and
// reported as skipped.
type Skipping interface{ Skips() []string }

// Grouped is a client whose groups work in another way than Member's.
type Grouped interface {
	// GroupChecks has the checks group, commit, resume and share of a topic with 60 records in
	// three partitions.
	GroupChecks(group, topic string, run func(name string, f func(ctx context.Context) error))
}

// Member is one member of a group.
type Member interface {
	// Poll returns what has arrived, perhaps nothing, after at most about 200 ms.
	Poll(ctx context.Context) ([]Record, error)
	// Commit commits the places behind these records, and returns when the broker has them.
	Commit(ctx context.Context, records []Record) error
	// Assigned is how many partitions the member has, or -1 when the client does not tell.
	Assigned() int
	// Close leaves the group.
	Close() error
}

// script is one run over one client.
type script struct {
	c      Client
	prefix string
	base   int64
	failed bool
	lacks  map[string]bool
	skips  map[string]bool
}

// Main runs the script over the client and returns the exit code.
func Main(c Client, prefix string) int {
	s := &script{c: c, prefix: prefix, base: time.Now().Add(-10*time.Minute).UnixMilli() / 1000 * 1000, lacks: map[string]bool{}, skips: map[string]bool{}}
	if l, ok := c.(Lacking); ok {
		for _, what := range l.Lacks() {
			s.lacks[what] = true
		}
	}
	if l, ok := c.(Skipping); ok {
		for _, what := range l.Skips() {
			s.skips[what] = true
		}
	}
	s.admin()
	s.produce()
	s.group()
	s.features()
	s.errors()
	s.run("delete", s.delete)
	if s.failed {
		return 1
	}
	return 0
}

func (s *script) run(name string, f func(ctx context.Context) error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	done := make(chan error, 1)
	start := time.Now()
	go func() { done <- f(ctx) }()
	var err error
	select {
	case err = <-done:
	case <-ctx.Done():
		select {
		case err = <-done:
		case <-time.After(5 * time.Second):
			err = fmt.Errorf("no answer in %v", limit)
		}
	}
	if os.Getenv("COMPAT_TIMES") != "" {
		fmt.Fprintf(os.Stderr, "%6d ms %s\n", time.Since(start).Milliseconds(), name)
	}
	if s.skips[name] && err == nil {
		err = ErrUnsupported
	}
	switch {
	case err == nil:
		fmt.Println("ok " + name)
	case errors.Is(err, ErrUnsupported):
		fmt.Printf("skip %s: %v\n", name, err)
	default:
		s.failed = true
		fmt.Printf("fail %s: %q\n", name, err.Error())
	}
}

// Until asks until it is so, or the time of the check is over.
func Until(ctx context.Context, what string, so func() (bool, error)) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	var last error
	for {
		ok, err := so()
		if ok {
			return nil
		}
		if errors.Is(err, ErrUnsupported) {
			return err
		}
		last = err
		select {
		case <-ctx.Done():
			return fmt.Errorf("never happened: %s (last: %v)", what, last)
		case <-tick.C:
		}
	}
}
