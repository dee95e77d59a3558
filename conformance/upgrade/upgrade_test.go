package upgrade

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/internal/weirbin"
)

// What the released program was given: records in two partitions in turns, from one idempotent producer before its
// restart and from another after it.
const (
	keptTopic   = "kept"
	keptRecords = 200
	keptGroup   = "readers"
	limit       = 2 * time.Minute
)

// TestReleaseBeforeFeatures: the release whose clusters have no feature of Kafka's.
func TestReleaseBeforeFeatures(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	dir := t.TempDir()
	unpack(t, "testdata/2026-11.tgz", dir)
	path, err := weirbin.Build(t.TempDir())
	require.NoError(t, err)

	b, client := start(t, path, dir)
	require.Equal(t, map[string]int16{"weir.metadata": 1}, finalized(ctx, t, client), "an upgrade is what an administrator asks for")
	readKept(ctx, t, client)
	want := supported(ctx, t, client)
	for name, level := range want {
		update(ctx, t, client, name, level)
	}
	require.Equal(t, want, finalized(ctx, t, client))
	client.Close()
	b.Kill()
	<-b.Ended()

	b, client = start(t, path, dir)
	require.Equal(t, want, finalized(ctx, t, client), "it is kept")
	readKept(ctx, t, client)
	transact(ctx, t, b.Address)
	client.Close()
	b.Kill()
	<-b.Ended()

	b, client = start(t, path, dir)
	defer client.Close()
	readKept(ctx, t, client)
	require.Equal(t, []string{"committed"}, newRecords(ctx, t, b.Address))
}

// transact commits a transaction to a partition that the released program wrote, aborts another, and commits the offsets of a group.
func transact(ctx context.Context, t *testing.T, address string) {
	client, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.TransactionalID("pipeline"), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	require.NoError(t, err)
	defer client.Close()
	for _, try := range []struct {
		value string
		end   kgo.TransactionEndTry
	}{{"aborted", kgo.TryAbort}, {"committed", kgo.TryCommit}} {
		require.NoError(t, client.BeginTransaction())
		require.NoError(t, client.ProduceSync(ctx, &kgo.Record{Topic: keptTopic, Partition: 1, Value: []byte(try.value)}).FirstErr())
		require.NoError(t, client.EndTransaction(ctx, try.end))
	}
	admin := kadm.NewClient(client)
	offsets := kadm.Offsets{}
	offsets.AddOffset(keptTopic, 1, keptRecords/2, -1)
	require.NoError(t, admin.CommitAllOffsets(ctx, keptGroup, offsets))
}

// newRecords reads what is committed from the offsets of the group on.
func newRecords(ctx context.Context, t *testing.T, address string) (values []string) {
	client, err := kgo.NewClient(kgo.SeedBrokers(address), kgo.ConsumerGroup(keptGroup), kgo.ConsumeTopics(keptTopic),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtEnd()))
	require.NoError(t, err)
	defer client.Close()
	for len(values) == 0 {
		fetches := client.PollFetches(ctx)
		require.NoError(t, fetches.Err0())
		fetches.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
	return values
}

func unpack(t *testing.T, archive, dir string) {
	f, err := os.Open(archive)
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	in := tar.NewReader(z)
	for {
		h, err := in.Next()
		if errors.Is(err, io.EOF) {
			return
		}
		require.NoError(t, err)
		to := filepath.Join(dir, filepath.FromSlash(h.Name))
		if h.FileInfo().IsDir() {
			require.NoError(t, os.MkdirAll(to, 0o755))
			continue
		}
		out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY, 0o600)
		require.NoError(t, err)
		_, err = io.Copy(out, in)
		require.NoError(t, errors.Join(err, out.Close()))
	}
}

func start(t *testing.T, path, dir string) (*weirbin.Broker, *kgo.Client) {
	b, err := weirbin.Start(weirbin.Options{Path: path, Dir: dir, Config: map[string]string{
		"weir.wal.size.bytes": "67108864", "weir.cache.bytes": "67108864", "weir.block.cache.bytes": "16777216", "socket.request.max.bytes": "8388608",
		"weir.upload.bytes": "1048576",
	}})
	require.NoError(t, err)
	t.Cleanup(b.Kill)
	client, err := kgo.NewClient(kgo.SeedBrokers(b.Address), kgo.ConsumeTopics(keptTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	require.NoError(t, err)
	return b, client
}

// readKept reads every record, in the order of its partition.
func readKept(ctx context.Context, t *testing.T, client *kgo.Client) {
	next := [2]int{0, 1}
	for read := 0; read < keptRecords; {
		fetches := client.PollFetches(ctx)
		require.NoError(t, fetches.Err0())
		fetches.EachRecord(func(r *kgo.Record) {
			i := next[r.Partition]
			require.Equal(t, fmt.Sprint("key-", i), string(r.Key))
			require.Equal(t, fmt.Sprint("value-", i), string(r.Value))
			require.Equal(t, int64(i/2), r.Offset)
			next[r.Partition] += 2
			read++
		})
	}
}

func versions(ctx context.Context, t *testing.T, client *kgo.Client) *kmsg.ApiVersionsResponse {
	r := kmsg.NewPtrApiVersionsRequest()
	r.ClientSoftwareName, r.ClientSoftwareVersion = "weir", "1"
	answer, err := client.Request(ctx, r)
	require.NoError(t, err)
	return answer.(*kmsg.ApiVersionsResponse)
}

func finalized(ctx context.Context, t *testing.T, client *kgo.Client) map[string]int16 {
	out := map[string]int16{}
	answer := versions(ctx, t, client)
	require.GreaterOrEqual(t, answer.FinalizedFeaturesEpoch, int64(0))
	for _, f := range answer.FinalizedFeatures {
		out[f.Name] = f.MaxVersionLevel
	}
	return out
}

func supported(ctx context.Context, t *testing.T, client *kgo.Client) map[string]int16 {
	out := map[string]int16{}
	for _, f := range versions(ctx, t, client).SupportedFeatures {
		out[f.Name] = f.MaxVersion
	}
	return out
}

func update(ctx context.Context, t *testing.T, client *kgo.Client, name string, level int16) {
	r := kmsg.NewPtrUpdateFeaturesRequest()
	f := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
	f.Feature, f.MaxVersionLevel, f.UpgradeType = name, level, 1
	r.FeatureUpdates = append(r.FeatureUpdates, f)
	answer, err := r.RequestWith(ctx, client)
	require.NoError(t, err)
	require.Zero(t, answer.ErrorCode, "%v", answer.ErrorMessage)
}
