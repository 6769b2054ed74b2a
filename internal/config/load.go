package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Sources is where the static settings of a node come from, the weakest first.
type Sources struct {
	// File is the content of server.properties, and FileName what to call it in messages.
	File     []byte
	FileName string
	// Environ is the environment as os.Environ gives it.
	Environ []string
	// Set is the settings of the command line, each as key=value.
	Set []string
}

// Load merges the sources and checks every setting by itself. The notices are
// lines for the operator on settings that were accepted and do nothing. A key
// that is not known is an error, except in the environment, where other
// programs leave names of the same form.
func Load(s Sources) (*BrokerConfig, []string, error) {
	var errs []error
	values := Values{}
	props, err := ParseProperties(s.File)
	if err != nil {
		errs = append(errs, fmt.Errorf("%s: %w", s.FileName, err))
	}
	for _, p := range props {
		if err := checkBrokerKey(p.Key, p.Value); err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", s.FileName, p.Line, err))
			continue
		}
		values[p.Key] = p.Value
	}
	fromEnviron, notices := Environment(s.Environ)
	maps.Copy(values, fromEnviron)
	for _, text := range s.Set {
		key, value, ok := strings.Cut(text, "=")
		key = strings.TrimSpace(key)
		if !ok || key == "" {
			errs = append(errs, fmt.Errorf("--set %q: write it as key=value", text))
			continue
		}
		if err := checkBrokerKey(key, value); err != nil {
			errs = append(errs, fmt.Errorf("--set %s: %w", key, err))
			continue
		}
		values[key] = value
	}
	if err := errors.Join(errs...); err != nil {
		return nil, notices, err
	}
	b, err := NewBroker(values)
	return b, append(notices, Notices(values)...), err
}

// Notices is one line for each setting that is accepted and has no effect:
// it steers a part of the JVM, is gone from Kafka, or waits for a part of
// Moldau that is not there yet.
func Notices(values Values) []string {
	var lines []string
	for _, key := range slices.Sorted(maps.Keys(values)) {
		d, ok := LookupBroker(key)
		if !ok {
			d, _, ok = LookupListener(key)
		}
		if !ok {
			if why := removedNotice(key); why != "" {
				lines = append(lines, key+" is ignored: it "+why+".")
			}
			continue
		}
		switch d.Support {
		case JVMOnly:
			lines = append(lines, key+" is ignored: it steers a part of Kafka's Java process that Moldau does not have.")
		case Planned:
			lines = append(lines, key+" is accepted but has no effect yet.")
		case Honoured:
		}
	}
	return lines
}

// environPrefixes are the prefixes of the container images of Kafka, Bitnami and ourselves; the longer first.
var environPrefixes = []string{"KAFKA_CFG_", "KAFKA_", "MOLDAU_"}

// launcherNames are variables with Kafka's prefix that its start scripts read themselves; they are no settings.
var launcherNames = []string{
	"KAFKA_CLUSTER_ID", "KAFKA_DEBUG", "KAFKA_GC_LOG_OPTS", "KAFKA_HEAP_OPTS", "KAFKA_HOME", "KAFKA_JMX_HOSTNAME", "KAFKA_JMX_OPTS", "KAFKA_JMX_PORT",
	"KAFKA_JVM_PERFORMANCE_OPTS", "KAFKA_LOG4J_LOGGERS", "KAFKA_LOG4J_OPTS", "KAFKA_LOG4J_ROOT_LOGLEVEL", "KAFKA_OPTS", "KAFKA_TOOLS_LOG4J_LOGLEVEL", "KAFKA_VERSION",
}

// Environment takes the settings out of an environment, named as in Kafka's
// container image: KAFKA_ and the key in capitals, its '.' written '_', its
// '_' written '__' and its '-' written '___'. What is not a setting, or not a
// valid one, is left out with a notice.
func Environment(environ []string) (Values, []string) {
	values := Values{}
	var notices []string
	// A stronger prefix must win wherever it stands: weaker ones are read first.
	for _, prefix := range []int{0, 1, 2} {
		for _, variable := range slices.Sorted(slices.Values(environ)) {
			name, value, _ := strings.Cut(variable, "=")
			if prefixOf(name) != prefix || slices.Contains(launcherNames, name) {
				continue
			}
			key := EnvironmentKey(strings.TrimPrefix(name, environPrefixes[prefix]))
			if _, ok := LookupBroker("moldau." + key); ok && environPrefixes[prefix] == "MOLDAU_" {
				key = "moldau." + key
			}
			if err := checkBrokerKey(key, value); err != nil {
				notices = append(notices, "The environment's "+name+" is ignored: "+err.Error()+".")
				continue
			}
			values[key] = value
		}
	}
	return values, notices
}

// prefixOf is the place in environPrefixes of the prefix that name has, or -1.
func prefixOf(name string) int {
	return slices.IndexFunc(environPrefixes, func(p string) bool { return strings.HasPrefix(name, p) && len(name) > len(p) })
}

// EnvironmentKey is the key that a variable's name stands for, its prefix
// already gone: LOG_DIRS is log.dirs, A__B is a_b, A___B is a-b.
func EnvironmentKey(name string) string {
	var b strings.Builder
	for i := 0; i < len(name); {
		run := len(name[i:]) - len(strings.TrimLeft(name[i:], "_"))
		if run == 0 {
			b.WriteByte(name[i])
			i++
			continue
		}
		i += run
		for ; run >= 3; run -= 3 {
			b.WriteByte('-')
		}
		b.WriteString([]string{"", ".", "_"}[run])
	}
	return strings.ToLower(b.String())
}
