package group

import (
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
)

// classicType is the type of all groups of this machine, as ListGroups tells it.
const classicType = "classic"

// notFoundSince is the version of DescribeGroups that tells of missing groups (KIP-1043).
const notFoundSince = 6

// noOperations says in an answer that authorized operations were not asked for.
const noOperations = -1 << 31

// shown is the state as committed: a group that is being removed is still there.
func (g *group) shown() state {
	if g.state == stateDead {
		return stateEmpty
	}
	return g.state
}

// DescribeGroup describes one group. Who asks has to fill in authorized operations.
func (m *Machine) DescribeGroup(id string, version int16) wire.DescribeGroupsResponseDescribedGroup {
	out := wire.DescribeGroupsResponseDescribedGroup{
		GroupID: strings.Clone(id), GroupState: stateDead.String(), AuthorizedOperations: noOperations,
	}
	g := m.groups[id]
	if k := m.of(id); k != nil || g == nil {
		if version >= notFoundSince {
			text := "Group " + out.GroupID + " not found."
			if k != nil {
				text = "Group " + out.GroupID + " is not a classic group."
			}
			out.ErrorCode, out.ErrorMessage = wire.GroupIDNotFound, &text
		}
		return out
	}
	out.GroupState, out.ProtocolType = g.shown().String(), g.protocolType
	stable := g.state == stateStable
	if stable {
		out.ProtocolData = *g.protocol
	}
	out.Members = make([]wire.DescribeGroupsResponseDescribedGroupMember, len(g.order))
	for i, mb := range g.order {
		d := &out.Members[i]
		d.MemberID, d.GroupInstanceID = mb.id, mb.instanceID()
		d.ClientID, d.ClientHost, d.MemberAssignment = mb.clientID, mb.clientHost, mb.assignment
		if stable {
			d.MemberMetadata = mb.metadata(*g.protocol)
		}
	}
	return out
}

// ListGroups lists the groups whose state and type are among those given; none given means all. The case of both and
// blanks around a state do not matter.
func (m *Machine) ListGroups(states, types []string) []wire.ListGroupsResponseListedGroup {
	list := m.listKinds(states, types)
	if len(types) > 0 && !namesType(types, classicType) {
		return list
	}
	for _, id := range sortedKeys(m.groups) {
		g := m.groups[id]
		if len(states) > 0 && !containsFold(states, g.shown().String()) || m.of(id) != nil {
			continue
		}
		list = append(list, wire.ListGroupsResponseListedGroup{
			GroupID: g.id, ProtocolType: g.protocolType, GroupState: g.shown().String(), GroupType: classicType,
		})
	}
	return list
}

func containsFold(list []string, s string) bool {
	for _, e := range list {
		if strings.EqualFold(strings.TrimSpace(e), s) {
			return true
		}
	}
	return false
}

// namesType says whether a list of types names one; there must be no blanks around it.
func namesType(types []string, typ string) bool {
	return slices.ContainsFunc(types, func(s string) bool { return strings.EqualFold(s, typ) })
}
