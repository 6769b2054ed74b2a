package commitlog

import "sort"

// epochStart is one line of a leader-epoch-checkpoint: the first offset of a leader epoch.
type epochStart struct {
	epoch int32
	start int64
}

// epochCache knows where each leader epoch of a log began (KIP-101), oldest first.
type epochCache struct {
	list []epochStart
	// dirty says that the file on disk is older.
	dirty bool
}

// latest is the last epoch, -1 when there is none.
func (c *epochCache) latest() int32 {
	if len(c.list) == 0 {
		return -1
	}
	return c.list[len(c.list)-1].epoch
}

// assign notes that records of an epoch begin at start, if the epoch is new.
func (c *epochCache) assign(epoch int32, start int64) {
	if epoch < 0 || epoch <= c.latest() {
		return
	}
	c.list = append(c.list, epochStart{epoch, start})
	c.dirty = true
}

// truncateEnd forgets epochs that begin at or above end.
func (c *epochCache) truncateEnd(end int64) {
	n := len(c.list)
	for n > 0 && c.list[n-1].start >= end {
		n--
	}
	if n < len(c.list) {
		c.list, c.dirty = c.list[:n], true
	}
}

// truncateStart forgets epochs that end at or below start; the one that spans start begins there from now on.
func (c *epochCache) truncateStart(start int64) {
	n := 0
	for n+1 < len(c.list) && c.list[n+1].start <= start {
		n++
	}
	if n > 0 {
		c.list, c.dirty = append(c.list[:0], c.list[n:]...), true
	}
	if len(c.list) > 0 && c.list[0].start < start {
		c.list[0].start, c.dirty = start, true
	}
}

// endOffset answers OffsetForLeaderEpoch as Kafka's LeaderEpochFileCache.endOffsetFor:
// the greatest epoch that is not above the one asked for, and where it ends. -1, -1 when that is unknown.
func (c *epochCache) endOffset(epoch int32, logEnd int64) (int32, int64) {
	switch {
	case epoch == -1 || len(c.list) == 0 || epoch > c.latest():
		return -1, -1
	case epoch == c.latest():
		return epoch, logEnd
	}
	i := sort.Search(len(c.list), func(i int) bool { return c.list[i].epoch > epoch })
	if i == 0 {
		return epoch, c.list[0].start
	}
	return c.list[i-1].epoch, c.list[i].start
}

// at gives the epoch of an offset, -1 when it is unknown.
func (c *epochCache) at(offset int64) int32 {
	i := sort.Search(len(c.list), func(i int) bool { return c.list[i].start > offset })
	if i == 0 {
		return -1
	}
	return c.list[i-1].epoch
}
