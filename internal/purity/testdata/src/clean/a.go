package clean

import (
	"encoding/binary"
	"errors"
	"iter"
	"log/slog"
	"time"
)

var errGone = errors.New("gone")

var table = map[string]int{"a": 1}

const timeout = 3 * time.Second

func level() slog.Level { return slog.LevelInfo }

func lookup(name string) (int, error) {
	if n, ok := table[name]; ok {
		return n, nil
	}
	return 0, errGone
}

func walk(steps iter.Seq[int]) (total int) {
	next, stop := iter.Pull(steps)
	defer stop()
	for n, ok := next(); ok; n, ok = next() {
		total += n
	}
	return total
}

func put(b []byte) { binary.BigEndian.PutUint64(b, uint64(timeout)) }
