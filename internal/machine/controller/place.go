package controller

import (
	"slices"

	"github.com/moldau/moldau/internal/format/wire"
)

// rack is the usable brokers of one rack; each list is walked round and round.
type rack struct {
	name     string
	unfenced []int32
	fenced   []int32
}

// place spreads the replicas of new partitions over the brokers, as Kafka's
// striped placer does: partition after partition begins at the next rack, its replicas
// go to the racks that follow, and within a rack to the next broker; the first replica
// (the leader) is never on a fenced broker.
func (d *decider) place(partitions, factor int) ([]placed, *fault) {
	brokers := d.image.Brokers()
	var racks []*rack
	unfenced := 0
	for _, b := range brokers {
		name := ""
		if b.Rack != nil {
			name = *b.Rack
		}
		i := slices.IndexFunc(racks, func(r *rack) bool { return r.name == name })
		if i < 0 {
			i = len(racks)
			racks = append(racks, &rack{name: name})
		}
		if b.Fenced {
			racks[i].fenced = append(racks[i].fenced, b.BrokerID)
		} else {
			racks[i].unfenced = append(racks[i].unfenced, b.BrokerID)
			unfenced++
		}
	}
	switch {
	case factor <= 0:
		return nil, refuse(wire.InvalidReplicationFactor, "Invalid replication factor %d: the replication factor must be positive.", factor)
	case unfenced == 0:
		return nil, refuse(wire.InvalidReplicationFactor, "All brokers are currently fenced.")
	case factor > len(brokers):
		return nil, refuse(wire.InvalidReplicationFactor,
			"The target replication factor of %d cannot be reached because only %d broker(s) are registered or some brokers have all their log directories cordoned.", factor, len(brokers))
	}
	slices.SortFunc(racks, func(a, b *rack) int {
		if (len(a.unfenced) == 0) != (len(b.unfenced) == 0) {
			return len(b.unfenced) - len(a.unfenced)
		}
		if a.name < b.name {
			return -1
		}
		return 1
	})
	s := stripes{racks: racks}
	// A random start keeps topics of one partition from gathering on the first broker.
	s.first = int(d.Rand.Uint64() % uint64(len(racks)))
	s.turn = int(d.Rand.Uint64() % uint64(len(brokers)))
	parts := make([]placed, partitions)
	for i := range parts {
		replicas := s.next(factor)
		isr := d.active(replicas)
		if len(isr) == 0 {
			return nil, refuse(wire.InvalidReplicationFactor, "All brokers are currently fenced or in controlled shutdown.")
		}
		parts[i] = placed{replicas, isr}
	}
	return parts, nil
}

// stripes walks the racks.
type stripes struct {
	racks []*rack
	first int // the rack of the next partition's leader
	turn  int // how many partitions went before, plus a random start
}

// next chooses the replicas of one partition: in each round over the racks, one broker of each.
func (s *stripes) next(factor int) []int32 {
	replicas := make([]int32, 0, factor)
	at := s.first
	for len(s.racks[at].unfenced) == 0 {
		at = (at + 1) % len(s.racks)
	}
	s.first = (at + 1) % len(s.racks)
	leaders := s.racks[at].unfenced
	replicas = append(replicas, leaders[s.turn/len(s.racks)%len(leaders)])
	for round := 0; len(replicas) < factor; round++ {
		for i := range s.racks {
			r := s.racks[(at+i)%len(s.racks)]
			all := len(r.unfenced) + len(r.fenced)
			if len(replicas) == factor || round >= all || round == 0 && i == 0 {
				continue
			}
			replicas = append(replicas, r.broker(s.turn/len(s.racks), round))
		}
	}
	s.turn++
	return replicas
}

// broker is the one for a round: the unfenced in turn, then the fenced in turn.
func (r *rack) broker(turn, round int) int32 {
	if n := len(r.unfenced); round < n {
		return r.unfenced[(turn+round)%n]
	}
	return r.fenced[(turn+round-len(r.unfenced))%len(r.fenced)]
}
