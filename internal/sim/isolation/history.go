package isolation

// Version is what one write leaves at a key. The zero Version stands for a key that was never written.
type Version struct {
	// Txn is the ID of the transaction, Step the number of the write in it, from 1 on.
	Txn, Step int
}

// Outcome is how a transaction ended, as its client knows.
type Outcome int8

// The outcomes.
const (
	// Unknown: the client asked for a commit and was not told.
	Unknown Outcome = iota
	// Committed: the client was told so.
	Committed
	// Aborted: the client was told so, or never asked for a commit.
	Aborted
)

// Place is where a version lies.
type Place struct {
	Partition int32
	Offset    int64
}

// Write is one write of a transaction.
type Write struct {
	Key     string
	Version Version
	// Place has Offset -1 if the client was not told.
	Place Place
	// AckedAt is when the client was told, by a clock that all clients have in common.
	AckedAt int64
}

// Read is one read of a key.
type Read struct {
	Key string
	// Version was the latest that the reader had; its Offset is of no meaning if there was none.
	Version Version
	Offset  int64
	// Partition is that of the key. Below Position in it the reader had seen all that is committed.
	Partition int32
	Position  int64
	// Fresh tells that the reader had waited until it was at the end as it was at StartedAt.
	Fresh     bool
	StartedAt int64
}

// Txn is one transaction as its client knows it.
type Txn struct {
	// ID is at least 1, and no other's.
	ID int
	// Client is who ran it, for messages.
	Client  string
	Outcome Outcome
	// Uncommitted tells that its reads see open and aborted transactions too, and so prove nothing.
	Uncommitted bool
	Writes      []Write
	Reads       []Read
}

// History is all that clients did and saw. The zero value is empty and ready.
type History struct {
	Txns []*Txn
	// at has the versions seen at each place, and whether a reader of committed data was among those who saw them.
	at map[Place]map[Version]bool
}

// Begin adds a transaction, of which the client fills in what it does.
func (h *History) Begin(client string) *Txn {
	t := &Txn{ID: len(h.Txns) + 1, Client: client, Outcome: Aborted}
	h.Txns = append(h.Txns, t)
	return t
}

// See tells that a reader has met a version at a place; committed says that it reads committed data only.
func (h *History) See(p Place, v Version, committed bool) {
	if h.at == nil {
		h.at = map[Place]map[Version]bool{}
	}
	if h.at[p] == nil {
		h.at[p] = map[Version]bool{}
	}
	h.at[p][v] = h.at[p][v] || committed
}
