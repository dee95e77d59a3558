# Needs Go and make. Some targets need more, as their lines in `make help` say.

GO       ?= go
TOOL      = $(GO) tool -modfile=cmd/devtools/go.mod
SEEDS    ?= 2000
JOBS     ?= $(shell nproc 2>/dev/null || echo 2)
FUZZTIME ?= 60s
SOAKTIME ?= 1h
VERSITYGW = .cache/bin/versitygw
RECORDS  ?= 1000000
WORDS    ?= 100000
KILLS    ?= 3
DISTURB  ?= 600s
YEARDAYS ?= 42

.DEFAULT_GOAL := help
.PHONY: help
help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-14s %s\n", $$1, $$2}'

.PHONY: build
build: ## build the commands into bin/
	$(GO) build -o bin/ ./cmd/...

.PHONY: run
run: ## build the broker and start it on 127.0.0.1:9092 with its data in ./data
	$(GO) build -o bin/weir ./cmd/weir
	./bin/weir server

.PHONY: cluster
cluster: build ## build the broker and start a cluster of BROKERS=3 in three racks on 127.0.0.1:19091 and up, its data in ./data/cluster
	sh cmd/weir/deploy/cluster.sh

.PHONY: test
test: java-classes ## run all tests (at most 10 minutes on two cores) and count them
	$(GO) run ./internal/testsum -timeout 9m ./...

# The tests take a few scenarios of the Java client; where it cannot be compiled they are skipped.
JAVA_CLASSES = mvn -q -B -f conformance/clients/java/pom.xml compile dependency:copy-dependencies -DoutputDirectory=$(abspath .cache/clients-java/libs)
.PHONY: java-classes
java-classes:
	@if command -v java >/dev/null && command -v mvn >/dev/null; then $(JAVA_CLASSES) || echo "the Java client could not be compiled"; fi

.PHONY: race
race: ## the tests of what runs off the loop, with the race detector (needs a C compiler)
	$(GO) run ./internal/testsum -race -timeout 20m ./core/task/... ./realio/... ./cmd/...

.PHONY: sim
sim: ## simulate SEEDS=2000 seeds, each twice with its hashes compared
	$(GO) run ./cmd/weir-sim fuzz -seeds $(SEEDS) -j $(JOBS) -twice

.PHONY: sim-cover
sim-cover: ## statements of core/ that SEEDS=2000 seeds and the scenarios run, by package; and marks that they miss
	rm -rf .cache/cover && mkdir -p .cache/cover/data
	$(GO) build -cover -coverpkg=./core/...,./cmd/weir-sim -o .cache/cover/weir-sim ./cmd/weir-sim
	GOCOVERDIR=.cache/cover/data .cache/cover/weir-sim fuzz -seeds $(SEEDS) -j $(JOBS) -unreached sim/testdata/unreached.txt
	for plan in sim/testdata/scenarios/*.plan; do for seed in 1 2; do \
	  GOCOVERDIR=.cache/cover/data .cache/cover/weir-sim run -seed $$seed -plan $$plan >/dev/null || exit 1; done; done
	$(GO) tool covdata percent -i=.cache/cover/data -pkg=$$($(GO) list ./core/... | grep -v envtest | paste -sd,)
	$(GO) tool covdata textfmt -i=.cache/cover/data -o .cache/cover/all.txt
	grep -v -e /cmd/ -e /envtest/ .cache/cover/all.txt >.cache/cover/core.txt
	$(GO) tool cover -func=.cache/cover/core.txt | tail -1

.PHONY: golden
golden: ## the golden seeds at GOMAXPROCS 1 and 2, with and without the race detector
	GOMAXPROCS=1 $(GO) test -count=1 -run Golden ./sim/...
	GOMAXPROCS=2 $(GO) test -count=1 -run Golden ./sim/...
	GOMAXPROCS=1 $(GO) test -count=1 -race -run Golden ./sim/...
	GOMAXPROCS=2 $(GO) test -count=1 -race -run Golden ./sim/...

.PHONY: mutants
mutants: ## plant each defect of sim/mutants/ in a copy of the source; the simulator, or the tests that it names, must find it
	$(GO) run ./internal/mutants -j $(JOBS)

.PHONY: mutants-by-seeds
mutants-by-seeds: ## a defect of each rule, hunted by random seeds alone: ten minutes of processor time each, and fifteen rules at least are found
	$(GO) run ./internal/mutants -seeds-only -j $(JOBS) -cpu 10m

.PHONY: soak
soak: ## simulate random seeds for SOAKTIME=1h, then kill the real broker for as long as a minute
	$(GO) run ./cmd/weir-sim fuzz -first-seed $$(date +%s)000 -duration $(SOAKTIME) -j $(JOBS)
	$(MAKE) durability

.PHONY: durability
durability: build ## kill the real broker 20 times while producers write, then look for every record; again with half of S3 refused
	$(GO) test -count=1 -v -timeout 20m ./conformance/durability -kills 20

.PHONY: durability-cluster
durability-cluster: build $(VERSITYGW) ## kill and stop the brokers of a cluster of three for DISTURB=600s at a time, under idempotent producers and under groups in transactions, with each kind of log; object logs also on gofakes3 and versitygw
	$(GO) test -count=1 -v -timeout 60m ./conformance/durability -run 'TestACluster$$|TestAClusterOfObjectLogs' -cluster-for $(DISTURB) -weir $(abspath bin/weir)
	for store in gofakes3 $(abspath $(VERSITYGW)); do \
	  $(GO) test -count=1 -v -timeout 60m ./conformance/durability -run TestAClusterOfObjectLogs -cluster-for $(DISTURB) -cluster-store $$store -weir $(abspath bin/weir) || exit 1; done
	for wal in device object; do \
	  $(GO) test -count=1 -v -timeout 60m ./conformance/exactlyonce -cluster 3 -for $(DISTURB) -wal $$wal -weir $(abspath bin/weir) || exit 1; done

.PHONY: clients
clients: build ## every foreign client on weir: runs the targets clients-*, says which runtimes are not here, and prints a table
	MAKE="$(MAKE)" sh conformance/clients/all.sh java connect python node go carry tools

.PHONY: clients-kafka
clients-kafka: build ## the foreign scenarios on Apache Kafka 4.4, which decides whether they are right (needs Java 17, Maven, and what they need)
	mvn -q -B -f cmd/weir-bench/kafka/pom.xml dependency:copy-dependencies -DoutputDirectory=$(abspath .cache/kafka/libs)
	MAKE="$(MAKE)" CLIENTS_ON="-on-kafka $(abspath .cache/kafka/libs)" sh conformance/clients/all.sh java connect python node go

.PHONY: clients-cluster
clients-cluster: build ## the foreign scenarios on a cluster of three weir brokers: each program knows one, kills strike another each time, restarts all in turn
	MAKE="$(MAKE)" CLIENTS_ON="-weir $(abspath bin/weir) -cluster 3" sh conformance/clients/all.sh java connect python node go

.PHONY: rolling
rolling: build ## restart the brokers of a cluster of three in turn under applications with the defaults of franz-go, librdkafka and kafka-clients: none sees an error (needs Python 3.11 with venv, Java 17 and Maven)
	$(GO) test -count=1 -v ./conformance/durability -run TestARollingRestart -rolling-rounds 5 -weir $(abspath bin/weir)
	$(MAKE) clients-python clients-java CLIENTS_ON="-weir $(abspath bin/weir) -cluster 3 -scenarios broker-rolling-restart"

# What the scenarios run on; the list of scenarios in CLIENTS.md is renewed with CLIENTS_ON='-weir bin/weir -update'.
CLIENTS_ON   ?= -weir $(abspath bin/weir)
CLIENTS_TEST  = $(GO) test -count=1 -v -timeout 60m ./conformance/clients $(CLIENTS_ON)

.PHONY: clients-carry
clients-carry: build $(VERSITYGW) ## kcat and franz-go each carry RECORDS=1000000 records in every codec, on file:, gofakes3 and versitygw (needs kcat)
	$(GO) test -count=1 -v -timeout 60m ./conformance/clients -records $(RECORDS) -versitygw $(abspath $(VERSITYGW))

.PHONY: clients-java
clients-java: build ## scenarios of Kafka's own Java client, pipelines and a Streams word count of WORDS=100000 words over KILLS=3 kills of the broker (needs Java 17 and Maven)
	$(JAVA_CLASSES)
	$(CLIENTS_TEST) -run 'TestJavaClients|TestJavaPipeline|TestStreamsWordCount' -java-clients $(abspath .cache/clients-java) -words $(WORDS) -kills $(KILLS)

.PHONY: clients-connect
clients-connect: build ## Kafka Connect in standalone mode carries the records of its verifiable source to its sink, over kills (needs Java 17 and Maven)
	mvn -q -B -f conformance/clients/connect/pom.xml dependency:copy-dependencies -DoutputDirectory=$(abspath .cache/clients-connect)
	$(CLIENTS_TEST) -run TestConnect -connect-libs $(abspath .cache/clients-connect)

.PHONY: clients-python
clients-python: build ## scenarios of confluent-kafka (librdkafka), kafka-python and aiokafka (needs Python 3.11 with venv)
	python3 -m venv .cache/clients-python
	.cache/clients-python/bin/pip install -q --disable-pip-version-check -r conformance/clients/python/requirements.txt
	$(CLIENTS_TEST) -run TestPythonClients -python $(abspath .cache/clients-python/bin/python)

.PHONY: clients-node
clients-node: build ## scenarios of kafkajs and @platformatic/kafka (needs npm; its packages bring Node.js 22 for Linux on x64, elsewhere it must be here)
	mkdir -p .cache/clients-node && cp conformance/clients/node/* .cache/clients-node
	cd .cache/clients-node && npm install --silent --no-package-lock
	$(CLIENTS_TEST) -run TestNodeClients -node-clients $(abspath .cache/clients-node)

.PHONY: clients-go
clients-go: build ## scenarios of sarama and segmentio/kafka-go
	cd conformance/clients/go && $(GO) build -o $(abspath .cache/clients-go) .
	$(CLIENTS_TEST) -run TestGoClients -go-clients $(abspath .cache/clients-go)

.PHONY: clients-tools
clients-tools: kafka-tools

.PHONY: versitygw
versitygw: $(VERSITYGW) ## install the versitygw S3 server into .cache/bin, for the conformance tests
$(VERSITYGW):
	GOBIN=$(abspath $(dir $(VERSITYGW))) $(GO) install github.com/versity/versitygw/cmd/versitygw@v1.8.0

.PHONY: kcat
kcat: ## install Debian's kcat (needs root)
	command -v kcat || (apt-get update && apt-get install -y --no-install-recommends kcat)

.PHONY: lint
lint: ## vet, staticcheck, gofumpt, dead code, and the rules of the tree (purity, imports, package comments)
	$(GO) vet ./...
	$(TOOL) staticcheck ./...
	@test -z "$$($(TOOL) gofumpt -l . | tee /dev/stderr)" || (echo "the files above need gofumpt: make fmt"; exit 1)
	$(TOOL) deadcode -test ./...
	$(GO) test ./internal/...

.PHONY: fmt
fmt: ## format the source
	$(TOOL) gofumpt -w .

.PHONY: fuzz
fuzz: ## run each go fuzz target for FUZZTIME=60s of one core
	@set -e; for file in $$(grep -rlE '^func Fuzz' --include='*_test.go' .); do \
	  for target in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9_]*)\(.*/\1/p' $$file); do \
	    echo "== $$target ($$(dirname $$file))"; \
	    GOMEMLIMIT=1GiB $(GO) test -run '^$$' -parallel 1 -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x ./$$(dirname $$file); \
	  done; done

.PHONY: bench
bench: ## the Go benchmarks, six times each, for benchstat
	$(GO) test -run '^$$' -bench . -benchmem -count 6 ./... | tee bin/bench.txt
	$(TOOL) benchstat bin/bench.txt

.PHONY: bench-kafka
bench-kafka: build ## weir beside Apache Kafka, kfake and the null broker, with one client (needs Java 17 and Maven)
	mvn -q -B -f cmd/weir-bench/kafka/pom.xml dependency:copy-dependencies -DoutputDirectory=$(abspath .cache/kafka/libs)
	./bin/weir-bench compare --unsummed --kafka-libs .cache/kafka/libs --weir bin/weir

.PHONY: bench-kafka-cluster
bench-kafka-cluster: build ## clusters of three brokers: weir with both kinds of logs beside Apache Kafka with three replicas (needs Java 17, Maven, ss of iproute2, and 25 GB of disk)
	mvn -q -B -f cmd/weir-bench/kafka/pom.xml dependency:copy-dependencies -DoutputDirectory=$(abspath .cache/kafka/libs)
	./bin/weir-bench clusters --kafka-libs .cache/kafka/libs --weir bin/weir

.PHONY: bench-moves
bench-moves: build ## how long a producer and a consumer wait while their partition moves: 10 MiB and 10 GiB, with a shared log directory and with object logs; and the same in the simulator, with the latencies of S3
	./bin/weir-bench moves --weir bin/weir --mib 10
	./bin/weir-bench moves --weir bin/weir --mib 10240
	./bin/weir-bench moves --weir bin/weir --mib 10 --object-wal
	./bin/weir-sim moves

.PHONY: bench-months
bench-months: build ## 2,000 uploads of 5,000 partitions in some minutes: p99 of the last minute beside the first, parts, metadata, turns of the loop
	./bin/weir-bench months --weir bin/weir

.PHONY: bench-compacted
bench-compacted: build ## 10 GiB written over 1 GiB of keys of a compacted topic: how soon the store holds less than 1.5 GiB, and what readers see; Apache Kafka beside (needs Java 17, Maven and 60 GB of disk)
	mvn -q -B -f cmd/weir-bench/kafka/pom.xml dependency:copy-dependencies -DoutputDirectory=$(abspath .cache/kafka/libs)
	./bin/weir-bench compacted --weir bin/weir --kafka-libs .cache/kafka/libs

.PHONY: bench-beside
bench-beside: build ## producers at 80 MB/s beside a client that reads everything from the start, and without it: p50 and p99
	./bin/weir-bench beside --weir bin/weir

.PHONY: bench-catch-up
bench-catch-up: ## a catch-up through the broker's reader beside a plain program with parallel range GETs on the same store
	$(GO) test ./cmd/weir-bench -run '^$$' -bench CatchUp -benchtime 3x

.PHONY: bench-idle
bench-idle: build ## 100,000 partitions of which 12 are written beside 12 alone: throughput, p50, p99
	./bin/weir-bench idle --weir bin/weir

.PHONY: bench-fanout
bench-fanout: build ## one producer and four consumers at its end: weir beside Apache Kafka and the null broker (needs Java 17 and Maven)
	mvn -q -B -f cmd/weir-bench/kafka/pom.xml dependency:copy-dependencies -DoutputDirectory=$(abspath .cache/kafka/libs)
	./bin/weir-bench fanout --kafka-libs .cache/kafka/libs --weir bin/weir

.PHONY: bench-footprint
bench-footprint: build ## resident memory less the configured caches beside Apache Kafka's less its heap (needs Java 17 and Maven)
	mvn -q -B -f cmd/weir-bench/kafka/pom.xml dependency:copy-dependencies -DoutputDirectory=$(abspath .cache/kafka/libs)
	./bin/weir-bench footprint --kafka-libs .cache/kafka/libs --weir bin/weir

.PHONY: bench-soak
bench-soak: SOAKTIME = 30m
bench-soak: build ## 70 % of the peak for SOAKTIME=30m with a retention of two minutes: memory, objects and latency must stay flat; bin/soak.csv and bin/soak.svg (needs 20 GB of disk)
	./bin/weir-bench soak --weir bin/weir -for $(SOAKTIME) -batch-bytes 4096 -o bin/soak

.PHONY: year
year: ## simulate YEARDAYS=42 days of 100 MB/s over 10,000 partitions, 7 days of retention: what compaction of objects makes of it (5 minutes; 365 days take 45)
	$(GO) test ./core/stream -count=1 -v -timeout 3h -run TestAYearOfWriting -year-days $(YEARDAYS)

.PHONY: bench-coordinators
bench-coordinators: build ## groups and transactions of weir beside Apache Kafka: heartbeats, a huge group, transactions, commits (needs Java 17 and Maven)
	mvn -q -B -f cmd/weir-bench/kafka/pom.xml dependency:copy-dependencies -DoutputDirectory=$(abspath .cache/kafka/libs)
	./bin/weir-bench coordinators --kafka-libs .cache/kafka/libs --weir bin/weir

.PHONY: bench-failover
bench-failover: build ## kill the broker of 1,000 partitions with 1 GiB in its log, of both kinds, and print the time until others acknowledge
	./bin/weir-bench failover -weir bin/weir -log device
	./bin/weir-bench failover -weir bin/weir -log object

.PHONY: conformance
conformance: build ## run the conformance suite on weir
	./bin/weir-conformance run --slow --weir bin/weir

.PHONY: conformance-kafka
conformance-kafka: build ## run the conformance suite on Apache Kafka 4.4, which decides whether a case is right (needs Java 17 and Maven)
	mvn -q -B -f cmd/weir-bench/kafka/pom.xml dependency:copy-dependencies -DoutputDirectory=$(abspath .cache/kafka/libs)
	./bin/weir-conformance run --slow --kafka-libs .cache/kafka/libs

.PHONY: conformance-cluster
conformance-cluster: build ## run the conformance suite on a cluster of three weir brokers: each case on one of them
	./bin/weir-conformance run --slow --weir bin/weir --cluster 3

.PHONY: diff-cluster
diff-cluster: build ## like diff-kafka, with a broker of a cluster of three weir brokers (needs Java 17 and Maven)
	mvn -q -B -f cmd/weir-bench/kafka/pom.xml dependency:copy-dependencies -DoutputDirectory=$(abspath .cache/kafka/libs)
	./bin/weir-conformance diff --kafka-libs .cache/kafka/libs --weir bin/weir --cluster 3

.PHONY: diff-kafka
diff-kafka: build ## send generated requests to Apache Kafka 4.4 and to weir, and compare every field (needs Java 17 and Maven)
	mvn -q -B -f cmd/weir-bench/kafka/pom.xml dependency:copy-dependencies -DoutputDirectory=$(abspath .cache/kafka/libs)
	./bin/weir-conformance diff --kafka-libs .cache/kafka/libs --weir bin/weir

.PHONY: kafka-tools
kafka-tools: build ## run Kafka's own command-line tools on weir (needs Java 17 and Maven)
	mvn -q -B -f cmd/weir-bench/kafka/pom.xml dependency:copy-dependencies -DoutputDirectory=$(abspath .cache/kafka/libs)
	$(GO) test -count=1 -v ./conformance/clients -run TestKafkaTools -kafka-libs $(abspath .cache/kafka/libs)

.PHONY: apis
apis: ## renew APIS.md, the table of API versions and their conformance cases
	$(GO) test ./cmd/weir-conformance -run TestAPIsPage -update

.PHONY: linked
linked: ## renew the list of packages that the broker links
	$(GO) test ./internal/tree -run TestLinkedPackages -update

.PHONY: clean
clean: ## remove what was built and fetched; ./data stays
	rm -rf bin .cache
