package node_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/node"
)

// secret is part of every secret of these tests and of nothing else.
const secret = "hush-hush-4711"

// jaas is a login with a password.
func jaas(module, options string) string {
	return "org.apache.kafka.common.security." + module + " required username=\"me\" password=\"" + secret + "\" " + options + ";"
}

// secretSettings gives a value to every setting that is a password, and to names that nobody knows.
func secretSettings() config.Values {
	return config.Values{
		"delegation.token.secret.key": secret, "sasl.jaas.config": jaas("plain.PlainLoginModule", "user_me=\""+secret+"\""),
		"sasl.oauthbearer.assertion.private.key.passphrase": secret, "sasl.oauthbearer.client.credentials.client.secret": secret,
		"ssl.key.password": secret, "ssl.keystore.certificate.chain": secret, "ssl.keystore.key": secret, "ssl.keystore.password": secret,
		"ssl.truststore.certificates": secret, "ssl.truststore.password": secret, "my.plugin.password": secret,
		"listener.name.plaintext.plain.sasl.jaas.config": jaas("plain.PlainLoginModule", ""), "listener.name.other.ssl.key.password": secret,
	}
}

func TestEveryPasswordIsTried(t *testing.T) {
	text, err := os.ReadFile("../../docs/settings.md")
	if err != nil {
		t.Fatal(err)
	}
	all, found := secretSettings(), 0
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(line, "|")
		if len(cells) > 2 && strings.TrimSpace(cells[2]) == "password" {
			found++
			if key, _, _ := strings.Cut(strings.Trim(cells[1], " `"), "`"); all[key] == "" {
				t.Errorf("%s is a password that TestSecretsAreKept does not try", key)
			}
		}
	}
	if found < 10 {
		t.Fatal("the list of settings has another form", found)
	}
}

// TestSecretsAreKept: no secret is in what a node prints, describes, answers or measures, whatever is wrong.
func TestSecretsAreKept(t *testing.T) {
	said := &lockedLog{}
	var more []string
	for key, v := range secretSettings() {
		if key != "my.plugin.password" { // unknown keys are for clients to try
			more = append(more, key, v)
		}
	}
	r := newRigLogging(t, slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelDebug})), nil, more...)
	check := func(where, text string) {
		t.Helper()
		if i := strings.Index(text, secret); i >= 0 {
			t.Errorf("%s: …%s…", where, text[max(0, i-200):min(len(text), i+60)])
		}
	}
	describe := func(kind int8, name string) {
		for version := int16(1); version <= 4; version++ {
			resp := &wire.DescribeConfigsResponse{}
			r.call(&wire.DescribeConfigsRequest{IncludeSynonyms: true, IncludeDocumentation: true,
				Resources: []wire.DescribeConfigsRequestDescribeConfigsResource{{ResourceType: kind, ResourceName: name}}}, version, resp)
			check("describe", fmt.Sprintf("%s", resp.Append(nil, version)))
		}
	}
	const broker = 4
	describe(broker, "1")
	alter := func(name, key, value string, only bool) {
		resp := &wire.IncrementalAlterConfigsResponse{}
		r.call(&wire.IncrementalAlterConfigsRequest{ValidateOnly: only, Resources: []wire.IncrementalAlterConfigsRequestAlterConfigsResource{{
			ResourceType: broker, ResourceName: name, Configs: []wire.IncrementalAlterConfigsRequestAlterableConfig{{Name: key, Value: &value}},
		}}}, 1, resp)
		check("alter "+key, fmt.Sprintf("%s", resp.Append(nil, 1)))
	}
	for key, v := range secretSettings() {
		for _, name := range []string{"1", ""} {
			for _, only := range []bool{true, false} {
				alter(name, key, v, only)
				alter(name, "listener.name.plaintext."+key, v, only)
				alter(name, "listener.name.plaintext.scram-sha-256."+key, jaas("scram.ScramLoginModule", "broken"), only)
			}
		}
	}
	describe(broker, "1")
	describe(broker, "")
	if !strings.Contains(said.String(), "level=") {
		t.Fatal("nothing was logged")
	}
	check("log", said.String())
}

// TestSecretsInErrors: nor is one in the error of a node that does not start.
func TestSecretsInErrors(t *testing.T) {
	listeners := func(protocol string) config.Values {
		return config.Values{
			"listeners": "X://127.0.0.1:0,CONTROLLER://localhost:9093", "listener.security.protocol.map": "X:" + protocol + ",CONTROLLER:PLAINTEXT",
			"inter.broker.listener.name": "X",
		}
	}
	tls := func(more ...string) config.Values {
		v := listeners("SSL")
		for i := 0; i < len(more); i += 2 {
			v[more[i]] = more[i+1]
		}
		return v
	}
	sasl := func(mechanism, line string) config.Values {
		v := listeners("SASL_PLAINTEXT")
		v["sasl.enabled.mechanisms"] = mechanism
		v["listener.name.x."+strings.ToLower(mechanism)+".sasl.jaas.config"] = line
		return v
	}
	for i, values := range []config.Values{
		tls("ssl.keystore.type", "PEM", "ssl.keystore.key", secret, "ssl.keystore.certificate.chain", secret),
		tls("ssl.keystore.type", "PEM", "ssl.keystore.key", "-----BEGIN PRIVATE KEY-----\n"+secret+"\n-----END PRIVATE KEY-----", "ssl.keystore.certificate.chain", secret),
		tls("ssl.keystore.type", "PEM", "ssl.keystore.key", "-----BEGIN ENCRYPTED PRIVATE KEY-----\naHVzaA==\n-----END ENCRYPTED PRIVATE KEY-----", "ssl.key.password", secret),
		tls("ssl.keystore.type", "PKCS12", "ssl.keystore.location", "/nothing", "ssl.keystore.password", secret),
		tls("ssl.truststore.type", "PEM", "ssl.truststore.certificates", secret),
		sasl("PLAIN", jaas("plain.PlainLoginModule", "user_=\"x\"")),
		sasl("PLAIN", jaas("plain.PlainLoginModule", "")[:60+len(secret)]),
		sasl("PLAIN", "org.apache.kafka.common.security.plain.PlainLoginModule required password="+secret+" password="+secret+";"),
		sasl("PLAIN", "org.apache.kafka.common.security.plain.PlainLoginModule "+secret+" ;"),
		sasl("PLAIN", "com.example.Login required password=\""+secret+"\";"),
		sasl("SCRAM-SHA-256", jaas("plain.PlainLoginModule", "")),
		sasl("OAUTHBEARER", jaas("oauthbearer.OAuthBearerLoginModule", "unsecuredLoginStringClaim_sub=\""+secret+"\"")),
		{"ssl.key.password": secret, "ssl.keystore.password": secret, "sasl.jaas.config": jaas("plain.PlainLoginModule", "")}, // nothing is wrong
		{"node.id": "x", "ssl.key.password": secret}, {"listeners": "PLAINTEXT://:1", "sasl.jaas.config": secret},
	} {
		said := &lockedLog{}
		err := startWith(t, said, values)
		if text := fmt.Sprint(err, said); strings.Contains(text, secret) {
			t.Errorf("%d: %s", i, text)
		}
	}
}

// startWith starts a node with sockets and such settings, and gives the error if it does not start.
func startWith(t *testing.T, said *lockedLog, values config.Values) error {
	t.Helper()
	all := config.Values{
		"process.roles": "broker,controller", "node.id": "1", "log.dirs": "/data", "listeners": "PLAINTEXT://127.0.0.1:0,CONTROLLER://localhost:0",
		"controller.listener.names": "CONTROLLER", "controller.quorum.bootstrap.servers": "localhost:9093",
		"moldau.journal.segment.bytes": "1048576", "moldau.tail.bytes": "1048576", "moldau.http.listener": "127.0.0.1:0",
	}
	for key, v := range values {
		all[key] = v
	}
	text := ""
	for key, v := range all {
		text += key + "=" + strings.ReplaceAll(v, "\n", "\\n") + "\n"
	}
	cfg, notices, err := config.Load(config.Sources{File: []byte(text), FileName: "server.properties"})
	fmt.Fprintln(said, notices)
	if err != nil {
		return err
	}
	disk := vfs.NewSim(vfs.SimConfig{Seed: 1, SectorBytes: vfs.Sector512})
	n, err := node.Start(node.Options{Config: cfg, FS: disk.Mount(), World: &clock.Real{},
		Logger: slog.New(slog.NewTextHandler(said, &slog.HandlerOptions{Level: slog.LevelDebug}))})
	if err != nil {
		return err
	}
	for _, path := range []string{"/metrics", "/healthz", "/readyz"} {
		_, text := get(t, n, path)
		fmt.Fprintln(said, text)
	}
	http.DefaultClient.CloseIdleConnections()
	return n.Close()
}
