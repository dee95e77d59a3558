package kafkabin

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"weir/internal/process"
)

// heap and collector as Kafka's own start script sets them.
var javaArgs = []string{
	"-Xms1g", "-Xmx1g", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35",
	"-XX:+ExplicitGCInvokesConcurrent", "-Djava.awt.headless=true",
}

// Options say which Kafka to start, and where.
type Options struct {
	// Java is the Java 17 program; Libs the directory with Kafka's jars.
	Java, Libs string
	// Dir is an empty directory that holds all that the broker keeps.
	Dir string
	// Port on 127.0.0.1.
	Port int
	// Extra are lines for server.properties.
	Extra string
	// Touched makes the whole heap resident from the start.
	Touched bool
}

// Prepare writes the configuration and formats the storage.
func Prepare(o Options) error {
	controller, err := process.FreePort()
	if err != nil {
		return err
	}
	return prepare(o, properties(o.Dir, o.Port, controller))
}

func prepare(o Options, properties string) error {
	file := filepath.Join(o.Dir, "server.properties")
	err := errors.Join(
		os.WriteFile(file, []byte(properties+o.Extra), 0o644),
		os.WriteFile(filepath.Join(o.Dir, "log4j2.properties"), []byte(logging), 0o644))
	if err != nil {
		return err
	}
	p, err := run(o, "kafka.tools.StorageTool", "format", "-t", "d2VpcndlaXJ3ZWlyd2Vpcg", "-c", file)
	if err != nil {
		return err
	}
	if err := p.Wait(); err != nil {
		return fmt.Errorf("format Kafka's storage: %w\n%s", err, p.Tail(30))
	}
	return nil
}

// Launch starts the broker on a prepared directory, and does not wait until it listens.
func Launch(o Options) (*process.Process, error) {
	return run(o, "kafka.Kafka", filepath.Join(o.Dir, "server.properties"))
}

func run(o Options, class string, args ...string) (*process.Process, error) {
	libs, err := filepath.Abs(o.Libs)
	if err != nil {
		return nil, err
	}
	all := append([]string{}, javaArgs...)
	if o.Touched {
		all = append(all, "-XX:+AlwaysPreTouch")
	}
	all = append(all, "-Dlog4j2.configurationFile="+filepath.Join(o.Dir, "log4j2.properties"), "-cp", filepath.Join(libs, "*"), class)
	return process.Start(process.Options{Name: class, Path: o.Java, Args: append(all, args...), Dir: o.Dir})
}

const logging = `status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = [%d] %p %m (%c)%n
rootLogger.level = WARN
rootLogger.appenderRef.console.ref = console
`

func properties(dir string, port, controller int) string {
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
