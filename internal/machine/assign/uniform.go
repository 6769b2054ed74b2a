package assign

import "slices"

// Uniform spreads partitions evenly over the members and leaves as many as it can where they are: the assignor
// "uniform" of KIP-848.
func Uniform(members []Member, topics []Topic) []Assignment {
	switch {
	case len(members) == 0:
		return nil
	case !Homogeneous(members):
		return uniformMixed(members, topics)
	case len(members[0].Subscribed) == 0:
		return make([]Assignment, len(members))
	}
	u := &uniform{
		space: newSpace(topics, members[0].Subscribed), members: members,
		quota: make([]int32, len(members)), kept: make([][]int32, len(members)),
	}
	u.owned = u.owners()
	u.claim()
	u.keep()
	return u.fill()
}

// uniform is one run over members that have subscribed to the same topics.
type uniform struct {
	*space
	members []Member
	owned   []int32 // by partition: who has it now
	free    []int32 // partitions to give away, in the order in which they go
	quota   []int32 // by member: how many more it gets
	kept    [][]int32
	changed []bool
}

// claim notes who owns what, and which partitions nobody owns. A member that claims what it cannot have has changed.
func (u *uniform) claim() {
	u.changed = make([]bool, len(u.members))
	for i := range u.members {
		u.changed[i] = u.take(u.owned, int32(i), u.members[i].Owned)
	}
	for p, owner := range u.owned {
		if owner == nobody {
			u.free = append(u.free, int32(p))
		}
	}
}

// take gives a member what it owns, as far as that exists and nobody before it has it, and tells whether
// something was left out.
func (s *space) take(owners []int32, member int32, owned Assignment) (dropped bool) {
	for _, o := range owned {
		t, ok := s.index[o.Topic]
		if !ok {
			dropped = true
			continue
		}
		for _, p := range o.Partitions {
			if p < 0 || p >= s.topics[t].Partitions || owners[s.first[t]+p] != nobody {
				dropped = true
				continue
			}
			owners[s.first[t]+p] = member
		}
	}
	return dropped
}

// keep leaves each member what is within its quota and frees the rest. Members that have more than the smaller
// quota are the first to get one of the larger quotas, as long as enough members are left for the others.
func (u *uniform) keep() {
	count := len(u.members)
	least, extra := int32(u.total()/count), u.total()%count
	for i := range u.members {
		quota, larger := least, extra > 0
		if larger {
			quota++
		}
		for _, o := range u.members[i].Owned {
			t, ok := u.index[o.Topic]
			if !ok {
				continue
			}
			for _, p := range o.Partitions {
				if p < 0 || p >= u.topics[t].Partitions || u.owned[u.first[t]+p] != int32(i) {
					continue
				}
				if quota == 0 {
					u.free = append(u.free, u.first[t]+p)
					u.changed[i] = true
					continue
				}
				quota--
				u.kept[i] = append(u.kept[i], u.first[t]+p)
			}
		}
		if quota > 0 && larger && count-i > extra {
			quota, larger = quota-1, false
		}
		if larger {
			extra--
		}
		u.quota[i] = quota
	}
}

// fill gives the free partitions to the members with quota left.
func (u *uniform) fill() []Assignment {
	out := make([]Assignment, len(u.members))
	for i := range u.members {
		n := min(int(u.quota[i]), len(u.free))
		if n == 0 && !u.changed[i] {
			out[i] = u.members[i].Owned
			continue
		}
		numbers := append(u.kept[i], u.free[:n]...)
		u.free = u.free[n:]
		slices.Sort(numbers)
		out[i] = u.assignment(numbers)
	}
	return out
}
