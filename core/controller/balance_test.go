package controller_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"weir/core/config"
	"weir/core/controller"
	"weir/core/env"
	"weir/core/metadata"
	"weir/core/telemetry"
)

const (
	balanceLook    = time.Minute
	balancePercent = 10
)

// balanceRig is a cluster under load: brokers report what their partitions move, late and with noise, and moves take a while.
type balanceRig struct {
	*rig
	b         *controller.Balancer
	rates     map[metadata.StreamID]int64 // the truth, in bytes a second
	noise     int64                       // of each figure, in percent
	lag       time.Duration               // of reports
	moveTakes time.Duration
	random    uint64
	moves     []metadata.StreamID
	away      map[metadata.BrokerID]bool
	silent    map[metadata.BrokerID]bool
	inFlight  int
	flewMost  int
	refuse    error
}

func newBalanceRig(t reporter, racks []string) *balanceRig {
	r := &balanceRig{rig: newRig(t), rates: map[metadata.StreamID]int64{}, away: map[metadata.BrokerID]bool{}, silent: map[metadata.BrokerID]bool{}}
	for i, rack := range racks {
		r.join(metadata.BrokerID(i+1), rack)
	}
	r.b = controller.NewBalancer(controller.BalancerOptions{
		Loop: r.loop, Telemetry: telemetry.New(nil, nil), Image: r.image, Alive: r.alive, Move: r.move,
		Interval: balanceLook, ImbalancePercent: balancePercent, MovesMax: 4,
	})
	r.b.Start()
	r.report()
	return r
}

func (r *balanceRig) join(id metadata.BrokerID, rack string) {
	b := ready(id)
	b.Rack, b.Incarnation = rack, [16]byte{byte(id)}
	r.c.RegisterBroker(b, false, func(_ metadata.BrokerEpoch, err error) { r.must(err) })
}

func (r *balanceRig) alive() []*metadata.Broker {
	return slices.DeleteFunc(slices.Clone(r.image.Brokers()), func(b *metadata.Broker) bool { return r.away[b.ID] })
}

func (r *balanceRig) move(stream metadata.StreamID, to metadata.BrokerID, done func(error)) {
	if r.refuse != nil {
		done(r.refuse)
		return
	}
	r.moves = append(r.moves, stream)
	r.inFlight++
	r.flewMost = max(r.flewMost, r.inFlight)
	r.loop.After(max(r.moveTakes, time.Millisecond), func() {
		r.inFlight--
		s, ok := r.image.Stream(stream)
		if !ok {
			return
		}
		next, _ := r.image.Broker(to)
		r.log.Propose(&metadata.SealRanges{By: s.Newest().BrokerEpoch, Seals: []metadata.Seal{{
			RangeEnd: metadata.RangeEnd{Stream: stream, LeaderEpoch: s.Newest().LeaderEpoch}, Next: metadata.Leader{Broker: to, Epoch: next.Epoch},
		}}}, func(metadata.Outcome, error) { r.b.ImageChanged() })
	})
	done(nil)
}

// noisy draws a figure around its true value.
func (r *balanceRig) noisy(rate int64) int64 {
	r.random = r.random*6364136223846793005 + 1442695040888963407
	if r.noise == 0 {
		return rate
	}
	return rate * (100 - r.noise + int64(r.random>>33)%(2*r.noise+1)) / 100
}

// report sends what brokers lead now, and again after each interval.
func (r *balanceRig) report() {
	window := controller.LoadReportInterval(balanceLook)
	for _, b := range r.image.Brokers() {
		if r.silent[b.ID] {
			continue
		}
		report := &controller.LoadReport{Epoch: b.Epoch, Window: window}
		for _, t := range r.image.Topics() {
			for _, p := range t.Partitions {
				if p.Leader == b.ID {
					bytes := r.noisy(r.rates[p.Stream]) * window.Milliseconds() / 1000
					report.Leads++
					report.In += bytes
					report.Busiest = append(report.Busiest, controller.PartitionLoad{Stream: p.Stream, In: bytes})
				}
			}
		}
		slices.SortStableFunc(report.Busiest, func(a, b controller.PartitionLoad) int { return int(b.In - a.In) })
		report.Busiest = report.Busiest[:min(len(report.Busiest), controller.BusiestMax)]
		r.loop.After(max(r.lag, time.Millisecond), func() {
			sent, err := controller.DecodeLoadReport(report.AppendTo(nil))
			r.must(err)
			r.b.Report(b.ID, sent)
		})
	}
	r.loop.After(window, r.report)
}

// looks lets so many looks pass, and returns how many moves they made.
func (r *balanceRig) looks(n int) int {
	before := len(r.moves)
	r.pass(time.Duration(n) * balanceLook)
	return len(r.moves) - before
}

// led is what the brokers lead, in bytes a second and partitions.
func (r *balanceRig) led() (loads map[metadata.BrokerID]int64, counts map[metadata.BrokerID]int) {
	loads, counts = map[metadata.BrokerID]int64{}, map[metadata.BrokerID]int{}
	for _, t := range r.image.Topics() {
		for _, p := range t.Partitions {
			loads[p.Leader] += r.rates[p.Stream]
			counts[p.Leader]++
		}
	}
	return loads, counts
}

func (r *balanceRig) drain(id metadata.BrokerID, op int8) (err error) {
	r.c.AlterBrokerConfigs(id, []controller.ConfigOp{{Key: config.DrainKey, Op: op, Value: "true"}}, false, false, func(result error) { err = result })
	r.b.ImageChanged()
	return err
}

const mib = 1 << 20

// Partitions of very different loads are spread by load, although figures are old and noisy, and then nothing moves any more.
func TestBalancerSpreadsLoadsAndComesToRest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		racks := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c"}), 2, 6).Draw(t, "racks")
		r := newBalanceRig(t, racks)
		r.noise = rapid.Int64Range(0, 4).Draw(t, "noise")
		r.lag = time.Duration(rapid.Int64Range(0, int64(balanceLook)).Draw(t, "lag"))
		r.moveTakes = time.Duration(rapid.Int64Range(0, int64(10*time.Second)).Draw(t, "move"))
		topic := r.topic("t", int32(rapid.IntRange(1, 30).Draw(t, "partitions")))
		total, largest := int64(0), int64(0)
		for _, p := range topic.Partitions {
			rate := rapid.SampledFrom([]int64{0, 1 << 10, mib / 2, mib, 3 * mib, 10 * mib, 40 * mib}).Draw(t, "rate")
			r.rates[p.Stream] = rate
			total += rate
			largest = max(largest, rate)
		}
		r.looks(25)
		settled := len(r.moves)
		if late := r.looks(15); r.noise == 0 {
			require.Zero(t, late, "it comes to rest")
		}
		requireNoFlapping(t, r.moves, 3)
		requireNoFlapping(t, r.moves[settled:], 1)
		require.LessOrEqual(t, r.flewMost, 4)

		// No broker has much more than its share, but for one partition that may be too large for any other.
		loads, _ := r.led()
		mean := total / int64(len(racks))
		for _, b := range r.image.Brokers() {
			require.LessOrEqual(t, loads[b.ID], mean+max(mean/4, largest, mib/2), "broker %d; mean %d, largest %d", b.ID, mean, largest)
		}
	})
}

// requireNoFlapping: no partition is moved more often than that.
func requireNoFlapping(t *rapid.T, moves []metadata.StreamID, most int) {
	times := map[metadata.StreamID]int{}
	for _, id := range moves {
		times[id]++
		require.LessOrEqual(t, times[id], most, "partition %d goes to and fro", id)
	}
}

// Figures that are wrong by half move few partitions, and none of them often.
func TestBalancerDoesNotFollowNoise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newBalanceRig(t, []string{"a", "b", "c"})
		r.random = rapid.Uint64().Draw(t, "seed")
		r.noise, r.lag, r.moveTakes = 50, balanceLook/2, time.Second
		for _, p := range r.topic("t", 30).Partitions {
			r.rates[p.Stream] = 10 * mib
		}
		r.looks(10)
		require.LessOrEqual(t, r.looks(30), 5)
	})
}

func TestBalancerGivesANewBrokerWork(t *testing.T) {
	r := newBalanceRig(t, []string{"a", "b", "c"})
	for _, p := range r.topic("t", 90).Partitions {
		r.rates[p.Stream] = mib
	}
	require.Zero(t, r.looks(10), "new partitions are spread already")
	r.join(4, "a")
	r.looks(40)
	loads, counts := r.led()
	for id := range metadata.BrokerID(4) {
		require.InDelta(t, 22.5, counts[id+1], 2.5, "broker %d of %v, %v", id+1, counts, loads)
	}
	require.Zero(t, r.looks(20))
}

// A new broker gets its share soon after one look, with no more moves in flight than are allowed: not by some moves each look.
func TestANewBrokersShareDoesNotWaitForLooks(t *testing.T) {
	r := newBalanceRig(t, []string{"a", "b"})
	r.moveTakes = 20 * time.Millisecond
	r.topic("t", 90)
	r.looks(3)
	r.join(3, "c")
	r.looks(1)
	_, counts := r.led()
	require.Less(t, counts[3], 30, "it has just begun")
	r.pass(5 * time.Second)
	_, counts = r.led()
	require.Equal(t, map[metadata.BrokerID]int{1: 30, 2: 30, 3: 30}, counts)
	require.LessOrEqual(t, r.flewMost, 4)
}

// One busy topic among many idle ones: each broker gets its share of both.
func TestBalancerSeesLoadBehindEqualNumbers(t *testing.T) {
	r := newBalanceRig(t, []string{"a", "b", "c"})
	idle := r.topic("idle", 30)
	busy := r.topic("busy", 6)
	for _, p := range busy.Partitions {
		r.rates[p.Stream] = 20 * mib
		s, _ := r.image.Stream(p.Stream)
		r.log.Propose(&metadata.SealRanges{By: s.Newest().BrokerEpoch, Seals: []metadata.Seal{{
			RangeEnd: metadata.RangeEnd{Stream: p.Stream}, Next: metadata.Leader{Broker: 1, Epoch: r.image.Brokers()[0].Epoch},
		}}}, func(metadata.Outcome, error) {})
	}
	require.Len(t, idle.Partitions, 30)
	r.looks(20)
	loads, counts := r.led()
	for id := range metadata.BrokerID(3) {
		require.EqualValues(t, 40*mib, loads[id+1], "broker %d: %v", id+1, loads)
		require.InDelta(t, 12, counts[id+1], 2, "broker %d: %v", id+1, counts)
	}
	require.Zero(t, r.looks(20))
}

// Of moves that are equally good, those are made that spread a topic over the zones.
func TestBalancerSpreadsTopicsOverZones(t *testing.T) {
	r := newBalanceRig(t, []string{"a", "a", "b", "c"})
	topic := r.topic("t", 12)
	for _, p := range topic.Partitions {
		s, _ := r.image.Stream(p.Stream)
		r.log.Propose(&metadata.SealRanges{By: s.Newest().BrokerEpoch, Seals: []metadata.Seal{{
			RangeEnd: metadata.RangeEnd{Stream: p.Stream}, Next: metadata.Leader{Broker: 1, Epoch: r.image.Brokers()[0].Epoch},
		}}}, func(metadata.Outcome, error) {})
	}
	r.b.Stop()
	r.b.Start()
	r.looks(3)
	_, counts := r.led()
	require.GreaterOrEqual(t, counts[3]+counts[4], counts[2], "%v", counts)
	r.looks(20)
	_, counts = r.led()
	require.LessOrEqual(t, counts[1]+counts[2], 6, "%v", counts)
	require.Zero(t, r.looks(20))
}

// A new controller knows no loads. It moves nothing for the numbers that its predecessor left uneven for their sake.
func TestNewControllerWaitsForLoads(t *testing.T) {
	r := newBalanceRig(t, []string{"a", "b"})
	topic := r.topic("t", 20)
	for i, p := range topic.Partitions {
		if r.rates[p.Stream] = mib; i < 2 {
			r.rates[p.Stream] = 40 * mib
		}
	}
	r.looks(40)
	r.b.Start()
	require.Zero(t, r.looks(20))
}

// Brokers of a release that does not report are balanced by number.
func TestBalancerGoesByNumberWithoutReports(t *testing.T) {
	r := newBalanceRig(t, []string{"a", "b", "c"})
	r.topic("t", 30)
	r.silent[2] = true
	r.join(4, "a")
	r.looks(20)
	_, counts := r.led()
	for id := range metadata.BrokerID(4) {
		require.InDelta(t, 7.5, counts[id+1], 1, "%v", counts)
	}
}

func TestDrainEmptiesABrokerUntilItIsCancelled(t *testing.T) {
	r := newBalanceRig(t, []string{"a", "b", "c"})
	r.moveTakes = 30 * time.Millisecond
	r.topic("t", 30)
	r.must(r.drain(2, config.OpSet))
	r.pass(10 * time.Second)
	_, counts := r.led()
	require.Zero(t, counts[2], "%v", counts)
	require.InDelta(t, 15, counts[1], 1)
	require.LessOrEqual(t, r.flewMost, 4)
	for _, p := range r.topic("u", 9).Partitions {
		require.NotEqualValues(t, 2, p.Leader, "it is given no new partitions")
	}
	require.Zero(t, r.looks(20), "the spread does not count it")

	reregistered := ready(2)
	reregistered.Incarnation = [16]byte{9}
	r.c.RegisterBroker(reregistered, false, func(_ metadata.BrokerEpoch, err error) { r.must(err) })
	for _, p := range r.topic("v", 9).Partitions {
		require.NotEqualValues(t, 2, p.Leader, "a restart ends no drain")
	}
	r.must(r.drain(2, config.OpDelete))
	r.looks(20)
	_, counts = r.led()
	require.InDelta(t, 16, counts[2], 2, "%v", counts)
}

func TestDrainOfTheLastBrokerIsRefused(t *testing.T) {
	r := newBalanceRig(t, []string{"a", "b"})
	r.must(r.drain(2, config.OpSet))
	wantError(t, r.drain(1, config.OpSet), 42, "no other broker is alive and not drained")
	wantError(t, r.drain(metadata.AllBrokers, config.OpSet), 42, "set for one broker")
	r.must(r.drain(2, config.OpSet)) // again
	r.must(r.drain(2, config.OpDelete))
	r.must(r.drain(1, config.OpSet))
}

// If all that are alive are drained, they keep their partitions, and new ones go to them.
func TestDrainedBrokersServeWhereThereIsNoOther(t *testing.T) {
	r := newBalanceRig(t, []string{"a", "b"})
	r.topic("t", 10)
	r.must(r.drain(2, config.OpSet))
	r.away[1] = true
	require.Zero(t, r.looks(5))
	require.Len(t, r.topic("u", 2).Partitions, 2)
}

// A move that is refused is tried again, and not at each turn.
func TestRefusedMovesAreTriedAgain(t *testing.T) {
	r := newBalanceRig(t, []string{"a", "b", "c"})
	r.topic("t", 12)
	r.refuse = fmt.Errorf("busy")
	r.must(r.drain(2, config.OpSet))
	r.pass(time.Second)
	r.refuse = nil
	r.pass(10 * time.Second)
	_, counts := r.led()
	require.Zero(t, counts[2])
}

func TestLoadReportsAreChecked(t *testing.T) {
	whole := (&controller.LoadReport{Epoch: 7, Window: time.Second, Leads: 3, In: 10, Out: 5, Busiest: []controller.PartitionLoad{{Stream: 4, In: 6, Out: 1}}}).AppendTo(nil)
	r, err := controller.DecodeLoadReport(append(whole, "of a newer release"...))
	require.NoError(t, err)
	require.Equal(t, &controller.LoadReport{Epoch: 7, Window: time.Second, Leads: 3, In: 10, Out: 5, Busiest: []controller.PartitionLoad{{Stream: 4, In: 6, Out: 1}}}, r)
	for n := range whole {
		_, err := controller.DecodeLoadReport(whole[:n])
		require.ErrorIs(t, err, controller.ErrLoadReport)
	}
	for _, wrong := range []controller.LoadReport{{Window: 0}, {Window: time.Second, In: -1}, {Window: time.Second, Busiest: []controller.PartitionLoad{{Out: 1 << 60}}}} {
		_, err := controller.DecodeLoadReport(wrong.AppendTo(nil))
		require.ErrorIs(t, err, controller.ErrLoadReport)
	}
}

var _ env.Clock = (*rig)(nil)
