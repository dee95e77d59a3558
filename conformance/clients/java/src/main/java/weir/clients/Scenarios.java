package weir.clients;

import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;

import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.GroupListing;
import org.apache.kafka.clients.admin.ListOffsetsResult;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.TransactionState;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.consumer.ConsumerGroupMetadata;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.SubscriptionPattern;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.KafkaFuture;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.InvalidProducerEpochException;
import org.apache.kafka.common.errors.ProducerFencedException;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Runs the scenarios of Kafka's own Java client against one endpoint: {@code Scenarios HOST:PORT [FILTER]}.
 * It prints one line {@code ok NAME} or {@code FAIL NAME: cause} per scenario, and exits with 1 if one failed.
 */
public final class Scenarios {
    private static final Duration LIMIT = Duration.ofSeconds(60);
    private static final Duration POLL = Duration.ofMillis(200);

    /** A POST to /kill or /restart below it ends the broker, and is answered once it is there again; empty if nobody does that. */
    private static final String CONTROL = Optional.ofNullable(System.getenv("BROKER_CONTROL")).orElse("");

    private interface Scenario {
        void run() throws Exception;
    }

    private final String bootstrap;
    private final Admin admin;
    private final Map<String, Scenario> scenarios = new LinkedHashMap<>();

    private Scenarios(String bootstrap) {
        this.bootstrap = bootstrap;
        this.admin = Admin.create(Map.of(AdminClientConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap));
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            scenarios.put("codec/" + codec, () -> carry(codec));
        }
        scenarios.put("record-fields", this::nullsAndHeaders);
        for (String protocol : List.of("classic", "consumer")) {
            scenarios.put("group-join-leave/" + protocol, () -> rebalance(protocol, Map.of()));
            scenarios.put("commit-resume/" + protocol, () -> commitAndResume(protocol));
            scenarios.put("group-static/" + protocol, () -> staticMember(protocol));
            scenarios.put("group-member-stuck/" + protocol, () -> memberIsStuck(protocol));
            scenarios.put("group-member-dies/" + protocol, () -> memberDies(protocol));
            scenarios.put("group-pattern/" + protocol, () -> pattern(protocol));
            scenarios.put("admin-groups/" + protocol, () -> describeAndDelete(protocol));
            scenarios.put("transaction-offsets/" + protocol, () -> consumeTransformProduce(protocol));
            scenarios.put("broker-restart/" + protocol, () -> brokerRestarts(protocol));
            scenarios.put("broker-rolling-restart/" + protocol, () -> brokersRestart(protocol));
        }
        scenarios.put("group-join-leave/classic-cooperative", () -> rebalance("classic",
            Map.of(ConsumerConfig.PARTITION_ASSIGNMENT_STRATEGY_CONFIG, CooperativeStickyAssignor.class.getName())));
        scenarios.put("group-join-leave/consumer-range", () -> rebalance("consumer", Map.of(ConsumerConfig.GROUP_REMOTE_ASSIGNOR_CONFIG, "range")));
        scenarios.put("group-migration/to-consumer", () -> migrate("classic", "consumer"));
        scenarios.put("group-migration/to-classic", () -> migrate("consumer", "classic"));
        scenarios.put("offsets-reset/altered", this::alterOffsets);
        scenarios.put("offsets-reset/policy", this::reset);
        scenarios.put("admin-group-configs", this::groupConfigs);
        scenarios.put("offsets-for-times", this::offsetsForTimes);
        scenarios.put("idempotence-broker-kill", this::brokerIsKilledUnderProducer);
        scenarios.put("transaction-commit-abort", this::commitAndAbort);
        scenarios.put("transaction-open", this::openTransactionHides);
        scenarios.put("transaction-fence", this::fencing);
        scenarios.put("transaction-timeout", this::transactionTimeout);
        scenarios.put("transaction-broker-kill", this::brokerIsKilledUnderTransaction);
        scenarios.put("transaction-admin", this::transactionAdmin);
        scenarios.put("admin-topics", this::topics);
        scenarios.put("admin-features", this::features);
    }

    public static void main(String[] args) {
        Scenarios all = new Scenarios(args[0]);
        String filter = args.length > 1 ? args[1] : "";
        if (filter.equals("--member")) {
            all.new Member(args[2], args[3], args[4], args[3].equals("classic") ? Map.of(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG, 6000) : Map.of());
            return;
        }
        int failed = 0;
        for (Map.Entry<String, Scenario> scenario : all.scenarios.entrySet()) {
            String name = "kafka-clients/" + scenario.getKey();
            if (!name.matches(".*(" + filter + ").*") || CONTROL.isEmpty() && name.contains("broker-")) {
                continue;
            }
            long start = System.nanoTime();
            try {
                scenario.getValue().run();
                System.out.printf("ok %s (%d ms)%n", name, (System.nanoTime() - start) / 1_000_000);
            } catch (Throwable e) {
                failed++;
                System.out.printf("FAIL %s: %s%n", name, e);
                e.printStackTrace(System.out);
            }
        }
        all.admin.close(Duration.ofSeconds(5));
        System.exit(failed == 0 ? 0 : 1);
    }

    // The scenarios.

    private void carry(String codec) throws Exception {
        String topic = topic(3);
        Set<String> sent = new HashSet<>();
        try (KafkaProducer<String, String> producer = producer(Map.of(ProducerConfig.COMPRESSION_TYPE_CONFIG, codec, ProducerConfig.LINGER_MS_CONFIG, 5))) {
            List<Future<RecordMetadata>> answers = new ArrayList<>();
            for (int i = 0; i < 5000; i++) {
                answers.add(producer.send(new ProducerRecord<>(topic, "k" + i, "value-" + i)));
                sent.add("k" + i + "=value-" + i);
            }
            for (Future<RecordMetadata> answer : answers) {
                answer.get();
            }
        }
        Set<String> read = new HashSet<>();
        for (ConsumerRecord<String, String> record : readAll(topic, 3, "read_uncommitted")) {
            check(read.add(record.key() + "=" + record.value()), "twice: " + record.key());
        }
        equal(sent, read);
    }

    private void nullsAndHeaders() throws Exception {
        String topic = topic(1);
        try (KafkaProducer<String, String> producer = producer(Map.of())) {
            ProducerRecord<String, String> record = new ProducerRecord<>(topic, 0, 1234567890123L, (String) null, (String) null);
            record.headers().add(new RecordHeader("a", new byte[] {1, 2})).add(new RecordHeader("a", null)).add(new RecordHeader("", new byte[0]));
            producer.send(record).get();
            producer.send(new ProducerRecord<>(topic, 0, 0L, "", "")).get();
        }
        List<ConsumerRecord<String, String>> read = readAll(topic, 1, "read_uncommitted");
        equal(2, read.size());
        check(read.get(0).key() == null && read.get(0).value() == null, "key and value are null");
        equal(1234567890123L, read.get(0).timestamp());
        equal(3, read.get(0).headers().toArray().length);
        check(read.get(0).headers().toArray()[1].value() == null, "a null header");
        equal("", read.get(1).key());
        equal(0L, read.get(1).timestamp());
    }

    private void rebalance(String protocol, Map<String, Object> more) throws Exception {
        String topic = topic(6);
        String group = name();
        List<Member> members = new ArrayList<>();
        try {
            for (int count = 1; count <= 3; count++) {
                members.add(new Member(group, protocol, topic, more));
                balanced(members, 6, 6 / count);
            }
            members.remove(0).close();
            balanced(members, 6, 3);
        } finally {
            members.forEach(Member::close);
        }
    }

    private void commitAndResume(String protocol) throws Exception {
        String topic = topic(2);
        String group = name();
        fill(topic, 0, 100);
        Set<String> read = new HashSet<>();
        try (KafkaConsumer<String, String> consumer = consumer(group, protocol, Map.of(ConsumerConfig.MAX_POLL_RECORDS_CONFIG, 10))) {
            consumer.subscribe(List.of(topic));
            await("half of the records", () -> {
                consumer.poll(POLL).forEach(record -> check(read.add(record.value()), "twice: " + record.value()));
                return read.size() >= 50;
            });
            consumer.commitSync();
        }
        try (KafkaConsumer<String, String> consumer = consumer(group, protocol, Map.of())) {
            consumer.subscribe(List.of(topic));
            await("the rest", () -> {
                consumer.poll(POLL).forEach(record -> check(read.add(record.value()), "twice: " + record.value()));
                return read.size() >= 100;
            });
            consumer.commitSync(Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(7, "metadata")));
            equal("metadata", consumer.committed(Set.of(new TopicPartition(topic, 0))).get(new TopicPartition(topic, 0)).metadata());
        }
    }

    private void staticMember(String protocol) throws Exception {
        String topic = topic(4);
        String group = name();
        Map<String, Object> instance = Map.of(ConsumerConfig.GROUP_INSTANCE_ID_CONFIG, "one");
        List<Member> members = new ArrayList<>();
        try {
            members.add(new Member(group, protocol, topic, instance));
            members.add(new Member(group, protocol, topic, Map.of(ConsumerConfig.GROUP_INSTANCE_ID_CONFIG, "two")));
            balanced(members, 4, 2);
            Set<TopicPartition> before = members.get(0).assignment();
            members.remove(0).close();
            members.add(0, new Member(group, protocol, topic, instance));
            balanced(members, 4, 2);
            equal(before, members.get(0).assignment());
        } finally {
            members.forEach(Member::close);
        }
    }

    /** A member's process is killed: another one gets its partitions once its session is over. */
    private void memberDies(String protocol) throws Exception {
        String topic = topic(4);
        String group = name();
        List<Member> members = List.of(new Member(group, protocol, topic, Map.of()));
        balanced(members, 4, 4);
        Process dies = new ProcessBuilder(ProcessHandle.current().info().command().get(), "-XX:TieredStopAtLevel=1", "-cp", System.getProperty("java.class.path"),
            Scenarios.class.getName(), bootstrap, "--member", group, protocol, topic)
            .redirectErrorStream(true).redirectOutput(ProcessBuilder.Redirect.DISCARD).start();
        try {
            balanced(members, 2, 2);
            dies.destroyForcibly().waitFor();
            balanced(members, 4, 4);
        } finally {
            dies.destroyForcibly();
            members.forEach(Member::close);
        }
    }

    /** A member does not poll: another one gets its partitions. */
    private void memberIsStuck(String protocol) throws Exception {
        String topic = topic(4);
        String group = name();
        if (protocol.equals("consumer")) {
            configureGroup(group, "consumer.session.timeout.ms", "45000");
        }
        List<Member> members = new ArrayList<>();
        Map<String, Object> slow = new HashMap<>(Map.of(ConsumerConfig.MAX_POLL_INTERVAL_MS_CONFIG, 6000));
        if (protocol.equals("classic")) {
            slow.put(ConsumerConfig.SESSION_TIMEOUT_MS_CONFIG, 6000);
        }
        Member silent = new Member(group, protocol, topic, slow);
        try {
            members.add(silent);
            members.add(new Member(group, protocol, topic, Map.of()));
            balanced(members, 4, 2);
            silent.pause();
            balanced(members.subList(1, 2), 4, 4);
        } finally {
            members.forEach(Member::close);
        }
    }

    private void pattern(String protocol) throws Exception {
        String prefix = name();
        createTopic(prefix + "-a", 1);
        createTopic(prefix + "-b", 1);
        fill(prefix + "-a", 0, 1);
        fill(prefix + "-b", 1, 2);
        try (KafkaConsumer<String, String> consumer = consumer(name(), protocol, Map.of())) {
            if (protocol.equals("consumer")) {
                consumer.subscribe(new SubscriptionPattern(prefix + "-.*"));
            } else {
                consumer.subscribe(java.util.regex.Pattern.compile(prefix + "-.*"));
            }
            Set<String> read = new HashSet<>();
            await("both topics", () -> {
                consumer.poll(POLL).forEach(record -> read.add(record.topic()));
                return read.size() == 2;
            });
        }
    }

    private void describeAndDelete(String protocol) throws Exception {
        String topic = topic(2);
        String group = name();
        fill(topic, 0, 10);
        Member member = new Member(group, protocol, topic, Map.of());
        try {
            balanced(List.of(member), 2, 2);
            member.commit();
            ConsumerGroupDescription description = describe(group);
            equal(GroupState.STABLE, description.groupState());
            equal(1, description.members().size());
            equal(2, description.members().iterator().next().assignment().topicPartitions().size());
            equal(protocol, description.type().toString().toLowerCase());
            boolean listed = false;
            for (GroupListing listing : admin.listGroups().all().get()) {
                listed |= listing.groupId().equals(group) && listing.type().get().toString().equalsIgnoreCase(protocol);
            }
            check(listed, "listGroups has the group with its type");
            fails(GroupNotEmptyException.class, admin.deleteConsumerGroups(List.of(group)).all());
        } finally {
            member.close();
        }
        await("the group is empty", () -> describe(group).groupState() == GroupState.EMPTY);
        admin.deleteConsumerGroupOffsets(group, Set.of(new TopicPartition(topic, 0))).all().get();
        equal(Set.of(new TopicPartition(topic, 1)), offsets(group).keySet());
        admin.deleteConsumerGroups(List.of(group)).all().get();
        fails(GroupIdNotFoundException.class, admin.describeConsumerGroups(List.of(group)).all());
        fails(GroupIdNotFoundException.class, admin.deleteConsumerGroups(List.of(group)).all());
    }

    private void migrate(String from, String to) throws Exception {
        String topic = topic(4);
        String group = name();
        List<Member> members = new ArrayList<>();
        try {
            members.add(new Member(group, from, topic, Map.of()));
            members.add(new Member(group, from, topic, Map.of()));
            balanced(members, 4, 2);
            for (int i = 0; i < 2; i++) {
                members.remove(0).close();
                members.add(new Member(group, to, topic, Map.of()));
                balanced(members, 4, 2);
            }
            equal(to, describe(group).type().toString().toLowerCase());
        } finally {
            members.forEach(Member::close);
        }
    }

    private void alterOffsets() throws Exception {
        String topic = topic(1);
        String group = name();
        TopicPartition partition = new TopicPartition(topic, 0);
        fill(topic, 0, 10);
        admin.alterConsumerGroupOffsets(group, Map.of(partition, new OffsetAndMetadata(4, "by hand"))).all().get();
        equal(4L, offsets(group).get(partition).offset());
        equal("by hand", offsets(group).get(partition).metadata());
        for (String protocol : List.of("classic", "consumer")) {
            try (KafkaConsumer<String, String> consumer = consumer(group, protocol, Map.of())) {
                consumer.subscribe(List.of(topic));
                List<Long> read = new ArrayList<>();
                await("the records after the altered offset", () -> {
                    consumer.poll(POLL).forEach(record -> read.add(record.offset()));
                    return read.size() >= 6;
                });
                equal(List.of(4L, 5L, 6L, 7L, 8L, 9L), read);
            }
        }
    }

    private void reset() throws Exception {
        String topic = topic(1);
        TopicPartition partition = new TopicPartition(topic, 0);
        fill(topic, 0, 10);
        for (String protocol : List.of("classic", "consumer")) {
            for (String policy : List.of("earliest", "latest")) {
                try (KafkaConsumer<String, String> consumer = consumer(name(), protocol, Map.of(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, policy))) {
                    consumer.assign(List.of(partition));
                    equal(policy.equals("earliest") ? 0L : 10L, consumer.position(partition));
                    consumer.seek(partition, 3);
                    await("a record", () -> !consumer.poll(POLL).isEmpty());
                    consumer.seekToEnd(List.of(partition));
                    equal(10L, consumer.position(partition));
                }
            }
        }
    }

    private void groupConfigs() throws Exception {
        String group = name();
        configureGroup(group, "consumer.heartbeat.interval.ms", "3000");
        ConfigResource resource = new ConfigResource(ConfigResource.Type.GROUP, group);
        await("the configuration", () -> {
            ConfigEntry entry = get(admin.describeConfigs(List.of(resource)).all()).get(resource).get("consumer.heartbeat.interval.ms");
            return entry != null && entry.value().equals("3000");
        });
    }

    private void offsetsForTimes() throws Exception {
        String topic = topic(1);
        TopicPartition partition = new TopicPartition(topic, 0);
        try (KafkaProducer<String, String> producer = producer(Map.of())) {
            for (int i = 0; i < 5; i++) {
                producer.send(new ProducerRecord<>(topic, 0, 1000L * i, "k", "v")).get();
            }
        }
        try (KafkaConsumer<String, String> consumer = consumer(name(), "classic", Map.of())) {
            equal(3L, consumer.offsetsForTimes(Map.of(partition, 2500L)).get(partition).offset());
            check(consumer.offsetsForTimes(Map.of(partition, 9000L)).get(partition) == null, "no offset after the last record");
            equal(0L, consumer.beginningOffsets(List.of(partition)).get(partition));
            equal(5L, consumer.endOffsets(List.of(partition)).get(partition));
        }
        equal(4L, admin.listOffsets(Map.of(partition, OffsetSpec.maxTimestamp())).partitionResult(partition).get().offset());
    }

    /** The broker stops and starts while a member reads: it goes on, and misses nothing. */
    private void brokerRestarts(String protocol) throws Exception {
        String topic = topic(2);
        fill(topic, 0, 100);
        Set<String> read = new HashSet<>();
        try (KafkaConsumer<String, String> consumer = consumer(name(), protocol, Map.of())) {
            consumer.subscribe(List.of(topic));
            for (int want = 100; want <= 200; want += 100) {
                int count = want;
                await(want + " records", () -> {
                    consumer.poll(POLL).forEach(record -> read.add(record.value()));
                    return read.size() >= count;
                });
                consumer.commitSync();
                if (want == 100) {
                    control("restart").get();
                    fill(topic, 100, 200);
                }
            }
        }
        equal(200, read.size());
    }

    /** Applications with the client's defaults see no error while all brokers are restarted, one after the other. */
    private void brokersRestart(String protocol) throws Exception {
        String topic = topic(6);
        Set<String> read = new HashSet<>();
        List<Future<?>> sent = new ArrayList<>();
        Map<String, Object> defaults = Map.of(ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap);
        Map<String, Object> plain = new HashMap<>(defaults);
        plain.put(ProducerConfig.ENABLE_IDEMPOTENCE_CONFIG, false);
        Map<String, Object> member = new HashMap<>(defaults);
        member.putAll(Map.of(ConsumerConfig.GROUP_ID_CONFIG, name(), ConsumerConfig.GROUP_PROTOCOL_CONFIG, protocol, ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest"));
        try (KafkaProducer<String, String> idempotent = new KafkaProducer<>(defaults, new StringSerializer(), new StringSerializer());
            KafkaProducer<String, String> other = new KafkaProducer<>(plain, new StringSerializer(), new StringSerializer());
            KafkaConsumer<String, String> consumer = new KafkaConsumer<>(member, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(List.of(topic));
            fill(topic, 0, 100);
            await("the group reads", () -> {
                consumer.poll(POLL).forEach(record -> read.add(record.value()));
                return read.size() == 100;
            });
            for (Future<?> restarts = control("restart"); !restarts.isDone();) {
                for (KafkaProducer<String, String> producer : List.of(idempotent, other)) {
                    sent.add(producer.send(new ProducerRecord<>(topic, "k" + sent.size(), "n" + sent.size())));
                }
                consumer.poll(Duration.ofMillis(10)).forEach(record -> read.add(record.value()));
            }
            for (Future<?> one : sent) {
                one.get();
            }
            await("all records", () -> {
                consumer.poll(POLL).forEach(record -> read.add(record.value()));
                return read.size() == 100 + sent.size();
            });
        }
    }

    /** The broker is killed twice while a producer has batches on the way: each record is there once and in order. */
    private void brokerIsKilledUnderProducer() throws Exception {
        String topic = topic(1);
        List<String> sent = new ArrayList<>();
        List<Future<?>> pending = new ArrayList<>();
        List<Future<?>> kills = new ArrayList<>();
        try (KafkaProducer<String, String> producer = producer(Map.of(ProducerConfig.BATCH_SIZE_CONFIG, 200))) {
            for (int i = 0; i < 2000; i++) {
                pending.add(producer.send(new ProducerRecord<>(topic, 0, "k", "v" + i)));
                sent.add("v" + i);
                if (i % 1000 == 500) {
                    kills.add(control("kill"));
                    pending.get(i).get();
                }
            }
            for (Future<?> future : pending) {
                future.get();
            }
            for (Future<?> future : kills) {
                future.get();
            }
        }
        equal(sent, readAll(topic, 1, "read_uncommitted").stream().map(ConsumerRecord::value).toList());
    }

    /** The broker is killed under an open transaction, which goes on and is committed whole. */
    private void brokerIsKilledUnderTransaction() throws Exception {
        String topic = topic(1);
        try (KafkaProducer<String, String> producer = transactional(name(), 60_000)) {
            producer.beginTransaction();
            producer.send(new ProducerRecord<>(topic, "k", "before")).get();
            control("kill").get();
            producer.send(new ProducerRecord<>(topic, "k", "after")).get();
            producer.commitTransaction();
        }
        readsCommitted(List.of("before", "after"), topic);
    }

    private void commitAndAbort() throws Exception {
        String topic = topic(3);
        Set<String> committed = new HashSet<>();
        try (KafkaProducer<String, String> producer = transactional(name(), 60_000)) {
            for (int i = 0; i < 30; i++) {
                producer.beginTransaction();
                for (int j = 0; j < 10; j++) {
                    producer.send(new ProducerRecord<>(topic, j % 3, "k", i + "-" + j));
                }
                if (i % 3 == 0) {
                    if (i % 2 == 0) {
                        producer.flush();
                    }
                    producer.abortTransaction();
                    continue;
                }
                producer.commitTransaction();
                for (int j = 0; j < 10; j++) {
                    committed.add(i + "-" + j);
                }
            }
        }
        await("all committed records", () -> readAll(topic, 3, "read_committed").size() >= committed.size()); // the last markers may come later
        Set<String> read = new HashSet<>();
        for (ConsumerRecord<String, String> record : readAll(topic, 3, "read_committed")) {
            check(read.add(record.value()), "twice: " + record.value());
        }
        equal(committed, read);
        check(readAll(topic, 3, "read_uncommitted").size() > committed.size(), "aborted records are there for read_uncommitted");
    }

    private void openTransactionHides() throws Exception {
        String topic = topic(1);
        TopicPartition partition = new TopicPartition(topic, 0);
        try (KafkaProducer<String, String> open = transactional(name(), 60_000)) {
            open.beginTransaction();
            open.send(new ProducerRecord<>(topic, 0, "k", "open")).get();
            fill(topic, 0, 5);
            equal(0, readAll(topic, 1, "read_committed").size());
            equal(6, readAll(topic, 1, "read_uncommitted").size());
            equal(0L, admin.listOffsets(Map.of(partition, OffsetSpec.latest()),
                new org.apache.kafka.clients.admin.ListOffsetsOptions(org.apache.kafka.common.IsolationLevel.READ_COMMITTED)).partitionResult(partition).get().offset());
            open.commitTransaction();
        }
        await("the records are seen", () -> readAll(topic, 1, "read_committed").size() == 6);
    }

    private void fencing() throws Exception {
        String topic = topic(1);
        String id = name();
        try (KafkaProducer<String, String> zombie = transactional(id, 60_000)) {
            zombie.beginTransaction();
            zombie.send(new ProducerRecord<>(topic, "k", "zombie")).get();
            try (KafkaProducer<String, String> producer = transactional(id, 60_000)) {
                producer.beginTransaction();
                producer.send(new ProducerRecord<>(topic, "k", "alive"));
                producer.commitTransaction();
            }
            try {
                zombie.send(new ProducerRecord<>(topic, "k", "zombie again")).get();
                zombie.commitTransaction();
                throw new AssertionError("the zombie committed");
            } catch (ExecutionException e) {
                check(e.getCause() instanceof ProducerFencedException || e.getCause() instanceof InvalidProducerEpochException, "fenced: " + e.getCause());
            } catch (ProducerFencedException | InvalidProducerEpochException e) {
                // fenced, as it must be
            }
            zombie.close(Duration.ZERO);
        }
        readsCommitted(List.of("alive"), topic);
    }

    private void transactionTimeout() throws Exception {
        String topic = topic(1);
        KafkaProducer<String, String> producer = transactional(name(), 2_000);
        producer.beginTransaction();
        producer.send(new ProducerRecord<>(topic, "k", "late")).get();
        fill(topic, 0, 1);
        await("the broker aborts the transaction", () -> readAll(topic, 1, "read_committed").size() == 1);
        try {
            producer.commitTransaction();
            throw new AssertionError("a transaction that timed out was committed");
        } catch (org.apache.kafka.common.KafkaException e) {
            // the kind of error depends on the version of transactions
        } finally {
            producer.close(Duration.ZERO);
        }
        equal(1, readAll(topic, 1, "read_committed").size());
    }

    private void transactionAdmin() throws Exception {
        String topic = topic(1);
        TopicPartition partition = new TopicPartition(topic, 0);
        String id = name();
        try (KafkaProducer<String, String> producer = transactional(id, 60_000)) {
            producer.beginTransaction();
            producer.send(new ProducerRecord<>(topic, "k", "v")).get();
            equal(TransactionState.ONGOING, admin.describeTransactions(List.of(id)).description(id).get().state());
            equal(Set.of(partition), admin.describeTransactions(List.of(id)).description(id).get().topicPartitions());
            check(admin.listTransactions().all().get().stream().anyMatch(t -> t.transactionalId().equals(id)), "listTransactions has the id");
            var active = admin.describeProducers(List.of(partition)).partitionResult(partition).get().activeProducers();
            equal(1, active.size());
            check(active.get(0).currentTransactionStartOffset().isPresent(), "the producer has an open transaction");
            admin.fenceProducers(List.of(id)).all().get();
            try {
                producer.commitTransaction();
                throw new AssertionError("a fenced producer committed");
            } catch (ProducerFencedException | InvalidProducerEpochException e) {
                // fenced, as it must be
            }
            producer.close(Duration.ZERO);
        }
        equal(0, readAll(topic, 1, "read_committed").size());
    }

    private void consumeTransformProduce(String protocol) throws Exception {
        String in = topic(2);
        String out = topic(2);
        String group = name();
        fill(in, 0, 300);
        for (int round = 0; round < 2; round++) { // the second one resumes where the first ended, after an abort
            int want = round == 0 ? 150 : 300;
            try (KafkaConsumer<String, String> consumer = consumer(group, protocol, Map.of(ConsumerConfig.MAX_POLL_RECORDS_CONFIG, 25));
                 KafkaProducer<String, String> producer = transactional(group, 60_000)) {
                consumer.subscribe(List.of(in));
                await("transformed records", () -> {
                    var records = consumer.poll(POLL);
                    if (!records.isEmpty()) {
                        transform(producer, in, out, records, consumer.groupMetadata());
                    }
                    // Looked at after an empty poll too: a commit is answered before its markers are readable.
                    return readAll(out, 2, "read_committed").size() >= want;
                });
                if (round == 0) {
                    producer.beginTransaction();
                    producer.send(new ProducerRecord<>(out, 0, "k", "aborted"));
                    producer.sendOffsetsToTransaction(Map.of(new TopicPartition(in, 0), new OffsetAndMetadata(1000)), consumer.groupMetadata());
                    producer.abortTransaction();
                }
            }
        }
        Set<String> read = new HashSet<>();
        for (ConsumerRecord<String, String> record : readAll(out, 2, "read_committed")) {
            check(read.add(record.value()), "twice: " + record.value());
        }
        equal(300, read.size());
        check(!read.contains("aborted"), "an aborted record is read");
    }

    private static void transform(KafkaProducer<String, String> producer, String in, String out, ConsumerRecords<String, String> records, ConsumerGroupMetadata group) {
        producer.beginTransaction();
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        for (ConsumerRecord<String, String> record : records) {
            producer.send(new ProducerRecord<>(out, record.partition(), record.key(), record.value()));
            offsets.put(new TopicPartition(in, record.partition()), new OffsetAndMetadata(record.offset() + 1));
        }
        producer.sendOffsetsToTransaction(offsets, group);
        producer.commitTransaction();
    }

    private void topics() throws Exception {
        String topic = topic(1);
        admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3))).all().get();
        await("three partitions", () -> get(admin.describeTopics(List.of(topic)).allTopicNames()).get(topic).partitions().size() == 3);
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        admin.incrementalAlterConfigs(Map.of(resource, List.of(new AlterConfigOp(new ConfigEntry("retention.ms", "3600000"), AlterConfigOp.OpType.SET)))).all().get();
        await("the configuration", () -> get(admin.describeConfigs(List.of(resource)).all()).get(resource).get("retention.ms").value().equals("3600000"));
        TopicPartition partition = new TopicPartition(topic, 0);
        try (KafkaProducer<String, String> producer = producer(Map.of())) {
            for (int i = 0; i < 10; i++) {
                producer.send(new ProducerRecord<>(topic, 0, "k", "v")).get();
            }
        }
        admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(4))).all().get();
        ListOffsetsResult.ListOffsetsResultInfo first = admin.listOffsets(Map.of(partition, OffsetSpec.earliest())).partitionResult(partition).get();
        equal(4L, first.offset());
        admin.deleteTopics(List.of(topic)).all().get();
        await("the topic is gone", () -> !get(admin.listTopics().names()).contains(topic));
    }

    private void features() throws Exception {
        var finalized = admin.describeFeatures().featureMetadata().get().finalizedFeatures();
        equal((short) 2, finalized.get("transaction.version").maxVersionLevel());
        equal((short) 1, finalized.get("group.version").maxVersionLevel());
    }

    // What they are made of.

    /** A member of a group, polled by its own thread. */
    private final class Member implements AutoCloseable {
        private final KafkaConsumer<String, String> consumer;
        private final Thread thread;
        private final Object lock = new Object();
        private volatile Set<TopicPartition> assignment = Set.of();
        private volatile boolean paused;
        private volatile boolean closed;
        private volatile Throwable failure;

        Member(String group, String protocol, String topic, Map<String, Object> more) {
            consumer = consumer(group, protocol, more);
            consumer.subscribe(List.of(topic));
            thread = new Thread(this::poll, "member of " + group);
            thread.start();
        }

        private void poll() {
            try {
                while (!closed) {
                    if (paused) {
                        Thread.sleep(50);
                        continue;
                    }
                    synchronized (lock) {
                        consumer.poll(Duration.ofMillis(50));
                        assignment = Set.copyOf(consumer.assignment());
                    }
                    Thread.sleep(1);
                }
            } catch (Throwable e) {
                failure = e;
            }
        }

        Set<TopicPartition> assignment() {
            if (failure != null) {
                throw new AssertionError("a member failed", failure);
            }
            return assignment;
        }

        void pause() {
            paused = true;
        }

        void commit() {
            synchronized (lock) {
                Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
                consumer.assignment().forEach(partition -> offsets.put(partition, new OffsetAndMetadata(1)));
                consumer.commitSync(offsets);
            }
        }

        @Override
        public void close() {
            if (closed) {
                return;
            }
            closed = true;
            try {
                thread.join();
            } catch (InterruptedException e) {
                throw new AssertionError(e);
            }
            consumer.close(org.apache.kafka.clients.consumer.CloseOptions.timeout(Duration.ofSeconds(10)));
        }
    }

    private void balanced(List<Member> members, int partitions, int each) throws Exception {
        await(partitions + " partitions on " + members.size() + " members", () -> {
            Set<TopicPartition> all = new HashSet<>();
            for (Member member : members) {
                if (member.assignment().size() != each) {
                    return false;
                }
                all.addAll(member.assignment());
            }
            return all.size() == partitions;
        });
    }

    private KafkaProducer<String, String> producer(Map<String, Object> more) {
        Map<String, Object> config = new HashMap<>(Map.of(ProducerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap, ProducerConfig.ACKS_CONFIG, "all"));
        config.putAll(more);
        return new KafkaProducer<>(config, new StringSerializer(), new StringSerializer());
    }

    private KafkaProducer<String, String> transactional(String id, int timeout) {
        KafkaProducer<String, String> producer = producer(Map.of(ProducerConfig.TRANSACTIONAL_ID_CONFIG, id, ProducerConfig.TRANSACTION_TIMEOUT_CONFIG, timeout));
        producer.initTransactions();
        return producer;
    }

    private KafkaConsumer<String, String> consumer(String group, String protocol, Map<String, Object> more) {
        Map<String, Object> config = new HashMap<>(Map.of(
            ConsumerConfig.BOOTSTRAP_SERVERS_CONFIG, bootstrap, ConsumerConfig.GROUP_ID_CONFIG, group, ConsumerConfig.GROUP_PROTOCOL_CONFIG, protocol,
            ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest", ConsumerConfig.ENABLE_AUTO_COMMIT_CONFIG, false,
            ConsumerConfig.METADATA_MAX_AGE_CONFIG, 1000, ConsumerConfig.ISOLATION_LEVEL_CONFIG, "read_committed"));
        if (protocol.equals("classic")) {
            config.put(ConsumerConfig.HEARTBEAT_INTERVAL_MS_CONFIG, 500);
        }
        config.putAll(more);
        return new KafkaConsumer<>(config, new StringDeserializer(), new StringDeserializer());
    }

    /** The records from the first offset to the end of the topic as this isolation level has it. */
    private List<ConsumerRecord<String, String>> readAll(String topic, int partitions, String isolation) {
        List<TopicPartition> all = new ArrayList<>();
        for (int i = 0; i < partitions; i++) {
            all.add(new TopicPartition(topic, i));
        }
        List<ConsumerRecord<String, String>> read = new ArrayList<>();
        try (KafkaConsumer<String, String> consumer = consumer(name(), "classic", Map.of(ConsumerConfig.ISOLATION_LEVEL_CONFIG, isolation))) {
            Map<TopicPartition, Long> ends = consumer.endOffsets(all);
            consumer.assign(all);
            consumer.seekToBeginning(all);
            await("the end of " + topic, () -> {
                consumer.poll(POLL.dividedBy(10)).forEach(read::add);
                return all.stream().allMatch(partition -> consumer.position(partition) >= ends.get(partition));
            });
        }
        return read;
    }

    /** Waits until these are the values of the topic's committed records: a commit is acknowledged before its markers are written. */
    private void readsCommitted(List<String> want, String topic) {
        List<String> read = new ArrayList<>();
        await(want + " in " + topic, () -> {
            read.clear();
            readAll(topic, 1, "read_committed").forEach(record -> read.add(record.value()));
            return read.size() >= want.size();
        });
        equal(want, read);
    }

    private void fill(String topic, int from, int to) throws Exception {
        try (KafkaProducer<String, String> producer = producer(Map.of())) {
            List<Future<?>> sent = new ArrayList<>();
            for (int i = from; i < to; i++) {
                sent.add(producer.send(new ProducerRecord<>(topic, "k" + i, "v" + i)));
            }
            for (Future<?> future : sent) {
                future.get();
            }
        }
    }

    private ConsumerGroupDescription describe(String group) {
        return get(admin.describeConsumerGroups(List.of(group)).all()).get(group);
    }

    private Map<TopicPartition, OffsetAndMetadata> offsets(String group) {
        return get(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata());
    }

    private void configureGroup(String group, String key, String value) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.GROUP, group);
        admin.incrementalAlterConfigs(Map.of(resource, List.of(new AlterConfigOp(new ConfigEntry(key, value), AlterConfigOp.OpType.SET)))).all().get();
    }

    private String topic(int partitions) throws Exception {
        String topic = name();
        createTopic(topic, partitions);
        return topic;
    }

    private void createTopic(String topic, int partitions) throws Exception {
        admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all().get();
        await("topic " + topic, () -> get(admin.listTopics().names()).contains(topic));
    }

    /** Has the broker killed or restarted; done once it is there again. */
    private static Future<?> control(String action) {
        HttpRequest request = HttpRequest.newBuilder(URI.create(CONTROL + "/" + action)).POST(HttpRequest.BodyPublishers.noBody()).build();
        return HttpClient.newHttpClient().sendAsync(request, HttpResponse.BodyHandlers.ofString())
            .thenAccept(response -> check(response.statusCode() == 200, response.body()));
    }

    private static String name() {
        return "java-" + UUID.randomUUID();
    }

    private static <T> T get(KafkaFuture<T> future) {
        try {
            return future.get(LIMIT.toSeconds(), TimeUnit.SECONDS);
        } catch (Exception e) {
            throw new AssertionError(e);
        }
    }

    private static void fails(Class<? extends Throwable> want, KafkaFuture<?> future) throws Exception {
        try {
            future.get(LIMIT.toSeconds(), TimeUnit.SECONDS);
        } catch (ExecutionException e) {
            check(want.isInstance(e.getCause()), "want " + want.getSimpleName() + ", got " + e.getCause());
            return;
        }
        throw new AssertionError("want " + want.getSimpleName() + ", got none");
    }

    private static void await(String what, BooleanSupplier condition) {
        long end = System.nanoTime() + LIMIT.toNanos();
        while (!condition.getAsBoolean()) {
            check(System.nanoTime() < end, "did not come: " + what);
            Thread.onSpinWait();
        }
    }

    private static void equal(Object want, Object got) {
        check(want.equals(got), "want " + want + ", got " + got);
    }

    private static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }
}
