//go:build !linux

package edge

import (
	"net"
	"syscall"
)

// rawOf: elsewhere than on Linux every connection is an ordinary stream.
func rawOf(net.Conn) syscall.RawConn { return nil }

func (in *reader) readSome(uintptr) bool { return true }

// plain is empty: see socket_linux.go.
type plain struct{}

func (w *writer) bind() {}

func (w *writer) sendRaw() progress { return failed }

// setBuffers leaves the system's sizes.
func setBuffers(uintptr, int, int) error { return nil }

// tellStranger says nothing: a stream cannot be asked whether it would block.
func (c *Conn) tellStranger(string) {}

// hungUpOn is never called here.
func hungUpOn(syscall.RawConn) bool { return false }

// readSecure is never called here.
func (in *reader) readSecure(uintptr) bool { return true }

// Read waits for bytes.
func (b *below) Read(p []byte) (int, error) { return b.await(p) }

// awaitFirst returns at once: readiness cannot be asked.
func (b *below) awaitFirst() error { return nil }

// push is never called here.
func (b *below) push(bool) error { return nil }
