package metadata

import (
	"fmt"

	"github.com/moldau/moldau/internal/format/wire"
)

// MaxTransactionRecords bounds what an open metadata transaction may hold in
// memory. Kafka has no bound; its own transactions (bootstrap, migration) stay far below.
const MaxTransactionRecords = 1 << 20

// Replay builds images from committed batches. Records of a metadata
// transaction (KIP-868) are held back until it ends and dropped when it aborts.
type Replay struct {
	image *Image
	held  []wire.MetadataRecord
	open  bool
}

// NewReplay starts from an image.
func NewReplay(i *Image) *Replay { return &Replay{image: i} }

// Image is the image after the last batch.
func (r *Replay) Image() *Image { return r.image }

// InTransaction tells whether a metadata transaction is open; no snapshot may be taken then.
func (r *Replay) InTransaction() bool { return r.open }

// Batch takes the records of one batch, of which the last has the given offset,
// and gives the delta to the next image (finished; empty while a transaction is open).
func (r *Replay) Batch(records []wire.MetadataRecord, offset int64, epoch int32) (*Delta, error) {
	d := r.image.Edit()
	for _, rec := range records {
		if err := r.record(d, rec); err != nil {
			return nil, fmt.Errorf("metadata batch that ends at offset %d of epoch %d: %w", offset, epoch, err)
		}
	}
	next, err := d.Finish(offset, epoch)
	if err != nil {
		return nil, fmt.Errorf("metadata batch that ends at offset %d of epoch %d: %w", offset, epoch, err)
	}
	r.image = next
	return d, nil
}

func (r *Replay) record(d *Delta, rec wire.MetadataRecord) error {
	switch rec.(type) {
	case *wire.BeginTransactionRecord:
		if r.open {
			return fmt.Errorf("a metadata transaction begins inside another")
		}
		r.open = true
	case *wire.EndTransactionRecord:
		if !r.open {
			return fmt.Errorf("a metadata transaction ends that did not begin")
		}
		r.open = false
		for _, h := range r.held {
			if err := d.Apply(h); err != nil {
				return err
			}
		}
		r.held = nil
	case *wire.AbortTransactionRecord:
		if !r.open {
			return fmt.Errorf("a metadata transaction aborts that did not begin")
		}
		r.open, r.held = false, nil
	default:
		if !r.open {
			return d.Apply(rec)
		}
		if len(r.held) == MaxTransactionRecords {
			return fmt.Errorf("a metadata transaction has more than %d records", MaxTransactionRecords)
		}
		r.held = append(r.held, rec)
	}
	return nil
}
