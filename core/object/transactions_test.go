package object

import (
	"encoding/hex"
	"math/rand/v2"
	"os"
	"slices"
	"testing"

	"weir/core/record"

	"github.com/stretchr/testify/require"
)

// data is a batch of a transaction at an offset, marker the end of one.
func data(producer, base int64) Batch {
	p := record.Builder{BaseOffset: base, LeaderEpoch: 3, ProducerID: producer, Transactional: true}
	return Batch{Data: p.AppendBatch(nil, []record.Record{{Timestamp: 7}}), Base: base, End: base + 1, MaxTimestamp: 7}
}

func marker(producer, base int64, commit bool) Batch {
	b := record.AppendMarker(nil, producer, 0, record.Marker{Commit: commit}, 7)
	record.Patch(b, base, 3)
	return Batch{Data: b, Base: base, End: base + 1, MaxTimestamp: 7}
}

func transactional() []Part {
	return []Part{
		{Stream: 3, LeaderEpoch: 3, Batches: []Batch{
			data(7, 10), data(8, 11), marker(7, 12, false), marker(9, 13, true), data(7, 14), marker(7, 15, true), marker(8, 16, true), data(10, 17),
		}},
		{Stream: 7, LeaderEpoch: 3, Batches: []Batch{batch(0, 1, 5, -1)}},
	}
}

// An index of version 2 is written where there are transactions, and for ever read.
func TestGoldenObjectWithTransactions(t *testing.T) {
	h, _ := sample()
	built := Build(h, transactional(), 200)
	body := slices.Concat(built.Body...)
	const name = "testdata/object-v2.hex"
	if *rewrite {
		require.NoError(t, os.WriteFile(name, []byte(hex.Dump(body)), 0o644))
	}
	want, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, string(want), hex.Dump(body), "version 2 is not what it was")
	check(t, body, &built, transactional())
	index := body[built.Parts[0].IndexPosition:][:built.Parts[0].IndexBytes]
	x, err := ParseIndex(index)
	require.NoError(t, err)
	require.Equal(t, []Transaction{
		{Producer: 7, First: 10, Last: 12, laterFirst: 11},
		{Producer: 9, First: 13, Last: 13, Outcome: Committed, laterFirst: 11},
		{Producer: 8, First: 11, Last: 16, Outcome: Committed, laterFirst: 17},
	}, x.Transactions.ended)
	require.Equal(t, []Transaction{{Producer: 10, First: 17, Last: noMarker, Outcome: Undecided}}, x.Transactions.undecided)
	plain := body[built.Parts[1].IndexPosition:][:built.Parts[1].IndexBytes]
	require.EqualValues(t, 1, order.Uint16(plain[4:]), "a part without transactions stays readable for earlier releases")
}

// Whatever an index says of transactions, it is refused or makes sense.
func TestDamagedTransactionsAreRefused(t *testing.T) {
	h, _ := sample()
	built := Build(h, transactional(), 200)
	body := slices.Concat(built.Body...)
	good := body[built.Parts[0].IndexPosition:][:built.Parts[0].IndexBytes]
	rows := len(good) - 4*transactionEntryBytes
	for name, change := range map[string]func(b []byte){
		"more rows than bytes": func(b []byte) { order.PutUint32(b[36:], 5) },
		"a first below":        func(b []byte) { order.PutUint64(b[rows+8:], 9) },
		"a first above":        func(b []byte) { order.PutUint64(b[rows+8:], 18) },
		"an end before":        func(b []byte) { order.PutUint64(b[rows+16:], 9) },
		"an end above":         func(b []byte) { order.PutUint64(b[rows+16:], 18) },
		"an outcome":           func(b []byte) { b[rows+24] = 3 },
		"undecided, ended":     func(b []byte) { b[rows+24] = byte(Undecided) },
		"out of order":         func(b []byte) { order.PutUint64(b[rows+16:], 14) },
		"open twice": func(b []byte) {
			copy(b[rows+2*transactionEntryBytes:], b[rows+3*transactionEntryBytes:])
		},
	} {
		b := slices.Clone(good)
		change(b)
		_, err := ParseIndex(b)
		require.ErrorIs(t, err, ErrDamaged, name)
		resum(b)
		_, err = ParseIndex(b)
		require.ErrorIs(t, err, ErrDamaged, name)
	}
	for n := range good {
		_, err := ParseIndex(good[:n])
		require.Error(t, err)
	}
}

// What is taken back was never there.
func TestTruncatedTransactions(t *testing.T) {
	for seed := range uint64(200) {
		draw := rand.New(rand.NewPCG(seed, 0))
		var batches []Batch
		for at := range int64(30) {
			if producer := draw.Int64N(4); draw.IntN(3) > 0 {
				batches = append(batches, data(producer, at))
			} else {
				batches = append(batches, marker(producer, at, draw.IntN(2) == 0))
			}
		}
		end := draw.IntN(31)
		var all, some Transactions
		for i, b := range batches {
			all.Add(b.Data, b.Base)
			if i < end {
				some.Add(b.Data, b.Base)
			}
		}
		all.Truncate(int64(end))
		require.True(t, slices.Equal(some.undecided, all.undecided))
		require.Equal(t, len(some.ended), len(all.ended))
		for i := range some.ended {
			require.LessOrEqual(t, all.ended[i].laterFirst, some.ended[i].laterFirst)
		}
	}
}

// A transaction that no run decides before many others have ended is looked up for each of these.
func BenchmarkAbortedSearchWithManyUndecided(b *testing.B) {
	const undecided, ended = 5_000, 100_000
	var before, behind Transactions
	for i := range int64(undecided) {
		before.begin(i, i)
	}
	for at := int64(undecided); at < undecided+2*ended; at += 2 {
		behind.begin(undecided, at)
		behind.end(undecided, at+1, false)
	}
	for b.Loop() {
		s := AbortedSearch{To: undecided}
		s.Visit(&before, 0, undecided)
		require.True(b, s.Visit(&behind, undecided, undecided+2*ended))
		require.Equal(b, undecided, s.Undecided())
	}
}
