package stream

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"weir/core/metadata"
	"weir/core/object"
)

// blocks is the blocks of a stream's first part.
func (a *archive) blocks(id metadata.StreamID) []object.Block {
	p := a.streams[id].Parts[0]
	data := a.w.store.objects[object.Key("cluster", uint64(p.Object))]
	index, err := object.ParseIndex(data[p.IndexOffset : p.IndexOffset+int64(p.IndexBytes)])
	require.NoError(a.w.t, err)
	return index.Blocks
}

// settle completes everything in flight.
func (a *archive) settle() { a.w.settle() }

func TestAdjacentBlocksComeWithOneGet(t *testing.T) {
	a := newArchiveOf(t, ReaderOptions{BlockCacheBytes: 1 << 20})
	a.add(1)
	a.commit(400, 1)
	blocks := len(a.blocks(1))
	require.Greater(t, blocks, 100)
	a.readAll(1)
	require.Less(t, a.w.store.gets, blocks/4)
	a.shutdown()
}

func TestOnlyTheDamagedBlockIsReadAgain(t *testing.T) {
	for _, trouble := range []string{"damaged", "short"} {
		a := newArchiveOf(t, ReaderOptions{BlockCacheBytes: 1 << 20})
		a.add(1)
		a.commit(60, 1)
		gets := 0
		a.w.store.weather = func(string) string {
			if gets++; gets == 2 { // the first is the index
				return trouble
			}
			return ""
		}
		got := a.beginWith(1, 0, 16<<10)
		a.w.until("the answer", func() bool { return got.ended })
		require.NoError(t, got.err)
		a.w.until("the end of all reads", func() bool { return len(a.w.pending)+len(a.reader.gets.resting) == 0 })
		require.NotZero(t, a.w.hits("stream read: several blocks with one GET"))
		spoilt := int(a.w.hits("stream read: damaged bytes"))
		require.Equal(t, 2+spoilt, a.w.store.gets, "the index, the run, and each block that was spoilt")
		require.Less(t, spoilt, len(a.reader.blocks.blocks))
		if trouble == "damaged" {
			require.Equal(t, 1, spoilt)
		}
		a.readAll(1)
		a.shutdown()
	}
}

// A reader has ever more read ahead of it; one that stops leaves a few times of what it read.
func TestReadAheadGrowsAndStopsWithItsReader(t *testing.T) {
	for reads := 1; reads < 6; reads++ {
		a := newArchiveOf(t, ReaderOptions{BlockCacheBytes: 1 << 20})
		a.add(1)
		a.commit(400, 1)
		at := int64(0)
		for range reads {
			next, err := a.read(1, at)
			require.NoError(t, err)
			at = next
			a.settle()
		}
		block := int64(a.blocks(1)[0].Bytes)
		read := at / 2 * 1000 // batches of two records and some 1,000 bytes
		fetched := int64(len(a.reader.blocks.blocks)) * block
		require.LessOrEqual(t, fetched, 6*read+4*block, "after %d reads", reads)
		if reads > 1 {
			require.GreaterOrEqual(t, fetched, 3*read)
		}
		a.shutdown()
	}
}

// Consumers at one position share what is read, whether they come together or one after another.
func TestAFanOutCostsOneRead(t *testing.T) {
	gets := func(consumers int, together bool) int {
		a := newArchiveOf(t, ReaderOptions{BlockCacheBytes: 1 << 20})
		a.add(1)
		a.commit(300, 1)
		logs := make([]*CommittedLog, consumers)
		for i := range logs {
			logs[i] = a.reader.Log(1, name("consumer"))
		}
		_, end, _ := a.logs[1].Bounds()
		for at := int64(0); at < end; {
			var all []*answer
			for _, log := range logs {
				a.logs[1] = log
				got := a.begin(1, at)
				all = append(all, got)
				if !together {
					a.w.until("an answer", func() bool { return got.ended })
				}
			}
			next := at
			for _, got := range all {
				a.w.until("an answer", func() bool { return got.ended })
				require.NoError(t, got.err)
				next = got.next
			}
			at = next
		}
		a.shutdown()
		return a.w.store.gets
	}
	for _, together := range []bool{false, true} {
		require.LessOrEqual(t, gets(5, together), gets(1, together))
	}
}

// warm makes the reader know how long the store takes.
func (a *archive) warm(id metadata.StreamID) {
	for at := int64(0); a.w.store.gets < 2*hedgeSamplesMin; {
		next, err := a.read(id, at)
		require.NoError(a.w.t, err)
		at = next
	}
	a.settle()
}

func TestAGetThatTakesLongerThanMostIsAskedForTwice(t *testing.T) {
	for _, outcome := range []string{"", "damaged", "failed"} {
		for _, indexIsThere := range []bool{false, true} {
			a := newArchiveOf(t, ReaderOptions{BlockCacheBytes: 64 << 10})
			a.add(1)
			a.add(2)
			a.commit(1000, 1)
			a.commit(20, 2)
			if indexIsThere {
				_, err := a.read(2, 39)
				require.NoError(t, err)
			}
			a.warm(1)
			before := a.w.store.gets
			a.w.store.hangs = true
			got := a.begin(2, 0)
			a.w.store.hangs = false
			a.w.until("the hedge", func() bool { return a.w.hits("stream read: hedged") == 1 })
			a.w.until("the answer", func() bool { return got.ended })
			require.NoError(t, got.err)
			require.Equal(t, int64(1), a.w.hits("stream read: a hedge was faster"))
			if indexIsThere {
				require.Equal(t, before+1, a.w.store.gets)
			}
			a.w.store.weather = func(string) string { return outcome }
			a.w.store.release() // the first attempt's answer
			a.settle()
			a.w.store.weather = func(string) string { return "" }
			a.readAll(2)
			a.shutdown()
		}
	}
}

// If the hedge fails, the first attempt still counts, and the other way round; if both do, the read is tried again.
func TestAHedgeThatFailsHarmsNothing(t *testing.T) {
	for _, firstFails := range []bool{false, true} {
		a := newArchiveOf(t, ReaderOptions{BlockCacheBytes: 64 << 10})
		a.add(1)
		a.add(2)
		a.commit(1000, 1)
		a.commit(20, 2)
		a.warm(1)
		a.w.store.hangs = true
		got := a.begin(2, 0)
		a.w.store.hangs = false
		a.w.store.weather = func(string) string { return "failed" }
		a.w.until("the hedge", func() bool { return a.w.hits("stream read: hedged") == 1 })
		a.settle()
		require.False(t, got.ended)
		if !firstFails {
			a.w.store.weather = func(string) string { return "" }
		}
		a.w.store.release()
		a.settle()
		a.w.store.weather = func(string) string { return "" }
		a.w.until("the answer", func() bool { return got.ended })
		require.NoError(t, got.err)
		a.shutdown()
	}
}

// A store that becomes slow is not asked for everything twice.
func TestHedgesHaveABudget(t *testing.T) {
	var h hedging
	hedged, gets := 0, 0
	for range 10_000 {
		h.took(1<<20, time.Millisecond)
		gets++
		if h.allow() {
			hedged++
		}
	}
	require.LessOrEqual(t, hedged, gets/hedgeCost)
	h = hedging{}
	for range 1000 {
		h.took(1, time.Millisecond)
	}
	burst := 0
	for h.allow() {
		burst++
	}
	require.Equal(t, hedgeSavingsMax/hedgeCost, burst)
}

func TestTheDelayOfAHedgeIsBeyondMostGetsOfTheSize(t *testing.T) {
	var h hedging
	for i := range hedgeSamplesMin {
		_, known := h.delay(1 << 20)
		require.False(t, known, "after %d samples", i)
		h.took(1<<20, 10*time.Millisecond)
	}
	delay, known := h.delay(1 << 20)
	require.True(t, known)
	require.Equal(t, 20*time.Millisecond, delay, "twice the median")
	_, known = h.delay(8 << 20)
	require.False(t, known, "larger ones take longer")
	for i := range hedgeSamples {
		d := 10 * time.Millisecond
		if i%10 == 0 {
			d = time.Second
		}
		h.took(1<<20, d)
	}
	delay, _ = h.delay(1 << 20)
	require.Equal(t, time.Second, delay, "the 95th of a hundred")
}

// What is read again and again outlives a scan of many times the cache, and scans that read ahead.
func TestAScanDoesNotPushOutWhatIsReadAgain(t *testing.T) {
	a := newArchiveOf(t, ReaderOptions{BlockCacheBytes: 64 << 10})
	a.add(1)
	a.add(2)
	a.commit(5, 1)
	a.commit(1000, 2)
	hot := func() (gets int) {
		before := a.w.store.gets
		_, err := a.read(1, 0)
		require.NoError(t, err)
		return a.w.store.gets - before
	}
	for range 1 + returnsOfTrial {
		hot()
	}
	for at, turn := int64(0), 0; at < 2000; turn++ {
		next, err := a.read(2, at)
		require.NoError(t, err)
		at = next
		if turn%5 == 0 {
			require.Zero(t, hot(), "at offset %d of the scan", at)
		}
	}
	a.shutdown()
}

// Reads of all kinds, in a store of all weathers whose answers overtake each other, give what was written; and all
// memory comes back.
func TestReadsInAnyWeather(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		a := newArchiveOf(t, ReaderOptions{
			BlockCacheBytes: int64(rapid.SampledFrom([]int{8 << 10, 64 << 10, 1 << 20}).Draw(rt, "cache")),
			GetsInFlightMax: rapid.IntRange(1, 8).Draw(rt, "gets"),
		})
		const streams = 3
		for id := range metadata.StreamID(streams) {
			a.add(id + 1)
		}
		for range rapid.IntRange(1, 4).Draw(rt, "objects") {
			a.commit(rapid.IntRange(1, 60).Draw(rt, "batches"), 1, 2, 3)
		}
		rough := rapid.IntRange(0, 3).Draw(rt, "rough")
		a.w.pick = func(n int) int { return rapid.IntRange(0, n-1).Draw(rt, "which") }
		a.w.store.weather = func(string) string {
			if rapid.IntRange(0, 9).Draw(rt, "weather") >= rough {
				return ""
			}
			return rapid.SampledFrom([]string{"failed", "damaged", "short"}).Draw(rt, "kind")
		}
		var all []*answer
		for range rapid.IntRange(1, 60).Draw(rt, "steps") {
			switch rapid.IntRange(0, 9).Draw(rt, "what") {
			case 0, 1, 2:
				id := metadata.StreamID(1 + rapid.IntRange(0, streams-1).Draw(rt, "stream"))
				offset := rapid.Int64Range(0, a.histories[id].end()-1).Draw(rt, "offset")
				all = append(all, a.beginWith(id, offset, rapid.IntRange(1, 64<<10).Draw(rt, "bytes")))
			case 3, 4:
				if n := len(all); n > 0 && all[n-1].ended && all[n-1].err == nil { // it reads on
					last := all[n-1]
					all = append(all, a.beginWith(last.stream, last.next, 8<<10))
				}
			case 5:
				a.w.store.hangs = !a.w.store.hangs
			case 6:
				a.w.store.release()
			default:
				a.w.step()
			}
		}
		a.w.store.hangs = false
		a.w.store.release()
		if rapid.Bool().Draw(rt, "to the end") {
			for _, got := range all {
				a.w.until("an answer", func() bool { return got.ended })
			}
		}
		a.shutdown()
		for _, got := range all {
			require.True(t, got.ended)
		}
	})
}

// What was read ahead and is gone unread makes room for more.
func TestBlocksThatNobodyReadDoNotStopReadingAhead(t *testing.T) {
	a := newArchiveOf(t, ReaderOptions{BlockCacheBytes: 64 << 10})
	const streams = 30
	for id := range metadata.StreamID(streams) {
		a.add(id + 1)
		a.commit(100, id+1)
	}
	for id := range metadata.StreamID(streams) { // each reads a little, and stops
		next := int64(0)
		for range 4 {
			at, err := a.read(id+1, next)
			require.NoError(t, err)
			next = at
		}
		a.w.store.weather = func(string) string { return []string{"", "failed"}[id%2] } // some never come
		a.settle()
		a.w.store.weather = func(string) string { return "" }
		a.w.now = a.w.now.Add(2 * unreadAgeMax)
	}
	before := a.w.hits("stream read: ahead")
	a.logs[1] = a.reader.Log(1, name("another reader"))
	a.readAll(1)
	require.Greater(t, a.w.hits("stream read: ahead"), before+10)
	a.w.until("the end of all reads", func() bool { return len(a.w.pending)+len(a.reader.gets.resting) == 0 })
	require.LessOrEqual(t, a.reader.blocks.unread, a.reader.blocks.limit/8*5)
	a.shutdown()
	require.Zero(t, a.reader.blocks.unread)
	require.Zero(t, a.reader.gets.bytes)
}
