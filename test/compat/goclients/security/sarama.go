package main

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"io"
	"log"

	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"
)

// shopify is sarama.
type shopify struct {
	addrs  []string
	config *sarama.Config
	cl     sarama.Client
}

func openSarama(r row) (session, error) {
	config, err := r.tls()
	if err != nil {
		return nil, err
	}
	sarama.Logger = log.New(io.Discard, "", 0)
	c := sarama.NewConfig()
	c.Version = sarama.V3_9_0_0
	c.Net.TLS.Enable, c.Net.TLS.Config = config != nil, config
	c.Metadata.Retry.Max, c.Producer.Retry.Max, c.Admin.Retry.Max = 1, 1, 1
	c.Net.DialTimeout, c.Net.ReadTimeout = rowLimit/4, rowLimit/4
	c.Producer.Return.Successes, c.Consumer.Return.Errors = true, true
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	if r.Mechanism != "" {
		c.Net.SASL.Enable, c.Net.SASL.Mechanism = true, sarama.SASLMechanism(r.Mechanism)
		c.Net.SASL.User, c.Net.SASL.Password = r.Username, r.Password
		c.Net.SASL.TokenProvider = bearer(r.Token)
		c.Net.SASL.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &scramClient{mechanism: r.Mechanism} }
	}
	if r.Keytab != "" {
		c.Net.SASL.GSSAPI = sarama.GSSAPIConfig{AuthType: sarama.KRB5_KEYTAB_AUTH, KerberosConfigPath: r.Krb5, Realm: "COMPAT.TEST", Username: r.Username,
			KeyTabPath: r.Keytab, ServiceName: "kafka", DisablePAFXFAST: true}
	}
	s := &shopify{addrs: []string{r.Bootstrap}, config: c}
	s.cl, err = sarama.NewClient(s.addrs, c)
	return s, err
}

func (s *shopify) create(_ context.Context, topic string) error {
	a, err := sarama.NewClusterAdminFromClient(s.cl)
	if err != nil {
		return err
	}
	return a.CreateTopic(topic, &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1}, false)
}

func (s *shopify) produce(_ context.Context, topic string, values ...string) error {
	p, err := sarama.NewSyncProducerFromClient(s.cl)
	if err != nil {
		return err
	}
	defer p.Close()
	for _, v := range values {
		if _, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.StringEncoder(v)}); err != nil {
			return err
		}
	}
	return nil
}

func (s *shopify) consume(ctx context.Context, topic, group string, n int) error {
	g, err := sarama.NewConsumerGroup(s.addrs, group, s.config)
	if err != nil {
		return err
	}
	defer g.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r := &reader{want: n, done: cancel}
	go func() {
		for err := range g.Errors() {
			r.err = errors.Join(r.err, err)
			cancel()
		}
	}()
	for r.got < n && ctx.Err() == nil {
		if err := g.Consume(ctx, []string{topic}, r); err != nil {
			return err
		}
	}
	if r.got < n {
		return errors.Join(r.err, ctx.Err())
	}
	return nil
}

func (s *shopify) close() {
	if s.cl != nil {
		_ = s.cl.Close()
	}
}

// reader counts the records that a group's member gets.
type reader struct {
	got, want int
	err       error
	done      func()
}

func (r *reader) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (r *reader) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (r *reader) ConsumeClaim(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
	for m := range c.Messages() {
		s.MarkMessage(m, "")
		if r.got++; r.got == r.want {
			r.done()
		}
	}
	return nil
}

// bearer gives a token.
type bearer string

func (b bearer) Token() (*sarama.AccessToken, error) {
	return &sarama.AccessToken{Token: string(b)}, nil
}

// scramClient is SCRAM as sarama wants it.
type scramClient struct {
	mechanism string
	*scram.ClientConversation
}

func (c *scramClient) Begin(user, password, authzID string) error {
	hash := scram.HashGeneratorFcn(sha256.New)
	if c.mechanism == sarama.SASLTypeSCRAMSHA512 {
		hash = sha512.New
	}
	cl, err := hash.NewClient(user, password, authzID)
	if err == nil {
		c.ClientConversation = cl.NewConversation()
	}
	return err
}
