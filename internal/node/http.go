package node

import (
	"context"
	"errors"
	"time"

	"github.com/moldau/moldau/internal/metric"
	"github.com/moldau/moldau/internal/network/httpd"
)

// httpGrace is how long a scrape on its way may hold up the stop.
const httpGrace = time.Second

// monitor tells those who watch the node how it fares.
type monitor struct {
	*Node
	http    *httpd.Server    // nil when there is none
	metrics *metric.Registry // nil when nobody can ask
	figures figures
}

// openHTTP opens the HTTP listener if one is wanted. A node that cannot have
// one works all the same, so that is a warning.
func (n *monitor) openHTTP() {
	address := n.static.GetString("moldau.http.listener")
	if n.o.NoListeners || address == "" {
		return
	}
	n.register()
	s := httpd.New(httpd.Options{
		World: n.o.World, Logger: n.o.Logger, Metrics: n.metrics.Gatherer(), Healthy: n.healthy, Ready: n.ready, History: n.history,
		Usage: n.usage, Public: n.static.GetBool("moldau.http.public"),
	})
	if err := s.Listen(address); err != nil {
		n.o.Logger.Warn("there is no HTTP listener, so no metrics and no health checks; the node runs without them: set moldau.http.listener to a free address",
			"address", address, "error", err)
		return
	}
	n.http = s
	n.o.Logger.Info("serving metrics and health by HTTP", "address", s.Addr().String())
}

// usage tells what a principal did.
func (n *monitor) usage(principal string) (any, error) {
	if n.authorizer == nil {
		return nil, errors.New("this node does not remember what principals do: set authorizer.class.name, or moldau.acl.learn=true to only learn")
	}
	return n.authorizer.Usage(principal), nil
}

// closeHTTP closes it.
func (n *monitor) closeHTTP() {
	if n.http == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), httpGrace)
	defer cancel()
	if err := n.http.Close(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		n.o.Logger.Warn("the HTTP listener did not close well", "error", err)
	}
}

// HTTPAddr is the address of the HTTP listener, "" when there is none.
func (n *Node) HTTPAddr() string {
	if n.monitor.http == nil {
		return ""
	}
	return n.monitor.http.Addr().String()
}

// Answers of the health checks.
var (
	errStarting = errors.New("the node is starting")
	errStopping = errors.New("the node is stopping")
	errFenced   = errors.New("the broker is fenced: the controller does not let it serve")
)

// healthy tells whether the node can go on.
func (n *monitor) healthy() error {
	if n.meta.Failed() != nil {
		return errors.Join(errors.New("the directory of the metadata log is offline: repair the disk and restart the node"), n.meta.Failed())
	}
	var all error
	for _, s := range n.stores {
		err := s.Failed()
		if err == nil {
			return nil
		}
		all = errors.Join(all, err)
	}
	return errors.Join(errors.New("all data directories are offline: repair the disks and restart the node"), all)
}

// ready tells whether the node serves clients.
func (n *monitor) ready() error {
	switch {
	case n.stopping.Load():
		return errStopping
	case !n.serving.Load():
		return errStarting
	}
	if b := n.quorum.Image().Broker(n.static.NodeID()); b != nil && b.Fenced {
		return errFenced
	}
	return n.healthy()
}
