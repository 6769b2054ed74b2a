package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// dialTimeout bounds how long a command tries to reach a node.
const dialTimeout = 10 * time.Second

// defaultAddress is where `moldau start` listens unless it is told otherwise.
const defaultAddress = "localhost:9092"

// connection is the flags that every command that talks to a node has.
type connection struct {
	env
	security
	bootstrap string
	json      bool

	proof    []kgo.Opt // what secured has read
	protocol string    // the security.protocol of proof
	read     bool
}

// flags declares them on cmd.
func (c *connection) flags(cmd *cobra.Command) {
	f := cmd.PersistentFlags()
	f.StringVarP(&c.bootstrap, "bootstrap-server", "b", defaultAddress, "address of a node, host:port; several separated by commas")
	f.BoolVar(&c.json, "json", false, "print JSON")
	c.security.flags(cmd)
}

// secured is the options that connect with the security asked for. A password is read once.
func (c *connection) secured() ([]kgo.Opt, error) {
	if c.read {
		return c.proof, nil
	}
	settings, err := c.settings(c.in)
	if err != nil {
		return nil, err
	}
	if c.proof, err = settings.options(); err != nil {
		return nil, err
	}
	c.protocol, c.read = settings.text("security.protocol"), true
	return c.proof, nil
}

// client connects to the node; it says plainly when nobody is there.
func (c *connection) client(extra ...kgo.Opt) (*kgo.Client, error) {
	secured, err := c.secured()
	if err != nil {
		return nil, err
	}
	opts := append([]kgo.Opt{
		kgo.SeedBrokers(strings.Split(c.bootstrap, ",")...),
		kgo.ClientID("moldau-cli"),
		kgo.DialTimeout(dialTimeout),
		kgo.RetryTimeout(dialTimeout),
		kgo.MetadataMinAge(100 * time.Millisecond),
	}, append(secured, extra...)...)
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return nil, usagef("--bootstrap-server %q: %w", c.bootstrap, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	if err := cl.Ping(ctx); err != nil {
		cl.Close()
		return nil, c.unreachable(err)
	}
	return cl, nil
}

// unreachable says why no node answered and what to do.
func (c *connection) unreachable(err error) error {
	var dns *net.DNSError
	if told := explainSecurity(c.bootstrap, err); told != nil {
		return told
	}
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("no node listens on %s: start one with `moldau start`, or name another with --bootstrap-server", c.bootstrap)
	case errors.As(err, &dns):
		return fmt.Errorf("the address %s cannot be resolved: %w", c.bootstrap, err)
	default:
		return fmt.Errorf("the node at %s does not answer as a Kafka broker: %w", c.bootstrap, err)
	}
}

// admin is client for administration.
func (c *connection) admin() (*kadm.Client, error) {
	cl, err := c.client()
	if err != nil {
		return nil, err
	}
	return kadm.NewClient(cl), nil
}

// do runs f with an administration client.
func (c *connection) do(f func(ctx context.Context, a *kadm.Client) error) error {
	a, err := c.admin()
	if err != nil {
		return err
	}
	defer a.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return explain(f(ctx, a))
}

// ask runs f with a plain client, for requests that the administration client does not have.
func (c *connection) ask(f func(ctx context.Context, cl *kgo.Client) error) error {
	cl, err := c.client()
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	return explain(f(ctx, cl))
}

// explain turns a broker's error code into what it means.
func explain(err error) error {
	var k *kerr.Error
	if errors.As(err, &k) && denied(k) {
		return fmt.Errorf("%s: this user lacks a right: the node's log names it, and `moldau acl explain`, run by an administrator, says what would give it", k.Message)
	}
	if errors.As(err, &k) && err.Error() == k.Error() {
		return fmt.Errorf("%s: %s", k.Message, strings.TrimSuffix(k.Description, "."))
	}
	return err
}

// denied tells whether a broker's error is that a rule is missing.
func denied(err error) bool {
	return slices.ContainsFunc([]error{
		kerr.TopicAuthorizationFailed, kerr.GroupAuthorizationFailed, kerr.ClusterAuthorizationFailed, kerr.TransactionalIDAuthorizationFailed,
	}, func(e error) bool { return errors.Is(err, e) })
}

// ofTopic is an error about a topic; message is what the node sent along.
func ofTopic(topic string, err error, message string) error {
	if errors.Is(err, kerr.UnknownTopicOrPartition) {
		return fmt.Errorf("there is no topic %s: `moldau topic list` lists those there are", topic)
	}
	return fmt.Errorf("topic %s: %w", topic, withMessage(err, message))
}

// withMessage is a broker's error with the words it sent along.
func withMessage(err error, message string) error {
	if err == nil || message == "" || denied(err) {
		return explain(err)
	}
	return errors.New(message)
}

// print writes v as JSON with --json, and calls people otherwise.
func (c *connection) print(v any, people func(w io.Writer)) error {
	if !c.json {
		people(c.out)
		return nil
	}
	e := json.NewEncoder(c.out)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
