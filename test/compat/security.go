package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"
)

// securityClientLimit bounds one client's rows, all of them.
const securityClientLimit = 3 * time.Minute

// securitySettings go to both brokers beside the common ones: a listener for each way to connect, and who may do what.
const securitySettings = `listeners=PLAINTEXT://localhost:%[1]d,CONTROLLER://localhost:%[2]d,MTLS://localhost:%[3]d,TLS://localhost:%[4]d,SASL://localhost:%[5]d,SASLS://localhost:%[6]d,AGAIN://localhost:%[7]d
advertised.listeners=PLAINTEXT://localhost:%[1]d,MTLS://localhost:%[3]d,TLS://localhost:%[4]d,SASL://localhost:%[5]d,SASLS://localhost:%[6]d,AGAIN://localhost:%[7]d
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,MTLS:SSL,TLS:SSL,SASL:SASL_PLAINTEXT,SASLS:SASL_SSL,AGAIN:SASL_PLAINTEXT
inter.broker.listener.name=PLAINTEXT
listener.name.mtls.ssl.client.auth=required
listener.name.mtls.ssl.keystore.type=PKCS12
listener.name.mtls.ssl.keystore.location=%[12]s
listener.name.mtls.ssl.keystore.password=store-secret
listener.name.mtls.ssl.key.password=store-secret
listener.name.mtls.ssl.truststore.type=PKCS12
listener.name.mtls.ssl.truststore.location=%[8]s/ca.p12
listener.name.mtls.ssl.truststore.password=store-secret
listener.name.mtls.ssl.principal.mapping.rules=RULE:^CN=([^,]+),OU=clients,O=(.*)$/$1@$2/L,DEFAULT
listener.name.tls.ssl.keystore.type=PEM
listener.name.tls.ssl.keystore.location=%[8]s/rsa.pem
listener.name.sasls.ssl.keystore.type=JKS
listener.name.sasls.ssl.keystore.location=%[8]s/server.jks
listener.name.sasls.ssl.keystore.password=store-secret
listener.name.sasls.ssl.key.password=store-secret
listener.name.sasl.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER,GSSAPI
listener.name.sasls.sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER,GSSAPI
listener.name.again.sasl.enabled.mechanisms=PLAIN,GSSAPI
listener.name.again.plain.connections.max.reauth.ms=3000
listener.name.sasl.plain.sasl.jaas.config=%[9]s
listener.name.sasls.plain.sasl.jaas.config=%[9]s
listener.name.again.plain.sasl.jaas.config=%[9]s
listener.name.sasl.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasls.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasls.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.sasl.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;
listener.name.sasl.oauthbearer.sasl.server.callback.handler.class=org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler
listener.name.sasl.oauthbearer.sasl.oauthbearer.jwks.endpoint.url=file://%[10]s
listener.name.sasl.oauthbearer.sasl.oauthbearer.expected.audience=kafka
listener.name.sasl.oauthbearer.sasl.oauthbearer.expected.issuer=https://issuer.example
listener.name.sasls.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;
listener.name.sasls.oauthbearer.sasl.server.callback.handler.class=org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler
listener.name.sasls.oauthbearer.sasl.oauthbearer.jwks.endpoint.url=%[11]s
listener.name.sasls.oauthbearer.sasl.oauthbearer.expected.audience=kafka
listener.name.sasls.oauthbearer.sasl.oauthbearer.expected.issuer=https://issuer.example
sasl.kerberos.service.name=kafka
listener.name.sasl.gssapi.sasl.jaas.config=%[13]s
listener.name.sasls.gssapi.sasl.jaas.config=%[13]s
listener.name.again.gssapi.sasl.jaas.config=%[14]s
delegation.token.secret.key=a-secret-for-tokens
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:root
`

// plainUsers is the JAAS line of the listeners with PLAIN. root may do everything, tom has delegation tokens, and the others
// have what java/Rights.java gives them.
const plainUsers = `org.apache.kafka.common.security.plain.PlainLoginModule required user_root="root-secret" user_pia="pia-secret" user_tom="tom-secret" user_poor="poor-secret" user_rita="rita-secret" user_quentin="quentin-secret" user_ann="ann-secret" user_max="max-secret" user_petra="petra-secret" user_tessa="tessa-secret";`

// row is one way to connect, as the scripts read it, and how it must end.
type securityRow struct {
	Name      string `json:"name"`
	Bootstrap string `json:"bootstrap"`
	Protocol  string `json:"protocol"`
	Mechanism string `json:"mechanism,omitempty"`
	Username  string `json:"username,omitempty"`
	Password  string `json:"password,omitempty"`
	Token     string `json:"token,omitempty"`
	Delegated bool   `json:"delegated,omitempty"`
	CA        string `json:"ca,omitempty"`
	Cert      string `json:"cert,omitempty"`
	Store     string `json:"store,omitempty"`
	TLS       string `json:"tls,omitempty"`
	Prefix    string `json:"prefix"`
	Other     string `json:"other,omitempty"`
	Rest      int    `json:"rest,string,omitempty"`
	Keytab    string `json:"keytab,omitempty"`
	Krb5      string `json:"krb5,omitempty"`

	user string // whose rights cover the topic
	ends ending
}

// ending is how a row must end.
type ending int

const (
	forbidden   ending = iota // all is well, up to the topic that only others may write
	allowed                   // all is well
	refusedSASL               // the broker refuses the credentials
	refusedTLS                // one of the two refuses the other's certificate
	noMechanism               // the broker does not offer it
)

// securityBroker is a broker with its listeners.
type securityBroker struct {
	*broker
	ports   [7]int // as in securitySettings
	rows    []securityRow
	outcome map[string]outcomes // by client
	rights  outcomes
	probes  outcomes
	printed []ranTool
}

// outcomes are the lines of a script, by the name before the tab.
type outcomes struct {
	names   []string
	text    map[string]string
	differs map[string]string // why Moldau's is another on purpose
}

// lines runs a script that prints them; what it says on its standard error goes to a file.
func (p *securitySuite) lines(cmd *exec.Cmd, file string) (outcomes, error) {
	got := outcomes{text: map[string]string{}}
	errs, err := os.Create(file + ".err")
	if err != nil {
		return got, err
	}
	defer errs.Close()
	cmd.WaitDelay, cmd.Stderr = 5*time.Second, errs
	out, err := cmd.Output()
	_ = os.WriteFile(file+".out", out, 0o600) // for who looks at a run that was kept
	for line := range strings.SplitSeq(string(out), "\n") {
		if name, outcome, ok := strings.Cut(line, "\t"); ok {
			got.names, got.text[name] = append(got.names, name), outcome
		}
	}
	return got, err
}

// securitySuite is the suite as this part uses it.
type securitySuite struct {
	*suite
	auth    *authorities
	tokens  *issuer
	kdc     *kdc
	brokers []*securityBroker
}

// securityPart runs every way to prove who one is, good and bad, and what one may do then, on both brokers.
func (s *suite) securityPart(ctx context.Context) error {
	p := &securitySuite{suite: s}
	if err := p.install(ctx); err != nil {
		return err
	}
	dir := filepath.Join(s.work, "security")
	var err error
	if p.auth, err = s.newAuthorities(ctx, dir); err != nil {
		return err
	}
	if p.tokens, err = newIssuer(dir); err != nil {
		return err
	}
	defer p.tokens.server.Close()
	if p.kdc, err = p.newKDC(ctx, filepath.Join(dir, "kdc")); err != nil {
		return err
	}
	defer p.kdc.stop()
	var wg sync.WaitGroup
	for _, name := range s.brokersNamed() {
		b, err := p.broker(name)
		if err != nil {
			return err
		}
		p.brokers = append(p.brokers, b)
		wg.Go(func() { p.report.check("the part security runs on "+name, p.on(ctx, b)) })
	}
	wg.Wait()
	p.compare()
	return nil
}

// brokersNamed are the chosen brokers, Kafka first: what it does is compared with.
func (s *suite) brokersNamed() []string {
	names := slices.Clone(s.options.brokers)
	slices.Sort(names)
	return names
}

func (p *securitySuite) install(ctx context.Context) error {
	java := []string{"Security.java", "Stores.java", "Rights.java"}
	steps := []step{p.kdcStep(),
		{"security", nil, func(ctx context.Context, dir string) error {
			return command(ctx, filepath.Join(p.source, "goclients"), "go", "build", "-o", filepath.Join(dir, "security"), "./security")
		}},
		{"securityjava", []string{"java/pom.xml", "java/Security.java", "java/Stores.java", "java/Rights.java"}, func(ctx context.Context, _ string) error {
			dir := p.dir("java")
			return command(ctx, filepath.Join(p.source, "java"), "javac", append([]string{"-cp", filepath.Join(dir, "lib", "*"), "-d", filepath.Join(dir, "classes")}, java...)...)
		}},
	}
	for _, st := range p.clientSteps() {
		if st.name == "python" {
			steps = append(steps, st)
		}
	}
	for _, st := range steps {
		if err := p.step(ctx, st); err != nil {
			return fmt.Errorf("%s: %w", st.name, err)
		}
	}
	return nil
}

// broker prepares a broker with all listeners.
func (p *securitySuite) broker(name string) (*securityBroker, error) {
	inner, err := p.suite.broker(name, "security-"+name)
	if err != nil {
		return nil, err
	}
	inner.format = []string{"--add-scram", "SCRAM-SHA-256=[name=fay,password=fay-secret]"}
	b := &securityBroker{broker: inner, outcome: map[string]outcomes{}}
	for i := range b.ports {
		if b.ports[i], err = p.freePort(); err != nil {
			return nil, err
		}
	}
	b.addr = b.at(0)
	text, err := os.ReadFile(b.properties)
	if err != nil {
		return nil, err
	}
	kept := slices.DeleteFunc(strings.Split(string(text), "\n"), func(line string) bool {
		key, _, _ := strings.Cut(line, "=")
		return slices.Contains([]string{"listeners", "advertised.listeners", "controller.quorum.voters"}, key)
	})
	all := strings.Join(kept, "\n") + fmt.Sprintf("controller.quorum.voters=1@%s\n", b.at(onController))
	all += fmt.Sprintf(securitySettings, b.ports[0], b.ports[1], b.ports[2], b.ports[3], b.ports[4], b.ports[5], b.ports[6], p.auth.dir, plainUsers, p.tokens.file, p.tokens.url, b.store(), p.kdc.login("service"), p.kdc.login("stale"))
	b.jvm = []string{"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=file://" + p.tokens.file + "," + p.tokens.url,
		"-Dorg.apache.kafka.sasl.oauthbearer.allowed.files=" + p.tokens.file, "-Djava.security.krb5.conf=" + filepath.Join(p.kdc.dir, "krb5.conf")}
	if err := copyFile(p.auth.server.path+".p12", b.store()); err != nil {
		return nil, err
	}
	return b, os.WriteFile(b.properties, []byte(all), 0o600)
}

// The listeners, as places in securityBroker.ports.
const (
	onPlain = iota
	onController
	onMTLS
	onTLS
	onSASL
	onSASLS
	onAgain
)

func (b *securityBroker) at(listener int) string {
	return fmt.Sprintf("localhost:%d", b.ports[listener])
}

// on runs everything on one broker.
func (p *securitySuite) on(ctx context.Context, b *securityBroker) error {
	if err := b.start(ctx); err != nil {
		return err
	}
	defer func() { p.report.check(b.name+" stops in good order after the part security", b.stop()) }()
	if err := p.users(ctx, b); err != nil {
		return fmt.Errorf("users and rights on %s: %w", b.name, err)
	}
	tokens, err := b.delegate(ctx)
	p.report.check("delegation tokens are made on "+b.name, err)
	b.rows = p.rows(b, tokens)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { // the tools first: they print all rules
		p.report.check("Kafka's tools for security run on "+b.name, p.tools(ctx, b))
		p.probe(ctx, b)
		if slices.Contains(p.options.brokers, moldauName) {
			p.ownCommands(ctx, b)
		}
		p.report.check("java/Rights.java runs on "+b.name, p.rights(ctx, b))
	})
	for _, c := range securityClients {
		if slices.Contains(p.clients, c.name) {
			p.client(ctx, c, b)
		}
	}
	return nil
}

// users makes the users with SCRAM credentials, the topic that no client may write, and the rights of the matrix.
func (p *securitySuite) users(ctx context.Context, b *securityBroker) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.addr))
	if err != nil {
		return err
	}
	defer cl.Close()
	admin := kadm.NewClient(cl)
	if _, err := admin.CreateTopic(ctx, 1, 1, nil, "sec-none"); err != nil {
		return err
	}
	made, err := admin.AlterUserSCRAMs(ctx, nil, []kadm.UpsertSCRAM{
		{User: "sam", Mechanism: kadm.ScramSha256, Iterations: 4096, Password: "sam-secret"}, // fay is there since format
		{User: "sue", Mechanism: kadm.ScramSha512, Iterations: 8192, Password: "sue-secret"},
	})
	if err == nil {
		err = made.Error()
	}
	if err != nil {
		return fmt.Errorf("SCRAM credentials: %w", err)
	}
	for _, user := range []string{"pia", "sam", "sue", "oda", "tom", "gus", "fay", "alice@moldau", "CN=bob,O=Moldau"} {
		rule := kadm.NewACLs().Allow("User:" + user).AllowHosts().ResourcePatternType(kadm.ACLPatternPrefixed)
		topics := rule.Topics("sec-"+plainName(user)).Operations(kmsg.ACLOperationCreate, kmsg.ACLOperationRead, kmsg.ACLOperationWrite)
		if err := created(admin.CreateACLs(ctx, topics)); err != nil {
			return fmt.Errorf("rights of %s: %w", user, err)
		}
		rule = kadm.NewACLs().Allow("User:" + user).AllowHosts().ResourcePatternType(kadm.ACLPatternPrefixed)
		if err := created(admin.CreateACLs(ctx, rule.Groups("sec-"+plainName(user)).Operations(kmsg.ACLOperationRead))); err != nil {
			return fmt.Errorf("rights of %s: %w", user, err)
		}
	}
	return nil
}

func created(results kadm.CreateACLsResults, err error) error {
	for _, r := range results {
		err = errors.Join(err, r.Err)
	}
	return err
}

// plainName is a user's name as part of a topic's.
func plainName(user string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '.'
	}, user)
}

// delegatedToken is a token's id and secret; expired is one that is over.
type delegatedToken struct{ id, hmac, expiredID, expiredHMAC string }

// delegate has tom make two tokens, and lets one expire.
func (b *securityBroker) delegate(ctx context.Context) (t delegatedToken, err error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.at(onSASL)), kgo.SASL(plain.Auth{User: "tom", Pass: "tom-secret"}.AsMechanism()), kgo.RetryTimeout(5*time.Second))
	if err != nil {
		return t, err
	}
	defer cl.Close()
	issue := func() (*kmsg.CreateDelegationTokenResponse, error) {
		req := kmsg.NewPtrCreateDelegationTokenRequest()
		req.MaxLifetimeMillis = time.Hour.Milliseconds()
		resp, err := req.RequestWith(ctx, cl)
		if err == nil {
			err = errorOf(resp.ErrorCode)
		}
		return resp, err
	}
	good, err := issue()
	if err != nil {
		return t, err
	}
	old, err := issue()
	if err != nil {
		return t, err
	}
	expire := kmsg.NewPtrExpireDelegationTokenRequest()
	expire.HMAC, expire.ExpiryPeriodMillis = old.HMAC, -1
	for range 50 { // Kafka does not know a new token at once
		ended, failed := expire.RequestWith(ctx, cl)
		if err = failed; failed == nil {
			err = errorOf(ended.ErrorCode)
		}
		if !errors.Is(err, kerr.DelegationTokenNotFound) {
			break
		}
		pause(ctx, 100*time.Millisecond)
	}
	secret := base64.StdEncoding.EncodeToString
	return delegatedToken{good.TokenID, secret(good.HMAC), old.TokenID, secret(old.HMAC)}, err
}

// securityClients are the clients with how their script is started.
var securityClients = []struct {
	name    string
	command func(p *securitySuite, ctx context.Context, file string) *exec.Cmd
}{
	{"java", func(p *securitySuite, ctx context.Context, file string) *exec.Cmd {
		return p.java(ctx, "Security", file)
	}},
	{"confluent-kafka", func(p *securitySuite, ctx context.Context, file string) *exec.Cmd {
		return exec.CommandContext(ctx, filepath.Join(p.dir("python"), "venv/bin/python"), "-B", filepath.Join(p.source, "python/security.py"), file)
	}},
	{"franz-go", securityGo("franz-go")},
	{"sarama", securityGo("sarama")},
}

func securityGo(name string) func(p *securitySuite, ctx context.Context, file string) *exec.Cmd {
	return func(p *securitySuite, ctx context.Context, file string) *exec.Cmd {
		return exec.CommandContext(ctx, filepath.Join(p.dir("security"), "security"), name, file)
	}
}

// client runs all rows with one client.
func (p *securitySuite) client(ctx context.Context, c struct {
	name    string
	command func(p *securitySuite, ctx context.Context, file string) *exec.Cmd
}, b *securityBroker) {
	rows := slices.DeleteFunc(slices.Clone(b.rows), func(r securityRow) bool { return lacksRow(c.name, r) != "" })
	for i := range rows {
		rows[i].Prefix += "-" + c.name
	}
	ctx, cancel := context.WithTimeout(ctx, securityClientLimit)
	defer cancel()
	start := time.Now()
	file := filepath.Join(p.work, "security-"+c.name+"-"+b.name+".json")
	text, err := json.Marshal(rows)
	if err == nil {
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		p.report.check("rows of "+c.name, err)
		return
	}
	got, err := p.lines(c.command(p, ctx, file), strings.TrimSuffix(file, ".json"))
	b.outcome[c.name] = got
	fmt.Printf("security: %s on %s: %v (%v)\n", c.name, b.name, time.Since(start).Round(100*time.Millisecond), err)
}
