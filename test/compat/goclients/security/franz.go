package main

import (
	"context"

	"github.com/jcmturner/gokrb5/v8/client"
	"github.com/jcmturner/gokrb5/v8/config"
	"github.com/jcmturner/gokrb5/v8/keytab"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/kerberos"
	"github.com/twmb/franz-go/pkg/sasl/oauth"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// franz is franz-go.
type franz struct {
	opts []kgo.Opt
	cl   *kgo.Client
}

func openFranz(r row) (session, error) {
	secure, err := r.tls()
	if err != nil {
		return nil, err
	}
	f := &franz{opts: []kgo.Opt{kgo.SeedBrokers(r.Bootstrap), kgo.RetryTimeout(rowLimit / 4), kgo.RequestRetries(1), kgo.RecordPartitioner(kgo.ManualPartitioner())}}
	if secure != nil {
		f.opts = append(f.opts, kgo.DialTLSConfig(secure))
	}
	m, err := r.franzMechanism()
	if err != nil {
		return nil, err
	}
	if m != nil {
		f.opts = append(f.opts, kgo.SASL(m))
	}
	f.cl, err = kgo.NewClient(f.opts...)
	return f, err
}

func (r row) franzMechanism() (sasl.Mechanism, error) {
	auth := scram.Auth{User: r.Username, Pass: r.Password, IsToken: r.Delegated}
	switch r.Mechanism {
	case "PLAIN":
		return plain.Auth{User: r.Username, Pass: r.Password}.AsMechanism(), nil
	case "SCRAM-SHA-256":
		return auth.AsSha256Mechanism(), nil
	case "SCRAM-SHA-512":
		return auth.AsSha512Mechanism(), nil
	case "OAUTHBEARER":
		return oauth.Auth{Token: r.Token}.AsMechanism(), nil
	case "GSSAPI":
		file, err := config.Load(r.Krb5)
		if err != nil {
			return nil, err
		}
		keys, err := keytab.Load(r.Keytab)
		if err != nil {
			return nil, err
		}
		login := func(context.Context) *client.Client {
			return client.NewWithKeytab(r.Username, "COMPAT.TEST", keys, file, client.DisablePAFXFAST(true))
		}
		return kerberos.Auth{ClientFn: login, Service: "kafka"}.AsMechanism(), nil
	}
	return nil, nil
}

func (f *franz) create(ctx context.Context, topic string) error {
	_, err := kadm.NewClient(f.cl).CreateTopic(ctx, 1, 1, nil, topic)
	return err
}

func (f *franz) produce(ctx context.Context, topic string, values ...string) error {
	for _, v := range values {
		if err := f.cl.ProduceSync(ctx, &kgo.Record{Topic: topic, Value: []byte(v)}).FirstErr(); err != nil {
			return err
		}
	}
	return nil
}

func (f *franz) consume(ctx context.Context, topic, group string, n int) error {
	cl, err := kgo.NewClient(append(f.opts, kgo.ConsumeTopics(topic), kgo.ConsumerGroup(group), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())...)
	if err != nil {
		return err
	}
	defer cl.Close()
	for got := 0; got < n; {
		fs := cl.PollFetches(ctx)
		if err := fs.Err(); err != nil {
			return err
		}
		got += fs.NumRecords()
	}
	return cl.CommitUncommittedOffsets(ctx)
}

func (f *franz) close() { f.cl.Close() }
