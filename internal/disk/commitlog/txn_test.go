package commitlog

import (
	"slices"
	"testing"

	"github.com/moldau/moldau/internal/disk/vfs"
)

// TestTornTxnIndex: a power cut can leave an entry of which a part is zero. What recovery has found again counts and replaces it.
func TestTornTxnIndex(t *testing.T) {
	disk := vfs.NewSim(vfs.SimConfig{Seed: 1})
	if err := disk.MkdirAll("/d"); err != nil {
		t.Fatal(err)
	}
	const path, base = "/d/00000000000000000010.txnindex", 10
	first, second := AbortedTxn{1, 12, 14, 15}, AbortedTxn{2, 16, 18, 19}
	for _, torn := range []AbortedTxn{{0, 0, 18, 19}, {2, 0, 18, 19}, {0, 16, 18, 0}, {0, 0, 0, 0}} {
		f, err := disk.Edit(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt(appendTxn(appendTxn(nil, &first), &torn), 0); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if got, err := readTxns(disk, path, base); err != nil || !slices.Equal(until(got, []AbortedTxn{second}), []AbortedTxn{first}) {
			t.Errorf("%v: read %v, %v", torn, got, err)
		}
		if err := writeTxns(disk, path, base, []AbortedTxn{second}); err != nil {
			t.Fatal(err)
		}
		if got, err := readTxns(disk, path, base); err != nil || !slices.Equal(got, []AbortedTxn{first, second}) {
			t.Errorf("%v: written anew it is %v, %v", torn, got, err)
		}
	}
	if got := parseTxns(make([]byte, txnEntryBytes), 0); len(got) > 0 {
		t.Errorf("nothing but zeros is %v", got)
	}
	if got := parseTxns(appendTxn(nil, &first), 20); len(got) > 0 {
		t.Errorf("an entry of another segment is %v", got)
	}
}
