// Package kcat runs the common script with the program kcat, which produces, consumes and joins
// groups. What it cannot do (administer) is done by franz-go where a check needs it, and skipped
// where it is the check.
package kcat

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"time"

	"compat/check"
	"compat/franz"
)

// Client is kcat on one broker.
type Client struct {
	*franz.Client
	addr string
}

// New finds the program.
func New(addr string) (*Client, error) {
	if _, err := exec.LookPath("kcat"); err != nil {
		return nil, err
	}
	f, err := franz.New(addr)
	return &Client{f, addr}, err
}

// Lacks: kcat sets no times of its own, and headers are text.
func (c *Client) Lacks() []string { return []string{"null", "times", "binary-headers", "alone"} }

// Skips names the checks that would test franz-go here.
func (c *Client) Skips() []string {
	return []string{"create", "alter", "grow", "trim", "delete", "groups", "e-name", "e-repl", "e-dup"}
}

func (c *Client) kcat(ctx context.Context, in []byte, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "kcat", append([]string{"-b", c.addr, "-m", "15"}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &errs
	err := cmd.Run()
	if err != nil || bytes.Contains(errs.Bytes(), []byte("Delivery failed")) {
		err = fmt.Errorf("kcat: %v: %s", err, errs.String())
	}
	return out.Bytes(), err
}

// Partitions reads kcat's listing.
func (c *Client) Partitions(ctx context.Context, topic string) (int, error) {
	out, err := c.kcat(ctx, nil, "-L", "-t", topic)
	if err != nil {
		return 0, err
	}
	if s := string(out); strings.Contains(s, topic+"\" with 0 partitions:") {
		return 0, errors.New(s)
	}
	return strings.Count(string(out), "leader 1,"), nil
}

// Code knows librdkafka's texts.
func (c *Client) Code(err error) int {
	switch {
	case err == nil:
		return -2
	case strings.Contains(err.Error(), "Unknown topic or partition"):
		return 3
	case strings.Contains(err.Error(), "Message size too large"):
		return 10
	}
	return c.Client.Code(err)
}

// Produce writes one record a call where headers differ, or all with one codec in one call.
func (c *Client) Produce(ctx context.Context, topic string, partition int32, how check.How, records []check.Record) error {
	args := []string{"-P", "-t", topic, "-z", how.Codec, "-X", "acks=" + strconv.Itoa(how.Acks), "-X", "message.max.bytes=8000000",
		"-K", "\x01", "-D", "\x02"}
	if partition >= 0 {
		args = append(args, "-p", strconv.Itoa(int(partition)))
	}
	if how.Idempotent {
		args = append(args, "-X", "enable.idempotence=true")
	}
	if len(records) > 0 && len(records[0].Value) > 100_000 {
		return c.produceFile(ctx, args, records[0])
	}
	var in bytes.Buffer
	for i, r := range records {
		if i > 0 {
			in.WriteByte(2)
		}
		in.Write(r.Key)
		in.WriteByte(1)
		in.Write(r.Value)
	}
	if len(records) > 0 {
		for _, h := range records[0].Headers {
			args = append(args, "-H", h.Key+"="+string(h.Value))
		}
	}
	_, err := c.kcat(ctx, in.Bytes(), args...)
	return err
}

// produceFile sends one large record, whose bytes may look like any separator, from a file.
func (c *Client) produceFile(ctx context.Context, args []string, r check.Record) error {
	f, err := os.CreateTemp("", "kcat-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err = f.Write(r.Value); err == nil {
		err = f.Close()
	}
	if err != nil {
		return err
	}
	_, err = c.kcat(ctx, nil, append(args[:len(args):len(args)], "-k", string(r.Key), f.Name())...)
	return err
}

// Consume prints what kcat read as lengths and bytes, and reads that.
func (c *Client) Consume(ctx context.Context, topic string, partition int32, from int64, n int) ([]check.Record, error) {
	out, err := c.kcat(ctx, nil, "-C", "-t", topic, "-p", strconv.Itoa(int(partition)), "-o", strconv.FormatInt(from, 10),
		"-c", strconv.Itoa(n), "-e", "-q", "-f", format)
	if err != nil {
		return nil, err
	}
	return parse(out)
}

// format: partition, offset, time, lengths, headers, then key and value as they are.
const format = `%p %o %T %K %S %h|%k%s`

// parse reads records in the format, where a length of -1 is null.
func parse(b []byte) (out []check.Record, err error) {
	for len(b) > 0 {
		head, rest, ok := bytes.Cut(b, []byte("|"))
		f := strings.SplitN(string(head), " ", 6)
		if !ok || len(f) != 6 {
			return out, fmt.Errorf("kcat printed %q", hex.EncodeToString(b[:min(len(b), 100)]))
		}
		var ns [5]int64
		for i := range ns {
			if ns[i], err = strconv.ParseInt(f[i], 10, 64); err != nil {
				return out, err
			}
		}
		r := check.Record{Partition: int32(ns[0]), Offset: ns[1], Time: ns[2]}
		take := func(n int64) (v []byte) {
			if n >= 0 && n <= int64(len(rest)) {
				v, rest = rest[:n], rest[n:]
			}
			return v
		}
		r.Key, r.Value = take(ns[3]), take(ns[4])
		if f[5] != "" {
			for h := range strings.SplitSeq(f[5], ",") {
				k, v, _ := strings.Cut(h, "=")
				r.Headers = append(r.Headers, check.Header{Key: k, Value: []byte(v)})
			}
		}
		out, b = append(out, r), rest
	}
	return out, nil
}

// OffsetAt asks with -Q.
func (c *Client) OffsetAt(ctx context.Context, topic string, partition int32, ms int64) (int64, error) {
	out, err := c.kcat(ctx, nil, "-Q", "-t", fmt.Sprintf("%s:%d:%d", topic, partition, ms))
	if err != nil {
		return 0, err
	}
	f := strings.Fields(string(out))
	return strconv.ParseInt(f[len(f)-1], 10, 64)
}

// Offsets asks with -Q for the first and the end.
func (c *Client) Offsets(ctx context.Context, topic string, partition int32) (int64, int64, error) {
	f, err := c.OffsetAt(ctx, topic, partition, -2)
	if err != nil {
		return 0, 0, err
	}
	e, err := c.OffsetAt(ctx, topic, partition, -1)
	return f, e, err
}

// process is a running `kcat -G`.
type process struct {
	cmd  *exec.Cmd
	mu   sync.Mutex
	got  int
	text string
	done chan error
}

func (c *Client) start(ctx context.Context, group, topic string, count int) (*process, error) {
	args := []string{"-b", c.addr, "-X", "auto.offset.reset=earliest", "-X", "heartbeat.interval.ms=200", "-u", "-f", "r\n"}
	if count > 0 {
		args = append(args, "-c", strconv.Itoa(count))
	}
	p := &process{cmd: exec.CommandContext(ctx, "kcat", append(args, "-G", group, topic)...), done: make(chan error, 1)}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	errs, err := p.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	var wg sync.WaitGroup
	read := func(s *bufio.Scanner, f func(string)) {
		wg.Go(func() {
			for s.Scan() {
				p.mu.Lock()
				f(s.Text())
				p.mu.Unlock()
			}
		})
	}
	read(bufio.NewScanner(out), func(string) { p.got++ })
	read(bufio.NewScanner(errs), func(s string) {
		if strings.Contains(s, "rebalanced") || strings.Contains(s, "assigned") {
			p.text = s
		}
	})
	go func() {
		wg.Wait()
		p.done <- p.cmd.Wait()
	}()
	return p, nil
}

func (p *process) state() (records, assigned int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !strings.Contains(p.text, "assigned:") {
		return p.got, 0
	}
	return p.got, strings.Count(p.text, "[")
}

func (p *process) stop() error {
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		return err
	}
	select {
	case err := <-p.done:
		return err
	case <-time.After(20 * time.Second):
		return errors.Join(errors.New("kcat does not stop"), p.cmd.Process.Kill())
	}
}

// GroupChecks: kcat commits what it printed when it leaves.
func (c *Client) GroupChecks(group, topic string, run func(string, func(context.Context) error)) {
	sum := func(ctx context.Context) (n int64, err error) {
		m, err := c.Committed(ctx, group, topic)
		for _, o := range m {
			n += max(o, 0)
		}
		return n, err
	}
	run("group", func(ctx context.Context) error {
		p, err := c.start(ctx, group, topic, 30)
		if err != nil {
			return err
		}
		if err := <-p.done; err != nil {
			return err
		}
		if n, _ := p.state(); n != 30 {
			return fmt.Errorf("%d records, not 30", n)
		}
		return nil
	})
	run("commit", func(ctx context.Context) error {
		n, err := sum(ctx)
		if err == nil && n != 30 {
			err = fmt.Errorf("%d records are committed, not 30", n)
		}
		return err
	})
	run("resume", func(ctx context.Context) error {
		p, err := c.start(ctx, group, topic, 0)
		if err != nil {
			return err
		}
		err = check.Until(ctx, "the 30 records left", func() (bool, error) {
			n, _ := p.state()
			return n >= 30, fmt.Errorf("%d records", n)
		})
		if err = errors.Join(err, p.stop()); err != nil {
			return err
		}
		n, err := sum(ctx)
		if got, _ := p.state(); err == nil && (n != 60 || got != 30) {
			err = fmt.Errorf("%d records read, %d committed", got, n)
		}
		return err
	})
	run("share", func(ctx context.Context) error { return c.share(ctx, group+"-share", topic) })
}

func (c *Client) share(ctx context.Context, group, topic string) error {
	a, err := c.start(ctx, group, topic, 0)
	if err != nil {
		return err
	}
	err = check.Until(ctx, "one member has all", func() (bool, error) {
		n, parts := a.state()
		return n == 60 && parts == 3, fmt.Errorf("%d records, %d partitions", n, parts)
	})
	if err != nil {
		return errors.Join(err, a.stop())
	}
	b, err := c.start(ctx, group, topic, 0)
	if err != nil {
		return errors.Join(err, a.stop())
	}
	err = check.Until(ctx, "two members share", func() (bool, error) {
		_, pa := a.state()
		_, pb := b.state()
		return pa > 0 && pb > 0 && pa+pb == 3, fmt.Errorf("%d and %d partitions", pa, pb)
	})
	err = errors.Join(err, b.stop())
	if err == nil {
		err = check.Until(ctx, "the member left has all again", func() (bool, error) {
			_, parts := a.state()
			return parts == 3, fmt.Errorf("%d partitions", parts)
		})
	}
	return errors.Join(err, a.stop())
}
