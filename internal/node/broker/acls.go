package broker

import (
	"errors"
	"slices"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/acl"
	"github.com/moldau/moldau/internal/network/edge"
)

// errUnknownACL is why a connection ends whose client asks with the code that Kafka keeps for what it cannot read.
var errUnknownACL = errors.New("the request has an element of an ACL that is UNKNOWN")

// decidesByRules says whether there are rules to show and change: not without an authorizer, nor with one that only remembers.
func decidesByRules(b *Broker) bool { return b.authorizer != nil && b.authorizer.Rules() != nil }

// unknownACL says whether one of the codes is that of UNKNOWN.
func unknownACL(codes ...int8) bool { return slices.Contains(codes, 0) }

// serveDescribeACLs tells the rules that a filter picks, a resource after the other.
func serveDescribeACLs(b *Broker, q *edge.Request, m *wire.DescribeAclsRequest, answer func(*wire.DescribeAclsResponse)) {
	if unknownACL(m.ResourceTypeFilter, m.PatternTypeFilter, m.Operation, m.PermissionType) {
		q.Hangup(errUnknownACL)
		return
	}
	out := &wire.DescribeAclsResponse{}
	out.SetDefaults()
	if !decidesByRules(b) {
		out.ErrorCode, out.ErrorMessage = wire.SecurityDisabled, text("No Authorizer is configured on the broker")
		answer(out)
		return
	}
	f := acl.Filter{
		Type: acl.ResourceType(m.ResourceTypeFilter), Name: m.ResourceNameFilter, Pattern: acl.PatternType(m.PatternTypeFilter),
		Principal: m.PrincipalFilter, Host: m.HostFilter, Operation: acl.Operation(m.Operation), Permission: acl.Permission(m.PermissionType),
	}
	out.Resources = describedACLs(b.image().ACLs(), &f)
	answer(out)
}

// describedACLs sorts the rules that a filter picks by what they are about.
func describedACLs(records []*wire.AccessControlEntryRecord, f *acl.Filter) []wire.DescribeAclsResponseDescribeAclsResource {
	var picked []*acl.Rule
	for _, record := range records {
		if r := acl.RuleOf(record); f.Matches(&r) {
			picked = append(picked, &r)
		}
	}
	slices.SortFunc(picked, acl.Compare)
	var out []wire.DescribeAclsResponseDescribeAclsResource
	for i, r := range picked {
		if i == 0 || acl.CompareResource(picked[i-1], r) != 0 {
			out = append(out, wire.DescribeAclsResponseDescribeAclsResource{ResourceType: int8(r.Type), ResourceName: r.Name, PatternType: int8(r.Pattern)})
		}
		last := &out[len(out)-1]
		last.Acls = append(last.Acls, wire.DescribeAclsResponseAclDescription{
			Principal: r.Principal, Host: r.Host, Operation: int8(r.Operation), PermissionType: int8(r.Permission),
		})
	}
	return out
}

func refuseDescribeACLs(*wire.DescribeAclsRequest) *wire.DescribeAclsResponse {
	return &wire.DescribeAclsResponse{ErrorCode: notOnCluster, ErrorMessage: text(clusterRefusal)}
}

// serveCreateACLs has the controller add rules.
func serveCreateACLs(b *Broker, q *edge.Request, m *wire.CreateAclsRequest, answer func(*wire.CreateAclsResponse)) {
	unknown := slices.ContainsFunc(m.Creations, func(c wire.CreateAclsRequestAclCreation) bool {
		return unknownACL(c.ResourceType, c.ResourcePatternType, c.Operation, c.PermissionType)
	})
	proposeACLs(b, q, m, unknown, failCreateACLs, answer)
}

// proposeACLs has the controller change rules, unless the request cannot be read or nobody decides by rules.
func proposeACLs[M any, R response](b *Broker, q *edge.Request, m M, unknown bool, fail func(M, wire.Code, string) R, answer func(R)) {
	switch {
	case unknown:
		q.Hangup(errUnknownACL)
	case !decidesByRules(b):
		answer(fail(m, wire.SecurityDisabled, "No Authorizer is configured."))
	default:
		propose(b, q, m, answer)
	}
}

func refuseCreateACLs(m *wire.CreateAclsRequest) *wire.CreateAclsResponse {
	return failCreateACLs(m, notOnCluster, clusterRefusal)
}

func failCreateACLs(m *wire.CreateAclsRequest, code wire.Code, message string) *wire.CreateAclsResponse {
	type result = wire.CreateAclsResponseAclCreationResult
	return &wire.CreateAclsResponse{Results: each(m.Creations, func(*wire.CreateAclsRequestAclCreation) result {
		return result{ErrorCode: code, ErrorMessage: text(message)}
	})}
}

// serveDeleteACLs has the controller remove rules.
func serveDeleteACLs(b *Broker, q *edge.Request, m *wire.DeleteAclsRequest, answer func(*wire.DeleteAclsResponse)) {
	unknown := slices.ContainsFunc(m.Filters, func(f wire.DeleteAclsRequestDeleteAclsFilter) bool {
		return unknownACL(f.ResourceTypeFilter, f.PatternTypeFilter, f.Operation, f.PermissionType)
	})
	proposeACLs(b, q, m, unknown, failDeleteACLs, answer)
}

func refuseDeleteACLs(m *wire.DeleteAclsRequest) *wire.DeleteAclsResponse {
	return failDeleteACLs(m, notOnCluster, clusterRefusal)
}

func failDeleteACLs(m *wire.DeleteAclsRequest, code wire.Code, message string) *wire.DeleteAclsResponse {
	type result = wire.DeleteAclsResponseDeleteAclsFilterResult
	return &wire.DeleteAclsResponse{FilterResults: each(m.Filters, func(*wire.DeleteAclsRequestDeleteAclsFilter) result {
		return result{ErrorCode: code, ErrorMessage: text(message)}
	})}
}
