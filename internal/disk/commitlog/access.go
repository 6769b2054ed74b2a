package commitlog

// Failed is why the directory is offline, nil while it works.
func (s *Store) Failed() error { return s.failure() }

// Space tells the total and free bytes of the directory's volume.
func (s *Store) Space() (total, free int64, err error) { return s.fs.Space(s.dir) }

// SaveOffsets writes Kafka's checkpoint files now, with the log start offsets as they are.
func (s *Store) SaveOffsets() error {
	if s.failure() != nil {
		return s.failure()
	}
	return s.writeOffsets()
}

// EpochAt is the leader epoch in which the record at offset was appended, -1 when that is not known.
func (l *Log) EpochAt(offset int64) int32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epochs.at(offset)
}

// Owner is what keeps a view's bytes. Releasing the Owner once stands for
// releasing the View; nil for the zero View.
type Owner interface{ Release() }

// Owner gives the view's bytes into the hands of somebody who needs no View.
func (v *View) Owner() Owner {
	switch {
	case v.chunk != nil:
		return (*chunkOwner)(v.chunk)
	case v.handle != nil:
		return (*handleOwner)(v.handle)
	default:
		return nil
	}
}

type chunkOwner chunk

func (c *chunkOwner) Release() { (*chunk)(c).release() }

type handleOwner handle

func (h *handleOwner) Release() { (*handle)(h).release() }
