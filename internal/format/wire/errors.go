package wire

import "strconv"

// Code is an error code of the protocol. It is an answer, not a failure: machines and handlers return it as a value.
type Code int16

// The error codes of Apache Kafka 4.4. Message tells what each means.
const (
	UnknownServerError                     Code = -1
	None                                   Code = 0
	OffsetOutOfRange                       Code = 1
	CorruptMessage                         Code = 2
	UnknownTopicOrPartition                Code = 3
	InvalidFetchSize                       Code = 4
	LeaderNotAvailable                     Code = 5
	NotLeaderOrFollower                    Code = 6
	RequestTimedOut                        Code = 7
	BrokerNotAvailable                     Code = 8
	ReplicaNotAvailable                    Code = 9
	MessageTooLarge                        Code = 10
	StaleControllerEpoch                   Code = 11
	OffsetMetadataTooLarge                 Code = 12
	NetworkException                       Code = 13
	CoordinatorLoadInProgress              Code = 14
	CoordinatorNotAvailable                Code = 15
	NotCoordinator                         Code = 16
	InvalidTopic                           Code = 17
	RecordListTooLarge                     Code = 18
	NotEnoughReplicas                      Code = 19
	NotEnoughReplicasAfterAppend           Code = 20
	InvalidRequiredAcks                    Code = 21
	IllegalGeneration                      Code = 22
	InconsistentGroupProtocol              Code = 23
	InvalidGroupID                         Code = 24
	UnknownMemberID                        Code = 25
	InvalidSessionTimeout                  Code = 26
	RebalanceInProgress                    Code = 27
	InvalidCommitOffsetSize                Code = 28
	TopicAuthorizationFailed               Code = 29
	GroupAuthorizationFailed               Code = 30
	ClusterAuthorizationFailed             Code = 31
	InvalidTimestamp                       Code = 32
	UnsupportedSaslMechanism               Code = 33
	IllegalSaslState                       Code = 34
	UnsupportedVersion                     Code = 35
	TopicAlreadyExists                     Code = 36
	InvalidPartitions                      Code = 37
	InvalidReplicationFactor               Code = 38
	InvalidReplicaAssignment               Code = 39
	InvalidConfig                          Code = 40
	NotController                          Code = 41
	InvalidRequest                         Code = 42
	UnsupportedForMessageFormat            Code = 43
	PolicyViolation                        Code = 44
	OutOfOrderSequenceNumber               Code = 45
	DuplicateSequenceNumber                Code = 46
	InvalidProducerEpoch                   Code = 47
	InvalidTxnState                        Code = 48
	InvalidProducerIDMapping               Code = 49
	InvalidTransactionTimeout              Code = 50
	ConcurrentTransactions                 Code = 51
	TransactionCoordinatorFenced           Code = 52
	TransactionalIDAuthorizationFailed     Code = 53
	SecurityDisabled                       Code = 54
	OperationNotAttempted                  Code = 55
	KafkaStorageError                      Code = 56
	LogDirNotFound                         Code = 57
	SaslAuthenticationFailed               Code = 58
	UnknownProducerID                      Code = 59
	ReassignmentInProgress                 Code = 60
	DelegationTokenAuthDisabled            Code = 61
	DelegationTokenNotFound                Code = 62
	DelegationTokenOwnerMismatch           Code = 63
	DelegationTokenRequestNotAllowed       Code = 64
	DelegationTokenAuthorizationFailed     Code = 65
	DelegationTokenExpired                 Code = 66
	InvalidPrincipalType                   Code = 67
	NonEmptyGroup                          Code = 68
	GroupIDNotFound                        Code = 69
	FetchSessionIDNotFound                 Code = 70
	InvalidFetchSessionEpoch               Code = 71
	ListenerNotFound                       Code = 72
	TopicDeletionDisabled                  Code = 73
	FencedLeaderEpoch                      Code = 74
	UnknownLeaderEpoch                     Code = 75
	UnsupportedCompressionType             Code = 76
	StaleBrokerEpoch                       Code = 77
	OffsetNotAvailable                     Code = 78
	MemberIDRequired                       Code = 79
	PreferredLeaderNotAvailable            Code = 80
	GroupMaxSizeReached                    Code = 81
	FencedInstanceID                       Code = 82
	EligibleLeadersNotAvailable            Code = 83
	ElectionNotNeeded                      Code = 84
	NoReassignmentInProgress               Code = 85
	GroupSubscribedToTopic                 Code = 86
	InvalidRecord                          Code = 87
	UnstableOffsetCommit                   Code = 88
	ThrottlingQuotaExceeded                Code = 89
	ProducerFenced                         Code = 90
	ResourceNotFound                       Code = 91
	DuplicateResource                      Code = 92
	UnacceptableCredential                 Code = 93
	InconsistentVoterSet                   Code = 94
	InvalidUpdateVersion                   Code = 95
	FeatureUpdateFailed                    Code = 96
	PrincipalDeserializationFailure        Code = 97
	SnapshotNotFound                       Code = 98
	PositionOutOfRange                     Code = 99
	UnknownTopicID                         Code = 100
	DuplicateBrokerRegistration            Code = 101
	BrokerIDNotRegistered                  Code = 102
	InconsistentTopicID                    Code = 103
	InconsistentClusterID                  Code = 104
	TransactionalIDNotFound                Code = 105
	FetchSessionTopicIDError               Code = 106
	IneligibleReplica                      Code = 107
	NewLeaderElected                       Code = 108
	OffsetMovedToTieredStorage             Code = 109
	FencedMemberEpoch                      Code = 110
	UnreleasedInstanceID                   Code = 111
	UnsupportedAssignor                    Code = 112
	StaleMemberEpoch                       Code = 113
	MismatchedEndpointType                 Code = 114
	UnsupportedEndpointType                Code = 115
	UnknownControllerID                    Code = 116
	UnknownSubscriptionID                  Code = 117
	TelemetryTooLarge                      Code = 118
	InvalidRegistration                    Code = 119
	TransactionAbortable                   Code = 120
	InvalidRecordState                     Code = 121
	ShareSessionNotFound                   Code = 122
	InvalidShareSessionEpoch               Code = 123
	FencedStateEpoch                       Code = 124
	InvalidVoterKey                        Code = 125
	DuplicateVoter                         Code = 126
	VoterNotFound                          Code = 127
	InvalidRegularExpression               Code = 128
	RebootstrapRequired                    Code = 129
	StreamsInvalidTopology                 Code = 130
	StreamsInvalidTopologyEpoch            Code = 131
	StreamsTopologyFenced                  Code = 132
	ShareSessionLimitReached               Code = 133
	GroupDeletionFailed                    Code = 134
	StreamsTopologyDescriptionUpdateFailed Code = 135
	ControllerIDNotRegistered              Code = 136
)

// codeInfo is what is known of one code.
type codeInfo struct {
	name      string
	message   string
	retriable bool
}

// codes begins with UnknownServerError, the only negative code.
var codes = [...]codeInfo{
	{"UNKNOWN_SERVER_ERROR", "The server failed in a way that it did not foresee; its log has the cause.", false},
	{"NONE", "No error.", false},
	{"OFFSET_OUT_OF_RANGE", "The log does not hold the requested offset.", false},
	{"CORRUPT_MESSAGE", "The record batch is damaged, too large, or lacks a key that a compacted topic needs.", true},
	{"UNKNOWN_TOPIC_OR_PARTITION", "The broker does not host this partition.", true},
	{"INVALID_FETCH_SIZE", "The size asked for in the fetch is not valid.", false},
	{"LEADER_NOT_AVAILABLE", "The partition has no leader at the moment.", true},
	{"NOT_LEADER_OR_FOLLOWER", "The broker is not the leader of the partition, or not a replica of it.", true},
	{"REQUEST_TIMED_OUT", "The request was not done within its time.", true},
	{"BROKER_NOT_AVAILABLE", "The broker is not available.", false},
	{"REPLICA_NOT_AVAILABLE", "The broker has no replica of the partition that it can use.", true},
	{"MESSAGE_TOO_LARGE", "A record batch is larger than the topic allows.", false},
	{"STALE_CONTROLLER_EPOCH", "Another controller has taken over since.", false},
	{"OFFSET_METADATA_TOO_LARGE", "The metadata of the committed offset is too long.", false},
	{"NETWORK_EXCEPTION", "The connection was lost before the answer came.", true},
	{"COORDINATOR_LOAD_IN_PROGRESS", "The coordinator is still loading its state.", true},
	{"COORDINATOR_NOT_AVAILABLE", "The coordinator is not available.", true},
	{"NOT_COORDINATOR", "The broker is not the coordinator that is asked for.", true},
	{"INVALID_TOPIC_EXCEPTION", "The topic name is not valid, or the topic is not open to this operation.", false},
	{"RECORD_LIST_TOO_LARGE", "The record batch is larger than a segment of the log may be.", false},
	{"NOT_ENOUGH_REPLICAS", "Fewer replicas are in sync than the topic demands; nothing was written.", true},
	{"NOT_ENOUGH_REPLICAS_AFTER_APPEND", "The records were written, but fewer replicas are in sync than the topic demands.", true},
	{"INVALID_REQUIRED_ACKS", "The number of acknowledgements asked for must be -1, 0 or 1.", false},
	{"ILLEGAL_GENERATION", "The generation is not the current one of the group.", false},
	{"INCONSISTENT_GROUP_PROTOCOL", "The member shares no protocol with the others of the group, or names none.", false},
	{"INVALID_GROUP_ID", "The group id is not valid.", false},
	{"UNKNOWN_MEMBER_ID", "The coordinator does not know this member.", false},
	{"INVALID_SESSION_TIMEOUT", "The session timeout is outside of the range that the broker allows.", false},
	{"REBALANCE_IN_PROGRESS", "The group is rebalancing; the member must join again.", false},
	{"INVALID_COMMIT_OFFSET_SIZE", "The committed offsets are too large to be stored.", false},
	{"TOPIC_AUTHORIZATION_FAILED", "Topic authorization failed.", false},
	{"GROUP_AUTHORIZATION_FAILED", "Group authorization failed.", false},
	{"CLUSTER_AUTHORIZATION_FAILED", "Cluster authorization failed.", false},
	{"INVALID_TIMESTAMP", "The timestamp of a record is outside of the range that the topic allows.", false},
	{"UNSUPPORTED_SASL_MECHANISM", "The broker does not offer this SASL mechanism.", false},
	{"ILLEGAL_SASL_STATE", "The request does not fit into the state of the SASL exchange.", false},
	{"UNSUPPORTED_VERSION", "The version of the API, or what it asks for, is not supported.", false},
	{"TOPIC_ALREADY_EXISTS", "A topic with this name exists already.", false},
	{"INVALID_PARTITIONS", "The number of partitions is not valid.", false},
	{"INVALID_REPLICATION_FACTOR", "The replication factor is below 1 or above the number of usable brokers.", false},
	{"INVALID_REPLICA_ASSIGNMENT", "The assignment of replicas is not valid.", false},
	{"INVALID_CONFIG", "A configuration is not valid.", false},
	{"NOT_CONTROLLER", "The node is not the active controller.", true},
	{"INVALID_REQUEST", "The request contradicts itself or the protocol.", false},
	{"UNSUPPORTED_FOR_MESSAGE_FORMAT", "The message format of the log does not support the request.", false},
	{"POLICY_VIOLATION", "A policy of the cluster forbids the request.", false},
	{"OUT_OF_ORDER_SEQUENCE_NUMBER", "The sequence number does not follow the last one of this producer.", false},
	{"DUPLICATE_SEQUENCE_NUMBER", "The batch was written before and is too old to be found again.", false},
	{"INVALID_PRODUCER_EPOCH", "The producer's epoch is not the current one.", false},
	{"INVALID_TXN_STATE", "The transaction is in a state in which this operation makes no sense.", false},
	{"INVALID_PRODUCER_ID_MAPPING", "The producer id does not belong to the transactional id.", false},
	{"INVALID_TRANSACTION_TIMEOUT", "The transaction timeout is not positive or above the maximum of the broker.", false},
	{"CONCURRENT_TRANSACTIONS", "Another operation on the same transaction is under way.", true},
	{"TRANSACTION_COORDINATOR_FENCED", "The transaction coordinator that sent the marker has been replaced.", false},
	{"TRANSACTIONAL_ID_AUTHORIZATION_FAILED", "Transactional Id authorization failed.", false},
	{"SECURITY_DISABLED", "The cluster has no such security feature switched on.", false},
	{"OPERATION_NOT_ATTEMPTED", "The operation was not tried because another one in the same request failed.", false},
	{"KAFKA_STORAGE_ERROR", "The disk that holds the log failed.", true},
	{"LOG_DIR_NOT_FOUND", "The broker has no such log directory.", false},
	{"SASL_AUTHENTICATION_FAILED", "Authentication failed.", false},
	{"UNKNOWN_PRODUCER_ID", "The broker knows nothing of this producer id, perhaps because its records have expired.", false},
	{"REASSIGNMENT_IN_PROGRESS", "A reassignment of the partition is under way.", false},
	{"DELEGATION_TOKEN_AUTH_DISABLED", "Delegation tokens are not switched on.", false},
	{"DELEGATION_TOKEN_NOT_FOUND", "There is no such delegation token.", false},
	{"DELEGATION_TOKEN_OWNER_MISMATCH", "The principal is neither owner nor renewer of the delegation token.", false},
	{"DELEGATION_TOKEN_REQUEST_NOT_ALLOWED", "Delegation tokens cannot be handled on this connection; use TLS with client certificate or SASL without a token.", false},
	{"DELEGATION_TOKEN_AUTHORIZATION_FAILED", "Delegation Token authorization failed.", false},
	{"DELEGATION_TOKEN_EXPIRED", "The delegation token has expired.", false},
	{"INVALID_PRINCIPAL_TYPE", "The type of principal is not supported.", false},
	{"NON_EMPTY_GROUP", "The group still has members.", false},
	{"GROUP_ID_NOT_FOUND", "There is no group with this id.", false},
	{"FETCH_SESSION_ID_NOT_FOUND", "The broker does not have this fetch session.", true},
	{"INVALID_FETCH_SESSION_EPOCH", "The epoch of the fetch session is not the expected one.", true},
	{"LISTENER_NOT_FOUND", "The leader has no listener of the name that the request came in on.", true},
	{"TOPIC_DELETION_DISABLED", "Deleting topics is switched off.", false},
	{"FENCED_LEADER_EPOCH", "The leader epoch in the request is older than the current one.", true},
	{"UNKNOWN_LEADER_EPOCH", "The leader epoch in the request is newer than any that the broker knows.", true},
	{"UNSUPPORTED_COMPRESSION_TYPE", "The client cannot read the compression type of the partition.", false},
	{"STALE_BROKER_EPOCH", "The broker epoch is not the current one.", false},
	{"OFFSET_NOT_AVAILABLE", "The new leader does not know yet up to where the log is committed.", true},
	{"MEMBER_ID_REQUIRED", "The member must join again with the member id that it was given.", false},
	{"PREFERRED_LEADER_NOT_AVAILABLE", "The preferred leader is not available.", true},
	{"GROUP_MAX_SIZE_REACHED", "The group is full.", false},
	{"FENCED_INSTANCE_ID", "Another member has taken over this group instance id.", false},
	{"ELIGIBLE_LEADERS_NOT_AVAILABLE", "No replica that may become leader is available.", true},
	{"ELECTION_NOT_NEEDED", "The partition has the wanted leader already.", true},
	{"NO_REASSIGNMENT_IN_PROGRESS", "No reassignment of the partition is under way.", false},
	{"GROUP_SUBSCRIBED_TO_TOPIC", "Members of the group are subscribed to the topic, so its offsets cannot be deleted.", false},
	{"INVALID_RECORD", "A record is not acceptable to the broker.", false},
	{"UNSTABLE_OFFSET_COMMIT", "Offsets of an open transaction are still to be decided.", true},
	{"THROTTLING_QUOTA_EXCEEDED", "A quota is used up; try again later.", true},
	{"PRODUCER_FENCED", "A newer producer with the same transactional id has taken over.", false},
	{"RESOURCE_NOT_FOUND", "The request refers to something that does not exist.", false},
	{"DUPLICATE_RESOURCE", "The request refers twice to the same thing.", false},
	{"UNACCEPTABLE_CREDENTIAL", "The credential is not acceptable.", false},
	{"INCONSISTENT_VOTER_SET", "The sender or the receiver is not a voter that the other knows.", false},
	{"INVALID_UPDATE_VERSION", "The version of the update is not the current one.", false},
	{"FEATURE_UPDATE_FAILED", "The feature levels could not be changed.", false},
	{"PRINCIPAL_DESERIALIZATION_FAILURE", "The forwarded principal could not be read; check that all nodes use the same principal builder.", false},
	{"SNAPSHOT_NOT_FOUND", "There is no such snapshot.", false},
	{"POSITION_OUT_OF_RANGE", "The position is not within the snapshot.", false},
	{"UNKNOWN_TOPIC_ID", "The broker knows no topic with this id.", true},
	{"DUPLICATE_BROKER_REGISTRATION", "Another broker with this id is registered and alive.", false},
	{"BROKER_ID_NOT_REGISTERED", "No broker with this id is registered.", false},
	{"INCONSISTENT_TOPIC_ID", "The topic id of the log is not that of the request.", true},
	{"INCONSISTENT_CLUSTER_ID", "The cluster id of the request is not that of this cluster.", false},
	{"TRANSACTIONAL_ID_NOT_FOUND", "There is no transaction with this transactional id.", false},
	{"FETCH_SESSION_TOPIC_ID_ERROR", "The fetch session mixes topics with and without ids.", true},
	{"INELIGIBLE_REPLICA", "A replica that is to be in sync is not fit for it.", false},
	{"NEW_LEADER_ELECTED", "The change was made, and another replica is leader now.", false},
	{"OFFSET_MOVED_TO_TIERED_STORAGE", "The offset is in tiered storage.", false},
	{"FENCED_MEMBER_EPOCH", "The coordinator has fenced the member epoch; the member must give up its partitions and join again.", false},
	{"UNRELEASED_INSTANCE_ID", "The previous member with this instance id has not left yet.", false},
	{"UNSUPPORTED_ASSIGNOR", "The coordinator does not support the assignor or its version.", false},
	{"STALE_MEMBER_EPOCH", "The member epoch is outdated; the member must take the new one from its heartbeat and try again.", false},
	{"MISMATCHED_ENDPOINT_TYPE", "The request is for another kind of endpoint.", false},
	{"UNSUPPORTED_ENDPOINT_TYPE", "This kind of endpoint is not supported.", false},
	{"UNKNOWN_CONTROLLER_ID", "There is no controller with this id.", false},
	{"UNKNOWN_SUBSCRIPTION_ID", "The telemetry subscription is not valid or outdated.", false},
	{"TELEMETRY_TOO_LARGE", "The telemetry is larger than the broker accepts.", false},
	{"INVALID_REGISTRATION", "The controller rejects the registration.", false},
	{"TRANSACTION_ABORTABLE", "The transaction failed and must be aborted; the transactional id stays usable.", false},
	{"INVALID_RECORD_STATE", "The record is in a state in which it cannot be acknowledged so.", false},
	{"SHARE_SESSION_NOT_FOUND", "The broker does not have this share session.", true},
	{"INVALID_SHARE_SESSION_EPOCH", "The epoch of the share session is not the expected one.", true},
	{"FENCED_STATE_EPOCH", "The state epoch is older than that of the coordinator.", false},
	{"INVALID_VOTER_KEY", "The voter key is not that of the node that received the request.", false},
	{"DUPLICATE_VOTER", "The node is a voter already.", false},
	{"VOTER_NOT_FOUND", "The node is not a voter.", false},
	{"INVALID_REGULAR_EXPRESSION", "The regular expression is not valid.", false},
	{"REBOOTSTRAP_REQUIRED", "The metadata of the client belongs to another cluster or is outdated; it must bootstrap again.", false},
	{"STREAMS_INVALID_TOPOLOGY", "The topology is not valid.", false},
	{"STREAMS_INVALID_TOPOLOGY_EPOCH", "The topology epoch is not valid.", false},
	{"STREAMS_TOPOLOGY_FENCED", "The topology epoch is outdated.", false},
	{"SHARE_SESSION_LIMIT_REACHED", "The broker has no room for another share session.", true},
	{"GROUP_DELETION_FAILED", "The group could not be deleted; the message of the result has the cause.", false},
	{"STREAMS_TOPOLOGY_DESCRIPTION_UPDATE_FAILED", "The description of the topology could not be stored; the message of the answer has the cause.", false},
	{"CONTROLLER_ID_NOT_REGISTERED", "No controller with this id is registered.", false},
}

// info returns what is known of the code; unknown codes are treated as UnknownServerError.
func (c Code) info() *codeInfo {
	if i := int(c) + 1; i >= 0 && i < len(codes) {
		return &codes[i]
	}
	return &codes[0]
}

// String returns Kafka's name of the code, or its number if it has no name.
func (c Code) String() string {
	if int(c)+1 < 0 || int(c)+1 >= len(codes) {
		return "UNKNOWN_CODE_" + strconv.Itoa(int(c))
	}
	return c.info().name
}

// Message says in a sentence what the code means.
func (c Code) Message() string { return c.info().message }

// Error implements error. Take care not to use None as an error.
func (c Code) Error() string { return c.String() + ": " + c.Message() }

// Retriable says whether the same request may succeed later without anybody changing it, in Kafka's judgement.
func (c Code) Retriable() bool { return c.info().retriable }
