package cases

import (
	"weir/conformance/recordbatch"
	"weir/conformance/suite"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func writeTxnMarkers() []suite.Case {
	needs := append([]int16{61, 65}, transactions...)
	return suite.OfAPI(27,
		suite.Case{Name: "a hanging transaction is aborted", Needs: needs, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), newProducer(c, c.Name("x"))
			p.write(t, 0, 3)
			c.OK(markerCode(c, p.marker(t, 0, false)))
			answer := readFrom(c, t, 0, 0, readStable)
			c.Equal("LastStableOffset", answer.LastStableOffset, 4)
			c.Equal("visible records", visible(answer), 0)
			last := recordbatch.Parse(answer.RecordBatches)
			c.Equal("Attributes", last[len(last)-1].Attributes, recordbatch.Control|recordbatch.Transactional)
		}},
		suite.Case{Name: "a commit marker", Needs: needs, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), newProducer(c, c.Name("x"))
			p.write(t, 0, 3)
			c.OK(markerCode(c, p.marker(t, 0, true)))
			c.Equal("visible records", visible(readFrom(c, t, 0, 0, readStable)), 3)
		}},
		suite.Case{Name: "the same marker twice", Needs: needs, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), newProducer(c, c.Name("x"))
			p.write(t, 0, 1)
			c.OK(markerCode(c, p.marker(t, 0, false)))
			c.OK(markerCode(c, p.marker(t, 0, false)), "the second marker")
		}},
		suite.Case{Name: "an old epoch", Needs: needs, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), newProducer(c, c.Name("x"))
			p.init()
			p.write(t, 0, 1)
			p.epoch--
			c.Code(markerCode(c, p.marker(t, 0, false)), kerr.InvalidProducerEpoch)
			c.Equal("LastStableOffset", readFrom(c, t, 0, 0, readStable).LastStableOffset, 0)
		}},
		suite.Case{Name: "an old coordinator", Needs: needs, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), newProducer(c, c.Name("x"))
			p.write(t, 0, 1)
			r := p.marker(t, 0, false)
			c.OK(markerCode(c, r))
			p.epoch++
			r = p.marker(t, 0, false)
			r.Markers[0].CoordinatorEpoch = -1
			c.Code(markerCode(c, r), kerr.TransactionCoordinatorFenced)
		}},
		suite.Case{Name: "a producer that the partition does not know", Needs: needs, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), newProducer(c, c.Name("x"))
			c.OK(markerCode(c, p.marker(t, 0, false)))
		}},
		suite.Case{Name: "unknown topic", Needs: needs, Run: func(c *suite.C) {
			p := newProducer(c, c.Name("x"))
			c.Code(markerCode(c, p.marker(topic{name: c.Name("none")}, 0, false)), kerr.UnknownTopicOrPartition)
		}},
		suite.Case{Name: "unknown partition", Needs: needs, Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), newProducer(c, c.Name("x"))
			c.Code(markerCode(c, p.marker(t, 5, false)), kerr.UnknownTopicOrPartition)
		}},
		suite.Case{Name: "a delayed marker leaves staged offsets alone", Needs: append([]int16{8, 9}, needs...), Run: func(c *suite.C) {
			t, p := newTopic(c, "t", 1), newProducer(c, c.Name("x"))
			p.stage(c.Name("g"), t, 5)
			partition := describeTransaction(c, p.id).Topics[0].Partitions[0]
			old := *p
			p.end(true)
			p.stage(c.Name("g"), t, 6)
			c.Code(markerCode(c, old.marker(topic{name: "__consumer_offsets"}, partition, true)), kerr.InvalidProducerEpoch)
			c.Equal("Offset", fetchCommitted(c, c.Name("g"), t, 0).Offset, 5)
			p.end(false)
			c.Equal("Offset", fetchCommitted(c, c.Name("g"), t, 0).Offset, 5)
		}},
	)
}

// marker ends the producer's transaction on one partition, as a coordinator of transaction version 2 does from version 2 on.
func (p *producer) marker(t topic, partition int32, commit bool) *kmsg.WriteTxnMarkersRequest {
	r := kmsg.NewPtrWriteTxnMarkersRequest()
	m, in := kmsg.NewWriteTxnMarkersRequestMarker(), kmsg.NewWriteTxnMarkersRequestMarkerTopic()
	in.Topic, in.Partitions = t.name, []int32{partition}
	m.ProducerID, m.ProducerEpoch, m.Committed, m.Topics = p.producer, p.epoch, commit, append(m.Topics, in)
	r.Markers = append(r.Markers, m)
	return r
}

func markerCode(c *suite.C, r *kmsg.WriteTxnMarkersRequest) int16 {
	return suite.Call(c, r).Markers[0].Topics[0].Partitions[0].ErrorCode
}
