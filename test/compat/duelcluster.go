package main

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// clusterDuel asks for what administers a cluster, on a broker's listener and on a controller's: elections, reassignments,
// features, the quorum, log directories, telemetry, and what only nodes ask one another.
var clusterDuel = discipline{name: "cluster", play: playCluster, prompt: true, settings: "log.dirs=%[3]s,%[3]s.second\n"}

// toController is the connection to the controller's listener, metricsFrom that of clients that push metrics: with its end they are
// forgotten.
const (
	toController = 1
	metricsFrom  = 2
)

// clusterGame is what a game of clusterDuel knows.
type clusterGame struct {
	*game
	names    []string
	features []feature
	subs     map[*player]int32 // the id of the last telemetry subscription
	offered  map[int16]bool    // what controllers of both offer
}

// feature is one that both know, and the highest level that both support.
type feature struct {
	name      string
	low, high int16
	now       int16
}

func playCluster(g *game) error {
	if err := g.open(1); err != nil {
		return err
	}
	t := &clusterGame{game: g, subs: map[*player]int32{}}
	if err := t.begin(); err != nil {
		return err
	}
	if err := g.open(1); err != nil {
		return err
	}
	for i := range 2 {
		t.names = append(t.names, fmt.Sprintf("%s.%d", g.prefix, i))
	}
	create := kmsg.NewPtrCreateTopicsRequest()
	create.TimeoutMillis = 10_000
	remove := kmsg.NewPtrDeleteTopicsRequest()
	remove.TimeoutMillis = 10_000
	for i := range t.names {
		create.Topics = append(create.Topics, kmsg.CreateTopicsRequestTopic{Topic: t.names[i], NumPartitions: 2, ReplicationFactor: 1})
		remove.TopicNames = append(remove.TopicNames, t.names[i])
		remove.Topics = append(remove.Topics, kmsg.DeleteTopicsRequestTopic{Topic: &t.names[i]})
	}
	if err := t.askAll([]question{{build: func(*player) kmsg.Request { return create }, newest: true, learn: func(p *player, resp kmsg.Response) {
		for i := range resp.(*kmsg.CreateTopicsResponse).Topics {
			topic := &resp.(*kmsg.CreateTopicsResponse).Topics[i]
			bindTopic(p, topic.Topic, topic.TopicID)
			topic.Configs = nil // compared by topicsDuel
		}
	}}, t.together(), t.describingDirs(t.names...)}); err != nil {
		return err
	}
	moves := []func() question{t.elect, t.elect, t.reassign, t.reassign, t.reassigning, t.update, t.update, t.quorum, t.cluster, t.cluster,
		t.unregister, t.dirs, t.dirs, t.move, t.move, t.subscribe, t.subscribe, t.push, t.push, t.apiVersions, t.voter, t.among, t.among}
	for range 45 {
		q := moves[g.rng.IntN(len(moves))]()
		if err := t.askAll([]question{q}); err != nil {
			return err
		}
	}
	return t.askAll(append(t.restore(), question{newest: true, build: func(*player) kmsg.Request { return remove }, learn: func(_ *player, resp kmsg.Response) {
		slices.SortFunc(resp.(*kmsg.DeleteTopicsResponse).Topics, func(a, b kmsg.DeleteTopicsResponseTopic) int { return comparePtr(a.Topic, b.Topic) })
	}}))
}

// begin opens connections to the controllers and learns which versions they and which features both know.
func (t *clusterGame) begin() error {
	var supported, finalized [2]map[string][2]int16
	var offered [2]map[int16]versionRange
	for i, p := range t.sides {
		req := kmsg.NewPtrDescribeConfigsRequest()
		req.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "1",
			ConfigNames: []string{"controller.quorum.voters", "log.dirs"}}}
		resp, err := p.raw(req, 4)
		if err != nil {
			return err
		}
		for _, c := range resp.(*kmsg.DescribeConfigsResponse).Resources[0].Configs {
			if c.Name == "log.dirs" {
				for n, dir := range strings.Split(*c.Value, ",") {
					p.bind(fmt.Sprintf("directory %d", n), dir)
				}
				continue
			}
			_, addr, _ := strings.Cut(*c.Value, "@")
			conn, err := dialDuel(addr)
			if err != nil {
				return err
			}
			p.conns = append(p.conns, conn)
		}
		if resp, err = p.raw(kmsg.NewPtrDescribeClusterRequest(), 0); err != nil {
			return err
		}
		p.bind("cluster", resp.(*kmsg.DescribeClusterResponse).ClusterID)
		versions := kmsg.NewPtrApiVersionsRequest()
		versions.ClientSoftwareName, versions.ClientSoftwareVersion = "duel", "1"
		if resp, err = p.raw(versions, 4); err != nil {
			return err
		}
		v := resp.(*kmsg.ApiVersionsResponse)
		supported[i], finalized[i], offered[i] = map[string][2]int16{}, map[string][2]int16{}, map[int16]versionRange{}
		for _, f := range v.SupportedFeatures {
			supported[i][f.Name] = [2]int16{f.MinVersion, f.MaxVersion}
		}
		for _, f := range v.FinalizedFeatures {
			finalized[i][f.Name] = [2]int16{f.MinVersionLevel, f.MaxVersionLevel}
		}
		versions.SetVersion(4)
		p.conns[toController].send(versions)
		if resp, err = p.conns[toController].receive(duelPatience); err != nil {
			return err
		}
		for _, k := range resp.(*kmsg.ApiVersionsResponse).ApiKeys {
			offered[i][k.ApiKey] = versionRange{k.MinVersion, k.MaxVersion}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(supported[0])) {
		ours, theirs := supported[0][name], supported[1][name]
		// kraft.version begins higher on purpose, see internal/node/quorum/format.go, and metadata.version is another release's.
		if name != "metadata.version" && name != "kraft.version" && theirs != [2]int16{} {
			t.features = append(t.features, feature{name, max(ours[0], theirs[0]), min(ours[1], theirs[1]), min(finalized[0][name][1], finalized[1][name][1])})
		}
	}
	t.versions, t.offered = maps.Clone(t.versions), map[int16]bool{}
	for key, ours := range offered[0] {
		theirs, ok := offered[1][key]
		t.offered[key] = ok
		req := kmsg.RequestForKey(key)
		if _, known := t.versions[key]; !known && ok && req != nil {
			t.versions[key] = versionRange{max(ours.low, theirs.low), min(ours.high, theirs.high, req.MaxVersion())}
		}
	}
	return nil
}

// name is mostly a topic of the game.
func (t *clusterGame) name() string {
	if rarely(t.game, 8) {
		return oneOf(t.game, "nosuch", "", "with space", "__cluster_metadata")
	}
	return oneOf(t.game, t.names...)
}

func (t *clusterGame) partition() int32 {
	if rarely(t.game, 6) {
		return oneOf[int32](t.game, 7, -1, 2_000_000_000)
	}
	return int32(t.rng.IntN(2))
}

// conn is the broker's listener or, seldom, the controller's.
func (t *clusterGame) conn() int {
	if rarely(t.game, 4) {
		return toController
	}
	return 0
}

// asking is a question on either listener that changes nothing but the answer's order.
func (t *clusterGame) asking(req kmsg.Request, learn func(p *player, resp kmsg.Response)) question {
	conn := t.conn()
	if !t.offered[req.Key()] { // Moldau's controller is alone: internal/node/broker/table.go
		conn = 0
	}
	return question{conn: conn, mayClose: true, build: func(*player) kmsg.Request { return req }, learn: learn}
}

func (t *clusterGame) elect() question {
	req := kmsg.NewPtrElectLeadersRequest()
	req.TimeoutMillis, req.ElectionType = 10_000, oneOf[int8](t.game, 0, 0, 1)
	if rarely(t.game, 10) {
		req.ElectionType = oneOf[int8](t.game, 2, -1)
	}
	for range t.rng.IntN(4) {
		topic := kmsg.ElectLeadersRequestTopic{Topic: t.name(), Partitions: []int32{t.partition(), t.partition()}}
		if rarely(t.game, 6) {
			topic.Partitions = nil
		}
		req.Topics = append(req.Topics, topic)
	}
	return t.asking(req, func(p *player, resp kmsg.Response) {
		r := resp.(*kmsg.ElectLeadersResponse)
		for i := range r.Topics {
			slices.SortStableFunc(r.Topics[i].Partitions, func(a, b kmsg.ElectLeadersResponseTopicPartition) int { return cmp.Compare(a.Partition, b.Partition) })
		}
		slices.SortFunc(r.Topics, func(a, b kmsg.ElectLeadersResponseTopic) int { return cmp.Compare(p.text(a), p.text(b)) })
	})
}

func (t *clusterGame) reassign() question {
	req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	req.TimeoutMillis, req.AllowReplicationFactorChange = 10_000, !rarely(t.game, 3)
	for range t.rng.IntN(3) {
		topic := kmsg.AlterPartitionAssignmentsRequestTopic{Topic: t.name()}
		for range 1 + t.rng.IntN(2) {
			topic.Partitions = append(topic.Partitions, kmsg.AlterPartitionAssignmentsRequestTopicPartition{Partition: t.partition(),
				Replicas: oneOf(t.game, []int32{1}, []int32{1}, nil, []int32{}, []int32{1, 1}, []int32{2}, []int32{-1}, []int32{1, 2}, []int32{2, 1, 2})})
		}
		req.Topics = append(req.Topics, topic)
	}
	return t.asking(req, nil)
}

func (t *clusterGame) reassigning() question {
	req := kmsg.NewPtrListPartitionReassignmentsRequest()
	req.TimeoutMillis = 10_000
	for range t.rng.IntN(3) {
		req.Topics = append(req.Topics, kmsg.ListPartitionReassignmentsRequestTopic{Topic: t.name(), Partitions: []int32{t.partition()}})
	}
	return t.asking(req, nil)
}

// supportedLevels is the range in a refusal: Moldau supports levels of a newer release.
var supportedLevels = regexp.MustCompile(`only supports versions? [-0-9]+`)

func (t *clusterGame) update() question {
	req := kmsg.NewPtrUpdateFeaturesRequest()
	req.TimeoutMillis, req.ValidateOnly = 10_000, rarely(t.game, 2)
	if rarely(t.game, 3) { // one that changes nothing: of several wrong ones Kafka names any
		f := oneOf(t.game, t.features...)
		req.FeatureUpdates = append(req.FeatureUpdates, kmsg.UpdateFeaturesRequestFeatureUpdate{Feature: f.name, MaxVersionLevel: f.now, UpgradeType: 1})
	}
	f := oneOf(t.game, t.features...)
	u := kmsg.UpdateFeaturesRequestFeatureUpdate{Feature: f.name, MaxVersionLevel: int16(t.rng.IntN(int(f.high)+3)) - 1,
		UpgradeType: oneOf[int8](t.game, 1, 1, 2, 3), AllowDowngrade: rarely(t.game, 2)}
	if u.MaxVersionLevel > f.high {
		u.MaxVersionLevel = 30_000
	}
	if rarely(t.game, 8) {
		u.Feature = oneOf(t.game, "", "no.such.feature")
	}
	if rarely(t.game, 10) {
		u.UpgradeType = oneOf[int8](t.game, 0, 4, -1)
	}
	req.FeatureUpdates = append(req.FeatureUpdates, u)
	if rarely(t.game, 10) {
		req.FeatureUpdates = nil
	}
	return t.updating(req)
}

func (t *clusterGame) updating(req *kmsg.UpdateFeaturesRequest) question {
	return t.asking(req, func(_ *player, resp kmsg.Response) {
		r := resp.(*kmsg.UpdateFeaturesResponse)
		if r.ErrorMessage != nil {
			r.ErrorMessage = kmsg.StringPtr(supportedLevels.ReplaceAllString(*r.ErrorMessage, "only supports some"))
		}
		slices.SortFunc(r.Results, func(a, b kmsg.UpdateFeaturesResponseResult) int { return cmp.Compare(a.Feature, b.Feature) })
	})
}

// restore brings the features back to what they were.
func (t *clusterGame) restore() (all []question) {
	for _, f := range t.features {
		for _, kind := range []int8{1, 2} {
			req := kmsg.NewPtrUpdateFeaturesRequest()
			req.TimeoutMillis = 10_000
			req.FeatureUpdates = []kmsg.UpdateFeaturesRequestFeatureUpdate{{Feature: f.name, MaxVersionLevel: f.now, UpgradeType: kind}}
			q := t.updating(req)
			q.conn, q.newest = 0, true
			all = append(all, q)
		}
	}
	return all
}

func (t *clusterGame) quorum() question {
	req := kmsg.NewPtrDescribeQuorumRequest()
	topic := kmsg.DescribeQuorumRequestTopic{Topic: "__cluster_metadata", Partitions: []kmsg.DescribeQuorumRequestTopicPartition{{}}}
	if rarely(t.game, 3) {
		topic.Topic = t.name()
	}
	if rarely(t.game, 3) {
		topic.Partitions = append(topic.Partitions, kmsg.DescribeQuorumRequestTopicPartition{Partition: t.partition()})
	}
	if rarely(t.game, 6) {
		topic.Partitions = nil
	}
	if !rarely(t.game, 8) {
		req.Topics = append(req.Topics, topic)
	}
	if rarely(t.game, 8) {
		req.Topics = append(req.Topics, topic)
	}
	return t.asking(req, func(_ *player, resp kmsg.Response) {
		r := resp.(*kmsg.DescribeQuorumResponse)
		for i := range r.Nodes {
			for k := range r.Nodes[i].Listeners {
				r.Nodes[i].Listeners[k].Port = 0
			}
		}
		for i := range r.Topics {
			for k := range r.Topics[i].Partitions {
				p := &r.Topics[i].Partitions[k]
				p.LeaderEpoch, p.HighWatermark = min(p.LeaderEpoch, 1), min(p.HighWatermark, 1) // of logs that are not the same
				for _, list := range [][]kmsg.DescribeQuorumResponseTopicPartitionReplicaState{p.CurrentVoters, p.Observers} {
					for n := range list {
						s := &list[n]
						s.LogEndOffset, s.LastFetchTimestamp, s.LastCaughtUpTimestamp = min(s.LogEndOffset, 1), min(s.LastFetchTimestamp, 1), min(s.LastCaughtUpTimestamp, 1)
						s.ReplicaDirectoryID = [16]byte{}
					}
				}
			}
		}
	})
}

func (t *clusterGame) cluster() question {
	req := kmsg.NewPtrDescribeClusterRequest()
	req.IncludeClusterAuthorizedOperations, req.IncludeFencedBrokers = rarely(t.game, 2), rarely(t.game, 2)
	req.EndpointType = oneOf[int8](t.game, 1, 1, 1, 2, 2, 0, 3, -1)
	return t.asking(req, func(_ *player, resp kmsg.Response) {
		r := resp.(*kmsg.DescribeClusterResponse)
		for i := range r.Brokers {
			r.Brokers[i].Port = 0
		}
	})
}

func (t *clusterGame) unregister() question {
	req := kmsg.NewPtrUnregisterBrokerRequest()
	req.BrokerID = oneOf[int32](t.game, 2, 0, -1, 2_000_000_000)
	return t.asking(req, nil)
}

// dir is one of the two directories, or none.
func (t *clusterGame) dir() func(p *player) string {
	n := t.rng.IntN(10)
	return func(p *player) string {
		switch {
		case n == 0:
			return ""
		case n == 1:
			return "/no/such/directory"
		case n == 2:
			return "not/absolute"
		}
		return p.known[fmt.Sprintf("directory %d", n%2)]
	}
}

// describingDirs asks where replicas of topics lie; without names for all.
func (t *clusterGame) describingDirs(names ...string) question {
	req := kmsg.NewPtrDescribeLogDirsRequest()
	for _, name := range names {
		req.Topics = append(req.Topics, kmsg.DescribeLogDirsRequestTopic{Topic: name, Partitions: []int32{0, 1, 7}})
	}
	moving := func(resp kmsg.Response) bool { // or just moved: the directories are looked at one after the other
		type replica struct {
			topic     string
			partition int32
		}
		seen := map[replica]bool{}
		for _, d := range resp.(*kmsg.DescribeLogDirsResponse).Dirs {
			for _, topic := range d.Topics {
				for _, p := range topic.Partitions {
					if r := (replica{topic.Topic, p.Partition}); p.IsFuture || seen[r] {
						return true
					} else {
						seen[r] = true
					}
				}
			}
		}
		return false
	}
	return question{late: true, newest: true, again: moving, build: func(*player) kmsg.Request { return req }, learn: func(p *player, resp kmsg.Response) {
		r := resp.(*kmsg.DescribeLogDirsResponse)
		for i := range r.Dirs {
			d := &r.Dirs[i]
			d.TotalBytes, d.UsableBytes = min(d.TotalBytes, 1), min(d.UsableBytes, 1)
			for k := range d.Topics {
				slices.SortFunc(d.Topics[k].Partitions, func(a, b kmsg.DescribeLogDirsResponseDirTopicPartition) int {
					return cmp.Compare(a.Partition, b.Partition)
				})
			}
			slices.SortFunc(d.Topics, func(a, b kmsg.DescribeLogDirsResponseDirTopic) int { return cmp.Compare(a.Topic, b.Topic) })
		}
		slices.SortFunc(r.Dirs, func(a, b kmsg.DescribeLogDirsResponseDir) int { return cmp.Compare(a.Dir, b.Dir) })
	}}
}

// together moves all replicas to one directory: to begin with they lie where each broker chose.
func (t *clusterGame) together() question {
	missing := func(resp kmsg.Response) bool { // Kafka's broker learns of a topic a little later
		return slices.ContainsFunc(resp.(*kmsg.AlterReplicaLogDirsResponse).Topics, func(topic kmsg.AlterReplicaLogDirsResponseTopic) bool {
			return slices.ContainsFunc(topic.Partitions, func(p kmsg.AlterReplicaLogDirsResponseTopicPartition) bool { return p.ErrorCode != 0 })
		})
	}
	return question{newest: true, again: missing, build: func(p *player) kmsg.Request {
		req := kmsg.NewPtrAlterReplicaLogDirsRequest()
		dir := kmsg.AlterReplicaLogDirsRequestDir{Dir: p.known["directory 0"]}
		for _, name := range t.names {
			dir.Topics = append(dir.Topics, kmsg.AlterReplicaLogDirsRequestDirTopic{Topic: name, Partitions: []int32{0, 1}})
		}
		req.Dirs = append(req.Dirs, dir)
		return req
	}, learn: learnMoves}
}

func (t *clusterGame) dirs() question {
	if rarely(t.game, 3) {
		return t.describingDirs()
	}
	return t.describingDirs(t.name(), t.name())
}

func (t *clusterGame) move() question {
	type wanted struct {
		dir       func(*player) string
		topic     string
		partition []int32
	}
	var all []wanted
	for range 1 + t.rng.IntN(2) {
		all = append(all, wanted{t.dir(), t.name(), []int32{t.partition()}})
	}
	return question{build: func(p *player) kmsg.Request {
		req := kmsg.NewPtrAlterReplicaLogDirsRequest()
		for _, w := range all {
			req.Dirs = append(req.Dirs, kmsg.AlterReplicaLogDirsRequestDir{Dir: w.dir(p), Topics: []kmsg.AlterReplicaLogDirsRequestDirTopic{{Topic: w.topic, Partitions: w.partition}}})
		}
		return req
	}, learn: learnMoves}
}

func learnMoves(p *player, resp kmsg.Response) {
	r := resp.(*kmsg.AlterReplicaLogDirsResponse)
	for i := range r.Topics {
		slices.SortFunc(r.Topics[i].Partitions, func(a, b kmsg.AlterReplicaLogDirsResponseTopicPartition) int {
			return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(a.ErrorCode, b.ErrorCode))
		})
	}
	slices.SortFunc(r.Topics, func(a, b kmsg.AlterReplicaLogDirsResponseTopic) int { return cmp.Compare(p.text(a), p.text(b)) })
}

func (t *clusterGame) subscribe() question {
	id := oneOf(t.game, "", "", "client", "made up")
	return question{conn: metricsFrom, build: func(p *player) kmsg.Request {
		req := kmsg.NewPtrGetTelemetrySubscriptionsRequest()
		req.ClientInstanceID = t.instance(p, id)
		return req
	}, learn: func(p *player, resp kmsg.Response) {
		r := resp.(*kmsg.GetTelemetrySubscriptionsResponse)
		p.bindID("client", r.ClientInstanceID)
		t.subs[p], r.SubscriptionID = r.SubscriptionID, 0 // it depends on the client's id
	}}
}

func (t *clusterGame) instance(p *player, id string) [16]byte {
	switch id {
	case "client":
		return topicRef{id: id}.of(p)
	case "made up":
		return [16]byte{6: 0x40, 8: 0x80, 15: byte(t.seed)}
	}
	return [16]byte{}
}

func (t *clusterGame) push() question {
	id, wrong := oneOf(t.game, "client", "client", "client", "", "made up"), rarely(t.game, 4)
	last, codec := rarely(t.game, 4), oneOf[int8](t.game, 0, 0, 1, 4, 9, -1)
	metrics := oneOf(t.game, nil, []byte{}, make([]byte, 2<<20)) // others are not looked at by Kafka, see internal/node/telemetry
	return question{conn: metricsFrom, build: func(p *player) kmsg.Request {
		req := kmsg.NewPtrPushTelemetryRequest()
		req.ClientInstanceID, req.SubscriptionID = t.instance(p, id), t.subs[p]
		if wrong {
			req.SubscriptionID++
		}
		req.Terminating, req.CompressionType, req.Metrics = last, codec, metrics
		return req
	}}
}

func (t *clusterGame) apiVersions() question {
	req := kmsg.NewPtrApiVersionsRequest()
	req.ClientSoftwareName, req.ClientSoftwareVersion = oneOf(t.game, "duel", "a.b-c", "", "a b", "-a", "a-", "ä"), oneOf(t.game, "1.0", "", "1_0", ".")
	return t.asking(req, func(_ *player, resp kmsg.Response) {
		r := resp.(*kmsg.ApiVersionsResponse)
		r.FinalizedFeaturesEpoch = 0 // of a log that is not the same
		if r.ErrorCode == 0 {
			r.ApiKeys, r.SupportedFeatures, r.FinalizedFeatures = nil, nil, nil // of different releases
		}
	})
}

func (t *clusterGame) voter() question {
	cluster := oneOf(t.game, nil, kmsg.StringPtr("another cluster"), kmsg.StringPtr(""))
	id := oneOf[int32](t.game, 2, 3, -1)
	if rarely(t.game, 2) {
		req := kmsg.NewPtrRemoveRaftVoterRequest()
		req.ClusterID, req.VoterID = cluster, id
		return t.asking(req, nil)
	}
	req := kmsg.NewPtrAddRaftVoterRequest()
	req.ClusterID, req.VoterID, req.TimeoutMillis = cluster, id, 1000
	req.Listeners = []kmsg.AddRaftVoterRequestListener{{Name: oneOf(t.game, "CONTROLLER", "OTHER"), Host: "localhost", Port: 1}}
	return t.asking(req, nil)
}

// among is what only nodes ask one another, wrong in all cases.
func (t *clusterGame) among() question {
	broker := oneOf[int32](t.game, 1, 2, -1)
	switch t.rng.IntN(9) {
	case 0:
		req := kmsg.NewPtrAllocateProducerIDsRequest()
		req.BrokerID, req.BrokerEpoch = broker, 1_000_000
		return t.asking(req, nil)
	case 1:
		req := kmsg.NewPtrBrokerHeartbeatRequest()
		req.BrokerID, req.BrokerEpoch = broker, 1_000_000
		return t.asking(req, nil)
	case 2:
		req := kmsg.NewPtrAlterPartitionRequest()
		req.BrokerID, req.BrokerEpoch = broker, 1_000_000
		return t.asking(req, nil)
	case 3:
		req := kmsg.NewPtrAssignReplicasToDirsRequest()
		req.BrokerID, req.BrokerEpoch = broker, 1_000_000
		return t.asking(req, nil)
	case 4:
		req := kmsg.NewPtrBrokerRegistrationRequest()
		req.BrokerID, req.ClusterID = 2, "another cluster"
		return t.asking(req, nil)
	case 5:
		req := kmsg.NewPtrControlledShutdownRequest()
		req.BrokerID = 2
		return t.asking(req, nil)
	case 6:
		req := kmsg.NewPtrEnvelopeRequest()
		req.RequestData = []byte("x")
		return t.asking(req, nil)
	case 7:
		req := kmsg.NewPtrMetadataRequest()
		return t.asking(req, learnMetadata)
	}
	req := kmsg.NewPtrVoteRequest()
	req.ClusterID = kmsg.StringPtr("another cluster")
	req.Topics = []kmsg.VoteRequestTopic{{Topic: "__cluster_metadata", Partitions: []kmsg.VoteRequestTopicPartition{{CandidateID: 2}}}}
	return t.asking(req, nil)
}
