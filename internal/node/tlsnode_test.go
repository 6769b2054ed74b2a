package node_test

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/network/certs"
	"github.com/moldau/moldau/internal/node"
)

// pollWorld is the real one; poll fires the timers of 10 seconds, one of which looks after certificates.
type pollWorld struct {
	clock.Real
	mu    sync.Mutex
	looks []func()
}

func (w *pollWorld) AfterFunc(d time.Duration, f func()) clock.Timer {
	if d == 10*time.Second {
		w.mu.Lock()
		w.looks = append(w.looks, f)
		w.mu.Unlock()
		d = time.Hour
	}
	return w.Real.AfterFunc(d, f)
}

func (w *pollWorld) poll() {
	w.mu.Lock()
	looks := w.looks
	w.mu.Unlock()
	for _, f := range looks {
		f()
	}
}

// tlsNode is a node with a listener for TLS.
type tlsNode struct {
	t     *testing.T
	node  *node.Node
	world *pollWorld
	ca    *certs.Authority
	dir   string
	log   *safeBuffer
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func startTLSNode(t *testing.T) *tlsNode {
	t.Helper()
	n := &tlsNode{t: t, world: new(pollWorld), dir: t.TempDir(), log: new(safeBuffer)}
	ca, pair, err := certs.NewAuthority("test", n.world.Now())
	if err != nil {
		t.Fatal(err)
	}
	n.ca = ca
	n.write("ca.pem", pair.Certificate)
	n.issue("node.pem", "node", "localhost")
	cfg, err := config.NewBroker(config.Values{
		"process.roles": "broker,controller", "node.id": "1", "log.dirs": t.TempDir(), "controller.listener.names": "CONTROLLER",
		"listeners":                      "SSL://127.0.0.1:0,CONTROLLER://127.0.0.1:0",
		"listener.security.protocol.map": "SSL:SSL,CONTROLLER:PLAINTEXT", "inter.broker.listener.name": "SSL",
		"controller.quorum.bootstrap.servers": "localhost:9093", "offsets.topic.replication.factor": "1", "moldau.journal.segment.bytes": "1048576",
		"ssl.keystore.location": n.path("node.pem"), "ssl.keystore.type": "PEM", "ssl.truststore.location": n.path("ca.pem"), "ssl.truststore.type": "PEM",
		"ssl.client.auth": "requested",
	})
	if err != nil {
		t.Fatal(err)
	}
	n.node, err = node.Start(node.Options{Config: cfg, FS: vfs.NewOS(), World: n.world, Logger: slog.New(slog.NewTextHandler(n.log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.node.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

func (n *tlsNode) path(name string) string { return filepath.Join(n.dir, name) }

func (n *tlsNode) write(name string, content []byte) {
	n.t.Helper()
	if err := os.WriteFile(n.path(name), content, 0o600); err != nil {
		n.t.Fatal(err)
	}
}

// issue writes a certificate with its key.
func (n *tlsNode) issue(file, name string, hosts ...string) tls.Certificate {
	n.t.Helper()
	p, err := n.ca.Server(name, hosts, n.world.Now())
	if err != nil {
		n.t.Fatal(err)
	}
	n.write(file, append(bytes.Clone(p.Key), p.Certificate...))
	pair, err := tls.X509KeyPair(p.Certificate, p.Key)
	if err != nil {
		n.t.Fatal(err)
	}
	return pair
}

// dial connects, and gives the node's certificate's number.
func (n *tlsNode) dial(own ...tls.Certificate) (*tls.Conn, string) {
	n.t.Helper()
	c, err := tls.Dial("tcp", n.node.ListenerAddr("SSL"), &tls.Config{InsecureSkipVerify: true, Certificates: own})
	if err != nil {
		n.t.Fatal(err)
	}
	return c, c.ConnectionState().PeerCertificates[0].SerialNumber.String()
}

func (n *tlsNode) serial() string {
	c, serial := n.dial()
	c.Close()
	return serial
}

// ask sends one request and reads its answer.
func ask(t *testing.T, c io.ReadWriter, m wire.Message, version int16, into wire.Message) {
	t.Helper()
	h := wire.RequestHeader{APIKey: m.APIKey(), APIVersion: version, CorrelationID: 1}
	if _, err := c.Write(wire.AppendRequestFrame(nil, &h, m)); err != nil {
		t.Fatal(err)
	}
	var size [4]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(c, b); err != nil {
		t.Fatal(err)
	}
	r := wire.NewReader(b)
	if _, err := wire.DecodeResponseHeader(r, m.APIKey(), version); err != nil {
		t.Fatal(err)
	}
	into.Decode(r, version)
	if err := r.Finish(); err != nil {
		t.Fatal(err)
	}
}

// alter changes settings of the node over a connection and gives the error's text.
func (n *tlsNode) alter(whole bool, pairs ...string) string {
	n.t.Helper()
	c, _ := n.dial()
	defer c.Close()
	var code wire.Code
	var message *string
	if whole {
		m := &wire.AlterConfigsRequest{Resources: []wire.AlterConfigsRequestAlterConfigsResource{{ResourceType: 4, ResourceName: "1"}}}
		for i := 0; i < len(pairs); i += 2 {
			m.Resources[0].Configs = append(m.Resources[0].Configs, wire.AlterConfigsRequestAlterableConfig{Name: pairs[i], Value: &pairs[i+1]})
		}
		resp := &wire.AlterConfigsResponse{}
		ask(n.t, c, m, 2, resp)
		code, message = resp.Responses[0].ErrorCode, resp.Responses[0].ErrorMessage
	} else {
		m := &wire.IncrementalAlterConfigsRequest{Resources: []wire.IncrementalAlterConfigsRequestAlterConfigsResource{{ResourceType: 4, ResourceName: "1"}}}
		for i := 0; i < len(pairs); i += 2 {
			m.Resources[0].Configs = append(m.Resources[0].Configs, wire.IncrementalAlterConfigsRequestAlterableConfig{Name: pairs[i], Value: &pairs[i+1]})
		}
		resp := &wire.IncrementalAlterConfigsResponse{}
		ask(n.t, c, m, 1, resp)
		code, message = resp.Responses[0].ErrorCode, resp.Responses[0].ErrorMessage
	}
	switch {
	case code == wire.None:
		return ""
	case code != wire.InvalidRequest || message == nil:
		n.t.Fatalf("error %v, %v", code, message)
	}
	return *message
}

// TestCertificatesChange: by dynamic settings, also with the same file, and by a changed file; what cannot be used changes nothing.
func TestCertificatesChange(t *testing.T) {
	n := startTLSNode(t)
	const key = "listener.name.ssl.ssl.keystore.location"
	first := n.serial()
	renewed := func(what string, want bool) {
		t.Helper()
		now := n.serial()
		if (now != first) != want {
			t.Errorf("%s: another certificate is shown: %v, want %v", what, now != first, want)
		}
		first = now
	}
	refused := func(what, got, want string) {
		t.Helper()
		if !strings.HasPrefix(got, "Validation of dynamic config update of SSLFactory failed") || !strings.Contains(got, want) {
			t.Errorf("%s: got %q, want %q", what, got, want)
		}
	}
	n.issue("second.pem", "node", "localhost")
	if got := n.alter(false, key, n.path("second.pem")); got != "" {
		t.Error(got)
	}
	renewed("another file", true)
	n.issue("second.pem", "node", "localhost")
	if got := n.alter(false, key, n.path("second.pem")); got != "" {
		t.Error(got)
	}
	renewed("the same file", true)
	refused("no file", n.alter(false, key, n.path("none.pem")), "cannot be read")
	n.write("bad.pem", []byte("-----BEGIN nothing"))
	refused("a bad file", n.alter(false, key, n.path("bad.pem")), "no private key")
	n.issue("third.pem", "somebody else", "localhost")
	refused("somebody else", n.alter(false, key, n.path("third.pem")), "DistinguishedName does not match")
	refused("all settings replaced", n.alter(true, key, n.path("third.pem")), "DistinguishedName does not match")
	refused("protocols that there are not", n.alter(false, "listener.name.ssl.ssl.enabled.protocols", "TLSv1"), "only TLSv1.2 and TLSv1.3")
	renewed("refused", false)
	n.issue("second.pem", "node", "localhost")
	n.world.poll()
	renewed("a changed file", true)
	n.write("second.pem", []byte("half wri"))
	n.world.poll()
	n.world.poll()
	renewed("a broken file", false)
	if got := strings.Count(n.log.String(), "new certificates are not used"); got != 1 {
		t.Errorf("the log tells %d times of a broken file:\n%s", got, n.log)
	}
	n.issue("second.pem", "node", "localhost")
	n.world.poll()
	renewed("a whole file again", true)
	if log := n.log.String(); strings.Contains(log, "PRIVATE KEY") {
		t.Errorf("the log has a secret:\n%s", log)
	}
}

// TestTLSFaults: what keeps a listener from working is told before the node starts.
func TestTLSFaults(t *testing.T) {
	for name, c := range map[string]struct {
		settings []string
		want     string
	}{
		"nothing": {nil, "listener SSL (SSL): there is no certificate to show"},
		"no file": {[]string{"ssl.keystore.location", "/none", "ssl.keystore.password", "hush"}, "the file /none cannot be read"},
	} {
		values := config.Values{
			"process.roles": "broker,controller", "node.id": "1", "log.dirs": t.TempDir(), "controller.listener.names": "CONTROLLER",
			"listeners":                      "SSL://127.0.0.1:0,CONTROLLER://127.0.0.1:0",
			"listener.security.protocol.map": "SSL:SSL,CONTROLLER:PLAINTEXT", "inter.broker.listener.name": "SSL",
			"controller.quorum.bootstrap.servers": "localhost:9093",
		}
		for i := 0; i < len(c.settings); i += 2 {
			values[c.settings[i]] = c.settings[i+1]
		}
		cfg, err := config.NewBroker(values)
		if err != nil {
			t.Fatal(err)
		}
		_, err = node.Start(node.Options{Config: cfg, FS: vfs.NewOS(), World: new(clock.Real), Logger: slog.New(slog.DiscardHandler)})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
}

// TestLaxKeyFile: a private key that others can read is pointed out.
func TestLaxKeyFile(t *testing.T) {
	n := startTLSNode(t)
	if log := n.log.String(); strings.Contains(log, "others on this machine can read") {
		t.Errorf("the log says\n%s", log)
	}
	if err := os.Chmod(n.path("node.pem"), 0o644); err != nil {
		t.Fatal(err)
	}
	n.write("node.pem", nil)
	n.issue("node.pem", "node", "localhost")
	n.world.poll()
	if log := n.log.String(); !strings.Contains(log, "others on this machine can read a private key") || !strings.Contains(log, n.path("node.pem")) {
		t.Errorf("the log says\n%s", log)
	}
}
