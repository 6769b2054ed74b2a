// Command compat shows that Kafka's clients and tools work on Moldau as they work on Apache Kafka.
//
// It installs the clients through their own package managers, starts Apache Kafka and Moldau side
// by side, runs one common script with every client on both, runs Kafka's command line tools on
// both and compares what they print, exchanges data directories between the two, and kills Moldau
// many times while it is written to. It prints a table and ends with a line of counts; its exit
// code is 1 when anything failed on either broker. README.md in this directory has the details.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options is what the command line says.
type options struct {
	clients, brokers, parts []string
	keep, verbose           bool
	moldau                  string // the program under test; built when empty
	kills, port             int
	disciplines             []string // of duels; all when empty
	games                   int      // of each discipline
	seed                    uint64   // of the first game
}

// suite is one run of everything.
type suite struct {
	options
	source string // this directory
	cache  string // what is installed, kept between runs
	work   string // data of the brokers and logs, removed at the end
	report *report
	ports  int
}

// The parts of a run, in order.
var allParts = []string{"clients", "tools", "connect", "streams", "kgo", "swap", "crash", "txn", "security", "acl", "duel"}

func main() {
	var o options
	clients := flag.String("clients", "", "clients to run, by name and separated by commas; all when empty: "+strings.Join(clientNames(), ","))
	brokers := flag.String("brokers", "moldau,kafka", "brokers to run them on")
	parts := flag.String("parts", strings.Join(allParts, ","), "parts of the run")
	flag.BoolVar(&o.keep, "keep", false, "keep the directory with data and logs")
	flag.BoolVar(&o.verbose, "v", false, "print every check as it ends")
	flag.IntVar(&o.kills, "kills", 50, "how often the crash test kills the broker")
	flag.IntVar(&o.port, "port", 23500, "first port to try for the brokers")
	flag.StringVar(&o.moldau, "moldau", "", "the moldau binary; built when empty")
	disciplines := flag.String("duels", "", "fields of random requests that are compared, separated by commas; all when empty")
	flag.IntVar(&o.games, "games", 20, "how many sequences of random requests there are of each field")
	flag.Uint64Var(&o.seed, "seed", 1, "seed of the first sequence of random requests")
	flag.Parse()
	if *disciplines != "" {
		o.disciplines = strings.Split(*disciplines, ",")
	}
	o.clients, o.brokers, o.parts = clientNames(), strings.Split(*brokers, ","), strings.Split(*parts, ",")
	if *clients != "" {
		o.clients = strings.Split(*clients, ",")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	failed, err := run(ctx, o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "compat:", err)
	}
	if err != nil || failed > 0 {
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (failed int, err error) {
	s := &suite{options: o, report: newReport(o.verbose), ports: o.port}
	for _, c := range o.clients {
		if !slices.Contains(clientNames(), c) {
			return 0, fmt.Errorf("there is no client %q: it is one of %s", c, strings.Join(clientNames(), ", "))
		}
	}
	if s.source, err = sourceDirectory(); err != nil {
		return 0, err
	}
	if s.cache = os.Getenv("MOLDAU_COMPAT_CACHE"); s.cache == "" {
		s.cache = filepath.Join(os.TempDir(), "moldau-compat")
	}
	if s.work, err = os.MkdirTemp("", "moldau-compat-run-"); err != nil {
		return 0, err
	}
	if o.keep {
		fmt.Println("data and logs stay in", s.work)
	} else {
		defer os.RemoveAll(s.work)
	}
	start := time.Now()
	if err := s.install(ctx); err != nil {
		return 0, fmt.Errorf("install: %w", err)
	}
	fmt.Printf("installed in %v\n", time.Since(start).Round(time.Second))
	for _, part := range o.parts {
		begin := time.Now()
		switch part {
		case "clients":
			err = s.clientsPart(ctx)
		case "tools":
			err = s.toolsPart(ctx)
		case "connect":
			err = s.connectPart(ctx)
		case "streams":
			err = s.streamsPart(ctx)
		case "kgo":
			err = s.kgoPart(ctx)
		case "swap":
			s.swapPart(ctx)
		case "txn":
			err = s.txnPart(ctx)
		case "security":
			err = s.securityPart(ctx)
		case "acl":
			s.aclPart(ctx)
		case "crash":
			s.crashPart(ctx)
		case "duel":
			err = duels{s}.run(ctx)
		default:
			err = fmt.Errorf("there is no part %q: it is one of %s", part, strings.Join(allParts, ", "))
		}
		if err != nil {
			return 0, fmt.Errorf("%s: %w", part, err)
		}
		fmt.Printf("%s: done in %v\n", part, time.Since(begin).Round(time.Second))
	}
	return s.report.print(os.Stdout), nil
}

// sourceDirectory finds test/compat from where the command was started.
func sourceDirectory() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for d := dir; ; d = filepath.Dir(d) {
		if _, err := os.Stat(filepath.Join(d, "test", "compat", "java", "pom.xml")); err == nil {
			return filepath.Join(d, "test", "compat"), nil
		}
		if d == filepath.Dir(d) {
			return "", fmt.Errorf("%s is not inside the repository: start this there", dir)
		}
	}
}
