package metadata

import "maps"

// Shard counts of a table: it starts small and grows to maxShards, where a
// shard of 100,000 entries holds about a hundred.
const (
	minShards     = 8
	maxShards     = 1024
	shardCapacity = 32 // mean entries in a shard before the table grows
)

// key is what a table can be keyed by: it says where it belongs. The hash is a
// fixed function, so that two nodes with the same records have the same tables.
type key interface {
	comparable
	shard() uint32
}

// table is an immutable map in shards. The zero value is empty.
type table[K key, V any] struct {
	shards []map[K]V
	size   int
}

func (t *table[K, V]) get(k K) (V, bool) {
	if t.size == 0 {
		var zero V
		return zero, false
	}
	v, ok := t.shards[int(k.shard())&(len(t.shards)-1)][k]
	return v, ok
}

// each calls f for every entry, in no useful order.
func (t *table[K, V]) each(f func(K, V)) {
	for _, s := range t.shards {
		for k, v := range s { // unordered: callers sort, or fill a map
			f(k, v)
		}
	}
}

// tableEdit is a table being changed. A shard is copied when it is first
// touched; the table it began from stays as it was.
type tableEdit[K key, V any] struct {
	table[K, V]
	owned []bool // which shards are ours to change; nil before the first change
}

func (e *tableEdit[K, V]) set(k K, v V) {
	if e.size >= shardCapacity*len(e.shards) && len(e.shards) < maxShards {
		e.grow()
	}
	s := e.own(k)
	before := len(s)
	s[k] = v
	e.size += len(s) - before
}

func (e *tableEdit[K, V]) remove(k K) {
	if _, ok := e.get(k); !ok {
		return
	}
	delete(e.own(k), k)
	e.size--
}

// own gives the shard of k, copied if it is still shared with an older table.
func (e *tableEdit[K, V]) own(k K) map[K]V {
	if e.owned == nil {
		e.owned = make([]bool, len(e.shards))
		e.shards = append([]map[K]V(nil), e.shards...)
	}
	i := int(k.shard()) & (len(e.shards) - 1)
	if !e.owned[i] {
		e.owned[i] = true
		if e.shards[i] == nil {
			e.shards[i] = make(map[K]V)
		} else {
			e.shards[i] = maps.Clone(e.shards[i])
		}
	}
	return e.shards[i]
}

// grow spreads the entries over four times the shards.
func (e *tableEdit[K, V]) grow() {
	n := min(max(minShards, 4*len(e.shards)), maxShards)
	shards := make([]map[K]V, n)
	owned := make([]bool, n)
	for i := range owned {
		owned[i] = true
		shards[i] = make(map[K]V, e.size/n)
	}
	e.each(func(k K, v V) { shards[int(k.shard())&(n-1)][k] = v })
	e.shards, e.owned = shards, owned
}

// nameKey is a topic's name as a key.
type nameKey string

func (k nameKey) shard() uint32 { return fnv(2166136261, string(k)) }

// fnv is the FNV-1a hash, continued from h and spread to the low bits.
func fnv(h uint32, s string) uint32 {
	for i := range len(s) {
		h = (h ^ uint32(s[i])) * 16777619
	}
	return h ^ h>>16
}
