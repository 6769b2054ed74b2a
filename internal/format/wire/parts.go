package wire

// PartsAppender is a response whose records can be sent from somewhere else than from the buffer that holds all the
// rest: from the memory of the log's tail, or from a file.
//
// AppendParts appends the response as Append would if the records of each partition were as long as size says, but
// leaves them out. For each partition with records it calls cut with the position in b at which they belong. topic and
// partition are indexes into the response's arrays. A negative size stands for null, where null is allowed; the field
// with the records is not looked at. The sum of the sizes is what the frame is longer than what is appended.
// Nothing is allocated, besides growing b.
type PartsAppender interface {
	Message
	AppendParts(b []byte, version int16, size func(topic, partition int) int, cut func(topic, partition, at int)) []byte
}

// The responses that carry records.
var (
	_ PartsAppender = (*FetchResponse)(nil)
	_ PartsAppender = (*ShareFetchResponse)(nil)
	_ PartsAppender = (*FetchSnapshotResponse)(nil)
)
