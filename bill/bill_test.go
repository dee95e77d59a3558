package bill_test

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"weir/bill"
	"weir/core/env"
)

// page is a scrape of what a meter counted.
type page map[string]int64

type line struct {
	page
	name string
}

func (p page) Counter(name, _ string) env.Counter {
	p[name] += 0
	return line{p, name}
}
func (p page) Gauge(string, string) env.Gauge { return nil }
func (p page) Histogram(string, string) env.Histogram {
	return nil
}
func (l line) Add(n int64) { l.page[l.name] += n }

func (p page) String() string {
	var b strings.Builder
	for name, n := range p {
		fmt.Fprintf(&b, "%s %d\n", name, n)
	}
	return b.String()
}

func operation(t *rapid.T) env.Event {
	purpose := env.Purpose(rapid.IntRange(0, int(env.Purposes)-1).Draw(t, "purpose"))
	size := rapid.SampledFrom([]int{0, 1, 1000, bill.PartBytes, bill.PartBytes + 1, 80 << 20}).Draw(t, "size")
	switch rapid.IntRange(0, 4).Draw(t, "kind") {
	case 0:
		return &env.PutObject{For: purpose, Body: [][]byte{make([]byte, size/2), make([]byte, size-size/2)}}
	case 1:
		return &env.GetObject{For: purpose, Into: make([]byte, size), N: size / 2}
	case 2:
		return &env.DeleteObject{For: purpose}
	case 3:
		return &env.ComposeObject{For: purpose, Pieces: []env.Piece{{Data: make([]byte, size)}, {Key: "of", Bytes: 1}}}
	}
	return &env.ListObjects{For: purpose}
}

// What a meter counts is what its scrape says, and what an account counts.
func TestAScrapeSaysWhatWasCounted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := page{bill.WrittenMetric: 1 << 30, "process_start_time_seconds": 1000, "weir_objects_listed_bytes": 7, "go_goroutines": 1}
		meter, account := bill.NewMeter(p), &bill.Account{Written: 1 << 30, Stored: 7, Over: 50 * time.Second}
		for range rapid.IntRange(0, 20).Draw(t, "operations") {
			o := operation(t)
			bill.Operation(meter, o)
			bill.Operation(account, o)
		}
		read, err := bill.Read(strings.NewReader(p.String()), time.Unix(1050, 0))
		require.NoError(t, err)
		require.Equal(t, account, read)
		both := *account
		both.Add(account)
		require.Equal(t, 2*account.Written, both.Written)
		require.Equal(t, 2*account.Of(env.PurposeUpload), both.Of(env.PurposeUpload))
		require.Equal(t, account.Stored, both.Stored)
		require.Equal(t, account.Over, both.Over)
		since, err := both.Since(account)
		require.NoError(t, err)
		require.Equal(t, account.Requests, since.Requests)
		require.Equal(t, account.Received, since.Received)
		since, err = read.Since(account)
		require.NoError(t, err)
		require.Equal(t, &bill.Account{Stored: 7}, since)
		account.Count(bill.Put, env.PurposeUpload, 1)
		_, err = read.Since(account)
		require.ErrorIs(t, err, bill.ErrRestarted)
	})
}

func TestAScrapeOfSomethingElse(t *testing.T) {
	for text, want := range map[string]string{
		"up 1\n": "not the metrics of a weir broker",
		"<html>": "metrics:",
		`weir_store_requests_total{purpose="tea",request="put"} 1` + "\n": "does not know",
	} {
		_, err := bill.Read(strings.NewReader(text), time.Now())
		require.ErrorContains(t, err, want, text)
	}
}

// The arithmetic of a large body: parts, begin, join, and a look whether the key is free.
func TestALargePutIsManyRequests(t *testing.T) {
	a := &bill.Account{}
	bill.Operation(a, &env.PutObject{For: env.PurposeUpload, Body: [][]byte{make([]byte, 2*bill.PartBytes+1)}})
	require.EqualValues(t, 3, a.Requests[bill.Part][env.PurposeUpload])
	require.EqualValues(t, 2, a.Requests[bill.Multipart][env.PurposeUpload])
	require.EqualValues(t, 1, a.Requests[bill.Head][env.PurposeUpload])
	require.EqualValues(t, 6, a.Of(env.PurposeUpload))
	require.EqualValues(t, 2*bill.PartBytes+1, a.Sent[env.PurposeUpload])
}

func TestPricesAreApplied(t *testing.T) {
	p := &bill.Prices{PutThousand: 1, ListThousand: 2, GetThousand: 4, SentGiB: 8, ReceivedGiB: 16}
	for kind, want := range map[bill.Request]float64{
		bill.Put: 1, bill.Part: 1, bill.Multipart: 1, bill.List: 2, bill.Get: 4, bill.Head: 4, bill.Delete: 0, bill.Abort: 0,
	} {
		a := &bill.Account{}
		a.Count(kind, env.PurposeSweep, 2000)
		require.InDelta(t, 2*want, p.Dollars(a, env.PurposeSweep), 1e-9, "%v", kind)
		require.Zero(t, p.Dollars(a, env.PurposeUpload))
		require.InDelta(t, 2*want, p.Requested(a), 1e-9)
	}
	a := &bill.Account{}
	a.Moved(env.PurposeUpload, 1<<30, 1<<29)
	require.InDelta(t, 16, p.Dollars(a, env.PurposeUpload), 1e-9)
}

func TestThePriceListThatIsBuiltIn(t *testing.T) {
	list := bill.DefaultPrices()
	for _, name := range []string{"", "s3-standard-us-east-1", "s3-standard-eu-central-1", "s3-express-one-zone-us-east-1", "gcs-standard-us-central1"} {
		p, err := list.Store(name)
		require.NoError(t, err)
		require.Positive(t, min(p.PutThousand, p.ListThousand, p.GetThousand, p.StoredGiB, p.CrossZoneGiB), name)
	}
	_, err := list.Store("tape")
	require.ErrorContains(t, err, "it has s3-standard-us-east-1, ")
}

func TestPriceListsThatAreRefused(t *testing.T) {
	const row = `{"name": "a", "sources": ["b"]}`
	for text, want := range map[string]string{
		``:                                "price list",
		`{"date": "today", "stores": []}`: "2006-01-02",
		`{"date": "2026-01-02"}`:          "no stores",
		`{"date": "2026-01-02", "x": 1}`:  "unknown field",
		`{"date": "2026-01-02", "stores": [{"sources": ["b"]}]}`:                          "no name",
		`{"date": "2026-01-02", "stores": [{"name": "a"}]}`:                               "no sources",
		`{"date": "2026-01-02", "stores": [` + row + `,` + row + `]}`:                     "has its name",
		`{"date": "2026-01-02", "stores": [{"name":"a","sources":["b"],"put_1000":-1}]}`:  "negative",
		`{"date": "2026-01-02", "stores": [{"name":"a","sources":["b"],"put_1000":"x"}]}`: "put_1000",
	} {
		_, err := bill.ParsePrices([]byte(text))
		require.ErrorContains(t, err, want, text)
	}
}

// The table of a broker that takes 100 MiB/s for an hour with the default settings and a log on a device, as arithmetic: uploads of
// a third of the cache (1 GiB), metadata shipped each second, readers served from memory. Its requests cost less than 0.001
// dollars for each GiB.
func TestTheBillOfAHundredMiBASecond(t *testing.T) {
	const hour, rate, upload = 3600, 100 << 20, 1 << 30 / 3
	a := &bill.Account{Written: rate * hour, Over: hour * time.Second, Stored: rate * hour}
	body := &env.PutObject{For: env.PurposeOwnObject, Body: [][]byte{make([]byte, upload)}}
	for range rate * hour / upload {
		bill.Operation(a, body)
	}
	for range hour {
		bill.Operation(a, &env.PutObject{For: env.PurposeShipment, Body: [][]byte{make([]byte, 10_000)}})
		bill.Operation(a, &env.ListObjects{For: env.PurposeShipment})
	}
	list := bill.DefaultPrices()
	prices, err := list.Store("")
	require.NoError(t, err)
	require.Less(t, prices.Requested(a)/(float64(a.Written)/(1<<30)), 0.001)
	var b strings.Builder
	require.NoError(t, list.Print(&b, a, prices))
	const golden = "testdata/hundred.txt"
	if os.Getenv("UPDATE") != "" {
		require.NoError(t, os.WriteFile(golden, []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), b.String(), "UPDATE=1 writes it anew")
}
