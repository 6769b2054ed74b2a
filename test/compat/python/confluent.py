"""The common script with confluent-kafka, which is librdkafka. Arguments: HOST:PORT PREFIX."""

import sys
import time

from confluent_kafka import (OFFSET_BEGINNING, AcknowledgeType, Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException,
                             Producer, ShareConsumer, TopicPartition)
from confluent_kafka.admin import (AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewPartitions, NewTopic,
                                   ResourceType)

from script import Record, Script


def record(m):
    return Record(m.partition(), m.offset(), m.timestamp()[1], m.key(), m.value(), m.headers() or [])


class Member:
    def __init__(self, addr, group, topic, cooperative=False, instance=None, pattern=False, new=False):
        self.topic, self.revoked = topic, 0
        config = {"bootstrap.servers": addr, "group.id": group, "auto.offset.reset": "earliest", "enable.auto.commit": False,
                  "fetch.wait.max.ms": 100, "topic.metadata.refresh.interval.ms": 500}
        if new:
            config["group.protocol"] = "consumer"
        else:
            config["heartbeat.interval.ms"] = 200
        if cooperative:
            config["partition.assignment.strategy"] = "cooperative-sticky"
        if instance:
            config["group.instance.id"] = instance
        self.c = Consumer(config)
        if cooperative:
            self.c.subscribe([topic], on_revoke=self.taken)
        else:
            self.c.subscribe([topic])

    def taken(self, c, partitions):
        self.revoked += len(partitions)

    def partitions(self):
        return sorted(p.partition for p in self.c.assignment())

    def poll(self):
        ms = self.c.consume(100, 0.1)
        for m in ms:
            if m.error():
                raise KafkaException(m.error())
        return [record(m) for m in ms]

    def commit(self, places):
        self.c.commit(offsets=[TopicPartition(self.topic, p, o) for p, o in places.items()], asynchronous=False)

    def assigned(self):
        return len(self.c.assignment())

    def close(self):
        self.c.close()


class QueueMember:
    def __init__(self, addr, group, topic):
        self.c = ShareConsumer({"bootstrap.servers": addr, "group.id": group, "share.acknowledgement.mode": "explicit"})
        self.c.subscribe([topic])

    def poll(self):
        ms = list(self.c.poll(0.2))
        for m in ms:
            if m.error():
                raise KafkaException(m.error())
        self.taken = {(m.partition(), m.offset()): m for m in ms}
        return [record(m) for m in ms]

    def acknowledge(self, r, how):
        self.c.acknowledge(self.taken[r.partition, r.offset], how)

    def accept(self, r):
        self.acknowledge(r, AcknowledgeType.ACCEPT)

    def release(self, r):
        self.acknowledge(r, AcknowledgeType.RELEASE)

    def reject(self, r):
        self.acknowledge(r, AcknowledgeType.REJECT)

    def close(self):
        self.c.close()


class Client:
    features = ["coop", "static", "regex", "new-group", "new-commit", "new-resume", "new-share", "new-groups", "new-static", "new-regex",
                "queue", "release"]

    def __init__(self, addr):
        self.addr, self.admin = addr, AdminClient({"bootstrap.servers": addr})

    def one(self, futures):
        for f in futures.values():
            return f.result()

    def create_topic(self, topic, partitions, replicas, config):
        self.one(self.admin.create_topics([NewTopic(topic, partitions, replicas, config=config)]))

    def partitions(self, topic):
        t = self.admin.list_topics(topic, timeout=10).topics[topic]
        if t.error:
            raise KafkaException(t.error)
        return len(t.partitions)

    def config(self, topic, key):
        return self.one(self.admin.describe_configs([ConfigResource(ResourceType.TOPIC, topic)]))[key].value

    def alter(self, topic, key, value):
        entry = ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET)
        self.one(self.admin.incremental_alter_configs([ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])]))

    def grow(self, topic, n):
        self.one(self.admin.create_partitions([NewPartitions(topic, n)]))

    def trim(self, topic, partition, before):
        self.one(self.admin.delete_records([TopicPartition(topic, partition, before)]))

    def consumer(self):
        return Consumer({"bootstrap.servers": self.addr, "group.id": "none", "enable.auto.commit": False, "fetch.wait.max.ms": 100})

    def offsets(self, topic, partition):
        c = self.consumer()
        try:
            return c.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
        finally:
            c.close()

    def offset_at(self, topic, partition, ms):
        c = self.consumer()
        try:
            return c.offsets_for_times([TopicPartition(topic, partition, ms)], timeout=10)[0].offset
        finally:
            c.close()

    def delete_topic(self, topic):
        self.one(self.admin.delete_topics([topic]))

    def groups(self):
        return [g.group_id for g in self.admin.list_consumer_groups().result().valid]

    def committed(self, group, topic):
        r = self.one(self.admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]))
        return {t.partition: t.offset for t in r.topic_partitions if t.topic == topic}

    def delete_group(self, group):
        self.one(self.admin.delete_consumer_groups([group]))

    def code(self, e):
        err = e.args[0] if e.args and isinstance(e.args[0], KafkaError) else None
        return err.code() if err else None

    def produce(self, topic, partition, records, codec="none", acks=-1, idempotent=False):
        p = Producer({"bootstrap.servers": self.addr, "compression.type": codec, "acks": acks, "enable.idempotence": idempotent,
                      "message.max.bytes": 8_000_000, "linger.ms": 5, "max.in.flight": 5 if idempotent else 1,
                      "batch.num.messages": 20, "partitioner": "murmur2_random"})
        errors = []
        for r in records:
            at = {} if partition is None else {"partition": partition}
            p.produce(topic, key=r.key, value=r.value, headers=r.headers, timestamp=r.time,
                      on_delivery=lambda e, m: e and errors.append(e), **at)
        p.flush(30)
        if errors:
            raise KafkaException(errors[0])

    def consume(self, topic, partition, start, n):
        c, out, end = self.consumer(), [], time.monotonic() + 50
        c.assign([TopicPartition(topic, partition, start or OFFSET_BEGINNING)])
        while len(out) < n and time.monotonic() < end:
            for m in c.consume(n - len(out), 0.2):
                if m.error():
                    raise KafkaException(m.error())
                out.append(record(m))
        c.close()
        return out

    def join(self, group, topic, **how):
        return Member(self.addr, group, topic, **how)

    def join_queue(self, group, topic):
        entry = ConfigEntry("share.auto.offset.reset", "earliest", incremental_operation=AlterConfigOpType.SET)
        self.one(self.admin.incremental_alter_configs([ConfigResource(ResourceType.GROUP, group, incremental_configs=[entry])]))
        return QueueMember(self.addr, group, topic)


if __name__ == "__main__":
    Script(Client(sys.argv[1]), sys.argv[2]).main()
