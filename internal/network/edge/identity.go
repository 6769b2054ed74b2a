package edge

import (
	"sync"
	"sync/atomic"

	"github.com/moldau/moldau/internal/network/auth"
)

// Identity is who a connection's peer is: what it proved, and what it says of itself.
type Identity struct {
	principal atomic.Pointer[auth.Principal] // nil: nobody in particular
	login     any                            // what the handler keeps; for the connection's goroutine

	mu                        sync.Mutex // guards what follows
	software, softwareVersion string
}

// Principal is who the peer is known as, auth.Anonymous until it has proved more.
func (i *Identity) Principal() auth.Principal {
	if p := i.principal.Load(); p != nil {
		return *p
	}
	return auth.Anonymous
}

// SetPrincipal records who the peer proved to be.
func (i *Identity) SetPrincipal(p auth.Principal) { i.principal.Store(&p) }

// Login is what SetLogin was given, nil before. Like that it is for Handler.Serve only.
func (i *Identity) Login() any { return i.login }

// SetLogin keeps what the handler wants to know of how far the peer's authentication has come.
func (i *Identity) SetLogin(l any) { i.login = l }

// SetSoftware records what the client says it is (ApiVersions, KIP-511).
func (i *Identity) SetSoftware(name, version string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.software, i.softwareVersion = name, version
}

// Software is what SetSoftware was given, empty before.
func (i *Identity) Software() (name, version string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.software, i.softwareVersion
}
