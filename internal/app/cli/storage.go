package cli

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/moldau/moldau"
)

// maxScramUsers bounds the users that one format may bring along.
const maxScramUsers = 10_000

func storageCommand(e env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "storage",
		Short: "Make data directories before the first start",
		Example: `  moldau storage format --config server.properties
  moldau storage format --config server.properties --add-scram 'SCRAM-SHA-512=[name=admin,password=admin-secret]'
  moldau storage format --config server.properties --add-scram @users.txt --release-version 4.3
  moldau storage random-uuid`,
		Args: noArgs,
		RunE: help,
	}
	cmd.AddCommand(storageFormat(e), &cobra.Command{
		Use: "random-uuid", Short: "Print an id for a cluster", Args: noArgs,
		Example: `  moldau storage format --config server.properties --cluster-id $(moldau storage random-uuid)`,
		RunE: func(*cobra.Command, []string) error {
			fmt.Fprintln(e.out, moldau.NewClusterID())
			return nil
		},
	})
	return cmd
}

func storageFormat(e env) *cobra.Command {
	var n nodeFlags
	var voters string
	var scram []string
	var standalone, noVoters bool
	o := moldau.FormatOptions{}
	cmd := &cobra.Command{
		Use:   "format",
		Short: "Format the data directories of a new cluster of one node",
		Long: `Format the data directories of a new cluster of one node.

A node formats empty directories by itself when it starts; this is for a cluster that shall
begin with users (so that clients can log in before anybody has set a password), with another
release, or with an id of your choice. The flags are those of Kafka's storage tool.

What stands in --add-scram is seen by whoever may list the processes of this machine: a file, as
--add-scram @FILE with one user a line, is not.`,
		Example: `  moldau storage format --config server.properties
  moldau storage format --config server.properties --add-scram @users.txt --release-version 4.3`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if noVoters || voters != "" {
				return errors.New("a node of this release founds a cluster of its own and joins no other: leave out --no-initial-controllers and --initial-controllers")
			}
			o.Dir, o.Environ, o.PropertiesName = n.dir, os.Environ(), n.file
			var err error
			if o.Properties, err = n.text(cmd); err != nil {
				return err
			}
			if o.Settings, err = n.settings(); err != nil {
				return err
			}
			if o.Scram, err = scramArguments(scram); err != nil {
				return err
			}
			return format(e, o)
		},
	}
	n.flags(cmd, "c")
	f := cmd.Flags()
	f.StringVarP(&o.ClusterID, "cluster-id", "t", "", "the new cluster's id; one is drawn without it")
	f.StringArrayVarP(&scram, "add-scram", "S", nil, "a user to begin with, as MECHANISM=[name=NAME,password=PASSWORD], or @FILE with one a line; may be repeated")
	f.BoolVarP(&o.IgnoreFormatted, "ignore-formatted", "g", false, "let directories be that are formatted")
	f.StringVarP(&o.Release, "release-version", "r", "", "the metadata.version to begin with, as 4.3 or 4.3-IV0")
	f.StringArrayVarP(&o.Features, "feature", "f", nil, "the level of a feature to begin with, as NAME=LEVEL; may be repeated")
	f.BoolVarP(&standalone, "standalone", "s", true, "this node is the cluster's only controller")
	f.BoolVarP(&noVoters, "no-initial-controllers", "N", false, "join another cluster: not yet")
	f.StringVarP(&voters, "initial-controllers", "I", "", "other controllers: not yet")
	return cmd
}

func format(e env, o moldau.FormatOptions) error {
	done, err := moldau.Format(o)
	if err != nil {
		return err
	}
	if len(done.Dirs) == 0 {
		fmt.Fprintln(e.out, "All of the log directories are already formatted.")
		return nil
	}
	for _, d := range done.Dirs {
		fmt.Fprintf(e.out, "Formatted %s for cluster %s with metadata.version %s.\n", d, done.ClusterID, done.Release)
	}
	for _, u := range done.Users {
		fmt.Fprintf(e.out, "The cluster begins with the user %s.\n", u)
	}
	return nil
}

// scramArguments are users as they were given, those in files included.
func scramArguments(given []string) ([]string, error) {
	var all []string
	for _, text := range given {
		path, ok := strings.CutPrefix(text, "@")
		if !ok {
			all = append(all, text)
			continue
		}
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("the users cannot be read: %w", err)
		}
		lines := bufio.NewScanner(f)
		for lines.Scan() {
			if line := strings.TrimSpace(lines.Text()); line != "" && line[0] != '#' {
				all = append(all, line)
			}
		}
		if err := errors.Join(lines.Err(), f.Close()); err != nil {
			return nil, fmt.Errorf("the users in %s cannot be read: %w", path, err)
		}
	}
	if len(all) > maxScramUsers {
		return nil, fmt.Errorf("%d users are too many for a format, which takes %d: set the others with `moldau user set`", len(all), maxScramUsers)
	}
	return all, nil
}
