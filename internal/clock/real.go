package clock

import (
	crand "crypto/rand"
	"encoding/binary"
	"sync"
	"time"
)

// Real is the machine's own time, chance and goroutines. The zero value is
// ready; Wait returns when every background function has.
type Real struct {
	running sync.WaitGroup
}

var _ World = (*Real)(nil)

// origin is the fixed point of Mono.
var origin = time.Now()

// Now is the system's wall clock.
func (*Real) Now() time.Time { return time.Now() }

// Mono is the time since the process started.
func (*Real) Mono() time.Duration { return time.Since(origin) }

// AfterFunc is time.AfterFunc.
func (*Real) AfterFunc(d time.Duration, f func()) Timer { return time.AfterFunc(d, f) }

// Go starts a goroutine.
func (r *Real) Go(_ string, f func()) { r.running.Go(f) }

// Wait returns when every function given to Go has returned. It is for the
// end of a process's or a test's life.
func (r *Real) Wait() { r.running.Wait() }

// Uint64 reads the operating system's random source.
func (*Real) Uint64() uint64 {
	var b [8]byte
	crand.Read(b[:]) //nolint:errcheck // documented never to fail
	return binary.LittleEndian.Uint64(b[:])
}
