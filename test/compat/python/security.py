"""The rows of the matrix of mechanisms with confluent-kafka, which is librdkafka: see java/Security.java. Argument: a file with the rows."""

import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

ROWS_AT_ONCE, LIMIT = 6, 40
FATAL = {KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError.SASL_AUTHENTICATION_FAILED, KafkaError.UNSUPPORTED_SASL_MECHANISM}
printing = threading.Lock()


class Refused(Exception):
    pass


def settings(row, errors):
    c = {"bootstrap.servers": row["bootstrap"], "security.protocol": row["protocol"], "socket.timeout.ms": 15_000, "error_cb": errors.append,
         "log_level": 0, "reconnect.backoff.ms": 100}
    if row.get("ca"):
        c["ssl.ca.location"] = row["ca"] + ".crt"
    if row.get("cert"):
        c["ssl.certificate.location"] = row["cert"] + ".crt"
        c["ssl.key.location"] = row["cert"] + ".key"
    if row.get("mechanism"):
        c["sasl.mechanism"] = row["mechanism"]
    if row.get("token"):
        c["oauth_cb"] = lambda _: (row["token"], time.time() + 3600)
    elif row.get("username"):
        c["sasl.username"], c["sasl.password"] = row["username"], row["password"]
    return c


def refused(errors):
    for e in list(errors):
        if e.code() in FATAL or "SSL alert" in e.str():
            raise Refused(f"{e.name()}: {e.str()}")


def until(done, errors, poll):
    """Polls until it is done; an error of the connection ends it."""
    end = time.monotonic() + LIMIT
    while not done():
        refused(errors)
        if time.monotonic() > end:
            raise Refused(f"not done in {LIMIT} s; errors: {[e.str() for e in errors][:3]}")
        poll(0.1)


def produce(p, errors, topic, values):
    reports = []
    for v in values:
        p.produce(topic, v.encode(), partition=0, on_delivery=lambda err, _: reports.append(err))
    until(lambda: len(reports) == len(values), errors, p.poll)
    for err in reports:
        if err:
            raise KafkaException(err)


def consume(row, topic, errors):
    c = Consumer({**settings(row, errors), "group.id": row["prefix"] + "-group", "auto.offset.reset": "earliest", "enable.auto.commit": False})
    got = []

    def poll(seconds):
        m = c.poll(seconds)
        if m is None:
            return
        if m.error():
            raise KafkaException(m.error())
        got.append(m)

    try:
        c.subscribe([topic])
        until(lambda: len(got) >= 3, errors, poll)
        c.commit(asynchronous=False)
    finally:
        c.close()


def run(row):
    topic, step, errors = row["prefix"] + "-topic", "create", []
    try:
        admin = AdminClient(settings(row, errors))
        made = admin.create_topics([NewTopic(topic, num_partitions=1, replication_factor=1)], request_timeout=LIMIT)[topic]
        until(made.done, errors, admin.poll)
        made.result()
        step = "produce"
        p = Producer({**settings(row, errors), "linger.ms": 0, "message.timeout.ms": 40_000})
        produce(p, errors, topic, ["v0", "v1", "v2"])
        if row.get("rest"):
            p.poll(int(row["rest"]) / 1000)
            produce(p, errors, topic, ["later"])
        step = "consume"
        consume(row, topic, errors)
        step = "other"
        if not row.get("other"):
            return "ok"
        produce(p, errors, row["other"], ["v"])
        return "other=written, which only others may"
    except KafkaException as e:
        return f"{step}={e.args[0].name()}: {e.args[0].str()}"
    except Refused as e:
        return f"{step}={e}"


def report(row):
    try:
        outcome = run(row)
    except Exception as e:
        outcome = f"{type(e).__name__}: {e}"
    with printing:
        print(row["name"], outcome.replace("\n", " "), sep="\t", flush=True)


with open(sys.argv[1]) as f:
    rows = json.load(f)
with ThreadPoolExecutor(ROWS_AT_ONCE) as pool:
    list(pool.map(report, rows))
