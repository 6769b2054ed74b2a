"""The common script for the Python clients: what every client must be able to do on a broker.

A client is an object with the functions of the two modules beside this one; each check prints one
line, "ok NAME", "skip NAME: why" or "fail NAME: why".
"""

import os
import sys
import threading
import time
from collections import namedtuple

Record = namedtuple("Record", "partition offset time key value headers")
CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]
TOTAL, HALF, PARTITIONS = 60, 30, 3
UNKNOWN_TOPIC, TOO_LARGE, INVALID_TOPIC, TOPIC_EXISTS, INVALID_REPLICAS = 3, 10, 17, 36, 38


class Unsupported(Exception):
    """The client has no such function."""


def until(what, so, seconds=50):
    end = time.monotonic() + seconds
    while not so():
        if time.monotonic() > end:
            raise AssertionError("never happened: " + (what() if callable(what) else what))
        time.sleep(0.02)


class Script:
    def __init__(self, client, prefix):
        self.c, self.prefix, self.failed = client, prefix, False
        self.base = int(time.time() - 600) * 1000

    def run(self, name, check):
        result = []

        def body():
            try:
                check()
                result.append("ok " + name)
            except Unsupported as e:
                result.append("skip %s: %s" % (name, str(e) or "the client has no such function"))
            except BaseException as e:  # a check that fails in any way has failed
                result.append("fail %s: %s: %s" % (name, type(e).__name__, str(e).replace("\n", " ")))

        t = threading.Thread(target=body, daemon=True)
        t.start()
        t.join(60)
        line = result[0] if result else "fail %s: no answer in 60 s" % name
        self.failed |= line.startswith("fail")
        print(line, flush=True)

    def topic(self, name):
        return "%s-%s" % (self.prefix, name)

    def records(self, n):
        return [
            Record(0, i, self.base + i * 1000, b"key-%d" % i, b"value-%d " % i * (1 + i * 37 % 100),
                   [("n", b"%d" % i), ("bin", bytes([0, 255, i % 256]))])
            for i in range(n)
        ]

    def same(self, got, want, base=0):
        assert len(got) == len(want), "%d records read, %d written" % (len(got), len(want))
        for i, (g, w) in enumerate(zip(got, want)):
            w = w._replace(offset=base + i)
            for field in Record._fields:
                a, b = getattr(g, field), getattr(w, field)
                if field == "headers":
                    a, b = list(a or []), list(b or [])
                assert a == b, "record %d: %s is %.60r, not %.60r" % (i, field, a, b)

    def round_trip(self, topic, records, **how):
        self.c.produce(self.topic(topic), 0, records, **how)
        self.same(self.c.consume(self.topic(topic), 0, 0, len(records)), records)

    def wants(self, code, do):
        try:
            do()
        except Unsupported:
            raise
        except Exception as e:
            assert self.c.code(e) == code, "the error is %r, not %d" % (e, code)
            return
        raise AssertionError("no error, where %d belongs" % code)

    def main(self):
        self.topics()
        self.produce()
        self.groups()
        self.features()
        self.errors()
        sys.stdout.flush()
        os._exit(1 if self.failed else 0)

    def topics(self):
        def create():
            for t in CODECS + ["nulls", "large", "idem", "acks", "trim", "keys"]:
                self.c.create_topic(self.topic(t), PARTITIONS if t == "keys" else 1, 1, {"retention.ms": "3600000"})
            self.c.create_topic(self.topic("append"), 1, 1, {"message.timestamp.type": "LogAppendTime"})

        def config(value):
            until("retention.ms=" + value, lambda: self.c.config(self.topic("keys"), "retention.ms") == value)

        def describe():
            until("three partitions", lambda: self.c.partitions(self.topic("keys")) == PARTITIONS)
            config("3600000")

        def alter():
            self.c.alter(self.topic("keys"), "retention.ms", "7200000")
            config("7200000")

        self.run("create", create)
        self.run("describe", describe)
        self.run("alter", alter)

    def produce(self):
        for codec in CODECS:
            self.run(codec, lambda: self.round_trip(codec, self.records(20), codec=codec))
        self.run("keys", self.keys)

        def nulls():
            r = self.records(4)
            r[0], r[1], r[2] = r[0]._replace(key=None), r[1]._replace(value=None), r[2]._replace(key=b"", value=b"")
            r[3] = r[3]._replace(headers=[])
            self.round_trip("nulls", r)

        self.run("nulls", nulls)
        large = Record(0, 0, self.base, b"l", os.urandom(900_000), [])
        self.run("large", lambda: self.round_trip("large", [large]))
        big = large._replace(value=os.urandom(2_000_000))
        self.run("toobig", lambda: self.wants(TOO_LARGE, lambda: self.c.produce(self.topic("large"), 0, [big])))
        self.run("idem", lambda: self.round_trip("idem", self.records(200), idempotent=True))
        done = 0
        for name, acks in ("acks0", 0), ("acks1", 1), ("acksall", -1):
            def acked():
                r = self.records(10)
                self.c.produce(self.topic("acks"), 0, r, acks=acks)
                self.same(self.c.consume(self.topic("acks"), 0, done, 10), r, done)

            self.run(name, acked)
            done += 10

        def times():
            at = self.c.offset_at(self.topic("none"), 0, self.base + 4500)
            assert at == 5, "the offset for a time is %s, not 5" % at

        self.run("times", times)

        def append():
            before = time.time() * 1000
            self.c.produce(self.topic("append"), 0, self.records(3), codec="gzip")
            for r in self.c.consume(self.topic("append"), 0, 0, 3):
                assert abs(r.time - before) < 60_000, "the time is %d" % r.time

        self.run("append", append)

        def offsets():
            got = self.c.offsets(self.topic("none"), 0)
            assert got == (0, 20), "the offsets are %s" % (got,)

        self.run("offsets", offsets)

        def trim():
            self.c.produce(self.topic("trim"), 0, self.records(10))
            self.c.trim(self.topic("trim"), 0, 7)
            got = self.c.offsets(self.topic("trim"), 0)
            assert got == (7, 10), "the offsets are %s" % (got,)
            self.same(self.c.consume(self.topic("trim"), 0, 7, 3), self.records(10)[7:], 7)

        self.run("trim", trim)

    def keys(self):
        r = [x._replace(key=b"key-%d" % (i % 12), value=b"%d" % i) for i, x in enumerate(self.records(TOTAL))]
        self.c.produce(self.topic("keys"), None, r)
        place, last, total = {}, {}, 0
        for p in range(PARTITIONS):
            n = self.c.offsets(self.topic("keys"), p)[1]
            for g in self.c.consume(self.topic("keys"), p, 0, n):
                assert place.setdefault(g.key, p) == p, "key %r is in two partitions" % g.key
                assert last.get(g.key, -1) < int(g.value), "key %r is out of order" % g.key
                last[g.key] = int(g.value)
                total += 1
        assert total == TOTAL, "%d records" % total

    def groups(self):
        self.life("", self.c.join)
        self.run("share", lambda: self.share(self.topic("share"), self.c.join))

    def life(self, sign, join):
        """A group from the first member to its deletion; the sign begins the names of the checks."""
        group, topic, first, places = self.topic(sign + "group"), self.topic("keys"), [], {}
        box = {}

        def first_member():
            m = box["m"] = join(group, topic)

            def all_read():
                first.extend(m.poll())
                return len(first) >= TOTAL

            until("all records", all_read)

        def commit():
            for r in first[:HALF]:
                places[r.partition] = max(places.get(r.partition, 0), r.offset + 1)
            box["m"].commit(places)
            box["m"].close()
            got = self.c.committed(group, topic)
            for p, o in places.items():
                assert got.get(p) == o, "partition %d is committed at %s, not %d" % (p, got.get(p), o)

        def resume():
            left, got, following = TOTAL - sum(places.values()), [], {}
            m = join(group, topic)

            def rest():
                for r in m.poll():
                    want = following.get(r.partition, places.get(r.partition, 0))
                    assert r.offset == want, "partition %d goes on at %d, not %d" % (r.partition, r.offset, want)
                    following[r.partition] = want + 1
                    got.append(r)
                return len(got) >= left

            try:
                until("the %d records left" % left, rest)
                assert len(got) == left, "%d records, not %d" % (len(got), left)
            finally:
                m.close()

        def groups():
            assert group in self.c.groups(), "the group is not listed"
            self.c.delete_group(group)
            assert group not in self.c.groups(), "the group is still listed"

        self.run(sign + "group", first_member)
        self.run(sign + "commit", commit)
        self.run(sign + "resume", resume)
        self.run(sign + "groups", groups)

    def share(self, name, join, watch=lambda member: None):
        """Two members divide the partitions, and one takes over what the other had."""
        seen, topic = set(), self.topic("keys")
        a = join(name, topic)

        def poll(*members):
            for m in members:
                seen.update((r.partition, r.offset) for r in m.poll())

        until("one member has all", lambda: poll(a) or a.assigned() == PARTITIONS)
        b = join(name, topic)
        until(lambda: "two members share: %d and %d" % (a.assigned(), b.assigned()),
              lambda: poll(a, b) or a.assigned() > 0 and b.assigned() > 0 and a.assigned() + b.assigned() == PARTITIONS)
        watch(a)
        b.close()
        until("the member left has all again", lambda: poll(a) or a.assigned() == PARTITIONS and len(seen) == TOTAL)
        a.close()

    def features(self):
        """The checks of groups that not every client has; a client names its own in features."""
        without = os.environ.get("COMPAT_WITHOUT", "").split(",")

        def joining(**how):
            return lambda group, topic: self.c.join(group, topic, **how)

        def cooperative():
            def kept(a):
                assert a.revoked < PARTITIONS, "%d of %d partitions were taken from the first member" % (a.revoked, PARTITIONS)

            self.share(self.topic("coop"), joining(cooperative=True), kept)

        checks = {
            "coop": cooperative,
            "static": lambda: self.static("static", False),
            "regex": lambda: self.regex("re", joining(pattern=True), True),
            "new-share": lambda: self.share(self.topic("new-share"), joining(new=True)),
            "new-static": lambda: self.static("new-static", True),
            "new-regex": lambda: self.regex("new-re", joining(pattern=True, new=True), False),
            "queue": self.queue,
            "release": self.release,
        }
        for name in getattr(self.c, "features", []):
            kind = "consumer" if name.startswith("new-") else "share" if name in ("queue", "release") else ""
            if kind in without and kind:
                print("skip %s: the broker does not offer it" % name, flush=True)
            elif name == "new-group":
                self.life("new-", joining(new=True))
            elif name in checks:
                self.run(name, checks[name])

    def static(self, name, new):
        """A static member goes and comes back: it finds its partitions, and the other keeps its own."""
        how = {"new": True} if new else {}
        a = self.c.join(self.topic(name), self.topic("keys"), instance="one", **how)
        b = self.c.join(self.topic(name), self.topic("keys"), instance="two", **how)

        def divided():
            a.poll()
            b.poll()
            return a.assigned() > 0 and b.assigned() > 0 and a.assigned() + b.assigned() == PARTITIONS

        until(lambda: "two members share: %d and %d" % (a.assigned(), b.assigned()), divided)
        had = a.partitions(), b.partitions()
        a.close()
        a = self.c.join(self.topic(name), self.topic("keys"), instance="one", **how)
        until(lambda: "the member is back: %d and %d" % (a.assigned(), b.assigned()), divided)
        assert (a.partitions(), b.partitions()) == had, "they have %s and %s now; they had %s" % (a.partitions(), b.partitions(), had)
        a.close()
        b.close()

    def regex(self, name, join, late):
        """A subscription by pattern; with late, a topic that comes later is read as well."""
        def fill(topic):
            self.c.create_topic(self.topic(topic), 1, 1, {})
            self.c.produce(self.topic(topic), 0, [r._replace(value=b"%s %d" % (topic.encode(), i)) for i, r in enumerate(self.records(5))])

        for topic in name + "-a", name + "-b", "other-" + name:
            fill(topic)
        m, got = join(self.topic(name), "^%s-.*" % self.topic(name)), set()

        def reads(n):
            got.update(r.value for r in m.poll())
            return len(got) == n

        until("the records of two topics", lambda: reads(10))
        if late:
            fill(name + "-c")
            until("the records of a topic that came later", lambda: reads(15))
        m.close()

    def queue(self):
        """Two members of a share group take all records, each once."""
        times = {}
        members = [self.c.join_queue(self.topic("queue"), self.topic("keys")) for _ in range(2)]

        def taken():
            for m in members:
                for r in m.poll():
                    at = r.partition, r.offset
                    times[at] = times.get(at, 0) + 1
                    assert times[at] == 1, "record %s came again" % (at,)
                    m.accept(r)
            return len(times) == TOTAL

        until(lambda: "all records; there are %d" % len(times), taken)
        for m in members:
            m.close()

    def release(self):
        """Every third record is given back and must come again, every fifth is rejected and must not."""
        times, want, quiet = {}, {}, []
        m = self.c.join_queue(self.topic("release"), self.topic("keys"))

        def again():
            for r in m.poll():
                at = r.partition, r.offset
                times[at] = times.get(at, 0) + 1
                if r.offset % 5 == 1:
                    want[at] = 1
                    m.reject(r)
                elif r.offset % 3 == 0 and times[at] == 1:
                    want[at] = 2
                    m.release(r)
                else:
                    want[at] = max(1, want.get(at, 0))
                    m.accept(r)
            if len(times) == TOTAL and times == want:
                quiet.append(True)
            return len(quiet) > 3  # nothing else may come

        until(lambda: "the released records again; %d records came" % len(times), again)
        m.close()

    def errors(self):
        def grow():
            self.c.grow(self.topic("keys"), 5)
            until("five partitions", lambda: self.c.partitions(self.topic("keys")) == 5)

        def delete():
            for t in CODECS + ["keys"]:
                self.c.delete_topic(self.topic(t))

            def gone():
                try:
                    self.c.partitions(self.topic("keys"))
                except Exception as e:
                    return self.c.code(e) == UNKNOWN_TOPIC

            until("the topic is gone", gone)

        self.run("grow", grow)
        self.run("e-topic", lambda: self.wants(UNKNOWN_TOPIC, lambda: self.c.partitions(self.topic("absent"))))
        self.run("e-name", lambda: self.wants(INVALID_TOPIC, lambda: self.c.create_topic(self.prefix + "/bad", 1, 1, {})))
        self.run("e-repl", lambda: self.wants(INVALID_REPLICAS, lambda: self.c.create_topic(self.topic("three"), 1, 3, {})))
        self.run("e-dup", lambda: self.wants(TOPIC_EXISTS, lambda: self.c.create_topic(self.topic("keys"), 1, 1, {})))
        self.run("delete", delete)
