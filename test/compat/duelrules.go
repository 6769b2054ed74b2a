package main

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// quotaEntity is a user, a client id, both, or an address. A nil name is the default.
func (t *settingsGame) quotaEntity() []kmsg.AlterClientQuotasRequestEntryEntity {
	name := func() *string {
		if rarely(t.game, 4) {
			return nil
		}
		return kmsg.StringPtr(t.prefix + oneOf(t.game, ".a", ".b", ".c"))
	}
	part := func(kind string, name *string) kmsg.AlterClientQuotasRequestEntryEntity {
		return kmsg.AlterClientQuotasRequestEntryEntity{Type: kind, Name: name}
	}
	if rarely(t.game, 12) {
		return oneOf(t.game, nil, []kmsg.AlterClientQuotasRequestEntryEntity{part("user", name()), part("ip", name())},
			[]kmsg.AlterClientQuotasRequestEntryEntity{part("nobody", name())}, []kmsg.AlterClientQuotasRequestEntryEntity{part("user", kmsg.StringPtr(""))},
			[]kmsg.AlterClientQuotasRequestEntryEntity{part("user", name()), part("user", name())},
			[]kmsg.AlterClientQuotasRequestEntryEntity{part("", name())}, []kmsg.AlterClientQuotasRequestEntryEntity{part("ip", kmsg.StringPtr("not an address"))})
	}
	switch t.rng.IntN(4) {
	case 0:
		return []kmsg.AlterClientQuotasRequestEntryEntity{part("user", name())}
	case 1:
		return []kmsg.AlterClientQuotasRequestEntryEntity{part("client-id", name())}
	case 2:
		if rarely(t.game, 2) {
			return []kmsg.AlterClientQuotasRequestEntryEntity{part("client-id", name()), part("user", name())}
		}
		return []kmsg.AlterClientQuotasRequestEntryEntity{part("user", name()), part("client-id", name())}
	}
	ip := kmsg.StringPtr(fmt.Sprintf("10.%d.0.%d", t.seed%250, t.rng.IntN(3)))
	if rarely(t.game, 4) {
		ip = nil
	}
	return []kmsg.AlterClientQuotasRequestEntryEntity{part("ip", ip)}
}

// alteringQuotas sorts the answer, in which Kafka's entities have no order.
func (t *settingsGame) alteringQuotas(req *kmsg.AlterClientQuotasRequest) question {
	return question{build: func(*player) kmsg.Request { return req }, learn: func(p *player, resp kmsg.Response) {
		r := resp.(*kmsg.AlterClientQuotasResponse)
		for i := range r.Entries {
			slices.SortFunc(r.Entries[i].Entity, func(a, b kmsg.AlterClientQuotasResponseEntryEntity) int { return cmp.Compare(a.Type, b.Type) })
		}
		slices.SortStableFunc(r.Entries, func(a, b kmsg.AlterClientQuotasResponseEntry) int { return cmp.Compare(p.text(a), p.text(b)) })
	}}
}

func (t *settingsGame) alterQuotas() []question {
	req := kmsg.NewPtrAlterClientQuotasRequest()
	req.ValidateOnly = rarely(t.game, 5)
	for range 1 + t.rng.IntN(2) {
		e := kmsg.NewAlterClientQuotasRequestEntry()
		e.Entity = t.quotaEntity()
		for i := range t.rng.IntN(4) {
			op := kmsg.NewAlterClientQuotasRequestEntryOp()
			op.Key = oneOf(t.game, "producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate")
			if len(e.Entity) > 0 && e.Entity[0].Type == "ip" {
				op.Key = "connection_creation_rate"
			}
			op.Value = oneOf(t.game, 1, 1000, 1e9, 1e12)
			if !strings.HasSuffix(op.Key, "byte_rate") && rarely(t.game, 3) {
				op.Value = 0.5
			}
			if i == 0 && rarely(t.game, 4) {
				op.Key = oneOf(t.game, "", "no_such_rate", "connection_creation_rate", "producer_byte_rate")
				op.Value = oneOf(t.game, 0, -1, 1.5, 1e300, 0.1, math.Inf(1), 2147483648, 9.3e18)
			}
			if op.Key == "connection_creation_rate" && i > 0 {
				op.Value = 7
			}
			op.Remove = rarely(t.game, 4)
			e.Ops = append(e.Ops, op)
		}
		req.Entries = append(req.Entries, e)
	}
	if rarely(t.game, 12) {
		req.Entries = append(req.Entries, req.Entries[0])
	}
	return []question{t.alteringQuotas(req), t.describingQuotas(false)}
}

// quotasGone removes all quotas of the game's entities.
func (t *settingsGame) quotasGone() question {
	req := kmsg.NewPtrAlterClientQuotasRequest()
	gone := func(keys []string, entity ...kmsg.AlterClientQuotasRequestEntryEntity) {
		e := kmsg.NewAlterClientQuotasRequestEntry()
		e.Entity = entity
		for _, key := range keys {
			e.Ops = append(e.Ops, kmsg.AlterClientQuotasRequestEntryOp{Key: key, Remove: true})
		}
		req.Entries = append(req.Entries, e)
	}
	rates := []string{"producer_byte_rate", "consumer_byte_rate", "request_percentage", "controller_mutation_rate"}
	names := []*string{nil, kmsg.StringPtr(t.prefix + ".a"), kmsg.StringPtr(t.prefix + ".b"), kmsg.StringPtr(t.prefix + ".c")}
	for _, user := range names {
		gone(rates, kmsg.AlterClientQuotasRequestEntryEntity{Type: "user", Name: user})
		gone(rates, kmsg.AlterClientQuotasRequestEntryEntity{Type: "client-id", Name: user})
		for _, client := range names {
			gone(rates, kmsg.AlterClientQuotasRequestEntryEntity{Type: "user", Name: user}, kmsg.AlterClientQuotasRequestEntryEntity{Type: "client-id", Name: client})
		}
	}
	gone([]string{"connection_creation_rate"}, kmsg.AlterClientQuotasRequestEntryEntity{Type: "ip"})
	return t.alteringQuotas(req)
}

// describingQuotas asks for quotas; plain asks for all of them.
func (t *settingsGame) describingQuotas(filtered bool) question {
	req := kmsg.NewPtrDescribeClientQuotasRequest()
	if filtered {
		req.Strict = rarely(t.game, 2)
		for _, kind := range [][]string{{"user"}, {"client-id"}, {"user", "client-id"}, {"ip"}, {"user", "user"}, {"user", "ip"}, {"nobody"}, {""}, {"client-id", "user"}, {}}[t.rng.IntN(10)] {
			c := kmsg.NewDescribeClientQuotasRequestComponent()
			c.EntityType, c.MatchType = kind, oneOf[kmsg.QuotasMatchType](t.game, 0, 0, 1, 2, 2)
			if c.MatchType == 0 {
				c.Match = kmsg.StringPtr(t.prefix + oneOf(t.game, ".a", ".b", ".c"))
			}
			if rarely(t.game, 8) {
				c.MatchType, c.Match = oneOf[kmsg.QuotasMatchType](t.game, 0, 1, 2, 3, -1), oneOf(t.game, nil, kmsg.StringPtr(""), kmsg.StringPtr("x"))
			}
			req.Components = append(req.Components, c)
		}
	}
	return question{late: true, newest: !filtered, build: func(*player) kmsg.Request { return req }, learn: func(p *player, resp kmsg.Response) {
		r := resp.(*kmsg.DescribeClientQuotasResponse)
		for i := range r.Entries {
			slices.SortFunc(r.Entries[i].Entity, func(a, b kmsg.DescribeClientQuotasResponseEntryEntity) int { return cmp.Compare(a.Type, b.Type) })
			slices.SortFunc(r.Entries[i].Values, func(a, b kmsg.DescribeClientQuotasResponseEntryValue) int { return cmp.Compare(a.Key, b.Key) })
		}
		slices.SortFunc(r.Entries, func(a, b kmsg.DescribeClientQuotasResponseEntry) int { return cmp.Compare(p.text(a), p.text(b)) })
	}}
}

func (t *settingsGame) describeQuotas() []question { return []question{t.describingQuotas(true)} }

// user is a name that may have credentials.
func (t *settingsGame) user() string {
	if rarely(t.game, 15) {
		return oneOf(t.game, "", "é", "a,b", "a=b")
	}
	return t.prefix + oneOf(t.game, ".a", ".b", ".c")
}

func (t *settingsGame) alterScram() []question {
	req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	for range t.rng.IntN(3) {
		u := kmsg.NewAlterUserSCRAMCredentialsRequestUpsertion()
		u.Name, u.Mechanism, u.Iterations = t.user(), oneOf[int8](t.game, 1, 2), oneOf[int32](t.game, 4096, 8192, 16384)
		u.Salt, u.SaltedPassword = []byte("salt of the duel"), make([]byte, 32*int(u.Mechanism))
		if rarely(t.game, 4) {
			u.Mechanism, u.Iterations = oneOf[int8](t.game, 0, 1, 2, 3, -1), oneOf[int32](t.game, 0, -1, 4095, 16385, 4096)
			u.Salt, u.SaltedPassword = oneOf(t.game, nil, []byte{}, []byte("s")), oneOf(t.game, nil, []byte("p"), make([]byte, 32))
		}
		req.Upsertions = append(req.Upsertions, u)
	}
	for range t.rng.IntN(3) {
		d := kmsg.NewAlterUserSCRAMCredentialsRequestDeletion()
		d.Name, d.Mechanism = t.user(), oneOf[int8](t.game, 1, 2, 1, 2, 1, 2, 0, 9)
		req.Deletions = append(req.Deletions, d)
	}
	all := t.describingScram()
	all.newest = true
	return []question{t.alteringScram(req), all}
}

func (t *settingsGame) alteringScram(req *kmsg.AlterUserSCRAMCredentialsRequest) question {
	return question{build: func(*player) kmsg.Request { return req }, learn: func(p *player, resp kmsg.Response) {
		r := resp.(*kmsg.AlterUserSCRAMCredentialsResponse)
		slices.SortFunc(r.Results, func(a, b kmsg.AlterUserSCRAMCredentialsResponseResult) int { return cmp.Compare(p.text(a), p.text(b)) })
	}}
}

func (t *settingsGame) scramGone() question {
	req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
	for _, name := range []string{".a", ".b", ".c"} {
		for m := range int8(2) {
			d := kmsg.NewAlterUserSCRAMCredentialsRequestDeletion()
			d.Name, d.Mechanism = t.prefix+name, m+1
			req.Deletions = append(req.Deletions, d)
		}
	}
	return t.alteringScram(req)
}

func (t *settingsGame) describingScram(users ...string) question {
	req := kmsg.NewPtrDescribeUserSCRAMCredentialsRequest()
	for _, name := range users {
		req.Users = append(req.Users, kmsg.DescribeUserSCRAMCredentialsRequestUser{Name: name})
	}
	return question{late: true, build: func(*player) kmsg.Request { return req }, learn: func(p *player, resp kmsg.Response) {
		r := resp.(*kmsg.DescribeUserSCRAMCredentialsResponse)
		for i := range r.Results {
			slices.SortFunc(r.Results[i].CredentialInfos, func(a, b kmsg.DescribeUserSCRAMCredentialsResponseResultCredentialInfo) int {
				return cmp.Compare(a.Mechanism, b.Mechanism)
			})
		}
		slices.SortFunc(r.Results, func(a, b kmsg.DescribeUserSCRAMCredentialsResponseResult) int {
			return cmp.Compare(p.text(a), p.text(b))
		})
	}}
}

func (t *settingsGame) describeScram() []question {
	var users []string
	for range t.rng.IntN(4) {
		users = append(users, t.user())
	}
	return []question{t.describingScram(users...)}
}

// Codes of rules, known and unknown ones; ANY and MATCH stand in filters only.
func (t *settingsGame) ruleType() kmsg.ACLResourceType {
	return oneOf[kmsg.ACLResourceType](t.game, 2, 2, 2, 3, 4, 5, 6, 7)
}
func (t *settingsGame) ruleOperation() kmsg.ACLOperation {
	return oneOf[kmsg.ACLOperation](t.game, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
}
func (t *settingsGame) ruleName(kind kmsg.ACLResourceType) string {
	if kind == 4 {
		return "kafka-cluster"
	}
	return t.prefix + oneOf(t.game, ".a", ".ab", ".b")
}
func (t *settingsGame) rulePrincipal() string {
	return oneOf(t.game, "User:"+t.prefix, "User:*", "User:b", "Group:c")
}
func (t *settingsGame) ruleHost() string {
	return oneOf(t.game, "*", "*", "10.0.0.1", "somewhere")
}

func (t *settingsGame) createACLs() []question {
	req := kmsg.NewPtrCreateACLsRequest()
	for range 1 + t.rng.IntN(3) {
		c := kmsg.NewCreateACLsRequestCreation()
		c.ResourceType = t.ruleType()
		c.ResourceName, c.ResourcePatternType = t.ruleName(c.ResourceType), oneOf[kmsg.ACLResourcePatternType](t.game, 3, 3, 4)
		if c.ResourceType == 4 {
			c.ResourcePatternType = 3
		}
		c.Principal, c.Host, c.Operation, c.PermissionType = t.rulePrincipal(), t.ruleHost(), t.ruleOperation(), oneOf[kmsg.ACLPermissionType](t.game, 2, 3)
		switch t.rng.IntN(24) {
		case 0:
			c.ResourceType = oneOf[kmsg.ACLResourceType](t.game, 0, 1, 4, 8, -1)
		case 1:
			c.ResourceName = oneOf(t.game, "", "*", "é")
		case 2:
			c.ResourcePatternType = oneOf[kmsg.ACLResourcePatternType](t.game, 0, 1, 2, 5, -1)
		case 3:
			c.Principal = oneOf(t.game, "", "User", "User:", ":x")
		case 4:
			c.Host = " " // none at all is refused from Kafka 4.4 on
		case 5:
			c.Operation = oneOf[kmsg.ACLOperation](t.game, 0, 1, 16, -1)
		case 6:
			c.PermissionType = oneOf[kmsg.ACLPermissionType](t.game, 0, 1, 4, -1)
		}
		req.Creations = append(req.Creations, c)
	}
	if rarely(t.game, 6) {
		req.Creations = append(req.Creations, req.Creations[0])
	}
	all := t.describingACLs(t.wholeFilter())
	all.newest = true
	return []question{{mayClose: true, build: func(*player) kmsg.Request { return req }}, all}
}

// wholeFilter picks every rule.
func (t *settingsGame) wholeFilter() kmsg.DeleteACLsRequestFilter {
	f := kmsg.NewDeleteACLsRequestFilter()
	f.ResourceType, f.ResourcePatternType, f.Operation, f.PermissionType = 1, 1, 1, 1
	return f
}

// filter picks some rules.
func (t *settingsGame) filter() kmsg.DeleteACLsRequestFilter {
	f := t.wholeFilter()
	if rarely(t.game, 2) {
		f.ResourceType = t.ruleType()
	}
	if rarely(t.game, 2) {
		f.ResourceName = kmsg.StringPtr(t.ruleName(max(f.ResourceType, 2)))
		f.ResourcePatternType = oneOf[kmsg.ACLResourcePatternType](t.game, 1, 2, 3, 4)
	}
	if rarely(t.game, 3) {
		f.Principal = kmsg.StringPtr(t.rulePrincipal())
	}
	if rarely(t.game, 3) {
		f.Host = kmsg.StringPtr(t.ruleHost())
	}
	if rarely(t.game, 3) {
		f.Operation = t.ruleOperation()
	}
	if rarely(t.game, 3) {
		f.PermissionType = oneOf[kmsg.ACLPermissionType](t.game, 2, 3)
	}
	switch t.rng.IntN(24) {
	case 0:
		f.ResourceType = oneOf[kmsg.ACLResourceType](t.game, 0, 8, -1)
	case 1:
		f.ResourceName = kmsg.StringPtr("")
	case 2:
		f.ResourcePatternType = oneOf[kmsg.ACLResourcePatternType](t.game, 0, 5, -1)
	case 3:
		f.Principal = kmsg.StringPtr(oneOf(t.game, "", "User", "x"))
	case 4:
		f.Operation = oneOf[kmsg.ACLOperation](t.game, 0, 16, -1)
	case 5:
		f.PermissionType = oneOf[kmsg.ACLPermissionType](t.game, 0, 4, -1)
	}
	return f
}

func (t *settingsGame) describingACLs(f kmsg.DeleteACLsRequestFilter) question {
	req := kmsg.NewPtrDescribeACLsRequest()
	req.ResourceType, req.ResourceName, req.ResourcePatternType = f.ResourceType, f.ResourceName, f.ResourcePatternType
	req.Principal, req.Host, req.Operation, req.PermissionType = f.Principal, f.Host, f.Operation, f.PermissionType
	return question{late: true, mayClose: true, build: func(*player) kmsg.Request { return req }, learn: func(p *player, resp kmsg.Response) {
		r := resp.(*kmsg.DescribeACLsResponse)
		for i := range r.Resources {
			slices.SortFunc(r.Resources[i].ACLs, func(a, b kmsg.DescribeACLsResponseResourceACL) int { return cmp.Compare(p.text(a), p.text(b)) })
		}
		slices.SortFunc(r.Resources, func(a, b kmsg.DescribeACLsResponseResource) int { return cmp.Compare(p.text(a), p.text(b)) })
	}}
}

func (t *settingsGame) describeACLs() []question { return []question{t.describingACLs(t.filter())} }

func (t *settingsGame) deletingACLs(filters ...kmsg.DeleteACLsRequestFilter) question {
	req := kmsg.NewPtrDeleteACLsRequest()
	req.Filters = filters
	return question{mayClose: true, build: func(*player) kmsg.Request { return req }, learn: func(p *player, resp kmsg.Response) {
		r := resp.(*kmsg.DeleteACLsResponse)
		for i := range r.Results {
			slices.SortFunc(r.Results[i].MatchingACLs, func(a, b kmsg.DeleteACLsResponseResultMatchingACL) int { return cmp.Compare(p.text(a), p.text(b)) })
		}
	}}
}

func (t *settingsGame) deleteACLs() []question {
	var filters []kmsg.DeleteACLsRequestFilter
	for range 1 + t.rng.IntN(2) {
		filters = append(filters, t.filter())
	}
	all := t.describingACLs(t.wholeFilter())
	all.newest = true
	return []question{t.deletingACLs(filters...), all}
}
