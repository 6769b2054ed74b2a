package config

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// NodeListeners is where a node listens and what it tells others to connect to.
type NodeListeners struct {
	Broker     []Listener // for clients and other brokers; empty on a mere controller
	Controller []Listener // for the quorum; empty on a mere broker
	// Advertised is what clients and brokers are told; a subset of Broker by name.
	Advertised []Listener
	// AdvertisedController is what the quorum is told.
	AdvertisedController []Listener
	// InterBroker is the name of the listener that brokers use among themselves.
	InterBroker string
	// ControllerNames are the names under which controllers listen; a broker connects to the first.
	ControllerNames []string
	// Protocols is the protection of every named listener.
	Protocols map[string]SecurityProtocol
}

// CheckNode tells whether the static settings make a node: all contradictions
// between them, each as one sentence. Kafka stops at the first.
func (b *BrokerConfig) CheckNode() error {
	if err := b.checkIdentity(); err != nil {
		return err
	}
	errs := []error{b.checkQuorum(), b.checkSizes(), b.checkConnections(), b.checkDirs(), b.checkGroups(), b.checkHTTP()}
	l, err := b.Listeners()
	errs = append(errs, err)
	if err == nil {
		errs = append(errs, b.checkEarlyStart(l))
	}
	return errors.Join(errs...)
}

func (b *BrokerConfig) checkIdentity() error {
	var errs []error
	for _, key := range []string{"process.roles", "controller.listener.names"} {
		if !b.IsSet(key) {
			errs = append(errs, fmt.Errorf("%s is not set and has no default", key))
		}
	}
	if b.NodeID() < 0 {
		errs = append(errs, errors.New("node.id is not set and has no default: give each node of the cluster its own number from 0"))
	}
	if b.IsSet("node.id") && b.IsSet("broker.id") && b.GetInt("node.id") != b.GetInt("broker.id") {
		errs = append(errs, fmt.Errorf("node.id is %d and broker.id is %d: they must be equal, and node.id alone is enough", b.GetInt("node.id"), b.GetInt("broker.id")))
	}
	return errors.Join(errs...)
}

func (b *BrokerConfig) checkQuorum() error {
	voters, err := ParseVoters(b.GetString("controller.quorum.voters"))
	if err != nil {
		return err
	}
	isVoter := slices.ContainsFunc(voters, func(v Voter) bool { return v.ID == b.NodeID() })
	switch controller := b.HasRole("controller"); {
	case len(voters) == 0 && len(b.GetList("controller.quorum.bootstrap.servers")) == 0:
		return errors.New("neither controller.quorum.bootstrap.servers nor controller.quorum.voters is set, so the controllers cannot be found")
	case len(voters) > 0 && controller && !isVoter:
		return fmt.Errorf("process.roles has controller, so node.id %d must be among controller.quorum.voters, which are %s", b.NodeID(), b.GetString("controller.quorum.voters"))
	case len(voters) > 0 && !controller && isVoter:
		return fmt.Errorf("process.roles is broker alone, so node.id %d must not be among controller.quorum.voters, which are %s", b.NodeID(), b.GetString("controller.quorum.voters"))
	case !controller && b.GetBool("controller.quorum.auto.join.enable"):
		return errors.New("controller.quorum.auto.join.enable is set, but process.roles does not have controller")
	}
	return nil
}

// Listeners works out the listeners of the node.
func (b *BrokerConfig) Listeners() (*NodeListeners, error) {
	l := &NodeListeners{}
	for _, name := range b.GetList("controller.listener.names") {
		l.ControllerNames = append(l.ControllerNames, strings.ToUpper(name))
	}
	var err error
	if l.Protocols, err = b.protocols(l.ControllerNames); err != nil {
		return nil, err
	}
	bound, err := ParseListeners(b.GetString("listeners"), l.Protocols)
	if err != nil {
		return nil, fmt.Errorf("listeners: %w", err)
	}
	if err := checkPorts("listeners", bound); err != nil {
		return nil, err
	}
	l.Broker, l.Controller = l.split(bound)
	advertised, err := ParseListeners(b.GetString("advertised.listeners"), l.Protocols)
	if err != nil {
		return nil, fmt.Errorf("advertised.listeners: %w", err)
	}
	l.Advertised, l.AdvertisedController = l.split(advertised)
	if len(advertised) == 0 {
		l.Advertised = l.Broker
	}
	if len(l.AdvertisedController) == 0 {
		l.AdvertisedController = l.Controller
	}
	if l.InterBroker, err = b.interBroker(l.Protocols); err != nil {
		return nil, err
	}
	return l, b.checkRoles(l)
}

// protocols is listener.security.protocol.map. Controller listeners that nobody mapped are plaintext, as long as
// the map is Kafka's own and nothing else is protected.
func (b *BrokerConfig) protocols(controllers []string) (map[string]SecurityProtocol, error) {
	protocols, err := ParseSecurityMap(b.GetString("listener.security.protocol.map"))
	if err != nil {
		return nil, err
	}
	plain := !b.IsSet("listener.security.protocol.map")
	for _, entry := range b.GetList("listeners") {
		name, _, _ := strings.Cut(strings.ToUpper(entry), "://")
		if p, ok := parseSecurityProtocol(name); ok && p != Plaintext {
			plain = false
		}
	}
	for _, name := range controllers {
		if _, ok := protocols[name]; ok {
			continue
		}
		if !plain {
			return nil, fmt.Errorf("controller listener %s of controller.listener.names is not in listener.security.protocol.map: add %s:PLAINTEXT, or another protocol, to it "+
				"(only while that map is not set and every listener is PLAINTEXT does it go without)", name, name)
		}
		protocols[name] = Plaintext
	}
	return protocols, nil
}

// split parts broker listeners from controller listeners.
func (l *NodeListeners) split(all []Listener) (broker, controller []Listener) {
	for _, x := range all {
		if slices.Contains(l.ControllerNames, x.Name) {
			controller = append(controller, x)
		} else {
			broker = append(broker, x)
		}
	}
	return broker, controller
}

// interBroker is the name of the listener that brokers use among themselves.
func (b *BrokerConfig) interBroker(protocols map[string]SecurityProtocol) (string, error) {
	if !b.IsSet("inter.broker.listener.name") {
		return b.GetString("security.inter.broker.protocol"), nil
	}
	if b.IsSet("security.inter.broker.protocol") {
		return "", errors.New("only one of inter.broker.listener.name and security.inter.broker.protocol can be set")
	}
	name := strings.ToUpper(b.GetString("inter.broker.listener.name"))
	if _, ok := protocols[name]; !ok {
		return "", fmt.Errorf("inter.broker.listener.name is %s, which is not in listener.security.protocol.map", name)
	}
	return name, nil
}

// checkRoles tells whether the listeners fit process.roles.
func (b *BrokerConfig) checkRoles(l *NodeListeners) error {
	broker, controller := b.HasRole("broker"), b.HasRole("controller")
	switch {
	case controller && len(l.Controller) == 0:
		return fmt.Errorf("process.roles has controller, so listeners must have one of controller.listener.names (%s)", strings.Join(l.ControllerNames, ", "))
	case !controller && len(l.Controller) > 0:
		return fmt.Errorf("process.roles is broker alone, so listeners must not have the controllers' listener %s", l.Controller[0].Name)
	case !broker && len(l.Broker) > 0:
		return fmt.Errorf("process.roles is controller alone, so listeners must have controller listeners only, but has %s", l.Broker[0].Name)
	case !broker:
		return nil
	}
	return checkAdvertised(l)
}

func checkAdvertised(l *NodeListeners) error {
	names := listenerNames(l.Broker)
	for _, a := range l.Advertised {
		switch addr, err := netip.ParseAddr(a.Host); {
		case err == nil && addr.IsUnspecified():
			return fmt.Errorf("advertised.listeners has %s, an address that nobody can connect to: set advertised.listeners to a name or address that clients reach this node by", a)
		case !slices.Contains(names, a.Name):
			return fmt.Errorf("advertised.listeners has %s, but listeners has only %s", a.Name, strings.Join(names, ", "))
		}
	}
	if names := listenerNames(l.Advertised); !slices.Contains(names, l.InterBroker) {
		return fmt.Errorf("brokers talk to each other over %s (inter.broker.listener.name or security.inter.broker.protocol), which is not among the advertised listeners: %s",
			l.InterBroker, strings.Join(names, ", "))
	}
	return nil
}

func listenerNames(list []Listener) []string {
	names := make([]string, len(list))
	for i, l := range list {
		names[i] = l.Name
	}
	return names
}

func (b *BrokerConfig) checkEarlyStart(l *NodeListeners) error {
	for _, name := range b.GetList("early.start.listeners") {
		name = strings.ToUpper(name)
		if !slices.Contains(listenerNames(l.Broker), name) && !slices.Contains(l.ControllerNames, name) {
			return fmt.Errorf("early.start.listeners has %s, which is in neither listeners nor controller.listener.names", name)
		}
	}
	return nil
}

// minCleanerBuffer is the least part of log.cleaner.dedupe.buffer.size that a cleaner thread works with.
const minCleanerBuffer = 1 << 20

func (b *BrokerConfig) checkSizes() error {
	var errs []error
	fail := func(bad bool, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	fail(b.GetLong("replica.fetch.wait.max.ms") > b.GetLong("replica.socket.timeout.ms"),
		"replica.fetch.wait.max.ms is beyond replica.socket.timeout.ms, so that followers would give up connections that merely wait")
	fail(b.GetLong("replica.fetch.wait.max.ms") > b.GetLong("replica.lag.time.max.ms"),
		"replica.fetch.wait.max.ms is beyond replica.lag.time.max.ms, so that followers of quiet partitions would leave the ISR")
	queued := b.GetLong("queued.max.request.bytes")
	fail(queued > 0 && queued < b.GetLong("socket.request.max.bytes"), "queued.max.request.bytes is below socket.request.max.bytes, so that the largest request would never fit")
	fail(b.GetLong("log.retention.ms") == 0, "log.retention.ms is 0: it must be -1, for no end, or at least 1")
	fail(b.GetLong("log.cleaner.dedupe.buffer.size")/max(1, b.GetLong("log.cleaner.threads")) < minCleanerBuffer,
		"log.cleaner.dedupe.buffer.size must be at least 1 MiB for each of log.cleaner.threads")
	for _, key := range []string{"offsets.topic.compression.codec", "share.coordinator.state.topic.compression.codec"} {
		codec := b.GetInt(key)
		fail(codec < 0 || codec > 4, "%s is %d: it must be 0 (none), 1 (gzip), 2 (snappy), 3 (lz4) or 4 (zstd)", key, codec)
	}
	return errors.Join(errs...)
}

func (b *BrokerConfig) checkConnections() error {
	overrides := b.GetString("max.connections.per.ip.overrides")
	if b.GetInt("max.connections.per.ip") == 0 && overrides == "" {
		return errors.New("max.connections.per.ip is 0 and max.connections.per.ip.overrides is empty, so that nobody could connect")
	}
	_, err := ParseConnectionOverrides(overrides)
	return err
}

// ParseConnectionOverrides reads max.connections.per.ip.overrides: address:count, separated by commas.
func ParseConnectionOverrides(text string) (map[string]int, error) {
	out := map[string]int{}
	for _, entry := range ParseList(text) {
		i := strings.LastIndexByte(entry, ':')
		if i <= 0 || strings.ContainsAny(entry[:i], "# /") {
			return nil, fmt.Errorf("max.connections.per.ip.overrides has %q: write each as address:count", entry)
		}
		count, err := strconv.ParseUint(entry[i+1:], 10, 31)
		if err != nil {
			return nil, fmt.Errorf("max.connections.per.ip.overrides has %q: %q is not a count", entry, entry[i+1:])
		}
		out[entry[:i]] = int(count)
	}
	return out, nil
}

func (b *BrokerConfig) checkDirs() error {
	dirs := b.LogDirs()
	for _, dir := range b.GetList("cordoned.log.dirs") {
		if dir != "*" && !slices.Contains(dirs, dir) {
			return fmt.Errorf("cordoned.log.dirs has %s, which is not among log.dirs: %s", dir, strings.Join(dirs, ", "))
		}
	}
	return nil
}

func (b *BrokerConfig) checkGroups() error {
	var errs []error
	if !slices.Contains(b.GetList("group.coordinator.rebalance.protocols"), "classic") {
		errs = append(errs, errors.New("group.coordinator.rebalance.protocols must have classic"))
	}
	for _, kind := range []string{"consumer", "share", "streams"} {
		p := "group." + kind + "."
		for _, what := range []string{"heartbeat.interval.ms", "session.timeout.ms", "assignment.interval.ms"} {
			errs = append(errs, b.checkBetween(p+"min."+what, p+what, p+"max."+what))
		}
		if b.GetInt(p+"session.timeout.ms") <= b.GetInt(p+"heartbeat.interval.ms") {
			errs = append(errs, fmt.Errorf("%ssession.timeout.ms must be above %sheartbeat.interval.ms, or members would be dropped between heartbeats", p, p))
		}
	}
	for _, what := range []string{"record.lock.duration.ms", "delivery.count.limit", "partition.max.record.locks"} {
		errs = append(errs, b.checkBetween("group.share.min."+what, "group.share."+what, "group.share.max."+what))
	}
	errs = append(errs, b.checkBetween("group.min.session.timeout.ms", "", "group.max.session.timeout.ms"))
	for _, name := range b.GetList("group.consumer.assignors") {
		if ConsumerAssignor(name) == "" {
			errs = append(errs, fmt.Errorf("group.consumer.assignors has %q: it may have uniform and range, or Kafka's classes for them; "+
				"Java classes of one's own cannot run here", name))
		}
	}
	return errors.Join(errs...)
}

// ConsumerAssignor is the name of an assignor that may be given by its Java class, too; "" when there is none such.
func ConsumerAssignor(name string) string {
	switch name {
	case "uniform", "org.apache.kafka.coordinator.group.assignor.UniformAssignor":
		return "uniform"
	case "range", "org.apache.kafka.coordinator.group.assignor.RangeAssignor":
		return "range"
	}
	return ""
}

// checkHTTP tells whether moldau.http.listener is an address.
func (b *BrokerConfig) checkHTTP() error {
	text := b.GetString("moldau.http.listener")
	if text == "" {
		return nil
	}
	if _, _, ok := splitAddress(text); !ok {
		return fmt.Errorf("moldau.http.listener is %q: write it as host:port, for example localhost:9644, or leave it empty for none", text)
	}
	return nil
}

// checkBetween tells whether low ≤ key ≤ high. An empty key checks low ≤ high alone.
func (b *BrokerConfig) checkBetween(low, key, high string) error {
	if key == "" {
		key = low
	}
	if b.GetLong(low) > b.GetLong(high) {
		return fmt.Errorf("%s is %d, above %s, which is %d", low, b.GetLong(low), high, b.GetLong(high))
	}
	if n := b.GetLong(key); n < b.GetLong(low) || n > b.GetLong(high) {
		return fmt.Errorf("%s is %d: it must be between %s (%d) and %s (%d)", key, n, low, b.GetLong(low), high, b.GetLong(high))
	}
	return nil
}
