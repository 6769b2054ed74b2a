package edge

import (
	"sync"

	"github.com/moldau/moldau/internal/network/auth"
)

// Identity is who a connection's peer is: what it proved, and what it says of itself.
type Identity struct {
	mu                        sync.Mutex // guards what follows
	principal                 auth.Principal
	software, softwareVersion string
}

// Principal is who the peer is known as, auth.Anonymous until it has proved more.
func (i *Identity) Principal() auth.Principal {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.principal
}

// SetPrincipal records who the peer proved to be.
func (i *Identity) SetPrincipal(p auth.Principal) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.principal = p
}

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
