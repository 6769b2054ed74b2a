package node

import (
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moldau/moldau/internal/disk/commitlog"
	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
	"github.com/moldau/moldau/internal/metric"
	"github.com/moldau/moldau/internal/node/coordinator"
	"github.com/moldau/moldau/internal/node/partition"
)

// Bounds of what has series of its own in one scrape, the first by name; sums are about all of them. A partition's series
// cost about 50 µs of CPU at each scrape.
const (
	maxTopicSeries     = 2_000
	maxPartitionSeries = 2_000
	maxGroupSeries     = 1_000
	maxOffsetSeries    = 2_000
)

// brokerRunning is the state of a broker that serves, as Kafka numbers it.
const brokerRunning, brokerStarting = 3, 1

// figures are what the node remembers from one scrape to the next.
type figures struct {
	mu sync.Mutex // guards what follows
	// when, and how much CPU time the process had used then
	idleAt, cpu time.Duration
	idle        float64
	// when, and where the metadata log ended then
	endAt time.Duration
	end   int64
	rate  float64
}

// leastInterval is how far apart two scrapes are at least for a rate between them.
const leastInterval = time.Second

// register names everybody who has something to tell.
func (n *monitor) register() {
	n.metrics = metric.NewRegistry()
	sources := []func(*metric.Sink){n.emitNode, n.emitPartitions, n.emitStores, n.emitQuorum, n.emitGroups, n.emitTelemetry, n.broker.Emit}
	if n.server != nil {
		sources = append(sources, n.server.Emit, n.arrivals.Emit)
	}
	if n.authorizer != nil {
		sources = append(sources, n.authorizer.Emit)
	}
	for _, source := range sources {
		n.metrics.Collect(func(out *metric.Sink) {
			if n.serving.Load() { // before that there is nothing to tell
				source(out)
			}
		})
	}
}

// emitNode tells about the node as a whole.
func (n *monitor) emitNode(out *metric.Sink) {
	img := n.quorum.Image()
	state := brokerStarting
	if n.serving.Load() {
		state = brokerRunning
	}
	out.Gauge("kafka_server_kafkaserver_brokerstate", "1 while the broker starts, 3 when it runs.", float64(state))
	brokers := img.Brokers()
	fenced := 0
	for _, b := range brokers {
		if b.Fenced {
			fenced++
		}
		out.Gauge("kafka_broker_info", "1 for each broker.", 1, "id", strconv.Itoa(int(b.BrokerID)), "address", addressOf(b))
	}
	out.Gauge("kafka_brokers", "Brokers in the cluster.", float64(len(brokers)))
	const controller = "kafka_controller_kafkacontroller_"
	out.Gauge(controller+"activebrokercount", "Brokers that are not fenced.", float64(len(brokers)-fenced))
	out.Gauge(controller+"fencedbrokercount", "Brokers that are fenced.", float64(fenced))
	out.Gauge(controller+"activecontrollercount", "1 if this node is the active controller.", truth(n.quorum.Leader() == n.static.NodeID()))
	out.Gauge(controller+"globaltopiccount", "Topics of the cluster.", float64(img.TopicCount()))
	out.Gauge(controller+"globalpartitioncount", "Partitions of the cluster.", float64(img.PartitionCount()))
	out.Counter("kafka_controller_controllerstats_uncleanleaderelections_total", "Leaders that were elected from outside the ISR.", 0)
	idle := n.idle()
	out.Gauge("kafka_network_socketserver_networkprocessoravgidle_percent", "Share of the machine's CPU time that this process left unused since the last scrape: there are no network threads.", idle)
	out.Gauge("kafka_server_kafkarequesthandlerpool_requesthandleravgidle_percent", "Share of the machine's CPU time that this process left unused since the last scrape: there are no request threads.", idle)
}

// addressOf is the first listener of a broker.
func addressOf(b *metadata.Broker) string {
	if len(b.EndPoints) == 0 {
		return ""
	}
	return b.EndPoints[0].Host + ":" + strconv.Itoa(int(b.EndPoints[0].Port))
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// replication is what the metadata say about the partitions of this node and of the cluster.
type replication struct {
	leaders, under, underMin, atMin, offline, imbalanced int
}

// emitPartitions tells about partitions, their logs and their replicas.
func (n *monitor) emitPartitions(out *metric.Sink) {
	img, series := n.quorum.Image(), 0
	var r replication
	hosted := 0
	for k, topic := range img.SortedTopics() {
		local := n.table.ByName(topic.Name)
		minISR := n.minISR(local)
		if k < maxTopicSeries {
			out.Gauge("kafka_topic_partitions", "Partitions of the topic.", float64(len(topic.Partitions)), "topic", topic.Name)
		}
		for i, p := range topic.Partitions {
			r.add(n.static.NodeID(), p, minISR)
			part := local.Partition(int32(i))
			if part != nil {
				hosted++
			}
			if series++; series <= maxPartitionSeries {
				emitPartition(out, topic.Name, int32(i), p, part, minISR)
			}
		}
	}
	const manager = "kafka_server_replicamanager_"
	out.Gauge(manager+"partitioncount", "Partitions of this node.", float64(hosted))
	out.Gauge(manager+"leadercount", "Partitions that this node leads.", float64(r.leaders))
	out.Gauge(manager+"underreplicatedpartitions", "Partitions led here with replicas out of sync.", float64(r.under))
	out.Gauge(manager+"underminisrpartitioncount", "Partitions led here with fewer replicas in sync than min.insync.replicas.", float64(r.underMin))
	out.Gauge(manager+"atminisrpartitioncount", "Partitions led here with just min.insync.replicas in sync.", float64(r.atMin))
	out.Gauge(manager+"offlinereplicacount", "Replicas of this node that are offline.", float64(n.offlineReplicas()))
	out.Gauge(manager+"reassigningpartitions", "Partitions led here that are being reassigned.", 0)
	out.Counter(manager+"isrshrinks_total", "How often a replica left an ISR.", 0)
	out.Counter(manager+"isrexpands_total", "How often a replica came into an ISR.", 0)
	const controller = "kafka_controller_kafkacontroller_"
	out.Gauge(controller+"offlinepartitionscount", "Partitions of the cluster without a leader.", float64(r.offline))
	out.Gauge(controller+"preferredreplicaimbalancecount", "Partitions of the cluster whose leader is not the preferred one.", float64(r.imbalanced))
}

// minISR is the topic's min.insync.replicas.
func (n *monitor) minISR(topic *partition.Topic) int {
	if topic != nil {
		for _, p := range topic.Partitions {
			if p != nil {
				return p.Config().MinInsyncReplicas
			}
		}
	}
	return n.Config().GetInt("min.insync.replicas")
}

func (r *replication) add(node int32, p *metadata.Partition, minISR int) {
	if p.Leader == metadata.NoLeader {
		r.offline++
	}
	if len(p.Replicas) > 0 && p.Leader != p.Replicas[0] {
		r.imbalanced++
	}
	if p.Leader != node {
		return
	}
	r.leaders++
	if len(p.ISR) < len(p.Replicas) {
		r.under++
	}
	switch {
	case len(p.ISR) < minISR:
		r.underMin++
	case len(p.ISR) == minISR:
		r.atMin++
	}
}

// offlineReplicas counts the logs in directories that have failed.
func (n *monitor) offlineReplicas() (offline int) {
	for _, s := range n.stores {
		if s.Failed() != nil {
			offline += len(s.Logs())
		}
	}
	return offline
}

// emitPartition tells about one partition.
func emitPartition(out *metric.Sink, topic string, index int32, p *metadata.Partition, local *partition.Partition, minISR int) {
	labels := []string{"topic", topic, "partition", strconv.Itoa(int(index))}
	gauge := func(name, help string, v float64) { out.Gauge(name, help, v, labels...) }
	gauge("kafka_topic_partition_replicas", "Replicas of the partition.", float64(len(p.Replicas)))
	gauge("kafka_topic_partition_in_sync_replica", "Replicas of the partition that are in sync.", float64(len(p.ISR)))
	gauge("kafka_topic_partition_leader", "The leader's id.", float64(p.Leader))
	gauge("kafka_topic_partition_leader_is_preferred", "1 if the leader is the preferred replica.", truth(len(p.Replicas) > 0 && p.Leader == p.Replicas[0]))
	gauge("kafka_topic_partition_under_replicated_partition", "1 if replicas are out of sync.", truth(len(p.ISR) < len(p.Replicas)))
	gauge("kafka_cluster_partition_replicascount", "Replicas of the partition.", float64(len(p.Replicas)))
	gauge("kafka_cluster_partition_insyncreplicascount", "Replicas of the partition that are in sync.", float64(len(p.ISR)))
	gauge("kafka_cluster_partition_underreplicated", "1 if replicas are out of sync.", truth(len(p.ISR) < len(p.Replicas)))
	gauge("kafka_cluster_partition_underminisr", "1 if fewer replicas than min.insync.replicas are in sync.", truth(len(p.ISR) < minISR))
	gauge("kafka_cluster_partition_atminisr", "1 if just min.insync.replicas are in sync.", truth(len(p.ISR) == minISR))
	if local == nil {
		return
	}
	l := local.Log()
	gauge("kafka_log_log_size", "Bytes of the log.", float64(l.Size()))
	gauge("kafka_log_log_logstartoffset", "First offset of the log.", float64(l.Start()))
	gauge("kafka_log_log_logendoffset", "Offset behind the last record of the log.", float64(l.End()))
	gauge("kafka_topic_partition_oldest_offset", "First offset of the partition.", float64(l.Start()))
	gauge("kafka_topic_partition_current_offset", "Offset that the next record to be read will have: the high watermark.", float64(local.HighWatermark()))
}

// emitStores tells about the data directories.
func (n *monitor) emitStores(out *metric.Sink) {
	offline := 0
	for _, s := range n.allStores() {
		dir := s.Dir()
		failed := s.Failed() != nil
		if failed {
			offline++
		}
		out.Gauge("kafka_log_logmanager_logdirectoryoffline", "1 if the data directory has failed.", truth(failed), "logdirectory", dir)
		if total, free, err := s.Space(); err == nil {
			out.Gauge("moldau_directory_size_bytes", "Size of the file system of the data directory.", float64(total), "directory", dir)
			out.Gauge("moldau_directory_free_bytes", "What is free there.", float64(free), "directory", dir)
		}
		f := &s.Figures
		out.Counter("moldau_directory_refused_batches_total", "Batches that were refused because the disk is full.", float64(f.Refused.Load()), "directory", dir)
		out.Counter("moldau_journal_syncs_total", "Group commits: one write and one sync for all that waited.", float64(f.Rounds.Load()), "directory", dir)
		out.Counter("moldau_journal_batches_total", "Batches made durable by group commits.", float64(f.Appends.Load()), "directory", dir)
		out.Counter("moldau_journal_batch_bytes_total", "Bytes of these batches.", float64(f.Bytes.Load()), "directory", dir)
		out.Gauge("moldau_journal_live_bytes", "What the journal holds that is not yet in segments.", float64(f.JournalBytes.Load()), "directory", dir)
		out.Histogram("moldau_journal_sync_seconds", "How long a group commit took to write and sync.", &f.Took, "directory", dir)
	}
	n.emitCleaner(out)
	out.Gauge("kafka_log_logmanager_offlinelogdirectorycount", "Data directories that have failed.", float64(offline))
}

// emitCleaner tells about compaction.
func (n *monitor) emitCleaner(out *metric.Sink) {
	if n.cleaner != nil {
		emitCleanings(out, n.cleaner.Stats())
	}
	for _, s := range n.stores {
		c := s.Cleaner()
		out.Gauge("kafka_log_logcleanermanager_uncleanable_partitions_count", "Logs that compaction has given up.", float64(c.Uncleanable), "logdirectory", s.Dir())
		out.Gauge("kafka_log_logcleanermanager_uncleanable_bytes", "What these logs have to be cleaned.", float64(c.UncleanableBytes), "logdirectory", s.Dir())
		dirtiest := 0.0
		for i := range c.Logs {
			l := &c.Logs[i]
			if l.Err == nil {
				dirtiest = max(dirtiest, l.DirtyRatio)
				continue
			}
			out.Gauge("moldau_cleaner_failed", "1 for each log that compaction has given up; the node's log says why.", 1,
				"topic", l.Topic, "partition", strconv.Itoa(int(l.Partition)), "directory", s.Dir())
		}
		out.Gauge("kafka_log_logcleanermanager_max_dirty_percent", "Dirty share of the dirtiest log that is compacted.", 100*dirtiest, "logdirectory", s.Dir())
	}
}

// emitCleanings tells what compaction has done in all directories.
func emitCleanings(out *metric.Sink, c commitlog.CleanerStats) {
	const cleaner = "kafka_log_logcleaner_"
	out.Gauge(cleaner+"max_clean_time_secs", "The longest cleaning.", c.MaxTook.Seconds())
	out.Gauge(cleaner+"max_buffer_utilization_percent", "How full the table of keys was in the last cleaning.", 100*c.BufferUse)
	out.Gauge(cleaner+"max_compaction_delay_secs", "How far the latest log is behind its max.compaction.lag.ms.", float64(c.MaxDelayMs)/1000)
	out.Gauge(cleaner+"deadthreadcount", "Always 0: a cleaning that fails ends nothing but itself.", 0)
	recopied := 0.0
	if c.BytesRead > 0 {
		recopied = 100 * float64(c.BytesWritten) / float64(c.BytesRead)
	}
	out.Gauge(cleaner+"cleaner_recopy_percent", "Share of the bytes that cleanings have kept.", recopied)
	out.Gauge("kafka_log_logcleanermanager_time_since_last_run_ms", "Milliseconds since it was last looked for work.", float64(c.SinceLook.Milliseconds()))
	out.Gauge("moldau_cleaner_running", "Cleanings under way.", float64(c.Workers))
	for _, end := range []struct {
		result string
		n      int64
	}{{"finished", c.Runs}, {"aborted", c.Aborted}, {"failed", c.Failed}} {
		out.Counter("moldau_cleaner_runs_total", "Cleanings, by how they ended.", float64(end.n), "result", end.result)
	}
	out.Counter("moldau_cleaner_read_bytes_total", "Bytes read by cleanings.", float64(c.BytesRead))
	out.Counter("moldau_cleaner_written_bytes_total", "Bytes written by cleanings.", float64(c.BytesWritten))
	out.Counter("moldau_cleaner_read_records_total", "Records read by cleanings.", float64(c.RecordsRead))
	out.Counter("moldau_cleaner_written_records_total", "Records kept by cleanings.", float64(c.RecordsWritten))
}

// emitQuorum tells about the metadata quorum.
func (n *monitor) emitQuorum(out *metric.Sink) {
	const raft = "kafka_server_raftmetrics_"
	state := "follower"
	if n.quorum.Leader() == n.static.NodeID() {
		state = "leader"
	}
	out.Gauge(raft+"current_leader", "The quorum's leader.", float64(n.quorum.Leader()))
	out.Gauge(raft+"current_epoch", "The quorum's epoch.", float64(n.quorum.Epoch()))
	out.Gauge(raft+"current_state", "1 for the state that this node is in.", 1, "state", state)
	out.Gauge(raft+"high_watermark", "High watermark of the metadata log.", float64(n.quorum.HighWatermark()))
	out.Gauge(raft+"log_end_offset", "End of the metadata log.", float64(n.quorum.LogEnd()))
	out.Gauge(raft+"number_unknown_voter_connections", "Voters whose address is not known.", 0)
	rounds, took := n.meta.Figures.Took.Count()
	if rounds > 0 {
		took /= time.Duration(rounds)
	}
	out.Gauge(raft+"commit_latency_avg", "Milliseconds that a group commit takes in the directory of the metadata log.", float64(took)/float64(time.Millisecond))
	out.Gauge(raft+"append_records_rate", "Records a second appended to the metadata log since the last scrape.", n.appendRate())
	out.Gauge(raft+"fetch_records_rate", "Records a second fetched from the leader by this node.", 0)
	img := n.quorum.Image()
	for name, level := range img.Features() {
		out.Gauge("moldau_feature_level", "Finalized level of a feature.", float64(level), "feature", name)
	}
}

// appendRate is how fast the metadata log has grown since the last scrape.
func (n *monitor) appendRate() float64 {
	f := &n.figures
	f.mu.Lock()
	defer f.mu.Unlock()
	now := n.o.World.Mono()
	if passed := now - f.endAt; passed >= leastInterval {
		end := n.quorum.LogEnd()
		if f.endAt > 0 {
			f.rate = float64(end-f.end) / passed.Seconds()
		}
		f.end, f.endAt = end, now
	}
	return f.rate
}

// idle is the share of the machine's CPU time that this process did not use since the last scrape.
func (n *monitor) idle() float64 {
	f := &n.figures
	f.mu.Lock()
	defer f.mu.Unlock()
	now := n.o.World.Mono()
	if passed := now - f.idleAt; passed >= leastInterval {
		used := cpuTime()
		f.idle = min(max(1-float64(used-f.cpu)/(float64(passed)*float64(runtime.GOMAXPROCS(0))), 0), 1)
		f.cpu, f.idleAt = used, now
	}
	return f.idle
}

// groupStates are the states that are always shown, as Kafka's gauges are.
var groupStates = []string{"Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead"}

// emitGroups tells about the groups that this node coordinates.
func (n *monitor) emitGroups(out *metric.Sink) {
	groups, ok := n.listGroups()
	if !ok {
		return // some are being loaded: half a truth would look like a loss
	}
	const manager = "kafka_coordinator_group_groupmetadatamanager_"
	types, states := map[string]int{}, map[[2]string]int{}
	for i := range groups {
		types[groups[i].GroupType]++
		states[[2]string{groups[i].GroupType, groups[i].GroupState}]++
	}
	out.Gauge(manager+"numgroups", "Groups of all types.", float64(len(groups)))
	for _, state := range groupStates {
		out.Gauge(manager+"numgroups"+strings.ToLower(state), "Classic groups in this state.", float64(states[[2]string{"classic", state}]))
	}
	for t, count := range types {
		out.Gauge("kafka_server_group_coordinator_metrics_group_count", "Groups, by type.", float64(count), "protocol", t)
	}
	for key, count := range states {
		out.Gauge("moldau_groups", "Groups, by type and state.", float64(count), "type", key[0], "state", key[1])
	}
	left, offsets := maxOffsetSeries, 0
	for i := range groups[:min(len(groups), maxGroupSeries)] {
		shown := n.emitOffsets(out, groups[i].GroupID, left)
		left, offsets = left-shown, offsets+shown
	}
	out.Gauge(manager+"numoffsets", "Committed offsets, of as many groups as have series.", float64(offsets))
}

// listGroups gives all groups coordinated here, sorted; ok is false while some are being loaded.
func (n *monitor) listGroups() (list []wire.ListGroupsResponseListedGroup, ok bool) {
	n.groups.ListGroups(&wire.ListGroupsRequest{}, coordinator.Client{}, wire.APIs[wire.KeyListGroups].Max, func(r *wire.ListGroupsResponse) {
		list, ok = r.Groups, r.ErrorCode == wire.None
	})
	slices.SortFunc(list, func(a, b wire.ListGroupsResponseListedGroup) int { return strings.Compare(a.GroupID, b.GroupID) })
	return list, ok
}

// emitOffsets tells where a group is and how far behind, of at most so many partitions.
func (n *monitor) emitOffsets(out *metric.Sink, id string, limit int) (shown int) {
	const version = 8 // the last in which topics go by name
	req := &wire.OffsetFetchRequest{Groups: []wire.OffsetFetchRequestGroup{{GroupID: id, MemberEpoch: -1}}}
	var got []wire.OffsetFetchResponseTopics
	n.groups.OffsetFetch(req, coordinator.Client{}, version, func(r *wire.OffsetFetchResponse) {
		if len(r.Groups) == 1 && r.Groups[0].ErrorCode == wire.None {
			got = r.Groups[0].Topics
		}
	})
	for i := range got {
		local := n.table.ByName(got[i].Name)
		var offsets, lags int64
		before := shown
		for _, p := range got[i].Partitions {
			if p.CommittedOffset < 0 || shown >= limit {
				continue
			}
			shown++
			offsets += p.CommittedOffset
			labels := []string{"consumergroup", id, "topic", got[i].Name, "partition", strconv.Itoa(int(p.PartitionIndex))}
			out.Gauge("kafka_consumergroup_current_offset", "Offset that the group has committed.", float64(p.CommittedOffset), labels...)
			if part := local.Partition(p.PartitionIndex); part != nil {
				lag := max(part.HighWatermark()-max(p.CommittedOffset, part.Log().Start()), 0)
				lags += lag
				out.Gauge("kafka_consumergroup_lag", "Records that the group has not yet read.", float64(lag), labels...)
			}
		}
		if shown > before {
			out.Gauge("kafka_consumergroup_current_offset_sum", "Sum of the offsets that the group has committed in the topic.", float64(offsets), "consumergroup", id, "topic", got[i].Name)
			out.Gauge("kafka_consumergroup_lag_sum", "Records of the topic that the group has not yet read.", float64(lags), "consumergroup", id, "topic", got[i].Name)
		}
	}
	return shown
}
