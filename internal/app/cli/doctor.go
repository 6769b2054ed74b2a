package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/config"
)

// probeTimeout bounds each attempt to reach something.
const probeTimeout = 3 * time.Second

// Verdicts of a check.
const (
	fine    = "ok"
	warning = "warning"
	failure = "failure"
)

// finding is what one check has to say.
type finding struct {
	Check   string `json:"check"`
	Verdict string `json:"verdict"`
	Finding string `json:"finding"`
	Advice  string `json:"advice,omitempty"`
}

// doctor looks for what is wrong, or will be.
type doctor struct {
	*connection
	nodeFlags
	clock  clock.Clock
	listen string
	web    string

	cfg       *config.BrokerConfig
	listeners *config.NodeListeners
	running   bool
	findings  []finding
	// system reads one of the kernel's settings; ok is false where there is none.
	system func(path string) (text string, ok bool)
}

func doctorCommand(e env) *cobra.Command {
	d := &doctor{connection: &connection{env: e}, clock: &clock.Real{}, system: readSystem}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check settings, directories, clock, limits and addresses, and say what to change",
		Long: `Check settings, data directories, clock, limits and addresses of a node on this machine, and
say what to change. It takes the same flags as 'moldau start' and changes nothing. Where a
node runs already it is asked, too. The exit code is 1 if anything failed; warnings are no failure.`,
		Example: `  moldau doctor
  moldau doctor --config server.properties
  moldau doctor --json | jq '.findings[] | select(.verdict != "ok")'`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := d.text(cmd)
			if err != nil {
				return err
			}
			return d.run(text, cmd.Flags().Changed("bootstrap-server"))
		},
	}
	d.connection.flags(cmd)
	d.nodeFlags.flags(cmd, "")
	f := cmd.Flags()
	f.StringVar(&d.listen, "listen", defaultAddress, "address the node listens on, when there is no --config")
	f.StringVar(&d.web, "http", "localhost:9644", "address for metrics and health by HTTP, when there is no --config")
	return cmd
}

// readSystem reads a file of /proc or /sys.
func readSystem(path string) (string, bool) {
	b, err := os.ReadFile(path)
	return strings.TrimSpace(string(b)), err == nil
}

func (d *doctor) add(check, verdict, advice, format string, args ...any) {
	f := finding{check, verdict, fmt.Sprintf(format, args...), advice}
	if !slices.Contains(d.findings, f) { // two listeners may have the same certificate
		d.findings = append(d.findings, f)
	}
}

// errSick says that a check failed; what it was has been printed.
var errSick = errors.New("some checks failed: each line above says what to change")

// run makes all checks. text is the configuration's; told says that the user has named the node's address.
func (d *doctor) run(text []byte, told bool) error {
	d.checkSettings(text)
	if d.cfg != nil {
		if !told {
			d.bootstrap = d.ownAddress()
		}
		d.checkDirectories()
		d.checkCertificates()
		d.checkAdvertised()
		d.checkKernel()
	}
	d.checkClock()
	d.checkDescriptors()
	d.checkNode()
	failed := false
	for _, f := range d.findings {
		failed = failed || f.Verdict == failure
	}
	err := d.print(struct {
		Healthy  bool      `json:"healthy"`
		Findings []finding `json:"findings"`
	}{!failed, d.findings}, d.people)
	if failed {
		return errors.Join(errSick, err)
	}
	return err
}

func (d *doctor) people(w io.Writer) {
	counts := map[string]int{}
	columns(w, "", func(line func(string, ...any)) {
		for _, f := range d.findings {
			counts[f.Verdict]++
			line("%s\t%s\t%s", f.Verdict, f.Check, f.Finding)
			if f.Advice != "" {
				line("\t\t→ %s", f.Advice)
			}
		}
	})
	fmt.Fprintf(w, "%s, %s, %d fine\n", count(counts[failure], "failure"), count(counts[warning], "warning"), counts[fine])
}

// sources are the settings as `moldau start` with the same flags would take them.
func (d *doctor) sources(text []byte) config.Sources {
	s := config.Sources{Environ: os.Environ(), Set: d.set, FileName: d.file, File: text}
	if d.file == "" {
		s.FileName = "the defaults"
		s.File = fmt.Appendf(nil, "process.roles=broker,controller\nnode.id=1\nlog.dirs=%s\nlisteners=PLAINTEXT://%s,CONTROLLER://localhost:0\n"+
			"controller.listener.names=CONTROLLER\ncontroller.quorum.bootstrap.servers=localhost:9093\noffsets.topic.replication.factor=1\n"+
			"transaction.state.log.replication.factor=1\nshare.coordinator.state.topic.replication.factor=1\nmoldau.http.listener=%s\n", d.dir, d.listen, d.web)
	}
	return s
}

// ownAddress is where the node of these settings tells clients to connect: at a listener that the flags of this command fit,
// if there is one.
func (d *doctor) ownAddress() string {
	if _, err := d.secured(); err != nil {
		return d.bootstrap // whoever connects says what is wrong
	}
	all := d.listeners.Advertised
	at := slices.IndexFunc(all, func(l config.Listener) bool { return l.SecurityProtocol.String() == d.protocol })
	if at = max(at, 0); at == len(all) {
		return d.bootstrap // a controller has none
	}
	return net.JoinHostPort(all[at].Host, fmt.Sprint(all[at].Port))
}

// checkSettings reads the settings and looks for contradictions and unsafe choices.
func (d *doctor) checkSettings(text []byte) {
	const check = "settings"
	s := d.sources(text)
	cfg, notices, err := config.Load(s)
	for _, line := range notices {
		d.add(check, warning, "", "%s", line)
	}
	if err != nil {
		for _, line := range strings.Split(err.Error(), "\n") {
			d.add(check, failure, "correct "+s.FileName+" or --set; the node does not start like this", "%s", line)
		}
		return
	}
	d.cfg = cfg
	d.listeners, err = cfg.Listeners()
	if err = errors.Join(err, cfg.CheckNode()); err == nil {
		err = cfg.CheckExposure(d.listeners)
	}
	if err != nil {
		for _, line := range strings.Split(err.Error(), "\n") {
			d.add(check, failure, "correct "+s.FileName+" or --set; the node does not start like this", "%s", line)
		}
		d.cfg = nil
		return
	}
	before := len(d.findings)
	d.checkChoices()
	if len(d.findings) == before {
		d.add(check, fine, "", "the settings fit together and none is unsafe")
	}
}

// checkChoices warns of what is allowed and dangerous.
func (d *doctor) checkChoices() {
	const check = "settings"
	c := d.cfg
	if c.GetString("ack.durability") == "written" {
		d.add(check, warning, "set ack.durability=synced unless that is meant",
			"ack.durability=written acknowledges records that are in memory only: a power cut loses them")
	}
	if c.GetBool("unclean.leader.election.enable") {
		d.add(check, warning, "set unclean.leader.election.enable=false unless being available matters more than keeping records",
			"unclean.leader.election.enable=true lets a replica lead that lacks acknowledged records")
	}
	factor, least := c.GetInt("default.replication.factor"), c.GetInt("min.insync.replicas")
	if factor > 1 && least >= factor {
		d.add(check, warning, "set min.insync.replicas below default.replication.factor",
			"min.insync.replicas is %d and default.replication.factor %d: a single node that is down stops all writes with acks=all", least, factor)
	}
	if factor == 1 && len(c.GetList("controller.quorum.voters")) > 1 {
		d.add(check, warning, "set default.replication.factor=3", "default.replication.factor is 1 in a cluster of several nodes: a node that is down takes its partitions with it")
	}
	if least == 1 && factor > 2 {
		d.add(check, warning, "set min.insync.replicas=2", "min.insync.replicas is 1: with acks=all a record may be on one node only when it is acknowledged")
	}
	unlimited := c.GetLong("log.retention.bytes") < 0 && c.IsSet("log.retention.ms") && c.GetLong("log.retention.ms") < 0
	if unlimited && strings.Contains(c.GetString("log.cleanup.policy"), "delete") {
		d.add(check, warning, "set log.retention.ms or log.retention.bytes", "nothing limits how much is kept: the disk fills up")
	}
	if c.GetInt("message.max.bytes") > c.GetInt("socket.request.max.bytes") {
		d.add(check, warning, "raise socket.request.max.bytes", "message.max.bytes is above socket.request.max.bytes: the largest batches cannot get in")
	}
	if c.GetInt("message.max.bytes") > c.GetInt("replica.fetch.max.bytes") && factor > 1 {
		d.add(check, warning, "raise replica.fetch.max.bytes to message.max.bytes", "message.max.bytes is above replica.fetch.max.bytes: replicas fetch the largest batches one by one")
	}
	for _, l := range append(append([]config.Listener(nil), d.listeners.Broker...), d.listeners.Controller...) {
		if l.SecurityProtocol == config.Plaintext && everywhere(l.Host) {
			d.add(check, warning, "give it the address of one network, or a protocol with TLS or SASL",
				"listener %s takes connections from every network, without encryption and without asking who it is", l.Name)
		}
	}
}

// everywhere tells whether a listener on this host takes connections on all interfaces.
func everywhere(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

// checkAdvertised looks whether clients can use the addresses that they are told.
func (d *doctor) checkAdvertised() {
	const check = "advertised"
	if !d.cfg.HasRole("broker") {
		return
	}
	for _, l := range d.listeners.Advertised {
		switch ips, err := lookup(l.Host); {
		case everywhere(l.Host):
			d.add(check, failure, "set advertised.listeners to a name or address by which clients reach this machine", "%s advertises %q, to which nobody can connect", l.Name, l.Host)
		case err != nil:
			d.add(check, failure, "correct advertised.listeners, or the name in DNS or /etc/hosts", "%s advertises %s, which cannot be resolved: %v", l.Name, l.Host, err)
		case loopback(ips) && d.bindsWide(l.Name):
			d.add(check, warning, "set advertised.listeners to a name by which clients reach this machine",
				"%s listens for other machines and advertises %s, so that these would connect to themselves", l.Name, l.Host)
		default:
			d.add(check, fine, "", "%s advertises %s:%d, which is %s", l.Name, l.Host, l.Port, ips[0].IP)
		}
	}
}

// bindsWide tells whether the listener takes connections from other machines.
func (d *doctor) bindsWide(name string) bool {
	for _, l := range d.listeners.Broker {
		if l.Name != name {
			continue
		}
		ips, err := lookup(l.Host)
		return everywhere(l.Host) || err == nil && !loopback(ips)
	}
	return false
}

func lookup(host string) ([]net.IPAddr, error) {
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	return net.DefaultResolver.LookupIPAddr(ctx, host)
}

func loopback(ips []net.IPAddr) bool {
	for _, ip := range ips {
		if !ip.IP.IsLoopback() {
			return false
		}
	}
	return len(ips) > 0
}

// checkNode asks the node that runs, if one does.
func (d *doctor) checkNode() {
	const check = "node"
	address := strings.Split(d.bootstrap, ",")[0]
	if err := d.dial(address); err != nil {
		if wants := explainSecurity(address, err); wants != nil {
			d.add(check, warning, "give the flags with which clients connect there (--tls…, --login…), or --command-config", "%s", wants)
		} else if d.running {
			d.add(check, failure, "see the node's log; name its address with --bootstrap-server", "a node has the data directories open and nobody answers on %s: %v", address, err)
		} else {
			d.add(check, fine, "", "no node runs on %s", address)
		}
		return
	}
	err := d.ask(func(ctx context.Context, cl *kgo.Client) error {
		m, err := kadm.NewClient(cl).BrokerMetadata(ctx)
		if err != nil {
			return err
		}
		for _, b := range m.Brokers {
			at := net.JoinHostPort(b.Host, fmt.Sprint(b.Port))
			if err := d.dial(at); err != nil {
				d.add("advertised", failure, "correct that node's advertised.listeners, or start it, or open the way to it", "node %d tells clients to connect to %s, and from here that fails: %v", b.NodeID, at, err)
				continue
			}
			d.add("advertised", fine, "", "node %d can be reached at %s, where it tells clients to connect", b.NodeID, at)
		}
		return nil
	})
	if err != nil {
		d.add(check, failure, "see what listens there, and the node's log", "%s", err)
	}
	d.checkMetrics()
}

// dial tries to talk to a node as clients do.
func (d *doctor) dial(address string) error {
	secured, err := d.secured()
	if err != nil {
		return err
	}
	opts := []kgo.Opt{kgo.SeedBrokers(address), kgo.ClientID("moldau-cli"), kgo.DialTimeout(probeTimeout), kgo.RetryTimeout(probeTimeout)}
	cl, err := kgo.NewClient(append(opts, secured...)...)
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	return cl.Ping(ctx)
}
