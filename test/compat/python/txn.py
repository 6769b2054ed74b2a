"""Transactions with confluent-kafka, which is librdkafka: the script of goclients/txn. Arguments: HOST:PORT PREFIX."""

import sys
import time

from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

RECORDS, BATCH, LIMIT = 300, 25, 60
addr, prefix = sys.argv[1], sys.argv[2]


def producer(name="-id"):
    p = Producer({"bootstrap.servers": addr, "transactional.id": prefix + name, "transaction.timeout.ms": 20_000, "linger.ms": 0})
    p.init_transactions(LIMIT)
    return p


def produce(p, values):
    p.begin_transaction()
    for v in values:
        p.produce(prefix + "-out", v.encode(), partition=0)
    p.flush(LIMIT)


def write(values, commit):
    p = producer()
    produce(p, values)
    if commit:
        p.commit_transaction(LIMIT)
    else:
        p.abort_transaction(LIMIT)


def read():
    c = Consumer({"bootstrap.servers": addr, "group.id": prefix + "-reader", "isolation.level": "read_committed", "enable.auto.commit": False,
                  "enable.partition.eof": True})
    c.assign([TopicPartition(prefix + "-out", 0, 0)])
    values = []
    while True:
        m = c.poll(LIMIT)
        if m is None or m.error():
            c.close()
            return values
        values.append(m.value().decode())


def committed(want):
    end = time.monotonic() + 10
    got = read()
    while got != want and time.monotonic() < end:  # a commit may be answered before all markers are written
        got = read()
    if got != want:
        raise ValueError(f"committed are {got}, not {want}")


def fence():
    first = producer()
    produce(first, ["old"])
    write(["new"], True)
    try:
        first.commit_transaction(LIMIT)
    except KafkaException:
        return committed(["a", "b", "d", "new"])
    raise ValueError("the first producer could commit after the second had taken over")


def copy():
    c = Consumer({"bootstrap.servers": addr, "group.id": prefix + "-group", "isolation.level": "read_committed", "enable.auto.commit": False,
                  "auto.offset.reset": "earliest"})
    c.subscribe([prefix + "-in"])
    p = producer("-copier")
    copied, turn, end = 0, 0, time.monotonic() + LIMIT
    while copied < RECORDS:
        if time.monotonic() > end:
            raise ValueError(f"only {copied} are copied")
        batch = c.consume(BATCH, 0.2)
        if not batch:
            continue
        turn += 1
        p.begin_transaction()
        for m in batch:
            if m.error():
                raise KafkaException(m.error())
            p.produce(prefix + "-copy", m.value(), partition=m.partition())
        p.send_offsets_to_transaction(c.position(c.assignment()), c.consumer_group_metadata(), LIMIT)
        if turn % 3:
            p.commit_transaction(LIMIT)
            copied += len(batch)
            continue
        p.abort_transaction(LIMIT)
        first = {}
        for m in batch:
            first.setdefault(m.partition(), m.offset())
        for partition, offset in first.items():
            c.seek(TopicPartition(prefix + "-in", partition, offset))
    c.close()


def step(name, run):
    try:
        run()
        print("ok", name, flush=True)
    except Exception as e:
        print(f"fail {name}: {e}".replace("\n", " "), flush=True)


step("commit", lambda: (write(["a", "b"], True), committed(["a", "b"])))
step("abort", lambda: (write(["c"], False), committed(["a", "b"])))
step("again", lambda: (write(["d"], True), committed(["a", "b", "d"])))
step("fence", fence)
step("copy", copy)
