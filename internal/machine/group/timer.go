package group

import "github.com/moldau/moldau/internal/machine/deadline"

// timerKind tells what happens when a timer fires.
type timerKind uint8

const (
	timerSession   timerKind = iota // a member was not heard of
	timerPending                    // a member id that was given out was not used
	timerInitial                    // a step of the initial delay of a new group
	timerJoin                       // the members that have not rejoined are out
	timerSync                       // the members that have not synced are out
	timerRetention                  // look for expired offsets
	timerRebalance                  // a member of a consumer group has not given up its partitions
)

// timer is a thing to do at a time.
type timer struct {
	deadline.Deadline
	kind     timerKind
	group    *group
	member   *member
	memberID string // timerPending
	consumer *consumerMember
}

// timers is a queue of timers.
type timers = deadline.Queue[*timer]
