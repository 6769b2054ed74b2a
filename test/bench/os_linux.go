package main

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// rawDropper lets the kernel throw received bytes away, which costs the client next to nothing.
type rawDropper struct {
	raw syscall.RawConn
	buf []byte
}

func newRawDropper(c *net.TCPConn) (rawDropper, error) {
	raw, err := c.SyscallConn()
	return rawDropper{raw: raw, buf: make([]byte, fetchBytes)}, err
}

func (d *rawDropper) drop(n int) error {
	for n > 0 {
		var got int
		var failed error
		err := d.raw.Read(func(fd uintptr) bool {
			got, _, failed = unix.Recvfrom(int(fd), d.buf[:min(n, len(d.buf))], unix.MSG_TRUNC|unix.MSG_DONTWAIT)
			return failed != unix.EAGAIN
		})
		switch {
		case err != nil:
			return err
		case failed == unix.EINTR:
			continue
		case failed != nil:
			return failed
		case got == 0:
			return net.ErrClosed
		}
		n -= got
	}
	return nil
}

// newPace gives a function that waits for a moment to within some ten microseconds: the runtime's timers, which are
// up to a millisecond late on an idle machine, are not fit to tell a latency of half of that. Both must be called on
// the same goroutine.
func newPace() (wait func(time.Time), release func()) {
	runtime.LockOSThread()
	_ = unix.Prctl(unix.PR_SET_TIMERSLACK, 1_000, 0, 0, 0) // coarser waits only mean later sends, which are measured
	wait = func(at time.Time) {
		for left := time.Until(at); left > 0; left = time.Until(at) {
			ts := unix.NsecToTimespec(int64(left))
			_ = unix.Nanosleep(&ts, nil) // interrupted: the loop goes on
		}
	}
	return wait, runtime.UnlockOSThread
}

// tie makes a server die with the benchmark.
func tie(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// reportingOrder is from which size on, as a power of two, the kernel tells the hypervisor of free pages; none has 11.
const reportingOrder = "/sys/module/page_reporting/parameters/page_reporting_order"

// holdMemory keeps the hypervisor from taking free memory back, and touches n bytes of it, until release is called.
// Without it a page that was free is fetched from the hypervisor when it is used again, at up to ten times the cost of
// filling it, and that is counted as the CPU of whoever writes into the page cache.
func holdMemory(n int64) (release func(), err error) {
	before, err := os.ReadFile(reportingOrder)
	if errors.Is(err, os.ErrNotExist) {
		before, err = nil, nil // nobody takes anything
	}
	if err == nil && before != nil {
		err = os.WriteFile(reportingOrder, []byte("11"), 0)
	}
	if err != nil {
		return nil, fmt.Errorf("-hold needs root: %w", err)
	}
	m, err := unix.Mmap(-1, 0, int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_POPULATE)
	if err == nil {
		err = unix.Munmap(m)
	}
	release = func() {
		if before != nil {
			_ = os.WriteFile(reportingOrder, bytes.TrimSpace(before), 0) // it worked a moment ago
		}
	}
	return release, err
}

// syncDisks writes out what earlier measurements have left in the page cache.
func syncDisks() { unix.Sync() }
