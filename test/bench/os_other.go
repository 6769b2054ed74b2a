//go:build !linux

package main

import (
	"io"
	"net"
	"os/exec"
	"time"
)

// rawDropper reads bytes and forgets them.
type rawDropper struct {
	conn *net.TCPConn
	buf  []byte
}

func newRawDropper(c *net.TCPConn) (rawDropper, error) {
	return rawDropper{conn: c, buf: make([]byte, fetchBytes)}, nil
}

func (d *rawDropper) drop(n int) error {
	for n > 0 {
		k := min(n, len(d.buf))
		if _, err := io.ReadFull(d.conn, d.buf[:k]); err != nil {
			return err
		}
		n -= k
	}
	return nil
}

// newPace gives a function that waits for a moment.
func newPace() (wait func(time.Time), release func()) {
	return func(at time.Time) { <-time.After(time.Until(at)) }, func() {}
}

func tie(*exec.Cmd) {}

func syncDisks() {}

func holdMemory(int64) (release func(), err error) { return func() {}, nil }
