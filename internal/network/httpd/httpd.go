// Package httpd is the node's HTTP listener: metrics, health, and what Kafka's
// protocol has no question for.
//
// Duty: it serves GET /metrics (Prometheus), /healthz, /readyz,
// /groups/{id}/history and /acls/usage, and nothing that changes anything. The last two
// name groups, members and principals: they are for this machine alone unless [Options].Public says otherwise. What the answers say
// is asked of whoever made the [Server].
//
// Invariants: every wait is bounded by the timeouts below, connections and
// scrapes at a time by numbers; a slow or hostile client costs the node's Kafka
// listeners nothing but these. Errors are JSON, {"error": …}, in words.
//
// Called by the node's wiring. It must never change the node, and never keep it
// from starting or stopping.
package httpd

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/moldau/moldau/internal/clock"
)

// Bounds of one server.
const (
	headerTimeout  = 5 * time.Second
	readTimeout    = 10 * time.Second
	writeTimeout   = 60 * time.Second
	idleTimeout    = 90 * time.Second // longer than most scrape intervals
	scrapeTimeout  = 30 * time.Second
	maxHeaderBytes = 16 << 10
	maxConnections = 64
	maxScrapes     = 4
)

// Event is one event of a group's history.
type Event struct {
	// TimeMs is the wall clock in milliseconds since the Unix epoch.
	TimeMs int64 `json:"timeMs"`
	// What happened, and Reason says why, both in words.
	What   string `json:"what"`
	Reason string `json:"reason"`
	// Epoch is the group's generation or epoch after the event, Members how many it has then.
	Epoch   int32 `json:"epoch"`
	Members int   `json:"members"`
}

// Errors of a history, each of which has its HTTP status; others are 503.
var (
	// ErrNoGroup says that there is no such group (404).
	ErrNoGroup = errors.New("there is no such group here")
	// ErrElsewhere says that another node is the group's coordinator (421).
	ErrElsewhere = errors.New("another node coordinates this group: ask that one")
)

// Options say what is served. World and Logger are required; what is nil is not served.
type Options struct {
	World  clock.World
	Logger *slog.Logger
	// Metrics gives everything that is measured.
	Metrics prometheus.Gatherer
	// Healthy says why the node cannot go on, nil when it can. Ready says why it does not
	// serve clients now, nil when it does.
	Healthy, Ready func() error
	// History gives a group's last events, oldest first.
	History func(group string) ([]Event, error)
	// Usage gives what a principal, as User:alice, did: something that becomes a JSON list.
	Usage func(principal string) (any, error)
	// Public answers histories and usage to other machines, too.
	Public bool
}

// Server is the HTTP listener.
type Server struct {
	options Options
	http    *http.Server
	addr    net.Addr
}

// New makes a server that does not listen yet.
func New(o Options) *Server {
	s := &Server{options: o}
	s.http = &http.Server{
		Handler: s.Handler(), ReadHeaderTimeout: headerTimeout, ReadTimeout: readTimeout, WriteTimeout: writeTimeout, IdleTimeout: idleTimeout,
		MaxHeaderBytes: maxHeaderBytes, ErrorLog: slog.NewLogLogger(o.Logger.Handler(), slog.LevelDebug),
	}
	return s
}

// Handler is what is served.
func (s *Server) Handler() http.Handler {
	o, mux := s.options, http.NewServeMux()
	if o.Metrics != nil {
		mux.Handle("GET /metrics", promhttp.HandlerFor(o.Metrics, promhttp.HandlerOpts{
			// A figure that cannot be told is no reason to hide the others.
			ErrorHandling: promhttp.ContinueOnError, ErrorLog: scrapeErrors{o.Logger},
			MaxRequestsInFlight: maxScrapes, Timeout: scrapeTimeout,
		}))
	}
	if o.Healthy != nil {
		mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { check(w, o.Healthy) })
	}
	if o.Ready != nil {
		mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) { check(w, o.Ready) })
	}
	if o.History != nil {
		mux.HandleFunc("GET /groups/{id}/history", s.guarded(s.history))
	}
	if o.Usage != nil {
		mux.HandleFunc("GET /acls/usage", s.guarded(s.usage))
	}
	mux.HandleFunc("/", unknown)
	return mux
}

// scrapeErrors logs what went wrong in a scrape.
type scrapeErrors struct{ log *slog.Logger }

func (e scrapeErrors) Println(v ...any) {
	e.log.Warn("some metrics cannot be told", "error", fmt.Sprint(v...))
}

// unknown answers what is not served, and says what is.
func unknown(w http.ResponseWriter, r *http.Request) {
	const served = "/metrics, /healthz, /readyz, /groups/{id}/history, /acls/usage?principal=User:name"
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		answer(w, http.StatusMethodNotAllowed, failure{"only GET is served here: " + served})
		return
	}
	answer(w, http.StatusNotFound, failure{"there is nothing at " + r.URL.Path + "; there is " + served})
}

type failure struct {
	Error string `json:"error"`
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone, then
}

// check answers "ok", or with the reason why not.
func check(w http.ResponseWriter, ask func() error) {
	if err := ask(); err != nil {
		answer(w, http.StatusServiceUnavailable, failure{err.Error()})
		return
	}
	answer(w, http.StatusOK, map[string]string{"status": "ok"})
}

// guarded keeps other machines away from what names groups and principals.
func (s *Server) guarded(f http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		peer, err := netip.ParseAddrPort(r.RemoteAddr)
		if !s.options.Public && (err != nil || !peer.Addr().Unmap().IsLoopback()) {
			answer(w, http.StatusForbidden, failure{r.URL.Path + " is answered on the node's own machine only; moldau.http.public=true opens it to others"})
			return
		}
		f(w, r)
	}
}

// usage tells what a principal did.
func (s *Server) usage(w http.ResponseWriter, r *http.Request) {
	principal := r.URL.Query().Get("principal")
	if kind, name, ok := strings.Cut(principal, ":"); !ok || kind == "" || name == "" {
		answer(w, http.StatusBadRequest, failure{"say whose usage is meant: /acls/usage?principal=User:name"})
		return
	}
	list, err := s.options.Usage(principal)
	if err != nil {
		answer(w, http.StatusNotFound, failure{err.Error()})
		return
	}
	answer(w, http.StatusOK, list)
}

func (s *Server) history(w http.ResponseWriter, r *http.Request) {
	events, err := s.options.History(r.PathValue("id"))
	switch {
	case errors.Is(err, ErrNoGroup):
		answer(w, http.StatusNotFound, failure{err.Error()})
	case errors.Is(err, ErrElsewhere):
		answer(w, http.StatusMisdirectedRequest, failure{err.Error()})
	case err != nil:
		answer(w, http.StatusServiceUnavailable, failure{err.Error()})
	default:
		if events == nil {
			events = []Event{}
		}
		answer(w, http.StatusOK, map[string][]Event{"events": events})
	}
}

// Listen begins to serve on an address, host:port with port 0 for any.
func (s *Server) Listen(address string) error {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return fmt.Errorf("listening for HTTP on %q: %w", address, err)
	}
	s.addr = l.Addr()
	l = newBounded(l, maxConnections)
	s.options.World.Go("httpd", func() {
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.options.Logger.Error("the HTTP listener has ended; the node goes on without it", "address", address, "error", err)
		}
	})
	return nil
}

// Addr is the address it listens on, nil before Listen.
func (s *Server) Addr() net.Addr { return s.addr }

// Close stops; answers on their way go out until ctx ends.
func (s *Server) Close(ctx context.Context) error {
	err := s.http.Shutdown(ctx)
	return cmp.Or(s.http.Close(), err)
}
