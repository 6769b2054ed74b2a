package controller

import (
	"slices"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/acl"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// cidrVersion is 4.4-IV1, from which on a rule's host may be a network (KIP-1276).
const cidrVersion = 32

// rules decides on ACLs.
type rules struct{ *decider }

// createACLs adds rules. Each succeeds or fails by itself; one that is there already, or twice in the request, is no error.
func (d rules) createACLs(r *wire.CreateAclsRequest) Decision {
	reply := &wire.CreateAclsResponse{Results: make([]wire.CreateAclsResponseAclCreationResult, len(r.Creations))}
	results := reply.Results
	for i := range r.Creations {
		results[i].SetDefaults()
	}
	// ANY stands in filters only. Kafka cannot make a rule of it, and fails the whole request.
	if slices.ContainsFunc(r.Creations, hasAny) {
		for i := range results {
			results[i].ErrorCode, results[i].ErrorMessage = wire.UnknownServerError, nil
		}
		return Decision{Reply: reply}
	}
	var add []acl.Rule
	for i := range r.Creations {
		rule, f := d.check(&r.Creations[i])
		if f != nil {
			results[i].ErrorCode, results[i].ErrorMessage = f.parts()
			continue
		}
		add = append(add, rule)
	}
	add = d.without(add)
	if len(add) > MaxRecordsPerRequest {
		f := refuse(wire.PolicyViolation, "Unable to perform excessively large batch operation.")
		for i := range results {
			if results[i].ErrorCode == wire.None {
				results[i].ErrorCode, results[i].ErrorMessage = f.parts()
			}
		}
		return Decision{Reply: reply}
	}
	for i := range add {
		add[i].ID = d.newID()
		d.add(add[i].Record())
	}
	return d.done(reply, false)
}

func hasAny(c wire.CreateAclsRequestAclCreation) bool {
	return acl.ResourceType(c.ResourceType) == acl.AnyResource || acl.PatternType(c.ResourcePatternType) == acl.AnyPattern ||
		acl.PatternType(c.ResourcePatternType) == acl.Match || acl.Operation(c.Operation) == acl.AnyOperation ||
		acl.Permission(c.PermissionType) == acl.AnyPermission
}

// check makes a rule of what a client wants, or says why it is none.
func (d rules) check(c *wire.CreateAclsRequestAclCreation) (acl.Rule, *fault) {
	r := acl.Rule{
		Type: acl.ResourceType(c.ResourceType).Known(), Name: c.ResourceName, Pattern: acl.PatternType(c.ResourcePatternType).Known(),
		Principal: c.Principal, Host: c.Host, Operation: acl.Operation(c.Operation).Known(), Permission: acl.Permission(c.PermissionType).Known(),
	}
	_, _, principal := acl.SplitPrincipal(r.Principal)
	switch {
	case r.Type == acl.Cluster && r.Name != acl.ClusterName:
		return r, refuse(wire.InvalidRequest, "The only valid name for the CLUSTER resource is %s", acl.ClusterName)
	case r.Name == "":
		return r, refuse(wire.InvalidRequest, "Invalid empty resource name")
	case r.Type == acl.UnknownResource:
		return r, refuse(wire.InvalidRequest, "Invalid resourceType %s", r.Type)
	case r.Pattern == acl.UnknownPattern:
		return r, refuse(wire.InvalidRequest, "Invalid patternType %s", r.Pattern)
	case r.Operation == acl.UnknownOperation:
		return r, refuse(wire.InvalidRequest, "Invalid operation %s", r.Operation)
	case r.Permission == acl.UnknownPermission:
		return r, refuse(wire.InvalidRequest, "Invalid permissionType %s", r.Permission)
	case !principal:
		return r, refuse(wire.InvalidRequest, "Could not parse principal from `%s` (no colon is present separating the principal type from the principal name)", r.Principal)
	}
	return r, d.checkHost(r.Host)
}

// checkHost refuses networks that cannot be read, or that brokers of the cluster's metadata.version do not know. Other text is taken as
// it is, as in Kafka: a host's name is never looked up, and matches nobody.
func (d rules) checkHost(host string) *fault {
	network := false
	for i := range len(host) {
		network = network || host[i] == '/'
	}
	switch {
	case host == "":
		return refuse(wire.InvalidRequest, "Host pattern cannot be null or empty")
	case !network:
		return nil
	case d.image.MetadataVersion() < cidrVersion:
		return refuse(wire.UnsupportedVersion, "CIDR-based ACL host patterns require metadata version %s or higher.", metadata.VersionName(cidrVersion))
	}
	if _, err := acl.ParseNetwork(host); err != nil {
		return refuse(wire.InvalidRequest, "Invalid CIDR notation '%s': %s", host, err)
	}
	return nil
}

// without drops rules that there are already, and repetitions.
func (d rules) without(add []acl.Rule) []acl.Rule {
	if len(add) == 0 {
		return nil
	}
	known := make(map[acl.Rule]bool, len(add))
	for _, r := range add {
		known[r] = false
	}
	for record := range d.image.EachACL() { //unordered: what is there is marked
		r := acl.RuleOf(record)
		r.ID = wire.UUID{}
		if _, ok := known[r]; ok {
			known[r] = true
		}
	}
	return slices.DeleteFunc(add, func(r acl.Rule) bool {
		there := known[r]
		known[r] = true
		return there
	})
}

// deleteACLs removes what filters pick. All filters look at the same rules: one that two of them pick is told twice.
func (d rules) deleteACLs(r *wire.DeleteAclsRequest) Decision {
	reply := &wire.DeleteAclsResponse{FilterResults: make([]wire.DeleteAclsResponseDeleteAclsFilterResult, len(r.Filters))}
	gone := map[wire.UUID]bool{}
	all := d.ordered()
	for i := range r.Filters {
		out := &reply.FilterResults[i]
		f := filterOf(&r.Filters[i])
		switch {
		case f.UnknownPattern():
			out.ErrorCode, out.ErrorMessage = refuse(wire.InvalidRequest, "Unknown patternFilter.").parts()
		case f.UnknownEntry():
			out.ErrorCode, out.ErrorMessage = refuse(wire.InvalidRequest, "Unknown entryFilter.").parts()
		default:
			for _, rule := range all {
				if f.Matches(rule) {
					out.MatchingAcls = append(out.MatchingAcls, picked(rule))
					gone[rule.ID] = true
				}
			}
		}
		if len(gone) > MaxRecordsPerRequest {
			return Decision{Reply: tooManyACLs(len(r.Filters))}
		}
	}
	for _, rule := range all {
		if gone[rule.ID] {
			d.add(&wire.RemoveAccessControlEntryRecord{ID: rule.ID})
		}
	}
	return d.done(reply, false)
}

// ordered is the rules in the order in which answers have them.
func (d rules) ordered() []*acl.Rule {
	var all []*acl.Rule
	for _, record := range d.image.ACLs() {
		r := acl.RuleOf(record)
		all = append(all, &r)
	}
	slices.SortStableFunc(all, acl.Compare)
	return all
}

// tooManyACLs refuses all filters of a request.
func tooManyACLs(filters int) *wire.DeleteAclsResponse {
	out := &wire.DeleteAclsResponse{FilterResults: make([]wire.DeleteAclsResponseDeleteAclsFilterResult, filters)}
	for i := range out.FilterResults {
		out.FilterResults[i].ErrorCode, out.FilterResults[i].ErrorMessage =
			refuse(wire.InvalidRequest, "Cannot remove more than %d acls in a single delete operation.", MaxRecordsPerRequest).parts()
	}
	return out
}

// filterOf is the filter that a request has.
func filterOf(f *wire.DeleteAclsRequestDeleteAclsFilter) acl.Filter {
	return acl.Filter{
		Type: acl.ResourceType(f.ResourceTypeFilter), Name: f.ResourceNameFilter, Pattern: acl.PatternType(f.PatternTypeFilter),
		Principal: f.PrincipalFilter, Host: f.HostFilter, Operation: acl.Operation(f.Operation), Permission: acl.Permission(f.PermissionType),
	}
}

// picked is how a removed rule is told.
func picked(r *acl.Rule) wire.DeleteAclsResponseDeleteAclsMatchingAcl {
	return wire.DeleteAclsResponseDeleteAclsMatchingAcl{
		ResourceType: int8(r.Type), ResourceName: r.Name, PatternType: int8(r.Pattern), Principal: r.Principal, Host: r.Host,
		Operation: int8(r.Operation), PermissionType: int8(r.Permission),
	}
}
