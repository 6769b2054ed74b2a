package main

import (
	"context"
	"errors"
	"time"

	"github.com/IBM/sarama"
)

// shopify is sarama.
type shopify struct{ addr, prefix string }

func (s *shopify) config() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.V3_6_0_0
	c.Producer.Idempotent, c.Net.MaxOpenRequests = true, 1
	c.Producer.RequiredAcks, c.Producer.Return.Successes = sarama.WaitForAll, true
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Producer.Transaction.Timeout = 20 * time.Second
	c.Producer.Transaction.Retry.Max = 50
	c.Consumer.IsolationLevel = sarama.ReadCommitted
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Enable = false
	c.Consumer.Group.Rebalance.Timeout = 10 * time.Second
	return c
}

func (s *shopify) producer(id string) (sarama.SyncProducer, error) {
	c := s.config()
	c.Producer.Transaction.ID = s.prefix + id
	return sarama.NewSyncProducer([]string{s.addr}, c)
}

func (s *shopify) produce(p sarama.SyncProducer, values ...string) error {
	if err := p.BeginTxn(); err != nil {
		return err
	}
	for _, v := range values {
		if _, _, err := p.SendMessage(&sarama.ProducerMessage{Topic: s.prefix + "-out", Value: sarama.StringEncoder(v)}); err != nil {
			return err
		}
	}
	return nil
}

func (s *shopify) write(values []string, commit bool) error {
	p, err := s.producer("-id")
	if err != nil {
		return err
	}
	defer p.Close()
	if err := s.produce(p, values...); err != nil {
		return err
	}
	if commit {
		return p.CommitTxn()
	}
	return p.AbortTxn()
}

func (s *shopify) fence() (old, err error) {
	first, err := s.producer("-id")
	if err != nil {
		return nil, err
	}
	defer first.Close()
	if err := s.produce(first, "old"); err != nil {
		return nil, err
	}
	if err := s.write([]string{"new"}, true); err != nil {
		return nil, err
	}
	return first.CommitTxn(), nil
}

func (s *shopify) copy() error {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	group, err := sarama.NewConsumerGroup([]string{s.addr}, s.prefix+"-group", s.config())
	if err != nil {
		return err
	}
	defer group.Close()
	p, err := s.producer("-copier")
	if err != nil {
		return err
	}
	defer p.Close()
	c := &copier{s: s, p: p, cancel: cancel, next: map[int32]int64{}}
	for ctx.Err() == nil && c.err == nil {
		if err := group.Consume(ctx, []string{s.prefix + "-in"}, c); err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
	}
	if c.err == nil && c.copied < records {
		return context.DeadlineExceeded
	}
	return c.err
}

// copier copies what its partitions bring; it is the only member of the group.
type copier struct {
	s            *shopify
	p            sarama.SyncProducer
	cancel       func()
	turn, copied int
	next         map[int32]int64
	err          error
	lock         chan struct{}
}

func (c *copier) Setup(sarama.ConsumerGroupSession) error {
	c.lock = make(chan struct{}, 1)
	return nil
}
func (c *copier) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (c *copier) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	var list []*sarama.ConsumerMessage
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case m, ok := <-claim.Messages():
			if !ok {
				return nil
			}
			if list = append(list, m); len(list) < batch {
				continue
			}
		case <-tick.C:
			if len(list) == 0 {
				continue
			}
		case <-session.Context().Done():
			return nil
		}
		c.lock <- struct{}{}
		err := c.transact(list)
		<-c.lock
		if err != nil {
			c.err = err
			c.cancel()
			return err
		}
		list = nil
	}
}

// transact copies a batch; when it is the third it is aborted and copied once more.
func (c *copier) transact(list []*sarama.ConsumerMessage) error {
	for c.turn++; ; c.turn++ {
		if err := c.p.BeginTxn(); err != nil {
			return err
		}
		for _, m := range list {
			if _, _, err := c.p.SendMessage(&sarama.ProducerMessage{Topic: c.s.prefix + "-copy", Partition: m.Partition, Value: sarama.ByteEncoder(m.Value)}); err != nil {
				return err
			}
			if err := c.p.AddMessageToTxn(m, c.s.prefix+"-group", nil); err != nil {
				return err
			}
		}
		if c.turn%3 == 0 {
			if err := c.p.AbortTxn(); err != nil {
				return err
			}
			continue
		}
		if err := c.p.CommitTxn(); err != nil {
			return err
		}
		if c.copied += len(list); c.copied >= records {
			c.cancel()
		}
		return nil
	}
}

func (s *shopify) read() (values []string, err error) {
	cl, err := sarama.NewClient([]string{s.addr}, s.config())
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	topic := s.prefix + "-out"
	consumer, err := sarama.NewConsumerFromClient(cl)
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	part, err := consumer.ConsumePartition(topic, 0, sarama.OffsetOldest)
	if err != nil {
		return nil, err
	}
	defer part.Close()
	quiet := time.NewTimer(2 * time.Second) // it does not show markers, so the end is where nothing more comes
	for {
		select {
		case m := <-part.Messages():
			values = append(values, string(m.Value))
			quiet.Reset(500 * time.Millisecond)
		case <-quiet.C:
			return values, nil
		}
	}
}
