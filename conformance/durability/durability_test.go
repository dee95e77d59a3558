package durability

import (
	"flag"
	"fmt"
	"io/fs"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/twmb/franz-go/pkg/kfake"

	"weir/internal/process"
	"weir/internal/weirbin"
)

var (
	killsFlag   = flag.Int("kills", 3, "least number of kills")
	seedFlag    = flag.Uint64("seed", uint64(time.Now().UnixNano()), "chooses the moments of the kills")
	commandFlag = flag.String("command", "", "a program with its arguments that starts any broker at -address, to be judged too; its data must outlive it")
	addressFlag = flag.String("address", "", "host:port of that broker")
	weirFlag    = flag.String("weir", "", "the weir program; empty builds it")
)

const (
	bucket               = "weir-durability"
	accessKey, secretKey = "durability", "durability-secret"
)

// fakeVariable has the port, and makes this test's program the broker that
// TestABrokerThatForgetsIsFoundOut kills.
const fakeVariable = "WEIR_DURABILITY_FAKE"

func TestMain(m *testing.M) {
	if value := os.Getenv(fakeVariable); value != "" {
		os.Exit(serveFake(value))
	}
	os.Exit(m.Run())
}

func serveFake(value string) int {
	port, err := strconv.Atoi(value)
	if err != nil {
		return 2
	}
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.Ports(port))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer cluster.Close()
	select {}
}

func options(t *testing.T, address string, launch func() (*process.Process, error)) Options {
	t.Logf("-seed %d", *seedFlag)
	return Options{
		Address: address, Launch: launch, Kills: *killsFlag, Seed: *seedFlag,
		AckedBetween: 3000, PauseMax: time.Second, Producers: 4, Partitions: 6, RecordsPerSecond: 3000, RecoveryLimit: 2 * time.Minute,
		Log: t.Logf,
	}
}

// A broker that keeps nothing is found out, so the test can fail.
func TestABrokerThatForgetsIsFoundOut(t *testing.T) {
	port, err := process.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	o := options(t, fmt.Sprintf("127.0.0.1:%d", port), func() (*process.Process, error) {
		return process.Start(process.Options{Name: "kfake", Path: program, Env: []string{fmt.Sprintf("%s=%d", fakeVariable, port)}})
	})
	o.Kills, o.AckedBetween, o.RecoveryLimit = 0, 1000, 3*time.Second // the kill at the end is enough
	o.Log = func(string, ...any) {}
	report, err := Run(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "end offsets") {
		t.Fatalf("a crash of a broker without a disk: %+v, error %v", report, err)
	}
}

// Any broker can be judged: -command "PROGRAM ARG..." -address host:port.
func TestGivenBroker(t *testing.T) {
	words := strings.Fields(*commandFlag)
	if len(words) == 0 {
		t.Skip("no -command given")
	}
	judge(t, options(t, *addressFlag, func() (*process.Process, error) {
		return process.Start(process.Options{Path: words[0], Args: words[1:]})
	}))
}

func TestWeirOnFiles(t *testing.T) {
	dir := keptIfFailed(t)
	judge(t, weirOptions(t, dir, nil))
	if n := files(t, filepath.Join(dir, "data", "objects")); n < 2 {
		t.Errorf("%d objects were uploaded: the kills hit no uploads", n)
	}
}

// Half of what weir asks of its object store is refused, all the time. A quarter of those it has carried out all the
// same, as real stores do when only the answer is lost.
func TestWeirOnARefusingStore(t *testing.T) {
	backend := s3mem.New()
	if err := backend.CreateBucket(bucket); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(gofakes3.New(backend).Server())
	t.Cleanup(server.Close)
	judge(t, weirOptions(t, keptIfFailed(t), weirbin.S3Config(server.URL, bucket), refusing...))
}

// refusing is the plan of a store that refuses half of what it is asked.
var refusing = []string{"store refuse since=boot rate=37.5%", "store lost-after since=boot rate=20%"}

// Disks stall, the store loses answers, is slow and gives back damaged reads, and clients are cut off, all the time.
func TestWeirInBadWeather(t *testing.T) {
	judge(t, weirOptions(t, keptIfFailed(t), nil,
		"disk:wal stall rate=1% by=50ms",
		"disk:wal slow at=500ms for=500ms rate=50% times=10",
		"disk:meta stall rate=2% by=100ms",
		"store slow rate=50% times=20",
		"store stall since=boot rate=10% by=300ms",
		"store lost-before rate=5%",
		"store lost-after rate=5%",
		"store late rate=5%",
		"store short rate=10%",
		"store corrupt rate=10%",
		"link:clients->nodes cut at=300ms for=200ms",
		"link:nodes->clients stall at=600ms for=200ms",
		"link:clients<->nodes reset at=1s",
		"clock drift by=200us"))
}

// weirOptions start weir so small and hasty that uploads, commits and trims happen
// between kills, and the write-ahead log goes round. It injects the faults of a plan into itself, if there is one.
func weirOptions(t *testing.T, dir string, config map[string]string, plan ...string) Options {
	t.Helper()
	port, err := process.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]string{
		"weir.upload.interval.ms": "150", "weir.upload.bytes": "2097152", "weir.wal.size.bytes": "67108864", "weir.cache.bytes": "67108864",
		"weir.block.cache.bytes": "16777216", "socket.request.max.bytes": "8388608",
	}
	for key, value := range config {
		keys[key] = value
	}
	path, args := weirProgram(t), faultPlan(t, plan...)
	return options(t, fmt.Sprintf("127.0.0.1:%d", port), func() (*process.Process, error) {
		b, err := weirbin.Launch(weirbin.Options{
			Path: path, Dir: dir, Port: port, Config: keys, Args: args, Env: weirbin.S3Env(accessKey, secretKey),
		})
		if err != nil {
			return nil, err
		}
		return b.Process, nil
	})
}

func judge(t *testing.T, o Options) {
	t.Helper()
	report, err := Run(t.Context(), o)
	t.Logf("%d kills, %d of them soon after a start; %d records acknowledged, %d given up, %d read, %d read as they came; longest recovery %v",
		report.Kills, report.KillsInRecovery, report.Acked, report.Refused, report.Read, report.Ahead, report.RecoveryMax.Round(time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	if report.Kills < o.Kills {
		t.Fatalf("%d kills, not %d", report.Kills, o.Kills)
	}
}

func weirProgram(t *testing.T) string {
	t.Helper()
	if *weirFlag != "" {
		path, err := filepath.Abs(*weirFlag)
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	path, err := weirbin.Build(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// keptIfFailed is a directory that a failed test leaves, and lists.
func keptIfFailed(t *testing.T) string {
	dir, err := os.MkdirTemp("", "weir-durability-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !t.Failed() {
			os.RemoveAll(dir)
			return
		}
		t.Logf("what the broker left is kept in %s:\n%s", dir, listing(dir))
	})
	return dir
}

const listedMax = 60

func listing(dir string) string {
	var lines []string
	_ = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if info, failed := os.Stat(path); err == nil && failed == nil && !entry.IsDir() {
			name, _ := filepath.Rel(dir, path)
			lines = append(lines, fmt.Sprintf("%12d %s %s", info.Size(), info.ModTime().Format("15:04:05.000"), name))
		}
		return nil
	})
	if more := len(lines) - listedMax; more > 0 {
		lines = append(lines[:listedMax], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(lines, "\n")
}

func files(t *testing.T, dir string) (n int) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}
