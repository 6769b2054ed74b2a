package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"slices"
	"testing"
	"time"
)

// resuming is a listener that demands certificates, and a client that keeps its sessions.
type resuming struct {
	t        *testing.T
	now      time.Time
	ca       *Authority
	settings settings
	store    *Store
	client   *tls.Config
}

func newResuming(t *testing.T, version uint16) *resuming {
	t.Helper()
	r := &resuming{t: t, now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	ca, caPair, err := NewAuthority("authority", r.now)
	if err != nil {
		t.Fatal(err)
	}
	r.ca = ca
	r.settings = settings{
		"ssl.keystore.type": "PEM", "ssl.truststore.type": "PEM", "ssl.truststore.certificates": string(caPair.Certificate), "ssl.client.auth": "required",
	}
	r.renew()
	if r.store, err = Load(r.options()); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(caPair.Certificate)
	r.client = &tls.Config{
		RootCAs: roots, ServerName: "localhost", MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(1),
		Certificates: []tls.Certificate{r.pair(ca.Client("alice", r.now))}, Time: func() time.Time { return r.now },
	}
	return r
}

func (r *resuming) options() Options {
	o := r.settings.options()
	o.Now = func() time.Time { return r.now }
	return o
}

// renew gives the listener another certificate.
func (r *resuming) renew() {
	p, err := r.ca.Server("node", []string{"localhost"}, r.now)
	if err != nil {
		r.t.Fatal(err)
	}
	r.settings = r.settings.with("ssl.keystore.key="+string(p.Key), "ssl.keystore.certificate.chain="+string(p.Certificate))
}

func (r *resuming) pair(p Pair, err error) tls.Certificate {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
	c, err := tls.X509KeyPair(p.Certificate, p.Key)
	if err != nil {
		r.t.Fatal(err)
	}
	return c
}

func (r *resuming) reload() {
	r.t.Helper()
	if changed, err := r.store.Reload(r.options()); !changed || err != nil {
		r.t.Fatal(changed, err)
	}
}

// connect shakes hands and checks who the client is taken for.
func (r *resuming) connect(to *Store) (resumed bool) {
	r.t.Helper()
	server, client, err := shake(to.ServerConfig(), r.client)
	if err != nil {
		r.t.Fatal(err)
	}
	if name, err := to.Principal(server.ConnectionState()); name != "CN=alice" || err != nil {
		r.t.Errorf("resumed %v: the client is %q, %v", client.ConnectionState().DidResume, name, err)
	}
	return client.ConnectionState().DidResume
}

func versions(t *testing.T, test func(r *resuming)) {
	for name, version := range map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13} {
		t.Run(name, func(t *testing.T) { test(newResuming(t, version)) })
	}
}

// TestSessionsAreResumed: who comes again is known without its certificate, until anything has changed.
func TestSessionsAreResumed(t *testing.T) {
	versions(t, func(r *resuming) {
		for i, want := range []bool{false, true, true} {
			if got := r.connect(r.store); got != want {
				r.t.Errorf("connection %d: resumed %v", i, got)
			}
		}
		for _, change := range []struct {
			what string
			do   func()
		}{
			{"another key", r.renew},
			{"other rules", func() { r.settings = r.settings.with("ssl.principal.mapping.rules=DEFAULT") }},
			{"another cipher suite", func() { r.settings = r.settings.with("ssl.enabled.protocols=TLSv1.3,TLSv1.2") }},
		} {
			change.do()
			if changed, err := r.store.Reload(r.options()); err != nil {
				r.t.Fatal(err)
			} else if changed && r.connect(r.store) {
				r.t.Errorf("%s: a session of before was resumed", change.what)
			}
			if !r.connect(r.store) {
				r.t.Errorf("%s: a session of after it was not resumed", change.what)
			}
		}
		other, err := Load(r.options())
		if err != nil {
			r.t.Fatal(err)
		}
		if r.connect(other) {
			r.t.Error("a session of one listener was resumed on another")
		}
	})
}

// TestSessionsEndWithTheirAuthority: who was let in by an authority that is trusted no more does not come in again.
func TestSessionsEndWithTheirAuthority(t *testing.T) {
	versions(t, func(r *resuming) {
		r.connect(r.store)
		_, another, err := NewAuthority("another", r.now)
		if err != nil {
			r.t.Fatal(err)
		}
		r.settings = r.settings.with("ssl.truststore.certificates=" + string(another.Certificate))
		r.reload()
		if _, _, err := shake(r.store.ServerConfig(), r.client); err == nil {
			r.t.Error("it came in")
		}
	})
}

// TestSessionsEndInTime: a session is resumed for a day after the certificates were shown, however often, and not after
// their end.
func TestSessionsEndInTime(t *testing.T) {
	versions(t, func(r *resuming) {
		for i, want := range []bool{false, true, true, false, true, true} {
			if got := r.connect(r.store); got != want {
				r.t.Errorf("after %d hours: resumed %v", 10*i, got)
			}
			r.now = r.now.Add(10 * time.Hour)
		}
		r.client.Certificates = []tls.Certificate{r.pair(r.ca.Client("alice", r.now.AddDate(-leafYears, 0, 0).Add(12*time.Hour)))}
		r.client.ClientSessionCache = tls.NewLRUClientSessionCache(1)
		r.connect(r.store)
		r.now = r.now.Add(11 * time.Hour)
		if !r.connect(r.store) {
			r.t.Error("the session was not resumed before the certificate's end")
		}
		r.now = r.now.Add(2 * time.Hour)
		r.client.Certificates[0].Leaf.NotAfter = r.now.Add(time.Hour) // as if the client did not know
		if _, client, err := shake(r.store.ServerConfig(), r.client); err == nil {
			r.t.Errorf("it came in after its certificate's end, resumed %v", client.ConnectionState().DidResume)
		}
	})
}

// TestSessionsOfLargeChains: a client may show more certificates than a ticket holds.
func TestSessionsOfLargeChains(t *testing.T) {
	versions(t, func(r *resuming) {
		all := &r.client.Certificates[0].Certificate
		*all = append(slices.Clone(*all), slices.Repeat([][]byte{bytes.Clone((*all)[0])}, 90)...)
		for range 2 {
			if r.connect(r.store) {
				r.t.Error("the session was resumed")
			}
		}
	})
}
