package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
)

// The checks that every client reports, in the parts of the table. A client without the
// function reports the check as skipped.
var halves = [][]string{
	{"none", "gzip", "snappy", "lz4", "zstd", "keys", "nulls", "large", "toobig", "idem", "acks0", "acks1", "acksall", "times", "append"},
	{"group", "commit", "resume", "share", "groups", "create", "describe", "alter", "grow", "offsets", "trim", "delete", "e-topic", "e-name", "e-repl", "e-dup"},
	features,
}

// features are the checks of groups that not every client has: with the classic protocol, with that of KIP-848, and share
// groups.
var features = []string{"coop", "static", "regex", "new-group", "new-commit", "new-resume", "new-share", "new-groups", "new-static", "new-regex", "queue", "release"}

// lackedFeatures are what a client has no function for, as far as these versions go, or what another client of the same
// library shows: confluent-kafka for rdkafka.
var lackedFeatures = map[string][]string{
	"sarama":   features[2:],
	"kafka-go": features,
	"kafkajs":  slices.Concat(features[:2], features[3:]),
	"aiokafka": slices.Concat(features[:1], features[3:]),
	"rdkafka":  features,
	"kcat":     features[3:],
}

// result is how one check ended.
type result struct {
	state string // ok, skip or fail
	why   string
}

// report collects results and prints them.
type report struct {
	verbose bool
	mu      sync.Mutex
	cells   map[string]map[string]result // client on broker, then check
	rows    []string
	grids   []*grid
	single  []string // names of the checks outside the table, in order
	singles map[string]result
}

func newReport(verbose bool) *report {
	return &report{verbose: verbose, cells: map[string]map[string]result{}, singles: map[string]result{}}
}

func row(client, broker string) string { return client + " on " + broker }

// client notes what one client printed. Checks that it did not report have failed.
func (r *report) client(client, broker, output string, err error) {
	got := parseChecks(output)
	for _, name := range slices.Concat(halves...) {
		if _, ok := got[name]; !ok && slices.Contains(lackedFeatures[client], name) {
			got[name] = result{"skip", "the client has no such function, or another client of its library shows it"}
		} else if !ok {
			got[name] = result{"fail", fmt.Sprintf("not reported (%v)", err)}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.rows = append(r.rows, row(client, broker))
	r.cells[row(client, broker)] = got
}

// check notes one check outside the table.
func (r *report) check(name string, err error) {
	res := result{state: "ok"}
	if err != nil {
		res = result{"fail", err.Error()}
	}
	r.note(name, res)
}

// script notes those checks of a program's output, under a name that goes before theirs; what it did not report has failed.
func (r *report) script(name, output string, err error, want ...string) {
	got := parseChecks(output)
	for _, w := range want {
		if _, ok := got[w]; !ok {
			got[w] = result{"fail", fmt.Sprintf("not reported (%v)", err)}
		}
	}
	for _, check := range want {
		r.note(name+": "+check, got[check])
	}
}

// parseChecks reads lines of "ok NAME", "skip NAME: why" and "fail NAME: why".
func parseChecks(output string) map[string]result {
	got := map[string]result{}
	for line := range strings.SplitSeq(output, "\n") {
		state, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		name, why, _ := strings.Cut(rest, ":")
		if state == "ok" || state == "skip" || state == "fail" {
			got[name] = result{state, strings.TrimSpace(why)}
		}
	}
	return got
}

// grid is a table of its own: checks down, clients on brokers across.
type grid struct {
	title      string
	rows, cols []string
	cells      map[[2]string]result // by row and column
}

// grid begins a table.
func (r *report) grid(title string) *grid {
	g := &grid{title: title, cells: map[[2]string]result{}}
	r.grids = append(r.grids, g)
	return g
}

func (g *grid) note(row, col string, res result) {
	if !slices.Contains(g.rows, row) {
		g.rows = append(g.rows, row)
	}
	if !slices.Contains(g.cols, col) {
		g.cols = append(g.cols, col)
	}
	g.cells[[2]string{row, col}] = res
}

// print writes the table, its columns by number with what they are above.
func (g *grid) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s\n", g.title)
	for i, c := range g.cols {
		fmt.Fprintf(w, "  %d: %s\n", i+1, c)
	}
	fmt.Fprintf(w, "%-72s", "")
	for i := range g.cols {
		fmt.Fprintf(w, " %-4d", i+1)
	}
	for _, row := range g.rows {
		fmt.Fprintf(w, "\n%-72s", row)
		for _, col := range g.cols {
			fmt.Fprintf(w, " %-4s", cell(g.cells[[2]string{row, col}]))
		}
	}
	fmt.Fprintln(w)
}

func (r *report) note(name string, res result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.singles[name]; !ok {
		r.single = append(r.single, name)
	}
	r.singles[name] = res
	if r.verbose {
		fmt.Println(strings.TrimSpace(res.state + " " + name + " " + res.why))
	}
}

// print writes the tables, the failures and the counts, and returns how many failed.
func (r *report) print(w io.Writer) (failed int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	passed, skipped := 0, 0
	var failures []string
	count := func(name string, res result) {
		switch res.state {
		case "ok":
			passed++
		case "skip":
			skipped++
		default:
			failed++
			failures = append(failures, name+": "+res.why)
		}
	}
	slices.Sort(r.rows)
	for _, half := range halves {
		if len(r.rows) > 0 {
			r.table(w, half)
		}
	}
	for _, row := range r.rows {
		for _, name := range slices.Concat(halves...) {
			count(row+", "+name, r.cells[row][name])
		}
	}
	for _, g := range r.grids {
		g.print(w)
		for _, row := range g.rows {
			for _, col := range g.cols {
				count(row+", "+col, g.cells[[2]string{row, col}])
			}
		}
	}
	for _, name := range r.single {
		res := r.singles[name]
		line := fmt.Sprintf("%-5s %s", cell(res), name)
		if res.state == "skip" {
			line += " (" + res.why + ")"
		}
		fmt.Fprintln(w, line)
		count(name, r.singles[name])
	}
	for _, f := range failures {
		fmt.Fprintln(w, "FAIL", f)
	}
	fmt.Fprintf(w, "%d passed, %d failed, %d skipped\n", passed, failed, skipped)
	return failed
}

func (r *report) table(w io.Writer, names []string) {
	fmt.Fprintf(w, "\n%-26s", "")
	for _, n := range names {
		fmt.Fprintf(w, " %-*s", max(len(n), 4), n)
	}
	for _, row := range r.rows {
		fmt.Fprintf(w, "\n%-26s", row)
		for _, n := range names {
			fmt.Fprintf(w, " %-*s", max(len(n), 4), cell(r.cells[row][n]))
		}
	}
	fmt.Fprintln(w)
}

func cell(r result) string {
	switch r.state {
	case "ok":
		return "ok"
	case "skip":
		return "-"
	}
	return "FAIL"
}
