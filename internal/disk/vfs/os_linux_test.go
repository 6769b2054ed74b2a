package vfs

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestFullDiskIsNamed uses the device that answers ENOSPC to every write.
func TestFullDiskIsNamed(t *testing.T) {
	f, err := NewOS().Edit("/dev/full")
	if err != nil {
		t.Skip(err)
	}
	defer f.Close()
	if _, err := f.WriteAt([]byte("x"), 0); !errors.Is(err, ErrNoSpace) {
		t.Errorf("WriteAt: %v", err)
	}
	if _, err := f.WriteBuffers([][]byte{[]byte("x"), []byte("y")}, 0); !errors.Is(err, ErrNoSpace) {
		t.Errorf("WriteBuffers: %v", err)
	}
}

const lockFileVariable = "MOLDAU_TEST_LOCK_FILE"

// TestLockExcludesOtherProcesses starts this test again as another process.
func TestLockExcludesOtherProcesses(t *testing.T) {
	if path := os.Getenv(lockFileVariable); path != "" {
		_, err := NewOS().Lock(path)
		if errors.Is(err, ErrLocked) {
			os.Exit(3)
		}
		if err != nil {
			t.Fatal(err)
		}
		os.Exit(4)
	}
	path := filepath.Join(t.TempDir(), ".lock")
	other := func() int {
		c := exec.Command(os.Args[0], "-test.run=^TestLockExcludesOtherProcesses$")
		c.Env = append(os.Environ(), lockFileVariable+"="+path)
		var exit *exec.ExitError
		if err := c.Run(); !errors.As(err, &exit) {
			t.Fatalf("the other process: %v", err)
		}
		return exit.ExitCode()
	}
	l, err := NewOS().Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	// A refused second attempt must not give the first lock away.
	if _, err := NewOS().Lock(path); !errors.Is(err, ErrLocked) {
		t.Fatalf("second lock in this process: %v", err)
	}
	if code := other(); code != 3 {
		t.Fatalf("another process got the lock: %d", code)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if code := other(); code != 4 {
		t.Fatalf("another process did not get the free lock: %d", code)
	}
}

// TestHotPathAllocations: reads and small vectored writes take nothing from the heap.
func TestHotPathAllocations(t *testing.T) {
	f, err := NewOS().Edit(filepath.Join(t.TempDir(), "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p := make([]byte, 4096)
	bufs := [][]byte{p[:10], p[10:100], p}
	if n := testing.AllocsPerRun(100, func() {
		_, err = f.WriteBuffers(bufs, 0)
		_, coldErr := f.ReadCold(p, 0)
		_, readErr := f.ReadAt(p, 0)
		if err := errors.Join(err, coldErr, readErr, f.Sync()); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestSkipWhatAShortWriteWrote(t *testing.T) {
	bufs := [][]byte{make([]byte, 3), nil, make([]byte, 2), nil}
	for n, want := range [][2]int{{0, 0}, {0, 1}, {0, 2}, {2, 0}, {2, 1}, {4, 0}} {
		if done, inside := skip(bufs, n); [2]int{done, inside} != want {
			t.Errorf("%d bytes: %d buffers and %d bytes, want %v", n, done, inside, want)
		}
	}
}
