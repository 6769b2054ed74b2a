package cli

import (
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/clock"
)

// Progress appears after a second and moves a few times a second.
const (
	progressAfter = time.Second
	progressEvery = 200 * time.Millisecond
)

// progress is one line on a terminal that tells how far a command is. On anything but a terminal it is silent.
type progress struct {
	out   io.Writer // nil: silent
	clock clock.Clock

	mu    sync.Mutex // guards what follows
	next  time.Duration
	shown bool
}

func newProgress(out io.Writer) *progress {
	p := &progress{clock: &clock.Real{}}
	if isTerminal(out) {
		p.out = out
	}
	p.next = p.clock.Mono() + progressAfter
	return p
}

// isTerminal tells whether people are looking.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

// show writes the line anew if it is time to. write gives its text, without an end of line.
func (p *progress) show(write func(io.Writer)) {
	if p.out == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.clock.Mono()
	if now < p.next {
		return
	}
	p.next, p.shown = now+progressEvery, true
	fmt.Fprint(p.out, "\r\x1b[K")
	write(p.out)
}

// clear takes the line away.
func (p *progress) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown {
		fmt.Fprint(p.out, "\r\x1b[K")
		p.shown = false
	}
}

// size is a number of bytes for people.
func size(n int64) string {
	units := []string{"B", "KiB", "MiB", "GiB", "TiB"}
	v, i := float64(n), 0
	for v >= 1024 && i < len(units)-1 {
		v, i = v/1024, i+1
	}
	if i == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, units[i])
}
