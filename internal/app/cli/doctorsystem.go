package cli

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	// leastDescriptors is below which the limit of descriptors is a warning.
	leastDescriptors = 16_384
	// usedShare is the share of the descriptors in use from which on that is a warning.
	usedShare = 0.8
	// leastMemory is what a node needs besides its tails.
	leastMemory = 128 << 20
	// leastBacklog is below which net.core.somaxconn is a warning.
	leastBacklog = 1024
	// firstSane is a time, in seconds of Unix, before which a clock is certainly wrong.
	firstSane = 1_700_000_000
)

// checkClock looks at the machine's clock by itself.
func (d *doctor) checkClock() {
	const check = "clock"
	now := d.clock.Now()
	switch synced, known := clockSynchronised(); {
	case now.Unix() < firstSane:
		d.add(check, failure, "set the clock: records get wrong times, and retention works by them", "the clock says %s", now.UTC().Format(time.RFC3339))
	case known && !synced:
		d.add(check, warning, "run chrony or another NTP client", "the kernel says that nobody keeps the clock right")
	default:
		d.add(check, fine, "", "the clock says %s", now.UTC().Format(time.RFC3339))
	}
}

// checkDescriptors looks at how many files and connections may be open.
func (d *doctor) checkDescriptors() {
	const check = "descriptors"
	limit, known := descriptorLimit()
	switch {
	case !known:
	case limit < leastDescriptors:
		d.add(check, warning, "raise it: LimitNOFILE=1048576 in the systemd unit, or ulimit -n", "a process may have %d files and connections open; each connection and each partition written to takes some", limit)
	default:
		d.add(check, fine, "", "a process may have %d files and connections open", limit)
	}
}

// checkKernel looks at the kernel's settings that matter.
func (d *doctor) checkKernel() {
	const check = "kernel"
	before := len(d.findings)
	number := func(path string) (int64, bool) {
		text, ok := d.system(path)
		n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
		return n, ok && err == nil
	}
	if n, ok := number("/proc/sys/net/core/somaxconn"); ok && n < leastBacklog {
		d.add(check, warning, "sysctl -w net.core.somaxconn=4096", "net.core.somaxconn is %d: when many clients connect at once some are turned away", n)
	}
	if n, ok := number("/proc/sys/vm/swappiness"); ok && n > 60 {
		d.add(check, warning, "sysctl -w vm.swappiness=1", "vm.swappiness is %d: the page cache of cold logs drives the node's own memory out", n)
	}
	if text, ok := d.system("/proc/sys/net/ipv4/ip_local_port_range"); ok {
		d.checkPorts(text)
	}
	for _, path := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		if n, ok := number(path); ok && n < leastMemory+d.cfg.GetLong("moldau.tail.bytes") {
			d.add(check, warning, "allow more, or lower moldau.tail.bytes", "this container may use %s of memory; the tails alone take up to %s", size(n), size(d.cfg.GetLong("moldau.tail.bytes")))
		}
	}
	if len(d.findings) == before {
		d.add(check, fine, "", "the kernel's settings suit a node")
	}
}

// checkPorts warns of listeners whose port the kernel may give to somebody's outgoing connection while the node is down.
func (d *doctor) checkPorts(text string) {
	var low, high uint16
	if n, err := fmt.Sscan(text, &low, &high); n != 2 || err != nil {
		return
	}
	for _, l := range d.listeners.Broker {
		if l.Port >= low && l.Port <= high {
			d.add("kernel", warning, fmt.Sprintf("sysctl -w net.ipv4.ip_local_reserved_ports=%d, or another port", l.Port),
				"port %d of listener %s is one that the kernel gives to outgoing connections (%d to %d): while the node is down it may be taken", l.Port, l.Name, low, high)
		}
	}
}

// httpAddress is where the node's HTTP endpoint is, by the settings.
func (d *doctor) httpAddress() string {
	if d.cfg == nil {
		return ""
	}
	at := d.cfg.GetString(httpListenerSetting)
	if at == "" {
		return ""
	}
	host, _, err := net.SplitHostPort(strings.Split(d.bootstrap, ",")[0])
	if err != nil {
		host = "localhost"
	}
	return httpAddress(at, host)
}

// checkMetrics asks the running node for its figures.
func (d *doctor) checkMetrics() {
	const check = "metrics"
	at := d.httpAddress()
	if at == "" {
		d.add(check, warning, "set "+httpListenerSetting+"=localhost:9644", "the node has no HTTP listener, so compaction and directories cannot be asked for")
		return
	}
	body, status, err := getHTTP(context.Background(), at, "/metrics")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d", status)
	}
	if err != nil {
		d.add(check, warning, "see that moldau.http.listener (--http) is the node's address for HTTP, not one for clients", "the node's figures cannot be read from %s: %v", at, err)
		return
	}
	d.judgeMetrics(string(body))
}

// judgeMetrics looks for figures that speak of trouble.
func (d *doctor) judgeMetrics(text string) {
	before := len(d.findings)
	values := map[string]float64{}
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		at := strings.LastIndexByte(line, ' ')
		v, err := strconv.ParseFloat(line[at+1:], 64)
		if at < 0 || err != nil || strings.HasPrefix(line, "#") {
			continue
		}
		name, labels, _ := strings.Cut(strings.TrimSuffix(line[:at], "}"), "{")
		switch {
		case name == "moldau_cleaner_failed" && v > 0:
			d.add("cleaner", failure, "see the node's log for the reason; `moldau log verify` checks the files", "compaction has given up a log: %s", labels)
		case name == "kafka_log_logmanager_logdirectoryoffline" && v > 0:
			d.add("directory", failure, "repair the disk, then restart the node", "the node has taken a data directory offline: %s", labels)
		case name == "moldau_directory_refused_batches_total" && v > 0:
			d.add("space", warning, "make room, or shorten log.retention.ms or log.retention.bytes", "the node has refused %.0f batches since it started because the disk was full: %s", v, labels)
		case labels == "":
			values[name] = v
		}
	}
	for _, bad := range []struct{ name, what string }{
		{"kafka_server_replicamanager_underreplicatedpartitions", "partitions have replicas that are out of sync"},
		{"kafka_server_replicamanager_underminisrpartitioncount", "partitions have fewer replicas in sync than min.insync.replicas, so acks=all fails"},
		{"kafka_controller_kafkacontroller_offlinepartitionscount", "partitions have no leader"},
	} {
		if v := values[bad.name]; v > 0 {
			d.add("replicas", failure, "see which nodes are down: `moldau cluster`", "%.0f %s", v, bad.what)
		}
	}
	if open, limit := values["process_open_fds"], values["process_max_fds"]; limit > 0 && open > usedShare*limit {
		d.add("descriptors", warning, "raise it: LimitNOFILE=1048576 in the systemd unit, or ulimit -n", "the node has %.0f of at most %.0f files and connections open", open, limit)
	}
	if len(d.findings) == before {
		d.add("metrics", fine, "", "the node's figures speak of no trouble")
	}
}
