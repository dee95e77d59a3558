package clients

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"strings"
)

// Kcat is librdkafka's command-line client, Debian's package kcat.
type Kcat struct{}

// Name is kcat.
func (Kcat) Name() string { return "kcat" }

// Missing says that the program is not installed.
func (Kcat) Missing() string {
	if _, err := exec.LookPath("kcat"); err != nil {
		return "kcat is not installed; `make kcat` does it on Debian"
	}
	return ""
}

// Produce runs kcat once for each partition, with one record a line.
func (Kcat) Produce(ctx context.Context, e Endpoint, topic, codec string, w Workload) error {
	for partition := range w.Partitions {
		err := kcat(ctx, e, func(in io.Writer) error {
			var line []byte
			for i := range w.Count(partition) {
				line = append(w.Value(line[:0], partition, i), '\n')
				if _, err := in.Write(line); err != nil {
					return err
				}
			}
			return nil
		}, nil, "-P", "-t", topic, "-p", strconv.Itoa(int(partition)), "-z", codec, "-X", "enable.idempotence=true", "-X", "acks=all")
		if err != nil {
			return err
		}
	}
	return nil
}

// Consume lets kcat print each record with its offset and length in front.
func (Kcat) Consume(ctx context.Context, e Endpoint, topic string, partition int32, count int, take func(int64, []byte) error) error {
	if count == 0 {
		return nil
	}
	return kcat(ctx, e, nil, func(out *bufio.Reader) error {
		var value []byte
		for range count {
			offset, err := number(out)
			if err != nil {
				return err
			}
			size, err := number(out)
			if err != nil {
				return err
			}
			if size < 0 || size > valueBytesMax {
				return fmt.Errorf("the record at offset %d has %d bytes", offset, size)
			}
			value = append(value[:0], make([]byte, size)...)
			if _, err := io.ReadFull(out, value); err != nil {
				return err
			}
			if err := take(offset, value); err != nil {
				return err
			}
		}
		return nil
	}, "-C", "-t", topic, "-p", strconv.Itoa(int(partition)), "-o", "beginning", "-c", strconv.Itoa(count), "-q", "-f", "%o:%S:%s", "-X", "check.crcs=true")
}

// number reads digits up to a colon.
func number(in *bufio.Reader) (int64, error) {
	text, err := in.ReadString(':')
	if err != nil {
		return 0, fmt.Errorf("kcat's output ends: %w", err)
	}
	return strconv.ParseInt(strings.TrimSuffix(text, ":"), 10, 64)
}

// kcat runs the program, feeding its input or draining its output.
func kcat(ctx context.Context, e Endpoint, feed func(io.Writer) error, drain func(*bufio.Reader) error, args ...string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	command := exec.CommandContext(ctx, "kcat", append([]string{"-b", strings.Join(e.Brokers(), ",")}, args...)...)
	var complaints bytes.Buffer
	command.Stderr = &complaints
	in, err := command.StdinPipe()
	if err != nil {
		return err
	}
	out, err := command.StdoutPipe()
	if err != nil {
		return err
	}
	if err := command.Start(); err != nil {
		return err
	}
	var failure error
	if feed != nil {
		buffered := bufio.NewWriterSize(in, 64<<10)
		failure = errors.Join(feed(buffered), buffered.Flush())
	}
	failure = errors.Join(failure, in.Close())
	if drain != nil {
		failure = errors.Join(failure, drain(bufio.NewReaderSize(out, 64<<10)))
	}
	if failure != nil {
		cancel()
	}
	if err := command.Wait(); err != nil || failure != nil {
		return errors.Join(failure, fmt.Errorf("kcat: %w\n%s", errors.Join(err, ctx.Err()), complaints.Bytes()))
	}
	return nil
}
