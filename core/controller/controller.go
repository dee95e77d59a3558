package controller

import (
	"weir/core/config"
	"weir/core/env"
	"weir/core/metadata"
	"weir/core/task"
	"weir/core/telemetry"
)

// Proposer appends a record to the quorum's log. done is called once the record was
// applied to the image and may be relied on (R19): other records may have been applied
// since. It gets what the record was granted and the image's verdict, or why the record
// was not appended.
type Proposer interface {
	Propose(r metadata.Record, done func(metadata.Outcome, error))
	// Settle calls done, at once or later, when what is applied now counts as an answer of Propose does: an
	// answer that follows from the image alone is as good as an acknowledgement, and must not be undone (R19).
	// An error says that this cannot be awaited.
	Settle(done func(error))
}

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
	// Key is the key's name; an unknown one can only be deleted.
	Key string
	// Op is 0 set, 1 delete, 2 append, 3 subtract; the last two are for lists only.
	Op int8
	// Value is ignored by delete.
	Value string
}

// CommitPart is one stream's part of an upload.
type CommitPart = metadata.CommitPart

// Options are what a Controller needs. All are required unless a zero is named.
type Options struct {
	// Loop runs the controller.
	Loop *task.Loop
	// Env gives the random numbers for topic ids.
	Env env.Env
	// Telemetry takes the marks.
	Telemetry *telemetry.Registry
	// Image is the metadata that decisions are made from. It is read only.
	Image *metadata.Image
	// Proposer puts records into the metadata log.
	Proposer Proposer
	// Broker leads all new partitions.
	Broker metadata.BrokerID
	// Config has the defaults of new topics; it may change in place.
	Config *config.Broker
	// Settings validates changes of configurations.
	Settings *config.Settings
	// Features are those that this release serves. Nil: Features.
	Features []Feature
	// Others asks all other brokers and voters which features they serve. Nil: there are none.
	Others func(done func([]Support))
	// ProducerIDBlock is how many producer ids one allocation grants. Zero: 1,000, as in
	// Kafka. A restart loses the rest of a block; smaller blocks cost more records.
	ProducerIDBlock int64
	// RecordBytesMax is the approximate size in bytes above which a commit or a takeover
	// is split into several records, so that none delays the log. Zero: 256 KiB.
	RecordBytesMax int
}

const (
	producerIDBlock = 1000
	// DefaultRecordBytesMax is Options.RecordBytesMax where it is zero.
	DefaultRecordBytesMax = 256 << 10
)

// Controller answers on the loop, each done exactly once (unless the node ends),
// after what was asked has been applied to the image. done may run before the call
// returns.
type Controller struct {
	options  Options
	image    *metadata.Image
	proposer Proposer
	draws    uint64 // topic ids and incarnations drawn
	retried  *telemetry.Mark
	refused  *telemetry.Mark
	cut      *telemetry.Mark
}

// New returns a controller.
func New(o Options) *Controller {
	if o.ProducerIDBlock == 0 {
		o.ProducerIDBlock = producerIDBlock
	}
	if o.RecordBytesMax == 0 {
		o.RecordBytesMax = DefaultRecordBytesMax
	}
	if o.Features == nil {
		o.Features = Features
	}
	return &Controller{
		options: o, image: o.Image, proposer: o.Proposer,
		retried: o.Telemetry.Mark("controller: a record was computed anew"),
		refused: o.Telemetry.Mark("controller: the image refused a record"),
		cut:     o.Telemetry.Mark("controller: a commit was cut into several records"),
	}
}

// propose proposes a record, and gives done the verdict.
func (c *Controller) propose(r metadata.Record, done func(error)) {
	c.proposeFor(r, func(_ metadata.Outcome, err error) { done(err) })
}

// proposeFor does so for a record that is granted something.
func (c *Controller) proposeFor(r metadata.Record, done func(metadata.Outcome, error)) {
	c.proposer.Propose(r, func(o metadata.Outcome, err error) {
		if err != nil {
			c.refused.Hit()
		}
		done(o, err)
	})
}

// Settle calls done when what is applied now cannot be undone by the loss of the metadata disk, or with an
// error that has a Kafka code if that cannot be awaited.
func (c *Controller) Settle(done func(error)) {
	c.proposer.Settle(func(err error) { done(kafka(err)) })
}

// settle calls done with err, which follows from the image as it is now.
func (c *Controller) settle(err error, done func(error)) {
	c.Settle(func(unsettled error) {
		if unsettled != nil {
			err = unsettled
		}
		done(err)
	})
}

// epoch is this broker's current epoch; 0 if it is not registered.
func (c *Controller) epoch() metadata.BrokerEpoch {
	if b, ok := c.image.Broker(c.options.Broker); ok {
		return b.Epoch
	}
	return 0
}

// randomID draws a UUID of version 4.
func (c *Controller) randomID() (id [16]byte) {
	for half := range 2 {
		x := c.options.Env.Rand.Uint64("controller id", uint64(c.image.AppliedIndex()), c.draws)
		c.draws++
		for i := range 8 {
			id[8*half+i] = byte(x >> (8 * i))
		}
	}
	id[6] = id[6]&0x0f | 0x40
	id[8] = id[8]&0x3f | 0x80
	return id
}
