package socket

import (
	"log/slog"
	"net/netip"
	"time"
)

// foreignLogEvery is the shortest time between two log lines about clients that speak another protocol.
const foreignLogEvery = time.Minute

// foreignProtocol names the protocol of a connection that does not begin as Kafka's does, or is empty. As a frame's
// length, each of these openings is more than any frame may have.
func foreignProtocol(head [lengthBytes]byte) string {
	if head[0] == 0x16 && head[1] == 0x03 {
		return "TLS"
	}
	switch string(head[:]) {
	case "GET ", "POST", "HEAD", "PUT ", "OPTI", "CONN", "DELE", "PATC", "PRI ":
		return "HTTP"
	}
	return ""
}

// foreigners are the connections closed since the last log line because they spoke another protocol.
type foreigners struct {
	count    int64
	protocol string
	last     netip.Addr
	logged   time.Time
}

// foreign counts a connection that spoke another protocol.
func (k *counts) foreign(protocol string, ip netip.Addr) {
	k.foreignTotal.Add(1)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.foreigners.count++
	k.foreigners.protocol, k.foreigners.last = protocol, ip
}

// reportForeigners logs them, in one line a minute at most.
func (n *Network) reportForeigners(now time.Time) {
	k := &n.counts
	k.mu.Lock()
	f := k.foreigners
	due := f.count > 0 && (f.logged.IsZero() || now.Sub(f.logged) >= foreignLogEvery)
	if due {
		k.foreigners = foreigners{logged: now}
	}
	k.mu.Unlock()
	if due {
		n.log(slog.LevelWarn, "connections were closed: they do not speak Kafka's protocol. Listeners are PLAINTEXT: set security.protocol=PLAINTEXT in the client, or send HTTP elsewhere",
			slog.String("protocol", f.protocol), slog.Int64("count", f.count), slog.String("last", f.last.String()))
	}
}
