package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Kafka's tools for security.
const (
	aclCommand   = "org.apache.kafka.tools.AclCommand"
	tokenCommand = "org.apache.kafka.tools.DelegationTokenCommand"
)

// reloadLimit is how long a broker may take until it shows a new certificate.
const reloadLimit = 30 * time.Second

// ruleTools are commands on rules: every kind of pattern, the shorthands, and what must be refused.
func ruleTools() []tool {
	var list []tool
	add := func(args ...string) {
		list = append(list, tool{class: aclCommand, args: args, like: equalLines})
	}
	alice, bob := []string{"--allow-principal", "User:Alice"}, []string{"--deny-principal", "User:Bob"}
	with := func(who []string, args ...string) { add(append(slices.Clone(who), args...)...) }
	with(alice, "--add", "--operation", "Read", "--operation", "Describe", "--topic", "books")
	with(alice, "--add", "--operation", "Write", "--topic", "book", "--resource-pattern-type", "prefixed")
	with(alice, "--add", "--operation", "All", "--topic", "*")
	with(bob, "--add", "--operation", "Write", "--topic", "books", "--deny-host", "192.0.2.7")
	with(alice, "--add", "--operation", "Read", "--group", "readers", "--allow-host", "192.0.2.8")
	with(alice, "--add", "--operation", "IdempotentWrite", "--operation", "AlterConfigs", "--cluster")
	with(alice, "--add", "--operation", "Describe", "--delegation-token", "some-token")
	with(alice, "--add", "--operation", "CreateTokens", "--operation", "DescribeTokens", "--user-principal", "User:Carol")
	with(alice, "--add", "--producer", "--topic", "shelf", "--idempotent", "--transactional-id", "books-id")
	with(alice, "--add", "--consumer", "--topic", "shelf", "--group", "readers", "--resource-pattern-type", "prefixed")
	with(alice, "--add", "--operation", "Read", "--topic", "books") // once more
	add("--list")
	add("--list", "--topic", "books")
	add("--list", "--topic", "books", "--resource-pattern-type", "match")
	add("--list", "--topic", "books", "--resource-pattern-type", "any")
	add("--list", "--topic", "book", "--resource-pattern-type", "prefixed")
	add("--list", "--topic", "*")
	add("--list", "--group", "readers")
	add("--list", "--cluster")
	add("--list", "--principal", "User:Alice")
	add("--list", "--principal", "User:Bob", "--topic", "books")
	add("--list", "--delegation-token", "some-token")
	add("--list", "--user-principal", "User:Carol")
	add("--list", "--topic", "absent")
	with(alice, "--add", "--operation", "Borrow", "--topic", "books")
	with(alice, "--add", "--operation", "Create", "--group", "readers")
	add("--add", "--allow-principal", "Alice", "--operation", "Read", "--topic", "books")
	add("--add", "--allow-principal", "User:Alice", "--operation", "Read", "--topic", "books", "--resource-pattern-type", "match")
	add("--add", "--operation", "Read", "--topic", "books")
	with(alice, "--remove", "--force", "--operation", "Read", "--topic", "books")
	add("--list", "--topic", "books")
	with(alice, "--remove", "--force", "--producer", "--topic", "shelf", "--idempotent", "--transactional-id", "books-id")
	add("--remove", "--force", "--topic", "book", "--resource-pattern-type", "prefixed")
	add("--remove", "--force", "--topic", "books", "--resource-pattern-type", "match")
	add("--remove", "--force", "--topic", "shelf", "--group", "readers", "--resource-pattern-type", "any")
	add("--remove", "--force", "--cluster")
	add("--remove", "--force", "--delegation-token", "some-token")
	add("--remove", "--force", "--user-principal", "User:Carol")
	add("--remove", "--force", "--transactional-id", "books-id")
	add("--remove", "--force", "--topic", "absent")
	add("--list")
	return list
}

// userTools are commands on SCRAM credentials and quotas of users, clients and addresses.
func userTools() []tool {
	var list []tool
	config := func(args ...string) {
		list = append(list, tool{class: configCommand, args: args, like: equalLines})
	}
	entity := func(names ...string) (out []string) { // TYPE, NAME, …; the default for a name that is empty
		for i := 0; i < len(names); i += 2 {
			if out = append(out, "--entity-type", names[i]); names[i+1] == "" {
				out = append(out, "--entity-default")
			} else {
				out = append(out, "--entity-name", names[i+1])
			}
		}
		return out
	}
	alter := func(add string, entity []string) {
		config(append([]string{"--alter", "--add-config", add}, entity...)...)
		config(append([]string{"--describe"}, entity...)...)
	}
	drop := func(del string, entity []string) {
		config(append([]string{"--alter", "--delete-config", del}, entity...)...)
		config(append([]string{"--describe"}, entity...)...)
	}
	ursula := entity("users", "ursula")
	alter("SCRAM-SHA-256=[password=one],SCRAM-SHA-512=[iterations=8192,password=two]", ursula)
	alter("SCRAM-SHA-256=[iterations=5000,password=three]", ursula)
	alter("SCRAM-SHA-256=[iterations=1,password=few]", ursula)
	alter("SCRAM-SHA-256=[iterations=20000,password=many]", ursula)
	alter("SCRAM-SHA-1=[password=old]", ursula)
	alter("SCRAM-SHA-256=[password=]", ursula)
	config("--describe", "--entity-type", "users")
	alter("producer_byte_rate=1048576,consumer_byte_rate=2097152", ursula)
	drop("SCRAM-SHA-256", ursula)
	drop("SCRAM-SHA-256", ursula)
	drop("SCRAM-SHA-512,producer_byte_rate,consumer_byte_rate", ursula)
	alter("request_percentage=150", entity("users", "ursula", "clients", "reports"))
	alter("controller_mutation_rate=10", entity("users", "ursula", "clients", ""))
	alter("producer_byte_rate=1.5e9", entity("clients", "reports"))
	alter("consumer_byte_rate=1e12", entity("users", ""))
	alter("consumer_byte_rate=1e12", entity("clients", ""))
	alter("request_percentage=9000", entity("users", "", "clients", ""))
	alter("connection_creation_rate=1000", entity("ips", "192.0.2.9"))
	alter("connection_creation_rate=100000", entity("ips", ""))
	alter("connection_creation_rate=1", entity("ips", "not an address"))
	alter("producer_byte_rate=1", entity("ips", "192.0.2.9"))
	alter("connection_creation_rate=1", entity("clients", "reports"))
	alter("producer_byte_rate=-1", entity("clients", "reports"))
	alter("producer_byte_rate=much", entity("clients", "reports"))
	alter("no_such_quota=1", entity("clients", "reports"))
	alter("producer_byte_rate=7", entity("users", "with space & sign"))
	for _, kind := range []string{"users", "clients", "ips"} {
		config("--describe", "--entity-type", kind)
	}
	config("--describe", "--entity-type", "users", "--entity-type", "clients")
	drop("request_percentage", entity("users", "ursula", "clients", "reports"))
	drop("controller_mutation_rate", entity("users", "ursula", "clients", ""))
	drop("producer_byte_rate", entity("clients", "reports"))
	drop("consumer_byte_rate", entity("users", ""))
	drop("consumer_byte_rate", entity("clients", ""))
	drop("request_percentage", entity("users", "", "clients", ""))
	drop("connection_creation_rate", entity("ips", "192.0.2.9"))
	drop("connection_creation_rate", entity("ips", ""))
	drop("producer_byte_rate", entity("users", "with space & sign"))
	drop("producer_byte_rate", entity("users", "with space & sign"))
	return list
}

// clientFiles writes the property files that tools read, by who they are.
func (p *securitySuite) clientFiles() (map[string]string, error) {
	login := func(user, password string) string {
		return "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nrequest.timeout.ms=15000\ndefault.api.timeout.ms=40000\n" +
			`sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required username="` + user + `" password="` + password + "\";\n"
	}
	texts := map[string]string{"tom": login("tom", "tom-secret"), "poor": login("poor", "poor-secret"), "root": login("root", "root-secret"), "wrong": login("root", "wrong")}
	paths := map[string]string{}
	for name, text := range texts {
		paths[name] = filepath.Join(p.work, "client-"+name+".properties")
		if err := os.WriteFile(paths[name], []byte(text), 0o600); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

// loginTools are commands of users who may nothing, and of one who is not who he says, each with its own login.
func loginTools(b *securityBroker, files map[string]string) []tool {
	var list []tool
	as := func(who, class string, args ...string) {
		flag := "--command-config"
		list = append(list, tool{class: class, args: append(args, "--bootstrap-server", b.at(onSASL), flag, files[who]), like: equalLines})
	}
	as("poor", aclCommand, "--list")
	as("poor", aclCommand, "--add", "--allow-principal", "User:poor", "--operation", "All", "--topic", "*")
	as("poor", topicCommand, "--create", "--topic", "poor")
	as("poor", topicCommand, "--list")
	as("poor", topicCommand, "--describe", "--topic", "sec-none")
	as("poor", configCommand, "--describe", "--entity-type", "users")
	as("poor", configCommand, "--describe", "--entity-type", "brokers", "--entity-name", "1")
	as("poor", configCommand, "--alter", "--entity-type", "users", "--entity-name", "poor", "--add-config", "producer_byte_rate=1")
	as("poor", configCommand, "--alter", "--entity-type", "users", "--entity-name", "poor", "--add-config", "SCRAM-SHA-256=[password=x]")
	as("poor", groupCommand, "--list")
	as("poor", groupCommand, "--describe", "--group", "absent")
	as("wrong", topicCommand, "--list")
	as("root", topicCommand, "--describe", "--topic", "sec-none")
	as("tom", tokenCommand, "--describe", "--owner-principal", "User:root")
	as("tom", tokenCommand, "--renew", "--renew-time-period", "-1", "--hmac", "bm9uZQ==")
	as("tom", tokenCommand, "--expire", "--expiry-time-period", "-1", "--hmac", "bm9uZQ==")
	as("tom", tokenCommand, "--create", "--max-life-time-period", "3600000", "--owner-principal", "User:root")
	as("root", tokenCommand, "--create", "--max-life-time-period", "3600000", "--owner-principal", "User:olga", "--renewer-principal", "User:tom", "--renewer-principal", "User:pia")
	return list
}

// tokenLife are commands on the token that was made last.
func tokenLife(b *securityBroker, files map[string]string, hmac string) []tool {
	var list []tool
	as := func(who string, args ...string) {
		list = append(list, tool{class: tokenCommand, args: append(args, "--bootstrap-server", b.at(onSASL), "--command-config", files[who]), like: equalLines})
	}
	as("root", "--describe", "--owner-principal", "User:olga")
	as("tom", "--describe", "--owner-principal", "User:olga")
	as("tom", "--renew", "--renew-time-period", "600000", "--hmac", hmac)
	as("poor", "--renew", "--renew-time-period", "600000", "--hmac", hmac)
	as("poor", "--expire", "--expiry-time-period", "-1", "--hmac", hmac)
	as("tom", "--expire", "--expiry-time-period", "-1", "--hmac", hmac)
	return list
}

// keyStoreTools change the certificates of the listeners TLS and MTLS while the broker runs: another file, the same file with
// other contents, and what must be refused.
func (p *securitySuite) keyStoreTools(b *securityBroker) (before, after []tool) {
	set := func(text string) tool {
		return tool{class: configCommand, args: []string{"--alter", "--entity-type", "brokers", "--entity-name", "1", "--add-config", text}, like: equalLines}
	}
	pem := func(path string) tool {
		return set("listener.name.tls.ssl.keystore.type=PEM,listener.name.tls.ssl.keystore.location=" + path + ".pem")
	}
	same := "listener.name.mtls.ssl.keystore.type=PKCS12,listener.name.mtls.ssl.keystore.location=" + b.store() + ",listener.name.mtls.ssl.keystore.password=" + storePassword +
		",listener.name.mtls.ssl.key.password=" + storePassword
	describe := tool{class: configCommand, args: []string{"--describe", "--entity-type", "brokers", "--entity-name", "1"}, like: equalLines}
	before = []tool{pem(filepath.Join(p.auth.dir, "absent")), pem(p.auth.alice.path), set("listener.name.mtls.ssl.keystore.password=wrong"), pem(p.auth.fresh.path), set(same)}
	after = []tool{describe, set("listener.name.mtls.ssl.client.auth=sometimes"), {class: configCommand, args: []string{"--alter", "--entity-type", "brokers", "--entity-name", "1", "--delete-config",
		"listener.name.tls.ssl.keystore.location,listener.name.tls.ssl.keystore.type"}, like: equalLines}, describe}
	return before, after
}

// store is the broker's own key store of the listener MTLS.
func (b *securityBroker) store() string { return b.dir + ".p12" }

// ownCommands are Moldau's commands with the property files of Kafka's clients, on both brokers.
func (p *securitySuite) ownCommands(ctx context.Context, b *securityBroker) {
	trust := "ssl.truststore.type=PKCS12\nssl.truststore.location=" + p.auth.ca.path + ".p12\nssl.truststore.password=" + storePassword + "\n"
	scram := `sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="sue" password="sue-secret";` + "\n"
	for _, c := range []struct {
		name, properties string
		listener         int
		fails            bool
	}{
		{"SCRAM-SHA-512 over TLS", "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-512\n" + scram + trust, onSASLS, false},
		{"a wrong mechanism", "security.protocol=SASL_SSL\nsasl.mechanism=SCRAM-SHA-256\n" + scram + trust, onSASLS, true},
		{"PLAIN", "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\nsasl.jaas.config=" + strings.ReplaceAll(plainLogin, "USER", "pia") + "\n", onSASL, false},
		{"a client certificate", "security.protocol=SSL\nssl.keystore.type=PKCS12\nssl.keystore.location=" + p.auth.alice.path + ".p12\nssl.keystore.password=" + storePassword +
			"\nssl.key.password=" + storePassword + "\n" + trust, onMTLS, false},
		{"no client certificate", "security.protocol=SSL\n" + trust, onMTLS, true},
	} {
		file := filepath.Join(p.work, "own-"+b.name+".properties")
		err := os.WriteFile(file, []byte(c.properties), 0o600)
		if err == nil {
			err = command(ctx, p.work, p.moldau, "topic", "list", "--bootstrap-server", b.at(c.listener), "--command-config", file)
		}
		if c.fails && err == nil {
			err = errors.New("it did not fail")
		} else if c.fails {
			err = nil
		}
		p.report.check("moldau topic list with "+c.name+" on "+b.name, err)
	}
}

// plainLogin is a client's JAAS line.
const plainLogin = `org.apache.kafka.common.security.plain.PlainLoginModule required username="USER" password="USER-secret";`

// shows waits until a listener shows a certificate.
func (p *securitySuite) shows(ctx context.Context, b *securityBroker, listener int, want *certificate) error {
	ctx, cancel := context.WithTimeout(ctx, reloadLimit)
	defer cancel()
	pair, err := tls.LoadX509KeyPair(p.auth.alice.path+".crt", p.auth.alice.path+".key")
	if err != nil {
		return err
	}
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true, Certificates: []tls.Certificate{pair}}} // it is compared with the one that is wanted
	for {
		c, err := dialer.DialContext(ctx, "tcp", b.at(listener))
		if err != nil {
			return err
		}
		shown := c.(*tls.Conn).ConnectionState().PeerCertificates[0]
		c.Close()
		if shown.Equal(want.cert) {
			return nil
		}
		if pause(ctx, 100*time.Millisecond); ctx.Err() != nil {
			return fmt.Errorf("after %v it still shows the certificate with the number %v", reloadLimit, shown.SerialNumber)
		}
	}
}

// tokenSecret is the HMAC of a delegation token as it is printed.
var tokenSecret = regexp.MustCompile(`[A-Za-z0-9+/]{86}==`)

// tools runs all lists on one broker and keeps what they printed.
func (p *securitySuite) tools(ctx context.Context, b *securityBroker) error {
	files, err := p.clientFiles()
	if err != nil {
		return err
	}
	at := func(tools []tool) []tool {
		for i := range tools {
			tools[i].args = append(tools[i].args, "--bootstrap-server", b.addr)
		}
		return tools
	}
	run := func(tools []tool) ([]printed, error) {
		got, err := p.runTools(ctx, tools)
		for i, g := range got {
			b.printed = append(b.printed, ranTool{tools[i], g})
		}
		return got, err
	}
	if err := copyFile(p.auth.fresh.path+".p12", b.store()); err != nil {
		return err
	}
	before, after := p.keyStoreTools(b)
	got, err := run(slices.Concat(at(slices.Concat(ruleTools(), userTools(), before)), loginTools(b, files)))
	if err != nil {
		return err
	}
	p.report.check("a listener shows the certificate of another file on "+b.name, p.shows(ctx, b, onTLS, p.auth.fresh))
	p.report.check("a listener shows the new certificate of its file on "+b.name, p.shows(ctx, b, onMTLS, p.auth.fresh))
	hmac := tokenSecret.FindString(got[len(got)-1].text)
	if hmac == "" {
		return errors.New("DelegationTokenCommand printed no HMAC: " + got[len(got)-1].text)
	}
	if _, err := run(slices.Concat(tokenLife(b, files, hmac), at(after))); err != nil {
		return err
	}
	p.keep(b)
	p.report.check("a listener shows the certificate of its static file again on "+b.name, p.shows(ctx, b, onTLS, p.auth.rsa))
	return nil
}

// keep writes what the tools printed to a file, for who looks at a run that was kept.
func (p *securitySuite) keep(b *securityBroker) {
	var out strings.Builder
	for _, r := range b.printed {
		fmt.Fprintf(&out, "$ %s\n%s=== %d\n", r.name(), r.text, r.code)
	}
	_ = os.WriteFile(filepath.Join(p.work, "security-tools-"+b.name+".out"), []byte(out.String()), 0o600)
}

// ranTool is a tool with what it printed.
type ranTool struct {
	tool
	printed
}

// compareTools compares what the tools printed on both brokers.
func (p *securitySuite) compareTools(moldau, kafka *securityBroker) {
	seen := map[string]int{}
	for i, k := range kafka.printed {
		short, rest, _ := strings.Cut(strings.ReplaceAll(k.name(), p.work, ""), " ")
		name := short + " " + normaliseSecurity(rest)
		if seen[name]++; seen[name] > 1 {
			name += fmt.Sprintf(" (%d)", seen[name])
		}
		if i >= len(moldau.printed) {
			p.report.check(name, errors.New("not run on Moldau"))
			continue
		}
		m := moldau.printed[i]
		for _, r := range []*ranTool{&m, &k} {
			if r.class == aclCommand && !slices.Contains(r.args, "--list") {
				r.text, _, _ = strings.Cut(r.text, "Current ACLs") // which may be those before the change
			}
			r.text = normaliseSecurity(r.text)
		}
		p.report.check(name, samePrinted(k.like, m.printed, k.printed))
	}
}

// rights runs java/Rights.java on one broker.
func (p *securitySuite) rights(ctx context.Context, b *securityBroker) error {
	ctx, cancel := context.WithTimeout(ctx, securityClientLimit)
	defer cancel()
	start := time.Now()
	got, err := p.lines(p.java(ctx, "Rights", b.at(onPlain), b.at(onSASL)), filepath.Join(p.work, "security-rights-"+b.name))
	b.rights = got
	fmt.Printf("security: rights on %s: %v (%v)\n", b.name, time.Since(start).Round(100*time.Millisecond), err)
	return err
}

// compareOutcomes compares outcomes that have no other measure than what Kafka's are.
func (p *securitySuite) compareOutcomes(what string, moldau, kafka outcomes) {
	for _, name := range kafka.names {
		var err error
		m, k := normaliseSecurity(moldau.text[name]), normaliseSecurity(kafka.text[name])
		if why := kafka.differs[name]; why != "" && m != k {
			p.report.note(what+": "+name, result{"skip", why})
			continue
		}
		if m != k {
			err = fmt.Errorf("ended with %q, where Kafka has %q", m, k)
		}
		p.report.check(what+": "+name, err)
	}
}
