package quorum

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/moldau/moldau/internal/clock"
	"github.com/moldau/moldau/internal/disk/vfs"
	"github.com/moldau/moldau/internal/format/wire"
)

func put(tb testing.TB, fs vfs.FS, path, text string) {
	tb.Helper()
	if err := fs.MkdirAll(filepath.Dir(path)); err != nil {
		tb.Fatal(err)
	}
	f, err := fs.Edit(path)
	if err != nil {
		tb.Fatal(err)
	}
	if err := f.Truncate(0); err != nil {
		tb.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(text), 0); err != nil {
		tb.Fatal(err)
	}
	if err := f.Close(); err != nil {
		tb.Fatal(err)
	}
}

const meta = "#\n#Sun Nov 22 01:41:06 UTC 2026\nnode.id=1\ndirectory.id=K01WB-gSTyGKCsvWuOclrg\nversion=1\ncluster.id=4L6g3nShT-eMCtK--X86sw\n"

func TestForeignDirectoriesAreRefused(t *testing.T) {
	other := strings.Replace(meta, "K01WB", "L01WB", 1)
	for _, c := range []struct {
		name  string
		files map[string]string
		want  string
	}{
		{
			"another node",
			map[string]string{"data/meta.properties": strings.Replace(meta, "node.id=1", "node.id=2", 1)},
			"data/meta.properties belongs to node 2, but this node is 1",
		},
		{
			"another cluster",
			map[string]string{"data/meta.properties": strings.Replace(meta, "4L6g", "5L6g", 1)},
			"belongs to cluster 5L6g3nShT-eMCtK--X86sw, but the configured cluster id is 4L6g",
		},
		{
			"no properties",
			map[string]string{"data/orders-0/00000000000000000000.log": ""},
			"data directory data has no meta.properties but is not empty (it has orders-0)",
		},
		{
			"no properties but a log",
			map[string]string{"data/__cluster_metadata-0/00000000000000000000.log": "x"},
			"is not empty (it has __cluster_metadata-0)",
		},
		{
			"a copy",
			map[string]string{"data/meta.properties": meta, "more/meta.properties": meta},
			"data and more have the same directory.id K01WB-gSTyGKCsvWuOclrg",
		},
		{
			"unknown version",
			map[string]string{"data/meta.properties": strings.Replace(meta, "version=1", "version=7", 1)},
			`is damaged: its version is "7"; 0 and 1 are known`,
		},
		{"empty file", map[string]string{"data/meta.properties": ""}, "is damaged"},
		{"no cluster", map[string]string{"data/meta.properties": "version=1\nnode.id=1\n"}, "names no cluster.id"},
		{
			"reserved directory",
			map[string]string{"data/meta.properties": strings.Replace(meta, "K01WB-gSTyGKCsvWuOclrg", "AAAAAAAAAAAAAAAAAAAAAQ", 1)},
			"is no identifier of a directory",
		},
		{
			"metadata directory lost",
			map[string]string{"more/meta.properties": other},
			"the metadata directory data is empty although the other data directories belong to cluster",
		},
		{"huge", map[string]string{"data/meta.properties": strings.Repeat("#", maxMetaBytes+1)}, "cannot be read"},
	} {
		t.Run(c.name, func(t *testing.T) {
			fs := vfs.NewSim(vfs.SimConfig{}).Mount()
			for path, text := range c.files {
				put(t, fs, path, text)
			}
			o := formatOptions(fs, clock.NewHand(1))
			o.Dirs = []string{"data", "more"}
			_, err := Format(o)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want one with %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
		})
	}
}

func TestFormatTakesNewDirectories(t *testing.T) {
	fs := vfs.NewSim(vfs.SimConfig{}).Mount()
	put(t, fs, "data/meta.properties", meta)
	put(t, fs, "more/lost+found/x", "")
	o := formatOptions(fs, clock.NewHand(1))
	o.Dirs, o.ClusterID = []string{"data", "more", "deep/er"}, ""
	id, err := Format(o)
	if err != nil {
		t.Fatal(err)
	}
	if id.ClusterID != clusterID || len(id.Directories) != 3 || id.Directories["more"] == id.Directories["deep/er"] {
		t.Errorf("%+v", id)
	}
	again, err := Identify(fs, o.Dirs, 1, "")
	if err != nil || again.Directories["more"] != id.Directories["more"] || len(again.Empty) != 0 {
		t.Errorf("read again: %+v, %v", again, err)
	}
	if _, err := fs.Stat("data/__cluster_metadata-0"); err == nil {
		t.Error("a formatted directory was founded again")
	}
}

func TestNewIDsAreKafkas(t *testing.T) {
	w := clock.NewHand(1)
	seen := map[wire.UUID]bool{}
	for range 2000 {
		id := NewID(w)
		if text := id.String(); len(text) != 22 || text[0] == '-' || seen[id] {
			t.Fatalf("%s", text)
		}
		seen[id] = true
	}
}

func FuzzDecodeProperties(f *testing.F) {
	f.Add([]byte(meta))
	f.Add([]byte("version=0\nbroker.id=3\ncluster.id=x\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := decodeProperties(b)
		if err != nil || p.clusterID == "" || p.nodeID < 0 || p.directory.IsZero() || strings.ContainsFunc(p.clusterID, func(r rune) bool { return r <= ' ' || r > '~' || r == '\\' }) {
			return
		}
		if again, err := decodeProperties(p.encode()); err != nil || again != p {
			t.Errorf("%+v comes back as %+v, %v", p, again, err)
		}
	})
}

func FuzzReadSnapshot(f *testing.F) {
	sim := mountKafka(f)
	for _, name := range []string{"bootstrap.checkpoint", "__cluster_metadata-0/" + kafkaSnapshot} {
		b, err := vfs.ReadFile(sim, filepath.Join("data", name), 1<<20)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		fs := vfs.NewSim(vfs.SimConfig{}).Mount()
		put(t, fs, "s", string(b))
		image, l, err := readSnapshot(fs, "s", snapshotID{7, 1})
		if err != nil {
			return
		}
		s := snapshot{timestampMs: 1, kraftVersion: l.kraftVersion, voters: l.voters, records: image.Records(), version: image.MetadataVersion()}
		if err := s.write(fs, "", "again", 1); err != nil {
			t.Fatal(err)
		}
		again, _, err := readSnapshot(fs, "again", snapshotID{7, 1})
		if err != nil {
			t.Fatalf("what was written cannot be read: %v", err)
		}
		if image.MetadataVersion() == 33 && !bytes.Equal([]byte(describe(image)), []byte(describe(again))) {
			t.Error("the image is not the same")
		}
	})
}
