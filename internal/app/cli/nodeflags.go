package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// nodeFlags say where the settings of a node on this machine come from. `start`, `doctor` and `storage format` have them.
type nodeFlags struct {
	file, dir string
	set       []string
}

// flags declares them on cmd. config is the letter for --config, if it has one.
func (n *nodeFlags) flags(cmd *cobra.Command, config string) {
	f := cmd.Flags()
	f.StringVarP(&n.file, "config", config, "", "Kafka's server.properties to take the settings from")
	f.StringVar(&n.dir, "dir", "moldau-data", "directory for the data, when there is no --config")
	f.StringArrayVar(&n.set, "set", nil, "one setting as key=value, by Kafka's name; may be repeated")
}

// text gives the text of the file, nil without one. It refuses flags of cmd that mean nothing beside --config.
func (n *nodeFlags) text(cmd *cobra.Command) ([]byte, error) {
	if n.file == "" {
		return nil, nil
	}
	for flag, key := range map[string]string{"dir": "log.dirs", "listen": "listeners", "http": httpListenerSetting} {
		if cmd.Flags().Changed(flag) {
			return nil, usagef("--%s has no effect beside --config: set %s in %s, or give --set %s=…", flag, key, n.file, key)
		}
	}
	text, err := os.ReadFile(n.file)
	if err != nil {
		return nil, fmt.Errorf("the configuration cannot be read: %w", err)
	}
	return text, nil
}

// settings are those of --set.
func (n *nodeFlags) settings() (map[string]string, error) {
	values, err := keyValues("--set", n.set)
	out := make(map[string]string, len(values))
	for key, value := range values {
		out[strings.TrimSpace(key)] = *value
	}
	return out, err
}
