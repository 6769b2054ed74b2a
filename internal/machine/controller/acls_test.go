package controller

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/acl"
)

// parts divides a line at spaces; a part in quotes may be anything, and null is nil.
func parts(t *testing.T, line string) []*string {
	t.Helper()
	var out []*string
	for line = strings.TrimSpace(line); line != ""; line = strings.TrimSpace(line) {
		if quoted, err := strconv.QuotedPrefix(line); err == nil {
			text, _ := strconv.Unquote(quoted)
			out, line = append(out, &text), line[len(quoted):]
			continue
		}
		word, rest, _ := strings.Cut(line, " ")
		out, line = append(out, value(word)), rest
	}
	if len(out) != 7 {
		t.Fatalf("%q: type, name, pattern, principal, host, operation, permission", line)
	}
	return out
}

// code reads Kafka's name of a code, or its number.
func code[T ~int8](t *testing.T, text *string, named func(string) (T, bool)) int8 {
	t.Helper()
	if c, ok := named(*text); ok {
		return int8(c)
	}
	return int8(number(t, *text))
}

func parsePermission(text string) (acl.Permission, bool) {
	for p := acl.AnyPermission; p <= acl.Allow; p++ {
		if p.String() == text {
			return p, true
		}
	}
	return 0, false
}

func runCreateACLs(t *testing.T, c asker, lines []string) string {
	t.Helper()
	r := &wire.CreateAclsRequest{}
	for _, line := range lines {
		p := parts(t, line)
		r.Creations = append(r.Creations, wire.CreateAclsRequestAclCreation{
			ResourceType: code(t, p[0], acl.ParseResourceType), ResourceName: *p[1], ResourcePatternType: code(t, p[2], acl.ParsePatternType),
			Principal: *p[3], Host: *p[4], Operation: code(t, p[5], acl.ParseOperation), PermissionType: code(t, p[6], parsePermission),
		})
	}
	var out []string
	for _, result := range c.request(r).(*wire.CreateAclsResponse).Results {
		out = append(out, said(result.ErrorCode, result.ErrorMessage))
	}
	return strings.Join(out, "\n")
}

func runDeleteACLs(t *testing.T, c asker, lines []string) string {
	t.Helper()
	r := &wire.DeleteAclsRequest{}
	for _, line := range lines {
		p := parts(t, line)
		r.Filters = append(r.Filters, wire.DeleteAclsRequestDeleteAclsFilter{
			ResourceTypeFilter: code(t, p[0], acl.ParseResourceType), ResourceNameFilter: p[1], PatternTypeFilter: code(t, p[2], acl.ParsePatternType),
			PrincipalFilter: p[3], HostFilter: p[4], Operation: code(t, p[5], acl.ParseOperation), PermissionType: code(t, p[6], parsePermission),
		})
	}
	var out []string
	for _, result := range c.request(r).(*wire.DeleteAclsResponse).FilterResults {
		out = append(out, said(result.ErrorCode, result.ErrorMessage))
		for _, m := range result.MatchingAcls {
			out = append(out, fmt.Sprintf("  %s %s %s %s %s %s %s", acl.ResourceType(m.ResourceType), m.ResourceName, acl.PatternType(m.PatternType),
				m.Principal, m.Host, acl.Operation(m.Operation), acl.Permission(m.PermissionType)))
		}
	}
	return strings.Join(out, "\n")
}

// TestTooManyACLs: a request makes or removes 10,000 rules and no more, and a longer one does nothing.
func TestTooManyACLs(t *testing.T) {
	c := newCluster(t)
	creations := make([]wire.CreateAclsRequestAclCreation, MaxRecordsPerRequest+1)
	for i := range creations {
		creations[i] = wire.CreateAclsRequestAclCreation{
			ResourceType: 2, ResourceName: fmt.Sprint("t", i), ResourcePatternType: 3, Principal: "User:a", Host: "*", Operation: 3, PermissionType: 3,
		}
	}
	create := func(from, to int, want string) {
		t.Helper()
		for i, r := range c.request(&wire.CreateAclsRequest{Creations: creations[from:to]}).(*wire.CreateAclsResponse).Results {
			if got := said(r.ErrorCode, r.ErrorMessage); got != want {
				t.Fatalf("%d: %s, want %s", i, got, want)
			}
		}
	}
	create(0, len(creations), "POLICY_VIOLATION Unable to perform excessively large batch operation.")
	create(0, MaxRecordsPerRequest, "ok")
	create(0, len(creations), "ok") // all but one are there
	all := wire.DeleteAclsRequestDeleteAclsFilter{ResourceTypeFilter: 1, PatternTypeFilter: 1, Operation: 1, PermissionType: 1}
	one := all
	one.ResourceNameFilter = &creations[0].ResourceName
	remove := func(want string, filters ...wire.DeleteAclsRequestDeleteAclsFilter) (picked int) {
		t.Helper()
		for i, r := range c.request(&wire.DeleteAclsRequest{Filters: filters}).(*wire.DeleteAclsResponse).FilterResults {
			if got := said(r.ErrorCode, r.ErrorMessage); got != want {
				t.Fatalf("%d: %s, want %s", i, got, want)
			}
			picked += len(r.MatchingAcls)
		}
		return picked
	}
	if n := remove("INVALID_REQUEST Cannot remove more than 10000 acls in a single delete operation.", one, all, one); n != 0 || len(c.machine.Image().ACLs()) != len(creations) {
		t.Error(n, "rules are said to be removed")
	}
	if n := remove("ok", one); n != 1 {
		t.Error(n)
	}
	if n := remove("ok", all, one); n != MaxRecordsPerRequest || len(c.machine.Image().ACLs()) != 0 {
		t.Error(n)
	}
}

// FuzzACLs: whatever rules are asked for, what is decided can be applied, and only whole rules are kept.
func FuzzACLs(f *testing.F) {
	f.Add(int8(2), "t", int8(3), "User:a", "*", int8(3), int8(3))
	f.Add(int8(4), "x", int8(77), "a", "10.0.0.0/33", int8(1), int8(0))
	f.Add(int8(-1), "", int8(2), "", "", int8(99), int8(2))
	f.Fuzz(func(t *testing.T, kind int8, name string, pattern int8, who, host string, op, permission int8) {
		c := newCluster(t)
		made := c.request(&wire.CreateAclsRequest{Creations: []wire.CreateAclsRequestAclCreation{{
			ResourceType: kind, ResourceName: name, ResourcePatternType: pattern, Principal: who, Host: host, Operation: op, PermissionType: permission,
		}}}).(*wire.CreateAclsResponse).Results[0]
		rules := c.machine.Image().ACLs()
		if (made.ErrorCode == wire.None) != (len(rules) == 1) {
			t.Fatalf("%v, and there are %d rules", made.ErrorCode, len(rules))
		}
		for _, record := range rules {
			if r := acl.RuleOf(record); r.Type <= acl.AnyResource || r.Pattern < acl.Literal || r.Operation <= acl.AnyOperation || r.Permission < acl.Deny || *r.Record() != *record {
				t.Fatalf("%v is kept", record)
			}
		}
		c.request(&wire.DeleteAclsRequest{Filters: []wire.DeleteAclsRequestDeleteAclsFilter{{
			ResourceTypeFilter: kind, ResourceNameFilter: &name, PatternTypeFilter: pattern, PrincipalFilter: &who, HostFilter: &host, Operation: op, PermissionType: permission,
		}}})
		if len(rules) == 1 && len(c.machine.Image().ACLs()) != 0 {
			t.Fatalf("%v is still there", rules[0])
		}
	})
}
