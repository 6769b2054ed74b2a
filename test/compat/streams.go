package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// streamsLimit bounds the run of one application.
const streamsLimit = 5 * time.Minute

// streamsProtocols are the group protocols that an application of Kafka Streams may choose.
var streamsProtocols = []string{"classic", "streams"}

// streamsChecks are what Streams.java reports.
var streamsChecks = []string{"count", "changelog", "store", "join", "describe", "restart", "restore", "two", "one", "delete"}

// streamsPart runs an application of Kafka Streams with each group protocol on every chosen broker, side by side.
func (s *suite) streamsPart(ctx context.Context) error {
	var wg sync.WaitGroup
	errs := make(chan error, len(s.brokers))
	for _, name := range s.brokers {
		b, err := s.broker(name, "streams-"+name)
		if err != nil {
			return err
		}
		wg.Go(func() {
			if err := b.start(ctx); err != nil {
				errs <- err
				return
			}
			for _, protocol := range streamsProtocols {
				s.streams(ctx, b, protocol)
			}
			s.report.check(name+" stops in good order after Kafka Streams", b.stop())
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

// streams runs the application once.
func (s *suite) streams(ctx context.Context, b *broker, protocol string) {
	name := fmt.Sprintf("Kafka Streams (%s groups) on %s", protocol, b.name)
	ctx, cancel := context.WithTimeout(ctx, streamsLimit)
	defer cancel()
	errs, err := os.Create(filepath.Join(s.work, fmt.Sprintf("streams-%s-%s.err", protocol, b.name)))
	if err != nil {
		s.report.check(name, err)
		return
	}
	defer errs.Close()
	cmd := s.java(ctx, "Streams", b.addr, "streams", protocol, filepath.Join(s.work, "streams-state-"+b.name))
	cmd.Stderr = errs
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.Output()
	s.report.script(name, string(out), err, streamsChecks...)
}
