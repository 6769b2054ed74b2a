package streams

import "github.com/moldau/moldau/internal/machine/deadline"

// timerKind tells what happens when a timer fires.
type timerKind uint8

const (
	timerSession   timerKind = iota // a member was not heard of
	timerRebalance                  // a member has not given up its tasks
	timerInitial                    // the first assignment of a group has waited long enough
)

// timer is a thing to do at a time.
type timer struct {
	deadline.Deadline
	kind   timerKind
	group  *group
	member *member
}

// timers is a queue of timers.
type timers = deadline.Queue[*timer]
