// Package clock is the only door to time, chance and background work.
//
// Duty: everything below the listeners takes a [World] and asks it for the
// time, for timers, for random numbers and for work to be done in the
// background. In production [Real] answers with the operating system's; in
// simulation [Hand] answers from one seed on one goroutine, so that a whole
// node, or a cluster, repeats to the byte.
//
// Invariants: nothing but this package calls time.Now, starts a timer, reads
// math/rand, or uses the go statement below the listeners (internal/tidy
// checks it). It must never hold a lock while it calls back.
package clock

import "time"

// Clock tells the time and runs callbacks later.
type Clock interface {
	// Now is the wall clock. It may jump either way.
	Now() time.Time
	// Mono is the time since some fixed point; it never goes back.
	Mono() time.Duration
	// AfterFunc calls f once, in the background, when d has passed.
	AfterFunc(d time.Duration, f func()) Timer
}

// Timer is a pending call of [Clock.AfterFunc].
type Timer interface {
	// Stop prevents the call and reports whether it did.
	Stop() bool
	// Reset makes the call happen d from now, and reports whether it was still pending.
	Reset(d time.Duration) bool
}

// Go runs work in the background.
type Go interface {
	// Go calls f soon, on another goroutine (in simulation: on the same one,
	// when the current event has ended). name says what it is, for reports.
	Go(name string, f func())
}

// Rand gives random numbers.
type Rand interface {
	// Uint64 gives 64 uniformly random bits. In production they come from a
	// cryptographically strong source.
	Uint64() uint64
}

// World is what a part that is simulated takes instead of the machine.
type World interface {
	Clock
	Go
	Rand
}

// Millis is t as Kafka writes time: milliseconds since the Unix epoch.
func Millis(t time.Time) int64 { return t.UnixMilli() }

// UUIDBits draws the 128 random bits of a version 4 UUID from r (RFC 9562).
func UUIDBits(r Rand) (id [16]byte) {
	hi, lo := r.Uint64(), r.Uint64()
	for i := range 8 {
		id[i] = byte(hi >> (56 - 8*i))
		id[8+i] = byte(lo >> (56 - 8*i))
	}
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}
