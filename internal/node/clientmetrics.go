package node

import (
	"strings"

	"github.com/moldau/moldau/internal/metric"
	"github.com/moldau/moldau/internal/node/telemetry"
)

// maxClientSeries bounds the series of clients in one scrape.
const maxClientSeries = 10_000

// clientPrefix is what all metrics that clients pushed begin with; Java's clients begin theirs with javaPrefix.
const clientPrefix, javaPrefix = "kafka_client_", "org.apache.kafka."

// emitTelemetry tells what clients pushed (KIP-714). All of it is a gauge: what kind a number is differs between
// clients that use the same name.
func (n *monitor) emitTelemetry(out *metric.Sink) {
	out.Gauge("kafka_server_client_metrics_instance_count", "Clients that push metrics, or could.", float64(n.telemetry.Instances()))
	told := make(map[string]struct{})
	for s := range n.telemetry.Collect() {
		if len(told) == maxClientSeries {
			return
		}
		name, labels := clientSeries(&s)
		id := name + "\x00" + strings.Join(labels, "\x00")
		if _, twice := told[id]; twice {
			continue // two names of the client are one to Prometheus
		}
		told[id] = struct{}{}
		out.Gauge(name, "Pushed by clients.", s.Value, labels...)
	}
}

// clientSeries gives a sample's name and labels in Prometheus' alphabet.
func clientSeries(s *telemetry.Sample) (name string, labels []string) {
	name = clientPrefix + word(strings.TrimPrefix(s.Name, javaPrefix))
	labels = []string{"client_instance_id", s.Instance.String(), "client_id", strings.ToValidUTF8(s.Client.ID, "?")}
	for _, a := range s.Attributes {
		key := word(a.Key)
		if key == "" || key[0] >= '0' && key[0] <= '9' || strings.HasPrefix(key, "__") {
			key = "attribute_" + key
		}
		taken := false
		for at := 0; at < len(labels); at += 2 {
			taken = taken || labels[at] == key
		}
		if !taken {
			labels = append(labels, key, a.Value)
		}
	}
	return name, labels
}

// word replaces what may not be in a name.
func word(text string) string {
	b := []byte(text)
	for i, c := range b {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' {
			b[i] = '_'
		}
	}
	return string(b)
}
