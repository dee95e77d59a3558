package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

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
	weir       string
	weirArgs   string
	weirConfig keyValues
	kafkaLibs  string
	java       string
	only       string
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
	add(f.kafkaRow("kafka", "page cache", ""), kafka)
	add(f.kafkaRow("kafka-flush", "flushed each batch", "log.flush.interval.messages=1\n"), kafka)
	add(kfakeRow("kfake", "memory, loads of 1 GiB"), "")
	add(kfakeRow("kfake-sync", "synced each batch, loads of 1 GiB", "-sync"), "")
	add(nullRow(), "")
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

// heap and collector as Kafka's own start script sets them.
var javaArgs = []string{
	"-Xms1g", "-Xmx1g", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35",
	"-XX:+ExplicitGCInvokesConcurrent", "-Djava.awt.headless=true",
}

// kafkaRow runs one KRaft node, broker and controller in one.
func (f *rivalFlags) kafkaRow(name, note, extra string) *rival {
	return &rival{
		Name: name, Note: note,
		prepare: func(dir string, port int) error {
			controller, err := process.FreePort()
			if err != nil {
				return err
			}
			err = errors.Join(
				os.WriteFile(filepath.Join(dir, "server.properties"), []byte(kafkaProperties(dir, port, controller)+extra), 0o644),
				os.WriteFile(filepath.Join(dir, "log4j2.properties"), []byte(kafkaLogging), 0o644))
			if err != nil {
				return err
			}
			p, err := f.runJava(dir, "kafka.tools.StorageTool", "format", "-t", "d2VpcndlaXJ3ZWlyd2Vpcg", "-c", filepath.Join(dir, "server.properties"))
			if err != nil {
				return err
			}
			if err := p.Wait(); err != nil {
				return fmt.Errorf("format Kafka's storage: %w\n%s", err, p.Tail(30))
			}
			return nil
		},
		launch: func(dir string, _ int) (*process.Process, error) {
			return f.runJava(dir, "kafka.Kafka", filepath.Join(dir, "server.properties"))
		},
	}
}

func (f *rivalFlags) runJava(dir, class string, args ...string) (*process.Process, error) {
	libs, err := filepath.Abs(f.kafkaLibs)
	if err != nil {
		return nil, err
	}
	all := append([]string{}, javaArgs...)
	all = append(all, "-Dlog4j2.configurationFile="+filepath.Join(dir, "log4j2.properties"), "-cp", filepath.Join(libs, "*"), class)
	return process.Start(process.Options{Name: class, Path: f.java, Args: append(all, args...), Dir: dir})
}

const kafkaLogging = `status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d] %p %m (%c)%n
rootLogger.level = WARN
rootLogger.appenderRef.console.ref = console
`

func kafkaProperties(dir string, port, controller int) string {
	return fmt.Sprintf(`process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:%[3]d
listeners=PLAINTEXT://127.0.0.1:%[2]d,CONTROLLER://127.0.0.1:%[3]d
advertised.listeners=PLAINTEXT://127.0.0.1:%[2]d
controller.listener.names=CONTROLLER
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
log.dirs=%[1]s/logs
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
`, dir, port, controller)
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

func nullRow() *rival {
	return &rival{Name: "null", Note: "keeps nothing", keepsNothing: true, launch: func(_ string, port int) (*process.Process, error) {
		return own("null", "-listen", fmt.Sprintf("127.0.0.1:%d", port))
	}}
}
