package cli

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// noJSON are the commands whose output is for people only, or is made by somebody else.
var noJSON = []string{"start", "storage", "tls", "completion", "help"}

// TestEveryCommand keeps the commands alike: what they say of themselves, --help, --json, and the exit code of a wrong call.
func TestEveryCommand(t *testing.T) {
	root := newRoot(env{in: strings.NewReader(""), out: new(bytes.Buffer), err: new(bytes.Buffer)})
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	var walk func(*cobra.Command)
	walk = func(cmd *cobra.Command) {
		path := strings.Fields(cmd.CommandPath())[1:]
		if len(path) > 0 && (path[0] == "completion" || path[0] == "help") {
			return
		}
		for _, sub := range cmd.Commands() {
			walk(sub)
		}
		if len(path) > 0 {
			checkWords(t, cmd)
		}
		if len(path) > 0 && !cmd.HasSubCommands() && (cmd.Flag("json") == nil) != slices.Contains(noJSON, path[0]) {
			t.Errorf("%s: every command has --json, but for those of noJSON", cmd.CommandPath())
		}
		var out, err bytes.Buffer
		e := env{in: strings.NewReader(""), out: &out, err: &err}
		if code := run(append(slices.Clone(path), "-h"), e); code != exitOK || !strings.Contains(out.String(), "Usage:") {
			t.Errorf("%s -h ends with %d and prints %s", cmd.CommandPath(), code, out.String())
		}
		if code := run(append(slices.Clone(path), "--no-such-flag"), e); code != exitUsage || !strings.Contains(err.String(), "--help` shows the flags") {
			t.Errorf("%s --no-such-flag ends with %d and prints %s", cmd.CommandPath(), code, err.String())
		}
		if !cmd.HasSubCommands() {
			return
		}
		if code := run(append(slices.Clone(path), "no-such-command"), e); code != exitUsage || !strings.Contains(err.String(), "--help` lists the commands") {
			t.Errorf("%s no-such-command ends with %d and prints %s", cmd.CommandPath(), code, err.String())
		}
	}
	walk(root)
}

// checkWords looks at what a command says of itself.
func checkWords(t *testing.T, cmd *cobra.Command) {
	t.Helper()
	if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
		t.Errorf("%s: the short description is %q: it is a sentence without a full stop", cmd.CommandPath(), cmd.Short)
	}
	if cmd.Long != "" && !strings.HasSuffix(cmd.Long, ".") {
		t.Errorf("%s: the long description ends in the middle of a sentence", cmd.CommandPath())
	}
	for line := range strings.Lines(cmd.Long) {
		if n := len([]rune(line)); n > 105 {
			t.Errorf("%s: a line of the description has %d characters: %s", cmd.CommandPath(), n, line)
		}
	}
	if !strings.Contains(cmd.Example, cmd.CommandPath()) {
		t.Errorf("%s: the examples do not show it: %q", cmd.CommandPath(), cmd.Example)
	}
}

// TestCompletion has a shell be offered words, files or nothing, as it fits.
func TestCompletion(t *testing.T) {
	const words, files, nothing = "consumer\n", ":0\n", ":4\n"
	for line, want := range map[string]string{"group list --type ": words, "start --config ": files, "log dump ": files, "topic describe ": nothing, "topic create --config ": nothing} {
		var out bytes.Buffer
		run(append([]string{"__complete"}, strings.Split(line, " ")...), env{in: strings.NewReader(""), out: &out, err: new(bytes.Buffer)})
		if !strings.Contains(out.String(), want) {
			t.Errorf("%s: %s", line, out.String())
		}
	}
}
