package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/network/certs"
)

func tlsCommand(e env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "tls",
		Short: "Make certificates for trying TLS out",
		Example: `  moldau tls init --host kafka1.example.com
  moldau tls init --client alice`,
		Args: noArgs,
		RunE: help,
	}
	cmd.AddCommand(tlsInit(e))
	return cmd
}

// issuer makes the files of `tls init`.
type issuer struct {
	env
	dir, node, client string
	hosts             []string
	renew             bool

	now time.Time
	ca  *certs.Authority
}

func tlsInit(e env) *cobra.Command {
	i := &issuer{env: e}
	cmd := &cobra.Command{
		Use:   "init",
		Short: "Make a private authority, a node's certificate and a client's",
		Long: `Make a private authority, a certificate for a node and one for a client, and say which settings use
them. All are PEM, which Kafka's Java programs read, too (type PEM). What is there already is
kept: run it again with another --name and --host for the next node, with another --client for the next
client, or with --renew for new certificates of the same authority.

Guard ca-key.pem: whoever has it can make certificates that your nodes and clients trust. It
is needed to make more certificates, and not by nodes or clients.`,
		Example: `  moldau tls init
  moldau tls init --dir /etc/moldau/tls --host kafka1.example.com --host 10.0.0.1
  moldau tls init --name node2 --host kafka2.example.com
  moldau tls init --client alice`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return i.run() },
	}
	f := cmd.Flags()
	f.StringVar(&i.dir, "dir", "moldau-tls", "directory for the files; it is made if it is not there")
	f.StringArrayVar(&i.hosts, "host", nil, "name or address that clients reach the node by; may be repeated (default this machine's name, localhost, 127.0.0.1 and ::1)")
	f.StringVar(&i.node, "name", "node", "what the node is called: its file, and the name in its certificate")
	f.StringVar(&i.client, "client", "client", "what the client is called: its file, and the name in its certificate")
	f.BoolVar(&i.renew, "renew", false, "make new certificates for this node and this client; the old files get .old behind their names")
	return cmd
}

// Names of files.
const (
	caFile    = "ca.pem"
	caKeyFile = "ca-key.pem"
	// storeSuffix ends the files that have a key with its certificate.
	storeSuffix = ".pem"
)

const (
	dirPermissions    = 0o700
	secretPermissions = 0o600
	publicPermissions = 0o644
)

func (i *issuer) run() error {
	for flag, name := range map[string]string{"--name": i.node, "--client": i.client} {
		if !plainName(name) || name+storeSuffix == caFile || name+storeSuffix == caKeyFile {
			return usagef("%s %q: it names a file and a certificate, so it is made of letters, digits, '.', '_' and '-', and is not ca", flag, name)
		}
	}
	if i.node == i.client {
		return usagef("--name and --client are both %q: a node and a client have certificates of their own", i.node)
	}
	if len(i.hosts) == 0 {
		i.hosts = defaultHosts()
	}
	i.now = (&clock.Real{}).Now()
	if err := os.MkdirAll(i.dir, dirPermissions); err != nil {
		return fmt.Errorf("the directory for the certificates cannot be made: %w", err)
	}
	if err := i.authority(); err != nil {
		return err
	}
	if err := i.issue(i.node, "certificate of the node", func() (certs.Pair, error) { return i.ca.Server(i.node, i.hosts, i.now) }); err != nil {
		return err
	}
	if err := i.issue(i.client, "certificate of the client", func() (certs.Pair, error) { return i.ca.Client(i.client, i.now) }); err != nil {
		return err
	}
	return i.tell()
}

func plainName(name string) bool {
	return name != "" && !strings.HasPrefix(name, ".") && !strings.ContainsFunc(name, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '.' && r != '_' && r != '-'
	})
}

// defaultHosts are the names of this machine for itself and its neighbours.
func defaultHosts() []string {
	hosts := []string{"localhost", "127.0.0.1", "::1"}
	if name, err := os.Hostname(); err == nil && name != "" && !slices.Contains(hosts, name) {
		hosts = append([]string{name}, hosts...)
	}
	return hosts
}

func (i *issuer) path(name string) string { return filepath.Join(i.dir, name) }

// authority takes up the one in the directory, or makes one.
func (i *issuer) authority() error {
	cert, errCert := os.ReadFile(i.path(caFile))
	key, errKey := os.ReadFile(i.path(caKeyFile))
	switch {
	case errCert == nil && errKey == nil:
		var err error
		if i.ca, err = certs.ParseAuthority(certs.Pair{Certificate: cert, Key: key}); err != nil {
			return fmt.Errorf("the authority in %s and %s cannot be used: %w", i.path(caFile), i.path(caKeyFile), err)
		}
		if i.now.After(i.ca.Expires()) {
			return fmt.Errorf("the authority in %s has expired: make another in another directory with --dir, and have nodes and clients trust both while you change", i.path(caFile))
		}
		fmt.Fprintf(i.out, "kept   %s, the authority\n", i.path(caFile))
		return nil
	case errors.Is(errCert, fs.ErrNotExist) && errors.Is(errKey, fs.ErrNotExist):
		ca, pair, err := certs.NewAuthority("Moldau private authority", i.now)
		if err != nil {
			return err
		}
		if err := i.create(caKeyFile, pair.Key, secretPermissions); err != nil {
			return err
		}
		if err := i.create(caFile, pair.Certificate, publicPermissions); err != nil {
			return err
		}
		i.ca = ca
		fmt.Fprintf(i.out, "made   %s, the authority, with its key in %s\n", i.path(caFile), i.path(caKeyFile))
		return nil
	}
	for _, err := range []error{errCert, errKey} {
		if err != nil {
			return fmt.Errorf("the authority is not whole: %w (%s and %s belong together; bring the missing one back, or give another --dir)",
				err, i.path(caFile), i.path(caKeyFile))
		}
	}
	return nil
}

// issue makes a file with a certificate and its key, unless it is there.
func (i *issuer) issue(name, what string, issued func() (certs.Pair, error)) error {
	file := name + storeSuffix
	_, err := os.Stat(i.path(file))
	there := err == nil
	if there && !i.renew {
		fmt.Fprintf(i.out, "kept   %s, the %s (--renew makes a new one)\n", i.path(file), what)
		return nil
	}
	pair, err := issued()
	if err != nil {
		return err
	}
	if there {
		if err := os.Rename(i.path(file), i.path(file)+".old"); err != nil {
			return fmt.Errorf("the old %s cannot be put aside: %w", what, err)
		}
	}
	if err := i.create(file, slices.Concat(pair.Key, pair.Certificate), secretPermissions); err != nil {
		return err
	}
	fmt.Fprintf(i.out, "made   %s, the %s, with its key\n", i.path(file), what)
	return nil
}

// create writes a file that must not be there yet.
func (i *issuer) create(name string, content []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(i.path(name), os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fmt.Errorf("%s cannot be made: %w", i.path(name), err)
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("%s cannot be written: %w", i.path(name), err)
	}
	return nil
}

// tell says how to use the files.
func (i *issuer) tell() error {
	abs := func(name string) string {
		if full, err := filepath.Abs(i.path(name)); err == nil {
			return full
		}
		return i.path(name)
	}
	text, err := os.ReadFile(i.path(i.node + storeSuffix))
	if err != nil {
		return err
	}
	hosts, err := certs.HostsOf(text)
	if err != nil || len(hosts) == 0 {
		return fmt.Errorf("%s is kept and has no certificate of a node: --renew makes one (%v)", i.path(i.node+storeSuffix), err)
	}
	_, err = fmt.Fprintf(i.out, `
The certificate of the node is for %[1]s. In server.properties:

  listeners=SSL://:9093,CONTROLLER://localhost:9094
  listener.security.protocol.map=SSL:SSL,CONTROLLER:PLAINTEXT
  inter.broker.listener.name=SSL
  ssl.keystore.type=PEM
  ssl.keystore.location=%[2]s
  ssl.truststore.type=PEM
  ssl.truststore.location=%[3]s
  ssl.client.auth=required

Java clients and --command-config (clients without a certificate need the first three lines, and a node with
ssl.client.auth=none):

  security.protocol=SSL
  ssl.truststore.type=PEM
  ssl.truststore.location=%[3]s
  ssl.keystore.type=PEM
  ssl.keystore.location=%[4]s

These commands:

  moldau cluster describe -b %[5]s:9093 --tls-ca %[6]s --tls-cert %[7]s
`, strings.Join(hosts, ", "), abs(i.node+storeSuffix), abs(caFile), abs(i.client+storeSuffix), hosts[0], i.path(caFile), i.path(i.client+storeSuffix))
	return err
}
