package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func clusterCommand(e env) *cobra.Command {
	c := &connection{env: e}
	cmd := &cobra.Command{
		Use:   "cluster",
		Short: "Show the cluster: id, brokers, features, API versions",
		Long: `Show the cluster: id, brokers, features, API versions.

Without a subcommand it does what 'moldau cluster describe' does.`,
		Example: `  moldau cluster describe
  moldau cluster features --json
  moldau cluster apis`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return c.describeCluster() },
	}
	c.flags(cmd)
	cmd.AddCommand(
		&cobra.Command{Use: "describe", Short: "Show the cluster's id, controller and brokers", Example: "  moldau cluster describe", Args: noArgs, RunE: func(*cobra.Command, []string) error { return c.describeCluster() }},
		&cobra.Command{Use: "id", Short: "Print the cluster's id", Example: "  moldau cluster id", Args: noArgs, RunE: func(*cobra.Command, []string) error { return c.clusterID() }},
		&cobra.Command{Use: "features", Short: "Show feature levels", Example: "  moldau cluster features", Args: noArgs, RunE: func(*cobra.Command, []string) error { return c.features() }},
		&cobra.Command{Use: "apis", Short: "Show the API versions the node serves", Example: "  moldau cluster apis", Args: noArgs, RunE: func(*cobra.Command, []string) error { return c.apis() }},
	)
	return cmd
}

// codeError is the error of a code in a response, in the words the node sent
// along or else in Kafka's.
func codeError(code int16, message *string) error {
	err := kerr.ErrorForCode(code)
	if err != nil && message != nil && *message != "" && !denied(err) {
		return errors.New(*message)
	}
	return explain(err)
}

func (c *connection) describeCluster() error {
	return c.do(func(ctx context.Context, a *kadm.Client) error {
		m, err := a.BrokerMetadata(ctx)
		if err != nil {
			return err
		}
		type broker struct {
			ID   int32   `json:"id"`
			Host string  `json:"host"`
			Port int32   `json:"port"`
			Rack *string `json:"rack,omitempty"`
		}
		row := struct {
			ClusterID  string   `json:"clusterId"`
			Controller int32    `json:"controller"`
			Brokers    []broker `json:"brokers"`
		}{ClusterID: m.Cluster, Controller: m.Controller}
		for _, b := range m.Brokers {
			row.Brokers = append(row.Brokers, broker{b.NodeID, b.Host, b.Port, b.Rack})
		}
		return c.print(row, func(w io.Writer) {
			fmt.Fprintf(w, "cluster %s, controller %d\n", row.ClusterID, row.Controller)
			columns(w, "BROKER\tADDRESS", func(line func(string, ...any)) {
				for _, b := range row.Brokers {
					line("%d\t%s:%d", b.ID, b.Host, b.Port)
				}
			})
		})
	})
}

func (c *connection) clusterID() error {
	return c.do(func(ctx context.Context, a *kadm.Client) error {
		m, err := a.BrokerMetadata(ctx)
		if err != nil {
			return err
		}
		return c.print(map[string]string{"clusterId": m.Cluster}, func(w io.Writer) { fmt.Fprintln(w, m.Cluster) })
	})
}

// apiVersions asks the node what it speaks.
func (c *connection) apiVersions() (*kmsg.ApiVersionsResponse, error) {
	cl, err := c.client()
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = "moldau-cli", "0"
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return nil, c.unreachable(err)
	}
	return resp, codeError(resp.ErrorCode, nil)
}

// apiName is Kafka's name of an API; the client writes some words of it in capitals.
func apiName(key int16) string {
	return strings.NewReplacer("SASL", "Sasl", "SCRAM", "Scram", "ACL", "Acl", "ID", "Id").Replace(kmsg.NameForKey(key))
}

func (c *connection) features() error {
	resp, err := c.apiVersions()
	if err != nil {
		return err
	}
	type feature struct {
		Name      string `json:"name"`
		Min       int16  `json:"min"`
		Max       int16  `json:"max"`
		Finalized int16  `json:"finalized"`
	}
	rows := []feature{}
	for _, f := range resp.SupportedFeatures {
		row := feature{Name: f.Name, Min: f.MinVersion, Max: f.MaxVersion}
		for _, l := range resp.FinalizedFeatures {
			if l.Name == f.Name {
				row.Finalized = l.MaxVersionLevel
			}
		}
		rows = append(rows, row)
	}
	slices.SortFunc(rows, func(a, b feature) int { return strings.Compare(a.Name, b.Name) })
	return c.print(rows, func(w io.Writer) {
		columns(w, "FEATURE\tLEVEL\tSUPPORTED", func(line func(string, ...any)) {
			for _, r := range rows {
				line("%s\t%d\t%d to %d", r.Name, r.Finalized, r.Min, r.Max)
			}
		})
	})
}

func (c *connection) apis() error {
	resp, err := c.apiVersions()
	if err != nil {
		return err
	}
	type api struct {
		Key  int16  `json:"key"`
		Name string `json:"name"`
		Min  int16  `json:"min"`
		Max  int16  `json:"max"`
	}
	rows := []api{}
	for _, k := range resp.ApiKeys {
		rows = append(rows, api{k.ApiKey, apiName(k.ApiKey), k.MinVersion, k.MaxVersion})
	}
	slices.SortFunc(rows, func(a, b api) int { return int(a.Key) - int(b.Key) })
	return c.print(rows, func(w io.Writer) {
		columns(w, "KEY\tAPI\tVERSIONS", func(line func(string, ...any)) {
			for _, r := range rows {
				line("%d\t%s\t%d to %d", r.Key, r.Name, r.Min, r.Max)
			}
		})
	})
}
