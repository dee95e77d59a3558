package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// compactedCommand writes every key of a compacted topic again and again, waits until the broker has given back what is not the newest
// value of its key, and reads the topic with two clients: each must see the newest value of every key, and no older one after it.
func compactedCommand(ctx context.Context, args []string) error {
	set := newFlags("compacted")
	f := rivalFlags{weirConfig: keyValues{}}
	c := &compacted{java: "java"}
	set.StringVar(&f.weir, "weir", "bin/weir", "the weir program")
	set.StringVar(&f.kafkaLibs, "kafka-libs", "", "directory with Apache Kafka's jars, for Kafka's own consumer and to run Kafka beside; empty: neither")
	set.StringVar(&f.java, "java", "java", "the Java 17 program")
	set.StringVar(&f.only, "only", "weir,kafka", "brokers to run, of weir and kafka")
	set.Var(f.weirConfig, "set", "a key=value of weir's configuration; may be given several times")
	set.IntVar(&c.keys, "keys", 1<<20, "keys, of 1 KiB with their value each")
	set.IntVar(&c.passes, "passes", 10, "how often each is written")
	set.IntVar(&c.partitions, "partitions", 8, "partitions of the topic")
	set.Float64Var(&c.excess, "excess", 1.5, "how many times the size of all keys the broker may hold in the end")
	set.DurationVar(&c.limit, "limit", 20*time.Minute, "how long to wait for that")
	set.Parse(args)
	frugal()
	c.java, c.libs = f.java, f.kafkaLibs
	rivals, missing := f.rivals()
	for _, m := range missing {
		fmt.Println("not run:", m)
	}
	for _, r := range rivals {
		if r.Name != "weir" && r.Name != "kafka" {
			continue
		}
		if err := c.measure(ctx, r); err != nil {
			return fmt.Errorf("%s: %w", r.Name, err)
		}
	}
	return nil
}

const (
	compactedTopic       = "compacted"
	compactedRecordBytes = 1 << 10 // of a key and its value
	compactedDigits      = 12      // of the number at the start of each value
)

type compacted struct {
	keys, passes, partitions int
	excess                   float64
	limit                    time.Duration
	java, libs               string
}

func (c *compacted) measure(ctx context.Context, r *rival) error {
	b, _, err := startBroker(ctx, r, "")
	if err != nil {
		return err
	}
	defer b.remove()
	began := time.Now()
	if err := c.write(ctx, b.brokers); err != nil {
		return b.explain(err)
	}
	fmt.Printf("%s: %d keys of %d bytes, each written %d times, in %v\n", r.Name, c.keys, compactedRecordBytes, c.passes, time.Since(began).Round(time.Second))
	if err := c.awaitSize(ctx, filepath.Join(b.dir, map[string]string{"weir": "data/objects", "kafka": "logs"}[r.Name])); err != nil {
		return b.explain(err)
	}
	if err := c.readAll(ctx, b.brokers); err != nil {
		return b.explain(err)
	}
	return nil
}

func (c *compacted) readAll(ctx context.Context, brokers string) error {
	seen, err := c.read(ctx, brokers)
	if err != nil {
		return err
	}
	if err := c.check("franz-go", seen); err != nil || c.libs == "" {
		return err
	}
	if seen, err = c.readAsKafka(ctx, brokers); err != nil {
		return err
	}
	return c.check("Kafka's console consumer", seen)
}

// key is the i-th of a pass: all keys, in an order that jumps.
func (c *compacted) key(i int) int { return int(uint64(i) * 2_654_435_761 % uint64(c.keys)) }

func compactedKey(k int) string { return fmt.Sprintf("key-%010d", k) }

// write writes the passes one after the other. A value begins with the number of its write.
func (c *compacted) write(ctx context.Context, brokers string) error {
	client, err := kgo.NewClient(seeds(brokers), kgo.DefaultProduceTopic(compactedTopic), kgo.ProducerBatchCompression(kgo.NoCompression()),
		kgo.ProducerLinger(10*time.Millisecond), kgo.MaxBufferedRecords(64<<10), kgo.ProducerBatchMaxBytes(512<<10))
	if err != nil {
		return err
	}
	defer client.Close()
	policy, ratio, segment := "compact", "0.1", strconv.Itoa(64<<20)
	configs := map[string]*string{"cleanup.policy": &policy, "min.cleanable.dirty.ratio": &ratio, "segment.bytes": &segment}
	if _, err := kadm.NewClient(client).CreateTopic(ctx, int32(c.partitions), 1, configs, compactedTopic); err != nil {
		return err
	}
	var (
		failed  error
		padding = values(compactedRecordBytes)
	)
	for i := range padding {
		for j := range padding[i] {
			padding[i][j] = 'a' + padding[i][j]%26 // a line, for who prints it
		}
	}
	for n := range c.keys * c.passes {
		key := compactedKey(c.key(n % c.keys))
		value := fmt.Appendf(make([]byte, 0, compactedRecordBytes), "%0*d", compactedDigits, n)
		value = append(value, padding[n%len(padding)][:compactedRecordBytes-len(key)-len(value)]...)
		client.Produce(ctx, &kgo.Record{Key: []byte(key), Value: value}, func(_ *kgo.Record, err error) {
			failed = errors.Join(failed, err) // the client calls one after the other
		})
	}
	return errors.Join(client.Flush(ctx), failed)
}

// awaitSize waits until a directory's files take no more than they may.
func (c *compacted) awaitSize(ctx context.Context, dir string) error {
	most := int64(c.excess * float64(c.keys*compactedRecordBytes))
	began, peak := time.Now(), int64(0)
	for {
		size := sizeOf(dir)
		peak = max(peak, size)
		took := time.Since(began).Round(time.Second)
		if size <= most && size > 0 {
			fmt.Printf("  holds %d MiB %v after the last write, at most %d MiB before\n", size>>20, took, peak>>20)
			return nil
		}
		if took > c.limit {
			return fmt.Errorf("%d MiB are still held %v after the last write, more than %d", size>>20, took, most>>20)
		}
		if err := sleep(ctx, time.Second); err != nil {
			return err
		}
	}
}

// sizeOf is how many bytes the files below a directory have. Files that go meanwhile are not counted.
func sizeOf(dir string) (size int64) {
	_ = filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return nil
		}
		if info, err := entry.Info(); err == nil {
			size += info.Size()
		}
		return nil
	})
	return size
}

// compactedView is what a reader saw of a compacted topic.
type compactedView struct {
	records int
	newest  map[string]int // the number of the newest value of each key
	older   int            // values that came after a newer one of their key
}

func newCompactedView() *compactedView { return &compactedView{newest: map[string]int{}} }

func (v *compactedView) add(key, value string) {
	v.records++
	n, err := strconv.Atoi(value[:min(len(value), compactedDigits)])
	if err != nil {
		n = -1
	}
	if before, ok := v.newest[key]; ok && n <= before {
		v.older++
		return
	}
	v.newest[key] = n
}

// read reads the topic from its start to its end.
func (c *compacted) read(ctx context.Context, brokers string) (*compactedView, error) {
	client, err := kgo.NewClient(seeds(brokers), kgo.ConsumeTopics(compactedTopic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, compactedTopic)
	if err != nil {
		return nil, err
	}
	view := newCompactedView()
	for left := c.partitions; left > 0; {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			return nil, err
		}
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			for _, r := range p.Records {
				view.add(string(r.Key), string(r.Value))
			}
			end, _ := ends.Lookup(compactedTopic, p.Partition)
			if n := len(p.Records); n > 0 && p.Records[n-1].Offset == end.Offset-1 { // the last record of a log is never compacted
				left--
			}
		})
	}
	return view, nil
}

// readAsKafka reads it with Kafka's console consumer, which ends once nothing has come for a while.
func (c *compacted) readAsKafka(ctx context.Context, brokers string) (*compactedView, error) {
	libs, err := filepath.Abs(c.libs)
	if err != nil {
		return nil, err
	}
	command := exec.CommandContext(ctx, c.java, "-cp", filepath.Join(libs, "*"), "org.apache.kafka.tools.consumer.ConsoleConsumer", "--bootstrap-server", brokers,
		"--topic", compactedTopic, "--from-beginning", "--timeout-ms", "15000", "--formatter-property", "print.key=true", "--formatter-property", "key.separator= ")
	command.Stderr = os.Stderr
	out, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := command.Start(); err != nil {
		return nil, err
	}
	view, keyBytes := newCompactedView(), len(compactedKey(0))
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if line := lines.Text(); len(line) > keyBytes+1 {
			view.add(line[:keyBytes], line[keyBytes+1:])
		}
	}
	return view, errors.Join(lines.Err(), command.Wait())
}

// check compares what a reader saw with what was written last.
func (c *compacted) check(reader string, v *compactedView) error {
	wrong := 0
	for i := range c.keys {
		if v.newest[compactedKey(c.key(i))] != (c.passes-1)*c.keys+i {
			wrong++
		}
	}
	fmt.Printf("  %s reads %d records: %d of %d keys with their newest value, %d older values after newer ones\n", reader, v.records, c.keys-wrong, c.keys, v.older)
	if wrong > 0 || v.older > 0 || len(v.newest) != c.keys {
		return fmt.Errorf("%s does not see what was written: %d keys, %d of them with another value", reader, len(v.newest), wrong)
	}
	return nil
}
