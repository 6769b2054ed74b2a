package metadata

import (
	"slices"
	"testing"

	"github.com/moldau/moldau/internal/format/wire"
)

func TestACLsSince(t *testing.T) {
	rule := func(n int, name string) wire.MetadataRecord {
		return &wire.AccessControlEntryRecord{ID: id(n), ResourceType: 2, ResourceName: name, Principal: "User:x", Host: "*"}
	}
	r := NewReplay(Empty())
	apply := func(offset int64, records ...wire.MetadataRecord) *Image {
		if _, err := r.Batch(records, offset, 1); err != nil {
			t.Fatal(err)
		}
		return r.Image()
	}
	first := apply(2, rule(1, "a"), rule(2, "b"), rule(3, "c"))
	second := apply(6, rule(5, "e"), rule(4, "d"), rule(2, "other"), &wire.RemoveAccessControlEntryRecord{ID: id(1)})
	added, removed := second.ACLsSince(first)
	var names []string
	for _, r := range added {
		names = append(names, r.ResourceName)
	}
	if want := []string{"other", "d", "e"}; !slices.Equal(names, want) || !slices.Equal(removed, []wire.UUID{id(1)}) {
		t.Errorf("added %q, want %q; removed %v", names, want, removed)
	}
	if added, removed := second.ACLsSince(second); len(added)+len(removed) != 0 {
		t.Error(added, removed)
	}
	if n := len(slices.Collect(second.EachACL())); n != 4 || len(second.ACLs()) != n {
		t.Error(n)
	}
}
