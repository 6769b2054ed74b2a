// Command security runs the rows of the matrix of mechanisms with one of the Go clients: see java/Security.java.
//
// usage: security franz-go|sarama FILE, where FILE has the rows. Each prints its name, a tab, and how each step of it ended.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"
)

// Rows run side by side, and how long each may take.
const (
	rowsAtOnce = 6
	rowLimit   = 40 * time.Second
)

// row is one way to connect, and what to do then.
type row struct {
	Name      string `json:"name"`
	Bootstrap string `json:"bootstrap"`
	Protocol  string `json:"protocol"`
	Mechanism string `json:"mechanism"`
	Username  string `json:"username"`
	Password  string `json:"password"`
	Token     string `json:"token"`
	Delegated bool   `json:"delegated"`
	CA        string `json:"ca"`
	Cert      string `json:"cert"`
	Keytab    string `json:"keytab"`
	Krb5      string `json:"krb5"`
	Prefix    string `json:"prefix"`
	Other     string `json:"other"`
	Rest      int    `json:"rest,string"`
}

// session is a client that is about to connect.
type session interface {
	create(ctx context.Context, topic string) error
	produce(ctx context.Context, topic string, values ...string) error
	consume(ctx context.Context, topic, group string, n int) error
	close()
}

func main() {
	opens := map[string]func(row) (session, error){"franz-go": openFranz, "sarama": openSarama}
	if len(os.Args) != 3 || opens[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: security franz-go|sarama FILE")
		os.Exit(2)
	}
	text, err := os.ReadFile(os.Args[2])
	var rows []row
	if err == nil {
		err = json.Unmarshal(text, &rows)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	slots := make(chan struct{}, rowsAtOnce)
	for _, r := range rows {
		wg.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			outcome := strings.ReplaceAll(r.run(opens[os.Args[1]]), "\n", " ")
			mu.Lock()
			defer mu.Unlock()
			fmt.Printf("%s\t%s\n", r.Name, outcome)
		})
	}
	wg.Wait()
}

func (r row) run(open func(row) (session, error)) string {
	ctx, cancel := context.WithTimeout(context.Background(), rowLimit)
	defer cancel()
	s, err := open(r)
	if err != nil {
		return "create=" + err.Error()
	}
	defer s.close()
	topic := r.Prefix + "-topic"
	if err := s.create(ctx, topic); err != nil {
		return "create=" + err.Error()
	}
	if err := s.produce(ctx, topic, "v0", "v1", "v2"); err != nil {
		return "produce=" + err.Error()
	}
	if r.Rest > 0 {
		timer := time.NewTimer(time.Duration(r.Rest) * time.Millisecond)
		<-timer.C
		if err := s.produce(ctx, topic, "later"); err != nil {
			return "produce=" + err.Error()
		}
	}
	if err := s.consume(ctx, topic, r.Prefix+"-group", 3); err != nil {
		return "consume=" + err.Error()
	}
	if r.Other == "" {
		return "ok"
	}
	if err := s.produce(ctx, r.Other, "v"); err != nil {
		return "other=" + err.Error()
	}
	return "other=written, which only others may"
}

// tls is the configuration of the row's TLS, nil for none.
func (r row) tls() (*tls.Config, error) {
	if !strings.HasSuffix(r.Protocol, "SSL") {
		return nil, nil
	}
	c := &tls.Config{RootCAs: x509.NewCertPool()}
	text, err := os.ReadFile(r.CA + ".crt")
	if err != nil {
		return nil, err
	}
	if !c.RootCAs.AppendCertsFromPEM(text) {
		return nil, errors.New(r.CA + ".crt has no certificate")
	}
	if r.Cert != "" {
		pair, err := tls.LoadX509KeyPair(r.Cert+".crt", r.Cert+".key")
		if err != nil {
			return nil, err
		}
		// Sent whatever authorities the broker names, so that the broker refuses it and not the client.
		c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	return c, nil
}
