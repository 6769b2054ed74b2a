package node

import (
	"crypto/tls"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/network/auth"
	"github.com/moldau/moldau/internal/network/certs"
	"github.com/moldau/moldau/internal/network/edge"
)

const (
	// certificatePoll is how often the files of certificates are looked at.
	//
	// Differs from Kafka: the files of certificates are looked at every 10 seconds; Kafka reads them again when AlterConfigs
	// tells it to, and at no other time.
	certificatePoll = 10 * time.Second
	// maxCertificateBytes bounds a key or trust store.
	maxCertificateBytes = 8 << 20
)

// certificates are what the listeners with TLS show and demand.
type certificates struct {
	node   *Node
	stores map[string]*certs.Store // by listener; never changes

	one sync.Mutex // held while certificates are taken over; mu may be taken under it

	mu     sync.Mutex // guards what follows
	timer  clock.Timer
	failed map[string]string // by listener, what was wrong at the last look
	closed bool
}

// openTLS reads the certificates of all listeners with TLS.
func openTLS(n *Node) error {
	t := &certificates{node: n, stores: map[string]*certs.Store{}, failed: map[string]string{}}
	n.certificates = t
	if n.o.NoListeners {
		return nil
	}
	for _, l := range slices.Concat(n.listeners.Broker, n.listeners.Controller) {
		if !l.SecurityProtocol.TLS() {
			continue
		}
		store, err := certs.Load(t.options(n.static, l.Name))
		if err != nil {
			return fmt.Errorf("listener %s (%v): %w", l.Name, l.SecurityProtocol, err)
		}
		t.stores[l.Name] = store
		for _, note := range store.Notes() {
			n.o.Logger.Info(note, "listener", l.Name)
		}
		if _, own := t.options(n.static, l.Name).Setting("ssl.client.auth"); l.SecurityProtocol.SASL() && !own && n.static.IsSet("ssl.client.auth") {
			n.o.Logger.Warn("ssl.client.auth is not used on a listener with SASL, as in Kafka: there it must have the listener's prefix",
				"listener", l.Name, "setting", config.ListenerPrefix(l.Name)+"ssl.client.auth")
		}
		t.warnOfPermissions(l.Name)
	}
	if len(t.stores) > 0 {
		t.timer = n.o.World.AfterFunc(certificatePoll, t.poll)
	}
	return nil
}

// options are the settings of a listener.
func (t *certificates) options(cfg *config.BrokerConfig, listener string) certs.Options {
	sasl := t.node.listeners.Protocols[listener].SASL()
	own := cfg.Prefixed(config.ListenerPrefix(listener))
	return certs.Options{
		Name: listener,
		Setting: func(key string) (string, bool) {
			if sasl && key == "ssl.client.auth" {
				// Kafka's rule (KIP-684): with SASL, certificates are asked for only if the listener itself says so.
				v, ok := own[key]
				return v, ok
			}
			return cfg.ForListener(listener, key)
		},
		ReadFile: func(path string) ([]byte, error) { return vfs.ReadFile(t.node.o.FS, path, maxCertificateBytes) },
		Now:      t.node.o.World.Now,
	}
}

// listen opens a listener as its security protocol wants it.
func (t *certificates) listen(l config.Listener) (net.Addr, error) {
	if store := t.stores[l.Name]; store != nil {
		return t.node.server.ListenTLS(l.Name, address(l), store.ServerConfig())
	}
	return t.node.server.Listen(l.Name, address(l))
}

// handshaken gives a peer the name that its certificate proves. With SASL it proves another one later.
func (t *certificates) handshaken(c *edge.Conn, state tls.ConnectionState) error {
	store := t.stores[c.Listener()]
	if store == nil || t.node.listeners.Protocols[c.Listener()].SASL() {
		return nil
	}
	name, err := store.Principal(state)
	if err != nil || name == "" {
		return err
	}
	c.Identity().SetPrincipal(auth.Principal{Type: auth.UserType, Name: name})
	return nil
}

// poll looks whether files have changed.
func (t *certificates) poll() {
	t.reload("a changed file")
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.closed {
		t.timer.Reset(certificatePoll)
	}
}

// reload takes over what is new. What cannot be used is told once, and the old certificates stay.
func (t *certificates) reload(why string) {
	t.one.Lock()
	defer t.one.Unlock()
	cfg := t.node.Config() // as it is now that nobody else reloads
	for _, name := range slices.Sorted(maps.Keys(t.stores)) {
		store := t.stores[name]
		changed, err := store.Reload(t.options(cfg, name))
		switch {
		case err != nil && t.isNews(name, err.Error()):
			t.node.o.Logger.Error("new certificates are not used, the listener keeps those it has", "listener", name, "cause", why, "error", err)
		case err == nil && changed:
			t.isNews(name, "")
			t.node.o.Logger.Info("a listener has new certificates or TLS settings", "listener", name, "cause", why)
			for _, note := range store.Notes() {
				t.node.o.Logger.Info(note, "listener", name)
			}
			t.warnOfPermissions(name)
		case err == nil:
			t.isNews(name, "")
		}
	}
}

func (t *certificates) isNews(listener, failure string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	news := t.failed[listener] != failure
	t.failed[listener] = failure
	return news
}

// check tells whether the listeners could use the settings. The error is that of the first that could not.
func (t *certificates) check(cfg *config.BrokerConfig) error {
	for _, name := range slices.Sorted(maps.Keys(t.stores)) {
		if err := t.stores[name].Check(t.options(cfg, name)); err != nil {
			return fmt.Errorf("listener %s: %w", name, err)
		}
	}
	return nil
}

// warnOfPermissions points out private keys that others on this machine can read.
func (t *certificates) warnOfPermissions(listener string) {
	files, ok := t.node.o.FS.(interface {
		Permissions(path string) (fs.FileMode, error)
	})
	path, _ := t.node.Config().ForListener(listener, "ssl.keystore.location")
	if !ok || path == "" {
		return
	}
	if mode, err := files.Permissions(path); err == nil && mode&certs.LaxPermissions != 0 {
		t.node.o.Logger.Warn("others on this machine can read a private key: take the permission away, for example with chmod 600",
			"file", path, "permissions", mode.String(), "listener", listener)
	}
}

// close ends the looking.
func (t *certificates) close() {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	if t.timer != nil {
		t.timer.Stop()
	}
}
