package cli

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// kafkaVersion is the release of Kafka whose protocol, settings and files this program has.
const kafkaVersion = "4.4"

// versionCommand is `moldau version`.
func versionCommand(e env) *cobra.Command {
	c := &connection{env: e}
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Say which program this is",
		Long:    `Say which version of Moldau this is, what it was built from, and which release of Kafka it follows.`,
		Example: "  moldau version",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			v := thisVersion()
			return c.print(v, func(w io.Writer) {
				fmt.Fprintf(w, "moldau %s (%s, %s, %s/%s), follows Kafka %s\n", v.Version, v.Revision, v.Go, v.OS, v.Arch, v.Kafka)
			})
		},
	}
	cmd.Flags().BoolVar(&c.json, "json", false, "print JSON")
	return cmd
}

// version is what the build knows of itself.
type version struct {
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Go       string `json:"go"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
	Kafka    string `json:"kafka"`
}

func thisVersion() version {
	v := version{Version: "(devel)", Revision: "revision unknown", Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH, Kafka: kafkaVersion}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if info.Main.Version != "" {
		v.Version = info.Main.Version
	}
	changed := false
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value[:min(12, len(s.Value))]
		case "vcs.modified":
			changed = s.Value == "true"
		}
	}
	if changed {
		v.Revision += " with changes"
	}
	return v
}
