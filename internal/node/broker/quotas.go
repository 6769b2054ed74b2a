package broker

import (
	"maps"
	"slices"
	"strconv"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
	"github.com/moldau/moldau/internal/network/edge"
)

// How a part of an entity is matched (KIP-546).
const (
	matchExact int8 = iota
	matchDefault
	matchSpecified
)

// quotaFilter is which part of an entity must have which name; a nil name is the default entity.
type quotaFilter struct {
	kind string
	name *string
	any  bool
}

// serveDescribeClientQuotas tells the limits of the entities that a filter selects (KIP-546).
func serveDescribeClientQuotas(b *Broker, _ *edge.Request, m *wire.DescribeClientQuotasRequest) *wire.DescribeClientQuotasResponse {
	out := &wire.DescribeClientQuotasResponse{}
	out.SetDefaults()
	filters, code, message := quotaFilters(m.Components)
	if code != wire.None {
		out.ErrorCode, out.ErrorMessage, out.Entries = code, &message, nil
		return out
	}
	out.Entries = []wire.DescribeClientQuotasResponseEntryData{}
	for _, q := range b.image().Quotas() {
		if m.Strict && len(q.Entity) != len(filters) || !quotaMatches(q, filters) {
			continue
		}
		var e wire.DescribeClientQuotasResponseEntryData
		for _, part := range q.Entity {
			e.Entity = append(e.Entity, wire.DescribeClientQuotasResponseEntityData(part))
		}
		for _, key := range slices.Sorted(maps.Keys(q.Values)) {
			e.Values = append(e.Values, wire.DescribeClientQuotasResponseValueData{Key: key, Value: q.Values[key]})
		}
		out.Entries = append(out.Entries, e)
	}
	return out
}

// quotaFilters checks what is asked for.
func quotaFilters(components []wire.DescribeClientQuotasRequestComponentData) ([]quotaFilter, wire.Code, string) {
	var filters []quotaFilter
	has := func(kind string) bool {
		return slices.ContainsFunc(filters, func(f quotaFilter) bool { return f.kind == kind })
	}
	for _, c := range components {
		switch {
		case c.EntityType == "":
			return nil, wire.InvalidRequest, "Invalid empty entity type."
		case has(c.EntityType):
			return nil, wire.InvalidRequest, "Entity type " + c.EntityType + " cannot appear more than once in the filter."
		case c.EntityType != "user" && c.EntityType != "client-id" && c.EntityType != "ip":
			return nil, wire.UnsupportedVersion, "Unsupported entity type " + c.EntityType
		case c.MatchType == matchExact && c.Match == nil:
			return nil, wire.InvalidRequest, "Request specified MATCH_TYPE_EXACT, but set match string to null."
		case c.MatchType == matchDefault && c.Match != nil:
			return nil, wire.InvalidRequest, "Request specified MATCH_TYPE_DEFAULT, but also specified a match string."
		case c.MatchType == matchSpecified && c.Match != nil:
			return nil, wire.InvalidRequest, "Request specified MATCH_TYPE_SPECIFIED, but also specified a match string."
		case c.MatchType < matchExact || c.MatchType > matchSpecified:
			return nil, wire.InvalidRequest, "Unknown match type " + strconv.Itoa(int(c.MatchType))
		}
		filters = append(filters, quotaFilter{kind: c.EntityType, name: c.Match, any: c.MatchType == matchSpecified})
	}
	if has("ip") && len(filters) > 1 {
		return nil, wire.InvalidRequest, "Invalid entity filter component combination. IP filter component should not be used with user or clientId filter component."
	}
	return filters, wire.None, ""
}

func quotaMatches(q *metadata.Quota, filters []quotaFilter) bool {
	for _, f := range filters {
		at := slices.IndexFunc(q.Entity, func(e wire.ClientQuotaRecordEntityData) bool { return e.EntityType == f.kind })
		if at < 0 {
			return false
		}
		if name := q.Entity[at].EntityName; !f.any && ((name == nil) != (f.name == nil) || name != nil && *name != *f.name) {
			return false
		}
	}
	return true
}
