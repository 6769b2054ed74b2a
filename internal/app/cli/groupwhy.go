package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	// httpListenerSetting is the broker setting that says where its HTTP endpoint is.
	httpListenerSetting = "moldau.http.listener"
	// maxHTTPAnswer bounds what is read of an HTTP answer.
	maxHTTPAnswer = 64 << 20
)

// groupEvent is one event of a group's history as the node tells it.
type groupEvent struct {
	TimeMs  int64  `json:"timeMs"`
	What    string `json:"what"`
	Reason  string `json:"reason"`
	Epoch   int32  `json:"epoch"`
	Members int    `json:"members"`
}

func (g *grouping) why() *cobra.Command {
	var address string
	cmd := &cobra.Command{
		Use:   "why GROUP",
		Short: "Tell why a group rebalanced: its last events with their reasons",
		Long: `Tell why a group rebalanced: who joined, left or timed out, which topic changed.

Kafka's protocol has no question for this, so the group's coordinator is asked by HTTP; its
setting moldau.http.listener says where. A coordinator that has started anew begins with
an empty history.`,
		Example: `  moldau group why billing
  moldau group why billing --json
  moldau group why billing --http broker1:9644`,
		Args: oneName("group"),
		RunE: func(_ *cobra.Command, args []string) error {
			return g.ask(func(ctx context.Context, cl *kgo.Client) error {
				at := address
				if at == "" {
					var err error
					if at, err = g.httpOf(ctx, kadm.NewClient(cl), args[0]); err != nil {
						return err
					}
				}
				return g.tellWhy(ctx, at, args[0])
			})
		},
	}
	cmd.Flags().StringVar(&address, "http", "", "the coordinator's HTTP address, host:port; by default the node is asked for it")
	return cmd
}

// httpOf asks the group's coordinator where its HTTP endpoint is.
func (g *grouping) httpOf(ctx context.Context, a *kadm.Client, group string) (string, error) {
	found := a.FindGroupCoordinators(ctx, group)
	c, ok := found[group]
	if !ok || c.Err != nil {
		return "", fmt.Errorf("the coordinator of group %s cannot be found: %w", group, errors.Join(found.Error(), c.Err))
	}
	got, err := a.DescribeBrokerConfigs(ctx, c.NodeID)
	if err != nil {
		return "", err
	}
	r, err := got.On(strconv.Itoa(int(c.NodeID)), nil)
	if err != nil {
		return "", err
	}
	for _, k := range r.Configs {
		if k.Key == httpListenerSetting && k.MaybeValue() != "" {
			return httpAddress(k.MaybeValue(), c.Host), nil
		}
	}
	return "", fmt.Errorf("node %d, which coordinates group %s, has no HTTP listener to ask for the group's history: "+
		"start it with --set %s=localhost:9644", c.NodeID, group, httpListenerSetting)
}

// httpAddress is where a listener on all interfaces is reached.
func httpAddress(listener, host string) string {
	h, port, err := net.SplitHostPort(listener)
	if err != nil {
		return listener
	}
	if ip := net.ParseIP(h); h == "" || ip != nil && ip.IsUnspecified() {
		h = host
	}
	return net.JoinHostPort(h, port)
}

// getHTTP asks a node's HTTP endpoint; status is that of the answer.
func getHTTP(ctx context.Context, address, path string) (body []byte, status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return nil, 0, usagef("%q is not an address, host:port: %w", address, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil, 0, fmt.Errorf("nobody listens on %s for HTTP: start the node with --set %s=%s, or see in its log why that did not work",
			address, httpListenerSetting, address)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("the node's HTTP listener on %s does not answer: %w", address, err)
	}
	defer resp.Body.Close() //nolint:errcheck // what matters was read
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxHTTPAnswer))
	return body, resp.StatusCode, err
}

func (g *grouping) tellWhy(ctx context.Context, address, group string) error {
	body, status, err := getHTTP(ctx, address, "/groups/"+url.PathEscape(group)+"/history")
	if err != nil {
		return err
	}
	var answer struct {
		Events []groupEvent `json:"events"`
		Error  string       `json:"error"`
	}
	switch err := json.Unmarshal(body, &answer); {
	case status == http.StatusNotFound && err == nil:
		return g.missing(group)
	case err != nil:
		return fmt.Errorf("what listens on %s for HTTP is no Moldau node, or a port for clients: it answers with status %d; give the address of moldau.http.listener with --http", address, status)
	case answer.Error != "":
		return fmt.Errorf("group %s: %s", group, answer.Error)
	}
	if answer.Events == nil {
		answer.Events = []groupEvent{}
	}
	return g.print(answer.Events, func(w io.Writer) {
		if len(answer.Events) == 0 {
			fmt.Fprintf(w, "nothing has happened to group %s since its coordinator started\n", group)
			return
		}
		columns(w, "TIME\tEPOCH\tMEMBERS\tWHAT\tWHY", func(line func(string, ...any)) {
			for _, e := range answer.Events {
				at := time.UnixMilli(e.TimeMs).UTC().Format("2006-01-02T15:04:05.000Z")
				line("%s\t%d\t%d\t%s\t%s", at, e.Epoch, e.Members, e.What, e.Reason)
			}
		})
	})
}
