package journal

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/record"
)

func batchAt(t testing.TB, offset int64, size int) record.Batch {
	t.Helper()
	w := record.NewBuilder(nil, record.Options{BaseOffset: offset})
	w.Append(1, nil, bytes.Repeat([]byte{byte(offset)}, size))
	b, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	b.SetBaseOffset(offset)
	return b
}

// write writes one frame with one batch of each size, each for a partition of its own.
func write(t testing.TB, j *Journal, offset int64, sizes ...int) error {
	t.Helper()
	var f Frame
	for p, size := range sizes {
		b := batchAt(t, offset, size)
		f.Payload(b)
		f.Add(&Entry{Kind: Data, Partition: int32(p), Base: offset, End: offset + 1, Bytes: len(b), Check: CheckHeads(0, b)})
	}
	if err := j.Write(&f); err != nil {
		return err
	}
	return j.Sync()
}

func scan(t testing.TB, disk *vfs.Sim) *Found {
	t.Helper()
	found, err := Scan(disk, "/data")
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func open(t testing.TB, disk *vfs.Sim) *Journal {
	t.Helper()
	if err := errors.Join(disk.MkdirAll("/data"), disk.SyncDir("/")); err != nil {
		t.Fatal(err)
	}
	return New(disk, "/data", MinFileBytes, scan(t, disk), 99)
}

func TestFramesAreFoundInOrder(t *testing.T) {
	disk := vfs.NewSim(vfs.SimConfig{})
	next := int64(0)
	for life := range 3 {
		j := open(t, disk)
		for range 30 {
			if err := write(t, j, next, 100, 70000, 0); err != nil {
				t.Fatal(err)
			}
			next++
		}
		disk.Crash()
		found := scan(t, disk)
		if len(found.Items) != int(next)*3 || found.Torn != "" {
			t.Fatalf("life %d: %d entries of %d frames, torn %q", life, len(found.Items), next, found.Torn)
		}
		for i, it := range found.Items {
			if it.Base != int64(i/3) || it.Partition != int32(i%3) || it.Damaged {
				t.Fatalf("entry %d is %+v", i, it)
			}
		}
	}
}

func TestReleasedFilesAreUsedAgain(t *testing.T) {
	disk := vfs.NewSim(vfs.SimConfig{})
	j := open(t, disk)
	for i := range int64(200) {
		if err := write(t, j, i, 100000); err != nil {
			t.Fatal(err)
		}
		if i%20 == 19 {
			if err := j.Release(j.Last() - 3); err != nil {
				t.Fatal(err)
			}
			found := scan(t, disk)
			if last := found.Items[len(found.Items)-1]; last.Base != i || found.Next != j.Last()+1 {
				t.Fatalf("after frame %d the last one found is at %d", i, last.Base)
			}
		}
	}
	names, err := disk.List("/data/" + Folder)
	if err != nil || len(names) > 5 {
		t.Fatalf("%d files, %v", len(names), err)
	}
	if err := j.Remove(); err != nil {
		t.Fatal(err)
	}
	if scan(t, disk).Exists {
		t.Fatal("the folder is still there")
	}
}

func TestPowerCutLosesOnlyTheLastFrame(t *testing.T) {
	for seed := range uint64(200) {
		disk := vfs.NewSim(vfs.SimConfig{Seed: seed})
		j := open(t, disk)
		acked := int64(0)
		disk.CutAt(int64(seed%97) + 3)
		for i := range int64(40) {
			if write(t, j, i, 200, 90000) != nil {
				break
			}
			acked = i + 1
			if i%11 == 10 && j.Release(j.Last()-5) != nil {
				break
			}
		}
		disk.PowerCut(vfs.Mix)
		found, err := Scan(disk, "/data")
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		end := int64(0)
		for _, it := range found.Items {
			if it.Damaged {
				t.Fatalf("seed %d: %+v", seed, it)
			}
			end = it.End
		}
		if end < acked {
			t.Fatalf("seed %d: %d frames were durable, %d are found", seed, acked, end)
		}
	}
}

func TestFlippedBitIsTornOrCorrupt(t *testing.T) {
	torn, corrupt, damaged := 0, 0, 0
	for off := int64(page); off < 3*page+1000; off += 97 {
		disk := vfs.NewSim(vfs.SimConfig{})
		j := open(t, disk)
		for i := range int64(4) {
			if err := write(t, j, i, 900); err != nil {
				t.Fatal(err)
			}
		}
		if err := disk.FlipBit(fmt.Sprintf("/data/%s/%s", Folder, fileName(1)), off); err != nil {
			t.Fatal(err)
		}
		found, err := Scan(disk, "/data")
		var c *CorruptError
		switch {
		case errors.As(err, &c):
			corrupt++
		case err != nil:
			t.Fatal(err)
		case len(found.Items) < 4:
			torn++
		default:
			for _, it := range found.Items {
				if it.Damaged {
					damaged++
				}
			}
		}
	}
	// The frame before the last is proven durable by the last one.
	if torn > 0 || corrupt == 0 || damaged == 0 {
		t.Fatalf("%d torn, %d corrupt, %d damaged", torn, corrupt, damaged)
	}
}

func TestRefusedFrameDoesNotComeBack(t *testing.T) {
	disk := vfs.NewSim(vfs.SimConfig{})
	j := open(t, disk)
	if err := write(t, j, 0, 100); err != nil {
		t.Fatal(err)
	}
	remove := disk.Inject(vfs.Fault{Path: "*.journal", Ops: vfs.OpWrite, Err: vfs.ErrNoSpace})
	if err := write(t, j, 1, 100); !errors.Is(err, vfs.ErrNoSpace) {
		t.Fatal(err)
	}
	remove()
	if err := j.Erase(); err != nil {
		t.Fatal(err)
	}
	disk.PowerCut(vfs.Keep)
	if found := scan(t, disk); len(found.Items) != 1 {
		t.Fatalf("%+v", found.Items)
	}
}

func FuzzFrame(f *testing.F) {
	var frame Frame
	b := batchAt(f, 5, 50)
	frame.Payload(b)
	frame.Add(&Entry{Kind: Data, Base: 5, End: 6, Bytes: len(b), Check: CheckHeads(0, b)})
	frame.Add(&Entry{Kind: Mark, End: 7})
	frame.seal(1, 2, 1)
	f.Add(append(append([]byte(nil), frame.head...), b...))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, ok := parseHeader(b)
		if !ok {
			return
		}
		entries, ok := parseEntries(b, &h)
		if !ok {
			return
		}
		rest := b[h.headBytes():]
		for i := range entries {
			n := min(entries[i].Bytes, len(rest))
			checkPayload(&entries[i], rest[:n])
			rest = rest[n:]
		}
	})
}

func FuzzScan(f *testing.F) {
	disk := vfs.NewSim(vfs.SimConfig{})
	j := open(f, disk)
	for i := range int64(2) {
		if err := write(f, j, i, 60); err != nil {
			f.Fatal(err)
		}
	}
	seed, err := vfs.ReadFile(disk, "/data/"+Folder+"/"+fileName(1), MinFileBytes)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed[:4*page])
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 || len(b) > 64<<10 {
			return
		}
		disk := vfs.NewSim(vfs.SimConfig{})
		if err := disk.MkdirAll("/data/" + Folder); err != nil {
			t.Fatal(err)
		}
		file, err := disk.Edit("/data/" + Folder + "/" + fileName(1))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteAt(b, 0); err != nil {
			t.Fatal(err)
		}
		if found, err := Scan(disk, "/data"); err == nil && len(found.Items) > len(b)/entryBytes {
			t.Fatalf("%d entries in %d bytes", len(found.Items), len(b))
		}
	})
}
