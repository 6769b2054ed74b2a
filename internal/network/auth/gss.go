package auth

import (
	"crypto/sha256"
	"encoding/asn1"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	krbasn1 "github.com/jcmturner/gofork/encoding/asn1"
	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/iana/asnAppTag"
	"github.com/jcmturner/gokrb5/v8/iana/chksumtype"
	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/iana/flags"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/iana/msgtype"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"

	"github.com/moldau/moldau/internal/clock"
)

const kerberosModule = "com.sun.security.auth.module.Krb5LoginModule"

const (
	// kerberosSkew is how far a client's clock may be off; Kerberos's own default.
	kerberosSkew = 5 * time.Minute
	// maxReplays bounds the authenticators that are remembered; only holders of tickets can add to them. Beyond
	// it the oldest is forgotten, which takes a thousand logins a second.
	maxReplays = 1 << 18
	// maxKeytabBytes bounds a keytab.
	maxKeytabBytes = 1 << 20
	mutualFlag     = 0x02 // GSS_C_MUTUAL_FLAG
	noLayer        = 0x01 // RFC 4752, 3.3
)

// strong are the kinds of encryption that are taken, all of AES.
//
// Differs from Kafka: Kerberos tickets with RC4 and DES are refused always; Java refuses them unless allow_weak_crypto is
// set in krb5.conf.
var strong = []int32{etypeID.AES128_CTS_HMAC_SHA1_96, etypeID.AES256_CTS_HMAC_SHA1_96, etypeID.AES128_CTS_HMAC_SHA256_128, etypeID.AES256_CTS_HMAC_SHA384_192}

// gss is the acceptor's side of Kerberos: one service principal and its keys. It needs no KDC.
type gss struct {
	clock   clock.Clock
	service types.PrincipalName
	realm   string
	rules   *kerberosRules
	replays replays
	random  clock.Rand
	read    func() ([]byte, error)
	logger  *slog.Logger

	mu     sync.Mutex // guards what follows
	keys   *keytab.Keytab
	looked time.Duration // when the keytab was read last
}

func newGSS(o *Options) (func() method, error) {
	login, err := o.login(GSSAPI, kerberosModule, `useKeyTab=true keyTab="/etc/kafka.keytab" principal="kafka/host@REALM"`)
	if err != nil {
		return nil, err
	}
	path, principal := login.Options["keyTab"], login.Options["principal"]
	if path == "" || principal == "" || strings.EqualFold(login.Options["useKeyTab"], "false") {
		return nil, errors.New("the login must have useKeyTab=true, keyTab and principal: keys come from nowhere else")
	}
	for _, scheme := range []string{"FILE:", "file://", "file:"} {
		path = strings.TrimPrefix(path, scheme)
	}
	g := &gss{clock: o.World, random: o.World, replays: replays{max: maxReplays}, logger: o.Logger, looked: o.World.Mono()}
	g.read = func() ([]byte, error) { return o.read(path) }
	name, realm, _ := strings.Cut(principal, "@")
	g.service, g.realm = types.NewPrincipalName(0, name), realm
	if g.keys, err = g.loadKeys(); err != nil {
		return nil, fmt.Errorf("the keytab %s: %w", path, err)
	}
	if err := checkServiceName(o, login, g.service.NameString[0]); err != nil {
		return nil, err
	}
	if g.rules, err = parseKerberosRules(g.realm, o.text(GSSAPI, "sasl.kerberos.principal.to.local.rules", "DEFAULT")); err != nil {
		return nil, fmt.Errorf("sasl.kerberos.principal.to.local.rules: %w", err)
	}
	return func() method { return &gssExchange{gss: g} }, nil
}

// checkServiceName compares the names that clients are told, as Kafka's KerberosLogin does.
func checkServiceName(o *Options, login Login, own string) error {
	set, option := o.text(GSSAPI, "sasl.kerberos.service.name", ""), login.Options["serviceName"]
	if set != "" && option != "" && set != option {
		return fmt.Errorf("Conflicting serviceName values found in JAAS and Kafka configs value in JAAS file %s, value in Kafka config %s", option, set)
	}
	for _, name := range []string{set, option} {
		if name != "" && name != own {
			return fmt.Errorf("the service is called %s in sasl.kerberos.service.name or serviceName, and %s in the login's principal", name, own)
		}
	}
	return nil
}

// loadKeys reads the keytab and looks that it has a strong key for the principal, whose realm may be left to it.
func (g *gss) loadKeys() (*keytab.Keytab, error) {
	data, err := g.read()
	if err != nil {
		return nil, err
	}
	if len(data) > maxKeytabBytes {
		return nil, fmt.Errorf("it is longer than %d bytes", maxKeytabBytes)
	}
	keys := keytab.New()
	if err := guarded(func() error { return keys.Unmarshal(data) }); err != nil {
		return nil, errors.New("it is malformed")
	}
	for _, e := range keys.Entries {
		if slices.Equal(e.Principal.Components, g.service.NameString) && (g.realm == "" || g.realm == e.Principal.Realm) && slices.Contains(strong, e.Key.KeyType) {
			if g.realm == "" {
				g.realm = e.Principal.Realm // Only at the start; later it is read without the lock.
			}
			return keys, nil
		}
	}
	return nil, fmt.Errorf("it has no AES key for the principal %s", g.service.PrincipalNameString())
}

// decrypt opens a ticket. If there is no key for it, or not this one, the keytab may have been changed, and is read again; not at a stranger's pace.
func (g *gss) decrypt(t *messages.Ticket) error {
	g.mu.Lock()
	keys := g.keys
	g.mu.Unlock()
	err := t.DecryptEncPart(keys, &g.service)
	if err == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if now := g.clock.Mono(); now-g.looked >= expediteAfter {
		g.looked = now
		if next, readErr := g.loadKeys(); readErr != nil {
			g.logger.Warn("the keytab cannot be read again; the keys known stay in use", "error", readErr)
		} else {
			g.keys = next
		}
	}
	if g.keys == keys {
		return err
	}
	return t.DecryptEncPart(g.keys, &g.service)
}

// guarded runs code of the Kerberos library on bytes of strangers: it indexes without looking in some places.
func guarded(f func() error) (err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("malformed Kerberos message")
		}
	}()
	return f()
}

// gssExchange is RFC 4752: the ticket, our proof if the client wants it, the offer of no security layer, and the client's choice.
type gssExchange struct {
	gss      *gss
	state    gssState
	key      types.EncryptionKey
	sequence uint64
	client   kerberosName
	full     string
	who      Identity
}

type gssState int8

const (
	gssTicket gssState = iota // awaiting the AP-REQ
	gssEmpty                  // awaiting the empty answer to our AP-REP
	gssLayer                  // awaiting the choice of a layer
)

func (x *gssExchange) identity() Identity { return x.who }

func (x *gssExchange) step(token []byte) (answer []byte, done bool, err error) {
	err = guarded(func() (err error) {
		switch x.state {
		case gssTicket:
			answer, err = x.accept(token)
		case gssEmpty:
			if len(token) > 0 {
				return errors.New("the answer to AP-REP must be empty")
			}
			answer, err = x.offer()
		case gssLayer:
			err = x.choose(token)
			done = err == nil
		}
		return err
	})
	var r *Refusal
	if err != nil && !errors.As(err, &r) {
		err = hide(GSSAPI, "%w", err)
	}
	if err != nil {
		return nil, false, err
	}
	return answer, done, nil
}

// accept checks an AP-REQ: the ticket with the service's key, the authenticator with the session's (RFC 4120, 3.2.3).
func (x *gssExchange) accept(token []byte) ([]byte, error) {
	message, err := openContextToken(token, apReqKind)
	if err != nil {
		return nil, err
	}
	var request messages.APReq
	if err := request.Unmarshal(message); err != nil {
		return nil, fmt.Errorf("malformed AP-REQ: %w", err)
	}
	if err := x.gss.open(&request); err != nil {
		return nil, err
	}
	ticket := &request.Ticket.DecryptedEncPart
	a := &request.Authenticator
	if err := x.name(ticket.CName, ticket.CRealm); err != nil {
		return nil, err
	}
	// RFC 4121, 4.1.1: length of the bindings, their hash, flags.
	if sum := a.Cksum.Checksum; a.Cksum.CksumType != chksumtype.GSSAPI || len(sum) < 24 || binary.LittleEndian.Uint32(sum) != 16 {
		return nil, errors.New("the authenticator's checksum is not GSS-API's")
	}
	mutual := binary.LittleEndian.Uint32(a.Cksum.Checksum[20:])&mutualFlag != 0 || types.IsFlagSet(&request.APOptions, flags.APOptionMutualRequired)
	x.key = ticket.Key
	if len(a.SubKey.KeyValue) > 0 {
		x.key = a.SubKey
	}
	if !slices.Contains(strong, x.key.KeyType) {
		return nil, fmt.Errorf("the session's key is of kind %d, which is not AES", x.key.KeyType)
	}
	x.key.KeyValue = slices.Clone(x.key.KeyValue) // It would keep all of the ticket.
	x.sequence = uint64(uint32(a.SeqNumber))
	if !mutual {
		return x.offer()
	}
	x.state, x.sequence = gssEmpty, uint64(uint32(x.gss.random.Uint64())>>2)
	return x.reply(a, ticket.Key)
}

// open decrypts ticket and authenticator and checks them against each other and the clock.
func (g *gss) open(r *messages.APReq) error {
	if r.Ticket.Realm != g.realm || !slices.Equal(r.Ticket.SName.NameString, g.service.NameString) {
		return fmt.Errorf("the ticket is for another service than %s@%s", g.service.PrincipalNameString(), g.realm)
	}
	if !slices.Contains(strong, r.Ticket.EncPart.EType) || !slices.Contains(strong, r.EncryptedAuthenticator.EType) {
		return errors.New("the ticket or its authenticator is encrypted with something else than AES")
	}
	if err := g.decrypt(&r.Ticket); err != nil {
		return fmt.Errorf("the ticket cannot be decrypted with the keytab's key: %w", err)
	}
	t := &r.Ticket.DecryptedEncPart
	now := g.clock.Now()
	begins := t.StartTime
	if begins.IsZero() {
		begins = t.AuthTime
	}
	switch {
	case types.IsFlagSet(&t.Flags, flags.Invalid) || begins.Sub(now) > kerberosSkew:
		return errors.New("the ticket is not yet valid")
	case now.Sub(t.EndTime) > kerberosSkew:
		return errors.New("the ticket has expired")
	}
	if err := r.DecryptAuthenticator(t.Key); err != nil {
		return fmt.Errorf("the authenticator cannot be decrypted with the ticket's key: %w", err)
	}
	a := &r.Authenticator
	if a.CRealm != t.CRealm || !slices.Equal(a.CName.NameString, t.CName.NameString) {
		return errors.New("the authenticator names another client than the ticket")
	}
	made := a.CTime.Add(time.Duration(a.Cusec) * time.Microsecond)
	if off := now.Sub(made); off > kerberosSkew || off < -kerberosSkew {
		return fmt.Errorf("the client's clock is off by %s", off)
	}
	if !g.replays.add(sha256.Sum256(r.EncryptedAuthenticator.Cipher), now) {
		return errors.New("the authenticator was used before: replay")
	}
	return nil
}

// name reads whom the ticket is for. Components that hold a separator could pass for another name.
func (x *gssExchange) name(name types.PrincipalName, realm string) (err error) {
	if n := len(name.NameString); n == 0 || n > 2 {
		return fmt.Errorf("Malformed Kerberos name: it has %d components", n)
	}
	for _, part := range append(slices.Clone(name.NameString), realm) {
		if part == "" || strings.ContainsAny(part, "/@\x00") {
			return errors.New("Malformed Kerberos name: a component is empty or has a separator in it")
		}
	}
	x.full = strings.Join(name.NameString, "/") + "@" + realm
	if x.client, err = parseKerberosName(x.full); err != nil {
		return err
	}
	short, err := x.gss.rules.short(x.client)
	if err != nil {
		return fmt.Errorf("Failed to set name for '%s' based on Kerberos authentication rules.: %w", x.full, err)
	}
	if short == "" {
		return fmt.Errorf("sasl.kerberos.principal.to.local.rules make an empty name of %s", x.full)
	}
	x.who = Identity{Principal: Principal{Type: UserType, Name: short}}
	return nil
}

// encAPRepPart is RFC 4120, 5.5.2, without a key of ours: the client's stays in use.
type encAPRepPart struct {
	CTime          time.Time `asn1:"generalized,explicit,tag:0"`
	Cusec          int       `asn1:"explicit,tag:1"`
	SequenceNumber int64     `asn1:"explicit,tag:3"`
}

// reply proves to the client that we know the ticket's key.
func (x *gssExchange) reply(a *types.Authenticator, key types.EncryptionKey) ([]byte, error) {
	part, err := asn1.Marshal(encAPRepPart{CTime: a.CTime.UTC().Truncate(time.Second), Cusec: a.Cusec, SequenceNumber: int64(x.sequence)})
	if err != nil {
		return nil, err
	}
	sealed, err := crypto.GetEncryptedData(applicationTag(asnAppTag.EncAPRepPart, part), key, keyusage.AP_REP_ENCPART, 0)
	if err != nil {
		return nil, err
	}
	reply, err := krbasn1.Marshal(messages.APRep{PVNO: 5, MsgType: msgtype.KRB_AP_REP, EncPart: sealed})
	if err != nil {
		return nil, err
	}
	return contextToken(apRepKind, applicationTag(asnAppTag.APREP, reply)), nil
}

// offer names the security layers that there are: none.
func (x *gssExchange) offer() ([]byte, error) {
	x.state = gssLayer
	return wrap(x.key, x.sequence, []byte{noLayer, 0, 0, 0})
}

// choose reads the client's choice and whom it wants to be.
//
// Differs from Kafka: with GSSAPI another authorization id than the ticket's name is refused; Kafka does not look at it and
// takes the ticket's name.
func (x *gssExchange) choose(token []byte) error {
	choice, err := unwrap(x.key, token)
	if err != nil {
		return err
	}
	if len(choice) < 4 || choice[0] != noLayer {
		return errors.New("the client chose a security layer that was not offered")
	}
	id := string(choice[4:])
	alone := strings.TrimSuffix(x.full, "@"+x.client.realm)
	if !slices.Contains([]string{"", x.full, alone, x.client.service, x.who.Principal.Name}, id) {
		return refuse("Authentication failed: Client requested an authorization id that is different from its Kerberos principal")
	}
	return nil
}

// replays remembers authenticators for as long as they would pass again.
type replays struct {
	max  int        // how many, maxReplays but in tests
	mu   sync.Mutex // guards what follows
	seen map[[32]byte]struct{}
	// order is the same oldest first, from next on; it is compacted when half of it is used up.
	order []replay
	next  int
}

type replay struct {
	id    [32]byte
	until time.Time
}

// add reports whether id is new.
func (r *replays) add(id [32]byte, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.seen == nil {
		r.seen = map[[32]byte]struct{}{}
	}
	for r.next < len(r.order) && (r.order[r.next].until.Before(now) || len(r.seen) >= r.max) {
		delete(r.seen, r.order[r.next].id)
		r.next++
	}
	if r.next > len(r.order)/2 {
		r.order = append(r.order[:0], r.order[r.next:]...)
		r.next = 0
	}
	if _, again := r.seen[id]; again {
		return false
	}
	r.seen[id] = struct{}{}
	r.order = append(r.order, replay{id: id, until: now.Add(2 * kerberosSkew)})
	return true
}
