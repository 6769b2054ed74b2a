package broker

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/moldau/moldau/internal/machine/acl"
)

// Bounds of what is remembered of principals' doings: what was quiet for long makes room.
const (
	maxUsagePrincipals = 200
	maxUsageEntries    = 1_000 // of one principal
	// maxUsageName bounds a resource's name; what is longer is no topic, and not remembered.
	maxUsageName = 249
	// maxUsageChances is how many are looked at to find one that was quiet.
	maxUsageChances = 16
)

// UsageEntry is what a principal did, or wanted to do, to one resource.
type UsageEntry struct {
	Operation    string `json:"operation"`
	ResourceType string `json:"resourceType"`
	Name         string `json:"name"`
	// Allowed says whether it was when it was asked last.
	Allowed bool   `json:"allowed"`
	Count   uint64 `json:"count"`
}

// usage remembers what principals did, for acl learn: what is only probed is not in it.
type usage struct {
	principals recent[usagePrincipal, *usageList]
}

type usagePrincipal struct{ kind, name string }

// usageList is what one principal did.
type usageList struct {
	recency
	entries recent[usageKey, *usageCount]
}

type usageKey struct {
	op   acl.Operation
	kind acl.ResourceType
	name string
}

type usageCount struct {
	recency
	count   atomic.Uint64
	allowed atomic.Bool
}

func newUsage() *usage {
	return &usage{newRecent[usagePrincipal](maxUsagePrincipals, func() *usageList {
		return &usageList{entries: newRecent[usageKey](maxUsageEntries, func() *usageCount { return new(usageCount) })}
	})}
}

// note counts one question. Its strings may be views of a frame.
func (u *usage) note(ask *acl.Question, allowed bool) {
	if len(ask.Name) > maxUsageName || len(ask.PrincipalName) > maxUsageName {
		return
	}
	l := u.principals.get(usagePrincipal{ask.PrincipalType, ask.PrincipalName}, func(p *usagePrincipal) {
		p.kind, p.name = strings.Clone(p.kind), strings.Clone(p.name)
	})
	c := l.entries.get(usageKey{ask.Operation, ask.Type, ask.Name}, func(k *usageKey) { k.name = strings.Clone(k.name) })
	c.count.Add(1)
	if c.allowed.Load() != allowed {
		c.allowed.Store(allowed)
	}
}

// of is what a principal did, sorted.
func (u *usage) of(principal string) []UsageEntry {
	kind, name, _ := strings.Cut(principal, ":")
	out := []UsageEntry{}
	l, ok := u.principals.find(usagePrincipal{kind, name})
	if !ok {
		return out
	}
	l.entries.each(func(k usageKey, c *usageCount) {
		out = append(out, UsageEntry{k.op.String(), k.kind.String(), k.name, c.allowed.Load(), c.count.Load()})
	})
	slices.SortFunc(out, func(a, b UsageEntry) int {
		return cmp.Or(cmp.Compare(a.ResourceType, b.ResourceType), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Operation, b.Operation))
	})
	return out
}

// recency says whether something was used since it was last looked at.
type recency struct{ touched atomic.Bool }

func (r *recency) touch() {
	if !r.touched.Load() {
		r.touched.Store(true)
	}
}

func (r *recency) quiet() bool { return !r.touched.Swap(false) }

// recent is a bounded map. When it is full, one that was quiet makes room, found as by the hand of a clock.
type recent[K comparable, V interface {
	touch()
	quiet() bool
}] struct {
	limit int
	fresh func() V

	mu   sync.RWMutex // guards what follows
	all  map[K]V
	keys []K // of all, in the order of the clock
	hand int
}

func newRecent[K comparable, V interface {
	touch()
	quiet() bool
}](limit int, fresh func() V) recent[K, V] {
	return recent[K, V]{limit: limit, fresh: fresh, all: map[K]V{}}
}

func (r *recent[K, V]) find(k K) (V, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	v, ok := r.all[k]
	return v, ok
}

// get finds a value or makes a new one; own gives the key memory of its own before it is kept.
func (r *recent[K, V]) get(k K, own func(*K)) V {
	v, ok := r.find(k)
	if !ok {
		v = r.add(k, own)
	}
	v.touch()
	return v
}

func (r *recent[K, V]) add(k K, own func(*K)) V {
	r.mu.Lock()
	defer r.mu.Unlock()
	if v, ok := r.all[k]; ok {
		return v
	}
	own(&k)
	v := r.fresh()
	if len(r.keys) < r.limit {
		r.keys = append(r.keys, k)
	} else {
		for range maxUsageChances {
			if r.all[r.keys[r.hand]].quiet() {
				break
			}
			r.hand = (r.hand + 1) % len(r.keys)
		}
		delete(r.all, r.keys[r.hand])
		r.keys[r.hand] = k
		r.hand = (r.hand + 1) % len(r.keys)
	}
	r.all[k] = v
	return v
}

func (r *recent[K, V]) each(f func(K, V)) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, k := range r.keys {
		f(k, r.all[k])
	}
}
