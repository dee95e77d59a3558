package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"weir/internal/kafkabin"
	"weir/internal/process"
	"weir/internal/weirbin"
)

// rival is one row of the comparison: a way to start a broker.
type rival struct {
	Name string `json:"name"`
	// Note says what its acknowledgement promises.
	Note string `json:"note"`
	// keepsNothing rows cannot be read.
	keepsNothing bool
	// bytesMax bounds each produce load of a broker that keeps everything in memory; 0 is no bound.
	bytesMax int64
	// failed rows are not tried again.
	failed bool
	// prepare does, in an empty directory, what is not part of a start; nil is nothing.
	prepare func(dir string, port int) error
	launch  func(dir string, port int) (*process.Process, error)
}

// rivalFlags say where the brokers are.
type rivalFlags struct {
	weir        string
	weirArgs    string
	weirConfig  keyValues
	kafkaConfig string // lines for server.properties
	kafkaLibs   string
	kafkaHeap   bool // all of it is resident from the start
	java        string
	only        string
	nullArgs    []string // of the null broker
}

// keyValues is a flag that may be given several times, as key=value.
type keyValues map[string]string

func (k keyValues) String() string { return fmt.Sprint(map[string]string(k)) }

// Set adds one.
func (k keyValues) Set(s string) error {
	key, value, ok := strings.Cut(s, "=")
	if !ok {
		return fmt.Errorf("%q is not key=value", s)
	}
	k[key] = value
	return nil
}

// rivals lists the rows that can run here, and why others cannot.
func (f *rivalFlags) rivals() (all []*rival, missing []string) {
	add := func(r *rival, why string) {
		switch {
		case f.only != "" && !contains(f.only, r.Name):
		case why != "":
			missing = append(missing, r.Name+": "+why)
		default:
			all = append(all, r)
		}
	}
	add(f.weirRow(), absent(f.weir, "build it with `make build`"))
	kafka := ""
	if f.kafkaLibs == "" {
		kafka = "no -kafka-libs given; `make bench-kafka` fetches them"
	} else {
		kafka = absent(f.kafkaLibs, "`make bench-kafka` fetches it")
	}
	add(f.kafkaRow("kafka", "page cache", f.kafkaConfig), kafka)
	add(f.kafkaRow("kafka-flush", "flushed each batch", "log.flush.interval.messages=1\n"), kafka)
	add(kfakeRow("kfake", "memory, loads of 1 GiB"), "")
	add(kfakeRow("kfake-sync", "synced each batch, loads of 1 GiB", "-sync"), "")
	add(nullRow(f.nullArgs...), "")
	return all, missing
}

func contains(list, name string) bool {
	for one := range strings.SplitSeq(list, ",") {
		if one == name {
			return true
		}
	}
	return false
}

func absent(path, advice string) string {
	if _, err := os.Stat(path); err != nil {
		return fmt.Sprintf("%s is not there; %s", path, advice)
	}
	return ""
}

// weirRow runs weir as it ships, but for uploads that run all through a load.
func (f *rivalFlags) weirRow() *rival {
	return &rival{Name: "weir", Note: "synced WAL, uploading", launch: func(dir string, port int) (*process.Process, error) {
		path, err := filepath.Abs(f.weir)
		if err != nil {
			return nil, err
		}
		config := map[string]string{"weir.upload.interval.ms": "1000", "weir.upload.bytes": "67108864"}
		for key, value := range f.weirConfig {
			config[key] = value
		}
		b, err := weirbin.Launch(weirbin.Options{Path: path, Dir: dir, Port: port, Config: config, Args: strings.Fields(f.weirArgs)})
		if err != nil {
			return nil, err
		}
		return b.Process, nil
	}}
}

// kafkaRow runs one KRaft node, broker and controller in one.
func (f *rivalFlags) kafkaRow(name, note, extra string) *rival {
	options := func(dir string, port int) kafkabin.Options {
		return kafkabin.Options{Java: f.java, Libs: f.kafkaLibs, Dir: dir, Port: port, Extra: extra, Touched: f.kafkaHeap}
	}
	return &rival{
		Name: name, Note: note,
		prepare: func(dir string, port int) error { return kafkabin.Prepare(options(dir, port)) },
		launch:  func(dir string, port int) (*process.Process, error) { return kafkabin.Launch(options(dir, port)) },
	}
}

// own runs another verb of this program.
func own(args ...string) (*process.Process, error) {
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	return process.Start(process.Options{Name: "weir-bench " + args[0], Path: path, Args: args})
}

// kfakeBytesMax leaves room for five loads and the collector's slack: kfake never forgets.
const kfakeBytesMax = 1 << 30

func kfakeRow(name, note string, args ...string) *rival {
	return &rival{Name: name, Note: note, bytesMax: kfakeBytesMax, launch: func(dir string, port int) (*process.Process, error) {
		all := []string{"kfake", "-listen", fmt.Sprintf("127.0.0.1:%d", port)}
		if len(args) > 0 {
			all = append(all, "-dir", filepath.Join(dir, "kfake"))
		}
		return own(append(all, args...)...)
	}}
}

func nullRow(args ...string) *rival {
	return &rival{Name: "null", Note: "keeps nothing", keepsNothing: true, launch: func(_ string, port int) (*process.Process, error) {
		return own(append([]string{"null", "-listen", fmt.Sprintf("127.0.0.1:%d", port)}, args...)...)
	}}
}
