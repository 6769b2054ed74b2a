package streams

import (
	"maps"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/assign"
)

// reconciliation brings one member towards its target.
type reconciliation struct {
	group       *group
	member      *member
	target      *target
	targetEpoch int32
	owned       *holding // what the member says it has, nil if it does not say
}

// next is the member's progress after what it has said.
func (r *reconciliation) next() (progress, *failure) {
	p := r.member.progress
	switch p.state {
	case stateStable:
		if p.epoch == r.targetEpoch {
			return p, nil
		}
		return r.towards(p.epoch), nil
	case stateUnrevoked:
		if r.owned == nil || r.owned.overlaps(&p.revoking) {
			return p, nil
		}
		return r.towards(p.epoch + 1), nil
	case stateUnreleased:
		return r.towards(p.epoch), nil
	default: // written by a newer version
		if r.owned == nil || !r.owned.empty() {
			return p, failed(wire.FencedMemberEpoch, "The streams group member is in a unknown state. "+
				"The member must abandon all its tasks and rejoin.")
		}
		return r.towards(r.targetEpoch), nil
	}
}

// towards takes what the member need not have any more, and, when it has nothing left to give up, gives it what is
// free. epoch is the member's until it has given everything up.
func (r *reconciliation) towards(epoch int32) progress {
	kept, revoking, gained := emptyHolding(), emptyHolding(), emptyHolding()
	assigned := r.member.assigned.roles()
	targets := [roles]assign.Tasks{r.target.active, r.target.standby, r.target.warmup}
	keptIn, revokingIn, gainedIn := kept.roles(), revoking.roles(), gained.roles()
	waits := false
	for role := range roles {
		if r.divide(role, assigned[role], targets[role], keptIn[role], revokingIn[role], gainedIn[role]) {
			waits = true
		}
	}
	out := progress{epoch: r.targetEpoch, previous: r.member.epoch, state: stateStable, assigned: kept, revoking: emptyHolding()}
	switch {
	case !revoking.empty() && (r.owned == nil || r.owned.overlaps(&revoking)):
		out.state, out.epoch, out.revoking = stateUnrevoked, epoch, revoking
		return out
	case waits:
		out.state = stateUnreleased
	}
	out.assigned.add(&gained)
	return out
}

// divide sorts the tasks of one role into those that stay, that go and that come, and says whether some have to wait
// for others to let them go.
func (r *reconciliation) divide(role int, current tasks, want assign.Tasks, kept, revoking, gained tasks) (waits bool) {
	maps.Copy(revoking, current)
	for _, s := range want {
		for _, p := range s.Partitions {
			t := task{s.Subtopology, p}
			epoch, has := current[t]
			switch {
			case has:
				kept[t] = epoch
				delete(revoking, t)
			case !r.group.free(role, t, r.member.process):
				waits = true
			case role == active:
				gained[t] = r.targetEpoch
			default:
				gained[t] = 0
			}
		}
	}
	return waits
}
