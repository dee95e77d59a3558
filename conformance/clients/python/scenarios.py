"""Scenarios of the Python clients against one endpoint: scenarios.py HOST:PORT [FILTER].

librdkafka is tested through confluent-kafka. Each scenario prints one line, `ok NAME` or `FAIL NAME: cause`;
the exit code is 1 if one failed.
"""

import asyncio
import re
import sys
import time
import traceback
import uuid

import aiokafka
import confluent_kafka as rd
import kafka
import kafka.admin
from confluent_kafka import admin as rdadmin

BOOTSTRAP = sys.argv[1]
FILTER = sys.argv[2] if len(sys.argv) > 2 else ""
LIMIT = 60
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
SCENARIOS = []


def scenario(*arguments):
    """Registers a function as a scenario, once for each of the arguments."""

    def register(function):
        name = function.__name__.replace("_", "-")
        if not arguments:
            SCENARIOS.append((name, function))
        for argument in arguments:
            SCENARIOS.append((f"{name}-{argument}", lambda argument=argument: function(argument)))
        return function

    return register


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


@scenario(*CODECS)
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


@scenario("classic", "consumer")
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


@scenario()
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


@scenario("classic", "consumer")
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


@scenario("classic", "consumer")
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


@scenario()
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


@scenario()
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


@scenario()
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


@scenario("classic", "consumer")
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
            if not messages:
                return False
            producer.begin_transaction()
            for message in messages:
                assert not message.error(), message.error()
                producer.produce(to, partition=message.partition(), value=message.value())
            producer.send_offsets_to_transaction(consumer.position(consumer.assignment()), consumer.consumer_group_metadata())
            producer.commit_transaction(LIMIT)
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


# kafka-python


@scenario()
def kafka_python_carry():
    to = topic(2)
    producer = kafka.KafkaProducer(bootstrap_servers=BOOTSTRAP, acks="all", compression_type="gzip")
    sent = [producer.send(to, key=f"k{i}".encode(), value=f"v{i}".encode(), headers=[("h", b"x")]) for i in range(1000)]
    for future in sent:
        future.get(LIMIT)
    producer.close()
    equal({f"v{i}".encode() for i in range(1000)}, {r.value() for r in rd_read(to, 2)})


@scenario()
def kafka_python_group():
    of, group, read = topic(2), name(), []
    rd_fill(of, 0, 100)
    for want in (50, 100):
        consumer = kafka.KafkaConsumer(
            of, bootstrap_servers=BOOTSTRAP, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False, max_poll_records=10
        )

        def more():
            for records in consumer.poll(timeout_ms=200).values():
                read.extend(record.value for record in records)
            return len(read) >= want

        wait(f"{want} records", more)
        consumer.commit()
        consumer.close()
    equal(sorted(f"v{i}".encode() for i in range(100)), sorted(read))


@scenario()
def kafka_python_transactions():
    to = topic(1)
    producer = kafka.KafkaProducer(bootstrap_servers=BOOTSTRAP, transactional_id=name())
    producer.init_transactions()
    for value, end in ((b"committed", producer.commit_transaction), (b"aborted", producer.abort_transaction), (b"again", producer.commit_transaction)):
        producer.begin_transaction()
        producer.send(to, value).get(LIMIT)
        end()
    producer.close()
    equal([b"committed", b"again"], [r.value() for r in rd_read(to, 1)])


@scenario()
def kafka_python_admin():
    admin, created = kafka.admin.KafkaAdminClient(bootstrap_servers=BOOTSTRAP), name()
    admin.create_topics([kafka.admin.NewTopic(created, 2, 1)])
    wait("the topic", lambda: created in admin.list_topics())
    admin.delete_topics([created])
    wait("the topic is gone", lambda: created not in admin.list_topics())
    admin.close()


# aiokafka


@scenario()
def aiokafka_group():
    of, group = topic(2), name()

    async def run():
        async with aiokafka.AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, enable_idempotence=True) as producer:
            for i in range(100):
                await producer.send_and_wait(of, f"v{i}".encode())
        read = []
        for want in (50, 100):
            consumer = aiokafka.AIOKafkaConsumer(
                of, bootstrap_servers=BOOTSTRAP, group_id=group, auto_offset_reset="earliest", enable_auto_commit=False, max_poll_records=10
            )
            async with consumer:
                while len(read) < want:
                    for records in (await consumer.getmany(timeout_ms=200)).values():
                        read.extend(record.value for record in records)
                await consumer.commit()
        equal(sorted(f"v{i}".encode() for i in range(100)), sorted(read))

    asyncio.run(asyncio.wait_for(run(), LIMIT))


@scenario()
def aiokafka_transactions():
    to = topic(1)

    async def run():
        async with aiokafka.AIOKafkaProducer(bootstrap_servers=BOOTSTRAP, transactional_id=name()) as producer:
            async with producer.transaction():
                await producer.send_and_wait(to, b"committed")
            await producer.begin_transaction()
            await producer.send_and_wait(to, b"aborted")
            await producer.abort_transaction()

    asyncio.run(asyncio.wait_for(run(), LIMIT))
    equal([b"committed"], [r.value() for r in rd_read(to, 1)])


def main():
    failed = 0
    for title, function in SCENARIOS:
        if not re.search(FILTER, title):
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
