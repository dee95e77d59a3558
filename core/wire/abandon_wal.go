package wire

import (
	"github.com/twmb/franz-go/pkg/kbin"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// AbandonWALKey is the key of AbandonWAL, which is weir's own and is not announced by ApiVersions: Kafka has nothing like it. Kafka's keys will
// not come near.
const AbandonWALKey = 20_001

// AbandonWALRequest asks what waits for the write-ahead logs of brokers that are gone, or gives those of one up (R16). Version 0 has, behind
// each other: int32 broker, int64 epoch, bool give up, tags.
type AbandonWALRequest struct {
	Version int16
	Broker  int32 // -1: any, to ask only
	Epoch   int64 // the broker's newest, as an answer named it; to give up
	GiveUp  bool
}

// AbandonWALResponse answers. Version 0 has: int16 error, nullable message, the logs, tags.
type AbandonWALResponse struct {
	Version      int16
	ErrorCode    int16
	ErrorMessage *string
	Waiting      []WaitingWAL // as it was before anything was given up
}

// WaitingWAL is what waits for the logs of one broker. In this order on the wire, then tags.
type WaitingWAL struct {
	Broker     int32
	Epoch      int64 // the broker's newest
	Partitions int32 // whose records the logs may hold
	Leaderless int32 // of them, those that have no leader meanwhile
	Records    int64 // that the logs certainly hold, and nothing else
	Offsets    int64 // by so much the offsets of each leaderless partition may jump
	BytesUsed  int64 // of the log, at the broker's last heartbeat; -1: not known any more
	BytesMax   int64 // that the log may hold; -1: not known any more
}

// Key implements kmsg.Request.
func (r *AbandonWALRequest) Key() int16 { return AbandonWALKey }

// MaxVersion implements kmsg.Request.
func (r *AbandonWALRequest) MaxVersion() int16 { return 0 }

// SetVersion implements kmsg.Request.
func (r *AbandonWALRequest) SetVersion(version int16) { r.Version = version }

// GetVersion implements kmsg.Request.
func (r *AbandonWALRequest) GetVersion() int16 { return r.Version }

// IsFlexible implements kmsg.Request.
func (r *AbandonWALRequest) IsFlexible() bool { return true }

// ResponseKind implements kmsg.Request.
func (r *AbandonWALRequest) ResponseKind() kmsg.Response {
	return &AbandonWALResponse{Version: r.Version}
}

// AppendTo implements kmsg.Request.
func (r *AbandonWALRequest) AppendTo(dst []byte) []byte {
	dst = kbin.AppendInt32(dst, r.Broker)
	dst = kbin.AppendInt64(dst, r.Epoch)
	dst = kbin.AppendBool(dst, r.GiveUp)
	return kbin.AppendUvarint(dst, 0)
}

// ReadFrom implements kmsg.Request.
func (r *AbandonWALRequest) ReadFrom(src []byte) error {
	b := kbin.Reader{Src: src}
	r.Broker, r.Epoch, r.GiveUp = b.Int32(), b.Int64(), b.Bool()
	SkipTags(&b, true)
	return b.Complete()
}

// Key implements kmsg.Response.
func (r *AbandonWALResponse) Key() int16 { return AbandonWALKey }

// MaxVersion implements kmsg.Response.
func (r *AbandonWALResponse) MaxVersion() int16 { return 0 }

// SetVersion implements kmsg.Response.
func (r *AbandonWALResponse) SetVersion(version int16) { r.Version = version }

// GetVersion implements kmsg.Response.
func (r *AbandonWALResponse) GetVersion() int16 { return r.Version }

// IsFlexible implements kmsg.Response.
func (r *AbandonWALResponse) IsFlexible() bool { return true }

// RequestKind implements kmsg.Response.
func (r *AbandonWALResponse) RequestKind() kmsg.Request {
	return &AbandonWALRequest{Version: r.Version}
}

// AppendTo implements kmsg.Response.
func (r *AbandonWALResponse) AppendTo(dst []byte) []byte {
	dst = kbin.AppendInt16(dst, r.ErrorCode)
	dst = kbin.AppendCompactNullableString(dst, r.ErrorMessage)
	dst = kbin.AppendCompactArrayLen(dst, len(r.Waiting))
	for i := range r.Waiting {
		w := &r.Waiting[i]
		dst = kbin.AppendInt32(dst, w.Broker)
		dst = kbin.AppendInt64(dst, w.Epoch)
		dst = kbin.AppendInt32(dst, w.Partitions)
		dst = kbin.AppendInt32(dst, w.Leaderless)
		for _, v := range []int64{w.Records, w.Offsets, w.BytesUsed, w.BytesMax} {
			dst = kbin.AppendInt64(dst, v)
		}
		dst = kbin.AppendUvarint(dst, 0)
	}
	return kbin.AppendUvarint(dst, 0)
}

// UnsafeReadFrom is ReadFrom: nothing of src is kept either way.
func (r *AbandonWALResponse) UnsafeReadFrom(src []byte) error { return r.ReadFrom(src) }

// waitingWALBytes is the least that one takes.
const waitingWALBytes = 53

// ReadFrom implements kmsg.Response.
func (r *AbandonWALResponse) ReadFrom(src []byte) error {
	b := kbin.Reader{Src: src}
	r.ErrorCode, r.ErrorMessage = b.Int16(), b.CompactNullableString()
	n := int(b.CompactArrayLen())
	if n > len(b.Src)/waitingWALBytes {
		return kbin.ErrNotEnoughData
	}
	r.Waiting = nil
	for range n {
		w := WaitingWAL{Broker: b.Int32(), Epoch: b.Int64(), Partitions: b.Int32(), Leaderless: b.Int32()}
		for _, v := range []*int64{&w.Records, &w.Offsets, &w.BytesUsed, &w.BytesMax} {
			*v = b.Int64()
		}
		SkipTags(&b, true)
		r.Waiting = append(r.Waiting, w)
	}
	SkipTags(&b, true)
	return b.Complete()
}
