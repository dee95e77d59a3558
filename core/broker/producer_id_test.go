package broker

import (
	"testing"

	"weir/core/wire"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func (r *dataRig) initProducer(transactional *string) (*trade, *kmsg.InitProducerIDResponse) {
	q := kmsg.NewPtrInitProducerIDRequest()
	q.Version, q.TransactionalID = 5, transactional
	x := &trade{t: r.t, v: 5}
	r.plane.initProducerID(x, q)
	if x.message == nil {
		return x, nil
	}
	return x, x.message.(*kmsg.InitProducerIDResponse)
}

func TestProducerIDsComeFromBlocksAndAreNeverGivenTwice(t *testing.T) {
	r := newDataRig(t)
	var waiting []*trade
	for range 3 {
		x, _ := r.initProducer(nil)
		x.want(false)
		waiting = append(waiting, x)
	}
	if len(r.grants) != 1 {
		t.Fatalf("%d blocks asked for", len(r.grants))
	}
	r.grants[0](1000, 2, nil)
	r.grants[1](5000, 10, nil)
	for i, want := range []int64{1000, 1001, 5000} {
		waiting[i].want(true)
		if got := waiting[i].message.(*kmsg.InitProducerIDResponse); got.ProducerID != want || got.ProducerEpoch != 0 || got.ErrorCode != 0 {
			t.Errorf("%+v, want id %d", got, want)
		}
	}
	if _, got := r.initProducer(nil); got.ProducerID != 5001 {
		t.Errorf("%+v", got)
	}
}

func TestProducersWaitForABlockForABoundedTime(t *testing.T) {
	r := newDataRig(t)
	for range 2 {
		x, _ := r.initProducer(nil)
		r.pass(producerIDsWait - 1)
		x.want(false)
		r.pass(1)
		require.Equal(t, int16(wire.CoordinatorLoadInProgress), x.message.(*kmsg.InitProducerIDResponse).ErrorCode)
	}
	require.Len(t, r.grants, 1, "one block is asked for, however many give up")
	require.Empty(t, r.plane.ids.waiting)
	r.grants[0](1000, 100, nil)
	for want := int64(1000); want < 1100; want++ {
		require.Equal(t, 1+btoi(want > 1089), len(r.grants), "the next block is asked for when a tenth is left, id %d", want)
		_, got := r.initProducer(nil)
		require.Equal(t, want, got.ProducerID)
	}
	r.grants[1](7000, 100, nil)
	_, got := r.initProducer(nil)
	require.Equal(t, int64(7000), got.ProducerID)
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}
