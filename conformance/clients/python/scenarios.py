"""Scenarios of the Python clients against one endpoint: scenarios.py HOST:PORT [FILTER].

librdkafka is tested through confluent-kafka. Each scenario is a row of the table in CLIENTS.md, and prints one line, `ok NAME` or `FAIL NAME: cause`;
the exit code is 1 if one failed.
"""

import functools
import os
import re
import subprocess
import sys
import threading
import time
import traceback
import urllib.request
import uuid

import aiokafka
import aiokafka.admin
import aiokafka.admin.config_resource
import confluent_kafka as rd
import kafka
import kafka.admin
import kafka.structs
from confluent_kafka import admin as rdadmin

import clients
from clients import Record

BOOTSTRAP = sys.argv[1]
FILTER = sys.argv[2] if len(sys.argv) > 2 else ""
CONTROL = os.environ.get("BROKER_CONTROL")  # a POST to /kill or /restart ends the broker, and is answered once it is there again
LIMIT = clients.LIMIT
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
SCENARIOS = []


def scenario(row, *variants):
    """Registers a function as a scenario, CLIENT/ROW, or once for each variant of it, which it is called with."""

    def register(function):
        if not variants:
            SCENARIOS.append((row, function))
        for variant in variants:
            SCENARIOS.append((f"{row}/{variant}", lambda variant=variant: function(variant)))
        return function

    return register


def shared(row, variants=lambda client: [], without=()):
    """Registers a function as a scenario of all clients but those, once for each variant of the client; it is called with the client."""

    def register(function):
        for kind in clients.ALL:
            if kind.title not in without:
                scenario(f"{kind.title}/{row}", *variants(kind))(lambda *variant, kind=kind: function(client_of(kind), *variant))
        return function

    return register


@functools.cache
def client_of(kind):
    return kind(BOOTSTRAP)


def codecs(client):
    return client.codecs


def protocols(client):
    return client.protocols


def name():
    return f"python-{uuid.uuid4()}"


def wait(what, condition):
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, f"did not come: {what}"


def equal(want, got):
    assert want == got, f"want {want!r}, got {got!r}"


# librdkafka


def rd_admin():
    return rdadmin.AdminClient({"bootstrap.servers": BOOTSTRAP})


def topic(partitions):
    admin, created = rd_admin(), name()  # a client that is no longer held is closed, and fails what it waits for
    admin.create_topics([rdadmin.NewTopic(created, partitions, 1)])[created].result()
    return created


def rd_producer(**config):
    return rd.Producer({"bootstrap.servers": BOOTSTRAP, "enable.idempotence": True} | {k.replace("_", "."): v for k, v in config.items()})


def rd_consumer(group, protocol="classic", **config):
    base = {
        "bootstrap.servers": BOOTSTRAP,
        "group.id": group,
        "group.protocol": protocol,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
    }
    if protocol == "classic":
        base |= {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
    return rd.Consumer(base | {k.replace("_", "."): v for k, v in config.items()})


def rd_fill(to, start, end):
    producer = rd_producer()
    failed = []
    for i in range(start, end):
        producer.produce(to, key=f"k{i}", value=f"v{i}", on_delivery=lambda err, _: err and failed.append(err))
    producer.flush()
    equal([], failed)


def rd_read(of, partitions, isolation="read_committed"):
    """All records from the first offset to the end of each partition."""
    consumer = rd_consumer(name(), isolation_level=isolation)
    consumer.assign([rd.TopicPartition(of, p, rd.OFFSET_BEGINNING) for p in range(partitions)])
    ended, records = set(), []

    def read():
        message = consumer.poll(0.2)
        if message is None:
            return False
        if message.error():
            equal(rd.KafkaError._PARTITION_EOF, message.error().code())
            ended.add(message.partition())
        else:
            records.append(message)
        return len(ended) == partitions

    wait(f"the end of {of}", read)
    consumer.close()
    return records


def rd_balanced(members, partitions):
    def settled():
        for member in members:
            member.poll(0.02)
        owned = [(p.topic, p.partition) for member in members for p in member.assignment()]
        return len(owned) == len(set(owned)) == partitions and all(len(m.assignment()) == partitions // len(members) for m in members)

    wait(f"{partitions} partitions on {len(members)} members", settled)


@scenario("confluent-kafka/codec", *CODECS)
def librdkafka_carry(codec):
    to = topic(3)
    producer = rd_producer(compression_type=codec, linger_ms=5)
    for i in range(5000):
        producer.produce(to, key=f"k{i}", value=f"value-{i}", headers=[("h", b"\0"), ("n", None)], timestamp=1000 + i)
        producer.poll(0)
    equal(0, producer.flush(LIMIT))
    records = rd_read(to, 3)
    equal({f"value-{i}" for i in range(5000)}, {r.value().decode() for r in records})
    equal(5000, len(records))
    equal([("h", b"\0"), ("n", None)], records[0].headers())
    assert all(r.timestamp()[1] == 1000 + int(r.key()[1:]) for r in records)


@scenario("confluent-kafka/group-join-leave", "classic", "consumer")
def librdkafka_group_rebalance(protocol):
    of, group, members = topic(6), name(), []
    for _ in range(3):
        members.append(rd_consumer(group, protocol))
        members[-1].subscribe([of])
        rd_balanced(members, 6)
    members.pop(0).close()
    rd_balanced(members, 6)
    for member in members:
        member.close()


@scenario("confluent-kafka/group-join-leave/classic-cooperative")
def librdkafka_group_cooperative():
    of, group, members = topic(6), name(), []
    for _ in range(3):
        members.append(rd_consumer(group, partition_assignment_strategy="cooperative-sticky"))
        members[-1].subscribe([of])
        rd_balanced(members, 6)
    members.pop(0).close()
    rd_balanced(members, 6)
    for member in members:
        member.close()


@scenario("confluent-kafka/commit-resume", "classic", "consumer")
def librdkafka_group_commit_resume(protocol):
    of, group, read = topic(2), name(), []
    rd_fill(of, 0, 100)
    for want in (50, 100):
        consumer = rd_consumer(group, protocol, enable_auto_offset_store=False)
        consumer.subscribe([of])

        def more():
            message = consumer.poll(0.2)
            if message is not None and not message.error():
                read.append(message.value())
                consumer.store_offsets(message)
            return len(read) >= want

        wait(f"{want} records", more)
        consumer.commit(asynchronous=False)
        consumer.close()
    equal({f"v{i}".encode() for i in range(100)}, set(read))
    equal(100, len(read))


@scenario("confluent-kafka/group-static", "classic", "consumer")
def librdkafka_group_static(protocol):
    of, group = topic(4), name()
    members = [rd_consumer(group, protocol, group_instance_id=f"i{i}") for i in range(2)]
    for member in members:
        member.subscribe([of])
    rd_balanced(members, 4)
    before = {(p.topic, p.partition) for p in members[0].assignment()}
    members[0].close()
    members[0] = rd_consumer(group, protocol, group_instance_id="i0")
    members[0].subscribe([of])
    rd_balanced(members, 4)
    equal(before, {(p.topic, p.partition) for p in members[0].assignment()})
    for member in members:
        member.close()


@scenario("confluent-kafka/admin-groups")
def librdkafka_group_admin():
    of, group, admin = topic(2), name(), rd_admin()
    rd_fill(of, 0, 10)
    member = rd_consumer(group)
    member.subscribe([of])
    rd_balanced([member], 2)
    description = admin.describe_consumer_groups([group])[group].result()
    equal(rd.ConsumerGroupState.STABLE, description.state)
    equal(2, len(description.members[0].assignment.topic_partitions))
    member.commit(offsets=[rd.TopicPartition(of, 0, 3)], asynchronous=False)
    member.close()
    assert group in {g.group_id for g in admin.list_consumer_groups().result().valid}
    wanted = rd.ConsumerGroupTopicPartitions(group, [rd.TopicPartition(of, 0, 5)])
    admin.alter_consumer_group_offsets([wanted])[group].result()
    offsets = admin.list_consumer_group_offsets([rd.ConsumerGroupTopicPartitions(group)])[group].result()
    equal([5], [p.offset for p in offsets.topic_partitions])
    admin.delete_consumer_groups([group])[group].result()
    assert group not in {g.group_id for g in admin.list_consumer_groups().result().valid}


@scenario("confluent-kafka/transaction-commit-abort")
def librdkafka_transactions():
    to, committed = topic(3), set()
    producer = rd_producer(transactional_id=name())
    producer.init_transactions(LIMIT)
    for i in range(30):
        producer.begin_transaction()
        for j in range(10):
            producer.produce(to, partition=j % 3, value=f"{i}-{j}")
        if i % 3 == 0:
            if i % 2 == 0:
                producer.flush()
            producer.abort_transaction(LIMIT)
            continue
        producer.commit_transaction(LIMIT)
        committed |= {f"{i}-{j}" for j in range(10)}
    records = rd_read(to, 3)
    equal(committed, {r.value().decode() for r in records})
    equal(len(committed), len(records))


@scenario("confluent-kafka/transaction-fence")
def librdkafka_fencing():
    to, transactional_id = topic(1), name()
    zombie = rd_producer(transactional_id=transactional_id)
    zombie.init_transactions(LIMIT)
    zombie.begin_transaction()
    zombie.produce(to, value="zombie")
    zombie.flush()
    alive = rd_producer(transactional_id=transactional_id)
    alive.init_transactions(LIMIT)
    alive.begin_transaction()
    alive.produce(to, value="alive")
    alive.commit_transaction(LIMIT)
    try:
        zombie.commit_transaction(LIMIT)
        raise AssertionError("the zombie committed")
    except rd.KafkaException as e:
        assert e.args[0].fatal(), e
    equal([b"alive"], [r.value() for r in rd_read(to, 1)])


@scenario("confluent-kafka/transaction-offsets", "classic", "consumer")
def librdkafka_consume_transform_produce(protocol):
    source, to, group = topic(2), topic(2), name()
    rd_fill(source, 0, 300)
    for want in (150, 300):  # the second round resumes where the first ended, after an abort
        consumer = rd_consumer(group, protocol, isolation_level="read_committed", enable_partition_eof=False)
        consumer.subscribe([source])
        producer = rd_producer(transactional_id=group)
        producer.init_transactions(LIMIT)

        def transform():
            messages = consumer.consume(25, 0.2)
            if messages:
                producer.begin_transaction()
                for message in messages:
                    assert not message.error(), message.error()
                    producer.produce(to, partition=message.partition(), value=message.value())
                producer.send_offsets_to_transaction(consumer.position(consumer.assignment()), consumer.consumer_group_metadata())
                producer.commit_transaction(LIMIT)
            # Looked at after an empty poll too: a commit is answered before its markers are readable.
            return len(rd_read(to, 2)) >= want

        wait(f"{want} records", transform)
        if want == 150:
            producer.begin_transaction()
            producer.produce(to, value="aborted")
            producer.send_offsets_to_transaction([rd.TopicPartition(source, 0, 1000)], consumer.consumer_group_metadata())
            producer.abort_transaction(LIMIT)
        consumer.close()
    values = [r.value().decode() for r in rd_read(to, 2)]
    equal(sorted(f"v{i}" for i in range(300)), sorted(values))


# All clients


def records(start, end):
    return [Record(f"v{i}".encode()) for i in range(start, end)]


def values(start, end):
    return [f"v{i}".encode() for i in range(start, end)]


def read(member, count):
    """The values of at least that many records, in the order they came."""
    got = []

    def more():
        got.extend(record.value for record in member.poll())
        return len(got) >= count

    wait(f"{count} records", more)
    return got


def read_fresh(client, of, count):
    member = client.member(name(), of)
    got = read(member, count)
    member.close()
    return got


def fill(client, to, all_records, codec="none"):
    producer = client.producer(codec=codec)
    producer.send(to, all_records)
    producer.close()


def owns(members, counts):
    def settled():
        for member in members:
            member.poll()
        return [len(member.assignment()) for member in members] == counts

    wait(f"{counts} partitions", settled)


def control(action):
    request = urllib.request.Request(f"{CONTROL}/{action}", method="POST")
    with urllib.request.urlopen(request, timeout=300) as response:
        equal(200, response.status)


@shared("codec", codecs, without=["confluent-kafka"])
def codec(client, codec):
    of = topic(1)
    fill(client, of, records(0, 1000), codec)
    equal(values(0, 1000), read_fresh(client, of, 1000))


@shared("record-fields")
def record_fields(client):
    of = topic(1)
    fill(client, of, [Record(b"v", b"k", [("h", b"1"), ("h", b"2")], 1234567890123), Record(None, b"tombstone", [], 5)])
    member, got = client.member(name(), of), []

    def more():
        got.extend(member.poll())
        return len(got) == 2

    wait("two records", more)
    member.close()
    full, tombstone = got
    equal((b"v", b"k", [("h", b"1"), ("h", b"2")], 1234567890123), (full.value, full.key, list(full.headers), full.timestamp))
    equal((None, b"tombstone", 5), (tombstone.value, tombstone.key, tombstone.timestamp))


@shared("group-join-leave", protocols, without=["confluent-kafka"])
def group_join_leave(client, protocol):
    of, group = topic(4), name()
    first = client.member(group, of, protocol)
    owns([first], [4])
    second = client.member(group, of, protocol)
    owns([first, second], [2, 2])
    second.close()
    owns([first], [4])
    first.close()


@shared("group-member-dies", protocols)
def group_member_dies(client, protocol):
    of, group = topic(4), name()
    member = client.member(group, of, protocol)
    owns([member], [4])
    dies = subprocess.Popen([sys.executable, __file__, BOOTSTRAP, "--member", client.title, group, of, protocol])
    owns([member], [2])
    dies.kill()
    dies.wait()
    owns([member], [4])
    member.close()


@shared("commit-resume", protocols, without=["confluent-kafka"])
def commit_resume(client, protocol):
    of, group = topic(1), name()
    for start in (0, 100):
        fill(client, of, records(start, start + 100))
        member = client.member(group, of, protocol)
        equal(values(start, start + 100), read(member, 100))
        member.commit()
        member.close()


@shared("offsets-reset")
def offsets_reset(client):
    of, group = topic(1), name()
    fill(client, of, records(0, 10))
    wanted = rd.ConsumerGroupTopicPartitions(group, [rd.TopicPartition(of, 0, 4)])
    admin = rd_admin()
    admin.alter_consumer_group_offsets([wanted])[group].result()
    member = client.member(group, of)
    equal(values(4, 10), read(member, 6))
    member.close()
    member, producer, got = client.member(name(), of, latest=True), client.producer(), []

    def new():
        producer.send(of, [Record(b"new")])
        got.extend(record.value for record in member.poll())
        return got

    wait("a new record", new)
    equal({b"new"}, set(got))
    member.close()
    producer.close()


@shared("idempotence-broker-kill")
def idempotence_broker_kill(client):
    of, producer, kills = topic(1), client.producer(), []
    for i in range(0, 400, 10):
        if i in (100, 250):
            kills.append(threading.Thread(target=control, args=["kill"]))
            kills[-1].start()
        producer.send(of, records(i, i + 10))
    for kill in kills:
        kill.join()
    producer.close()
    equal(values(0, 400), read_fresh(client, of, 400))


@shared("transaction-commit-abort", without=["confluent-kafka"])
def transaction_commit_abort(client):
    of, producer = topic(1), client.producer(name())
    for i in range(9):
        producer.begin()
        producer.send(of, records(i, i + 1))
        producer.abort() if i % 3 == 1 else producer.commit()
    producer.close()
    equal([f"v{i}".encode() for i in range(9) if i % 3 != 1], read_fresh(client, of, 6))


@shared("transaction-fence", without=["confluent-kafka"])
def transaction_fence(client):
    of, transactional_id = topic(1), name()
    zombie = client.producer(transactional_id)
    zombie.begin()
    zombie.send(of, [Record(b"zombie")])
    producer = client.producer(transactional_id)
    producer.begin()
    producer.send(of, [Record(b"alive")])
    producer.commit()
    try:
        zombie.send(of, [Record(b"zombie again")])
        zombie.commit()
    except Exception as e:
        assert re.search("Fenced|Epoch", repr(e)), repr(e)
    else:
        raise AssertionError("the zombie committed")
    producer.close()
    equal([b"alive"], read_fresh(client, of, 1))


@shared("transaction-offsets", protocols, without=["confluent-kafka"])
def transaction_offsets(client, protocol):
    source, to, group = topic(1), topic(1), name()
    producer = client.producer(name())
    for start in (0, 10, 20):
        fill(client, source, records(start, start + 10))
        member = client.member(group, source, protocol)
        equal(values(start, start + 10), read(member, 10))
        for end in (producer.abort, producer.commit):
            producer.begin()
            producer.send(to, records(start, start + 10))
            producer.offsets(member, source, 0, start + 10 if end == producer.commit else 1000)
            end()
        member.close()
    producer.close()
    equal(values(0, 30), read_fresh(client, to, 30))


@shared("transaction-broker-kill")
def transaction_broker_kill(client):
    of, producer = topic(1), client.producer(name())
    producer.begin()
    producer.send(of, [Record(b"before")])
    control("kill")
    producer.send(of, [Record(b"after")])
    producer.commit()
    producer.close()
    equal([b"before", b"after"], read_fresh(client, of, 2))


@shared("broker-restart", protocols)
def broker_restart(client, protocol):
    of, group, producer = topic(1), name(), client.producer()
    producer.send(of, records(0, 100))
    member = client.member(group, of, protocol)
    got = read(member, 100)
    member.commit()
    control("restart")
    producer.send(of, records(100, 200))
    wait("all records", lambda: got.extend(r.value for r in member.poll()) or len(set(got)) == 200)
    member.commit()
    member.close()
    producer.close()
    member = client.member(group, of, protocol)
    fill(client, of, records(200, 210))
    equal(values(200, 210), read(member, 10))
    member.close()


@scenario("confluent-kafka/broker-rolling-restart")
def librdkafka_rolling_restart():
    """Applications with the client's defaults see no error while all brokers are restarted, one after the other."""
    of, errors, read, sent = topic(6), [], set(), 0
    defaults = {"bootstrap.servers": BOOTSTRAP}
    producers = [rd.Producer(defaults), rd.Producer(defaults | {"enable.idempotence": True})]
    consumer = rd.Consumer(defaults | {"group.id": name(), "auto.offset.reset": "earliest"})
    consumer.subscribe([of])

    def poll():
        message = consumer.poll(0.01)
        if message is not None:
            errors.append(message.error()) if message.error() else read.add(message.value())

    rd_fill(of, 0, 100)
    wait("the group reads", lambda: poll() or len(read) == 100)
    restarts = threading.Thread(target=control, args=["restart"])
    restarts.start()
    while restarts.is_alive():
        for producer in producers:
            producer.produce(of, key=f"k{sent}", value=f"n{sent}", on_delivery=lambda err, _: err and errors.append(err))
            producer.poll(0)
            sent += 1
        poll()
    restarts.join()
    for producer in producers:
        equal(0, producer.flush(LIMIT))
    wait("all records", lambda: poll() or len(read) == 100 + sent)
    consumer.close()
    equal([], errors)


@scenario("confluent-kafka/admin-topics")
def librdkafka_admin_topics():
    of, admin = topic(1), rd_admin()
    rd_fill(of, 0, 10)
    admin.create_partitions([rdadmin.NewPartitions(of, 3)])[of].result()
    wait("three partitions", lambda: len(admin.list_topics(of).topics[of].partitions) == 3)
    resource = rdadmin.ConfigResource(rdadmin.ResourceType.TOPIC, of)
    entry = rdadmin.ConfigEntry("retention.ms", "3600000", incremental_operation=rdadmin.AlterConfigOpType.SET)
    altered = rdadmin.ConfigResource(rdadmin.ResourceType.TOPIC, of, incremental_configs=[entry])
    admin.incremental_alter_configs([altered])[altered].result()
    wait("the configuration", lambda: admin.describe_configs([resource])[resource].result()["retention.ms"].value == "3600000")
    first = rd.TopicPartition(of, 0)
    admin.delete_records([rd.TopicPartition(of, 0, 5)])[first].result()
    equal(5, admin.list_offsets({first: rdadmin.OffsetSpec.earliest()})[first].result().offset)
    admin.delete_topics([of])[of].result()
    wait("the topic is gone", lambda: of not in admin.list_topics().topics)


@scenario("kafka-python/admin-topics")
def kafka_python_admin_topics():
    admin, of = kafka.admin.KafkaAdminClient(bootstrap_servers=BOOTSTRAP), name()
    first = kafka.TopicPartition(of, 0)
    admin.create_topics({of: {"num_partitions": 1, "replication_factor": 1}})
    wait("the topic", lambda: of in admin.list_topics())
    fill(client_of(clients.KafkaPython), of, records(0, 10))
    admin.create_partitions({of: 3})
    wait("three partitions", lambda: len(admin.describe_topics([of])[0]["partitions"]) == 3)
    resource = kafka.admin.ConfigResource(kafka.admin.ConfigResourceType.TOPIC, of, {"retention.ms": "3600000"})
    admin.alter_configs([resource])
    wait("the configuration", lambda: "3600000" in str(admin.describe_configs([resource])))
    admin.delete_records({first: 5})
    equal(5, admin.list_partition_offsets({first: kafka.admin.OffsetSpec.EARLIEST})[first].offset)
    admin.delete_topics([of])
    wait("the topic is gone", lambda: of not in admin.list_topics())
    admin.close()


@scenario("kafka-python/admin-groups")
def kafka_python_admin_groups():
    admin, client, of, group = kafka.admin.KafkaAdminClient(bootstrap_servers=BOOTSTRAP), client_of(clients.KafkaPython), topic(1), name()
    first = kafka.TopicPartition(of, 0)
    fill(client, of, records(0, 10))
    member = client.member(group, of)
    owns([member], [1])
    equal(1, len(admin.describe_groups([group])[group]["members"]))
    member.close()
    admin.alter_group_offsets(group, {first: kafka.structs.OffsetAndMetadata(4, "", -1)})
    equal(4, admin.list_group_offsets([group])[group][first].offset)
    assert any(group in str(g) for g in admin.list_groups())
    admin.delete_groups([group])
    assert not any(group in str(g) for g in admin.list_groups())
    admin.close()


@scenario("aiokafka/admin-topics")
def aiokafka_admin_topics():
    client, of = client_of(clients.Aiokafka), name()
    fields = {"bootstrap_servers": BOOTSTRAP}

    async def start():
        admin = aiokafka.admin.AIOKafkaAdminClient(**fields)
        await admin.start()
        return admin

    admin = client.wait(start())
    client.wait(admin.create_topics([aiokafka.admin.NewTopic(of, 1, 1)]))
    wait("the topic", lambda: of in client.wait(admin.list_topics()))
    fill(client, of, records(0, 10))
    client.wait(admin.create_partitions({of: aiokafka.admin.NewPartitions(3)}))
    wait("three partitions", lambda: len(client.wait(admin.describe_topics([of]))[0]["partitions"]) == 3)
    resource = aiokafka.admin.config_resource.ConfigResource(aiokafka.admin.config_resource.ConfigResourceType.TOPIC, of, {"retention.ms": "3600000"})
    client.wait(admin.alter_configs([resource]))
    wait("the configuration", lambda: "3600000" in str(client.wait(admin.describe_configs([resource]))))
    client.wait(admin.delete_topics([of]))
    wait("the topic is gone", lambda: of not in client.wait(admin.list_topics()))
    client.wait(admin.close())


@scenario("aiokafka/admin-groups")
def aiokafka_admin_groups():
    client, of, group = client_of(clients.Aiokafka), topic(1), name()
    fill(client, of, records(0, 10))
    member = client.member(group, of)
    equal(values(0, 10), read(member, 10))
    member.commit()

    async def ask():
        admin = aiokafka.admin.AIOKafkaAdminClient(bootstrap_servers=BOOTSTRAP)
        await admin.start()
        offsets = await admin.list_consumer_group_offsets(group)
        listed = await admin.list_consumer_groups()
        described = await admin.describe_consumer_groups([group])
        await admin.close()
        return offsets[aiokafka.TopicPartition(of, 0)].offset, group in [g[0] for g in listed], group in str(described)

    equal((10, True, True), client.wait(ask()))
    member.close()


def stay(title, group, of, protocol):
    """Is a member of the group until it is killed."""
    member = {kind.title: kind for kind in clients.ALL}[title](BOOTSTRAP).member(group, of, protocol)
    while True:
        member.poll()


def main():
    if FILTER == "--member":
        stay(*sys.argv[3:])
    failed = 0
    for title, function in SCENARIOS:
        if not re.search(FILTER, title) or ("/broker-" in title or "-broker-" in title) and not CONTROL:
            continue
        start = time.monotonic()
        try:
            function()
            print(f"ok {title} ({(time.monotonic() - start) * 1000:.0f} ms)", flush=True)
        except Exception as e:
            failed += 1
            print(f"FAIL {title}: {e!r}", flush=True)
            traceback.print_exc(file=sys.stdout)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
