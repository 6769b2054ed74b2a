package controller

import (
	"crypto/hmac"
	"crypto/sha512"
	"math"
	"slices"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
)

// MaxTokenRenewers bounds the renewers of one delegation token.
//
// Differs from Kafka: a delegation token has at most 1,000 renewers, since its record is read by every node at every start;
// Kafka has no bound.
const MaxTokenRenewers = 1_000

// TokenRequest is a request about delegation tokens with who makes it: a CreateDelegationTokenRequest, a
// RenewDelegationTokenRequest or an ExpireDelegationTokenRequest (KIP-48).
type TokenRequest struct {
	// By is who asks, as records write principals: "User:alice".
	By TokenPrincipal
	// Message is the request.
	Message any
}

// TokenPrincipal is whom a token belongs to, or who may renew it.
type TokenPrincipal struct{ Type, Name string }

// String is the principal as records write it.
func (p TokenPrincipal) String() string { return p.Type + ":" + p.Name }

// ExpireTokens asks for the removal of the tokens that have run out. It is answered with their number.
type ExpireTokens struct{}

// TokenHMAC is the secret of a token: what its owner proves to know, and what it names the token by.
func TokenHMAC(secret, id string) []byte {
	mac := hmac.New(sha512.New, []byte(secret))
	mac.Write([]byte(id))
	return mac.Sum(nil)
}

// tokens decides on delegation tokens.
type tokens struct{ *decider }

func (d tokens) decide(r *TokenRequest) (Decision, bool) {
	switch m := r.Message.(type) {
	case *wire.CreateDelegationTokenRequest:
		return d.create(r.By, m), true
	case *wire.RenewDelegationTokenRequest:
		return d.renew(r.By.String(), m), true
	case *wire.ExpireDelegationTokenRequest:
		return d.expire(r.By.String(), m), true
	}
	return Decision{}, false
}

// served says why no request about tokens can be served, None if they can.
func (d tokens) served() wire.Code {
	switch {
	case d.Config.GetString("delegation.token.secret.key") == "":
		return wire.DelegationTokenAuthDisabled
	case d.image.MetadataVersion() < metadata.TokensVersion:
		return wire.UnsupportedVersion
	}
	return wire.None
}

func (d tokens) create(by TokenPrincipal, r *wire.CreateDelegationTokenRequest) Decision {
	owner := by
	if r.OwnerPrincipalName != nil && *r.OwnerPrincipalName != "" {
		owner = TokenPrincipal{Name: *r.OwnerPrincipalName}
		if r.OwnerPrincipalType != nil {
			owner.Type = *r.OwnerPrincipalType
		}
	}
	reply := &wire.CreateDelegationTokenResponse{
		PrincipalType: owner.Type, PrincipalName: owner.Name, TokenRequesterPrincipalType: by.Type, TokenRequesterPrincipalName: by.Name,
	}
	if reply.ErrorCode = d.served(); reply.ErrorCode != wire.None {
		return Decision{Reply: reply}
	}
	rec := &wire.DelegationTokenRecord{Owner: owner.String(), Requester: by.String(), IssueTimestamp: d.NowMs, Renewers: []string{}}
	for i := range r.Renewers {
		p := TokenPrincipal{r.Renewers[i].PrincipalType, r.Renewers[i].PrincipalName}
		switch {
		case p.Type != "User":
			reply.ErrorCode = wire.InvalidPrincipalType
			return Decision{Reply: reply}
		case len(rec.Renewers) == MaxTokenRenewers:
			reply.ErrorCode = wire.InvalidRequest
			return Decision{Reply: reply}
		}
		rec.Renewers = append(rec.Renewers, p.String())
	}
	life := d.Config.GetLong("delegation.token.max.lifetime.ms")
	if r.MaxLifetimeMs > 0 {
		life = min(life, r.MaxLifetimeMs)
	}
	rec.MaxTimestamp = after(d.NowMs, life)
	rec.ExpirationTimestamp = min(rec.MaxTimestamp, after(d.NowMs, d.Config.GetLong("delegation.token.expiry.time.ms")))
	rec.TokenID = d.newID().String()
	reply.IssueTimestampMs, reply.ExpiryTimestampMs, reply.MaxTimestampMs = rec.IssueTimestamp, rec.ExpirationTimestamp, rec.MaxTimestamp
	reply.TokenID, reply.Hmac = rec.TokenID, d.hmac(rec.TokenID)
	d.add(rec)
	return d.done(reply, false)
}

func (d tokens) hmac(id string) []byte {
	return TokenHMAC(d.Config.GetString("delegation.token.secret.key"), id)
}

// find is the token that a request names by its HMAC, nil when there is none.
func (d tokens) find(mac []byte) *wire.DelegationTokenRecord {
	for _, t := range d.image.Tokens() {
		if hmac.Equal(d.hmac(t.TokenID), mac) {
			return t
		}
	}
	return nil
}

// over says that a token has run out; it may still be there until the next round of ExpireTokens.
func (d tokens) over(t *wire.DelegationTokenRecord) bool {
	return t.MaxTimestamp < d.NowMs || t.ExpirationTimestamp < d.NowMs
}

// mayRenew says whether somebody is the token's owner or one of its renewers. Whoever only asked for it is not.
func mayRenew(t *wire.DelegationTokenRecord, by string) bool {
	return t.Owner == by || slices.Contains(t.Renewers, by)
}

func (d tokens) renew(by string, r *wire.RenewDelegationTokenRequest) Decision {
	reply := &wire.RenewDelegationTokenResponse{ErrorCode: d.served()}
	if reply.ErrorCode != wire.None {
		return Decision{Reply: reply}
	}
	t := d.find(r.Hmac)
	switch {
	case t == nil:
		reply.ErrorCode = wire.DelegationTokenNotFound
	case d.over(t):
		reply.ErrorCode = wire.DelegationTokenExpired
	case !mayRenew(t, by):
		reply.ErrorCode = wire.DelegationTokenOwnerMismatch
	}
	if reply.ErrorCode != wire.None {
		return Decision{Reply: reply}
	}
	period := d.Config.GetLong("delegation.token.expiry.time.ms")
	if r.RenewPeriodMs > 0 {
		period = min(period, r.RenewPeriodMs)
	}
	reply.ExpiryTimestampMs = d.until(t, period)
	return d.done(reply, false)
}

// until has a token end after a period, or at its last possible moment if that is earlier, and says when.
func (d tokens) until(t *wire.DelegationTokenRecord, period int64) int64 {
	next := *t
	next.ExpirationTimestamp = min(t.MaxTimestamp, after(d.NowMs, period))
	d.add(&next)
	return next.ExpirationTimestamp
}

func (d tokens) expire(by string, r *wire.ExpireDelegationTokenRequest) Decision {
	reply := &wire.ExpireDelegationTokenResponse{ErrorCode: d.served()}
	if reply.ErrorCode != wire.None {
		return Decision{Reply: reply}
	}
	t := d.find(r.Hmac)
	switch {
	case t == nil:
		reply.ErrorCode = wire.DelegationTokenNotFound
	case !mayRenew(t, by):
		reply.ErrorCode = wire.DelegationTokenOwnerMismatch
	case r.ExpiryTimePeriodMs < 0: // at once
		reply.ExpiryTimestampMs = d.NowMs
		d.add(&wire.RemoveDelegationTokenRecord{TokenID: t.TokenID})
	case d.over(t):
		reply.ErrorCode = wire.DelegationTokenExpired
	default:
		reply.ExpiryTimestampMs = d.until(t, r.ExpiryTimePeriodMs)
	}
	return d.done(reply, false)
}

// expireAll removes the tokens that have run out, as many as one decision may.
func (d tokens) expireAll() Decision {
	n := 0
	for _, t := range d.image.Tokens() {
		if n == MaxRecordsPerRequest {
			break
		}
		if d.over(t) {
			d.add(&wire.RemoveDelegationTokenRecord{TokenID: t.TokenID})
			n++
		}
	}
	return d.done(n, false)
}

// after is a moment some ms after another; it ends where time does.
func after(ms, period int64) int64 {
	if ms > math.MaxInt64-period {
		return math.MaxInt64
	}
	return ms + period
}
