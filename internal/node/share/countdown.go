package share

import "sync/atomic"

// countdown calls a function when the last of several is done.
type countdown struct {
	left atomic.Int32
	then func()
}

func newCountdown(n int, then func()) *countdown {
	c := &countdown{then: then}
	c.left.Store(int32(n))
	return c
}

func (c *countdown) done() {
	if c.left.Add(-1) == 0 {
		c.then()
	}
}
