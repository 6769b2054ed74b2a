package broker

import (
	"math"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/acl"
	"github.com/moldau/moldau/internal/node/partition"
)

// Bounds of fetch sessions (KIP-227).
const (
	// maxSessionPartitions bounds what one client can make a session remember.
	maxSessionPartitions = 200_000
	// maxCachedPartitions bounds what all sessions remember together: some 250 bytes each.
	maxCachedPartitions = 1_000_000
	// sessionEvictAfter is how long a session must be unused before another
	// client's new session may take its slot.
	sessionEvictAfter = 2 * time.Minute
	// walkEvery is after which time a fetch looks at all partitions of its session again.
	walkEvery = 500 * time.Millisecond
)

// fetchPartition is one partition of a fetch: what the client asks for, and,
// in a session, what it was last told.
type fetchPartition struct {
	topic string
	id    wire.UUID
	index int32

	fetchOffset      int64
	logStart         int64
	leaderEpoch      int32
	lastFetchedEpoch int32
	maxBytes         int32

	// part is the partition found last time; it is looked up again once it
	// has been closed.
	part *partition.Partition

	sentHighWatermark int64
	sentLogStart      int64

	// watch has the session told of what the partition gets.
	watch partition.Watch
	// listed tells that the request under way looks at it.
	listed bool

	next, prev *fetchPartition // nil once it is not in the session any more
}

type fetchKey struct {
	topic string
	id    wire.UUID
	index int32
}

// fetchSession is what an incremental fetch does not need to repeat. It is
// used by one request at a time: its connection is muted while one is served,
// and busy refuses a second connection that uses the same id.
type fetchSession struct {
	id       int32
	epoch    int32
	usesIDs  bool
	lastUsed time.Duration
	busy     bool
	counted  int // of its partitions, those in the cache's sum

	parts map[fetchKey]*fetchPartition
	// news are the partitions to look at with the next fetch: those that got something, and those that the client or the last
	// answer left something to do for. A walk over all of them, which finds what nobody tells (a log's new start, an
	// epoch), is due every walkEvery and whenever the rules of access have changed.
	news   partition.News
	walked time.Duration
	rules  *acl.Set
	// root is the sentinel of the ring of partitions in the order they are
	// served; those that gave data move to the end, so that no partition starves.
	root fetchPartition
}

func newFetchSession(id int32, usesIDs bool) *fetchSession {
	s := &fetchSession{id: id, epoch: 1, usesIDs: usesIDs, parts: make(map[fetchKey]*fetchPartition)}
	s.root.next, s.root.prev = &s.root, &s.root
	return s
}

func (s *fetchSession) pushBack(p *fetchPartition) {
	p.prev, p.next = s.root.prev, &s.root
	p.prev.next, p.next.prev = p, p
}

func unlink(p *fetchPartition) {
	p.prev.next, p.next.prev = p.next, p.prev
	p.next, p.prev = nil, nil
}

// put adds or replaces one partition's request. It reports false when the session is full.
func (s *fetchSession) put(q *fetchPartition) bool {
	k := fetchKey{q.topic, q.id, q.index}
	if old, ok := s.parts[k]; ok {
		old.fetchOffset, old.logStart = q.fetchOffset, q.logStart
		old.leaderEpoch, old.lastFetchedEpoch, old.maxBytes = q.leaderEpoch, q.lastFetchedEpoch, q.maxBytes
		s.news.Add(&old.watch)
		return true
	}
	if len(s.parts) >= maxSessionPartitions {
		return false
	}
	p := *q
	p.sentHighWatermark, p.sentLogStart = -1, -1
	p.watch.Of = &p
	s.parts[k] = &p
	s.pushBack(&p)
	s.news.Add(&p.watch)
	return true
}

func (s *fetchSession) forget(k fetchKey) {
	if p, ok := s.parts[k]; ok {
		unlink(p)
		p.unwatch()
		delete(s.parts, k)
	}
}

// find notes where the partition is, and has the session told of what it gets.
func (s *fetchSession) find(p *fetchPartition, part *partition.Partition) {
	p.unwatch()
	if p.part = part; part != nil {
		part.Watch(&p.watch, &s.news)
	}
}

func (p *fetchPartition) unwatch() {
	if p.part != nil {
		p.part.Unwatch(&p.watch)
	}
}

// end has no partition tell the session any more.
func (s *fetchSession) end() {
	for _, p := range s.parts {
		p.unwatch()
	}
}

// walks tells whether all partitions are due to be looked at, and notes that they will be.
func (s *fetchSession) walks(rules *acl.Set) bool {
	if s.lastUsed-s.walked < walkEvery && s.rules == rules {
		return false
	}
	s.walked, s.rules = s.lastUsed, rules
	return true
}

// sessionCache holds the sessions of all connections.
type sessionCache struct {
	clock clock.World
	slots int

	mu sync.Mutex // guards all below and the fields of each session that is not busy
	// sessions has at most slots entries.
	sessions map[int32]*fetchSession
	// partitions is how many they remember together, but for what requests under way add.
	partitions int
}

func newSessionCache(c clock.World, slots int) *sessionCache {
	return &sessionCache{clock: c, slots: slots, sessions: make(map[int32]*fetchSession)}
}

// create makes a session for so many partitions, evicting the longest unused one if it has been idle
// long enough. nil means that there is no room: the client goes on without.
func (c *sessionCache) create(usesIDs bool, partitions int) *fetchSession {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.sessions) >= c.slots || c.partitions+partitions > maxCachedPartitions {
		if !c.evict() {
			return nil
		}
	}
	// Ids are random: one that a client remembers from before a restart must
	// not name somebody else's session.
	var id int32
	for taken := true; taken || id == 0; _, taken = c.sessions[id] {
		id = int32(c.clock.Uint64() & math.MaxInt32)
	}
	s := newFetchSession(id, usesIDs)
	s.lastUsed, s.busy = c.clock.Mono(), true
	c.sessions[s.id] = s
	c.count(s, partitions)
	return s
}

// count notes how many partitions a session remembers. mu is held.
func (c *sessionCache) count(s *fetchSession, partitions int) {
	c.partitions += partitions - s.counted
	s.counted = partitions
}

// drop forgets a session; one that is busy ends when it is released. mu is held.
func (c *sessionCache) drop(s *fetchSession) {
	if c.sessions[s.id] == s {
		delete(c.sessions, s.id)
		c.count(s, 0)
	}
	if !s.busy {
		s.end()
	}
}

func (c *sessionCache) evict() bool {
	var oldest *fetchSession
	for _, s := range c.sessions {
		if !s.busy && (oldest == nil || s.lastUsed < oldest.lastUsed || s.lastUsed == oldest.lastUsed && s.id < oldest.id) {
			oldest = s
		}
	}
	if oldest == nil || c.clock.Mono()-oldest.lastUsed < sessionEvictAfter {
		return false
	}
	c.drop(oldest)
	return true
}

// acquire takes the session for one request. The caller releases it.
func (c *sessionCache) acquire(id, epoch int32, usesIDs bool) (*fetchSession, wire.Code) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.sessions[id]
	switch {
	case !ok:
		return nil, wire.FetchSessionIDNotFound
	case s.busy || s.epoch != epoch:
		return nil, wire.InvalidFetchSessionEpoch
	case s.usesIDs != usesIDs:
		return nil, wire.FetchSessionTopicIDError
	}
	s.busy, s.lastUsed = true, c.clock.Mono()
	if s.epoch++; s.epoch <= 0 {
		s.epoch = 1
	}
	return s, wire.None
}

func (c *sessionCache) release(s *fetchSession) {
	c.mu.Lock()
	s.busy, s.lastUsed = false, c.clock.Mono()
	if c.sessions[s.id] == s {
		c.count(s, len(s.parts))
	}
	if len(s.parts) == 0 || c.partitions > maxCachedPartitions || c.sessions[s.id] != s {
		c.drop(s) // its client asks for everything again
	}
	c.mu.Unlock()
}

// remove ends a session at its client's wish.
func (c *sessionCache) remove(id int32) {
	c.mu.Lock()
	if s := c.sessions[id]; s != nil {
		c.drop(s)
	}
	c.mu.Unlock()
}

// rulesOf are the rules of access, nil where everybody may do everything.
func rulesOf(b *Broker) *acl.Set {
	if b.authorizer == nil {
		return nil
	}
	return b.authorizer.Rules()
}
