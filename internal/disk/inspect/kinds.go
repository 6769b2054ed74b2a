package inspect

import (
	"path/filepath"
	"strconv"
	"strings"

	"github.com/moldau/moldau/internal/disk/journal"
)

// fileKind is what a file's name says that it is.
type fileKind int

const (
	otherFile fileKind = iota
	segmentFile
	offsetIndexFile
	timeIndexFile
	txnIndexFile
	producerFile
	metadataSnapshotFile
	epochFile
	topicIDFile
	propertiesFile
	offsetsFile
	jsonFile
	journalFile
)

// digits is the length of the offset in a file's name.
const digits = 20

// kindOf reads a path's last name; base is the offset in it, 0 when there is none.
func kindOf(path string) (kind fileKind, base int64) {
	name := filepath.Base(path)
	switch name {
	case "leader-epoch-checkpoint":
		return epochFile, 0
	case "partition.metadata":
		return topicIDFile, 0
	case "meta.properties":
		return propertiesFile, 0
	case "recovery-point-offset-checkpoint", "log-start-offset-checkpoint", "replication-offset-checkpoint", "cleaner-offset-checkpoint":
		return offsetsFile, 0
	case "quorum-state", cleanMarker:
		return jsonFile, 0
	case "bootstrap.checkpoint":
		return metadataSnapshotFile, 0
	}
	if filepath.Base(filepath.Dir(path)) == journal.Folder {
		return journalFile, 0
	}
	if len(name) < digits+1 {
		return otherFile, 0
	}
	n, err := strconv.ParseUint(name[:digits], 10, 63)
	if err != nil {
		return otherFile, 0
	}
	kinds := map[string]fileKind{
		".log": segmentFile, ".index": offsetIndexFile, ".timeindex": timeIndexFile, ".txnindex": txnIndexFile, ".snapshot": producerFile,
	}
	suffix := name[digits:]
	if suffix[0] == '-' && strings.HasSuffix(suffix, ".checkpoint") {
		return metadataSnapshotFile, int64(n)
	}
	return kinds[suffix], int64(n)
}

// cleanMarker is the file that a clean stop leaves.
const cleanMarker = ".kafka_cleanshutdown"

// parsePartition reads a directory's name, TOPIC-N.
func parsePartition(dir string) (topic string, partition int32, ok bool) {
	name := filepath.Base(dir)
	i := strings.LastIndexByte(name, '-')
	if i <= 0 {
		return "", 0, false
	}
	n, err := strconv.ParseUint(name[i+1:], 10, 31)
	return name[:i], int32(n), err == nil
}
