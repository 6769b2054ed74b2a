package group

import (
	"fmt"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// Kind is a type of group that lives beside the classic ones in a partition of __consumer_offsets.
//
// It decides on its live state, which includes what is not committed yet: a kind emits its records with Effects.Record
// and applies them at once, through the same Apply as in replay. If such a write fails, the shell drops the machine
// and loads the partition anew; that is the roll back. Offsets are not a kind's affair: the Machine keeps those of
// all groups.
type Kind interface {
	// Type is the type as ListGroups names it: "consumer", "streams", "share".
	Type() string
	// Apply takes one record; a nil value is a tombstone. It is the only way in which durable state changes, live and
	// in replay. known is false for records of other kinds.
	Apply(key, value []byte) (known bool, err error)
	// Loaded tells that replay has ended: sessions begin anew.
	Loaded(now Time, fx *Effects)
	// SetImage tells that topics or settings have changed. It is also called before Loaded.
	SetImage(now Time, img *metadata.Image, fx *Effects)
	// Next tells when Expire has something to do, in terms of Time.Mono.
	Next() (mono int64, ok bool)
	// Expire does what is due by now.
	Expire(now Time, fx *Effects)
	// Unload ends service; whoever is parked is answered with code.
	Unload(code wire.Code, fx *Effects)
	// Has says whether the group is of this kind.
	Has(id string) bool
	// State is the group's state for people: "Empty", "Assigning", "Reconciling", "Stable", "NotReady", "Dead".
	State(id string) string
	// IDs are the groups of this kind, sorted.
	IDs() []string
	// CheckOffsets says whether this member may commit or fetch the group's offsets.
	CheckOffsets(id, member string, instance *string, epoch int32, commit bool) wire.Code
	// Subscribed says whether a member reads the topic: OffsetDelete refuses then, and offsets do not expire.
	Subscribed(id, topic string) bool
	// Idle says since when (wall time, -1 if unknown) the group has no members; retention of offsets counts from
	// there.
	Idle(id string) (since int64, idle bool)
	// Delete appends the tombstones of an empty group, which the kind has applied, or refuses with NON_EMPTY_GROUP.
	// The caller hands the records to Effects.Record.
	Delete(id string, records []Record) ([]Record, wire.Code)
	// Deletable says whether the group is empty, so that it can be removed once its offsets are gone.
	Deletable(id string) bool
}

// CommitChecker is a kind that looks at what is committed, not only at who commits.
type CommitChecker interface {
	// CheckCommit says, instead of CheckOffsets, whether an OffsetCommit of this version may change the group's
	// offsets. A transaction's commit has another version and is told apart.
	CheckCommit(req *wire.OffsetCommitRequest, version int16, transaction bool) wire.Code
}

// Registry is what a kind may ask about the other groups of its partition. *Machine implements it.
type Registry interface {
	// TypeOf is the type of a group: "classic", "consumer", "streams" or "share".
	TypeOf(id string) (typ string, ok bool)
	// Vacate makes an empty classic group give its id up: its tombstones are appended. It is true when no classic
	// group has the id any more, and false when one with members does.
	Vacate(id string, records []Record) ([]Record, bool)
	// Offsets says whether the group has committed offsets.
	Offsets(id string) bool
}

// streamsType is the type of streams groups.
const streamsType = "streams"

// kinds are the kinds of a machine.
type kinds struct {
	machine *Machine
	list    []Kind
	image   *metadata.Image // nil until told
}

// Attach adds a kind. It must be called before the first Apply.
func (ks *kinds) Attach(k Kind) { ks.list = append(ks.list, k) }

// Image is the newest image that the machine was told of, nil before the first.
func (ks *kinds) Image() *metadata.Image { return ks.image }

// SetImage tells all kinds that topics or settings have changed.
func (ks *kinds) SetImage(now Time, img *metadata.Image, fx *Effects) {
	ks.image = img
	for _, k := range ks.list {
		k.SetImage(now, img, fx)
	}
}

// of finds the kind that the group is of, nil for a classic one or none.
func (ks *kinds) of(id string) Kind {
	for _, k := range ks.list {
		if k.Has(id) {
			return k
		}
	}
	return nil
}

// apply offers a record to the kinds.
func (ks *kinds) apply(e *Entry) (known bool, err error) {
	for _, k := range ks.list {
		if known, err := k.Apply(e.Key, e.Value); known || err != nil {
			if err != nil {
				return true, fmt.Errorf("replaying the record of a %s group at offset %d: %w", k.Type(), e.Offset, err)
			}
			return true, nil
		}
	}
	return false, nil
}

// next is the earliest thing to do of all kinds, or at if that is earlier.
func (ks *kinds) next(at int64, ok bool) (int64, bool) {
	for _, k := range ks.list {
		if t, due := k.Next(); due && (!ok || t < at) {
			at, ok = t, true
		}
	}
	return at, ok
}

// TypeOf is the type of a group that there is.
func (ks *kinds) TypeOf(id string) (typ string, ok bool) {
	if k := ks.of(id); k != nil {
		return k.Type(), true
	}
	if ks.machine.groups[id] == nil {
		return "", false
	}
	return classicType, true
}

// Offsets says whether the group has committed offsets.
func (ks *kinds) Offsets(id string) bool {
	g := ks.machine.groups[id]
	return g != nil && len(g.offsets) > 0
}

// Vacate makes an empty classic group give its id up. Its offsets stay: they are the next owner's.
func (ks *kinds) Vacate(id string, records []Record) ([]Record, bool) {
	g := ks.machine.groups[id]
	if g == nil || ks.of(id) != nil {
		return records, g == nil
	}
	if g.state != stateEmpty && g.state != stateDead {
		return records, false
	}
	records = append(records, new(encoder).groupTombstone(g.id))
	ks.yield(g)
	return records, true
}

// makeRoom has an empty group of another kind give its id up to a classic group. Those of shares do not.
func (ks *kinds) makeRoom(k Kind, id string, fx *Effects) bool {
	if !k.Deletable(id) || k.Type() != consumerType && k.Type() != streamsType {
		return false
	}
	records, code := k.Delete(id, nil)
	fx.Record(records...)
	return code == wire.None
}

// yield takes the classic half of a group away. Writes of it that are on their way come to nothing: the tombstone
// stands behind them.
func (ks *kinds) yield(g *group) {
	g.joinTimer.Stop()
	g.syncTimer.Stop()
	for _, mb := range g.order {
		mb.timer.Stop()
	}
	g.dropPending()
	g.reset()
	g.yielded = ks.machine.lastWrite
	ks.machine.drop(g)
}

// Record takes records of a kind, which are applied already. All of one call become one write, which fails or
// succeeds as a whole.
func (fx *Effects) Record(records ...Record) {
	if len(records) == 0 {
		return
	}
	if n := len(fx.Writes); n > 0 && fx.Writes[n-1].Applied {
		fx.Writes[n-1].Records = append(fx.Writes[n-1].Records, records...)
		return
	}
	fx.Writes = append(fx.Writes, Write{Applied: true, Records: slices.Clone(records)})
}

// notReady is the state of a streams group whose topics are missing or wrong.
const notReady = "NotReady"

// listKinds lists the groups of all kinds, in order.
func (ks *kinds) listKinds(states, types []string) []wire.ListGroupsResponseListedGroup {
	var list []wire.ListGroupsResponseListedGroup
	for _, k := range ks.list {
		if len(types) > 0 && !namesType(types, k.Type()) {
			continue
		}
		for _, id := range k.IDs() {
			if state := k.State(id); len(states) == 0 || namesState(states, state) {
				list = append(list, wire.ListGroupsResponseListedGroup{
					GroupID: id, ProtocolType: k.Type(), GroupState: state, GroupType: k.Type(),
				})
			}
		}
	}
	return list
}

// namesState says whether a list of states names one.
//
// Differs from Kafka: ListGroups finds streams groups that are not ready by the state's name "NotReady", with which it answers, and
// by "not_ready". Kafka finds them by "not_ready" only.
func namesState(states []string, state string) bool {
	return containsFold(states, state) || state == notReady && containsFold(states, "not_ready")
}

// deleteKind removes a group of a kind with its offsets.
func (ks *kinds) deleteKind(k Kind, id string, ts *tombstones, records []Record) ([]Record, wire.Code) {
	records, code := k.Delete(id, records)
	if g := ks.machine.groups[id]; code == wire.None && g != nil {
		for _, key := range ks.machine.allKnown(g) {
			ts.offset(key)
		}
	}
	return records, code
}

// expireKind removes offsets of a kind's group that are past their retention, and says whether any are left. Those of
// topics that a member reads stay.
func (d *decision) expireKind(k Kind, g *group, ts *tombstones) (left bool) {
	since, idle := k.Idle(g.id)
	for _, key := range d.m.allKnown(g) {
		o, committed := g.offset(key.topic, key.partition)
		base := o.CommitMs
		if idle {
			base = max(base, since)
		}
		if committed && !k.Subscribed(g.id, key.topic) && !g.pendingIn(key.topic, key.partition) &&
			d.now.Wall-base >= d.m.config.OffsetsRetentionMs {
			ts.offset(key)
		} else {
			left = true
		}
	}
	return left
}

// retireKinds removes the groups of all kinds that have neither members nor offsets.
func (d *decision) retireKinds(leaving map[string]bool) {
	var records []Record
	for _, k := range d.m.list {
		for _, id := range k.IDs() {
			if !k.Deletable(id) || d.m.groups[id] != nil && !leaving[id] {
				continue
			}
			gone, code := k.Delete(id, records)
			if code == wire.None {
				records = gone
				d.fx.Events = append(d.fx.Events, Event{Group: strings.Clone(id), What: "group removed", Reason: "it has no members and no offsets"})
			}
		}
	}
	d.fx.Record(records...)
}
