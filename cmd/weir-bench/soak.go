package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// soak writes for long at a share of what the broker can take, with a retention of minutes, while a consumer reads everything as it
// comes: memory, stored objects and latency must not grow.
type soak struct {
	load      load
	weir, dir string
	share     float64
	warm, sum time.Duration
	span      time.Duration
	retention time.Duration
	output    string // file names without their endings
	settings  keyValues

	broker *watched
	begin  time.Time
	looks  []soakLook
}

// soakLook is what was seen at the end of a span.
type soakLook struct {
	at       time.Duration
	resident int64 // bytes
	objects  int   // of records
	stored   int64 // bytes of objects
	shipped  int   // pieces of the metadata in the store
	p50, p99 float64
}

// soakFlat is how much a mean of the last third may be above that of the first.
const soakFlat = 1.2

func soakCommand(ctx context.Context, args []string) error {
	set := newFlags("soak")
	s := &soak{settings: keyValues{}, load: load{Partitions: 12, Clients: 4, RecordBytes: 1024, BatchBytes: 16 << 10}}
	set.StringVar(&s.weir, "weir", "bin/weir", "the program")
	set.StringVar(&s.dir, "dir", "", "where the broker keeps its files; empty: a directory for temporary files")
	set.DurationVar(&s.sum, "for", 30*time.Minute, "how long, after the warm-up")
	set.DurationVar(&s.warm, "warm", 4*time.Minute, "how long before, at the same rate: the retention must have begun to delete")
	set.DurationVar(&s.span, "span", time.Minute, "time between two samples")
	set.DurationVar(&s.retention, "retention", 2*time.Minute, "retention.ms of the topic")
	set.IntVar(&s.load.RecordBytes, "record-bytes", s.load.RecordBytes, "size of each record's value")
	set.IntVar(&s.load.BatchBytes, "batch-bytes", s.load.BatchBytes, "largest batch; small ones make a lower peak, and so need less room: what is stored is what comes in the retention and some 90 s more")
	set.Float64Var(&s.share, "share", 0.7, "of the rate that was reached at full speed, which is measured first")
	peak := set.Float64("peak-mb", 0, "MB (10^6 bytes) a second at full speed; 0: it is measured")
	set.StringVar(&s.output, "o", "soak", "write FILE.csv with the samples and FILE.svg with the chart")
	set.Var(s.settings, "set", "a key=value of the broker's configuration; may be given several times")
	set.Parse(args)
	frugal()
	var err error
	// Uploads and housekeeping are as often as the retention is short.
	config := map[string]string{"weir.upload.interval.ms": "5000", "log.retention.check.interval.ms": "5000"}
	if s.broker, err = startWatched(s.weir, s.dir, config, s.settings); err != nil {
		return err
	}
	defer s.broker.remove()
	return s.broker.explain(s.run(ctx, *peak*1e6))
}

func (s *soak) run(ctx context.Context, peak float64) (err error) {
	s.load.Brokers = s.broker.Address
	if err := s.createTopic(ctx); err != nil {
		return err
	}
	if peak == 0 {
		if peak, err = s.measurePeak(ctx); err != nil {
			return err
		}
	}
	s.load.Rate, s.load.Limit = peak*s.share, s.warm+s.sum
	fmt.Printf("peak %.0f MB/s; %.0f MB/s for %v, after %v to warm up\n", peak/1e6, s.load.Rate/1e6, s.sum, s.warm)
	reader, err := own("consume", "-brokers", s.load.Brokers, "-topic", s.load.Topic, "-follow")
	if err != nil {
		return err
	}
	defer reader.Kill()
	watching, stop := context.WithCancel(ctx)
	var group sync.WaitGroup
	s.begin = time.Now()
	group.Go(func() { s.watch(watching) })
	outcome, spans, err := produceBySpan(ctx, &s.load, s.span)
	stop()
	group.Wait()
	if outcome == nil {
		return err
	}
	fmt.Println(outcome)
	s.looks = s.looks[:min(len(s.looks), len(spans))]
	for i := range s.looks {
		s.looks[i].p50, s.looks[i].p99 = milliseconds(spans[i], 50), milliseconds(spans[i], 99)
	}
	if err := errors.Join(err, s.write()); err != nil {
		return err
	}
	return s.verdict()
}

func (s *soak) createTopic(ctx context.Context) error {
	client, err := kgo.NewClient(seeds(s.load.Brokers), kgo.ClientID("weir-bench"))
	if err != nil {
		return err
	}
	defer client.Close()
	s.load.Topic = "soak"
	millis := strconv.FormatInt(s.retention.Milliseconds(), 10)
	_, err = kadm.NewClient(client).CreateTopic(ctx, int32(s.load.Partitions), -1, map[string]*string{"retention.ms": &millis}, s.load.Topic)
	return err
}

// peakTime is how long each of two loads at full speed lasts, of which the first warms up.
const peakTime = 8 * time.Second

func (s *soak) measurePeak(ctx context.Context) (rate float64, err error) {
	l := s.load
	l.Limit = peakTime
	for range 2 {
		o, err := produce(ctx, &l)
		if err != nil {
			return 0, err
		}
		rate = o.rate()
	}
	return rate, nil
}

// watch looks once at the end of each span.
func (s *soak) watch(ctx context.Context) {
	ticker := time.NewTicker(s.span)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		look := soakLook{at: time.Since(s.begin)}
		if usage, err := s.broker.Usage(); err == nil {
			look.resident = usage.Resident
		}
		s.countStored(&look)
		s.looks = append(s.looks, look)
	}
}

// recordObjects is the directory of objects that hold records.
const recordObjects = "data+"

// countStored counts what the broker's directory has in place of an object store.
func (s *soak) countStored(look *soakLook) {
	_ = filepath.WalkDir(filepath.Join(s.broker.dir, "data", "objects"), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil // deleted meanwhile
		}
		if filepath.Base(filepath.Dir(path)) != recordObjects {
			look.shipped++
			return nil
		}
		if info, err := entry.Info(); err == nil {
			look.objects++
			look.stored += info.Size()
		}
		return nil
	})
}

// soakSeries are what is sampled. Those that grow and fall by their nature need not be flat: pieces of the metadata's log come with commits,
// and go with the next snapshot, after as many as 10,000 records.
var soakSeries = []struct {
	name  string
	of    func(*soakLook) float64
	waves bool
}{
	{name: "p50 ms", of: func(l *soakLook) float64 { return l.p50 }},
	{name: "p99 ms", of: func(l *soakLook) float64 { return l.p99 }},
	{name: "resident MiB", of: func(l *soakLook) float64 { return float64(l.resident) / (1 << 20) }},
	{name: "objects", of: func(l *soakLook) float64 { return float64(l.objects) }},
	{name: "stored MiB", of: func(l *soakLook) float64 { return float64(l.stored) / (1 << 20) }},
	{name: "metadata pieces", of: func(l *soakLook) float64 { return float64(l.shipped) }, waves: true},
}

// counted are the looks after the warm-up.
func (s *soak) counted() []soakLook {
	for i := range s.looks {
		if s.looks[i].at > s.warm {
			return s.looks[i:]
		}
	}
	return nil
}

// verdict compares the thirds; an error says that something grew.
func (s *soak) verdict() error {
	looks := s.counted()
	third := len(looks) / 3
	if third == 0 {
		return errors.New("too short for a verdict: it takes three samples")
	}
	var grew []string
	for _, series := range soakSeries {
		mean := func(looks []soakLook) (sum float64) {
			for i := range looks {
				sum += series.of(&looks[i]) / float64(len(looks))
			}
			return sum
		}
		first, last := mean(looks[:third]), mean(looks[len(looks)-third:])
		word := "flat"
		switch {
		case series.waves:
			word = "comes and goes"
		case last > soakFlat*first:
			word = "grew"
			grew = append(grew, series.name)
		}
		fmt.Printf("%-15s last third : first third   %10.2f : %10.2f = %.2f  %s\n", series.name, last, first, last/max(first, 1e-9), word)
	}
	if len(grew) > 0 {
		return fmt.Errorf("not flat: %s", strings.Join(grew, ", "))
	}
	return nil
}

// write keeps samples and chart.
func (s *soak) write() error {
	var csv strings.Builder
	csv.WriteString("seconds")
	for _, series := range soakSeries {
		csv.WriteString("," + strings.ReplaceAll(series.name, " ", "_"))
	}
	csv.WriteString("\n")
	for i := range s.looks {
		fmt.Fprintf(&csv, "%.0f", s.looks[i].at.Seconds())
		for _, series := range soakSeries {
			fmt.Fprintf(&csv, ",%.2f", series.of(&s.looks[i]))
		}
		csv.WriteString("\n")
	}
	return errors.Join(os.WriteFile(s.output+".csv", []byte(csv.String()), 0o644), os.WriteFile(s.output+".svg", []byte(s.chart()), 0o644))
}

const (
	chartWidth, chartHeight = 640, 90 // of a panel
	chartLeft, chartGap     = 150, 20
)

// chart is an SVG with a panel for each series, from zero to its most. The warm-up is in grey.
func (s *soak) chart() string {
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" font-family="sans-serif" font-size="12">`+"\n",
		chartLeft+chartWidth+chartGap, len(soakSeries)*(chartHeight+chartGap)+chartGap)
	whole := float64(s.warm + s.sum)
	for row, series := range soakSeries {
		most := 1e-9
		for i := range s.looks {
			most = max(most, series.of(&s.looks[i]))
		}
		top := chartGap + row*(chartHeight+chartGap)
		var points []string
		for i := range s.looks {
			x := chartLeft + chartWidth*float64(s.looks[i].at)/whole
			y := float64(top) + chartHeight*(1-series.of(&s.looks[i])/most)
			points = append(points, fmt.Sprintf("%.1f,%.1f", x, y))
		}
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%d" height="%d" fill="#f4f4f4"/><rect x="%d" y="%d" width="%.1f" height="%d" fill="#ddd"/>`+"\n",
			chartLeft, top, chartWidth, chartHeight, chartLeft, top, chartWidth*float64(s.warm)/whole, chartHeight)
		fmt.Fprintf(&b, `<text x="4" y="%d">%s</text><text x="4" y="%d">at most %.1f</text>`+"\n", top+chartHeight/2, series.name, top+chartHeight/2+16, most)
		fmt.Fprintf(&b, `<polyline fill="none" stroke="#1f6feb" stroke-width="1.5" points="%s"/>`+"\n", strings.Join(points, " "))
	}
	b.WriteString("</svg>\n")
	return b.String()
}
