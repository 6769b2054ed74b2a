package node

import "testing"

func TestOpenFiles(t *testing.T) {
	for _, c := range []struct{ all, directories, want int }{
		{0, 2, 0}, // each has its own bound
		{1024, 2, 64},
		{80, 2, 8}, // a directory needs a few
		{1048576, 2, 8192},
		{1 << 40, 10, 8192}, // no limit
	} {
		if got := openFiles(c.all, c.directories); got != c.want {
			t.Errorf("%d directories have %d files of %d, want %d", c.directories, got, c.all, c.want)
		}
	}
}
