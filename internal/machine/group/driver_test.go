package group

import (
	"bytes"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// driver plays the shell: it keeps the log, settles writes, and notes in words what the machine does.
type driver struct {
	config  Config
	machine *Machine
	now     Time
	fx      Effects
	log     []Entry
	queue   []Write         // not settled
	hold    bool            // settle by command only
	behind  map[string]bool // groups whose last write failed, so that the log has an older state
	names   map[Ticket]string
	ticket  Ticket
	fresh   uint64
	events  bool
	out     strings.Builder
	image   *metadata.Image
}

func newDriver() *driver {
	d := &driver{config: DefaultConfig(), now: Time{Wall: 1_000_000, Mono: 1_000}, names: map[Ticket]string{}, behind: map[string]bool{}}
	d.config.InitialRebalanceDelayMs = 0
	d.machine = New(d.config)
	d.machine.Loaded(d.now, &d.fx)
	return d
}

func (d *driver) printf(format string, args ...any) { fmt.Fprintf(&d.out, format+"\n", args...) }

// park names a ticket for the answer.
func (d *driver) park(name string) Ticket {
	d.ticket++
	d.names[d.ticket] = name
	return d.ticket
}

func (d *driver) uuid() (u wire.UUID) {
	d.fresh++
	for i := range 8 {
		u[15-i] = byte(d.fresh >> (8 * i))
	}
	return u
}

// freshID matches the member ids that uuid makes, which scripts write as #1, #2 and so on.
var freshID = regexp.MustCompile(`00000000-0000-0000-0000-0*([0-9a-f]+)`)

var shortID = regexp.MustCompile(`#([0-9a-f]+)`)

func long(s string) string {
	return shortID.ReplaceAllStringFunc(s, func(m string) string {
		tail := "00000000000" + m[1:]
		return "00000000-0000-0000-0000-" + tail[len(tail)-12:]
	})
}

// flush notes effects, fires timers that are due and settles writes unless they are held.
func (d *driver) flush() {
	for {
		for _, j := range d.fx.Joins {
			d.printf("%s -> %s", d.answered(j.Ticket), joinText(j.Response))
		}
		for _, j := range d.fx.Late {
			d.printf("%s -> %s", d.answered(j.Ticket), joinText(j.Response))
		}
		for _, s := range d.fx.Syncs {
			d.printf("%s -> %s", d.answered(s.Ticket), syncText(s.Response))
		}
		d.machine.Remember(d.now, d.fx.Events)
		for _, e := range d.fx.Events {
			if d.events {
				d.printf("event %s: %s (%s) generation %d, %d members", e.Group, e.What, e.Reason, e.Generation, e.Members)
			}
		}
		for _, w := range d.fx.Writes {
			for _, r := range w.Records {
				d.printf("write %s", recordText(r.Key, r.Value))
			}
			d.queue = append(d.queue, w)
		}
		d.fx.Reset()
		if next, ok := d.machine.Next(); ok && next <= d.now.Mono {
			d.machine.Expire(d.now, &d.fx)
			continue
		}
		if d.hold || len(d.queue) == 0 {
			return
		}
		d.settle(wire.None)
	}
}

func (d *driver) answered(t Ticket) string {
	name, ok := d.names[t]
	delete(d.names, t)
	if !ok {
		return "TWICE ANSWERED"
	}
	return name
}

// settle ends the oldest write.
func (d *driver) settle(code wire.Code) {
	w := d.queue[0]
	d.queue = d.queue[1:]
	base := int64(len(d.log))
	for _, r := range w.Records {
		if k, err := wire.DecodeGroupKey(r.Key); err == nil {
			if k, ok := k.(*wire.GroupMetadataKey); ok {
				d.behind[k.Group] = code != wire.None
			}
		}
	}
	if code == wire.None {
		for i, r := range w.Records {
			d.log = append(d.log, Entry{Offset: base + int64(i), ProducerID: -1, Key: bytes.Clone(r.Key), Value: bytes.Clone(r.Value)})
		}
	}
	switch {
	case !w.Applied:
		d.machine.Settle(d.now, w.ID, base, code, &d.fx)
	case code != wire.None:
		d.reloadFailed()
	}
}

// advance moves time, stopping wherever the machine has something to do.
func (d *driver) advance(ms int64) {
	end := d.now.Mono + ms
	for {
		next, ok := d.machine.Next()
		if !ok || next > end {
			break
		}
		step := max(next-d.now.Mono, 0)
		d.now.Mono += step
		d.now.Wall += step
		d.machine.Expire(d.now, &d.fx)
		d.flush()
	}
	d.now.Wall += end - d.now.Mono
	d.now.Mono = end
}

// replayed is a fresh machine that has read the log.
func (d *driver) replayed() *Machine {
	m := New(d.config)
	for i := range d.log {
		if known, err := m.Apply(&d.log[i]); err != nil || !known {
			panic(fmt.Sprintf("replay of record %d: known %v, %v", i, known, err))
		}
	}
	return m
}

func codeText(c wire.Code) string {
	if c == wire.None {
		return "ok"
	}
	return c.String()
}

func deref(s *string) string {
	if s == nil {
		return "null"
	}
	return *s
}

func joinText(r *wire.JoinGroupResponse) string {
	if r.ErrorCode != wire.None {
		return fmt.Sprintf("%s member=%s", codeText(r.ErrorCode), short(r.MemberID))
	}
	s := fmt.Sprintf("ok generation=%d type=%s protocol=%s leader=%s member=%s",
		r.GenerationID, deref(r.ProtocolType), deref(r.ProtocolName), short(r.Leader), short(r.MemberID))
	if r.SkipAssignment {
		s += " skip-assignment"
	}
	for _, m := range r.Members {
		s += fmt.Sprintf("\n  %s instance=%s metadata=%q", short(m.MemberID), deref(m.GroupInstanceID), m.Metadata)
	}
	return s
}

func syncText(r *wire.SyncGroupResponse) string {
	if r.ErrorCode != wire.None {
		return codeText(r.ErrorCode)
	}
	return fmt.Sprintf("ok type=%s protocol=%s assignment=%q", deref(r.ProtocolType), deref(r.ProtocolName), r.Assignment)
}

func short(s string) string { return freshID.ReplaceAllString(s, "#$1") }

func recordText(key, value []byte) string {
	k, err := wire.DecodeGroupKey(key)
	if err != nil {
		return err.Error()
	}
	s := ""
	switch k := k.(type) {
	case *wire.OffsetCommitKey:
		s = fmt.Sprintf("offset %s %s-%d", k.Group, k.Topic, k.Partition)
	case *wire.GroupMetadataKey:
		s = "group " + k.Group
	default:
		s = consumerRecordText(k)
	}
	if value == nil {
		return s + ": gone"
	}
	v, version, err := wire.DecodeGroupValue(k.CoordinatorType(), value)
	if err != nil {
		return err.Error()
	}
	switch v := v.(type) {
	case *wire.OffsetCommitValue:
		s += fmt.Sprintf(": v%d %d epoch=%d metadata=%q at=%d", version, v.Offset, v.LeaderEpoch, v.Metadata, v.CommitTimestamp)
		if v.ExpireTimestamp >= 0 {
			s += fmt.Sprintf(" expires=%d", v.ExpireTimestamp)
		}
	case *wire.GroupMetadataValue:
		s += fmt.Sprintf(": v%d type=%s generation=%d protocol=%s leader=%s since=%d", version, v.ProtocolType,
			v.Generation, deref(v.Protocol), short(deref(v.Leader)), v.CurrentStateTimestamp)
		for _, m := range v.Members {
			s += fmt.Sprintf("\n  %s instance=%s client=%s%s rebalance=%d session=%d subscription=%q assignment=%q",
				short(m.MemberID), deref(m.GroupInstanceID), m.ClientID, m.ClientHost, m.RebalanceTimeout, m.SessionTimeout,
				m.Subscription, m.Assignment)
		}
	default:
		s += consumerValueText(v)
	}
	return s
}

// durable describes what a replay must give back: all offsets, and the groups that are as they were written last.
func durable(m *Machine, only func(*group) bool) string {
	var b strings.Builder
	for _, id := range sortedKeys(m.groups) {
		g := m.groups[id]
		if g.durable && only(g) {
			fmt.Fprintf(&b, "%s %v type=%s generation=%d protocol=%s leader=%s\n",
				id, g.state, g.protocolType, g.generation, deref(g.protocol), short(g.leader))
			for _, mb := range g.order {
				fmt.Fprintf(&b, "  %s instance=%s client=%s%s rebalance=%d session=%d subscription=%q assignment=%q\n",
					short(mb.id), deref(mb.instanceID()), mb.clientID, mb.clientHost, mb.rebalanceMs, mb.sessionMs,
					mb.metadata(*g.protocol), mb.assignment)
			}
		}
		for _, topic := range sortedKeys(g.offsets) {
			for _, p := range slices.Sorted(maps.Keys(g.offsets[topic].of)) {
				fmt.Fprintf(&b, "%s %s-%d %+v\n", id, topic, p, g.offsets[topic].of[p])
			}
		}
	}
	return b.String()
}

// settled are the groups whose last record tells their present state.
func settled(g *group) bool {
	return g.unsettled == 0 && (g.state == stateStable || g.state == stateEmpty)
}

// compareReplay replays the log and tells what differs from the live machine.
func (d *driver) compareReplay() string {
	same := map[string]bool{}
	for id, g := range d.machine.groups {
		same[id] = settled(g) && !d.behind[id]
	}
	// What is applied and on its way counts for consumer groups, and not yet for classic ones.
	log := d.log
	for _, w := range d.queue {
		for _, r := range w.Records {
			if k, err := wire.DecodeGroupKey(r.Key); err == nil && w.Applied {
				if k, ok := k.(*wire.GroupMetadataKey); ok {
					same[k.Group] = false
				}
			}
			if w.Applied {
				d.log = append(d.log[:len(d.log):len(d.log)], Entry{ProducerID: -1, Key: r.Key, Value: r.Value})
			}
		}
	}
	live, replay := consumersText(d.machine), consumersText(d.replayed())
	if d.log = log; live != replay {
		return "live:\n" + live + "replay:\n" + replay
	}
	if text := d.checkOwners(); text != "" {
		return text
	}
	only := func(g *group) bool { return same[g.id] }
	live, replay = durable(d.machine, only), durable(d.replayed(), only)
	if live != replay {
		return "live:\n" + live + "replay:\n" + replay
	}
	return ""
}
