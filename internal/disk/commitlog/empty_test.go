package commitlog_test

import (
	"fmt"
	"slices"
	"testing"
)

// TestEmptyLogHasItsIndexFiles: Kafka reports a log without them as damaged. It may never have been written to, or
// have been found empty by this start.
func TestEmptyLogHasItsIndexFiles(t *testing.T) {
	w := newWorld(t, 1)
	for life := range 2 {
		w.hand.Run()
		if err := w.store.CloseClean(7); err != nil {
			t.Fatal(err)
		}
		entries, err := w.disk.Mount().List("/data/t0-0")
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range entries {
			names = append(names, e.Name)
		}
		for _, suffix := range []string{".log", ".index", ".timeindex"} {
			if !slices.Contains(names, fmt.Sprintf("%020d%s", 0, suffix)) {
				t.Fatalf("life %d: no %s: %v", life, suffix, names)
			}
		}
		w.open()
		if r := w.store.Report(); !r.Clean || len(r.Notes) > 0 {
			t.Fatalf("%+v", r)
		}
	}
}
