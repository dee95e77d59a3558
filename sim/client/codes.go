package client

// Kafka's error codes that clients tell apart.
const (
	codeOffsetOutOfRange   = 1
	codeCorruptMessage     = 2
	codeUnknownTopic       = 3
	codeNotLeader          = 6
	codeMessageTooLarge    = 10
	codeUnsupportedVersion = 35
	codeTopicExists        = 36
	codeInvalidPartitions  = 37
	codeInvalidConfig      = 40
	codeOutOfOrderSequence = 45
	codeDuplicateSequence  = 46
	codeInvalidEpoch       = 47
	codeUnknownProducer    = 59
	codeFetchSession       = 70
	codeFetchSessionEpoch  = 71
	codeFencedLeaderEpoch  = 74
	codeUnknownLeaderEpoch = 75
	codeInvalidRecord      = 87
	codeProducerFenced     = 90
	codeUnknownTopicID     = 100
)
