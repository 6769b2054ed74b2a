"""The common script with aiokafka. Arguments: HOST:PORT PREFIX."""

import asyncio
import logging
import sys
import threading

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import BrokerResponseError, for_code

from script import Record, Script, Unsupported

loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()


def wait(coroutine):
    return asyncio.run_coroutine_threadsafe(coroutine, loop).result(55)


def record(m):
    return Record(m.partition, m.offset, m.timestamp, m.key, m.value, list(m.headers))


class Member:
    def __init__(self, addr, group, topic, instance=None, pattern=False):
        self.topic = topic

        async def start():
            self.c = AIOKafkaConsumer(bootstrap_servers=addr, group_id=group, auto_offset_reset="earliest", group_instance_id=instance,
                                      enable_auto_commit=False, heartbeat_interval_ms=200, fetch_max_wait_ms=100, metadata_max_age_ms=500)
            if pattern:
                self.c.subscribe(pattern=topic)
            else:
                self.c.subscribe([topic])
            await self.c.start()

        wait(start())

    def poll(self):
        return [record(m) for ms in wait(self.c.getmany(timeout_ms=100)).values() for m in ms]

    def commit(self, places):
        wait(self.c.commit({TopicPartition(self.topic, p): o for p, o in places.items()}))

    def assigned(self):
        return len(self.c.assignment())

    def partitions(self):
        return sorted(tp.partition for tp in self.c.assignment())

    def close(self):
        wait(self.c.stop())


def raise_code(code, text=""):
    if code:
        raise for_code(code)(text)


class Client:
    features = ["static", "regex"]

    def __init__(self, addr):
        self.addr = addr

        async def start():
            self.admin = AIOKafkaAdminClient(bootstrap_servers=addr)
            await self.admin.start()

        wait(start())

    def create_topic(self, topic, partitions, replicas, config):
        r = wait(self.admin.create_topics([NewTopic(topic, partitions, replicas, topic_configs=config)]))
        raise_code(r.topic_errors[0][1], topic)

    def partitions(self, topic):
        t = wait(self.admin.describe_topics([topic]))[0]
        raise_code(t["error_code"], topic)
        return len(t["partitions"])

    def config(self, topic, key):
        r = wait(self.admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)]))
        for entry in r[0].resources[0][4]:
            if entry[0] == key:
                return entry[1]

    def alter(self, topic, key, value):
        r = wait(self.admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs={key: value})]))
        raise_code(r[0].resources[0][0], topic)

    def grow(self, topic, n):
        r = wait(self.admin.create_partitions({topic: NewPartitions(n)}))
        raise_code(r.topic_errors[0][1], topic)

    def trim(self, topic, partition, before):
        wait(self.admin.delete_records({TopicPartition(topic, partition): RecordsToDelete(before_offset=before)}))

    def with_consumer(self, use):
        async def run():
            c = AIOKafkaConsumer(bootstrap_servers=self.addr, enable_auto_commit=False, fetch_max_wait_ms=100)
            await c.start()
            try:
                return await use(c)
            finally:
                await c.stop()

        return wait(run())

    def offsets(self, topic, partition):
        async def use(c):
            tp = TopicPartition(topic, partition)
            return (await c.beginning_offsets([tp]))[tp], (await c.end_offsets([tp]))[tp]

        return self.with_consumer(use)

    def offset_at(self, topic, partition, ms):
        async def use(c):
            tp = TopicPartition(topic, partition)
            return (await c.offsets_for_times({tp: ms}))[tp].offset

        return self.with_consumer(use)

    def delete_topic(self, topic):
        r = wait(self.admin.delete_topics([topic]))
        raise_code(r.topic_error_codes[0][1], topic)

    def groups(self):
        return [g[0] for g in wait(self.admin.list_consumer_groups())]

    def committed(self, group, topic):
        r = wait(self.admin.list_consumer_group_offsets(group))
        return {tp.partition: o.offset for tp, o in r.items() if tp.topic == topic}

    def delete_group(self, group):
        raise Unsupported()

    def code(self, e):
        return getattr(e, "errno", None)

    def produce(self, topic, partition, records, codec="none", acks=-1, idempotent=False):
        async def run():
            p = AIOKafkaProducer(bootstrap_servers=self.addr, compression_type=None if codec == "none" else codec,
                                 acks="all" if acks < 0 else acks, enable_idempotence=idempotent, max_request_size=8_000_000,
                                 linger_ms=5, max_batch_size=4000 if idempotent else 16384)
            await p.start()
            try:
                fs = [await p.send(topic, value=r.value, key=r.key, partition=partition, timestamp_ms=r.time, headers=r.headers)
                      for r in records]
                for f in fs:
                    await f
            finally:
                await p.stop()

        wait(run())

    def consume(self, topic, partition, start, n):
        async def use(c):
            tp, out = TopicPartition(topic, partition), []
            c.assign([tp])
            c.seek(tp, start)
            while len(out) < n:
                out.append(record(await c.getone()))
            return out

        return self.with_consumer(use)

    def join(self, group, topic, **how):
        return Member(self.addr, group, topic, **how)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    Script(Client(sys.argv[1]), sys.argv[2]).main()
