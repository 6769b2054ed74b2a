package auth

// claimant is a method whose peer says who it is before that is proved.
type claimant interface{ claimed() string }

// Claimed is whom the peer of an exchange says it is, as far as its tokens have told; empty if they have not. It proves
// nothing, may be anything, and is for the log of the node only.
func Claimed(x Exchange) string {
	if g, ok := x.(*guard); ok {
		if c, ok := g.method.(claimant); ok {
			return c.claimed()
		}
	}
	return ""
}

func (p *plainExchange) claimed() string { return p.name }

func (x *scramExchange) claimed() string {
	if x.who.TokenID != "" {
		return "token " + x.who.TokenID
	}
	return x.who.Principal.Name
}
