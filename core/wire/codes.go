package wire

// Code is a Kafka error code. Zero is no error.
type Code int16

// The error codes in use, by Kafka's names (org.apache.kafka.common.protocol.Errors). They are untyped, so that they go
// into the int16 fields of kmsg as into a Code.
const (
	UnknownServerError           = -1
	None                         = 0
	OffsetOutOfRange             = 1
	CorruptMessage               = 2
	UnknownTopicOrPartition      = 3
	LeaderNotAvailable           = 5
	NotLeaderOrFollower          = 6
	RequestTimedOut              = 7
	MessageTooLarge              = 10
	OffsetMetadataTooLarge       = 12
	CoordinatorLoadInProgress    = 14
	CoordinatorNotAvailable      = 15
	NotCoordinator               = 16
	InvalidTopic                 = 17
	InvalidRequiredAcks          = 21
	IllegalGeneration            = 22
	InconsistentGroupProtocol    = 23
	InvalidGroupID               = 24
	UnknownMemberID              = 25
	InvalidSessionTimeout        = 26
	RebalanceInProgress          = 27
	InvalidCommitOffsetSize      = 28
	InvalidTimestamp             = 32
	UnsupportedVersion           = 35
	TopicAlreadyExists           = 36
	InvalidPartitions            = 37
	InvalidReplicationFactor     = 38
	InvalidReplicaAssignment     = 39
	InvalidConfig                = 40
	NotController                = 41
	InvalidRequest               = 42
	PolicyViolation              = 44
	OutOfOrderSequence           = 45
	DuplicateSequence            = 46
	InvalidProducerEpoch         = 47
	InvalidTxnState              = 48
	InvalidProducerIDMapping     = 49
	InvalidTransactionTimeout    = 50
	ConcurrentTransactions       = 51
	TransactionCoordinatorFenced = 52
	OperationNotAttempted        = 55
	KafkaStorageError            = 56
	UnknownProducerID            = 59
	NonEmptyGroup                = 68
	GroupIDNotFound              = 69
	FetchSessionIDNotFound       = 70
	InvalidFetchSessionEpoch     = 71
	ListenerNotFound             = 72
	TopicDeletionDisabled        = 73
	FencedLeaderEpoch            = 74
	UnknownLeaderEpoch           = 75
	UnsupportedCompressionType   = 76
	MemberIDRequired             = 79
	PreferredLeaderNotAvailable  = 80
	GroupMaxSizeReached          = 81
	FencedInstanceID             = 82
	EligibleLeadersNotAvailable  = 83
	ElectionNotNeeded            = 84
	GroupSubscribedToTopic       = 86
	InvalidRecord                = 87
	UnstableOffsetCommit         = 88
	ProducerFenced               = 90
	ResourceNotFound             = 91
	DuplicateResource            = 92
	InvalidUpdateVersion         = 95
	FeatureUpdateFailed          = 96
	UnknownTopicID               = 100
	TransactionalIDNotFound      = 105
	FetchSessionTopicIDError     = 106
	FencedMemberEpoch            = 110
	UnreleasedInstanceID         = 111
	UnsupportedAssignor          = 112
	StaleMemberEpoch             = 113
	MismatchedEndpointType       = 114
	UnsupportedEndpointType      = 115
	TransactionAbortable         = 120
	InvalidRegularExpression     = 128
	RebootstrapRequired          = 129
)
