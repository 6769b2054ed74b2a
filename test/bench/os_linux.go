package main

import (
	"net"
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

// syncDisks writes out what earlier measurements have left in the page cache.
func syncDisks() { unix.Sync() }
