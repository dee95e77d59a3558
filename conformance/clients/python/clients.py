"""The clients behind the calls that the shared scenarios make.

A producer has send(topic, records), which returns once they are acknowledged, begin, offsets, commit, abort and close. A member of a
group has poll, which returns records, commit, assignment, a set of partitions, and close.
"""

import asyncio
import queue
import threading
import time
from collections import namedtuple

import aiokafka
import confluent_kafka as rd
import kafka
import kafka.structs

Record = namedtuple("Record", "value key headers timestamp partition offset", defaults=(None, None, (), None, 0, None))

LIMIT = 60
ISOLATION = "read_committed"


class Librdkafka:
    title, codecs, protocols = "confluent-kafka", [], ["classic", "consumer"]  # codecs: see librdkafka_codec

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap

    def producer(self, transactional_id=None, codec="none"):
        config = {"bootstrap.servers": self.bootstrap, "enable.idempotence": True, "compression.type": codec, "message.timeout.ms": LIMIT * 1000}
        return LibrdkafkaProducer(rd.Producer(config | ({"transactional.id": transactional_id} if transactional_id else {})), transactional_id)

    def member(self, group, topic, protocol="classic", latest=False):
        config = {
            "bootstrap.servers": self.bootstrap,
            "group.id": group,
            "group.protocol": protocol,
            "auto.offset.reset": "latest" if latest else "earliest",
            "enable.auto.commit": False,
            "isolation.level": ISOLATION,
        }
        if protocol == "classic":
            config |= {"session.timeout.ms": 6000, "heartbeat.interval.ms": 500}
        return LibrdkafkaMember(rd.Consumer(config), topic)


class LibrdkafkaProducer:
    def __init__(self, producer, transactional_id):
        self.producer = producer
        if transactional_id:
            producer.init_transactions(LIMIT)
        self.begin, self.commit, self.abort = producer.begin_transaction, producer.commit_transaction, producer.abort_transaction

    def send(self, topic, records):
        failed = []
        for r in records:
            self.producer.produce(
                topic, r.value, r.key, r.partition, headers=list(r.headers), timestamp=r.timestamp or 0, on_delivery=lambda e, _: e and failed.append(e)
            )
        assert self.producer.flush(LIMIT) == 0 and not failed, failed

    def offsets(self, member, topic, partition, offset):
        self.producer.send_offsets_to_transaction([rd.TopicPartition(topic, partition, offset)], member.consumer.consumer_group_metadata())

    def close(self):
        self.producer = None


class LibrdkafkaMember:
    def __init__(self, consumer, topic):
        self.consumer = consumer
        consumer.subscribe([topic])
        self.close = consumer.close

    def poll(self):
        messages = [m for m in self.consumer.consume(100, 0.1) if not m.error() or m.error().retriable() is None]
        return [Record(m.value(), m.key(), m.headers() or [], m.timestamp()[1], m.partition(), m.offset()) for m in messages]

    def commit(self):
        self.consumer.commit(asynchronous=False)

    def assignment(self):
        return {p.partition for p in self.consumer.assignment()}


class KafkaPython:
    title, codecs, protocols = "kafka-python", ["none", "gzip", "snappy", "lz4", "zstd"], ["classic"]

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap

    def producer(self, transactional_id=None, codec="none"):
        return KafkaPythonProducer(
            kafka.KafkaProducer(
                bootstrap_servers=self.bootstrap,
                acks="all",
                compression_type=None if codec == "none" else codec,
                transactional_id=transactional_id,
                delivery_timeout_ms=LIMIT * 1000,
            ),
            transactional_id,
        )

    def member(self, group, topic, protocol="classic", latest=False):
        return KafkaPythonMember(
            kafka.KafkaConsumer(
                topic,
                bootstrap_servers=self.bootstrap,
                group_id=group,
                auto_offset_reset="latest" if latest else "earliest",
                enable_auto_commit=False,
                isolation_level=ISOLATION,
                session_timeout_ms=6000,
                heartbeat_interval_ms=500,
                metadata_max_age_ms=1000,
            ),
            topic,
        )


class KafkaPythonProducer:
    def __init__(self, producer, transactional_id):
        self.producer = producer
        if transactional_id:
            producer.init_transactions()
        self.begin, self.commit, self.abort, self.close = (
            producer.begin_transaction,
            producer.commit_transaction,
            producer.abort_transaction,
            producer.close,
        )

    def send(self, topic, records):
        sent = [self.producer.send(topic, r.value, r.key, list(r.headers), r.partition, r.timestamp) for r in records]
        for future in sent:
            future.get(LIMIT)

    def offsets(self, member, topic, partition, offset):
        self.producer.send_offsets_to_transaction(
            {kafka.TopicPartition(topic, partition): kafka.structs.OffsetAndMetadata(offset, "", -1)}, member.consumer.group_metadata()
        )


class KafkaPythonMember:
    """Polled by a thread of its own: a poll that times out in the middle of a rebalance loses what it was assigned."""

    def __init__(self, consumer, topic):
        self.consumer, self.topic = consumer, topic
        self.polled, self.lock, self.closed = queue.Queue(), threading.Lock(), False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.closed:
            with self.lock:
                for records in self.consumer.poll(timeout_ms=2000).values():
                    for r in records:
                        self.polled.put(Record(r.value, r.key, r.headers, r.timestamp, r.partition, r.offset))
            time.sleep(0.01)  # for those who wait for the lock

    def poll(self):
        try:
            got = [self.polled.get(timeout=0.1)]
        except queue.Empty:
            return []
        while not self.polled.empty():
            got.append(self.polled.get())
        return got

    def commit(self):
        with self.lock:
            self.consumer.commit()

    def close(self):
        self.closed = True
        self.thread.join()
        self.consumer.close()

    def assignment(self):
        return {p.partition for p in self.consumer.assignment()}


class Aiokafka:
    title, codecs, protocols = "aiokafka", ["none", "gzip", "snappy", "lz4", "zstd"], ["classic"]

    def __init__(self, bootstrap):
        self.bootstrap = bootstrap
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()

    def wait(self, coroutine):
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(coroutine, LIMIT), self.loop).result()

    def producer(self, transactional_id=None, codec="none"):
        async def start():
            producer = aiokafka.AIOKafkaProducer(
                bootstrap_servers=self.bootstrap,
                enable_idempotence=True,
                compression_type=None if codec == "none" else codec,
                transactional_id=transactional_id,
                request_timeout_ms=LIMIT * 1000,
            )
            await producer.start()
            return producer

        return AiokafkaProducer(self, self.wait(start()))

    def member(self, group, topic, protocol="classic", latest=False):
        async def start():
            consumer = aiokafka.AIOKafkaConsumer(
                topic,
                bootstrap_servers=self.bootstrap,
                group_id=group,
                auto_offset_reset="latest" if latest else "earliest",
                enable_auto_commit=False,
                isolation_level=ISOLATION,
                session_timeout_ms=6000,
                heartbeat_interval_ms=500,
                metadata_max_age_ms=1000,
            )
            await consumer.start()
            return consumer

        return AiokafkaMember(self, self.wait(start()), topic)


class AiokafkaProducer:
    def __init__(self, client, producer):
        self.wait, self.producer = client.wait, producer
        self.begin = lambda: self.wait(producer.begin_transaction())
        self.commit = lambda: self.wait(producer.commit_transaction())
        self.abort = lambda: self.wait(producer.abort_transaction())
        self.close = lambda: self.wait(producer.stop())

    def send(self, topic, records):
        async def send():
            for sent in [await self.producer.send(topic, r.value, r.key, r.partition, r.timestamp, list(r.headers)) for r in records]:
                await sent

        self.wait(send())

    def offsets(self, member, topic, partition, offset):
        self.wait(self.producer.send_offsets_to_transaction({aiokafka.TopicPartition(topic, partition): offset}, member.group))


class AiokafkaMember:
    def __init__(self, client, consumer, topic):
        self.wait, self.consumer, self.group = client.wait, consumer, consumer._group_id
        self.commit = lambda: self.wait(consumer.commit())
        self.close = lambda: self.wait(consumer.stop())

    def poll(self):
        polled = self.wait(self.consumer.getmany(timeout_ms=100))
        return [Record(r.value, r.key, r.headers, r.timestamp, r.partition, r.offset) for records in polled.values() for r in records]

    def assignment(self):
        return {p.partition for p in self.consumer.assignment()}


ALL = [Librdkafka, KafkaPython, Aiokafka]
