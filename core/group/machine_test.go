package group

import (
	"testing"

	"weir/core/config"
	"weir/core/coordinator"
	"weir/core/coordinator/coordinatortest"
	"weir/core/env"
	"weir/core/metadata"
	"weir/core/wire"

	"github.com/stretchr/testify/require"
)

// rig is a machine on a partition in memory.
type rig struct {
	t testing.TB
	*coordinatortest.Cluster
	log    *coordinatortest.Log
	config *config.Broker
	image  *image
	draws  draws // of all incarnations: no member id is given twice
}

type image struct {
	topics []*metadata.Topic
	index  uint64
}

func (im *image) AppliedIndex() uint64 { return im.index }

func (im *image) Topics() []*metadata.Topic { return im.topics }

func (im *image) Topic(name string) (*metadata.Topic, bool) {
	for _, t := range im.topics {
		if t.Name == name {
			return t, true
		}
	}
	return nil, false
}

func (im *image) TopicByID(id metadata.TopicID) (*metadata.Topic, bool) {
	for _, t := range im.topics {
		if t.ID == id {
			return t, true
		}
	}
	return nil, false
}

type draws struct{ n uint64 }

func (d *draws) Uint64(string, uint64, uint64) uint64 { d.n++; return d.n }

func newRig(t testing.TB) *rig {
	settings := &config.Settings{}
	r := &rig{t: t, log: &coordinatortest.Log{}, config: settings.Broker(), image: &image{}}
	for i, name := range []string{"a", "b"} {
		r.image.topics = append(r.image.topics, &metadata.Topic{Name: name, ID: metadata.TopicID{byte(i + 1)}, Partitions: []metadata.Partition{{Index: 0}, {Index: 1}}})
	}
	r.open(r.log, &coordinatortest.Clock{})
	return r
}

func (r *rig) open(log *coordinatortest.Log, clock *coordinatortest.Clock) {
	r.log = log
	o := &Options{Config: r.config, Image: r.image, Env: env.Env{Clock: clock, Rand: &r.draws}}
	r.Cluster = coordinatortest.Open("__consumer_offsets", []*coordinatortest.Log{log}, clock, func(s *coordinator.Shard) coordinator.Machine {
		o.Loop = s.Loop()
		return New(o, s)
	})
}

func (r *rig) machine() *Machine {
	s, code := r.Runtime.Find("g")
	require.Equal(r.t, wire.Code(wire.None), code)
	return s.Machine().(*Machine)
}

func TestMachineServes(t *testing.T) {
	require.True(t, newRig(t).machine().serving)
}
