package record

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"
)

// The record is that of Kafka's MemoryRecords.withEndTransactionMarker.
func TestAMarkerIsAsKafkaWritesIt(t *testing.T) {
	for _, m := range []Marker{{Commit: true, CoordinatorEpoch: 7}, {CoordinatorEpoch: 1 << 30}, {Commit: true, CoordinatorEpoch: -1}} {
		b := AppendMarker(nil, 1000, 3, m, 1_700_000_000_000)
		h, err := Check(b)
		require.NoError(t, err)
		require.True(t, h.Control() && h.Transactional() && Transactional(b) && h.Idempotent())
		require.Equal(t, int32(-1), h.BaseSequence)
		require.Equal(t, 78, h.Bytes)
		got, err := ReadMarker(b)
		require.NoError(t, err)
		require.Equal(t, m, got)
	}
	b := AppendMarker(nil, 1000, 3, Marker{Commit: true, CoordinatorEpoch: 7}, 1_700_000_000_000)
	require.Equal(t, "2000000008000000010c00000000000700", hex.EncodeToString(b[HeaderBytes:]))
}

func TestOtherControlRecordsAreNoMarkers(t *testing.T) {
	good := AppendMarker(nil, 1, 0, Marker{}, 0)
	for name, records := range map[string][]Record{
		"leader change": {{Key: []byte{0, 0, 0, 2}, Value: make([]byte, 6)}},
		"short key":     {{Key: []byte{0}, Value: make([]byte, 6)}},
		"no value":      {{Key: make([]byte, 4)}},
		"two records":   {{Key: make([]byte, 4), Value: make([]byte, 6)}, {Key: make([]byte, 4), Value: make([]byte, 6)}},
	} {
		_, err := ReadMarker((&Builder{ProducerID: 1, Control: true}).AppendBatch(nil, records))
		require.ErrorIs(t, err, ErrInvalid, name)
	}
	for n := range good {
		_, err := ReadMarker(good[:n])
		require.Error(t, err)
	}
	_, err := ReadMarker(AppendBatch(nil, []Record{{Key: make([]byte, 4), Value: make([]byte, 6)}}))
	require.ErrorIs(t, err, ErrInvalid)
}

func FuzzReadMarker(f *testing.F) {
	f.Add(AppendMarker(nil, 1, 0, Marker{Commit: true}, 5))
	f.Fuzz(func(_ *testing.T, b []byte) { _, _ = ReadMarker(b) })
}
