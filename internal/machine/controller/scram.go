package controller

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"slices"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// Bounds of a credential's iterations, and numbers of the mechanisms (KIP-554).
const (
	minScramIterations = 4096
	maxScramIterations = 16384
	scramSHA256        = 1
	scramSHA512        = 2
)

// scramHash gives the hash of a mechanism, nil for one that is unknown.
func scramHash(mechanism int8) func() hash.Hash {
	switch mechanism {
	case scramSHA256:
		return sha256.New
	case scramSHA512:
		return sha512.New
	default:
		return nil
	}
}

// credentials decides on SCRAM credentials.
type credentials struct{ *decider }

// alterCredentials deletes and sets credentials. A user is touched once in a request, or not at all.
func (d credentials) alterCredentials(r *wire.AlterUserScramCredentialsRequest) Decision {
	var order []string
	count := map[string]int{}
	name := func(user string) {
		if count[user]++; count[user] == 1 {
			order = append(order, user)
		}
	}
	for i := range r.Deletions {
		name(r.Deletions[i].Name)
	}
	for i := range r.Upsertions {
		name(r.Upsertions[i].Name)
	}
	faults := map[string]*fault{}
	// A complaint about the user's first change is told, and not that there is a second one.
	judge := func(user string, f *fault) {
		switch {
		case faults[user] != nil:
		case f != nil:
			faults[user] = f
		case count[user] > 1:
			faults[user] = refuse(wire.DuplicateResource, "A user credential cannot be altered twice in the same request")
		}
	}
	for i := range r.Deletions {
		judge(r.Deletions[i].Name, d.checkDeletion(&r.Deletions[i]))
	}
	for i := range r.Upsertions {
		judge(r.Upsertions[i].Name, d.checkUpsertion(&r.Upsertions[i]))
	}
	for i := range r.Deletions {
		if c := &r.Deletions[i]; faults[c.Name] == nil {
			d.add(&wire.RemoveUserScramCredentialRecord{Name: c.Name, Mechanism: c.Mechanism})
		}
	}
	for i := range r.Upsertions {
		if c := &r.Upsertions[i]; faults[c.Name] == nil {
			d.add(credential(c))
		}
	}
	// Kafka answers what was done before what was refused.
	slices.SortStableFunc(order, func(a, b string) int { return cmp.Compare(failed(faults[a]), failed(faults[b])) })
	reply := &wire.AlterUserScramCredentialsResponse{Results: []wire.AlterUserScramCredentialsResponseAlterUserScramCredentialsResult{}}
	for _, user := range order {
		result := wire.AlterUserScramCredentialsResponseAlterUserScramCredentialsResult{User: user}
		result.ErrorCode, result.ErrorMessage = faults[user].parts()
		reply.Results = append(reply.Results, result)
	}
	return d.done(reply, false)
}

func failed(f *fault) int {
	if f != nil {
		return 1
	}
	return 0
}

func (d credentials) checkName(name string, mechanism int8) *fault {
	switch {
	case d.image.MetadataVersion() < metadata.ScramVersion:
		return refuse(wire.UnsupportedVersion, "The current metadata.version does not support SCRAM")
	case name == "":
		return refuse(wire.UnacceptableCredential, "Username must not be empty")
	case scramHash(mechanism) == nil:
		return refuse(wire.UnsupportedSaslMechanism, "Unknown SCRAM mechanism")
	}
	return nil
}

func (d credentials) checkDeletion(c *wire.AlterUserScramCredentialsRequestScramCredentialDeletion) *fault {
	if f := d.checkName(c.Name, c.Mechanism); f != nil {
		return f
	}
	if d.image.ScramCredential(metadata.ScramKey{Mechanism: c.Mechanism, Name: c.Name}) == nil {
		return refuse(wire.ResourceNotFound, "Attempt to delete a user credential that does not exist")
	}
	return nil
}

func (d credentials) checkUpsertion(c *wire.AlterUserScramCredentialsRequestScramCredentialUpsertion) *fault {
	if f := d.checkName(c.Name, c.Mechanism); f != nil {
		return f
	}
	switch {
	case c.Iterations < minScramIterations:
		return refuse(wire.UnacceptableCredential, "Too few iterations")
	case c.Iterations > maxScramIterations:
		return refuse(wire.UnacceptableCredential, "Too many iterations")
	case len(c.SaltedPassword) == 0:
		return &fault{code: wire.UnknownServerError}
	}
	return nil
}

// credential is the record of a credential that a client has salted.
func credential(c *wire.AlterUserScramCredentialsRequestScramCredentialUpsertion) *wire.UserScramCredentialRecord {
	return ScramRecord(c.Name, c.Mechanism, c.Salt, c.SaltedPassword, c.Iterations)
}

// ScramRecord works the two keys that a server keeps out of a salted password (RFC 5802). The mechanism must be one of
// KIP-554's numbers.
func ScramRecord(name string, mechanism int8, salt, salted []byte, iterations int32) *wire.UserScramCredentialRecord {
	h := scramHash(mechanism)
	derive := func(what string) []byte {
		mac := hmac.New(h, salted)
		mac.Write([]byte(what))
		return mac.Sum(nil)
	}
	stored := h()
	stored.Write(derive("Client Key"))
	return &wire.UserScramCredentialRecord{
		Name: name, Mechanism: mechanism, Salt: slices.Clone(salt),
		StoredKey: stored.Sum(nil), ServerKey: derive("Server Key"), Iterations: iterations,
	}
}
