package auth

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jcmturner/gofork/encoding/asn1"
	"github.com/jcmturner/gokrb5/v8/crypto"
	"github.com/jcmturner/gokrb5/v8/gssapi"
	"github.com/jcmturner/gokrb5/v8/iana/asnAppTag"
	"github.com/jcmturner/gokrb5/v8/iana/etypeID"
	"github.com/jcmturner/gokrb5/v8/iana/flags"
	"github.com/jcmturner/gokrb5/v8/iana/keyusage"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/jcmturner/gokrb5/v8/messages"
	"github.com/jcmturner/gokrb5/v8/types"

	"github.com/moldau/moldau/internal/clock"
)

// realm is a KDC that is not there: it has the keytab, so that it can make tickets.
type realm struct {
	world *clock.Hand
	keys  *keytab.Keytab
	file  []byte
}

func newRealm(t testing.TB, kinds ...int32) *realm {
	r := &realm{world: clock.NewHand(1), keys: keytab.New()}
	for _, k := range kinds {
		for _, service := range []string{"kafka/broker.example", "http/broker.example"} {
			if err := r.keys.AddEntry(service, "REALM", "secret of "+service, r.world.Now(), 3, k); err != nil {
				t.Fatal(err)
			}
		}
	}
	var err error
	if r.file, err = r.keys.Marshal(); err != nil {
		t.Fatal(err)
	}
	return r
}

const gssLogin = kerberosModule + ` required useKeyTab=true storeKey=true keyTab="/kafka.keytab" principal="kafka/broker.example@REALM" serviceName=kafka;`

func (r *realm) options(set settings) Options {
	if set == nil {
		set = settings{}
	}
	if _, ok := set["GSSAPI sasl.jaas.config"]; !ok {
		set["GSSAPI sasl.jaas.config"] = gssLogin
	}
	o := testOptions(r.world, set, GSSAPI)
	o.ReadFile = func(path string) ([]byte, error) {
		if path != "/kafka.keytab" {
			return nil, fmt.Errorf("%s: no such file", path)
		}
		return r.file, nil
	}
	return o
}

// ticket is what a client asks for.
type ticket struct {
	client, clientRealm, service string
	kind                         int32
	subkey, mutual               bool
	begins, ends, made           time.Duration // from now
	flags                        []int
	authenticator                func(*types.Authenticator)
	request                      func(*messages.APReq)
}

func goodTicket() ticket {
	return ticket{client: "alice", clientRealm: "REALM", service: "kafka/broker.example", kind: etypeID.AES256_CTS_HMAC_SHA1_96, subkey: true, mutual: true, begins: -time.Hour, ends: time.Hour}
}

// gssClient is the initiator's side.
type gssClient struct {
	session, key types.EncryptionKey
	made         time.Time
	sequence     uint64
	token        []byte
}

// freshKey is a random key of a kind. The library's own are too short for AES with SHA-384.
func freshKey(t testing.TB, kind int32) types.EncryptionKey {
	key := types.EncryptionKey{KeyType: kind, KeyValue: make([]byte, 16)}
	if kind == etypeID.AES256_CTS_HMAC_SHA1_96 || kind == etypeID.AES256_CTS_HMAC_SHA384_192 {
		key.KeyValue = make([]byte, 32)
	}
	if _, err := rand.Read(key.KeyValue); err != nil {
		t.Fatal(err)
	}
	return key
}

// mint makes a ticket as a KDC does.
func (r *realm) mint(t testing.TB, kind int32, service types.PrincipalName, part messages.EncTicketPart) messages.Ticket {
	t.Helper()
	body, err := asn1.Marshal(part)
	if err != nil {
		t.Fatal(err)
	}
	key, _, err := r.keys.GetEncryptionKey(service, "REALM", 3, kind)
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := crypto.GetEncryptedData(applicationTag(asnAppTag.EncTicketPart, body), key, keyusage.KDC_REP_TICKET, 3)
	if err != nil {
		t.Fatal(err)
	}
	return messages.Ticket{TktVNO: 5, Realm: "REALM", SName: service, EncPart: sealed}
}

func (r *realm) client(t testing.TB, k ticket) *gssClient {
	t.Helper()
	now := r.world.Now()
	client := types.PrincipalName{NameType: 1, NameString: strings.Split(k.client, "/")}
	service := types.PrincipalName{NameType: 2, NameString: strings.Split(k.service, "/")}
	bits := types.NewKrbFlags()
	for _, f := range k.flags {
		types.SetFlag(&bits, f)
	}
	session := freshKey(t, k.kind)
	made := r.mint(t, k.kind, service, messages.EncTicketPart{
		Flags: bits, Key: session, CRealm: k.clientRealm, CName: client, AuthTime: now.Add(k.begins), StartTime: now.Add(k.begins), EndTime: now.Add(k.ends), RenewTill: now.Add(k.ends),
	})
	c := &gssClient{session: session, key: session, made: now.Add(k.made), sequence: 77}
	checksum := make([]byte, 24)
	binary.LittleEndian.PutUint32(checksum, 16)
	if k.mutual {
		checksum[20] = gssapi.ContextFlagMutual
	}
	a := types.Authenticator{AVNO: 5, CRealm: k.clientRealm, CName: client, Cksum: types.Checksum{CksumType: 0x8003, Checksum: checksum}, CTime: c.made, Cusec: 5, SeqNumber: 77}
	if k.subkey {
		a.SubKey = freshKey(t, k.kind)
		c.key = a.SubKey
	}
	if k.authenticator != nil {
		k.authenticator(&a)
	}
	request, err := messages.NewAPReq(made, session, a)
	if err != nil {
		t.Fatal(err)
	}
	if k.mutual {
		types.SetFlag(&request.APOptions, flags.APOptionMutualRequired)
	}
	if k.request != nil {
		k.request(&request)
	}
	body, err := request.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	c.token = contextToken(apReqKind, body)
	return c
}

// checkReply verifies the server's proof with the library's own reading of it.
func (c *gssClient) checkReply(t testing.TB, token []byte) {
	t.Helper()
	body, err := openContextToken(token, apRepKind)
	if err != nil {
		t.Fatal(err)
	}
	var reply messages.APRep
	if err := reply.Unmarshal(body); err != nil {
		t.Fatal(err)
	}
	plain, err := crypto.DecryptEncPart(reply.EncPart, c.session, keyusage.AP_REP_ENCPART)
	if err != nil {
		t.Fatal(err)
	}
	var part messages.EncAPRepPart
	if err := part.Unmarshal(plain); err != nil {
		t.Fatal(err)
	}
	if !part.CTime.Equal(c.made.Truncate(time.Second)) || part.Cusec != 5 {
		t.Fatalf("the proof is for %v %d", part.CTime, part.Cusec)
	}
	c.sequence = uint64(part.SequenceNumber)
}

// checkOffer verifies the offer of layers with the library's wrap token.
func (c *gssClient) checkOffer(t testing.TB, token []byte) {
	t.Helper()
	var w gssapi.WrapToken
	if err := w.Unmarshal(token, true); err != nil {
		t.Fatal(err)
	}
	if ok, err := w.Verify(c.key, keyusage.GSSAPI_ACCEPTOR_SEAL); !ok {
		t.Fatal(err)
	}
	if !bytes.Equal(w.Payload, []byte{1, 0, 0, 0}) || w.SndSeqNum != c.sequence {
		t.Fatalf("offered %x as %d, want %d", w.Payload, w.SndSeqNum, c.sequence)
	}
}

func (c *gssClient) choice(t testing.TB, payload string) []byte {
	t.Helper()
	w, err := gssapi.NewInitiatorWrapToken([]byte(payload), c.key)
	if err != nil {
		t.Fatal(err)
	}
	out, err := w.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// login runs an exchange until it is refused or done.
func (r *realm) login(t testing.TB, s *Server, k ticket, payload string) string {
	t.Helper()
	c := r.client(t, k)
	x := begin(t, s, GSSAPI)
	v, answer := verdict(x, c.token)
	if v == "more" && k.mutual {
		c.checkReply(t, answer)
		v, answer = verdict(x, nil)
	}
	if v == "more" {
		c.checkOffer(t, answer)
		v, _ = verdict(x, c.choice(t, payload))
	}
	return v
}

func TestKerberosLogins(t *testing.T) {
	for _, kind := range strong {
		r := newRealm(t, kind)
		s := newServer(t, r.options(nil))
		for _, mutual := range []bool{true, false} {
			for _, subkey := range []bool{true, false} {
				k := goodTicket()
				k.kind, k.mutual, k.subkey = kind, mutual, subkey
				if v := r.login(t, s, k, "\x01\x00\x00\x00"); v != "User:alice" {
					t.Errorf("kind %d, mutual %t, subkey %t: %s", kind, mutual, subkey, v)
				}
			}
		}
	}
}

func TestKerberosAuthorizationID(t *testing.T) {
	r := newRealm(t, etypeID.AES256_CTS_HMAC_SHA1_96)
	s := newServer(t, r.options(settings{"sasl.kerberos.principal.to.local.rules": "RULE:[2:$1-$2]/U,DEFAULT"}))
	for id, want := range map[string]string{
		"": "User:SVC-HOST", "svc/host@REALM": "User:SVC-HOST", "svc/host": "User:SVC-HOST", "svc": "User:SVC-HOST", "SVC-HOST": "User:SVC-HOST",
		"admin": "Authentication failed: Client requested an authorization id that is different from its Kerberos principal", "svc/host@OTHER": "Authentication failed: Client requested an authorization id that is different from its Kerberos principal",
	} {
		k := goodTicket()
		k.client = "svc/host"
		if v := r.login(t, s, k, "\x01\x00\x00\x00"+id); !strings.HasPrefix(v, want) {
			t.Errorf("%q: %s, want %s", id, v, want)
		}
	}
}

func TestKerberosRefusals(t *testing.T) {
	r := newRealm(t, etypeID.AES256_CTS_HMAC_SHA1_96, etypeID.RC4_HMAC)
	s := newServer(t, r.options(nil))
	for _, c := range []struct {
		name, want string
		change     func(*ticket)
		payload    string
	}{
		{"other service", "the ticket is for another service", func(k *ticket) { k.service = "http/broker.example" }, ""},
		{"other service, relabelled", "the ticket cannot be decrypted", func(k *ticket) {
			k.service = "http/broker.example"
			k.request = func(r *messages.APReq) { r.Ticket.SName.NameString = []string{"kafka", "broker.example"} }
		}, ""},
		{"no service name", "the ticket is for another service", func(k *ticket) { k.request = func(r *messages.APReq) { r.Ticket.SName.NameString = nil } }, ""},
		{"other realm's", "no rule of sasl.kerberos.principal.to.local.rules applies", func(k *ticket) { k.clientRealm = "EVIL" }, ""},
		{"expired", "the ticket has expired", func(k *ticket) { k.ends = -time.Hour }, ""},
		{"not yet", "the ticket is not yet valid", func(k *ticket) { k.begins = time.Hour }, ""},
		{"invalid", "the ticket is not yet valid", func(k *ticket) { k.flags = []int{flags.Invalid} }, ""},
		{"slow clock", "the client's clock is off by 59m59", func(k *ticket) { k.made = -time.Hour }, ""},
		{"fast clock", "the client's clock is off by -1h0m0", func(k *ticket) { k.made = time.Hour }, ""},
		{"rc4", "encrypted with something else than AES", func(k *ticket) { k.kind = etypeID.RC4_HMAC }, ""},
		{"rc4 subkey", "which is not AES", func(k *ticket) {
			k.authenticator = func(a *types.Authenticator) {
				a.SubKey = types.EncryptionKey{KeyType: etypeID.RC4_HMAC, KeyValue: make([]byte, 16)}
			}
		}, ""},
		{"other client", "the authenticator names another client", func(k *ticket) {
			k.authenticator = func(a *types.Authenticator) { a.CName.NameString = []string{"admin"} }
		}, ""},
		{"other client realm", "the authenticator names another client", func(k *ticket) { k.authenticator = func(a *types.Authenticator) { a.CRealm = "OTHER" } }, ""},
		{"no checksum", "the authenticator's checksum is not GSS-API's", func(k *ticket) {
			k.authenticator = func(a *types.Authenticator) { a.Cksum = types.Checksum{CksumType: 7} }
		}, ""},
		{"separator in name", "has a separator in it", func(k *ticket) { k.client = "alice@REALM" }, ""},
		{"three components", "Malformed Kerberos name: it has 3 components", func(k *ticket) { k.client = "a/b/c" }, ""},
		{"integrity layer", "chose a security layer", func(*ticket) {}, "\x02\x00\x00\x00"},
		{"short choice", "chose a security layer", func(*ticket) {}, "\x01"},
	} {
		k := goodTicket()
		c.change(&k)
		if c.payload == "" {
			c.payload = "\x01\x00\x00\x00"
		}
		if v := r.login(t, s, k, c.payload); !strings.HasPrefix(v, hidden+"GSSAPI | ") || !strings.Contains(v, c.want) {
			t.Errorf("%s: %s, want %s", c.name, v, c.want)
		}
	}
}

func TestKerberosReplay(t *testing.T) {
	r := newRealm(t, etypeID.AES256_CTS_HMAC_SHA1_96)
	s := newServer(t, r.options(nil))
	c := r.client(t, goodTicket())
	if v, _ := verdict(begin(t, s, GSSAPI), c.token); v != "more" {
		t.Fatal(v)
	}
	if v, _ := verdict(begin(t, s, GSSAPI), c.token); !strings.Contains(v, "replay") {
		t.Error(v)
	}
	r.world.Advance(11 * time.Minute)
	if v, _ := verdict(begin(t, s, GSSAPI), c.token); !strings.Contains(v, "clock is off") {
		t.Error(v)
	}
}

// TestKeytabIsReadAgain: a service whose key was changed takes tickets with the new one, and does not read the file at a stranger's pace.
func TestKeytabIsReadAgain(t *testing.T) {
	old, next := newRealm(t, etypeID.AES256_CTS_HMAC_SHA1_96), newRealm(t)
	for _, service := range []string{"kafka/broker.example", "http/broker.example"} {
		if err := next.keys.AddEntry(service, "REALM", "new secret", next.world.Now(), 3, etypeID.AES256_CTS_HMAC_SHA1_96); err != nil {
			t.Fatal(err)
		}
	}
	file, err := next.keys.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	read := 0
	o := old.options(nil)
	o.ReadFile = func(string) ([]byte, error) { read++; return old.file, nil }
	s := newServer(t, o)
	next.world = old.world
	old.file = file
	for range 5 {
		if v := next.login(t, s, goodTicket(), "\x01\x00\x00\x00"); !strings.Contains(v, "cannot be decrypted") || read != 1 {
			t.Errorf("%s, read %d times", v, read)
		}
	}
	old.world.Advance(expediteAfter)
	if v := next.login(t, s, goodTicket(), "\x01\x00\x00\x00"); v != "User:alice" || read != 2 {
		t.Errorf("%s, read %d times", v, read)
	}
	old.file = nil
	old.world.Advance(expediteAfter)
	k := goodTicket()
	k.request = func(r *messages.APReq) { r.Ticket.EncPart.KVNO = 9 }
	if v := next.login(t, s, k, ""); !strings.Contains(v, "cannot be decrypted") || read != 3 {
		t.Errorf("%s, read %d times", v, read)
	}
	if v := next.login(t, s, goodTicket(), "\x01\x00\x00\x00"); v != "User:alice" {
		t.Errorf("after a keytab that cannot be read: %s", v)
	}
}

func TestReplaysAreBounded(t *testing.T) {
	const most = 1000
	r := replays{max: most}
	now := time.Unix(1_000_000, 0)
	id := func(n int) (id [32]byte) { binary.BigEndian.PutUint64(id[:], uint64(n)); return id }
	for i := range 2*most + 10 {
		if !r.add(id(i), now) {
			t.Fatal("new ids are new")
		}
	}
	if len(r.seen) > most || len(r.order) > 3*most {
		t.Errorf("%d remembered, %d in order", len(r.seen), len(r.order))
	}
	if r.add(id(2*most), now) {
		t.Error("the newest must be remembered")
	}
	if !r.add(id(2*most), now.Add(time.Hour)) || len(r.seen) != 1 {
		t.Errorf("after an hour %d remembered", len(r.seen))
	}
}

func TestKerberosOutOfOrder(t *testing.T) {
	r := newRealm(t, etypeID.AES256_CTS_HMAC_SHA1_96)
	s := newServer(t, r.options(nil))
	c := r.client(t, goodTicket())
	for name, tokens := range map[string][][]byte{
		"choice first":         {c.choice(t, "\x01\x00\x00\x00")},
		"nothing first":        {nil},
		"reply not empty":      {r.client(t, goodTicket()).token, []byte("x")},
		"choice with ticket":   {r.client(t, goodTicket()).token, nil, c.token},
		"choice without a key": {r.client(t, goodTicket()).token, nil, c.choice(t, "\x01\x00\x00\x00")},
	} {
		x := begin(t, s, GSSAPI)
		v := ""
		for _, token := range tokens {
			v, _ = verdict(x, token)
		}
		if !strings.HasPrefix(v, hidden+"GSSAPI") {
			t.Errorf("%s: %s", name, v)
		}
	}
}

func TestUnwrapRotated(t *testing.T) {
	r := newRealm(t, etypeID.AES128_CTS_HMAC_SHA1_96)
	k := goodTicket()
	k.kind = etypeID.AES128_CTS_HMAC_SHA1_96
	c := r.client(t, k)
	token := c.choice(t, "\x01\x00\x00\x00alice")
	body := token[wrapHeader:]
	for rotation := range 2 * len(body) {
		turned := append([]byte{}, token[:wrapHeader]...)
		binary.BigEndian.PutUint16(turned[6:], uint16(rotation))
		cut := len(body) - rotation%len(body)
		turned = append(append(turned, body[cut:]...), body[:cut]...)
		if got, err := unwrap(c.key, turned); err != nil || string(got) != "\x01\x00\x00\x00alice" {
			t.Fatalf("rotated by %d: %q %v", rotation, got, err)
		}
	}
	token[2] |= sealed
	if _, err := unwrap(c.key, token); err == nil {
		t.Error("a sealed token passes")
	}
}

func TestKerberosSettings(t *testing.T) {
	r := newRealm(t, etypeID.AES256_CTS_HMAC_SHA1_96)
	login := func(options string) settings {
		return settings{"GSSAPI sasl.jaas.config": kerberosModule + " required " + options + ";"}
	}
	for want, set := range map[string]settings{
		"":                    nil,
		"the login must have": login(`useKeyTab=true`),
		"the keytab /other: /other: no such file": login(`useKeyTab=true keyTab="/other" principal="kafka/broker.example@REALM"`),
		"it has no AES key for the principal":     login(`useKeyTab=true keyTab="/kafka.keytab" principal="kafka/elsewhere@REALM"`),
		"Conflicting serviceName":                 {"sasl.kerberos.service.name": "http"},
		"Invalid rule":                            {"sasl.kerberos.principal.to.local.rules": "RULE:[1:$1](?=x)"},
		"the service is called http":              login(`useKeyTab=true keyTab="/kafka.keytab" principal="kafka/broker.example" serviceName=http`),
		"there is no login":                       {"GSSAPI sasl.jaas.config": ""},
		"another login module":                    {"GSSAPI sasl.jaas.config": "com.example.Module required;"},
	} {
		s, err := New(r.options(set))
		if err == nil {
			s.Close()
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("want %q: %v", want, err)
		}
	}
	r.file = r.file[:len(r.file)-7]
	if _, err := New(r.options(nil)); err == nil || !strings.Contains(err.Error(), "keytab") {
		t.Errorf("a cut keytab: %v", err)
	}
}
