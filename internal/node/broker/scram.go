package broker

import (
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/network/edge"
)

// serveDescribeUserScramCredentials tells which credentials users have, never what they are (KIP-554).
func serveDescribeUserScramCredentials(
	b *Broker, _ *edge.Request, m *wire.DescribeUserScramCredentialsRequest,
) *wire.DescribeUserScramCredentialsResponse {
	out := &wire.DescribeUserScramCredentialsResponse{}
	out.SetDefaults()
	all := b.image().ScramCredentials() // by name, then mechanism
	known := make(map[string][]wire.DescribeUserScramCredentialsResponseCredentialInfo)
	var names []string
	for _, c := range all {
		if known[c.Name] == nil {
			names = append(names, c.Name)
		}
		known[c.Name] = append(known[c.Name], wire.DescribeUserScramCredentialsResponseCredentialInfo{
			Mechanism: c.Mechanism, Iterations: c.Iterations,
		})
	}
	asked := make(map[string]int, len(m.Users))
	if len(m.Users) > 0 {
		names = nil
	}
	for i := range m.Users {
		name := m.Users[i].Name
		if asked[name]++; asked[name] == 1 {
			names = append(names, name)
		}
	}
	for _, name := range names {
		r := wire.DescribeUserScramCredentialsResponseDescribeUserScramCredentialsResult{}
		r.SetDefaults()
		r.User = name
		switch {
		case asked[name] > 1:
			r.ErrorCode = wire.DuplicateResource
			r.ErrorMessage = text("Cannot describe SCRAM credentials for the same user twice in a single request: " + name)
		case known[name] == nil:
			r.ErrorCode = wire.ResourceNotFound
			r.ErrorMessage = text("Attempt to describe a user credential that does not exist: " + name)
		default:
			r.CredentialInfos = known[name]
		}
		out.Results = append(out.Results, r)
	}
	return out
}
