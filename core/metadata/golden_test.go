package metadata_test

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"weir/core/metadata"
)

var update = flag.Bool("update", false, "write the golden files")

// Golden files of released versions stay readable, and the bytes of this version
// do not change by accident.
func TestGolden(t *testing.T) {
	im := metadata.NewImage()
	im.BeginTerm(1)
	first := func(*metadata.Image) []metadata.Record { return everyRecord() }
	for version, records := range []func(*metadata.Image) []metadata.Record{first, objectWALRecords, keyRecords} {
		if version == 2 {
			wantGolden(t, "testdata/snapshot.v5", im.AppendSnapshot(nil)) // a release before can read it
		}
		var log []byte
		for i, r := range records(im) {
			encoded := r.AppendTo(nil)
			log = append(binary.AppendUvarint(log, uint64(len(encoded))), encoded...)
			if err := im.Apply(im.AppliedIndex()+1, r); err != nil {
				t.Fatalf("record %d of version %d: %v", i+1, version+1, err)
			}
		}
		wantGolden(t, fmt.Sprintf("testdata/records.v%d", version+1), log)
	}
	wantGolden(t, "testdata/snapshot.v6", im.AppendSnapshot(nil))
	wantAbandonGolden(t, im)
	wantCheckpointGolden(t, im)
	wantPackedGolden(t, im)
	for _, name := range []string{"testdata/snapshot.v1", "testdata/snapshot.v2", "testdata/snapshot.v3", "testdata/snapshot.v4"} { // of releases before
		golden, _ := os.ReadFile(name)
		loaded, err := metadata.LoadSnapshot(im.AppliedIndex(), golden)
		if err != nil || loaded.ClusterID() != im.ClusterID() || loaded.Feature("weir.metadata") != 1 || loaded.Feature("other") != 0 {
			t.Fatalf("loaded %+v, %v", loaded, err)
		}
	}
}

// wantAbandonGolden holds the record that gives up a WAL, and the snapshot of what it makes, against what was released.
func wantAbandonGolden(t *testing.T, im *metadata.Image) {
	epoch := metadata.BrokerEpoch(im.AppliedIndex() + 1)
	abandon := &metadata.AbandonWAL{Broker: 8, Epoch: epoch, Offsets: 1000, At: 1_700_000_000_000, Leaders: []metadata.Leader{{Broker: 1, Epoch: 13}}, Term: 1}
	for _, r := range []metadata.Record{
		&metadata.RegisterBroker{ID: 8, Incarnation: [16]byte{8}},
		&metadata.CreateTopic{ID: topicID("lost"), Name: "lost", Leaders: []metadata.Leader{{Broker: 8, Epoch: epoch}}},
		&metadata.FenceBroker{ID: 8, Epoch: epoch, Term: 1},
		abandon,
	} {
		if err := im.Apply(im.AppliedIndex()+1, r); err != nil {
			t.Fatal(err)
		}
	}
	wantGolden(t, "testdata/abandon.v1", append(abandon.AppendTo(nil), im.AppendSnapshot(nil)...))
}

func wantCheckpointGolden(t *testing.T, im *metadata.Image) {
	var log []byte
	for _, r := range checkpointRecords(im) {
		encoded := r.AppendTo(nil)
		log = append(binary.AppendUvarint(log, uint64(len(encoded))), encoded...)
		require.NoError(t, im.Apply(im.AppliedIndex()+1, r))
		for i, accepted := range im.Outcome().Accepted {
			require.True(t, accepted, "%T, %d", r, i)
		}
	}
	wantGolden(t, "testdata/checkpoints.v1", append(log, im.AppendSnapshot(nil)...))
}

func wantGolden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s holds other bytes than this code writes (%v); a format that changed needs a new version", path, err)
	}
}
