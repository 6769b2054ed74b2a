package node_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/network/edge"
)

const scramLogin = "org.apache.kafka.common.security.scram.ScramLoginModule required;"

// saslSettings are those of a node with a listener for SASL beside the usual ones.
var saslSettings = []string{
	"listeners", "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093,SASL://localhost:9094",
	"listener.security.protocol.map", "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT,SASL:SASL_PLAINTEXT",
	"inter.broker.listener.name", "PLAINTEXT",
	"sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-256",
	"listener.name.sasl.plain.sasl.jaas.config", `org.apache.kafka.common.security.plain.PlainLoginModule required user_alice="alice-secret" user_bob="bob-secret";`,
	"listener.name.sasl.scram-sha-256.sasl.jaas.config", scramLogin,
	"listener.name.sasl.scram-sha-256.connections.max.reauth.ms", "3000",
	"delegation.token.secret.key", "the-secret",
}

// saslScript is one connection after the other to the SASL listener of a node, step by step. A step is a word and what it needs:
//
//	versions N, metadata       a request that must not pass, or may
//	handshake N MECHANISM      SaslHandshake version N
//	auth N TOKEN               SaslAuthenticate version N; a token is text in which | stands for a zero byte
//	raw TOKEN                  a bare token
//	scram USER PASSWORD [raw]  both messages of SCRAM-SHA-256, in version 1 or bare
//	token NAME                 both messages, with a delegation token that was made before
//	create NAME [OWNER], renew NAME, expire NAME, describe
//	wait MS                    time goes by
//	who                        the connection's principal
type saslScript struct {
	*rig
	conn   *edge.DirectConn
	tokens map[string]*wire.CreateDelegationTokenResponse
}

func TestSASL(t *testing.T) {
	datadriven.Walk(t, "testdata/sasl", func(t *testing.T, path string) {
		s := &saslScript{rig: newRig(t, saslSettings...), tokens: map[string]*wire.CreateDelegationTokenResponse{}}
		for _, name := range []string{"bob", "carl"} {
			s.scramUser(name, name+"-secret")
		}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			s.t = t
			var out strings.Builder
			switch d.Cmd {
			case "connect":
				listener := "SASL"
				if len(d.CmdArgs) > 0 {
					listener = d.CmdArgs[0].Key
				}
				s.conn = edge.NewDirect(s.node.Handler(), listener)
				for line := range strings.Lines(d.Input) {
					fmt.Fprintln(&out, s.step(strings.Fields(line)))
				}
			default:
				t.Fatalf("%s: unknown command %s", d.Pos, d.Cmd)
			}
			return out.String()
		})
	})
}

// scramUser gives a user a password for SCRAM-SHA-256, by a listener without authentication.
func (r *rig) scramUser(name, password string) {
	r.t.Helper()
	salted, err := pbkdf2.Key(sha256.New, password, []byte("salt of "+name), 4096, sha256.Size)
	if err != nil {
		r.t.Fatal(err)
	}
	m := &wire.AlterUserScramCredentialsRequest{}
	m.Upsertions = []wire.AlterUserScramCredentialsRequestScramCredentialUpsertion{
		{Name: name, Mechanism: 1, Iterations: 4096, Salt: []byte("salt of " + name), SaltedPassword: salted},
	}
	resp := &wire.AlterUserScramCredentialsResponse{}
	r.call(m, 0, resp)
	if code := resp.Results[0].ErrorCode; code != wire.None {
		r.t.Fatal(code)
	}
}

// exchange sends one frame and gives the answer's bytes behind the header, or how the connection ended.
func (s *saslScript) exchange(frame []byte) (body []byte, how string) {
	began := s.hand.Mono()
	var answered bool
	var err error
	s.conn.Send(frame, func(b []byte, e error) { answered, body, err = true, bytes.Clone(b), e })
	s.until("answer", time.Minute, func() bool { return answered })
	if took := s.hand.Mono() - began; took > 0 {
		how = fmt.Sprintf(" after %v", took)
	}
	if err != nil {
		if errors.Is(err, net.ErrClosed) {
			return nil, "closed" + how
		}
		return nil, "closed" + how + " (" + err.Error() + ")"
	}
	if s.conn.Conn().Closed() {
		how += ", then closed"
	}
	return body, how
}

// ask sends a request and decodes its answer.
func (s *saslScript) ask(m wire.Message, version int16, into wire.Message) (ok bool, how string) {
	s.t.Helper()
	h := wire.RequestHeader{APIKey: m.APIKey(), APIVersion: version, CorrelationID: 1}
	body, how := s.exchange(wire.AppendRequestFrame(nil, &h, m)[4:])
	if body == nil {
		return false, how
	}
	rd := wire.NewReader(body)
	if _, err := wire.DecodeResponseHeader(rd, m.APIKey(), version); err != nil {
		s.t.Fatal(err)
	}
	if info, _ := wire.Lookup(m.APIKey()); version > info.Max {
		version = 0 // the answer to a version of ApiVersions that there is not
	}
	into.Decode(rd, version)
	if err := rd.Finish(); err != nil {
		s.t.Fatal(err)
	}
	return true, how
}

func number(s string) int64 {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		panic(err)
	}
	return n
}

func unbar(s string) []byte { return []byte(strings.ReplaceAll(s, "|", "\x00")) }

func (s *saslScript) step(w []string) string {
	switch w[0] {
	case "versions":
		resp := &wire.ApiVersionsResponse{}
		m := &wire.ApiVersionsRequest{ClientSoftwareName: "test", ClientSoftwareVersion: "1"}
		if ok, how := s.ask(m, int16(number(w[1])), resp); !ok {
			return how
		} else {
			return fmt.Sprintf("versions: %s, some %v%s", resp.ErrorCode.String(), len(resp.APIKeys) > 0, how)
		}
	case "metadata":
		resp := &wire.MetadataResponse{}
		if ok, how := s.ask(&wire.MetadataRequest{}, 9, resp); !ok {
			return how
		} else {
			return fmt.Sprintf("metadata of %d brokers%s", len(resp.Brokers), how)
		}
	case "handshake":
		resp := &wire.SaslHandshakeResponse{}
		ok, how := s.ask(&wire.SaslHandshakeRequest{Mechanism: w[2]}, int16(number(w[1])), resp)
		if !ok {
			return how
		}
		return fmt.Sprintf("handshake: %s %v%s", resp.ErrorCode.String(), resp.Mechanisms, how)
	case "auth":
		text, _ := s.authenticate(unbar(w[2]), int16(number(w[1])))
		return text
	case "raw":
		body, how := s.exchange(unbar(strings.Join(w[1:], "")))
		if body == nil {
			return how
		}
		return fmt.Sprintf("token %q%s", body, how)
	case "scram":
		return s.scram(w[1], w[2], "", len(w) > 3)
	case "token":
		t := s.tokens[w[1]]
		return s.scram(t.TokenID, base64.StdEncoding.EncodeToString(t.Hmac), ",tokenauth=true", false)
	case "wait":
		s.hand.Advance(time.Duration(number(w[1])) * time.Millisecond)
		return "..."
	case "who":
		p := s.conn.Conn().Identity().Principal()
		return fmt.Sprintf("%v, by a token: %v", p, p.Token)
	}
	return s.tokenStep(w)
}

func (s *saslScript) authenticate(token []byte, version int16) (text string, answer []byte) {
	resp := &wire.SaslAuthenticateResponse{}
	ok, how := s.ask(&wire.SaslAuthenticateRequest{AuthBytes: token}, version, resp)
	if !ok {
		return how, nil
	}
	message := "null"
	if resp.ErrorMessage != nil {
		message = strconv.Quote(*resp.ErrorMessage)
	}
	return fmt.Sprintf("authenticate: %s %s, lifetime %d%s", resp.ErrorCode.String(), message, resp.SessionLifetimeMs, how), resp.AuthBytes
}

// scram is a client of SCRAM-SHA-256 (RFC 5802).
func (s *saslScript) scram(user, password, extension string, raw bool) string {
	send := func(token string) (string, []byte) {
		if !raw {
			return s.authenticate([]byte(token), 1)
		}
		body, how := s.exchange([]byte(token))
		return how, body
	}
	bare := "n=" + user + ",r=abcdefghijkl" + extension
	text, answer := send("n,," + bare)
	var nonce, salt string
	var iterations int
	for part := range strings.SplitSeq(string(answer), ",") {
		switch value := part[min(len(part), 2):]; {
		case strings.HasPrefix(part, "r="):
			nonce = value
		case strings.HasPrefix(part, "s="):
			salt = value
		case strings.HasPrefix(part, "i="):
			iterations = int(number(value))
		}
	}
	if nonce == "" {
		return text
	}
	saltBytes, _ := base64.StdEncoding.DecodeString(salt)
	salted, _ := pbkdf2.Key(sha256.New, password, saltBytes, iterations, sha256.Size)
	mac := func(key []byte, text string) []byte {
		h := hmac.New(sha256.New, key)
		h.Write([]byte(text))
		return h.Sum(nil)
	}
	client := mac(salted, "Client Key")
	stored := sha256.Sum256(client)
	without := "c=biws,r=" + nonce
	message := bare + "," + string(answer) + "," + without
	for i, b := range mac(stored[:], message) {
		client[i] ^= b
	}
	text, answer = send(without + ",p=" + base64.StdEncoding.EncodeToString(client))
	if len(answer) == 0 {
		return text
	}
	if want := "v=" + base64.StdEncoding.EncodeToString(mac(mac(salted, "Server Key"), message)); string(answer) != want {
		return fmt.Sprintf("the server does not know the password: %q", answer)
	}
	return "scram: in; " + text
}

// tokenStep is a step about delegation tokens.
func (s *saslScript) tokenStep(w []string) string {
	switch w[0] {
	case "create":
		m := &wire.CreateDelegationTokenRequest{MaxLifetimeMs: 10_000}
		m.Renewers = []wire.CreateDelegationTokenRequestCreatableRenewers{{PrincipalType: "User", PrincipalName: "carl"}}
		if len(w) > 2 {
			kind := "User"
			m.OwnerPrincipalType, m.OwnerPrincipalName = &kind, &w[2]
		}
		resp := &wire.CreateDelegationTokenResponse{}
		if ok, how := s.ask(m, 3, resp); !ok {
			return how
		}
		s.tokens[w[1]] = resp
		return fmt.Sprintf("create: %s owner %s requester %s, lives %d of %d", resp.ErrorCode.String(), resp.PrincipalName, resp.TokenRequesterPrincipalName,
			resp.ExpiryTimestampMs-resp.IssueTimestampMs, resp.MaxTimestampMs-resp.IssueTimestampMs)
	case "renew":
		resp := &wire.RenewDelegationTokenResponse{}
		if ok, how := s.ask(&wire.RenewDelegationTokenRequest{Hmac: s.tokens[w[1]].Hmac, RenewPeriodMs: 5000}, 2, resp); !ok {
			return how
		}
		return "renew: " + resp.ErrorCode.String()
	case "expire":
		resp := &wire.ExpireDelegationTokenResponse{}
		if ok, how := s.ask(&wire.ExpireDelegationTokenRequest{Hmac: s.tokens[w[1]].Hmac, ExpiryTimePeriodMs: -1}, 2, resp); !ok {
			return how
		}
		return "expire: " + resp.ErrorCode.String()
	case "describe":
		resp := &wire.DescribeDelegationTokenResponse{}
		if ok, how := s.ask(&wire.DescribeDelegationTokenRequest{}, 3, resp); !ok {
			return how
		}
		var owners []string
		for _, t := range resp.Tokens {
			owners = append(owners, t.PrincipalName)
		}
		return fmt.Sprintf("describe: %s %v", resp.ErrorCode.String(), owners)
	}
	s.t.Fatalf("unknown step %v", w)
	return ""
}
