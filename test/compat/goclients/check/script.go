package check

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The protocol's error codes that the script provokes.
const (
	codeUnknownTopic     = 3
	codeTooLarge         = 10
	codeInvalidTopic     = 17
	codeTopicExists      = 36
	codeInvalidReplicas  = 38
	mainPartitions       = 3
	recordsOfCodec       = 20
	largeBytes, tooLarge = 900_000, 2_000_000
)

// Codecs is every codec of the format, in the order of its numbers.
var Codecs = []string{"none", "gzip", "snappy", "lz4", "zstd"}

func (s *script) topic(name string) string { return s.prefix + "-" + name }

// records makes n records that differ in size, with keys, headers and times of their own.
func (s *script) records(n int) []Record {
	out := make([]Record, n)
	for i := range out {
		out[i] = Record{
			Time:    s.base + int64(i)*1000,
			Key:     []byte("key-" + strconv.Itoa(i)),
			Value:   []byte(strings.Repeat("value-"+strconv.Itoa(i)+" ", 1+i*37%100)),
			Headers: []Header{{"n", []byte(strconv.Itoa(i))}, {"bin", []byte{0, 255, byte(i)}}},
		}
		if s.lacks["times"] {
			out[i].Time = 0
		}
		if s.lacks["alone"] {
			out[i].Headers[0].Value = []byte("same")
		}
		if s.lacks["binary-headers"] {
			out[i].Headers = out[i].Headers[:1]
		}
	}
	return out
}

// number is one more than the number of the record that records made with this value.
func number(value []byte) int64 {
	n, _, _ := strings.Cut(strings.TrimPrefix(string(value), "value-"), " ")
	i, _ := strconv.ParseInt(n, 10, 64)
	return i + 1
}

// noise is n bytes that no codec makes smaller.
func noise(n int) []byte {
	b := make([]byte, n)
	rand.New(rand.NewSource(int64(n))).Read(b)
	return b
}

// same compares what was read with what was written, offsets counted from base.
func (s *script) same(got, want []Record, base int64) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d records read, %d written", len(got), len(want))
	}
	for i, g := range got {
		w := want[i]
		switch {
		case g.Offset != base+int64(i):
			return fmt.Errorf("record %d has offset %d, not %d", i, g.Offset, base+int64(i))
		case !s.equal(g.Key, w.Key):
			return fmt.Errorf("record %d has key %q, not %q", i, g.Key, w.Key)
		case !s.equal(g.Value, w.Value):
			return fmt.Errorf("record %d has another value (%d bytes, not %d)", i, len(g.Value), len(w.Value))
		case !s.lacks["times"] && g.Time != w.Time:
			return fmt.Errorf("record %d has time %d, not %d", i, g.Time, w.Time)
		}
		if len(g.Headers) != len(w.Headers) {
			return fmt.Errorf("record %d has %d headers, not %d", i, len(g.Headers), len(w.Headers))
		}
		for j, h := range g.Headers {
			if h.Key != w.Headers[j].Key || !s.equal(h.Value, w.Headers[j].Value) {
				return fmt.Errorf("record %d has header %q=%q, not %q=%q", i, h.Key, h.Value, w.Headers[j].Key, w.Headers[j].Value)
			}
		}
	}
	return nil
}

func (s *script) equal(a, b []byte) bool {
	return bytes.Equal(a, b) && (s.lacks["null"] || (a == nil) == (b == nil))
}

func (s *script) admin() {
	s.run("create", func(ctx context.Context) error {
		for _, t := range append([]string{"keys", "nulls", "large", "idem", "acks", "trim"}, Codecs...) {
			n := 1
			if t == "keys" {
				n = mainPartitions
			}
			if err := s.c.CreateTopic(ctx, s.topic(t), n, 1, map[string]string{"retention.ms": "3600000"}); err != nil {
				return fmt.Errorf("%s: %w", t, err)
			}
		}
		return s.c.CreateTopic(ctx, s.topic("append"), 1, 1, map[string]string{"message.timestamp.type": "LogAppendTime"})
	})
	s.run("describe", func(ctx context.Context) error {
		err := Until(ctx, "three partitions", func() (bool, error) {
			n, err := s.c.Partitions(ctx, s.topic("keys"))
			return n == mainPartitions, err
		})
		if err != nil {
			return err
		}
		return s.config(ctx, "3600000")
	})
	s.run("alter", func(ctx context.Context) error {
		if err := s.c.Alter(ctx, s.topic("keys"), "retention.ms", "7200000"); err != nil {
			return err
		}
		return s.config(ctx, "7200000")
	})
}

func (s *script) config(ctx context.Context, want string) error {
	return Until(ctx, "retention.ms="+want, func() (bool, error) {
		got, err := s.c.Config(ctx, s.topic("keys"), "retention.ms")
		return got == want, err
	})
}

func (s *script) produce() {
	for _, codec := range Codecs {
		s.run(codec, func(ctx context.Context) error {
			return s.roundTrip(ctx, codec, How{Codec: codec, Acks: -1}, s.records(recordsOfCodec))
		})
	}
	s.run("keys", s.keys)
	s.run("nulls", func(ctx context.Context) error {
		r := s.records(4)
		r[0].Key, r[1].Value, r[2].Key, r[2].Value = nil, nil, []byte{}, []byte{}
		if !s.lacks["alone"] {
			r[3].Headers = nil
		}
		return s.roundTrip(ctx, "nulls", How{Codec: "none", Acks: -1}, r)
	})
	s.run("large", func(ctx context.Context) error {
		return s.roundTrip(ctx, "large", How{Codec: "none", Acks: -1}, []Record{{Time: s.base, Key: []byte("l"), Value: noise(largeBytes)}})
	})
	s.run("toobig", func(ctx context.Context) error {
		err := s.c.Produce(ctx, s.topic("large"), 0, How{Codec: "none", Acks: -1}, []Record{{Time: s.base, Key: []byte("l"), Value: noise(tooLarge)}})
		return s.wants(err, codeTooLarge)
	})
	s.run("idem", func(ctx context.Context) error {
		return s.roundTrip(ctx, "idem", How{Codec: "none", Acks: -1, Idempotent: true}, s.records(200))
	})
	s.acks()
	s.run("times", func(ctx context.Context) error {
		at, err := s.c.OffsetAt(ctx, s.topic("none"), 0, s.base+4500)
		want := int64(5)
		if s.lacks["times"] {
			want = 0
		}
		if err == nil && at != want {
			err = fmt.Errorf("the offset for a time is %d, not %d", at, want)
		}
		return err
	})
	s.run("append", func(ctx context.Context) error {
		if s.lacks["append-time"] {
			return ErrUnsupported
		}
		return s.appendTime(ctx)
	})
	s.run("offsets", func(ctx context.Context) error {
		first, end, err := s.c.Offsets(ctx, s.topic("none"), 0)
		if err == nil && (first != 0 || end != recordsOfCodec) {
			err = fmt.Errorf("offsets %d to %d, not 0 to %d", first, end, recordsOfCodec)
		}
		return err
	})
	s.run("trim", s.trim)
}

func (s *script) roundTrip(ctx context.Context, topic string, how How, r []Record) error {
	if err := s.c.Produce(ctx, s.topic(topic), 0, how, r); err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	got, err := s.c.Consume(ctx, s.topic(topic), 0, 0, len(r))
	if err != nil {
		return fmt.Errorf("consume: %w", err)
	}
	return s.same(got, r, 0)
}

func (s *script) appendTime(ctx context.Context) error {
	before := time.Now().UnixMilli()
	if err := s.c.Produce(ctx, s.topic("append"), 0, How{Codec: "gzip", Acks: -1}, s.records(3)); err != nil {
		return err
	}
	got, err := s.c.Consume(ctx, s.topic("append"), 0, 0, 3)
	if err != nil {
		return err
	}
	for _, r := range got {
		if r.Time < before-1000 || r.Time > time.Now().UnixMilli()+1000 {
			return fmt.Errorf("the time of a record is %d; it was appended at %d", r.Time, before)
		}
	}
	return nil
}

func (s *script) acks() {
	var done int64
	for _, a := range []struct {
		name string
		acks int
	}{{"acks0", 0}, {"acks1", 1}, {"acksall", -1}} {
		s.run(a.name, func(ctx context.Context) error {
			r := s.records(10)
			if err := s.c.Produce(ctx, s.topic("acks"), 0, How{Codec: "none", Acks: a.acks}, r); err != nil {
				return err
			}
			got, err := s.c.Consume(ctx, s.topic("acks"), 0, done, len(r))
			if err == nil {
				err = s.same(got, r, done)
			}
			done += int64(len(r))
			return err
		})
	}
}

// keys writes by key over three partitions: each key stays in one, in order.
func (s *script) keys(ctx context.Context) error {
	r := s.records(60)
	for i := range r {
		r[i].Key = []byte("key-" + strconv.Itoa(i%12))
	}
	if err := s.c.Produce(ctx, s.topic("keys"), -1, How{Codec: "none", Acks: -1}, r); err != nil {
		return err
	}
	place, seen, total := map[string]int32{}, map[string]int64{}, 0
	for p := range int32(mainPartitions) {
		_, end, err := s.c.Offsets(ctx, s.topic("keys"), p)
		if err != nil {
			return err
		}
		got, err := s.c.Consume(ctx, s.topic("keys"), p, 0, int(end))
		if err != nil {
			return err
		}
		total += len(got)
		for _, g := range got {
			k := string(g.Key)
			if old, ok := place[k]; ok && old != p {
				return fmt.Errorf("key %s is in partitions %d and %d", k, old, p)
			}
			if n := number(g.Value); n <= seen[k] {
				return fmt.Errorf("key %s is out of order in partition %d", k, p)
			} else {
				place[k], seen[k] = p, n
			}
		}
	}
	if total != len(r) {
		return fmt.Errorf("%d records read, %d written", total, len(r))
	}
	return nil
}

func (s *script) trim(ctx context.Context) error {
	if err := s.c.Produce(ctx, s.topic("trim"), 0, How{Codec: "none", Acks: -1}, s.records(10)); err != nil {
		return err
	}
	if err := s.c.Trim(ctx, s.topic("trim"), 0, 7); err != nil {
		return err
	}
	first, end, err := s.c.Offsets(ctx, s.topic("trim"), 0)
	if err == nil && (first != 7 || end != 10) {
		err = fmt.Errorf("offsets %d to %d after deletion, not 7 to 10", first, end)
	}
	if err != nil {
		return err
	}
	got, err := s.c.Consume(ctx, s.topic("trim"), 0, 7, 3)
	if err == nil {
		err = s.same(got, s.records(10)[7:], 7)
	}
	return err
}

func (s *script) wants(err error, code int) error {
	switch {
	case err == nil:
		return fmt.Errorf("no error, where code %d belongs", code)
	case errors.Is(err, ErrUnsupported):
		return err
	case s.c.Code(err) != code:
		return fmt.Errorf("the error is %d (%v), not %d", s.c.Code(err), err, code)
	}
	return nil
}

func (s *script) errors() {
	s.run("grow", func(ctx context.Context) error {
		if err := s.c.Grow(ctx, s.topic("keys"), 5); err != nil {
			return err
		}
		return Until(ctx, "five partitions", func() (bool, error) {
			n, err := s.c.Partitions(ctx, s.topic("keys"))
			return n == 5, err
		})
	})
	s.run("e-topic", func(ctx context.Context) error {
		_, err := s.c.Partitions(ctx, s.topic("absent"))
		return s.wants(err, codeUnknownTopic)
	})
	s.run("e-name", func(ctx context.Context) error {
		return s.wants(s.c.CreateTopic(ctx, s.prefix+"/bad", 1, 1, nil), codeInvalidTopic)
	})
	s.run("e-repl", func(ctx context.Context) error {
		return s.wants(s.c.CreateTopic(ctx, s.topic("three"), 1, 3, nil), codeInvalidReplicas)
	})
	s.run("e-dup", func(ctx context.Context) error {
		return s.wants(s.c.CreateTopic(ctx, s.topic("keys"), 1, 1, nil), codeTopicExists)
	})
}

func (s *script) delete(ctx context.Context) error {
	for _, t := range append([]string{"keys", "nulls"}, Codecs...) {
		if err := s.c.DeleteTopic(ctx, s.topic(t)); err != nil {
			return fmt.Errorf("%s: %w", t, err)
		}
	}
	return Until(ctx, "the topic is gone", func() (bool, error) {
		_, err := s.c.Partitions(ctx, s.topic("keys"))
		return s.c.Code(err) == codeUnknownTopic, err
	})
}

// joiner has a member join a group.
type joiner func(ctx context.Context, group, topic string) (Member, error)

// group joins, commits half way, leaves, resumes, shares and removes a group.
func (s *script) group() {
	if g, ok := s.c.(Grouped); ok {
		g.GroupChecks(s.topic("group"), s.topic("keys"), s.run)
		s.groups("groups", s.topic("group"))
		return
	}
	s.life("", s.c.Join)
	s.run("share", func(ctx context.Context) error { return s.share(ctx, s.c.Join, s.topic("share"), s.topic("keys"), 60) })
}

// life is a group from the first member to its deletion; the sign begins the names of the checks.
func (s *script) life(sign string, join joiner) {
	group, topic := s.topic(sign+"group"), s.topic("keys")
	const total, half = 60, 30
	places := map[int32]int64{}
	var first []Record
	var m Member
	s.run(sign+"group", func(ctx context.Context) (err error) {
		if m, err = join(ctx, group, topic); err != nil {
			return err
		}
		return Until(ctx, "all records", func() (bool, error) {
			r, err := m.Poll(ctx)
			first = append(first, r...)
			return len(first) >= total, err
		})
	})
	if m == nil {
		return
	}
	s.run(sign+"commit", func(ctx context.Context) error {
		for _, r := range first[:min(half, len(first))] {
			places[r.Partition] = max(places[r.Partition], r.Offset+1)
		}
		if err := m.Commit(ctx, first[:min(half, len(first))]); err != nil {
			return err
		}
		if err := m.Close(); err != nil {
			return err
		}
		got, err := s.c.Committed(ctx, group, topic)
		if err != nil {
			return err
		}
		for p, o := range places {
			if got[p] != o {
				return fmt.Errorf("partition %d is committed at %d, not %d", p, got[p], o)
			}
		}
		return nil
	})
	s.run(sign+"resume", func(ctx context.Context) error { return s.resume(ctx, join, group, topic, total, places) })
	s.groups(sign+"groups", group)
}

// groups lists the group and deletes it.
func (s *script) groups(name, group string) {
	s.run(name, func(ctx context.Context) error {
		names, err := s.c.Groups(ctx)
		if err != nil {
			return err
		}
		if !slices.Contains(names, group) {
			return fmt.Errorf("the group is not listed in %q", names)
		}
		if err := Until(ctx, "the group is deleted", func() (bool, error) {
			err := s.c.DeleteGroup(ctx, group)
			return err == nil, err
		}); err != nil {
			return err
		}
		names, err = s.c.Groups(ctx)
		if err == nil && slices.Contains(names, group) {
			err = errors.New("the group is still listed after its deletion")
		}
		return err
	})
}

// resume has another member read what was not committed, and no more.
func (s *script) resume(ctx context.Context, join joiner, group, topic string, total int, places map[int32]int64) error {
	m, err := join(ctx, group, topic)
	if err != nil {
		return err
	}
	defer m.Close()
	want := total
	for _, o := range places {
		want -= int(o)
	}
	next, got := map[int32]int64{}, 0
	return Until(ctx, fmt.Sprintf("the %d records left", want), func() (bool, error) {
		r, err := m.Poll(ctx)
		for _, r := range r {
			if _, ok := next[r.Partition]; !ok {
				next[r.Partition] = places[r.Partition]
			}
			if r.Offset != next[r.Partition] {
				return false, fmt.Errorf("partition %d goes on at %d, not %d", r.Partition, r.Offset, next[r.Partition])
			}
			next[r.Partition]++
			got++
		}
		return got == want, err
	})
}

// share has two members divide the partitions, and one take over what the other had.
func (s *script) share(ctx context.Context, join joiner, group, topic string, total int) error {
	a, err := join(ctx, group, topic)
	if err != nil {
		return err
	}
	defer a.Close()
	seen := map[string]bool{}
	poll := func(m Member) error {
		r, err := m.Poll(ctx)
		for _, r := range r {
			seen[fmt.Sprint(r.Partition, "/", r.Offset)] = true
		}
		return err
	}
	if err := Until(ctx, "one member has all", func() (bool, error) {
		err := poll(a)
		return a.Assigned() == mainPartitions || a.Assigned() < 0 && len(seen) == total, err
	}); err != nil {
		return err
	}
	b, err := join(ctx, group, topic)
	if err != nil {
		return err
	}
	if err := Until(ctx, "two members share", func() (bool, error) {
		err := errors.Join(poll(a), poll(b))
		return a.Assigned() > 0 && b.Assigned() > 0 && a.Assigned()+b.Assigned() == mainPartitions || a.Assigned() < 0 && len(seen) == total, err
	}); err != nil {
		b.Close()
		return fmt.Errorf("%w; %d and %d partitions", err, a.Assigned(), b.Assigned())
	}
	if err := b.Close(); err != nil {
		return err
	}
	return Until(ctx, "the member left has all again", func() (bool, error) {
		err := poll(a)
		return (a.Assigned() == mainPartitions || a.Assigned() < 0) && len(seen) == total, err
	})
}
