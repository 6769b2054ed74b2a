package config

import (
	"strings"
	"testing"
)

func TestExposure(t *testing.T) {
	for _, c := range []struct {
		listeners, more string
		refused         string
	}{
		{"PLAINTEXT://localhost:9092,CONTROLLER://127.0.0.1:9093", "", ""},
		{"PLAINTEXT://[::1]:9092,CONTROLLER://LOCALHOST:9093", "", ""},
		{"PLAINTEXT://127.3.2.1:0,CONTROLLER://localhost:9093", "", ""},
		{"PLAINTEXT://:9092,CONTROLLER://localhost:9093", "", "PLAINTEXT://:9092"},
		{"PLAINTEXT://0.0.0.0:9092,CONTROLLER://localhost:9093", "advertised.listeners=PLAINTEXT://here:9092", "PLAINTEXT://0.0.0.0:9092"},
		{"PLAINTEXT://broker.example:9092,CONTROLLER://localhost:9093", "", "PLAINTEXT://broker.example:9092"},
		{"PLAINTEXT://10.0.0.1:9092,CONTROLLER://localhost:9093", "", "PLAINTEXT://10.0.0.1:9092"},
		{"PLAINTEXT://localhost:9092,CONTROLLER://:9093", "", "CONTROLLER://:9093"},
		{"PLAINTEXT://:9092,CONTROLLER://:9093", "moldau.insecure.listeners.allow=true", ""},
		{"PLAINTEXT://:9092,CONTROLLER://:9093", "authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer", ""},
		{"SASL_PLAINTEXT://:9092,CONTROLLER://localhost:9093", "security.inter.broker.protocol=SASL_PLAINTEXT\nlistener.security.protocol.map=CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT", ""},
		{"SSL://:9092,CONTROLLER://localhost:9093", "security.inter.broker.protocol=SSL\nlistener.security.protocol.map=CONTROLLER:PLAINTEXT,SSL:SSL", ""},
	} {
		b := load(t, c.listeners, c.more)
		l, err := b.Listeners()
		if err != nil {
			t.Fatal(c, err)
		}
		switch err = b.CheckExposure(l); {
		case c.refused == "" && err != nil:
			t.Errorf("%v: %v", c, err)
		case c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused+",") || !strings.Contains(err.Error(), "moldau.insecure.listeners.allow=true")):
			t.Errorf("%v: %v", c, err)
		}
	}
}

func load(t *testing.T, listeners, more string) *BrokerConfig {
	t.Helper()
	text := "process.roles=broker,controller\nnode.id=1\nlog.dirs=/data\ncontroller.listener.names=CONTROLLER\n" +
		"controller.quorum.bootstrap.servers=localhost:9093\nlisteners=" + listeners + "\n" + more + "\n"
	b, _, err := Load(Sources{File: []byte(text), FileName: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return b
}
