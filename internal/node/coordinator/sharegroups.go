package coordinator

import (
	"time"

	"github.com/moldau/moldau/internal/format/wire"
	"github.com/moldau/moldau/internal/machine/metadata"
	"github.com/moldau/moldau/internal/machine/share"
)

// ShareParts is what share groups need of the node.
type ShareParts struct {
	// Shares keeps the states of share partitions.
	Shares *Shares
	// CreateTopic makes __share_group_state and calls done once it is there, or cannot be made.
	CreateTopic func(done func())
	// End is the offset behind the last record of a partition that consumers may read.
	End func(topic string, partition int32) (int64, wire.Code)
	// Config is what the broker's settings say; its Settings are not used.
	Config share.GroupsConfig
	// Settings gives a group's settings as of an image; nil stands for Kafka's defaults.
	Settings func(img *metadata.Image, group string) share.GroupSettings
}

// ServeShareGroups gives the coordinator what share groups need. It must be called before the first election.
func (c *Groups) ServeShareGroups(parts ShareParts) { c.shareParts = parts }

// attachShare gives a machine its share groups.
func (m *groupMachine) attachShare() {
	parts := &m.groups.shareParts
	config := parts.Config
	if config.MaxSize == 0 {
		config = share.DefaultGroupsConfig()
	}
	if parts.Settings != nil {
		config.Settings = func(id string) share.GroupSettings { return parts.Settings(m.groups.image.Load(), id) }
	}
	m.share = share.NewGroups(config, m.machine)
	m.machine.Attach(m.share)
}

// ShareGroupHeartbeat serves one ShareGroupHeartbeat request (KIP-932).
func (c *Groups) ShareGroupHeartbeat(req *wire.ShareGroupHeartbeatRequest, client Client, _ int16, done func(*wire.ShareGroupHeartbeatResponse)) {
	refused := func(code wire.Code) {
		done(&wire.ShareGroupHeartbeatResponse{ErrorCode: code})
	}
	if c.image.Load() == nil {
		refused(wire.CoordinatorNotAvailable)
		return
	}
	if bad := share.CheckHeartbeat(req); bad.Code != wire.None {
		done(&wire.ShareGroupHeartbeatResponse{ErrorCode: bad.Code, ErrorMessage: bad.Message()})
		return
	}
	var resp *wire.ShareGroupHeartbeatResponse
	answered := false
	c.shardFor(req.GroupID).do(func(m *groupMachine, t *turn) func(*turn, wire.Code) {
		var initialize *wire.InitializeShareGroupStateRequest
		resp, initialize = m.share.Heartbeat(t.now, client, req, &m.fx)
		if answered = len(m.fx.Writes) == 0; answered {
			m.absorb(t)
			return nil
		}
		m.absorb(t)
		return func(t *turn, code wire.Code) {
			if code != wire.None {
				t.calls = append(t.calls, func() { refused(code) })
				return
			}
			t.calls = append(t.calls, func() { done(resp) })
			if initialize != nil {
				t.calls = append(t.calls, func() { c.initializeStates(initialize, func(*wire.InitializeShareGroupStateResponse) {}) })
			}
		}
	}, refused)
	if answered {
		done(resp)
	}
}

func codeText(code wire.Code) *string {
	text := share.Text(code)
	return &text
}

const (
	// stateTries is how often the share coordinator is asked while it loads or is not there yet, stateWait how long the
	// first wait between two tries is; each further one is twice as long, up to stateWaitMax.
	stateTries   = 8
	stateWait    = 20 * time.Millisecond
	stateWaitMax = 2 * time.Second
)

// comeAgain tells whether the share coordinator may do later what it could not do now.
func comeAgain(code wire.Code) bool {
	return code == wire.CoordinatorLoadInProgress || code == wire.CoordinatorNotAvailable || code == wire.NotCoordinator
}

// insist calls try until it gives no reason to come again, or has been called often enough. try calls next with
// whether it wants to be called again.
func (c *Groups) insist(try func(last bool, next func(again bool))) {
	n, wait := 0, stateWait
	var attempt func()
	attempt = func() {
		n++
		last := n >= stateTries
		try(last, func(again bool) {
			if again && !last {
				c.opts.world.AfterFunc(wait, attempt)
				wait = min(2*wait, stateWaitMax)
			}
		})
	}
	if img := c.image.Load(); img != nil && c.shareParts.CreateTopic != nil {
		if _, ok := img.Topic(ShareTopic); !ok {
			c.shareParts.CreateTopic(attempt)
			return
		}
	}
	attempt()
}

// initializeStates asks the share coordinator for states, tells the group how that went, and calls done when that is
// written.
func (c *Groups) initializeStates(req *wire.InitializeShareGroupStateRequest, done func(*wire.InitializeShareGroupStateResponse)) {
	c.insist(func(last bool, next func(bool)) {
		c.shareParts.Shares.InitializeShareGroupState(req, Client{}, 0, func(resp *wire.InitializeShareGroupStateResponse) {
			failed, again := wire.None, false
			for i := range resp.Results {
				for _, p := range resp.Results[i].Partitions {
					again = again || comeAgain(p.ErrorCode)
					if p.ErrorCode != wire.None {
						failed = p.ErrorCode
					}
				}
			}
			if again && !last {
				next(true)
				return
			}
			c.settleStates(req, failed, func() { done(resp) })
		})
	})
}

// settleStates tells a group that share partitions have got their states, or have not.
func (c *Groups) settleStates(req *wire.InitializeShareGroupStateRequest, failed wire.Code, done func()) {
	if failed != wire.None {
		c.opts.logger.Warn("states of share partitions could not be made; the group's next heartbeat tries again",
			"group", req.GroupID, "error", failed)
	}
	c.shardFor(req.GroupID).do(func(m *groupMachine, t *turn) func(*turn, wire.Code) {
		if failed == wire.None {
			m.share.Initialized(t.now, req, &m.fx)
		} else {
			m.share.NotInitialized(t.now, req, &m.fx)
		}
		m.absorb(t)
		return func(t *turn, _ wire.Code) { t.calls = append(t.calls, done) }
	}, func(wire.Code) { done() })
}

// deleteStates asks the share coordinator to delete states.
func (c *Groups) deleteStates(req *wire.DeleteShareGroupStateRequest, done func(*wire.DeleteShareGroupStateResponse)) {
	c.insist(func(last bool, next func(bool)) {
		c.shareParts.Shares.DeleteShareGroupState(req, Client{}, 0, func(resp *wire.DeleteShareGroupStateResponse) {
			again := false
			for i := range resp.Results {
				for _, p := range resp.Results[i].Partitions {
					again = again || comeAgain(p.ErrorCode)
				}
			}
			if again && !last {
				next(true)
				return
			}
			done(resp)
		})
	})
}

// ShareGroupDescribe serves one ShareGroupDescribe request, in the order of its groups. Authorized operations are left
// to the broker.
func (c *Groups) ShareGroupDescribe(req *wire.ShareGroupDescribeRequest, _ Client, _ int16, done func(*wire.ShareGroupDescribeResponse)) {
	resp := &wire.ShareGroupDescribeResponse{Groups: make([]wire.ShareGroupDescribeResponseDescribedGroup, len(req.GroupIDs))}
	c.describeEach(req.GroupIDs, func(m *groupMachine, i int, id string) {
		resp.Groups[i] = m.share.Describe(id)
	}, func(i int, id string, code wire.Code) {
		out := &resp.Groups[i]
		out.SetDefaults()
		out.GroupID, out.ErrorCode = id, code
	}, func() { done(resp) })
}

// AlterShareGroupOffsets sets where an empty share group goes on reading.
func (c *Groups) AlterShareGroupOffsets(req *wire.AlterShareGroupOffsetsRequest, _ Client, _ int16, done func(*wire.AlterShareGroupOffsetsResponse)) {
	refused := func(code wire.Code) {
		done(&wire.AlterShareGroupOffsetsResponse{ErrorCode: code, ErrorMessage: codeText(code)})
	}
	if c.image.Load() == nil {
		refused(wire.CoordinatorNotAvailable)
		return
	}
	if req.GroupID == "" {
		refused(wire.InvalidGroupID)
		return
	}
	c.shardFor(req.GroupID).do(func(m *groupMachine, t *turn) func(*turn, wire.Code) {
		resp, initialize := m.share.AlterOffsets(t.now, req, &m.fx)
		m.absorb(t)
		return func(t *turn, code wire.Code) {
			t.calls = append(t.calls, func() {
				switch {
				case code != wire.None:
					refused(code)
				case initialize == nil:
					done(resp)
				default:
					c.initializeStates(initialize, func(made *wire.InitializeShareGroupStateResponse) {
						failAltered(resp, made)
						done(resp)
					})
				}
			})
		}
	}, refused)
}

// partitionOf is a partition of a topic.
type partitionOf struct {
	topic     wire.UUID
	partition int32
}

// failAltered puts the errors of the share coordinator where they belong.
func failAltered(resp *wire.AlterShareGroupOffsetsResponse, made *wire.InitializeShareGroupStateResponse) {
	failed := map[partitionOf]*wire.InitializeShareGroupStateResponsePartitionResult{}
	for i := range made.Results {
		for k := range made.Results[i].Partitions {
			if p := &made.Results[i].Partitions[k]; p.ErrorCode != wire.None {
				failed[partitionOf{made.Results[i].TopicID, p.Partition}] = p
			}
		}
	}
	for i := range resp.Responses {
		for k := range resp.Responses[i].Partitions {
			p := &resp.Responses[i].Partitions[k]
			if bad := failed[partitionOf{resp.Responses[i].TopicID, p.PartitionIndex}]; bad != nil && p.ErrorCode == wire.None {
				p.ErrorCode, p.ErrorMessage = bad.ErrorCode, bad.ErrorMessage
			}
		}
	}
}

// DeleteShareGroupOffsets deletes an empty share group's states of some topics.
func (c *Groups) DeleteShareGroupOffsets(req *wire.DeleteShareGroupOffsetsRequest, _ Client, _ int16, done func(*wire.DeleteShareGroupOffsetsResponse)) {
	refused := func(code wire.Code) {
		done(&wire.DeleteShareGroupOffsetsResponse{ErrorCode: code, ErrorMessage: codeText(code)})
	}
	if c.image.Load() == nil {
		refused(wire.CoordinatorNotAvailable)
		return
	}
	if req.GroupID == "" {
		refused(wire.InvalidGroupID)
		return
	}
	c.shardFor(req.GroupID).do(func(m *groupMachine, t *turn) func(*turn, wire.Code) {
		resp, doomed := m.share.StartDeleteOffsets(t.now, req, &m.fx)
		m.absorb(t)
		return func(t *turn, code wire.Code) {
			t.calls = append(t.calls, func() {
				switch {
				case code != wire.None:
					refused(code)
				case doomed == nil:
					done(resp)
				default:
					c.deleteStates(doomed, func(gone *wire.DeleteShareGroupStateResponse) {
						c.finishDeleteOffsets(doomed.GroupID, resp, gone, refused, done)
					})
				}
			})
		}
	}, refused)
}

// finishDeleteOffsets tells the group which states are gone, and answers.
func (c *Groups) finishDeleteOffsets(id string, resp *wire.DeleteShareGroupOffsetsResponse, gone *wire.DeleteShareGroupStateResponse,
	refused func(wire.Code), done func(*wire.DeleteShareGroupOffsetsResponse),
) {
	img := c.image.Load()
	var topics []wire.UUID
	var deleted []wire.DeleteShareGroupOffsetsResponseTopic
	for i := range gone.Results {
		out := wire.DeleteShareGroupOffsetsResponseTopic{TopicID: gone.Results[i].TopicID}
		if topic, ok := img.TopicByID(out.TopicID); ok {
			out.TopicName = topic.Name
		}
		for _, p := range gone.Results[i].Partitions {
			if p.ErrorCode != wire.None {
				out.ErrorCode, out.ErrorMessage = p.ErrorCode, codeText(p.ErrorCode)
			}
		}
		if out.ErrorCode == wire.None {
			topics = append(topics, out.TopicID)
			deleted = append(deleted, out)
		} else {
			resp.Responses = append(resp.Responses, out)
		}
	}
	resp.Responses = append(deleted, resp.Responses...)
	if len(topics) == 0 {
		done(resp)
		return
	}
	c.shardFor(id).do(func(m *groupMachine, t *turn) func(*turn, wire.Code) {
		m.share.FinishDeleteOffsets(t.now, id, topics, &m.fx)
		m.absorb(t)
		return func(t *turn, code wire.Code) {
			t.calls = append(t.calls, func() {
				if code != wire.None {
					refused(code)
					return
				}
				done(resp)
			})
		}
	}, refused)
}

// deleteShareStates deletes the states of those groups that are share groups, which comes before the groups
// themselves. failed has those for which that did not work.
func (c *Groups) deleteShareStates(ids []string, done func(failed map[string]wire.Code)) {
	requests := map[string]*wire.DeleteShareGroupStateRequest{}
	failed := map[string]wire.Code{}
	var order []string
	for _, id := range ids {
		// The group is deleted behind this in the log, so there is no need to wait for the write.
		c.shardFor(id).do(func(m *groupMachine, t *turn) func(*turn, wire.Code) {
			req, code, _ := m.share.StartDelete(t.now, id, &m.fx)
			m.absorb(t)
			if code != wire.None {
				failed[id] = code
			} else if req != nil {
				requests[id] = req
				order = append(order, id)
			}
			return nil
		}, func(wire.Code) {}) // the deletion of the group is refused, too
	}
	codes := make([]wire.Code, len(order))
	all := newGather(len(order), func() {
		for i, code := range codes {
			if code != wire.None {
				failed[order[i]] = code
			}
		}
		done(failed)
	})
	for i, id := range order {
		c.deleteStates(requests[id], func(resp *wire.DeleteShareGroupStateResponse) {
			for k := range resp.Results {
				for _, p := range resp.Results[k].Partitions {
					if p.ErrorCode != wire.None {
						codes[i] = p.ErrorCode
					}
				}
			}
			all.one()
		})
	}
	all.one()
}
