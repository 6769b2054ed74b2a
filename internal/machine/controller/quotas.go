package controller

import (
	"cmp"
	"math"
	"net/netip"
	"slices"
	"strings"

	"github.com/moldau/moldau/internal/format/wire"
)

// Types of the entities that quotas belong to (KIP-546, KIP-612).
const (
	quotaUser   = "user"
	quotaClient = "client-id"
	quotaIP     = "ip"
)

// quotaKey is one limit: what it is called and what kind of number it is.
type quotaKey struct {
	name string
	// most is the largest value of a whole number, 0 for limits that may have a fraction.
	most float64
	kind string
}

var (
	userQuotaKeys = []quotaKey{
		{"producer_byte_rate", math.MaxInt64, "a LONG"},
		{"consumer_byte_rate", math.MaxInt64, "a LONG"},
		{"request_percentage", 0, "a DOUBLE"},
		{"controller_mutation_rate", 0, "a DOUBLE"},
	}
	ipQuotaKeys = []quotaKey{{"connection_creation_rate", math.MaxInt32, "an INT"}}
)

// quotas decides on client quotas.
type quotas struct{ *decider }

// alterClientQuotas changes the limits of entities, each by itself: an entity that is refused keeps what it has.
func (d quotas) alterClientQuotas(r *wire.AlterClientQuotasRequest) Decision {
	reply := &wire.AlterClientQuotasResponse{Entries: []wire.AlterClientQuotasResponseEntryData{}}
	at := map[string]int{}
	for i := range r.Entries {
		e := &r.Entries[i]
		e.Entity = lastOfEach(e.Entity)
		name := entityText(e.Entity)
		var f *fault
		if first, again := at[name]; again {
			// Kafka answers an entity once, with the complaint about what came second.
			f = refuse(wire.InvalidRequest, "Ignoring duplicate entity %s", name)
			reply.Entries[first].ErrorCode, reply.Entries[first].ErrorMessage = f.parts()
			continue
		}
		f = d.alterEntity(e)
		out := wire.AlterClientQuotasResponseEntryData{Entity: []wire.AlterClientQuotasResponseEntityData{}}
		for _, c := range e.Entity {
			out.Entity = append(out.Entity, wire.AlterClientQuotasResponseEntityData(c))
		}
		out.ErrorCode, out.ErrorMessage = f.parts()
		at[name] = len(reply.Entries)
		reply.Entries = append(reply.Entries, out)
	}
	if len(d.records) > MaxRecordsPerRequest {
		d.records = nil
		for i := range reply.Entries {
			reply.Entries[i].ErrorCode, reply.Entries[i].ErrorMessage = tooManyRecords().parts()
		}
	}
	return d.done(reply, r.ValidateOnly)
}

// lastOfEach keeps the last part of each type: an entity is a map to Kafka.
func lastOfEach(entity []wire.AlterClientQuotasRequestEntityData) []wire.AlterClientQuotasRequestEntityData {
	var kept []wire.AlterClientQuotasRequestEntityData
	for i, e := range entity {
		if !slices.ContainsFunc(entity[i+1:], func(o wire.AlterClientQuotasRequestEntityData) bool { return o.EntityType == e.EntityType }) {
			kept = append(kept, e)
		}
	}
	return kept
}

// entityOrder is the order of types in Kafka's messages, which is that of a hash table with room for all three.
var entityOrder = []string{quotaClient, quotaUser, quotaIP}

// entityText is an entity as Kafka's messages show it.
func entityText(entity []wire.AlterClientQuotasRequestEntityData) string {
	sorted := slices.SortedFunc(slices.Values(entity), func(a, b wire.AlterClientQuotasRequestEntityData) int {
		return cmp.Or(slices.Index(entityOrder, a.EntityType)-slices.Index(entityOrder, b.EntityType), cmp.Compare(a.EntityType, b.EntityType))
	})
	parts := make([]string, len(sorted))
	for i, e := range sorted {
		name := "null"
		if e.EntityName != nil {
			name = *e.EntityName
		}
		parts[i] = e.EntityType + "=" + name
	}
	return "ClientQuotaEntity(entries={" + strings.Join(parts, ", ") + "})"
}

// alterEntity decides on one entity: all of its changes or none.
func (d quotas) alterEntity(e *wire.AlterClientQuotasRequestEntryData) *fault {
	seen := map[string]bool{}
	for _, op := range e.Ops {
		if seen[op.Key] {
			return refuse(wire.InvalidRequest, "Ignoring duplicate entity %s", entityText(e.Entity))
		}
		seen[op.Key] = true
	}
	keys, f := quotaKeys(e.Entity)
	if f != nil {
		return f
	}
	entity := make([]wire.ClientQuotaRecordEntityData, len(e.Entity))
	for i, c := range e.Entity {
		entity[i] = wire.ClientQuotaRecordEntityData(c)
	}
	var now map[string]float64
	if q := d.image.Quota(entity); q != nil {
		now = q.Values
	}
	var records []wire.MetadataRecord
	for _, op := range e.Ops {
		before, had := now[op.Key]
		switch {
		case op.Remove && had:
			records = append(records, &wire.ClientQuotaRecord{Entity: entity, Key: op.Key, Remove: true})
		case op.Remove:
		default:
			if f := checkQuota(keys, op.Key, op.Value); f != nil {
				return f
			}
			if !had || before != op.Value {
				records = append(records, &wire.ClientQuotaRecord{Entity: entity, Key: op.Key, Value: op.Value})
			}
		}
	}
	d.records = append(d.records, records...)
	return nil
}

// quotaKeys checks an entity and gives the limits that it can have.
func quotaKeys(entity []wire.AlterClientQuotasRequestEntityData) ([]quotaKey, *fault) {
	if len(entity) == 0 {
		return nil, refuse(wire.InvalidRequest, "Invalid empty client quota entity")
	}
	var address *string
	ip := false
	for _, e := range entity {
		switch {
		case e.EntityType == quotaIP:
			ip, address = true, e.EntityName
		case e.EntityType != quotaUser && e.EntityType != quotaClient:
			return nil, refuse(wire.InvalidRequest, "Unhandled client quota entity type: %s", e.EntityType)
		}
		if e.EntityName != nil && *e.EntityName == "" {
			return nil, refuse(wire.InvalidRequest, "Empty %s not supported", e.EntityType)
		}
	}
	switch {
	case !ip:
		return userQuotaKeys, nil
	case len(entity) > 1:
		return nil, refuse(wire.InvalidRequest, "Invalid quota entity combination, IP entity shouldnot be combined with User or ClientId")
	case address != nil && !addressable(*address):
		return nil, refuse(wire.InvalidRequest, "%s is not a valid IP or resolvable host.", *address)
	}
	return ipQuotaKeys, nil
}

// addressable tells whether a text can be the name of a host.
//
// Differs from Kafka: the name of a host in a quota on ips is taken if it can be one. Kafka asks the name service whether
// there is such a host now, and a decision must not depend on that.
func addressable(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	const most = 253
	if len(host) > most || strings.Trim(host, "0123456789.") == "" {
		return false
	}
	for label := range strings.SplitSeq(strings.TrimSuffix(host, "."), ".") {
		if label == "" || len(label) > 63 || strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
			return false
		}
		for _, c := range []byte(label) {
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' {
				return false
			}
		}
	}
	return true
}

// checkQuota checks the name and the value of a limit.
func checkQuota(keys []quotaKey, name string, value float64) *fault {
	i := slices.IndexFunc(keys, func(k quotaKey) bool { return k.name == name })
	const fraction = 1e-6
	switch {
	case i < 0:
		return refuse(wire.InvalidRequest, "Invalid configuration key %s", name)
	case value <= 0, math.IsNaN(value):
		// Differs from Kafka: a quota that is not a number (NaN) is refused; Kafka takes it.
		return refuse(wire.InvalidRequest, "Quota %s must be greater than 0", name)
	case keys[i].most == 0:
		return nil
	case value > keys[i].most:
		return refuse(wire.InvalidRequest, "Proposed value for %s is too large for %s.", name, keys[i].kind)
	case math.Mod(value, 1) > fraction:
		return refuse(wire.InvalidRequest, "%s cannot be a fractional value.", name)
	}
	return nil
}
