package vfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// actor runs operations given as lines of text on a file system below a root,
// and says what came of each in words that are the same for every file system.
type actor struct {
	fs    FS
	root  string
	files map[string]File
	locks map[string]Lock
}

func newActor(fsys FS, root string) *actor {
	return &actor{fs: fsys, root: root, files: map[string]File{}, locks: map[string]Lock{}}
}

// run runs a script and gives a line for each that answers more than "ok".
func (a *actor) run(script string) string {
	var out strings.Builder
	for line := range strings.Lines(script) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if got := a.do(words); got != "ok" {
			fmt.Fprintf(&out, "%s: %s\n", strings.Join(words, " "), got)
		}
	}
	if out.Len() == 0 {
		return "ok\n"
	}
	return out.String()
}

func (a *actor) path(p string) string { return filepath.Join(a.root, p) }

func (a *actor) do(words []string) string {
	cmd, args := words[0], words[1:]
	for len(args) < 4 {
		args = append(args, "")
	}
	if f, ok := a.files[args[0]]; ok && cmd != "edit" && cmd != "open" {
		return doFile(f, cmd, args[1:])
	}
	if sim, ok := a.fs.(*Sim); ok {
		if got, known := doSim(sim, cmd, args); known {
			return got
		}
	}
	return a.doPath(cmd, args)
}

func (a *actor) doPath(cmd string, args []string) string {
	switch cmd {
	case "open", "edit":
		open := a.fs.Open
		if cmd == "edit" {
			open = a.fs.Edit
		}
		f, err := open(a.path(args[1]))
		if err == nil {
			a.files[args[0]] = f
		}
		return verdict(err)
	case "forget":
		clear(a.files)
		return "ok"
	case "remove":
		return verdict(a.fs.Remove(a.path(args[0])))
	case "removeall":
		return verdict(a.fs.RemoveAll(a.path(args[0])))
	case "rename":
		return verdict(a.fs.Rename(a.path(args[0]), a.path(args[1])))
	case "mkdir":
		return verdict(a.fs.MkdirAll(a.path(args[0])))
	case "syncdir":
		return verdict(a.fs.SyncDir(a.path(args[0])))
	case "stat":
		e, err := a.fs.Stat(a.path(args[0]))
		if err != nil {
			return verdict(err)
		}
		return describe(e)
	case "list":
		return a.list(args[0])
	case "lock":
		l, err := a.fs.Lock(a.path(args[1]))
		if err == nil {
			a.locks[args[0]] = l
		}
		return verdict(err)
	case "unlock":
		return verdict(a.locks[args[0]].Close())
	case "put":
		return verdict(WriteFileAtomic(a.fs, a.path(args[0]), spell(args[1])))
	case "get":
		b, err := ReadFile(a.fs, a.path(args[0]), 1<<20)
		if err != nil {
			return verdict(err)
		}
		return brief(b)
	case "getmax":
		_, err := ReadFile(a.fs, a.path(args[0]), number(args[1]))
		return verdict(err)
	}
	return "unknown command or handle"
}

func doFile(f File, cmd string, args []string) string {
	switch cmd {
	case "read", "cold":
		read := f.ReadAt
		if cmd == "cold" {
			read = f.ReadCold
		}
		b := bytes.Repeat([]byte{'?'}, int(number(args[1])))
		n, err := read(b, number(args[0]))
		return fmt.Sprintf("%s %s", brief(b[:n]), verdict(err))
	case "write":
		b := spell(args[1])
		n, err := f.WriteAt(b, number(args[0]))
		return written(int64(n), len(b), err)
	case "writev":
		var bufs [][]byte
		total := 0
		for part := range strings.SplitSeq(args[1], "|") {
			bufs = append(bufs, spell(part))
			total += len(bufs[len(bufs)-1])
		}
		n, err := f.WriteBuffers(bufs, number(args[0]))
		return written(n, total, err)
	case "sync":
		return verdict(f.Sync())
	case "prealloc":
		return verdict(f.Preallocate(number(args[0]), number(args[1])))
	case "truncate":
		return verdict(f.Truncate(number(args[0])))
	case "size":
		n, err := f.Size()
		if err != nil {
			return verdict(err)
		}
		return strconv.FormatInt(n, 10)
	case "close":
		return verdict(f.Close())
	}
	return "unknown command"
}

// doSim are the commands that only the simulated disk understands.
func doSim(s *Sim, cmd string, args []string) (string, bool) {
	switch cmd {
	case "cut":
		c := Cut{Data: Mix, Size: Mix, Names: Mix}
		for _, arg := range args {
			key, value, both := strings.Cut(arg, "=")
			f := map[string]Fate{"mix": Mix, "lose": Lose, "keep": Keep}
			switch {
			case arg == "":
			case !both:
				c = Cut{Data: f[key], Size: f[key], Names: f[key]}
			case key == "data":
				c.Data = f[value]
			case key == "size":
				c.Size = f[value]
			case key == "names":
				c.Names = f[value]
			}
		}
		s.PowerCutEach(c)
	case "crash":
		s.Crash()
	case "cutat":
		s.CutAt(number(args[0]))
	case "total":
		s.SetTotal(number(args[0]))
	case "used":
		total, free, err := s.Space("/")
		return fmt.Sprintf("%d %s", total-free, verdict(err)), true
	case "flip":
		return verdict(s.FlipBit(args[0], number(args[1]))), true
	case "count":
		return strconv.FormatInt(s.OpCount(), 10), true
	case "fault":
		f := Fault{Path: args[0], Nth: int(number(args[2])), Times: int(number(args[3]))}
		for i, name := range kindNames {
			if name == args[1] {
				f.Ops = 1 << i
			}
		}
		s.Inject(f)
	case "tree":
		return tree(s), true
	default:
		return "", false
	}
	return "ok", true
}

// tree describes all that is on a simulated disk, as a process sees it.
func tree(s *Sim) string {
	var out []string
	var walk func(n *node, path string)
	walk = func(n *node, path string) {
		if !n.dir {
			b := make([]byte, n.pages.size)
			n.pages.read(b, 0)
			out = append(out, path+"="+brief(b))
		} else if path != "" {
			out = append(out, path+"/")
		}
		for name, child := range n.now {
			walk(child, strings.TrimPrefix(path+"/"+name, "/"))
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	walk(s.root, "")
	slices.Sort(out)
	return strings.Join(out, " ")
}

func (a *actor) list(dir string) string {
	found, err := a.fs.List(a.path(dir))
	if err != nil {
		return verdict(err)
	}
	var out []string
	for _, e := range found {
		out = append(out, describe(e))
	}
	return "[" + strings.Join(out, " ") + "]"
}

func describe(e Entry) string {
	if e.Dir {
		return e.Name + "/"
	}
	return fmt.Sprintf("%s:%d", e.Name, e.Size)
}

func written(n int64, of int, err error) string {
	if err == nil && n == int64(of) {
		return "ok"
	}
	return fmt.Sprintf("%d of %d %s", n, of, verdict(err))
}

// verdict names an error by what callers can find in it.
func verdict(err error) string {
	if err == nil {
		return "ok"
	}
	for _, known := range []struct {
		err  error
		name string
	}{
		{ErrNoSpace, "no space"},
		{ErrLocked, "locked"},
		{ErrPowerCut, "power cut"},
		{ErrKilled, "killed"},
		{fs.ErrClosed, "closed"},
		{syscall.ENOTEMPTY, "not empty"},
		{ErrNotExist, "does not exist"},
		{ErrExist, "exists"},
		{io.EOF, "end"},
		{syscall.ENOTDIR, "not a directory"},
		{syscall.EISDIR, "is a directory"},
		{ErrIO, "input/output error"},
	} {
		if errors.Is(err, known.err) {
			return known.name
		}
	}
	return "refused"
}

// spell makes bytes of "A*512,B" : runs of a letter; '.' is zero.
func spell(s string) []byte {
	var b []byte
	if s == "-" {
		return b
	}
	for run := range strings.SplitSeq(s, ",") {
		letter, count, many := strings.Cut(run, "*")
		if !many {
			b = append(b, letter...)
			continue
		}
		c := letter[0]
		if c == '.' {
			c = 0
		}
		b = append(b, bytes.Repeat([]byte{c}, int(number(count)))...)
	}
	return b
}

// brief is the reverse of spell.
func brief(b []byte) string {
	if len(b) == 0 {
		return "-"
	}
	var out []string
	for len(b) > 0 {
		n := len(b) - len(bytes.TrimLeft(b, string(b[:1])))
		c := rune(b[0])
		if c == 0 {
			c = '.'
		}
		out = append(out, fmt.Sprintf("%c*%d", c, n))
		b = b[n:]
	}
	return strings.Join(out, ",")
}

func number(s string) int64 {
	shift := 0
	switch {
	case strings.HasSuffix(s, "K"):
		shift, s = 10, s[:len(s)-1]
	case strings.HasSuffix(s, "M"):
		shift, s = 20, s[:len(s)-1]
	}
	n, _ := strconv.ParseInt(s, 10, 64)
	return n << shift
}

func sortedLines(set map[string]bool) string {
	var out strings.Builder
	for _, line := range slices.Sorted(maps.Keys(set)) {
		if line == "" {
			line = "(nothing)"
		}
		out.WriteString(line + "\n")
	}
	return out.String()
}
