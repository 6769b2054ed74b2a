package node

import (
	"github.com/moldau/moldau/internal/config"
	"github.com/moldau/moldau/internal/disk/commitlog"
)

// newCleaner makes what compacts the logs of all data directories, nil if log.cleaner.enable or log.cleaner.threads says no.
func (n *Node) newCleaner() *commitlog.Cleaner {
	if !n.static.GetBool("log.cleaner.enable") || n.static.GetInt("log.cleaner.threads") == 0 {
		return nil
	}
	return commitlog.NewCleaner(n.o.World, n.o.Logger, cleanerOptions(n.static))
}

func cleanerOptions(cfg *config.BrokerConfig) commitlog.CleanerOptions {
	return commitlog.CleanerOptions{
		Threads: cfg.GetInt("log.cleaner.threads"), DedupeBytes: cfg.GetLong("log.cleaner.dedupe.buffer.size"),
		LoadFactor:        cfg.GetDouble("log.cleaner.io.buffer.load.factor"),
		MaxBytesPerSecond: cfg.GetDouble("log.cleaner.io.max.bytes.per.second"),
		BackoffMs:         max(cfg.GetLong("log.cleaner.backoff.ms"), 1),
	}
}

// configureCleaner gives compaction the settings of now.
func (n *Node) configureCleaner() {
	if n.cleaner != nil {
		n.cleaner.SetOptions(cleanerOptions(n.Config()))
	}
}

// closeCleaner ends compaction: what is under way is given up.
func (n *Node) closeCleaner() {
	if n.cleaner != nil {
		n.cleaner.Close()
	}
}
