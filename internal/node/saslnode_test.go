package node_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/network/edge"
	"github.com/moldau/moldau/internal/node"
)

const plainModule = "org.apache.kafka.common.security.plain.PlainLoginModule required "

// saslConfig is the settings of a node with a SASL listener, with changes; an empty value takes a key away.
func saslConfig(t *testing.T, more ...string) *config.BrokerConfig {
	t.Helper()
	values := config.Values{
		"process.roles": "broker,controller", "node.id": "1", "log.dirs": "/data", "controller.listener.names": "CONTROLLER",
		"controller.quorum.bootstrap.servers": "localhost:9093", "offsets.topic.replication.factor": "1",
		"moldau.journal.segment.bytes": "1048576", "moldau.tail.bytes": "1048576",
	}
	for _, list := range [][]string{saslSettings, more} {
		for i := 0; i < len(list); i += 2 {
			if values[list[i]] = list[i+1]; list[i+1] == "" {
				delete(values, list[i])
			}
		}
	}
	cfg, err := config.NewBroker(values)
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

// TestSASLSettings: what is missing or wrong is told before anything is touched.
func TestSASLSettings(t *testing.T) {
	for name, c := range map[string]struct {
		settings []string
		want     string
	}{
		"no login":        {[]string{"listener.name.sasl.plain.sasl.jaas.config", ""}, "listener SASL, SASL mechanism PLAIN: there is no login: set listener.name.sasl.plain.sasl.jaas.config"},
		"without prefix":  {[]string{"listener.name.sasl.plain.sasl.jaas.config", "", "sasl.jaas.config", plainModule + `user_a="b";`}, "there is no login"},
		"malformed":       {[]string{"listener.name.sasl.plain.sasl.jaas.config", plainModule + `user_a="b`}, "listener.name.sasl.plain.sasl.jaas.config"},
		"other module":    {[]string{"listener.name.sasl.plain.sasl.jaas.config", scramLogin}, "PlainLoginModule"},
		"no mechanism":    {[]string{"sasl.enabled.mechanisms", "FOO"}, "there is no such mechanism"},
		"file is missing": {[]string{"listener.name.sasl.plain.sasl.jaas.config", "", "moldau.sasl.jaas.file", "/jaas.conf"}, "/jaas.conf"},
	} {
		hand := clock.NewHand(1)
		disk := vfs.NewSim(vfs.SimConfig{Seed: 1, SectorBytes: vfs.Sector512})
		_, err := node.Begin(node.Options{
			Config: saslConfig(t, c.settings...), FS: disk.Mount(), World: hand, Logger: slog.New(slog.DiscardHandler), NoListeners: true,
		}, func(error) {})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), `"b`) {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

// TestSASLReconfigured: new connections have changed logins, those that are there stay; what cannot work changes nothing.
func TestSASLReconfigured(t *testing.T) {
	s := &saslScript{rig: newRig(t, saslSettings...)}
	login := func(user string) (*edge.DirectConn, string) {
		s.conn = edge.NewDirect(s.node.Handler(), "SASL")
		s.step([]string{"handshake", "1", "PLAIN"})
		return s.conn, s.step([]string{"auth", "1", "|" + user + "|" + user + "-secret"})
	}
	operate := func(op int8, key, value, want string) {
		t.Helper()
		m := &wire.IncrementalAlterConfigsRequest{}
		m.Resources = []wire.IncrementalAlterConfigsRequestAlterConfigsResource{{ResourceType: 4, ResourceName: "1"}}
		m.Resources[0].Configs = []wire.IncrementalAlterConfigsRequestAlterableConfig{{Name: key, ConfigOperation: op, Value: &value}}
		resp := &wire.IncrementalAlterConfigsResponse{}
		s.call(m, 1, resp)
		if r := resp.Responses[0]; r.ErrorCode.String() != want {
			t.Fatal(key, r.ErrorCode, r.ErrorMessage)
		}
	}
	alter := func(key, value, want string) {
		t.Helper()
		operate(0, key, value, want)
	}
	const in = `authenticate: NONE "", lifetime 0`
	alice, got := login("alice")
	same(t, "alice", got, in)
	alter("listener.name.sasl.plain.sasl.jaas.config", plainModule+`user_zoe="zoe-secret";`, "NONE")
	_, got = login("zoe")
	same(t, "zoe", got, in)
	_, got = login("alice")
	same(t, "alice later", got[:len("authenticate: SASL")], "authenticate: SASL")
	s.conn = alice
	same(t, "alice goes on", s.step([]string{"metadata"}), "metadata of 1 brokers")
	alter("listener.name.sasl.plain.sasl.jaas.config", scramLogin, "INVALID_REQUEST")
	_, got = login("zoe")
	same(t, "what cannot work is not used", got, in)
	const appends = 2
	operate(appends, "sasl.enabled.mechanisms", "FOO", "INVALID_REQUEST")
	alter("listener.name.sasl.sasl.enabled.mechanisms", "SCRAM-SHA-256", "NONE")
	s.conn = edge.NewDirect(s.node.Handler(), "SASL")
	same(t, "a mechanism less", s.step([]string{"handshake", "1", "PLAIN"}), "handshake: UNSUPPORTED_SASL_MECHANISM [SCRAM-SHA-256] after 100ms, then closed")
}

func same(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %s, want %s", what, got, want)
	}
}

// TestLoginsOverSockets: before authentication frames are small, and while a failure is answered nothing is read or served; nothing
// of what was sent is in the log.
func TestLoginsOverSockets(t *testing.T) {
	var log bytes.Buffer
	cfg := saslConfig(t, "log.dirs", t.TempDir(), "listeners", "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0,SASL://127.0.0.1:0",
		"sasl.server.max.receive.size", "4096", "connection.failed.authentication.delay.ms", "1", "moldau.http.listener", "127.0.0.1:0")
	world := &clock.Real{}
	n, err := node.Start(node.Options{Config: cfg, FS: vfs.NewOS(), World: world, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	addr := n.ListenerAddr("SASL")
	dial := func() net.Conn {
		t.Helper()
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() }) //nolint:errcheck // the test is over
		if err := c.SetDeadline(world.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		return c
	}
	send := func(c net.Conn, m wire.Message, version int16, and ...byte) {
		t.Helper()
		h := wire.RequestHeader{APIKey: m.APIKey(), APIVersion: version, CorrelationID: 1}
		if _, err := c.Write(append(wire.AppendRequestFrame(nil, &h, m), and...)); err != nil {
			t.Fatal(err)
		}
	}
	answers := func(c net.Conn) (count int) {
		t.Helper()
		for {
			var size [4]byte
			if _, err := io.ReadFull(c, size[:]); err != nil {
				return count
			}
			if _, err := io.CopyN(io.Discard, c, int64(binary.BigEndian.Uint32(size[:]))); err != nil {
				t.Fatal(err)
			}
			count++
		}
	}
	large := dial()
	send(large, &wire.SaslHandshakeRequest{Mechanism: strings.Repeat("x", 5000)}, 1)
	if got := answers(large); got != 0 {
		t.Errorf("a frame of 5,000 bytes before authentication had %d answers", got)
	}
	wrong := dial()
	send(wrong, &wire.SaslHandshakeRequest{Mechanism: "PLAIN"}, 1)
	meta := wire.AppendRequestFrame(nil, &wire.RequestHeader{APIKey: wire.KeyMetadata, APIVersion: 9, CorrelationID: 2}, &wire.MetadataRequest{})
	send(wrong, &wire.SaslAuthenticateRequest{AuthBytes: []byte("\x00alice\x00hush-hush")}, 1, meta...)
	if got := answers(wrong); got != 2 {
		t.Errorf("a failed login and what came after had %d answers, not two", got)
	}
	right := dial()
	send(right, &wire.SaslHandshakeRequest{Mechanism: "PLAIN"}, 1)
	send(right, &wire.SaslAuthenticateRequest{AuthBytes: []byte("\x00alice\x00alice-secret")}, 1)
	var first [4 + 4 + 2 + 4 + 2 + 5 + 2 + 13]byte
	if _, err := io.ReadFull(right, first[:]); err != nil {
		t.Fatal(err)
	}
	many := &wire.MetadataRequest{}
	for range 500 {
		many.Topics = append(many.Topics, wire.MetadataRequestTopic{Name: new(string)})
		*many.Topics[len(many.Topics)-1].Name = "a-topic-that-there-is-not"
	}
	send(right, many, 9)
	if _, err := io.ReadFull(right, first[:4]); err != nil {
		t.Errorf("after the login a frame of %d bytes: %v", 500*27, err)
	}
	right.Close() //nolint:errcheck // only read from
	_, figures := get(t, n, "/metrics")
	for _, want := range []string{
		"successful_authentication_total{listener=\"SASL\"} 1\n", "failed_authentication_total{listener=\"SASL\"} 1\n",
		"successful_reauthentication_total{listener=\"SASL\"} 0\n", "failed_reauthentication_total{listener=\"SASL\"} 0\n",
		"successful_authentication_no_reauth_total{listener=\"SASL\"} 0\n", "expired_connections_killed_count{listener=\"SASL\"} 0\n",
		"reauthentication_latency_avg{listener=\"SASL\"} 0\n", "reauthentication_latency_max{listener=\"SASL\"} 0\n",
	} {
		if !strings.Contains(figures, "\nkafka_server_socket_server_metrics_"+want) {
			t.Errorf("the figures lack %s", want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
	if err := n.Close(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	world.Wait()
	text := log.String()
	if !strings.Contains(text, "authentication failed") || !strings.Contains(text, "mechanism=PLAIN") || !strings.Contains(text, "claims=alice") || !strings.Contains(text, "Invalid username or password") {
		t.Errorf("the log does not tell of the failed login:\n%s", text)
	}
	if strings.Contains(text, "hush") || strings.Contains(text, "alice-secret") {
		t.Errorf("the log has a password:\n%s", text)
	}
}
