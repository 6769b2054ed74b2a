package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
)

func errorOf(code int16) error { return kerr.ErrorForCode(code) }

// rows are all ways to connect to a broker, the good and the bad ones.
func (p *securitySuite) rows(b *securityBroker, t delegatedToken) []securityRow {
	rows := p.certificateRows(b)
	for _, listener := range []int{onSASL, onSASLS} {
		rows = append(rows, p.saslRows(b, listener, t)...)
	}
	again := securityRow{Name: "PLAIN, authenticated anew every 3 s", Bootstrap: b.at(onAgain), Protocol: "SASL_PLAINTEXT", Mechanism: "PLAIN", Username: "pia", Password: "pia-secret", user: "pia", Rest: 5000}
	absent := securityRow{Name: "SCRAM-SHA-256 where only PLAIN is offered", Bootstrap: b.at(onAgain), Protocol: "SASL_PLAINTEXT", Mechanism: "SCRAM-SHA-256", Username: "sam", Password: "sam-secret",
		user: "sam", ends: noMechanism}
	rows = append(append(rows, again, absent), p.gssRows(b)...)
	for i := range rows {
		r := &rows[i]
		r.Prefix = fmt.Sprintf("sec-%s-%d", plainName(r.user), i)
		if r.ends != allowed {
			r.Other = "sec-none"
		}
		if strings.HasSuffix(r.Protocol, "SSL") {
			r.Store = storePassword
			if r.CA == "" {
				r.CA = p.auth.ca.path
			}
		}
	}
	return rows
}

// certificateRows are those of the listeners with TLS alone.
func (p *securitySuite) certificateRows(b *securityBroker) []securityRow {
	row := func(name string, listener int, c *certificate, user string, ends ending) securityRow {
		r := securityRow{Name: name, Bootstrap: b.at(listener), Protocol: "SSL", user: user, ends: ends}
		if c != nil {
			r.Cert = c.path
		}
		return r
	}
	rows := []securityRow{
		row("client certificate, its name mapped", onMTLS, p.auth.alice, "alice@moldau", forbidden),
		row("client certificate, by its distinguished name", onMTLS, p.auth.bob, "CN=bob,O=Moldau", forbidden),
		row("client certificate of another authority", onMTLS, p.auth.stranger, "alice@moldau", refusedTLS),
		row("client certificate that has expired", onMTLS, p.auth.late, "alice@moldau", refusedTLS),
		row("no client certificate where one is required", onMTLS, nil, "alice@moldau", refusedTLS),
		row("TLS without client certificate", onTLS, nil, "anyone", allowed),
		row("client certificate that is not asked for", onTLS, p.auth.alice, "anyone", allowed),
		row("TLS to a broker of another authority", onTLS, nil, "anyone", refusedTLS),
	}
	rows[len(rows)-1].CA = p.auth.other.path
	for _, version := range []string{"TLSv1.2", "TLSv1.3"} {
		r := row(version+" with client certificate", onMTLS, p.auth.alice, "alice@moldau", forbidden)
		r.TLS = version
		rows = append(rows, r)
	}
	return rows
}

// saslRows are those of a listener with SASL.
func (p *securitySuite) saslRows(b *securityBroker, listener int, t delegatedToken) []securityRow {
	protocol, over := "SASL_PLAINTEXT", ""
	if listener == onSASLS {
		protocol, over = "SASL_SSL", " over TLS"
	}
	var rows []securityRow
	add := func(mechanism, name, user, login, password string, ends ending) *securityRow {
		rows = append(rows, securityRow{Name: mechanism + over + ": " + name, Bootstrap: b.at(listener), Protocol: protocol, Mechanism: mechanism,
			Username: login, Password: password, user: user, ends: ends})
		return &rows[len(rows)-1]
	}
	for _, m := range []struct{ mechanism, user string }{{"PLAIN", "pia"}, {"SCRAM-SHA-256", "sam"}, {"SCRAM-SHA-512", "sue"}} {
		add(m.mechanism, "good password", m.user, m.user, m.user+"-secret", forbidden)
		add(m.mechanism, "wrong password", m.user, m.user, m.user+"-secreT", refusedSASL)
		add(m.mechanism, "unknown user", m.user, "nobody", m.user+"-secret", refusedSASL)
	}
	add("SCRAM-SHA-256", "user made by format", "fay", "fay", "fay-secret", forbidden)
	add("SCRAM-SHA-512", "user of SCRAM-SHA-256 only", "sam", "sam", "sam-secret", refusedSASL)
	token := func(name, token string, ends ending) {
		add("OAUTHBEARER", name, "oda", "", "", ends).Token = token
	}
	i, good := p.tokens, claims("oda", nil)
	token("good token", i.token(i.key, good), forbidden)
	token("good token, several audiences", i.token(i.key, claims("oda", map[string]any{"aud": []string{"other", tokenAudience}})), forbidden)
	token("expired token", i.token(i.key, claims("oda", map[string]any{"exp": good["iat"].(int64) - 7200, "iat": good["iat"].(int64) - 9000})), refusedSASL)
	token("token without expiry", i.token(i.key, claims("oda", map[string]any{"exp": nil})), refusedSASL)
	token("token without subject", i.token(i.key, claims("oda", map[string]any{"sub": nil})), refusedSASL)
	token("token for another audience", i.token(i.key, claims("oda", map[string]any{"aud": "other"})), refusedSASL)
	token("token of another issuer", i.token(i.key, claims("oda", map[string]any{"iss": "https://elsewhere.example"})), refusedSASL)
	token("token signed with another key", i.token(i.other, good), refusedSASL)
	token("unsigned token", i.unsigned(good), refusedSASL)
	token("token signed with the public key as a secret", i.confused(good), refusedSASL)
	if t.id == "" {
		return rows
	}
	for _, m := range []string{"SCRAM-SHA-256", "SCRAM-SHA-512"} {
		add(m, "delegation token", "tom", t.id, t.hmac, forbidden).Delegated = true
		add(m, "delegation token with another secret", "tom", t.id, t.expiredHMAC, refusedSASL).Delegated = true
		add(m, "delegation token that has expired", "tom", t.expiredID, t.expiredHMAC, refusedSASL).Delegated = true
		add(m, "delegation token as a user", "tom", t.id, t.hmac, refusedSASL)
	}
	return rows
}

// lacksRow tells why a client cannot run a row; empty when it can.
func lacksRow(client string, r securityRow) string {
	switch {
	case r.Delegated && (client == "confluent-kafka" || client == "sarama"):
		return "the client has no delegation tokens"
	case r.Mechanism == "GSSAPI" && client == "confluent-kafka":
		return "its package is built without GSSAPI"
	case r.TLS != "" && client != "java":
		return "shown by the Java client"
	}
	return ""
}

// endings are what a client says when a row ends that way, by client: a part of its text.
var endings = map[string]map[ending]*regexp.Regexp{
	"java": {
		forbidden: regexp.MustCompile(`^other=TopicAuthorizationException: `), allowed: regexp.MustCompile(`^ok$`),
		refusedSASL: regexp.MustCompile(`^create=SaslAuthenticationException: `), refusedTLS: regexp.MustCompile(`^create=SslAuthenticationException: `),
		noMechanism: regexp.MustCompile(`^create=UnsupportedSaslMechanismException: `),
	},
	"confluent-kafka": {
		forbidden: regexp.MustCompile(`^other=TOPIC_AUTHORIZATION_FAILED: `), allowed: regexp.MustCompile(`^ok$`),
		refusedSASL: regexp.MustCompile(`^create=_AUTHENTICATION: `), refusedTLS: regexp.MustCompile(`^create=(_SSL|_TRANSPORT: .*SSL alert)`),
		noMechanism: regexp.MustCompile(`^create=_AUTHENTICATION: `),
	},
	"franz-go": {
		forbidden: regexp.MustCompile(`^other=TOPIC_AUTHORIZATION_FAILED: `), allowed: regexp.MustCompile(`^ok$`),
		refusedSASL: regexp.MustCompile(`^create=.*(SASL_AUTHENTICATION_FAILED|unexpected data in oauth response)`), refusedTLS: regexp.MustCompile(`^create=.*tls: `),
		noMechanism: regexp.MustCompile(`^create=.*UNSUPPORTED_SASL_MECHANISM`),
	},
	"sarama": {
		forbidden: regexp.MustCompile(`^other=.*not authorized to access this topic`), allowed: regexp.MustCompile(`^ok$`),
		refusedSASL: regexp.MustCompile(`^create=.*SASL Authentication failed`), refusedTLS: regexp.MustCompile(`^create=.*tls: `),
		noMechanism: regexp.MustCompile(`^create=.*run out of available brokers`),
	},
}

// compare checks all outcomes, and that what a client is told is the same on both brokers.
func (p *securitySuite) compare() {
	var moldau, kafka *securityBroker
	for _, b := range p.brokers {
		if b.name == kafkaName {
			kafka = b
		} else {
			moldau = b
		}
	}
	table := p.report.grid("Who may connect, and is known as who")
	for _, b := range p.brokers {
		for _, c := range securityClients {
			if !slices.Contains(p.clients, c.name) {
				continue
			}
			for _, r := range b.rows {
				res := result{state: "ok"}
				if why := lacksRow(c.name, r); why != "" {
					res = result{"skip", why}
				} else if err := p.outcome(c.name, r, b, kafka); err != nil {
					res = result{"fail", err.Error()}
				}
				table.note(r.Name, c.name+" on "+b.name, res)
			}
		}
	}
	if moldau != nil && kafka != nil {
		p.compareTools(moldau, kafka)
		p.compareOutcomes("rights", moldau.rights, kafka.rights)
		p.compareOutcomes("probe", moldau.probes, kafka.probes)
	}
}

// outcome says whether a row ended as it must. How a refused handshake is worded is the affair of the two libraries for TLS; and after
// an invalid token sarama sends bytes that Kafka takes for another token, and Moldau for the end.
func (p *securitySuite) outcome(client string, r securityRow, b, kafka *securityBroker) error {
	got := b.outcome[client].text[r.Name]
	if want := endings[client][r.ends]; !want.MatchString(got) {
		return fmt.Errorf("ended with %q, which is not like %s", got, want)
	}
	if kafka == nil || b == kafka || r.ends == refusedTLS || client == "sarama" && r.Token != "" && r.ends == refusedSASL {
		return nil
	}
	if theirs := normaliseSecurity(kafka.outcome[client].text[r.Name]); normaliseSecurity(got) != theirs {
		return fmt.Errorf("ended with %q, where Kafka has %q", normaliseSecurity(got), theirs)
	}
	return nil
}

// varying is what differs between two runs, beside what normal has.
var varying = []struct {
	re   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?(\.\d+)?Z?`), "TIME"},
	{regexp.MustCompile(`\[[A-Za-z0-9+/]{86}==\]|[A-Za-z0-9+/]{86}==`), "HMAC"},
	{regexp.MustCompile(`(exceeded|[Tt]hrottled).{0,60}\d+ ?ms`), "$1 some ms"},
	{regexp.MustCompile(`Request Request\(.*`), "Cluster authorization failed."},          // Kafka prints the whole request
	{regexp.MustCompile(` \(after \d+ms in state \w+\)|Unable to produce message: `), ""}, // librdkafka: the latter when it refuses what follows by itself
	{regexp.MustCompile(`(Invalid value \S+ )?Validation of dynamic config update of SSLFactory failed: .*`), "unusable settings of TLS"},
	{regexp.MustCompile(`only supports operations \[.*\]`), "only supports some operations"}, // in the order of a hash table
	{regexp.MustCompile(`/\S*/security[a-z-]*/?`), "DIR/"},
}

// normaliseSecurity takes out of a text what differs between two runs.
func normaliseSecurity(text string) string {
	for _, v := range varying {
		text = v.re.ReplaceAllString(text, v.with)
	}
	return normalise(text)
}
