package cli

import (
	"github.com/spf13/cobra"
)

func shareGroupCommand(e env) *cobra.Command {
	g := &grouping{connection: &connection{env: e}, command: "share-group", only: shareGroup}
	cmd := &cobra.Command{
		Use:   "share-group",
		Short: "List, describe, reset and delete share groups",
		Long: `List, describe, reset and delete share groups (KIP-932), whose members share the records
of a partition and acknowledge them one by one. A share group's offset is its start offset:
all records before it are done with. Records behind it may be done with, too: LAG counts those
that are not.`,
		Example: `  moldau share-group list
  moldau share-group describe workers
  moldau share-group offsets workers
  moldau share-group reset workers --topic orders --to-earliest --execute
  moldau share-group delete workers`,
		Args: noArgs,
		RunE: help,
	}
	g.flags(cmd)
	offsets := &cobra.Command{
		Use:   "offsets [GROUP…]",
		Short: "Show start offsets and lag, of all share groups without names",
		Example: `  moldau share-group offsets
  moldau share-group offsets workers --json`,
		RunE: func(_ *cobra.Command, args []string) error { return g.described(args, printLag) },
	}
	cmd.AddCommand(g.list(), g.describe(), offsets, g.reset(), g.delete())
	return cmd
}
