package edge_test

import (
	"net"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/network/edge"
)

// TestConnectionsLeaveFilesToLogs: however many connect, not all the files that the process may have open are theirs.
func TestConnectionsLeaveFilesToLogs(t *testing.T) {
	b := start(t, echo, func(o *edge.Options) { o.MaxFiles = 400 })
	const most, more = 300, 7
	for range most + more {
		ours, theirs := net.Pipe()
		t.Cleanup(func() { ours.Close() })
		b.ServeConn("PIPE", theirs)
	}
	if s := b.Stats(); s.Connections != most || s.Refused[edge.TooManyConnections] != more {
		t.Errorf("%d connections, %d refused", s.Connections, s.Refused[edge.TooManyConnections])
	}
	if !strings.Contains(b.log.String(), "LimitNOFILE") {
		t.Errorf("the log says\n%s", b.log)
	}
}
