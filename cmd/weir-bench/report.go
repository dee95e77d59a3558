package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"
)

// report is everything that was measured.
type report struct {
	Date      time.Time   `json:"date"`
	Machine   machine     `json:"machine"`
	Rivals    []*rival    `json:"rivals"`
	Missing   []string    `json:"missing,omitempty"`
	Clients   int         `json:"clients"`
	Rate      float64     `json:"rate_bytes_per_second"`
	Bytes     int64       `json:"produce_bytes"`
	ReadBytes int64       `json:"read_bytes"`
	Unsummed  bool        `json:"unsummed,omitempty"`
	Rounds    []*measured `json:"rounds"`
}

// write saves every figure as JSON; without a file it does nothing.
func (r *report) write(file string) error {
	if file == "" {
		return nil
	}
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// column is one figure of a row.
type column struct {
	title  string
	format func(float64) string
	value  func(*measured) float64
	// ratio says that the table shows the value as a multiple of Kafka's, too.
	ratio bool
}

func perSecond(v float64) string { return fmt.Sprintf("%.0f", v/1e6) }
func seconds(v float64) string   { return fmt.Sprintf("%.2f", v) }
func millis(v float64) string    { return fmt.Sprintf("%.2f", v*1e3) }
func mebibytes(v float64) string { return fmt.Sprintf("%.0f", v/(1<<20)) }

// loadColumns are the rate of a load and what broker and client used for it.
func loadColumns(name string, of func(*measured) *cost) []column {
	return []column{
		{name + " MB/s", perSecond, func(m *measured) float64 { return of(m).rate() }, true},
		{name + " server CPU s/GiB", seconds, func(m *measured) float64 { return perGiB(of(m).ServerCPU, of(m).Bytes) }, true},
		{name + " client CPU s/GiB", seconds, func(m *measured) float64 { return perGiB(of(m).ClientCPU, of(m).Bytes) }, false},
	}
}

// tables group the columns, so that each fits a page.
func (r *report) tables() (titles []string, all [][]column) {
	latency := []column{
		{"p50 ms", millis, func(m *measured) float64 { return m.Rate.P50.Seconds() }, true},
		{"p99 ms", millis, func(m *measured) float64 { return m.Rate.P99.Seconds() }, true},
		{"p99.9 ms", millis, func(m *measured) float64 { return m.Rate.P999.Seconds() }, true},
		{"max ms", millis, func(m *measured) float64 { return m.Rate.Max.Seconds() }, false},
		{"reached MB/s", perSecond, func(m *measured) float64 { return m.RateCost.rate() }, false},
		{"server CPU s/GiB", seconds, func(m *measured) float64 { return perGiB(m.RateCost.ServerCPU, m.RateCost.Bytes) }, true},
	}
	rest := append(loadColumns("read", func(m *measured) *cost { return &m.Read }),
		column{"idle MiB", mebibytes, func(m *measured) float64 { return float64(m.Idle) }, true},
		column{"peak MiB", mebibytes, func(m *measured) float64 { return float64(m.ResidentMax) }, true},
		column{"start to first ack s", seconds, func(m *measured) float64 { return m.FirstAck.Seconds() }, true})
	produce := append(loadColumns("16 KiB", func(m *measured) *cost { return &m.Small }), loadColumns("1 MiB", func(m *measured) *cost { return &m.Large })...)
	var compressed []column
	ratio := func(of func(*measured) *cost) float64 {
		return r.median("weir", func(m *measured) float64 { return of(m).Ratio })
	}
	lz4, zstd, gzip := func(m *measured) *cost { return &m.LZ4 }, func(m *measured) *cost { return &m.Zstd }, func(m *measured) *cost { return &m.Gzip }
	compressed = append(compressed, loadColumns("lz4", lz4)...)
	compressed = append(compressed, loadColumns("zstd", zstd)...)
	compressed = append(compressed, loadColumns("gzip", gzip)...)
	sums := "with"
	if r.Unsummed {
		sums = "without"
	}
	titles = []string{
		"Produce, as fast as it goes, in batches of at most 16 KiB and 1 MiB",
		fmt.Sprintf("Produce of batches made beforehand, 64 KiB of JSON log lines each, compressed %.1f:1 (lz4), %.1f:1 (zstd), %.1f:1 (gzip), lz4 and zstd %s checksums inside; figures are of what they decompress to",
			ratio(lz4), ratio(zstd), ratio(gzip), sums),
		fmt.Sprintf("Latency at %.0f MB/s in batches of at most 16 KiB, from when each record was due", r.Rate/1e6),
		"Full read of a topic from memory; resident memory; start",
	}
	return titles, [][]column{produce, compressed, latency, rest}
}

// markdown shows the median of the rounds, with the ratio to Kafka as shipped.
func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s. %s.\n\n%d clients of one franz-go process on the same machine, records of 1 KiB, acks=all, idempotent, 12 partitions; the median of %d rounds, (x) as multiples of kafka.\n",
		r.Date.Format("2006-01-02"), r.Machine, r.Clients, r.counted())
	for _, why := range r.Missing {
		fmt.Fprintf(&b, "Left out: %s.\n", strings.SplitN(why, "\n", 2)[0])
	}
	titles, tables := r.tables()
	for i, columns := range tables {
		fmt.Fprintf(&b, "\n%s\n\n| broker | acknowledged is |", titles[i])
		for _, c := range columns {
			fmt.Fprintf(&b, " %s |", c.title)
		}
		fmt.Fprintf(&b, "\n|---|---|%s\n", strings.Repeat("---:|", len(columns)))
		for _, row := range r.Rivals {
			r.row(&b, row, columns)
		}
	}
	return b.String()
}

func (r *report) row(b *strings.Builder, row *rival, columns []column) {
	fmt.Fprintf(b, "| %s | %s |", row.Name, row.Note)
	for _, c := range columns {
		value, base := r.median(row.Name, c.value), r.median("kafka", c.value)
		switch {
		case value == 0:
			b.WriteString(" - |")
		case c.ratio && base > 0 && row.Name != "kafka":
			fmt.Fprintf(b, " %s (x%.2f) |", c.format(value), value/base)
		default:
			fmt.Fprintf(b, " %s |", c.format(value))
		}
	}
	b.WriteString("\n")
}

func (r *report) counted() int {
	rounds := map[int]bool{}
	for _, m := range r.Rounds {
		if m.Round >= 0 {
			rounds[m.Round] = true
		}
	}
	return len(rounds)
}

// median of a figure over the rounds that count; zero if there is none.
func (r *report) median(name string, value func(*measured) float64) float64 {
	var all []float64
	for _, m := range r.Rounds {
		if m.Rival == name && m.Round >= 0 {
			all = append(all, value(m))
		}
	}
	return median(all)
}

// median is zero of nothing. It sorts.
func median(all []float64) float64 {
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}
