package partition

// Code is a Kafka error code. Zero is no error.
type Code int16

// The codes that partitions answer with, by Kafka's names.
const (
	None                       Code = 0
	OffsetOutOfRange           Code = 1
	CorruptMessage             Code = 2
	UnknownTopicOrPartition    Code = 3
	NotLeaderOrFollower        Code = 6
	RequestTimedOut            Code = 7
	MessageTooLarge            Code = 10
	InvalidTimestamp           Code = 32
	PolicyViolation            Code = 44
	OutOfOrderSequence         Code = 45
	InvalidProducerEpoch       Code = 47
	InvalidTxnState            Code = 48
	KafkaStorageError          Code = 56
	FencedLeaderEpoch          Code = 74
	UnknownLeaderEpoch         Code = 75
	InvalidRecord              Code = 87
	UnsupportedCompressionType Code = 76
	UnknownTopicID             Code = 100
)
