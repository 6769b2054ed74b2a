package edge_test

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/moldau/moldau/internal/network/edge"
)

// BenchmarkFileRegion shows where copying a file region and sendfile cost the same.
func BenchmarkFileRegion(b *testing.B) {
	path := filepath.Join(b.TempDir(), "segment")
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
		b.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer file.Close()
	f := &shared{File: file}
	for _, size := range []int{8 << 10, 32 << 10, 64 << 10, 128 << 10} {
		b.Run(fmt.Sprintf("%dKB", size>>10), func(b *testing.B) {
			s := edge.New(edge.Options{Handler: serve(serveFile(f)), World: new(world)})
			addr, err := s.Listen("PLAINTEXT", "127.0.0.1:0")
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close(b.Context())
			c, err := net.Dial("tcp", addr.String())
			if err != nil {
				b.Fatal(err)
			}
			defer c.Close()
			ask := frame(fetch, fetchVersion, 1, regions(region{0, size}))
			answer := make([]byte, 8+size+8)
			before := cpuTime()
			for b.Loop() {
				c.Write(ask)
				if _, err := io.ReadFull(c, answer); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(cpuTime()-before)/float64(b.N), "cpu-ns/op")
		})
	}
}

// cpuTime is what this process has used, in nanoseconds.
func cpuTime() int64 {
	var u syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return u.Utime.Nano() + u.Stime.Nano()
}
