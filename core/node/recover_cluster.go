package node

import (
	"weir/core/config"
	"weir/core/env"
	"weir/core/metadata"
	"weir/core/quorum"
	"weir/core/task"
	"weir/core/telemetry"
	"weir/core/wal"
)

// RecoveryOptions are what a ClusterRecovery needs. All functions are called on the
// loop.
type RecoveryOptions struct {
	// Config says where the disks and the store are. Its NodeID must be that of the lost
	// disk, or the recovery fails.
	Config *config.Broker
	// Confirm is shown what the object store holds, and decides whether the metadata
	// disk is written from it.
	Confirm func(ClusterReport) bool
	// Done is told, once, how it ended.
	Done func(ClusterReport, error)
}

// ClusterReport is what a rebuild of a cluster's metadata disk found.
type ClusterReport struct {
	quorum.Rebuilt
	Topics, Partitions, Objects int
	Brokers                     int // that are registered
	// Logs are the files on the log disks that hold acknowledged records which are in
	// no object yet: the next start recovers them, and needs each. ObjectLogs are logs in the
	// object store that do.
	Logs, ObjectLogs []string
}

// ClusterRecovery rebuilds a lost metadata disk from the object store (R19). It is
// driven like a [Node]; it needs of its environment neither network nor log disk.
type ClusterRecovery struct {
	options  RecoveryOptions
	env      env.Env
	loop     *task.Loop
	metadata metadataLog
	begun    bool
	ended    bool
}

// NewClusterRecovery returns a recovery that its first turn starts.
func NewClusterRecovery(e env.Env, o RecoveryOptions) *ClusterRecovery {
	c := &ClusterRecovery{options: o, env: e, loop: task.NewLoop(e.Clock)}
	n := &Node{loop: c.loop, config: o.Config, release: thisRelease, telemetry: telemetry.New(e.Log, e.Metrics)}
	c.metadata = metadataLog{node: n, image: metadata.NewImage()}
	return c
}

// Turn delivers events. The first one starts the recovery.
func (c *ClusterRecovery) Turn(events []env.Event) {
	if !c.begun {
		c.begun = true
		c.loop.Post(c.start)
	}
	c.loop.Turn(events)
}

// Abandon drops the recovery where it stands; it can be begun anew.
func (c *ClusterRecovery) Abandon() { c.loop.Abandon() }

// Shutdown gives the recovery up, as Abandon does.
func (c *ClusterRecovery) Shutdown(done func()) {
	c.ended = true
	c.loop.Post(done)
}

func (c *ClusterRecovery) start() {
	quorum.Rebuild(quorum.Options{
		Loop: c.loop, Env: c.env, Telemetry: c.metadata.node.telemetry, Node: c.options.Config.NodeID, Machine: &c.metadata, Among: c.options.Config.Cluster.Several(),
	}, func(found quorum.Rebuilt) bool {
		return !c.ended && c.options.Confirm(c.report(found))
	}, func(found quorum.Rebuilt, err error) {
		if c.ended {
			return
		}
		c.ended = true
		c.options.Done(c.report(found), err)
	})
}

func (c *ClusterRecovery) report(found quorum.Rebuilt) ClusterReport {
	r := ClusterReport{Rebuilt: found}
	image := c.metadata.image
	for _, t := range image.Topics() {
		r.Topics++
		r.Partitions += len(t.Partitions)
	}
	r.Brokers = len(image.Brokers())
	image.Objects(func(*metadata.Object) { r.Objects++ })
	for _, epoch := range image.EpochsOwing() {
		if _, object := image.ObjectWAL(epoch); object {
			r.ObjectLogs = append(r.ObjectLogs, wal.ObjectName(image.ClusterID(), int64(epoch)))
		} else {
			r.Logs = append(r.Logs, logName(epoch))
		}
	}
	return r
}
