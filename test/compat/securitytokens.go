package main

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// What tokens must say to be taken.
const (
	tokenIssuer   = "https://issuer.example"
	tokenAudience = "kafka"
	tokenKeyID    = "first"
)

// issuer signs JSON web tokens, and publishes its key in a file and by HTTP.
type issuer struct {
	key, other *rsa.PrivateKey
	file, url  string
	server     *http.Server
}

// newIssuer makes the keys and serves the public one.
func newIssuer(dir string) (*issuer, error) {
	i := &issuer{file: filepath.Join(dir, "jwks.json")}
	var err error
	if i.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		return nil, err
	}
	if i.other, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		return nil, err
	}
	exponent := big.NewInt(int64(i.key.E)).Bytes()
	set, err := json.Marshal(map[string]any{"keys": []any{map[string]string{"kty": "RSA", "use": "sig", "alg": "RS256", "kid": tokenKeyID,
		"n": base64.RawURLEncoding.EncodeToString(i.key.N.Bytes()), "e": base64.RawURLEncoding.EncodeToString(exponent)}}})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(i.file, set, 0o644); err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	i.url = "http://" + l.Addr().String() + "/jwks"
	i.server = &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(set)
	})}
	go func() { _ = i.server.Serve(l) }()
	return i, nil
}

// claims are those of a good token, changed by what differs.
func claims(user string, differs map[string]any) map[string]any {
	now := time.Now().Unix()
	c := map[string]any{"sub": user, "iss": tokenIssuer, "aud": tokenAudience, "iat": now - 60, "exp": now + 3600, "scope": "kafka"}
	for k, v := range differs {
		if c[k] = v; v == nil {
			delete(c, k)
		}
	}
	return c
}

func encodePart(v any) string {
	b, _ := json.Marshal(v) // maps of strings and numbers always can be
	return base64.RawURLEncoding.EncodeToString(b)
}

// token signs claims with RS256.
func (i *issuer) token(key *rsa.PrivateKey, claims map[string]any) string {
	text := encodePart(map[string]string{"alg": "RS256", "typ": "JWT", "kid": tokenKeyID}) + "." + encodePart(claims)
	sum := sha256.Sum256([]byte(text))
	sig, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	if err != nil {
		return err.Error() // a key of 2048 bits can always sign this
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(sig)
}

// unsigned is a token that says that it needs no signature.
func (i *issuer) unsigned(claims map[string]any) string {
	return encodePart(map[string]string{"alg": "none"}) + "." + encodePart(claims) + "."
}

// confused is a token signed with the public key, taken for the secret of an HMAC.
func (i *issuer) confused(claims map[string]any) string {
	der, err := x509.MarshalPKIXPublicKey(&i.key.PublicKey)
	if err != nil {
		return err.Error()
	}
	mac := hmac.New(sha256.New, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	text := encodePart(map[string]string{"alg": "HS256", "typ": "JWT", "kid": tokenKeyID}) + "." + encodePart(claims)
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}
