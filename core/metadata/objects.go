package metadata

import (
	"fmt"
	"math"
	"slices"

	"weir/core/telemetry"
)

func (r *LeaseObjects) apply(im *Image) error {
	if !im.Current(r.Epoch) {
		return fmt.Errorf("%w: epoch %d, lease of object ids", ErrEpochEnded, r.Epoch)
	}
	if r.Count <= 0 || r.Count > leaseCountMax || uint64(im.nextObject) > math.MaxInt64-uint64(r.Count) {
		return fmt.Errorf("%w: %d object ids from %d", ErrMalformed, r.Count, im.nextObject)
	}
	first := im.nextObject
	im.nextObject += ObjectID(r.Count)
	im.outcome.First = int64(first)
	if n := len(im.leases); n > 0 && im.leases[n-1].End == first && im.leases[n-1].Epoch == r.Epoch {
		im.leases[n-1].End = im.nextObject
	} else {
		im.leases = append(im.leases, Lease{first, im.nextObject, r.Epoch})
	}
	return nil
}

func (r *ExpireObjects) apply(im *Image) error {
	i, ok := im.searchLease(r.First)
	if !ok || r.First >= r.End || im.leases[i].Epoch != r.Epoch || im.leases[i].End < r.End {
		return fmt.Errorf("%w: objects %d to %d, epoch %d", ErrNotPrepared, r.First, r.End, r.Epoch)
	}
	im.unprepare(r.First, r.End)
	return nil
}

// unprepare takes ids out of the lease that holds them all.
func (im *Image) unprepare(first, end ObjectID) {
	i, _ := im.searchLease(first)
	l := im.leases[i]
	var left []Lease
	if l.First < first {
		left = append(left, Lease{l.First, first, l.Epoch})
	}
	if end < l.End {
		left = append(left, Lease{end, l.End, l.Epoch})
	}
	im.leases = slices.Replace(im.leases, i, i+1, left...)
}

// unrefer takes one reference off an object, and destroys it with the last. A lost part refers to none.
func (im *Image) unrefer(id ObjectID) {
	if id == 0 {
		return
	}
	o := im.objects[id]
	if o == nil || o.State != ObjectCommitted || o.Parts <= 0 {
		telemetry.Assert(8, false, "object %d is referred to, but is not committed: %+v", id, o)
	}
	if o.Parts--; o.Parts == 0 {
		im.destroy(o)
	}
}

func (im *Image) destroy(o *Object) {
	o.State, o.DestroyedAt = ObjectDestroyed, im.index
	im.destroyed.Set(o)
}

func (r *DeleteObjects) apply(im *Image) error {
	for _, id := range r.Objects {
		if o, ok := im.objects[id]; ok && o.State != ObjectDestroyed {
			return fmt.Errorf("%w: %d, by %d parts", ErrReferred, id, o.Parts)
		}
		if _, prepared := im.searchLease(id); prepared {
			return fmt.Errorf("%w: %d is prepared", ErrReferred, id)
		}
	}
	for _, id := range r.Objects {
		if o, ok := im.objects[id]; ok {
			im.destroyed.Delete(o)
			delete(im.objects, id)
		}
	}
	return nil
}
