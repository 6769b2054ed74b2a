// Package cli is the command line: `moldau start`, `moldau topic …` and the rest.
//
// Duty: every command turns flags into a request to a node by way of the public
// client (franz-go), or runs a node (package moldau), and prints what people read by
// default, or JSON with --json. Errors say what, why and what to do; the exit code
// is 0 for success, 1 for a failure and 2 for a wrong call.
//
// Called by cmd/moldau only. It must never reach into a node's parts: what it
// does to a node, any Kafka client can do.
package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes that scripts can trust.
const (
	exitOK      = 0
	exitFailure = 1
	exitUsage   = 2
)

// usageError is a wrong call: bad flags or arguments.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// usagef makes the error of a wrong call.
func usagef(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// env is what a command writes to and reads from.
type env struct {
	in       io.Reader
	out, err io.Writer
}

// Main runs the command line and gives the exit code.
func Main(args []string) int {
	return run(args, env{in: os.Stdin, out: os.Stdout, err: os.Stderr})
}

func run(args []string, e env) int {
	root := newRoot(e)
	root.SetArgs(args)
	err := root.Execute()
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(e.err, "moldau: %v\n", err)
	var wrong usageError
	if errors.As(err, &wrong) || strings.HasPrefix(err.Error(), "unknown command") {
		return exitUsage
	}
	return exitFailure
}

// newRoot builds the tree of commands.
func newRoot(e env) *cobra.Command {
	root := &cobra.Command{
		Use:   "moldau",
		Short: "A durable log that speaks Apache Kafka",
		Long: `Moldau is Apache Kafka on the wire and on disk, in one program.

Start a node, then use it with any Kafka client or with these commands.`,
		Example: `  moldau start
  moldau topic create orders --partitions 3
  echo hello | moldau produce orders
  moldau consume orders --from start`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noArgs,
		RunE:          help,
	}
	root.SetIn(e.in)
	root.SetOut(e.out)
	root.SetErr(e.err)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return usagef("%s: `%s --help` shows the flags", flagWords(err), cmd.CommandPath())
	})
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp) // names of topics and groups are no files
	root.AddCommand(startCommand(e), topicCommand(e), produceCommand(e), consumeCommand(e), configCommand(e), clusterCommand(e), logCommand(e), userCommand(e), storageCommand(e),
		groupCommand(e), aclCommand(e), shareGroupCommand(e), txnCommand(e), perfCommand(e), doctorCommand(e), versionCommand(e), tlsCommand(e))
	completeFlags(root)
	return root
}

// completeFlags has a shell complete what flags take: names of files, or one of a few words.
func completeFlags(cmd *cobra.Command) {
	words := map[string][]cobra.Completion{
		"acks": {"all", "leader", "none"}, "compression": {"none", "gzip", "snappy", "lz4", "zstd"}, "log-level": {"debug", "info", "warn", "error"},
		"login-mechanism": {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER"}, "type": groupTypes,
	}
	for _, file := range []string{"config", "dir", "command-config", "tls-ca", "tls-cert", "tls-key", "login-password", "password-file", "from-file"} {
		words[file] = nil
	}
	for name, known := range words {
		directive := cobra.ShellCompDirectiveNoFileComp
		if known == nil {
			directive = cobra.ShellCompDirectiveDefault
		}
		if f := cmd.Flag(name); f != nil && !strings.HasSuffix(f.Value.Type(), "Array") { // an inherited one is registered already
			_ = cmd.RegisterFlagCompletionFunc(name, cobra.FixedCompletions(known, directive))
		}
	}
	for _, sub := range cmd.Commands() {
		completeFlags(sub)
	}
}

// help is what a command does that has nothing but subcommands.
func help(cmd *cobra.Command, _ []string) error { return cmd.Help() }

// noArgs is for commands that take flags only, or subcommands.
func noArgs(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case cmd.HasSubCommands():
		return unknownCommand(cmd, args[0])
	default:
		return usagef("%s takes no argument, and got %q: `%s --help` shows the flags", cmd.CommandPath(), args[0], cmd.CommandPath())
	}
}

// unknownCommand is the error of a subcommand that there is not.
func unknownCommand(cmd *cobra.Command, name string) error {
	cmd.SuggestionsMinimumDistance = 2
	meant := ""
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		meant = fmt.Sprintf(" (did you mean %s?)", strings.Join(near, " or "))
	}
	return usagef("unknown command %q%s: `%s --help` lists the commands", name, meant, cmd.CommandPath())
}

// flagWords says what is wrong with a flag, without the names of Go's functions.
func flagWords(err error) string {
	text := err.Error()
	if at := strings.Index(text, ": strconv."); at >= 0 {
		text = text[:at] + ": not a number"
		if errors.Is(err, strconv.ErrRange) {
			text += " that fits"
		}
	}
	if at := strings.Index(text, ": time: "); at >= 0 {
		text = text[:at] + ": write it as 500ms, 30s or 2h30m"
	}
	return text
}
