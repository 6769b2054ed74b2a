package edge

import "net/netip"

// turns is a line of connections that wait for the same thing. Their addresses take turns, one that was not in the line is
// next; and of an address whoever came last is served next: under a flood of peers that do not go on, waiting behind those
// who came before would mean waiting for all of them. It has no lock of its own.
type turns struct {
	of    map[netip.Addr][]*waiter // of an address, in the order they came
	order []netip.Addr             // the keys of of; the last is next
	count int                      // of waiters; bounded by the number of guests
}

type waiter struct {
	conn  *Conn
	ip    netip.Addr
	ready chan bool // what came of the wait
}

// wait puts a connection into the line.
func (t *turns) wait(c *Conn, ip netip.Addr) *waiter {
	w := &waiter{c, ip, make(chan bool, 1)}
	if t.of == nil {
		t.of = make(map[netip.Addr][]*waiter)
	}
	if len(t.of[ip]) == 0 {
		t.order = append(t.order, ip)
	}
	t.of[ip] = append(t.of[ip], w)
	t.count++
	return w
}

// next takes out who is served next; nil when nobody waits.
func (t *turns) next() *waiter {
	end := len(t.order) - 1
	if end < 0 {
		return nil
	}
	ip := t.order[end]
	copy(t.order[1:], t.order[:end])
	t.order[0] = ip // its next turn is after all others'
	of := t.of[ip]
	w := of[len(of)-1]
	t.drop(w)
	return w
}

// drop takes w out of the line, and reports that it was in it.
func (t *turns) drop(w *waiter) bool {
	of := t.of[w.ip]
	for i := len(of) - 1; i >= 0; i-- {
		if of[i] != w {
			continue
		}
		t.count--
		copy(of[i:], of[i+1:])
		of[len(of)-1] = nil
		if of = of[:len(of)-1]; len(of) > 0 {
			t.of[w.ip] = of
			return true
		}
		delete(t.of, w.ip)
		for i, ip := range t.order {
			if ip == w.ip {
				t.order = append(t.order[:i], t.order[i+1:]...)
				break
			}
		}
		return true
	}
	return false
}
