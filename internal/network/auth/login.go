package auth

import (
	"fmt"
	"strings"
)

// login finds a mechanism's login as Kafka does: in sasl.jaas.config with the prefix of listener and mechanism, else in the
// static file, whose section LISTENER.KafkaServer goes before KafkaServer. It must be of the one module that the mechanism has: no
// code is ever loaded by name.
func (o *Options) login(mechanism, module, example string) (Login, error) {
	key := "listener.name." + strings.ToLower(o.Listener) + "." + strings.ToLower(mechanism) + ".sasl.jaas.config"
	line := strings.TrimSpace(module+" required "+example) + ";"
	if text, ok := o.Setting(mechanism, "sasl.jaas.config"); ok && text != "" {
		l, err := ParseJAAS(text)
		if err != nil {
			return Login{}, fmt.Errorf("%s: %w", key, err)
		}
		if l.Module != module {
			return Login{}, fmt.Errorf("%s names another login module than %s, which is the only one for %s: write %s", key, module, mechanism, line)
		}
		return l, nil
	}
	path, ok := o.Setting(mechanism, staticFile)
	if !ok || path == "" {
		return Login{}, fmt.Errorf("there is no login: set %s to: %s", key, line)
	}
	text, err := o.read(path)
	if err != nil {
		return Login{}, fmt.Errorf("reading %s: %w", staticFile, err)
	}
	sections, err := ParseJAASFile(string(text))
	if err != nil {
		return Login{}, fmt.Errorf("%s: %w", path, err)
	}
	own := strings.ToLower(o.Listener) + ".KafkaServer"
	logins, found := sections[own]
	if !found {
		logins, found = sections["KafkaServer"]
	}
	for _, l := range logins {
		if l.Module == module {
			return l, nil
		}
	}
	if found {
		return Login{}, fmt.Errorf("%s has no login for %s: add to its section: %s", path, mechanism, line)
	}
	return Login{}, fmt.Errorf("%s has neither a section KafkaServer nor %s: add one with: %s", path, own, line)
}

// optionalLogin is the login of a mechanism that can do without; ok says that sasl.jaas.config has one.
func (o *Options) optionalLogin(mechanism, module string) (l Login, ok bool, err error) {
	text, ok := o.Setting(mechanism, "sasl.jaas.config")
	if !ok || text == "" {
		return Login{}, false, nil
	}
	l, err = o.login(mechanism, module, "")
	return l, err == nil, err
}

// staticFile is our setting for what Java takes as the system property java.security.auth.login.config.
const staticFile = "moldau.sasl.jaas.file"

func (o *Options) read(path string) ([]byte, error) {
	if o.ReadFile == nil {
		return nil, fmt.Errorf("%s: files cannot be read here", path)
	}
	return o.ReadFile(path)
}
