package edge_test

import (
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/metric"
	"github.com/moldau/moldau/internal/network/edge"
)

// gathered is every series by its name and labels.
func gathered(t *testing.T, s *edge.Server) map[string]float64 {
	t.Helper()
	r := metric.NewRegistry()
	r.Collect(s.Emit)
	families, err := r.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			name := f.GetName()
			for _, l := range m.Label {
				name += " " + l.GetName() + "=" + l.GetValue()
			}
			out[name] = m.Counter.GetValue() + m.Gauge.GetValue() + float64(m.Histogram.GetSampleCount())
		}
	}
	return out
}

func TestRequestsAreCountedAndTimed(t *testing.T) {
	b := start(t, echo)
	p := b.dial()
	const n = 17
	for i := range int32(n) {
		p.send(frame(produce, produceVersion, i, "12345678"))
		p.expect(i, "12345678")
	}
	p.send(frame(metadata, metadataVersion, n, "x"))
	p.expect(n, "x")
	until(t, "the last answer's times", func() bool {
		return gathered(t, b.Server)["moldau_request_duration_seconds request=Metadata"] == 1
	})
	got := gathered(t, b.Server)
	for name, want := range map[string]float64{
		"kafka_network_requestmetrics_requests_total request=Produce version=8":  n,
		"kafka_network_requestmetrics_requests_total request=Metadata version=8": 1,
		"kafka_network_requestmetrics_requestbytes_total request=Produce":        n * (4 + 14 + 8),
		"kafka_network_requestmetrics_responsebytes_total request=Produce":       n * (4 + 4 + 8),
		"kafka_network_requestmetrics_totaltimems_count request=Produce":         n,
		"moldau_request_duration_seconds request=Produce":                        3, // the 1st, 9th and 17th
		"kafka_server_socket_server_metrics_connection_creation_total":           1,
		"kafka_server_socket_server_metrics_connection_count listener=PLAINTEXT": 1,
		"moldau_network_bytes_in_total":                                          n*(4+14+8) + 4 + 14 + 1,
		"moldau_network_bytes_out_total":                                         n*(4+4+8) + 4 + 4 + 1,
	} {
		if got[name] != want {
			t.Errorf("%s is %v, want %v", name, got[name], want)
		}
	}
	for _, stage := range []string{"requestqueuetimems", "localtimems", "remotetimems", "responsequeuetimems", "responsesendtimems", "totaltimems"} {
		if _, ok := got["kafka_network_requestmetrics_"+stage+" quantile=0.99 request=Produce"]; !ok {
			t.Errorf("%s has no quantile", stage)
		}
	}
	if local := got["kafka_network_requestmetrics_localtimems quantile=0.99 request=Produce"]; local <= 0 {
		t.Errorf("the handler took %v ms", local)
	}
	for name := range got {
		if strings.Contains(name, "request=Fetch") {
			t.Errorf("%s, and nobody has fetched", name)
		}
	}
}
