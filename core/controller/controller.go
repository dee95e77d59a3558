// Package controller makes the active controller's decisions: it validates
// requests, proposes records, and owns the life of objects.
package controller

import "weir/core/metadata"

// Error carries a Kafka error code and a message for people.
type Error struct {
	Code    int16
	Message string
}

func (e *Error) Error() string { return e.Message }

// NewTopic asks for a topic. Partitions and ReplicationFactor -1 mean default.
type NewTopic struct {
	Name              string
	Partitions        int32
	ReplicationFactor int16
	Assignment        [][]int32 // manual assignment by partition, or nil
	Configs           []metadata.Config
}

// TopicResult answers for one topic; Err is nil or *Error.
type TopicResult struct {
	Name  string
	Topic *metadata.Topic // as created (or as it would be, for validate-only)
	Err   error
}

// ConfigOp is one change of IncrementalAlterConfigs.
type ConfigOp struct {
	Key   string
	Op    int8 // 0 set, 1 delete, 2 append, 3 subtract
	Value string
}

// CommitPart is one stream's part of an upload.
type CommitPart struct {
	Stream      metadata.StreamID
	LeaderEpoch int32
	Part        metadata.Part
	Checkpoint  []byte // state exactly as of Part.End
}

// Controller answers on the loop, each done exactly once (unless the node ends).
type Controller struct{}

func (c *Controller) CreateTopics(topics []NewTopic, validateOnly bool, done func([]TopicResult)) {
	panic("stub")
}
func (c *Controller) DeleteTopics(ids []metadata.TopicID, done func([]TopicResult)) { panic("stub") }
func (c *Controller) CreatePartitions(topic string, count int32, assignment [][]int32, validateOnly bool, done func(error)) {
	panic("stub")
}

// AlterTopicConfigs applies ops; replace means AlterConfigs: what ops do not set is removed.
func (c *Controller) AlterTopicConfigs(topic string, ops []ConfigOp, replace, validateOnly bool, done func(error)) {
	panic("stub")
}

// AllocateProducerIDs grants a block of producer ids.
func (c *Controller) AllocateProducerIDs(done func(first, count int64, err error)) { panic("stub") }

// TrimStream raises a stream's log start (DeleteRecords, retention).
func (c *Controller) TrimStream(stream metadata.StreamID, logStart int64, done func(error)) {
	panic("stub")
}

// LeaseObjects grants a block of object ids to a broker epoch (R19, R20).
func (c *Controller) LeaseObjects(epoch metadata.BrokerEpoch, count int32, done func(first metadata.ObjectID, err error)) {
	panic("stub")
}

// Commit proposes an upload's commit; accepted says, part by part, what became
// part of its range (R1, R2). done runs after the record is applied to the image.
func (c *Controller) Commit(object metadata.ObjectID, epoch metadata.BrokerEpoch, bytes int64, parts []CommitPart, done func(accepted []bool, err error)) {
	panic("stub")
}
