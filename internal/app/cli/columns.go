package cli

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// columns writes a table: the head, then what rows calls row with. Tabs part the cells, and no line ends in blanks.
func columns(w io.Writer, head string, rows func(row func(format string, args ...any))) {
	aligned(w, head, 0, rows)
}

// aligned is columns with one of tabwriter's flags.
func aligned(w io.Writer, head string, flags uint, rows func(row func(format string, args ...any))) {
	var text bytes.Buffer
	tw := tabwriter.NewWriter(&text, 0, 0, 2, ' ', flags)
	row := func(format string, args ...any) { fmt.Fprintf(tw, format+"\n", args...) }
	if head != "" {
		row("%s", head)
	}
	rows(row)
	tw.Flush() //nolint:errcheck // to memory
	for line := range strings.Lines(text.String()) {
		fmt.Fprintln(w, strings.TrimRight(line, " \n"))
	}
}
