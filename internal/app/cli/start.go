package cli

import (
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/moldau/moldau"
	"github.com/moldau/moldau/internal/clock"
)

func startCommand(e env) *cobra.Command {
	var n nodeFlags
	var listen, web, level string
	var insecure bool
	cmd := &cobra.Command{
		Use:   "start",
		Short: "Run a node",
		Long: `Run a node: broker and controller in one process.

Without flags it is a durable single node on localhost:9092 with its data under
./moldau-data, formatted by itself on first start, and metrics on localhost:9644. With
--config it takes Kafka's own server.properties as it is. Settings come, the later
winning, from the defaults or the file, from KAFKA_… variables of the environment, and
from --set.`,
		Example: `  moldau start
  moldau start --dir /var/lib/moldau --listen localhost:19092
  moldau start --config server.properties --set log.retention.hours=24
  moldau start --set ack.durability=written
  moldau start --listen 0.0.0.0:9092 --insecure --set advertised.listeners=PLAINTEXT://$(hostname):9092`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o := moldau.Options{Dir: n.dir, Addr: listen, HTTPAddr: web, Environ: os.Environ(), PropertiesName: n.file}
			var err error
			if o.Properties, err = n.text(cmd); err != nil {
				return err
			}
			if o.Settings, err = n.settings(); err != nil {
				return err
			}
			if insecure {
				o.Settings["moldau.insecure.listeners.allow"] = "true"
			}
			var l slog.Level
			if err := l.UnmarshalText([]byte(level)); err != nil {
				return usagef("--log-level %q: it is one of debug, info, warn, error", level)
			}
			o.LogLevel = new(slog.LevelVar)
			o.LogLevel.Set(l)
			o.Logger = slog.New(slog.NewTextHandler(e.err, &slog.HandlerOptions{Level: o.LogLevel}))
			return runNode(e, o)
		},
	}
	n.flags(cmd, "")
	f := cmd.Flags()
	f.StringVar(&listen, "listen", defaultAddress, "address to listen on, when there is no --config; port 0 takes a free one")
	f.StringVar(&web, "http", "localhost:9644", "address for metrics and health by HTTP, when there is no --config; empty for none")
	f.BoolVar(&insecure, "insecure", false, "allow PLAINTEXT listeners on addresses that other machines reach, where everybody may do everything")
	f.StringVar(&level, "log-level", "info", "what to log: debug, info, warn or error")
	return cmd
}

// runNode runs until a signal asks it to stop.
func runNode(e env, o moldau.Options) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
	defer signal.Stop(stop)
	node, err := moldau.Start(o)
	if err != nil {
		return err
	}
	at, flag := node.Addr(), ""
	if at != defaultAddress {
		flag = " -b " + at
	}
	fmt.Fprintf(e.out, `Moldau is ready on %[1]s (%[2]d ms).

  moldau topic create orders%[3]s
  moldau produce orders%[3]s
  moldau consume orders --follow%[3]s

Any Kafka client works too: point it at %[1]s.%[4]s

Stop it with Ctrl-C; what it has acknowledged is on disk either way.
`, at, (&clock.Real{}).Mono().Milliseconds(), flag, watched(node))
	failed := node.Failed()
	select {
	case <-stop:
	case err = <-failed:
	}
	if closeErr := node.Close(); err == nil {
		err = closeErr
	}
	return err
}

// watched tells where the node's figures are, if anywhere.
func watched(node *moldau.Node) string {
	if node.HTTPAddr() == "" {
		return ""
	}
	return fmt.Sprintf("\nMetrics are on http://%s/metrics, health on /healthz and /readyz.", node.HTTPAddr())
}
