package share

import (
	"math"
	"strings"
	"sync/atomic"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/network/edge"
)

// maxSessionPartitions bounds what one client can make a session remember.
const maxSessionPartitions = 200_000

// Epochs of a session with a meaning of their own.
const (
	firstEpoch int32 = 0
	finalEpoch int32 = -1
)

type sessionKey struct{ group, member string }

// session is what a member does not need to repeat in each request. All is
// guarded by Delivery.mu, but what is final or has its own guard.
type session struct {
	group  *shareGroup
	member string
	conn   *edge.Conn
	epoch  int32
	index  map[partitionKey]*entry
	// parts are the entries in the order they were added. The array that it
	// points to never changes but at its end.
	parts []*entry
	ended atomic.Bool
}

// entry is one partition of a session.
type entry struct {
	key partitionKey
	// named tells that the topic existed when the entry was made.
	named bool
	// tell asks for an answer even if there is nothing to say.
	tell atomic.Bool
	sp   atomic.Pointer[sharePartition]
}

// next is the epoch after one.
func nextEpoch(epoch int32) int32 {
	if epoch == math.MaxInt32 {
		return 1
	}
	return epoch + 1
}

// openSession begins a session with the partitions of its first fetch. A
// former one of the same member is replaced; its records stay with the member.
func (d *Delivery) openSession(f *Fetch, conn *edge.Conn) wire.Code {
	img := d.image.Load()
	key := sessionKey{f.Group, f.Member}
	d.mu.Lock()
	if old := d.sessions[key]; old != nil {
		d.removeSession(key, old)
	}
	if len(d.sessions) >= d.o.MaxSessions {
		d.mu.Unlock()
		return wire.ShareSessionLimitReached
	}
	key = sessionKey{strings.Clone(f.Group), strings.Clone(f.Member)}
	g := d.group(key.group)
	s := &session{group: g, member: key.member, epoch: 1, index: make(map[partitionKey]*entry)}
	g.sessions++
	d.sessions[key] = s
	for i := range f.Topics {
		_, named := img.TopicByID(f.Topics[i].TopicID)
		for j := range f.Topics[i].Partitions {
			s.add(partitionKey{f.Topics[i].TopicID, f.Topics[i].Partitions[j].PartitionIndex}, named, false)
		}
	}
	f.session, f.group = s, g
	f.list = append(f.list[:0], s.parts...)
	watch := d.bind(s, conn)
	d.mu.Unlock()
	if watch {
		conn.OnClose(func() { d.disconnected(conn) })
	}
	return wire.None
}

// bind ties a session to its connection; true asks for OnClose. mu is held.
func (d *Delivery) bind(s *session, conn *edge.Conn) bool {
	if conn == nil {
		return false
	}
	s.conn = conn
	held, known := d.conns[s.conn]
	if !known {
		held = make(map[*session]struct{})
		d.conns[s.conn] = held
	}
	held[s] = struct{}{}
	return !known
}

// add adds a partition, unless it is there or the session is full.
func (s *session) add(key partitionKey, named, tell bool) {
	if s.index[key] != nil || len(s.parts) >= maxSessionPartitions {
		return
	}
	e := &entry{key: key, named: named}
	e.tell.Store(tell)
	s.index[key] = e
	s.parts = append(s.parts, e)
}

// forget takes partitions out.
func (s *session) forget(keys []partitionKey) {
	gone := false
	for _, key := range keys {
		if s.index[key] != nil {
			delete(s.index, key)
			gone = true
		}
	}
	if !gone {
		return
	}
	parts := make([]*entry, 0, len(s.index))
	for _, e := range s.parts {
		if s.index[e.key] == e {
			parts = append(parts, e)
		}
	}
	s.parts = parts
}

// continueSession applies a later fetch to its session, and lists its
// partitions, beginning with another one each time.
func (d *Delivery) continueSession(f *Fetch) wire.Code {
	img := d.image.Load()
	d.mu.Lock()
	defer d.mu.Unlock()
	s, code := d.enter(f.Group, f.Member, f.Epoch)
	if code != wire.None {
		return code
	}
	for i := range f.Topics {
		_, named := img.TopicByID(f.Topics[i].TopicID)
		for j := range f.Topics[i].Partitions {
			s.add(partitionKey{f.Topics[i].TopicID, f.Topics[i].Partitions[j].PartitionIndex}, named, true)
		}
	}
	f.forgotten = f.forgotten[:0]
	for i := range f.Forgotten {
		for _, index := range f.Forgotten[i].Partitions {
			f.forgotten = append(f.forgotten, partitionKey{f.Forgotten[i].TopicID, index})
		}
	}
	s.forget(f.forgotten)
	f.session, f.group = s, s.group
	f.list = f.list[:0]
	if n := len(s.parts); n > 0 {
		at := int(f.Epoch) % n
		f.list = append(append(f.list, s.parts[at:]...), s.parts[:at]...)
	}
	return wire.None
}

// enter finds the session of a request and moves its epoch on; mu is held.
func (d *Delivery) enter(group, member string, epoch int32) (*session, wire.Code) {
	s := d.sessions[sessionKey{group, member}]
	switch {
	case s == nil:
		return nil, wire.ShareSessionNotFound
	case epoch == finalEpoch:
		return s, wire.None
	case s.epoch != epoch:
		return nil, wire.InvalidShareSessionEpoch
	}
	s.epoch = nextEpoch(s.epoch)
	return s, wire.None
}

// removeSession takes a session out of the tables; mu is held.
func (d *Delivery) removeSession(key sessionKey, s *session) {
	delete(d.sessions, key)
	if held := d.conns[s.conn]; held != nil {
		delete(held, s)
	}
	s.group.sessions--
	s.ended.Store(true)
}

// endSession ends a session and gives back what its member had.
func (d *Delivery) endSession(s *session) {
	key := sessionKey{s.group.id, s.member}
	d.mu.Lock()
	if d.sessions[key] != s {
		d.mu.Unlock()
		return
	}
	d.removeSession(key, s)
	parts := s.parts
	var all []*sharePartition
	if s.group.sessions == 0 {
		for _, sp := range s.group.parts { // unordered: each is dropped
			all = append(all, sp)
		}
		d.forgetGroup(s.group)
	}
	d.mu.Unlock()
	for _, e := range parts {
		if sp := e.sp.Load(); sp != nil {
			sp.release(s.member)
		}
	}
	for _, sp := range all {
		d.retire(sp)
	}
}

// disconnected ends the sessions of a lost connection.
func (d *Delivery) disconnected(conn *edge.Conn) {
	d.mu.Lock()
	held := d.conns[conn]
	delete(d.conns, conn)
	var lost []*session
	for s := range held { // unordered: they end independently of each other
		lost = append(lost, s)
	}
	d.mu.Unlock()
	for _, s := range lost {
		d.endSession(s)
	}
}
