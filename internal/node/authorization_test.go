package node_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/acl"
	"github.com/moldau/moldau/internal/network/edge"
)

// The matrix of APIs and rights. Each case of authorizationCases is sent by alice, who may do everything; the questions that
// the authorizer is asked meanwhile are the rights that the request needs. Then each of them is taken away, alone and
// together with those that it was an alternative to. What is answered must be what Kafka answers, nothing may have changed,
// and with everything back the same request succeeds. testdata/authorization.txt has Kafka's answers:
//
//	MOLDAU_AUTHZ_KAFKA=localhost:9092,localhost:9093 go test ./internal/node -run TestAuthorization -rewrite-authorization
//
// asks a Kafka with StandardAuthorizer at its broker's and its controller's SASL_PLAINTEXT listener, with PLAIN and the users
// admin (password admin, a super user) and alice (password alice); topics, groups and ids of earlier runs do not matter.

var rewriteAuthorization = flag.Bool("rewrite-authorization", false, "write testdata/authorization.txt (from the Kafka at MOLDAU_AUTHZ_KAFKA) and docs/authorization.md anew")

const (
	authorizationFile = "testdata/authorization.txt"
	authorizationDocs = "../../docs/authorization.md"
)

// right is one question; in its name ~ stands for the prefix of the run.
type right struct{ op, kind, name string }

func (r right) String() string { return r.op + " " + r.kind + " " + r.name }

func (r right) at(prefix string) right {
	r.name = strings.ReplaceAll(r.name, "~", prefix)
	return r
}

// subject is a cluster that is asked.
type subject interface {
	// call sends a request as somebody and waits for the answer.
	call(who, listener string, m wire.Message, version int16, into wire.Message) error
	// deny gives alice all rights but these.
	deny(rights []right)
	// idle lets time pass, before something is tried again.
	idle()
}

// ours is a node of ours.
type ours struct {
	*rig
	log   *questionLog
	conns map[string]*edge.DirectConn
}

func newOurs(t *testing.T) *ours {
	o := &ours{log: &questionLog{}, conns: map[string]*edge.DirectConn{}}
	const user = `org.apache.kafka.common.security.plain.PlainLoginModule required username="admin" password="admin" user_admin="admin" user_alice="alice";`
	trace := new(slog.LevelVar)
	trace.Set(slog.LevelDebug - 4)
	o.rig = newRigLogging(t, slog.New(o.log), trace,
		"listeners", "BROKER://localhost:9092,CONTROLLER://localhost:9093", "inter.broker.listener.name", "BROKER",
		"listener.security.protocol.map", "BROKER:SASL_PLAINTEXT,CONTROLLER:SASL_PLAINTEXT",
		"sasl.enabled.mechanisms", "PLAIN", "sasl.mechanism.inter.broker.protocol", "PLAIN", "sasl.mechanism.controller.protocol", "PLAIN",
		"listener.name.broker.plain.sasl.jaas.config", user, "listener.name.controller.plain.sasl.jaas.config", user,
		"authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users", "User:admin",
		"transaction.state.log.num.partitions", "1", "share.coordinator.state.topic.num.partitions", "1", "delegation.token.secret.key", "secret",
		"group.initial.rebalance.delay.ms", "0")
	return o
}

func (o *ours) call(who, listener string, m wire.Message, version int16, into wire.Message) error {
	o.t.Helper()
	id := who + "@" + listener
	c := o.conns[id]
	if c == nil || c.Conn().Closed() {
		c = edge.NewDirect(o.node.Handler(), listener)
		o.conns[id] = c
		o.rig.conn = c
		if err := login(who, func(m wire.Message, version int16, into wire.Message) error { return o.roundTrip(m, version, into) }); err != nil {
			return err
		}
	}
	o.rig.conn = c
	return o.roundTrip(m, version, into)
}

func (o *ours) roundTrip(m wire.Message, version int16, into wire.Message) error {
	p := o.send(m, version, into)
	o.until(wire.APIName(m.APIKey()), 10*60e9, func() bool { return p.answered })
	return p.err
}

// login authenticates by PLAIN.
func login(who string, call func(m wire.Message, version int16, into wire.Message) error) error {
	hello := &wire.SaslHandshakeResponse{}
	if err := call(&wire.SaslHandshakeRequest{Mechanism: "PLAIN"}, 1, hello); err != nil || hello.ErrorCode != wire.None {
		return fmt.Errorf("handshake: %v %v", hello.ErrorCode, err)
	}
	done := &wire.SaslAuthenticateResponse{}
	if err := call(&wire.SaslAuthenticateRequest{AuthBytes: []byte("\x00" + who + "\x00" + who)}, 2, done); err != nil || done.ErrorCode != wire.None {
		return fmt.Errorf("login: %v %v", done.ErrorCode, err)
	}
	return nil
}

// rules lets alice do everything but some things.
func rules(denied []right) (all []acl.Rule) {
	for t := acl.Topic; t <= acl.User; t++ {
		name := acl.Wildcard
		if t == acl.Cluster {
			name = acl.ClusterName
		}
		all = append(all, acl.Rule{Type: t, Name: name, Pattern: acl.Literal, Principal: "User:alice", Host: "*", Operation: acl.All, Permission: acl.Allow})
	}
	for _, r := range denied {
		op, _ := acl.ParseOperation(r.op)
		t, _ := acl.ParseResourceType(r.kind)
		all = append(all, acl.Rule{Type: t, Name: r.name, Pattern: acl.Literal, Principal: "User:alice", Host: "*", Operation: op, Permission: acl.Deny})
	}
	for i := range all {
		all[i].ID = wire.UUID{byte(i) + 1}
	}
	return all
}

func (o *ours) deny(rights []right) {
	var records []*wire.AccessControlEntryRecord
	for _, r := range rules(rights) {
		records = append(records, r.Record())
	}
	o.node.SetRules(acl.NewSet(acl.Config{SuperUsers: []string{"User:admin"}}, records))
}

func (o *ours) idle() {
	if d, ok := o.hand.Next(); !o.hand.RunOne() && ok {
		o.hand.Advance(d)
	}
}

// questionLog collects what the authorizer logs.
type questionLog struct {
	mu    sync.Mutex
	asked []right
	attrs []slog.Attr
	root  *questionLog
}

func (l *questionLog) Enabled(context.Context, slog.Level) bool { return true }

func (l *questionLog) Handle(_ context.Context, rec slog.Record) error {
	if !slices.ContainsFunc(l.attrs, func(a slog.Attr) bool { return a.Key == "logger" && a.Value.String() == "authorizer" }) {
		return nil
	}
	v := map[string]string{}
	rec.Attrs(func(a slog.Attr) bool { v[a.Key] = a.Value.String(); return true })
	if v["principal"] != "User:alice" {
		return nil
	}
	root := l
	if l.root != nil {
		root = l.root
	}
	root.mu.Lock()
	defer root.mu.Unlock()
	if q := (right{v["operation"], v["type"], v["name"]}); !slices.Contains(root.asked, q) {
		root.asked = append(root.asked, q)
	}
	return nil
}

func (l *questionLog) WithAttrs(attrs []slog.Attr) slog.Handler {
	root := l
	if l.root != nil {
		root = l.root
	}
	return &questionLog{root: root, attrs: append(slices.Clone(l.attrs), attrs...)}
}

func (l *questionLog) WithGroup(string) slog.Handler { return l }

// take gives what was asked since the last time, with ~ for the prefix.
func (l *questionLog) take(prefix string) []right {
	l.mu.Lock()
	defer l.mu.Unlock()
	var asked []right
	for _, q := range l.asked {
		if q.kind == "CLUSTER" || strings.Contains(q.name, prefix) { // what other runs have made is not ours
			q.name = strings.ReplaceAll(q.name, prefix, "~")
			asked = append(asked, q)
		}
	}
	l.asked = nil
	return asked
}

// env is one run of one case.
type env struct {
	t      *testing.T
	s      subject
	prefix string
	notes  map[string]string // what make remembers for show
}

func (e *env) n(name string) string { return e.prefix + name }

// admin sends a request as the super user.
func (e *env) admin(m wire.Message, version int16, into wire.Message) {
	e.t.Helper()
	if err := e.s.call("admin", "BROKER", m, version, into); err != nil {
		e.t.Fatalf("%s: %v", wire.APIName(m.APIKey()), err)
	}
}

// retry repeats until there is no error: Kafka takes a moment to follow what it has answered.
func (e *env) retry(what string, f func() wire.Code) {
	e.t.Helper()
	var code wire.Code
	for range 20_000 {
		if code = f(); code == wire.None {
			return
		}
		e.s.idle()
	}
	e.t.Fatalf("%s: %v", what, code)
}

// outcome is what an answer says: its error codes by place, with how often each is there, and what the case shows.
func outcome(resp wire.Message, shown string) string {
	counts := map[string]int{}
	codesOf("", reflect.ValueOf(resp).Elem(), counts)
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(counts)) {
		part := k
		if counts[k] > 1 {
			part = fmt.Sprintf("%s x%d", k, counts[k])
		}
		parts = append(parts, part)
	}
	if shown != "" {
		parts = append(parts, shown)
	}
	return strings.Join(parts, ", ")
}

func codesOf(path string, v reflect.Value, counts map[string]int) {
	switch {
	case v.Type() == reflect.TypeFor[wire.Code]():
		counts[strings.TrimPrefix(path, ".")+"="+wire.Code(v.Int()).String()]++
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && f.Name != "UnknownTags" {
				codesOf(path+"."+f.Name, v.Field(i), counts)
				if strings.HasSuffix(f.Name, "AuthorizedOperations") {
					counts[strings.TrimPrefix(path, ".")+"."+f.Name+fmt.Sprintf("=%#x", uint32(v.Field(i).Int()))]++
				}
			}
		}
	case v.Kind() == reflect.Pointer && !v.IsNil():
		codesOf(path, v.Elem(), counts)
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Struct:
		for i := range v.Len() {
			codesOf(path, v.Index(i), counts)
		}
	}
}

// try sends the case's request as alice, who lacks some rights.
func (c *authorizationCase) try(t *testing.T, s subject, prefix string, denied []right) (got string, e *env, m wire.Message) {
	t.Helper()
	e = &env{t: t, s: s, prefix: prefix, notes: map[string]string{}}
	s.deny(nil)
	m = c.make(e)
	s.deny(prefixed(denied, prefix))
	if o, ok := s.(*ours); ok {
		o.log.take(prefix)
	}
	return c.send(e, m), e, m
}

func prefixed(rights []right, prefix string) (out []right) {
	for _, r := range rights {
		out = append(out, r.at(prefix))
	}
	return out
}

func (c *authorizationCase) send(e *env, m wire.Message) string {
	info, _ := wire.Lookup(m.APIKey())
	resp := info.NewResponse()
	listener := "BROKER"
	if c.controller {
		listener = "CONTROLLER"
	}
	switch err := e.s.call("alice", listener, m, c.version, resp); {
	case errors.Is(err, edge.ErrNoAnswer):
		return "no answer"
	case err != nil:
		return "the connection is closed"
	}
	shown := ""
	if c.show != nil {
		shown = c.show(e, resp)
	}
	return outcome(resp, shown)
}

// state is all that a refused request could have changed.
func (o *ours) state() string {
	var b strings.Builder
	fmt.Fprintln(&b, "metadata", o.node.Image().Offset())
	dirs, groups, txns := &wire.DescribeLogDirsResponse{}, &wire.ListGroupsResponse{}, &wire.ListTransactionsResponse{}
	for _, p := range []struct {
		m, into wire.Message
		version int16
	}{{&wire.DescribeLogDirsRequest{}, dirs, 4}, {&wire.ListGroupsRequest{}, groups, 5}, {&wire.ListTransactionsRequest{DurationFilter: -1}, txns, 1}} {
		if err := o.call("admin", "BROKER", p.m, p.version, p.into); err != nil {
			o.t.Fatal(err)
		}
	}
	for i := range dirs.Results {
		for _, t := range dirs.Results[i].Topics {
			fmt.Fprintln(&b, t.Name, t.Partitions)
		}
	}
	for _, g := range groups.Groups {
		fmt.Fprintln(&b, g.GroupID, g.GroupState)
	}
	for _, x := range txns.TransactionStates {
		fmt.Fprintln(&b, x.TransactionalID, x.TransactionState)
	}
	return b.String()
}

// sets finds the rights that the case needs: each is taken away, and those that are only asked for then together with it.
func (c *authorizationCase) run(t *testing.T, o *ours, visit func(denied []right, got string)) {
	number := 0
	prefix := func() string { number++; return fmt.Sprintf("%s%d-", c.slug(), number) }
	p := prefix()
	granted, _, _ := c.try(t, o, p, nil)
	first := o.log.take(p)
	visit(nil, granted)
	var level [][]right
	for _, q := range append(slices.Clone(first), c.also...) {
		if !slices.ContainsFunc(level, func(l []right) bool { return l[0] == q }) {
			level = append(level, []right{q})
		}
	}
	level = append(level, c.together...)
	for range maxAlternatives {
		var next [][]right
		for _, denied := range level {
			p := prefix()
			e := &env{t: t, s: o, prefix: p, notes: map[string]string{}}
			m := c.make(e)
			o.deny(prefixed(denied, p))
			o.log.take(p)
			before := o.state()
			got := c.send(e, m)
			asked := o.log.take(p)
			visit(denied, got)
			if after := o.state(); after != before && got != granted && !c.effect {
				t.Errorf("without %v it answers %s, but something happened:\n%s\nbefore:\n%s", denied, got, after, before)
			}
			o.deny(nil)
			if got != granted {
				if again := c.send(e, m); again != granted && !c.once {
					t.Errorf("with %v back it answers %s, want %s", denied, again, granted)
				}
			}
			for _, q := range asked {
				if !slices.Contains(first, q) && !slices.Contains(denied, q) {
					next = append(next, append(slices.Clone(denied), q))
				}
			}
		}
		level = next
	}
}

// maxAlternatives is how many rights can each be enough.
const maxAlternatives = 3

func (c *authorizationCase) slug() string {
	return strings.ToLower(strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return -1
	}, c.title())) + string(rune('a'+c.version))
}

func (c *authorizationCase) title() string {
	return strings.TrimSpace(wire.APIName(c.key) + " " + c.variant)
}

// line is how a result is written down.
func (c *authorizationCase) line(denied []right) string {
	var names []string
	for _, r := range denied {
		names = append(names, r.String())
	}
	if len(names) == 0 {
		return fmt.Sprintf("%s v%d, all rights", c.title(), c.version)
	}
	return fmt.Sprintf("%s v%d, without %s", c.title(), c.version, strings.Join(names, ", "))
}

func readLines(t *testing.T, path string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil && !*rewriteAuthorization {
		t.Fatal(err)
	}
	out := map[string]string{}
	for line := range strings.Lines(string(b)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), ": "); ok && !strings.HasPrefix(line, "#") {
			out[key] = value
		}
	}
	return out
}

func TestAuthorization(t *testing.T) {
	cases := authorizationCases()
	covered := map[int16]bool{}
	for i := range cases {
		covered[cases[i].key] = true
	}
	first := newOurs(t)
	for _, listener := range []string{"BROKER", "CONTROLLER"} {
		served := &wire.ApiVersionsResponse{}
		if err := first.call("admin", listener, &wire.ApiVersionsRequest{ClientSoftwareName: "test", ClientSoftwareVersion: "1"}, 4, served); err != nil {
			t.Fatal(err)
		}
		for _, api := range served.APIKeys {
			if !covered[api.APIKey] && needsNoRight[api.APIKey] == "" {
				t.Errorf("%s has no line in authorizationCases: say which rights it needs", wire.APIName(api.APIKey))
			}
		}
	}
	want := readLines(t, authorizationFile)
	var peer subject
	if addresses := os.Getenv("MOLDAU_AUTHZ_KAFKA"); addresses != "" {
		peer = newKafka(t, addresses)
	}
	var docs strings.Builder
	used, everyCase := map[string]bool{}, true
	for i := range cases {
		c := &cases[i]
		ran := false
		t.Run(strings.ReplaceAll(c.title(), " ", "-"), func(t *testing.T) {
			number := 0
			ran = true
			c.run(t, newOurs(t), func(denied []right, got string) {
				line := c.line(denied)
				if peer != nil {
					number++
					want[line], _, _ = c.try(t, peer, fmt.Sprintf("%s%s%d-", c.slug(), peer.(*kafka).run, number), denied)
				}
				expected := want[line]
				used[line] = true
				if got != expected {
					t.Errorf("%s:\n we answer %s\nKafka does %s", line, got, expected)
				}
				if len(denied) > 0 && expected != want[c.line(nil)] {
					fmt.Fprintf(&docs, "| %s | %s | %s |\n", c.title(), joinRights(denied), telling(expected))
				}
			})
		})
		everyCase = everyCase && ran
	}
	if !t.Failed() && everyCase {
		for line := range want {
			if !used[line] {
				t.Errorf("%s has a line that no case asks for: %s", authorizationFile, line)
			}
		}
	}
	if peer != nil && *rewriteAuthorization {
		writeFile(t, authorizationFile, "# What Kafka 4.3.1 with StandardAuthorizer answers; authorization_test.go says how it is made.\n"+written(want))
	}
	if everyCase {
		checkDocs(t, docs.String())
	}
}

func written(lines map[string]string) string {
	var b strings.Builder
	for _, line := range slices.Sorted(maps.Keys(lines)) {
		fmt.Fprintf(&b, "%s: %s\n", line, lines[line])
	}
	return b.String()
}

// telling leaves out of an outcome what goes without saying.
func telling(outcome string) string {
	parts := strings.Split(outcome, ", ")
	kept := slices.DeleteFunc(slices.Clone(parts), func(p string) bool { return strings.Contains(p, "=NONE") || strings.HasSuffix(p, "0x80000000") })
	if len(kept) == 0 {
		return "nothing"
	}
	return strings.Join(kept, ", ")
}

func joinRights(rights []right) string {
	var names []string
	for _, r := range rights {
		name := strings.TrimPrefix(r.name, "~")
		if r.kind == "CLUSTER" {
			names = append(names, r.op+" on the cluster")
			continue
		}
		names = append(names, fmt.Sprintf("%s on %s `%s`", r.op, strings.ToLower(r.kind), name))
	}
	return strings.Join(names, " and ")
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// checkDocs compares docs/authorization.md with the matrix.
func checkDocs(t *testing.T, lines string) {
	t.Helper()
	var b strings.Builder
	b.WriteString("# Rights that requests need\n\nMade by `go test ./internal/node -run TestAuthorization -rewrite-authorization` from the matrix of APIs and rights. Each line is a request that is\n" +
		"answered without error when its principal has all rights, the rights that it lacks, and what it is answered then: error codes by their place\n" +
		"in the response. Where several rights are named, each of them is enough.\n\n## No right needed\n\n")
	for _, key := range slices.Sorted(maps.Keys(needsNoRight)) {
		fmt.Fprintf(&b, "* %s: %s\n", wire.APIName(key), needsNoRight[key])
	}
	b.WriteString("\n## The matrix\n\n| request | without | answer |\n|---|---|---|\n" + lines)
	if *rewriteAuthorization {
		writeFile(t, authorizationDocs, b.String())
		return
	}
	if have, err := os.ReadFile(authorizationDocs); err != nil || !bytes.Equal(have, []byte(b.String())) {
		t.Errorf("%s is not what the matrix says (%v): go test ./internal/node -run TestAuthorization -rewrite-authorization", authorizationDocs, err)
	}
}
