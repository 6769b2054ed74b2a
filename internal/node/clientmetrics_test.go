package node

import (
	"slices"
	"testing"

	"github.com/moldau/moldau/internal/format/otlp"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/node/telemetry"
)

func TestNamesOfClientMetrics(t *testing.T) {
	id := wire.UUID{1}
	s := &telemetry.Sample{
		Instance: id, Client: &telemetry.Client{ID: "app\xff"}, Name: "org.apache.kafka.producer.record.send.total",
		Attributes: []otlp.Attribute{{Key: "topic.name", Value: "t"}, {Key: "topic-name", Value: "again"}, {Key: "9", Value: "x"}, {Key: "__a"}, {Key: ""}},
	}
	name, labels := clientSeries(s)
	want := []string{
		"client_instance_id", id.String(), "client_id", "app?", "topic_name", "t", "attribute_9", "x", "attribute___a", "", "attribute_", "",
	}
	if name != "kafka_client_producer_record_send_total" || !slices.Equal(labels, want) {
		t.Errorf("%s %q", name, labels)
	}
}
