// Package auth proves who a peer is: principals, and SASL's mechanisms on the server's side.
//
// Duty: it turns what a client sends into an [Identity], or into an error that says no more than the client may know.
//
// Invariants: secrets are compared in constant time and appear in no error, no log line and no String method; what
// a peer that is not yet known can make the node keep is bounded; an identity that differs from the one that was proved is refused.
//
// Called by node/broker, which speaks SaslHandshake and SaslAuthenticate, and by network/edge for the type of a
// principal. It must never decide what a principal may do; machine/acl does.
package auth

import (
	"fmt"
	"strings"
)

// UserType is the type of principals that authentication makes; rules may name others.
const UserType = "User"

// Principal is who a peer is, as rules and logs name it.
type Principal struct {
	Type, Name string
	// Token says that a delegation token proved it (KIP-48): such a peer may not make further tokens.
	Token bool
}

// Anonymous is a peer that did not authenticate.
var Anonymous = Principal{Type: UserType, Name: "ANONYMOUS"}

// String is Kafka's way to write a principal, "User:alice".
func (p Principal) String() string { return p.Type + ":" + p.Name }

// ParsePrincipal reads what String writes.
func ParsePrincipal(text string) (Principal, error) {
	kind, name, ok := strings.Cut(text, ":")
	if !ok || kind == "" || name == "" {
		return Principal{}, fmt.Errorf("%q is no principal: write it as Type:Name, for example User:alice", text)
	}
	return Principal{Type: kind, Name: name}, nil
}
