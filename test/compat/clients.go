package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"
)

// clientLimit bounds one client's whole script.
const clientLimit = 5 * time.Minute

// client is one client library and how its script is started.
type client struct {
	name    string
	command func(s *suite, ctx context.Context, addr, prefix string) *exec.Cmd
}

func goClient(name string) client {
	return client{name, func(s *suite, ctx context.Context, addr, prefix string) *exec.Cmd {
		return exec.CommandContext(ctx, filepath.Join(s.dir("goclients"), "goclients"), name, addr, prefix)
	}}
}

func pythonClient(name, script string) client {
	return client{name, func(s *suite, ctx context.Context, addr, prefix string) *exec.Cmd {
		return exec.CommandContext(ctx, filepath.Join(s.dir("python"), "venv/bin/python"), "-B", filepath.Join(s.source, "python", script), addr, prefix)
	}}
}

var allClients = []client{
	{"java", func(s *suite, ctx context.Context, addr, prefix string) *exec.Cmd {
		return s.java(ctx, "Client", addr, prefix)
	}},
	pythonClient("confluent-kafka", "confluent.py"),
	goClient("franz-go"),
	goClient("sarama"),
	goClient("kafka-go"),
	{"kafkajs", func(s *suite, ctx context.Context, addr, prefix string) *exec.Cmd {
		return exec.CommandContext(ctx, "node", filepath.Join(s.dir("node"), "client.js"), addr, prefix)
	}},
	pythonClient("aiokafka", "aio.py"),
	{"rdkafka", func(s *suite, ctx context.Context, addr, prefix string) *exec.Cmd {
		return exec.CommandContext(ctx, filepath.Join(s.dir("rust"), "debug/compat-rdkafka"), addr, prefix)
	}},
	goClient("kcat"),
}

func clientNames() (out []string) {
	for _, c := range allClients {
		out = append(out, c.name)
	}
	return out
}

// clientsPart runs every chosen client on every chosen broker, the brokers side by side.
func (s *suite) clientsPart(ctx context.Context) error {
	var wg sync.WaitGroup
	errs := make(chan error, len(s.brokers))
	for _, name := range s.brokers {
		b, err := s.broker(name, "clients-"+name)
		if err != nil {
			return err
		}
		wg.Go(func() {
			if err := b.start(ctx); err != nil {
				errs <- err
				return
			}
			for _, c := range allClients {
				for _, chosen := range s.clients {
					if c.name == chosen {
						s.client(ctx, c, b)
					}
				}
			}
			s.report.check(name+" stops in good order after the clients", b.stop())
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}

// client runs one script on one broker and notes its results.
func (s *suite) client(ctx context.Context, c client, b *broker) {
	ctx, cancel := context.WithTimeout(ctx, clientLimit)
	defer cancel()
	start := time.Now()
	cmd := c.command(s, ctx, b.addr, c.name)
	cmd.WaitDelay = 5 * time.Second
	cmd.Env = append(os.Environ(), "COMPAT_WITHOUT="+b.without(ctx))
	errs, err := os.Create(filepath.Join(s.work, c.name+"-"+b.name+".err"))
	if err != nil {
		s.report.client(c.name, b.name, "", err)
		return
	}
	defer errs.Close()
	cmd.Stderr = errs
	out, err := cmd.Output()
	s.report.client(c.name, b.name, string(out), err)
	fmt.Printf("%s on %s: %v\n", c.name, b.name, time.Since(start).Round(100*time.Millisecond))
	if s.verbose {
		os.Stdout.Write(out)
	}
}
