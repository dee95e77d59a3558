package stream

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"weir/core/metadata"
	"weir/core/object"
)

// lostLineInterval is how often a line about one object's lost records is repeated.
const lostLineInterval = time.Minute

const (
	adviseGone    = "bring the object back from a copy, and take rules that delete objects off the bucket; or give the records up with DeleteRecords (kafka-delete-records)"
	adviseDamaged = "bring a sound copy of the object back; or give the records up with DeleteRecords (kafka-delete-records)"
)

// damage is the error of bytes in the store that fail their checksum, or are missing, each time they are
// read.
type damage struct{ error }

// Unwrap returns what is wrong with them.
func (d damage) Unwrap() error { return d.error }

// lost takes the error with which a read of the offsets [first, end) of a part ended. If the store does
// not have them any more, it tells operators which records those are. It returns the reader's error.
func (l *CommittedLog) lost(part *metadata.Part, first, end int64, err error) error {
	r := l.reader
	key := object.Key(r.options.Cluster, uint64(part.Object))
	message, advice, gone := "", "", false
	switch {
	case errors.Is(err, errNoObject):
		gone = true
		err = fmt.Errorf("object %s: %w", key, err)
		message, advice = "committed records are lost: their object is gone from the store", adviseGone
	case errors.As(err, new(damage)):
		message, advice = "committed records cannot be read: their object is damaged", adviseDamaged
	default:
		return err
	}
	if now, e := l.partFor(first); e != nil || now.Object != part.Object {
		return err // replaced or deleted meanwhile
	}
	r.metrics.lost.Add(1)
	if gone {
		r.options.Telemetry.Hit("stream read: an object is gone")
	}
	r.lines.Error(r.options.Telemetry, fmt.Sprintf("%s of %d", key, l.id), r.options.Loop.Now(), message,
		slog.String("partition", l.name.String()), slog.Int64("first_offset", first), slog.Int64("last_offset", end-1),
		slog.String("object", key), slog.String("error", err.Error()), slog.String("advice", advice))
	return err
}
