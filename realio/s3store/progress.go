package s3store

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http/httptrace"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"weir/bill"
	"weir/core/env"
)

const (
	// looksPerIdle is how often in IdleTimeout the watch looks whether anything moved.
	looksPerIdle = 10
	// trickleBytes is how much of a body must move within IdleTimeout: less is no progress. A server
	// that sends a byte now and then would hold a request for ever.
	trickleBytes = 16 << 10
	// joinLimit, times IdleTimeout, bounds the requests of multipart uploads that carry no data. S3 sends
	// a space now and then while it joins parts, which may take minutes.
	joinLimit = 30
)

// try is one request. It has no deadline: it is given up once nothing has moved for IdleTimeout.
//
// What moves is read off the connection itself, as the bytes that the peer acknowledged and those that
// came (TCP_INFO): what the kernel merely buffered is not progress. Where the connection cannot be
// asked, the bytes of bodies count alone.
type try struct {
	context.Context
	cancel context.CancelCauseFunc
	sent   atomic.Bool  // it may have left the machine
	moved  atomic.Int64 // bytes of bodies, read from slices or from the connection
	least  int64        // bytes within IdleTimeout that are progress
	idle   time.Duration
	limit  time.Time // zero: none

	mu     sync.Mutex
	conn   net.Conn // that carries it
	at     time.Time
	mark   int64 // progress at that time
	base   int64 // of the connection, when the request got it
	timer  *time.Timer
	closed bool
}

// try begins a request of one kind, which is given up when ctx ends. The caller ends it with end.
func (s *Store) try(ctx context.Context, k bill.Request, p env.Purpose) *try {
	s.meter.Count(k, p, 1)
	t := &try{idle: s.options.IdleTimeout, least: trickleBytes, at: time.Now()}
	if k == bill.Multipart || k == bill.Abort || k == bill.Copy {
		t.least, t.limit = 1, t.at.Add(joinLimit*t.idle)
	}
	ctx, t.cancel = context.WithCancelCause(ctx)
	t.Context = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: t.gotConn})
	t.mu.Lock()
	t.timer = time.AfterFunc(t.idle/looksPerIdle, t.look)
	t.mu.Unlock()
	return t
}

func (t *try) gotConn(info httptrace.GotConnInfo) {
	t.sent.Store(true)
	conn := info.Conn
	if wrapped, ok := conn.(interface{ NetConn() net.Conn }); ok { // TLS
		conn = wrapped.NetConn()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conn, t.at = conn, time.Now()
	t.base = carried(conn) - t.mark
}

// look gives the request up if nothing has moved for too long.
func (t *try) look() { t.lookAt(time.Now()) }

func (t *try) lookAt(now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	progress := t.moved.Load()
	if t.conn != nil {
		progress += carried(t.conn) - t.base
	}
	if progress-t.mark >= t.least {
		t.mark, t.at = progress, now
	}
	silent := now.Sub(t.at)
	if silent >= t.idle || !t.limit.IsZero() && now.After(t.limit) {
		t.closed = true
		t.cancel(fmt.Errorf("%w for %v", errStalled, silent.Round(100*time.Millisecond)))
		return
	}
	t.timer.Reset(t.idle / looksPerIdle)
}

// end gives up what is left of the request, and the watch.
func (t *try) end() {
	t.mu.Lock()
	t.closed = true
	t.timer.Stop()
	t.conn = nil
	t.mu.Unlock()
	t.cancel(nil)
}

// cause puts the reason for which the request was given up before its error.
func (t *try) cause(err error) error {
	if err == nil || t.Err() == nil {
		return err
	}
	if why := context.Cause(t); errors.Is(why, errStalled) || errors.Is(why, errEnded) {
		return fmt.Errorf("%w: %w", why, err)
	}
	return err
}

// carried is how many bytes the peer acknowledged and sent on a connection; 0 if it cannot be asked.
func carried(conn net.Conn) (bytes int64) {
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return 0
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.SOL_TCP, unix.TCP_INFO); err == nil {
			bytes = int64(info.Bytes_acked + info.Bytes_received)
		}
	})
	return bytes
}
