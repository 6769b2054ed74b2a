package vfs

import (
	"bytes"
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
)

func TestWriteBuffersBeyondOneCall(t *testing.T) {
	f, err := NewOS().Edit(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var bufs [][]byte
	var want []byte
	for i := range 3*maxBuffers + 7 {
		b := bytes.Repeat([]byte{byte(i)}, i%5)
		bufs = append(bufs, b)
		want = append(want, b...)
	}
	n, err := f.WriteBuffers(bufs, 10)
	if err != nil || n != int64(len(want)) {
		t.Fatalf("wrote %d of %d: %v", n, len(want), err)
	}
	got := make([]byte, len(want))
	if _, err := f.ReadAt(got, 10); err != nil || !bytes.Equal(got, want) {
		t.Fatalf("read back differs: %v", err)
	}
}

func TestReadColdWithoutKernelSupport(t *testing.T) {
	for _, refused := range []bool{false, true} {
		o := NewOS()
		o.noDontCache.Store(refused)
		f, err := o.Edit(filepath.Join(t.TempDir(), "f"))
		if err != nil {
			t.Fatal(err)
		}
		want := bytes.Repeat([]byte("moldau"), 10_000)
		if _, err := f.WriteAt(want, 0); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(want)-6)
		if n, err := f.ReadCold(got, 6); err != nil || n != len(got) || !bytes.Equal(got, want[6:]) {
			t.Fatalf("refused=%v: %d bytes, %v", refused, n, err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := f.ReadCold(got, 0); !errors.Is(err, fs.ErrClosed) {
			t.Fatalf("a closed file answers %v", err)
		}
	}
}
