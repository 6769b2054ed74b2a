package cli

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/moldau/moldau/internal/disk/inspect"
	"github.com/moldau/moldau/internal/disk/vfs"
)

func logCommand(e env) *cobra.Command {
	l := &logFiles{env: e}
	cmd := &cobra.Command{
		Use:   "log",
		Short: "Look at the files of a data directory: dump and verify",
		Long: `Look at the files of a data directory, Kafka's or Moldau's, without a node.

Nothing is ever changed. On a directory that a node serves at the moment the newest writes may look torn.`,
		Example: `  moldau log dump moldau-data/orders-0
  moldau log verify moldau-data`,
		Args: noArgs,
		RunE: help,
	}
	cmd.PersistentFlags().BoolVar(&l.json, "json", false, "print JSON")
	cmd.AddCommand(logDump(l), logVerify(l))
	return cmd
}

// logFiles is what the commands on files have in common.
type logFiles struct {
	env
	json bool
}

// paths demands one or more files or directories.
func paths(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return usagef("%s needs a file or directory: `%s --help` shows examples", cmd.CommandPath(), cmd.CommandPath())
	}
	return nil
}

// named is a path whose last element is a name, which says what a file or directory is.
func named(path string) string {
	if base := filepath.Base(path); base == "." || base == ".." {
		if absolute, err := filepath.Abs(path); err == nil {
			return absolute
		}
	}
	return path
}

func logDump(l *logFiles) *cobra.Command {
	var o inspect.DumpOptions
	cmd := &cobra.Command{
		Use:               "dump PATH…",
		ValidArgsFunction: cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault),
		Short:             "Show what is in files: batches, records, index entries, checkpoints",
		Long: `Show what is in files: batches, records, index entries, checkpoints.

A partition's directory stands for its segments, a data directory for the small files in it.
With --deep the records are shown too; those of the metadata log and of the coordinators' topics
are decoded.`,
		Example: `  moldau log dump moldau-data/orders-0
  moldau log dump moldau-data/orders-0 --deep --offset 1000 --count 10
  moldau log dump moldau-data/__cluster_metadata-0 --deep --json
  moldau log dump moldau-data/orders-0/00000000000000000000.index`,
		Args: paths,
		RunE: func(_ *cobra.Command, args []string) error {
			if o.Offset < 0 || o.Count < 0 {
				return usagef("--offset and --count are numbers from 0 on")
			}
			out := bufio.NewWriter(l.out)
			p := &entryPrinter{out: out, json: l.json}
			for _, path := range args {
				if err := inspect.Dump(vfs.NewOS(), named(path), o, p.print); err != nil {
					return errors.Join(err, out.Flush())
				}
			}
			if err := out.Flush(); err != nil {
				return err
			}
			if p.damaged > 0 {
				return fmt.Errorf("%s cannot be read: `moldau log verify` tells what to do", count(p.damaged, "piece"))
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.Deep, "deep", false, "also show records")
	f.Int64Var(&o.Offset, "offset", 0, "leave out what is below this offset")
	f.Int64VarP(&o.Count, "count", "n", 0, "end after so many batches, or records with --deep, of each PATH; 0 means all")
	return cmd
}

// entryPrinter prints what Dump finds.
type entryPrinter struct {
	out     *bufio.Writer
	json    bool
	path    string // the file that was printed last
	damaged int
}

func (p *entryPrinter) print(e *inspect.Entry) error {
	if e.Kind == "damage" || hasError(e.Fields) {
		p.damaged++
	}
	if p.json {
		f := append(inspect.Fields{{Name: "path", Value: e.Path}, {Name: "position", Value: e.Pos}, {Name: "kind", Value: e.Kind}}, e.Fields...)
		enc := json.NewEncoder(p.out)
		enc.SetEscapeHTML(false)
		return enc.Encode(textual(f))
	}
	if e.Path != p.path {
		if p.path != "" {
			fmt.Fprintln(p.out)
		}
		p.path = e.Path
		fmt.Fprintln(p.out, e.Path)
	}
	indent := "  "
	if e.Kind == "record" {
		indent = "    "
	}
	_, err := fmt.Fprintf(p.out, "%s%s %s\n", indent, head(e), people(e.Fields))
	return err
}

// head says what an entry is and where, in a word or two.
func head(e *inspect.Entry) string {
	switch e.Kind {
	case "record":
		return "record"
	case "epoch", "offset", "property":
		return fmt.Sprintf("line %d:", e.Pos)
	}
	return fmt.Sprintf("%s at %d:", e.Kind, e.Pos)
}

func hasError(f inspect.Fields) bool {
	for _, field := range f {
		if field.Name == "error" {
			return true
		}
	}
	return false
}

// textual makes bytes in fields what jsonBytes makes of them.
func textual(v any) any {
	switch v := v.(type) {
	case []byte:
		return newJSONBytes(v)
	case inspect.Fields:
		out := make(inspect.Fields, len(v))
		for i, f := range v {
			out[i] = inspect.Field{Name: f.Name, Value: textual(f.Value)}
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = textual(v[i])
		}
		return out
	}
	return v
}

// people writes fields as name=value.
func people(f inspect.Fields) string {
	var b strings.Builder
	for i, field := range f {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(field.Name)
		b.WriteByte('=')
		writeValue(&b, field.Value)
	}
	return b.String()
}

func writeValue(b *strings.Builder, v any) {
	switch v := v.(type) {
	case nil:
		b.WriteString("null")
	case []byte:
		if utf8.Valid(v) {
			fmt.Fprintf(b, "%q", v)
		} else {
			fmt.Fprintf(b, "0x%x", v)
		}
	case inspect.Fields:
		b.WriteByte('{')
		b.WriteString(people(v))
		b.WriteByte('}')
	case []any:
		b.WriteByte('[')
		for i := range v {
			if i > 0 {
				b.WriteByte(' ')
			}
			writeValue(b, v[i])
		}
		b.WriteByte(']')
	case json.RawMessage:
		b.Write(v)
	case string:
		if strings.ContainsAny(v, " \t\n\"") {
			fmt.Fprintf(b, "%q", v)
			return
		}
		b.WriteString(v)
	default:
		fmt.Fprint(b, v)
	}
}

func logVerify(l *logFiles) *cobra.Command {
	var o inspect.VerifyOptions
	cmd := &cobra.Command{
		Use:               "verify PATH…",
		ValidArgsFunction: cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault),
		Short:             "Check data directories, partitions or files, and say what is wrong",
		Long: `Check data directories, partitions or files, and say what is wrong.

Looked at are the checksum and order of every batch, indexes, producer snapshots, checkpoints
and the journal. The exit code is 1 when something is damaged. What a crash leaves behind, and
the next start puts right, is told as a note and is no damage.`,
		Example: `  moldau log verify moldau-data
  moldau log verify moldau-data/orders-0 --deep
  moldau log verify /var/lib/kafka/data --json`,
		Args: paths,
		RunE: func(_ *cobra.Command, args []string) error {
			return l.verify(args, o)
		},
	}
	cmd.Flags().BoolVar(&o.Deep, "deep", false, "also unpack batches and decode records")
	return cmd
}

// verified is the answer of `log verify --json` for one PATH.
type verified struct {
	Path     string            `json:"path"`
	Problems []inspect.Problem `json:"found"`
	Summary  inspect.Summary   `json:"summary"`
}

func (l *logFiles) verify(args []string, o inspect.VerifyOptions) error {
	damaged := 0
	for _, path := range args {
		v := verified{Path: path, Problems: []inspect.Problem{}}
		p := newProgress(l.err)
		o.Progress = func(done, total int64) {
			p.show(func(w io.Writer) { fmt.Fprintf(w, "%s of %s checked", size(done), size(max(done, total))) })
		}
		o.Report = func(found inspect.Problem) error {
			if l.json {
				v.Problems = append(v.Problems, found)
				return nil
			}
			p.clear()
			return printProblem(l.out, found)
		}
		var err error
		v.Summary, err = inspect.Verify(vfs.NewOS(), named(path), o)
		p.clear()
		if err != nil {
			return err
		}
		damaged += v.Summary.Problems
		if err := l.summarize(&v); err != nil {
			return err
		}
	}
	if damaged > 0 {
		return fmt.Errorf("%s found", count(damaged, "problem"))
	}
	return nil
}

func printProblem(w io.Writer, p inspect.Problem) error {
	word, where := "PROBLEM", p.Path
	if p.Notice {
		word = "note"
	}
	if p.Pos >= 0 {
		where = fmt.Sprintf("%s at byte %d", p.Path, p.Pos)
	}
	_, err := fmt.Fprintf(w, "%s: %s\n  %s\n  what to do: %s\n", word, where, p.What, p.Do)
	return err
}

func (l *logFiles) summarize(v *verified) error {
	if l.json {
		e := json.NewEncoder(l.out)
		e.SetEscapeHTML(false)
		return e.Encode(v)
	}
	s := v.Summary
	verdict := "all is well"
	switch {
	case s.Problems > 0:
		verdict = count(s.Problems, "problem")
	case s.Notices > 0:
		verdict = "no damage, " + count(s.Notices, "note")
	}
	_, err := fmt.Fprintf(l.out, "%s: %s, %s, %s, %s: %s\n", v.Path, count(s.Partitions, "partition"), count(s.Files, "file"), counted(s.Batches, "batch", "batches"), size(s.Bytes), verdict)
	return err
}

func counted(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
