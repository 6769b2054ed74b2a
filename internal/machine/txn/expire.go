package txn

import (
	"fmt"

	"github.com/moldau/moldau/internal/machine/group"
)

// Next tells when Expire has something to do, in terms of Time.Mono.
func (m *Machine) Next() (mono int64, ok bool) { return min(m.abortAt, m.expireAt), true }

// Expire aborts transactions that take longer than their producers said, and forgets ids that nobody has used for long.
func (m *Machine) Expire(now Time, fx *Effects) {
	if now.Mono >= m.abortAt {
		m.abortAt = now.Mono + m.config.AbortCheckMs
		for _, id := range m.ids() {
			t := m.txns[id]
			if t.state != Ongoing || t.pending || now.Wall < t.startMs+int64(t.timeoutMs) {
				continue
			}
			fx.Events = append(fx.Events, group.Event{
				Group: t.id, What: "transaction aborted", Generation: int32(t.epoch), Members: len(t.partitions),
				Reason: fmt.Sprintf("it was open for longer than transaction.timeout.ms=%d of its producer", t.timeoutMs),
			})
			m.fence(now, t, fx)
		}
	}
	if now.Mono >= m.expireAt {
		m.expireAt = now.Mono + m.config.ExpirationCheckMs
		for _, id := range m.ids() {
			t := m.txns[id]
			idle := t.state == Empty || t.state == CompleteCommit || t.state == CompleteAbort
			if idle && !t.pending && now.Wall >= t.updateMs+m.config.ExpirationMs {
				m.retire(t, fx)
			}
		}
	}
}

// retire forgets an id. Until that is committed it cannot be used.
func (m *Machine) retire(t *txn, fx *Effects) {
	m.lastWrite++
	t.pending, t.retired = true, true
	m.inflight[m.lastWrite] = t.id
	fx.Writes = append(fx.Writes, group.Write{ID: m.lastWrite, Applied: true, Records: []group.Record{{Key: appendKey(t.id)}}})
}
