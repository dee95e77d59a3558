package socket

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"weir/core/env"
	"weir/core/task"
	"weir/realio/mailbox"
)

// clientEnv makes the test binary a client of BenchmarkNull, in a process of its own
// so that the server's processor time can be told apart.
const clientEnv = "WEIR_SOCKET_BENCH_CLIENT"

func TestMain(m *testing.M) {
	if load := os.Getenv(clientEnv); load != "" {
		runClient(load)
		return
	}
	goleak.VerifyTestMain(m)
}

// nullBroker answers every frame with eight bytes, and borrowed ones behind them.
type nullBroker struct {
	net      *Network
	borrowed []byte
}

type nullAnswer struct {
	head     [8]byte
	borrowed []byte
}

func (a *nullAnswer) Encode(scratch []byte) [][]byte {
	head := append(scratch, a.head[:]...)
	if len(a.borrowed) == 0 {
		return [][]byte{head}
	}
	return [][]byte{head, a.borrowed}
}

func (h *nullBroker) Opened(env.ConnID, env.ConnInfo) {}
func (h *nullBroker) Closed(env.ConnID, error)        {}
func (h *nullBroker) Received(id env.ConnID, _ any, f *env.Frame) {
	h.net.Release(f)
	h.net.Send(&env.Send{Conn: id, Message: &nullAnswer{borrowed: h.borrowed}, Done: func(*env.Send) {}})
}
func (h *nullBroker) Admit(int, []byte) error      { return nil }
func (h *nullBroker) Decode(f []byte) (any, error) { return nil, nil }

// BenchmarkNull is the network and the mailbox with nothing behind them: frames in,
// answers out. cpu-s/GiB and cpu-ns/op are the server's processor time.
func BenchmarkNull(b *testing.B) {
	for _, load := range []struct {
		name                        string
		bytes, answer, conns, depth int
	}{
		{"tiny/conns=4/depth=1", 64, 0, 4, 1},
		{"tiny/conns=16/depth=16", 64, 0, 16, 16},
		{"16KiB/conns=4/depth=5", 16 << 10, 0, 4, 5},
		{"1MiB/conns=4/depth=5", 1 << 20, 0, 4, 5},
		{"answers of 1MiB/conns=4/depth=2", 64, 1 << 20, 4, 2},
	} {
		b.Run(load.name, func(b *testing.B) { benchmarkNull(b, load.bytes, load.answer, load.conns, load.depth) })
	}
}

func benchmarkNull(b *testing.B, bytes, answer, conns, depth int) {
	m := mailbox.New(mailbox.Options{})
	n := New(Options{Deliver: m.Deliver})
	bound := make(chan string, 1)
	h := &nullBroker{n, make([]byte, answer)}
	ended := make(chan struct{})
	go func() {
		m.Run(task.NewLoop(m.Clock()))
		close(ended)
	}()
	n.Listen(&env.Listen{Address: "127.0.0.1:0", Handler: h, Codec: h, Done: func(o *env.Listen) { bound <- o.Bound }})
	client := exec.Command(os.Args[0])
	client.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %d %d %d %d", clientEnv, <-bound, bytes, answer, conns, depth, b.N))
	var out strings.Builder
	client.Stdout, client.Stderr = &out, os.Stderr
	before := cpuTime()
	b.ResetTimer()
	if err := client.Run(); err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	cpu := cpuTime() - before
	var nanos int64
	fmt.Sscan(out.String(), &nanos)
	b.ReportMetric(float64(b.N)/float64(nanos)*1e9, "frames/s")
	b.ReportMetric(float64(b.N)*float64(bytes+answer)/float64(nanos)*1e3, "MB/s")
	b.ReportMetric(cpu.Seconds()/float64(b.N)/float64(bytes+answer)*(1<<30), "cpu-s/GiB")
	b.ReportMetric(float64(cpu.Nanoseconds())/float64(b.N), "cpu-ns/op")
	n.Stop()
	m.Stop()
	<-ended
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// runClient sends frames, so many under way on each connection, and prints how long
// it took.
func runClient(load string) {
	var address string
	var bytes, answer, conns, depth, frames int
	if _, err := fmt.Sscan(load, &address, &bytes, &answer, &conns, &depth, &frames); err != nil {
		panic(err)
	}
	var group sync.WaitGroup
	start := time.Now()
	for i := range conns {
		group.Go(func() { sendFrames(address, bytes, answer, depth, (frames+i)/conns) })
	}
	group.Wait()
	fmt.Println(time.Since(start).Nanoseconds())
}

func sendFrames(address string, bytes, answer, depth, frames int) {
	socket, err := net.Dial("tcp", address)
	if err != nil {
		panic(err)
	}
	defer socket.Close()
	frame := withLength(make([]byte, bytes))
	free := make(chan struct{}, depth)
	go func() {
		in := bufio.NewReader(socket)
		room := make([]byte, 12+answer)
		for range frames {
			if _, err := io.ReadFull(in, room); err != nil {
				panic(err)
			}
			<-free
		}
	}()
	out := bufio.NewWriterSize(socket, 16<<10)
	for range frames {
		select {
		case free <- struct{}{}:
		default:
			out.Flush()
			free <- struct{}{}
		}
		if _, err := out.Write(frame); err != nil {
			panic(err)
		}
	}
	out.Flush()
	for range depth {
		free <- struct{}{}
	}
}
