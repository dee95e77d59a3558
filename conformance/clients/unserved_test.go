package clients

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"weir/internal/weirbin"
)

// What weir does not serve yet is not advertised, and whoever asks all the same is
// told so at once.
func TestWeirRefusesTransactionsClearly(t *testing.T) {
	broker := startWeir(t, weirbin.Options{Path: weirProgram(t), Dir: t.TempDir()})
	e := Address(broker.Address)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := CreateTopic(ctx, e, "plain", 1); err != nil {
		t.Fatal(err)
	}
	client, err := connect(e, kgo.TransactionalID("tx"), kgo.DefaultProduceTopic("plain"))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()

	answer, err := kmsg.NewPtrApiVersionsRequest().RequestWith(ctx, client)
	if err != nil {
		t.Fatal(err)
	}
	served := map[int16]bool{}
	for _, k := range answer.ApiKeys {
		served[k.ApiKey] = true
	}
	// Transactions, groups of KIP-848 and shares, in Kafka's numbers.
	for _, key := range []int16{24, 25, 26, 27, 61, 65, 66, 68, 69, 76, 77, 78, 79, 88, 89} {
		if served[key] {
			t.Errorf("key %d is advertised", key)
		}
	}
	for _, f := range answer.FinalizedFeatures {
		if f.Name != "weir.metadata" {
			t.Errorf("feature %+v", f)
		}
	}

	if client.BeginTransaction() == nil {
		if err := client.ProduceSync(ctx, kgo.StringRecord("x")).FirstErr(); err == nil || ctx.Err() != nil {
			t.Errorf("a transactional producer hears nothing: %v", err)
		}
	}
	begin := kmsg.NewPtrInitProducerIDRequest()
	begin.TransactionalID = kmsg.StringPtr("tx")
	begun, err := begin.RequestWith(ctx, client.SeedBrokers()[0])
	if err != nil || !errors.Is(kerr.ErrorForCode(begun.ErrorCode), kerr.UnsupportedVersion) {
		t.Errorf("InitProducerId with a transactional id: %+v, %v", begun, err)
	}
	b := &Bait{Endpoint: e, Topic: "plain"}
	w, err := b.dial(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	request := b.produceRequest(-1, plain(someTime, 1))
	request.TransactionID = kmsg.StringPtr("tx")
	if _, code, err := w.produce(request); err != nil || code != kerr.UnsupportedVersion.Code {
		t.Errorf("a transactional Produce: code %d, %v", code, err)
	}
	if _, code, err := w.produce(b.produceRequest(-1, plain(someTime, 1))); err != nil || code != 0 {
		t.Errorf("the connection does not go on: code %d, %v", code, err)
	}
}
