package httpd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/metric"
)

func options() Options {
	r := metric.NewRegistry()
	r.Collect(func(s *metric.Sink) { s.Counter("moldau_test_total", "A test.", 7) })
	return Options{
		World: &clock.Real{}, Logger: slog.New(slog.DiscardHandler), Metrics: r.Gatherer(),
		Healthy: func() error { return nil }, Ready: func() error { return errors.New("the node is starting") },
		Usage: func(principal string) (any, error) {
			if principal != "User:alice" {
				return nil, errors.New("nothing is remembered")
			}
			return []map[string]string{{"operation": "READ"}}, nil
		},
		History: func(group string) ([]Event, error) {
			switch group {
			case "billing/eu":
				return []Event{{TimeMs: 5, What: "rebalance", Reason: "member a left", Epoch: 3, Members: 2}}, nil
			case "empty":
				return nil, nil
			case "moved":
				return nil, ErrElsewhere
			case "loading":
				return nil, errors.New("it is being loaded")
			default:
				return nil, ErrNoGroup
			}
		},
	}
}

func TestAnswers(t *testing.T) {
	srv := httptest.NewServer(New(options()).Handler())
	defer srv.Close()
	for _, c := range []struct {
		method, path string
		status       int
		want         string
	}{
		{"GET", "/metrics", 200, "moldau_test_total 7"},
		{"GET", "/metrics", 200, "go_goroutines"},
		{"GET", "/healthz", 200, `"ok"`},
		{"GET", "/readyz", 503, "the node is starting"},
		{"GET", "/groups/billing%2Feu/history", 200, `{"events":[{"timeMs":5,"what":"rebalance","reason":"member a left","epoch":3,"members":2}]}`},
		{"GET", "/groups/empty/history", 200, `{"events":[]}`},
		{"GET", "/groups/nobody/history", 404, "no such group"},
		{"GET", "/groups/moved/history", 421, "another node"},
		{"GET", "/groups/loading/history", 503, "being loaded"},
		{"GET", "/acls/usage?principal=User:alice", 200, `[{"operation":"READ"}]`},
		{"GET", "/acls/usage?principal=User:bob", 404, "nothing is remembered"},
		{"GET", "/acls/usage?principal=alice", 400, "principal=User:name"},
		{"GET", "/acls/usage", 400, "principal=User:name"},
		{"GET", "/", 404, "/metrics"},
		{"GET", "/groups", 404, "/groups/{id}/history"},
		{"POST", "/metrics", 405, "only GET"},
		{"DELETE", "/groups/empty/history", 405, "only GET"},
	} {
		req, err := http.NewRequest(c.method, srv.URL+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != c.status || !strings.Contains(string(body), c.want) {
			t.Errorf("%s %s gives %d %.200s (%v), want %d with %s", c.method, c.path, resp.StatusCode, body, err, c.status, c.want)
		}
		if c.path != "/metrics" && !json.Valid(body) {
			t.Errorf("%s %s: %s is not JSON", c.method, c.path, body)
		}
	}
}

func TestOnlyThisMachineIsToldOfGroupsAndPrincipals(t *testing.T) {
	for _, c := range []struct {
		path, peer string
		public     bool
		status     int
	}{
		{"/groups/empty/history", "127.0.0.1:5", false, 200},
		{"/groups/empty/history", "[::1]:5", false, 200},
		{"/groups/empty/history", "[::ffff:127.0.0.1]:5", false, 200},
		{"/groups/empty/history", "192.0.2.1:5", false, 403},
		{"/groups/empty/history", "[2001:db8::1]:5", false, 403},
		{"/groups/empty/history", "192.0.2.1:5", true, 200},
		{"/acls/usage?principal=User:alice", "192.0.2.1:5", false, 403},
		{"/acls/usage?principal=User:alice", "no address", false, 403},
		{"/acls/usage?principal=User:alice", "192.0.2.1:5", true, 200},
		{"/metrics", "192.0.2.1:5", false, 200},
		{"/healthz", "192.0.2.1:5", false, 200},
		{"/readyz", "192.0.2.1:5", false, 503},
	} {
		o := options()
		o.Public = c.public
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", c.path, nil)
		r.RemoteAddr = c.peer
		r.Header.Set("X-Forwarded-For", "127.0.0.1")
		New(o).Handler().ServeHTTP(w, r)
		if w.Code != c.status {
			t.Errorf("%s asked by %s (public: %v) gives %d %s, want %d", c.path, c.peer, c.public, w.Code, w.Body, c.status)
		}
	}
}

func TestABadFigureDoesNotHideTheOthers(t *testing.T) {
	o := options()
	r := metric.NewRegistry()
	r.Collect(func(s *metric.Sink) { s.Gauge("twice", "", 1); s.Gauge("twice", "", 1); s.Gauge("fine", "Fine.", 2) })
	o.Metrics = r.Gatherer()
	var log bytes.Buffer
	o.Logger = slog.New(slog.NewTextHandler(&log, nil))
	w := httptest.NewRecorder()
	New(o).Handler().ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != 200 || !strings.Contains(w.Body.String(), "fine 2") || !strings.Contains(log.String(), "some metrics cannot be told") {
		t.Errorf("%d, log %s", w.Code, log.String())
	}
}

func TestListenAndClose(t *testing.T) {
	o := options()
	world := o.World.(*clock.Real)
	s := New(o)
	if err := s.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	addr := s.Addr().String()
	if err := New(o).Listen(addr); err == nil || !strings.Contains(err.Error(), addr) {
		t.Errorf("a second one on the same port: %v", err)
	}
	resp, err := http.Get("http://" + addr + "/healthz")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if err := s.Close(context.Background()); err != nil {
		t.Error(err)
	}
	world.Wait()
	http.DefaultClient.CloseIdleConnections()
	if c, err := net.Dial("tcp", addr); err == nil {
		c.Close()
		t.Error("it still listens")
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	o := options()
	world := o.World.(*clock.Real)
	s := New(o)
	if err := s.Listen("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	var held []net.Conn
	for range maxConnections + 1 {
		c, err := net.Dial("tcp", s.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
	}
	last := held[maxConnections]
	if _, err := io.WriteString(last, "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	held[0].Close() // makes room
	head := make([]byte, 12)
	if _, err := io.ReadFull(last, head); err != nil || string(head) != "HTTP/1.1 200" {
		t.Errorf("%q, %v", head, err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.Close(ctx)
	for _, c := range held {
		c.Close()
	}
	world.Wait()
}
