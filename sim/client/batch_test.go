package client

import (
	"testing"

	"weir/core/compress"
	"weir/core/record"
	"weir/sim/checker"
)

func TestBatchesRoundTrip(t *testing.T) {
	for codec := compress.None; codec <= compress.Zstd; codec++ {
		spec := batchSpec{tag: 7, id: 42, records: 5, valueSize: 300, producer: 9, epoch: 1, sequence: 10, timestamp: 1000, codec: codec}
		b := appendBatch(nil, &spec)
		if _, err := record.Check(b); err != nil {
			t.Fatalf("codec %d: the core refuses it: %v", codec, err)
		}
		record.Patch(b, 1234, 3)
		two, err := readBatches(append(b, b[:len(b)-1]...), &written{tag: 7}, nil)
		if err != nil || len(two) != 1 || two[0].Base != 1234 || two[0].ID != 42 || two[0].Records != 5 {
			t.Fatalf("codec %d: read %+v, %v", codec, two, err)
		}
	}
}

func TestAnyDamageIsSeen(t *testing.T) {
	spec := batchSpec{tag: 7, id: 42, records: 3, valueSize: 30, producer: -1, epoch: -1, sequence: -1, timestamp: 1000, mixed: 50}
	sent := make([]checker.Append, 43)
	sent[42] = spec.append(0, 0)
	whole := appendBatch(nil, &spec)
	record.Patch(whole, 1234, 3)
	for i := 16; i < len(whole); i++ {
		b := append([]byte(nil), whole...)
		b[i] ^= 4
		if _, err := readBatches(b, &written{tag: 7, appends: sent}, nil); err == nil {
			t.Fatalf("a flipped bit in byte %d went unseen", i)
		}
	}
	if _, err := readBatches(whole, &written{tag: 8}, nil); err == nil {
		t.Fatal("another partition's batch was taken")
	}
}
