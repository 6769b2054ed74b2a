package txn

import "testing"

// TestPaths: which of a row of requests are late.
func TestPaths(t *testing.T) {
	type request struct {
		use        Use
		connection uint64
		epoch      int16
		late       bool
	}
	for _, tc := range []struct {
		name string
		row  []request
	}{
		{"one connection", []request{{UseCoordinator, 4, 0, false}, {UseProduce, 4, 0, false}, {UseCoordinator, 4, 0, false}}},
		{"what was given up", []request{{UseCoordinator, 4, 0, false}, {UseCoordinator, 6, 0, false}, {UseCoordinator, 4, 0, true}, {UseCoordinator, 6, 0, false}, {UseCoordinator, 4, 0, true}}},
		{"never heard before", []request{{UseCoordinator, 6, 0, false}, {UseCoordinator, 4, 0, true}}},
		{"a connection for each use", []request{
			{UseCoordinator, 9, 0, false}, {UseProduce, 4, 0, false}, {UseOffsets, 7, 0, false}, {UseProduce, 4, 0, false}, {UseOffsets, 7, 0, false}, {UseCoordinator, 9, 0, false},
		}},
		{"two uses that share", []request{
			{UseProduce, 4, 0, false}, {UseOffsets, 4, 0, false}, {UseCoordinator, 9, 0, false}, {UseProduce, 4, 0, false}, {UseOffsets, 10, 0, false}, {UseProduce, 4, 0, true}, {UseCoordinator, 9, 0, false},
		}},
		{"all share", []request{{UseCoordinator, 4, 0, false}, {UseProduce, 4, 0, false}, {UseCoordinator, 6, 0, false}, {UseProduce, 4, 0, true}}},
		{"another epoch", []request{{UseCoordinator, 6, 0, false}, {UseCoordinator, 4, 1, false}, {UseCoordinator, 6, 0, false}, {UseCoordinator, 3, 1, true}}},
		{"a client that is still there", []request{
			{UseProduce, 6, 0, false}, {UseProduce, 4, 0, true}, {UseProduce, 4, 0, true}, {UseProduce, 4, 0, true}, {UseProduce, 4, 0, true}, {UseProduce, 4, 0, true},
			{UseProduce, 4, 0, false}, {UseProduce, 4, 0, false}, {UseProduce, 6, 0, false},
		}},
		{"two old ones", []request{{UseProduce, 6, 0, false}, {UseProduce, 4, 0, true}, {UseProduce, 3, 0, true}, {UseProduce, 4, 0, true}, {UseProduce, 3, 0, true}}},
	} {
		var s Paths
		for i, q := range tc.row {
			if got := s.Late(Producer{7, q.epoch}, q.use, q.connection); got != q.late {
				t.Errorf("%s: request %d is late: %v", tc.name, i, got)
			}
		}
	}
}

// TestPathsAreBounded: those heard of lately are kept.
func TestPathsAreBounded(t *testing.T) {
	var s Paths
	s.Late(Producer{ID: -2}, UseProduce, 9)
	for id := range int64(4 * maxPaths) {
		s.Late(Producer{ID: id}, UseProduce, 1)
		if id%1000 > 0 {
			continue
		}
		if !s.Late(Producer{ID: -2}, UseProduce, 8) {
			t.Fatalf("forgotten after %d others", id)
		}
		s.Late(Producer{ID: -2}, UseProduce, 9)
	}
	if n := len(s.young) + len(s.old); n > maxPaths {
		t.Errorf("%d are kept", n)
	}
}
