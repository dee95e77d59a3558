package quorum

import (
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"

	"weir/core/env"
	"weir/core/task"
)

const (
	remoteFirstBytes = 64 << 10 // of the first read of an object whose size is not known
	remotePieceBytes = 8 << 20  // of the reads that follow
	remoteListLimit  = 1000
	damagedReadsMax  = 30
)

var (
	// errEnded: the quorum failed or closes; what was under way does not matter any more.
	errEnded = errors.New("quorum: ended")
	// errSilent: the store did not answer within the tries that were allowed.
	errSilent = errors.New("quorum: the object store does not answer")
)

// remote is the object store in direct style, for one proc. What fails for now is tried again, with
// back-off and a warning now and then, until the quorum ends.
type remote struct {
	q        *Quorum
	proc     *task.Proc
	purpose  env.Purpose // of its operations
	back     *backOff
	triesMax int // 0: for ever
	ships    bool
	term     uint64 // if it ships: whoever does not lead in this term any more ships nothing
}

func (q *Quorum) remote(p *task.Proc, purpose env.Purpose) *remote {
	return &remote{q: q, proc: p, purpose: purpose, back: &backOff{q: q, proc: p}}
}

// shipping is a remote of who ships the log.
func (q *Quorum) shipping(p *task.Proc, purpose env.Purpose) *remote {
	r := q.remote(p, purpose)
	r.ships, r.term = true, q.term
	return r
}

func (r *remote) ended() bool {
	return r.q.err != nil || r.q.closing != nil || r.ships && (r.term != r.q.term || !r.q.ships())
}

// failed waits before the next try of what could not be done.
func (r *remote) failed(what string, err error) error {
	if r.ended() {
		return errEnded
	}
	r.back.what = what
	if r.triesMax > 0 && int(r.back.tries)+1 >= r.triesMax {
		return fmt.Errorf("%w: %w", errSilent, err)
	}
	r.back.wait(err)
	if r.ended() {
		return errEnded
	}
	return nil
}

// create creates an object, or finds that the name is taken. An unknown outcome is returned as such.
func (r *remote) create(key string, body ...[]byte) (env.Outcome, error) {
	for {
		put := &env.PutObject{For: r.purpose, Key: key, Body: body}
		r.proc.Await(func(wake func()) {
			put.Done = func(*env.PutObject) { wake() }
			r.q.o.Env.Store.Put(put)
		})
		if r.ended() {
			return put.Outcome, errEnded
		}
		switch put.Outcome {
		case env.OutcomeDone, env.OutcomeRefused:
			r.back.tries = 0
			return put.Outcome, nil
		}
		if err := r.failed("ship the metadata's log to the object store", put.Err); err != nil {
			return put.Outcome, err
		}
		if put.Outcome == env.OutcomeUnknown {
			return put.Outcome, nil
		}
	}
}

// read reads a piece of an object; size is the whole object's.
func (r *remote) read(key string, offset int64, into []byte) (n int, size int64, found bool, err error) {
	for {
		get := &env.GetObject{For: r.purpose, Key: key, Offset: offset, Into: into}
		r.proc.Await(func(wake func()) {
			get.Done = func(*env.GetObject) { wake() }
			r.q.o.Env.Store.Get(get)
		})
		if r.ended() {
			return 0, 0, false, errEnded
		}
		switch get.Outcome {
		case env.OutcomeDone:
			return get.N, get.Size, true, nil
		case env.OutcomeRefused:
			return 0, 0, false, nil
		}
		if err := r.failed("read shipped metadata from the object store", get.Err); err != nil {
			return 0, 0, false, err
		}
	}
}

// whole reads an object of at most max bytes.
func (r *remote) whole(key string, max int64) (data []byte, found bool, err error) {
	first := make([]byte, remoteFirstBytes)
	n, size, found, err := r.read(key, 0, first)
	if err != nil || !found {
		return nil, false, err
	}
	if size > max {
		return nil, true, fmt.Errorf("object %q has %d bytes, more than are ever written", key, size)
	}
	data = append(make([]byte, 0, size), first[:n]...)
	for int64(len(data)) < size {
		into := make([]byte, min(remotePieceBytes, size-int64(len(data))))
		n, _, found, err := r.read(key, int64(len(data)), into)
		if err != nil || !found {
			return nil, false, err
		}
		if n == 0 {
			break // short: its checksum says so
		}
		data = append(data, into[:n]...)
	}
	return data, true, nil
}

// checked reads an object until decode takes it: a checksum that fails once may be the network's.
func (r *remote) checked(key string, max int64, decode func([]byte) error) (found bool, err error) {
	for tries := 1; ; tries++ {
		data, found, err := r.whole(key, max)
		if err != nil || !found {
			return found, err
		}
		damage := decode(data)
		if damage == nil {
			r.back.tries = 0
			return true, nil
		}
		damage = fmt.Errorf("object %q is damaged: %w; if it stays so, bring it back from a copy or an older version of the bucket", key, damage)
		if tries >= damagedReadsMax {
			return true, damage
		}
		if err := r.failed("read shipped metadata from the object store", damage); err != nil {
			return true, err
		}
	}
}

// shipment reads one shipment of this cluster.
func (r *remote) shipment(key string) (s shipment, found bool, err error) {
	found, err = r.checked(key, shipmentBytesMax, func(data []byte) (err error) {
		s, err = decodeShipment(data)
		return err
	})
	if err == nil && found && s.version != ShipmentVersion {
		err = &VersionError{File: key, Version: s.version}
	}
	if err == nil && found && s.cluster != r.q.cluster {
		err = fmt.Errorf("object %q belongs to cluster %s, not to %s", key, s.cluster, r.q.cluster)
	}
	return s, found, err
}

// snapshot reads a shipped snapshot.
func (r *remote) snapshot(ref snapshotRef) (h snapshotHeader, data []byte, found bool, err error) {
	key := r.q.cluster.snapshotKey(ref)
	found, err = r.checked(key, snapshotBytesMax+blockBytes, func(b []byte) error {
		if len(b) < blockBytes {
			return errors.New("it is shorter than its head")
		}
		var ok bool
		if h, ok = decodeSnapshotHeader(b[:blockBytes]); !ok {
			return errors.New("its head fails its checksum")
		}
		data = b[blockBytes:]
		if h.version == FormatVersion && (h.bytes != uint64(len(data)) || crc32.Checksum(data, castagnoli) != h.sum) {
			return errors.New("its data fail their checksum")
		}
		return nil
	})
	switch {
	case err != nil || !found:
	case h.version != FormatVersion:
		err = &VersionError{File: key, Version: h.version}
	case h.cluster != r.q.cluster || h.index != ref.index || h.sum != ref.sum:
		err = fmt.Errorf("object %q is not the snapshot of entry %d that the shipped log names", key, ref.index)
	}
	return h, data, found, err
}

// list lists names strictly after a key, at most limit of them.
func (r *remote) list(prefix, after string, limit int) (list []env.ObjectInfo, more bool, err error) {
	for {
		op := &env.ListObjects{For: r.purpose, Prefix: prefix, StartAfter: after, Limit: limit}
		r.proc.Await(func(wake func()) {
			op.Done = func(*env.ListObjects) { wake() }
			r.q.o.Env.Store.List(op)
		})
		if r.ended() {
			return nil, false, errEnded
		}
		if op.Outcome == env.OutcomeDone {
			return op.Objects, op.More, nil
		}
		if err := r.failed("list shipped metadata in the object store", op.Err); err != nil {
			return nil, false, err
		}
	}
}

// shipName is the name of a shipment that a listing found.
type shipName struct {
	key         string
	incarnation uint32
	sequence    uint64
}

// names lists all shipments after a key; what is no name of one is passed over.
func (r *remote) names(after string) (names []shipName, err error) {
	for {
		list, more, err := r.list(r.q.cluster.shipPrefix(), after, remoteListLimit)
		if err != nil {
			return nil, err
		}
		for _, o := range list {
			after = o.Key
			if inc, sequence, ok := r.q.cluster.parseShipKey(o.Key); ok {
				names = append(names, shipName{o.Key, inc, sequence})
			}
		}
		if !more || len(list) == 0 {
			return names, nil
		}
	}
}

// higher reports whether a shipment lies above a key.
func (r *remote) higher(key string) (shipName, bool, error) {
	list, _, err := r.list(r.q.cluster.shipPrefix(), key, 1)
	if err != nil || len(list) == 0 {
		return shipName{}, false, err
	}
	inc, sequence, ok := r.q.cluster.parseShipKey(list[0].Key)
	if !ok {
		return shipName{}, false, fmt.Errorf("object %q is not a shipment of the metadata's log: move it away", list[0].Key)
	}
	return shipName{list[0].Key, inc, sequence}, true, nil
}

// removeBelow deletes the names with a prefix that sort before a key.
func (r *remote) removeBelow(prefix, below string) error {
	after := ""
	for {
		list, more, err := r.list(prefix, after, remoteListLimit)
		if err != nil {
			return err
		}
		for _, o := range list {
			if o.Key >= below {
				return nil
			}
			after = o.Key
			if err := r.remove(o.Key); err != nil {
				return err
			}
		}
		if !more {
			return nil
		}
	}
}

func (r *remote) remove(key string) error {
	for {
		op := &env.DeleteObject{For: r.purpose, Key: key}
		r.proc.Await(func(wake func()) {
			op.Done = func(*env.DeleteObject) { wake() }
			r.q.o.Env.Store.Delete(op)
		})
		if r.ended() {
			return errEnded
		}
		if op.Outcome == env.OutcomeDone {
			return nil
		}
		if err := r.failed("delete old shipped metadata from the object store", op.Err); err != nil {
			return err
		}
	}
}

// backOff waits between tries, ever longer, with jitter, and complains now and then.
type backOff struct {
	q          *Quorum
	proc       *task.Proc
	what       string
	tries      int
	complained env.Time
	spoke      bool
}

func (b *backOff) wait(err error) {
	now := b.q.o.Loop.Now()
	if env.CauseOf(err) != env.CauseEnded && (!b.spoke || now.Sub(b.complained) >= complainEach) {
		reason := "no such object"
		if err != nil {
			reason = err.Error()
		}
		b.q.o.Telemetry.Warn("cannot "+b.what+"; trying again", slog.String("error", reason), slog.Int("tries", b.tries+1))
		b.complained, b.spoke = now, true
	}
	wait := storeRetries.Wait(b.tries, b.q.o.Env.Rand.Uint64("quorum back-off", uint64(b.tries), uint64(now)))
	b.tries++
	b.proc.Sleep(wait)
}
