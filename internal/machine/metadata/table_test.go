package metadata

import (
	"fmt"
	"maps"
	"testing"

	"pgregory.net/rapid"
)

func entries(t *table[nameKey, int]) map[nameKey]int {
	all := map[nameKey]int{}
	t.each(func(k nameKey, v int) { all[k] = v })
	return all
}

func TestTableIsAMapThatKeepsItsPast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var now table[nameKey, int]
		model := map[nameKey]int{}
		type past struct {
			table table[nameKey, int]
			model map[nameKey]int
		}
		var history []past
		for range rapid.IntRange(1, 12).Draw(t, "edits") {
			history = append(history, past{now, maps.Clone(model)})
			e := tableEdit[nameKey, int]{table: now}
			for range rapid.IntRange(0, 300).Draw(t, "changes") {
				k := nameKey(fmt.Sprint("t", rapid.IntRange(0, 400).Draw(t, "key")))
				if rapid.IntRange(0, 3).Draw(t, "kind") == 0 {
					e.remove(k)
					delete(model, k)
				} else {
					v := rapid.Int().Draw(t, "value")
					e.set(k, v)
					model[k] = v
				}
			}
			now = e.table
		}
		history = append(history, past{now, model})
		for n, p := range history {
			if got := entries(&p.table); !maps.Equal(got, p.model) || p.table.size != len(p.model) {
				t.Fatalf("after edit %d: got %d entries (size %d), want %d", n, len(got), p.table.size, len(p.model))
			}
		}
		for k, v := range model {
			if got, ok := now.get(k); !ok || got != v {
				t.Fatalf("get(%s) = %d, %v, want %d", k, got, ok, v)
			}
		}
	})
}

func BenchmarkOneMoreTopicAmongMany(b *testing.B) {
	e := tableEdit[nameKey, int]{}
	for i := range 100_000 {
		e.set(nameKey(fmt.Sprint("topic-", i)), i)
	}
	full := e.table
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		one := tableEdit[nameKey, int]{table: full}
		one.set(nameKey(fmt.Sprint("new-", i&1023)), i)
	}
}
