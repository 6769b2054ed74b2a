package check

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"
)

// Way is how a member joins its group.
type Way struct {
	Cooperative bool   // with the assignor cooperative-sticky
	Instance    string // as a static member of this name
	Pattern     bool   // the topic is a regular expression
	New         bool   // with the group protocol of KIP-848
}

// Joining is a client whose members can join in other ways.
type Joining interface {
	// Features are the checks of groups, of those that Features lists, which the client has the functions for.
	Features() []string
	JoinAs(ctx context.Context, group, topic string, way Way) (Member, error)
}

// Placed is a member that knows its partitions and how many were ever taken from it.
type Placed interface {
	Partitions() []int32
	Revoked() int
}

// Queueing is a client with share groups (KIP-932).
type Queueing interface {
	// JoinQueue joins a share group that begins with the first record.
	JoinQueue(ctx context.Context, group, topic string) (QueueMember, error)
}

// Taken is a record that a share group has given to a member.
type Taken struct {
	Record
	Deliveries int
	Accept     func()
	Release    func()
	Reject     func()
}

// QueueMember is a member of a share group.
type QueueMember interface {
	// Poll returns what has been acquired, after at most about 200 ms; it sends the acknowledgements of the records before.
	Poll(ctx context.Context) ([]Taken, error)
	Close() error
}

// Features are the checks of groups that not every client has.
var Features = []string{"coop", "static", "regex", "new-group", "new-commit", "new-resume", "new-share", "new-groups", "new-static", "new-regex", "queue", "release"}

// lacking names what the broker does not offer: "consumer" for KIP-848, "share" for KIP-932.
func lacking(name string) bool {
	without := strings.Split(os.Getenv("COMPAT_WITHOUT"), ",")
	kind := "classic"
	switch {
	case strings.HasPrefix(name, "new-"):
		kind = "consumer"
	case name == "queue" || name == "release":
		kind = "share"
	}
	return slices.Contains(without, kind)
}

// features runs the checks that the client has.
func (s *script) features() {
	j, ok := s.c.(Joining)
	if !ok {
		return
	}
	join := func(way Way) joiner {
		return func(ctx context.Context, group, topic string) (Member, error) {
			return j.JoinAs(ctx, group, topic, way)
		}
	}
	checks := map[string]func(ctx context.Context) error{
		"coop": func(ctx context.Context) error {
			return s.cooperative(ctx, join(Way{Cooperative: true}))
		},
		"static": func(ctx context.Context) error { return s.static(ctx, j, Way{}) },
		"regex":  func(ctx context.Context) error { return s.regex(ctx, join(Way{Pattern: true}), "re", true) },
		"new-share": func(ctx context.Context) error {
			return s.share(ctx, join(Way{New: true}), s.topic("new-share"), s.topic("keys"), 60)
		},
		"new-static": func(ctx context.Context) error { return s.static(ctx, j, Way{New: true}) },
		"new-regex": func(ctx context.Context) error {
			return s.regex(ctx, join(Way{Pattern: true, New: true}), "new-re", false)
		},
		"queue":   s.queue,
		"release": s.release,
	}
	for _, name := range j.Features() {
		switch {
		case lacking(name):
			fmt.Printf("skip %s: the broker does not offer it\n", name)
		case name == "new-group":
			s.life("new-", join(Way{New: true}))
		case checks[name] != nil:
			s.run(name, checks[name])
		}
	}
}

// watched is a member that remembers how much was taken from it before it left by itself.
type watched struct {
	Member
	revoked int
	closed  bool
}

func (w *watched) Close() error {
	if p, ok := w.Member.(Placed); ok && !w.closed {
		w.revoked, w.closed = p.Revoked(), true
	}
	return w.Member.Close()
}

// cooperative has a second member take some of the first's partitions, which keeps the others all the while.
func (s *script) cooperative(ctx context.Context, join joiner) error {
	var first *watched
	err := s.share(ctx, func(ctx context.Context, group, topic string) (Member, error) {
		m, err := join(ctx, group, topic)
		w := &watched{Member: m}
		if first == nil {
			first = w
		}
		return w, err
	}, s.topic("coop"), s.topic("keys"), 60)
	if err == nil && first.revoked >= mainPartitions {
		err = fmt.Errorf("%d of %d partitions were taken from the first member", first.revoked, mainPartitions)
	}
	return err
}

// staticSession is somewhat less than the session of a member, 45 s.
const staticSession = 40 * time.Second

// static has a member go and come back under its name: it finds its partitions, and the other keeps its own.
func (s *script) static(ctx context.Context, j Joining, way Way) error {
	group := s.topic("static")
	if way.New {
		group = s.topic("new-static")
	}
	join := func(instance string) (Member, error) {
		way.Instance = instance
		return j.JoinAs(ctx, group, s.topic("keys"), way)
	}
	a, err := join("one")
	if err != nil {
		return err
	}
	defer func() { a.Close() }()
	b, err := join("two")
	if err != nil {
		return err
	}
	defer b.Close()
	partitions := func(m Member) []int32 { return slices.Sorted(slices.Values(m.(Placed).Partitions())) }
	divided := func() (bool, error) {
		_, errA := a.Poll(ctx)
		_, errB := b.Poll(ctx)
		return a.Assigned() > 0 && b.Assigned() > 0 && a.Assigned()+b.Assigned() == mainPartitions, errors.Join(errA, errB)
	}
	if err := Until(ctx, "two members share", divided); err != nil {
		return fmt.Errorf("%w; %d and %d partitions", err, a.Assigned(), b.Assigned())
	}
	hadA, hadB, left := partitions(a), partitions(b), time.Now()
	if err := a.Close(); err != nil {
		return err
	}
	if a, err = join("one"); err != nil {
		return err
	}
	if err := Until(ctx, "the member is back", divided); err != nil {
		return fmt.Errorf("%w; %d and %d partitions", err, a.Assigned(), b.Assigned())
	}
	if time.Since(left) > staticSession {
		return nil // the client let it back in only when its session was over, on Kafka too: it is a new member then
	}
	if got := partitions(a); !slices.Equal(got, hadA) {
		return fmt.Errorf("the member comes back to partitions %v; it had %v", got, hadA)
	}
	if got := partitions(b); !slices.Equal(got, hadB) {
		return fmt.Errorf("the other member has partitions %v now; it had %v", got, hadB)
	}
	return nil
}

// regex reads from the topics that a regular expression matches; with late, from one that comes later, too.
func (s *script) regex(ctx context.Context, join joiner, name string, late bool) error {
	fill := func(topic string) error {
		if err := s.c.CreateTopic(ctx, s.topic(topic), 1, 1, nil); err != nil {
			return err
		}
		rs := s.records(5)
		for i := range rs {
			rs[i].Value = fmt.Appendf(nil, "%s %d", topic, i)
		}
		return s.c.Produce(ctx, s.topic(topic), 0, How{Codec: "none", Acks: -1}, rs)
	}
	if err := errors.Join(fill(name+"-a"), fill(name+"-b"), fill("other-"+name)); err != nil {
		return err
	}
	m, err := join(ctx, s.topic(name), "^"+s.topic(name)+"-.*")
	if err != nil {
		return err
	}
	defer m.Close()
	got := map[string]bool{} // a rebalance may have records read twice
	reads := func(n int) func() (bool, error) {
		return func() (bool, error) {
			r, err := m.Poll(ctx)
			for _, r := range r {
				got[string(r.Value)] = true
			}
			return len(got) == n, err
		}
	}
	if err := Until(ctx, "the records of two topics", reads(10)); err != nil || !late {
		return err
	}
	if err := fill(name + "-c"); err != nil {
		return err
	}
	return Until(ctx, "the records of a topic that came later", reads(15))
}

// queue has two members of a share group take all records, each once.
func (s *script) queue(ctx context.Context) error {
	var members []QueueMember
	for range 2 {
		m, err := s.c.(Queueing).JoinQueue(ctx, s.topic("queue"), s.topic("keys"))
		if err != nil {
			return err
		}
		defer m.Close()
		members = append(members, m)
	}
	times := map[string]int{}
	return Until(ctx, "all records", func() (bool, error) {
		for _, m := range members {
			rs, err := m.Poll(ctx)
			if err != nil {
				return false, err
			}
			for _, r := range rs {
				at := fmt.Sprint(r.Partition, "/", r.Offset)
				if times[at]++; times[at] > 1 {
					return false, fmt.Errorf("record %s came again, delivery %d", at, r.Deliveries)
				}
				r.Accept()
			}
		}
		return len(times) == 60, fmt.Errorf("%d records", len(times))
	})
}

// release gives every third record back, which must come again, and rejects every fifth, which must not.
func (s *script) release(ctx context.Context) error {
	m, err := s.c.(Queueing).JoinQueue(ctx, s.topic("release"), s.topic("keys"))
	if err != nil {
		return err
	}
	defer m.Close()
	times, want, quiet := map[string]int{}, map[string]int{}, 0
	return Until(ctx, "the released records again", func() (bool, error) {
		rs, err := m.Poll(ctx)
		if err != nil {
			return false, err
		}
		for _, r := range rs {
			at := fmt.Sprint(r.Partition, "/", r.Offset)
			times[at]++
			if r.Deliveries != times[at] {
				return false, fmt.Errorf("record %s comes for the %d. time and says %d", at, times[at], r.Deliveries)
			}
			switch {
			case r.Offset%5 == 1:
				want[at] = 1
				r.Reject()
			case r.Offset%3 == 0 && times[at] == 1:
				want[at] = 2
				r.Release()
			default:
				want[at] = max(1, want[at])
				r.Accept()
			}
		}
		if len(times) < 60 || !maps.Equal(times, want) {
			quiet = 0
			return false, fmt.Errorf("%d records, some not as often as they should", len(times))
		}
		quiet++ // nothing else may come
		return quiet > 3, nil
	})
}

// QueuePoll is how long a member of a share group waits for records.
const QueuePoll = 200 * time.Millisecond
