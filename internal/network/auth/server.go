package auth

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"github.com/moldau/moldau/internal/clock"
)

// Mechanisms by their names in sasl.enabled.mechanisms.
const (
	Plain       = "PLAIN"
	ScramSHA256 = "SCRAM-SHA-256"
	ScramSHA512 = "SCRAM-SHA-512"
	OAuthBearer = "OAUTHBEARER"
	GSSAPI      = "GSSAPI"
)

// Options is what a listener's mechanisms are made of.
type Options struct {
	World  clock.World
	Logger *slog.Logger
	// Listener is the listener's name, for messages.
	Listener string
	// Mechanisms are those enabled, in order.
	Mechanisms []string
	// Setting is a setting's text as it holds for this listener and a mechanism: ("PLAIN", "sasl.jaas.config").
	Setting func(mechanism, key string) (string, bool)
	// Credentials is where SCRAM's are found; may be nil if no SCRAM mechanism is enabled.
	Credentials Credentials
	// ReadFile reads a whole file: keytabs, key sets, static JAAS files; may be nil if no setting names a file.
	ReadFile func(path string) ([]byte, error)
}

// Server begins exchanges on one listener. Its methods may be called by any goroutine.
type Server struct {
	mechanisms []string
	begin      map[string]func() method
	close      []func()
}

// New checks the settings of every enabled mechanism. Each misconfiguration is an error that says what to do.
func New(o Options) (*Server, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{begin: map[string]func() method{}}
	for _, m := range o.Mechanisms {
		name := strings.TrimSpace(m)
		if _, twice := s.begin[name]; twice {
			continue
		}
		begin, err := s.prepare(&o, name)
		if err != nil {
			s.Close()
			return nil, fmt.Errorf("listener %s, SASL mechanism %s: %w", o.Listener, name, err)
		}
		s.mechanisms = append(s.mechanisms, name)
		s.begin[name] = begin
	}
	if len(s.mechanisms) == 0 {
		return nil, fmt.Errorf("listener %s: no SASL mechanisms are enabled: name them in sasl.enabled.mechanisms", o.Listener)
	}
	return s, nil
}

func (s *Server) prepare(o *Options, mechanism string) (func() method, error) {
	switch mechanism {
	case Plain:
		return newPlain(o)
	case ScramSHA256, ScramSHA512:
		return newScram(o, mechanism)
	case OAuthBearer:
		return s.newOAuth(o)
	case GSSAPI:
		return newGSS(o)
	}
	return nil, errors.New("there is no such mechanism: sasl.enabled.mechanisms may name PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, OAUTHBEARER and GSSAPI")
}

// Mechanisms are those that Begin takes, in the order of Options.
func (s *Server) Mechanisms() []string { return s.mechanisms }

// Begin starts an exchange. The error is ErrUnsupportedMechanism.
func (s *Server) Begin(mechanism string) (Exchange, error) {
	begin, ok := s.begin[mechanism]
	if !ok {
		return nil, ErrUnsupportedMechanism
	}
	return &guard{mechanism: mechanism, method: begin()}, nil
}

// Close ends the background work of mechanisms. Exchanges under way may go on.
func (s *Server) Close() {
	for _, f := range s.close {
		f()
	}
	s.close = nil
}
