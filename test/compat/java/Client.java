import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.serialization.*;

/** The common script with Kafka's Java client. Arguments: HOST:PORT PREFIX. */
public class Client {
    interface Check { void run() throws Exception; }
    interface Condition { boolean holds() throws Exception; }

    static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");
    static final int TOTAL = 60, HALF = 30, PARTITIONS = 3;
    static final Map<String, String> RETENTION = Map.of("retention.ms", "3600000");
    static String addr, prefix;
    static Admin admin;
    static boolean failed;
    static final long BASE = (System.currentTimeMillis() - 600_000) / 1000 * 1000;
    static final ExecutorService background = Executors.newCachedThreadPool(r -> {
        Thread t = new Thread(r);
        t.setDaemon(true);
        return t;
    });

    public static void main(String[] args) {
        addr = args[0];
        prefix = args[1];
        admin = Admin.create(Map.of("bootstrap.servers", addr, "metadata.max.age.ms", "1000"));
        topics();
        produce();
        group("classic");
        if (lacks("consumer")) skip("new-group", "new-commit", "new-resume", "new-share", "new-groups", "new-static", "new-regex");
        else group("consumer");
        if (lacks("share")) skip("queue", "release");
        else Queue.checks();
        errors();
        System.out.flush();
        Runtime.getRuntime().halt(failed ? 1 : 0);
    }

    /** Whether the broker does not offer a kind of groups. */
    static boolean lacks(String kind) {
        return List.of(Objects.requireNonNullElse(System.getenv("COMPAT_WITHOUT"), "").split(",")).contains(kind);
    }

    static void skip(String... checks) {
        for (String check : checks) System.out.println("skip " + check + ": the broker does not offer it");
    }

    static String topic(String name) { return prefix + "-" + name; }

    static void run(String name, Check c) {
        Future<?> f = background.submit(() -> { c.run(); return null; });
        try {
            f.get(60, TimeUnit.SECONDS);
            System.out.println("ok " + name);
        } catch (ExecutionException e) {
            failed = true;
            System.out.println("fail " + name + ": " + e.getCause().toString().replace('\n', ' '));
        } catch (Exception e) {
            failed = true;
            System.out.println("fail " + name + ": " + e);
        }
    }

    static void check(boolean ok, String format, Object... args) {
        if (!ok) throw new IllegalStateException(String.format(format, args));
    }

    static void until(String what, Condition c) throws Exception {
        long end = System.nanoTime() + TimeUnit.SECONDS.toNanos(50);
        while (!c.holds()) {
            check(System.nanoTime() < end, "never happened: %s", what);
            Thread.sleep(20);
        }
    }

    static void expect(Class<? extends Throwable> wanted, Check c) throws Exception {
        try {
            c.run();
        } catch (ExecutionException e) {
            if (!wanted.isInstance(e.getCause())) throw e;
            return;
        }
        throw new IllegalStateException("no " + wanted.getSimpleName());
    }

    static List<ProducerRecord<byte[], byte[]>> records(String topic, Integer partition, int n) {
        List<ProducerRecord<byte[], byte[]>> out = new ArrayList<>();
        for (int i = 0; i < n; i++) {
            ProducerRecord<byte[], byte[]> r = new ProducerRecord<>(topic(topic), partition, BASE + i * 1000L,
                ("key-" + i).getBytes(), ("value-" + i + " ").repeat(1 + i * 37 % 100).getBytes());
            r.headers().add("n", Integer.toString(i).getBytes()).add("bin", new byte[] {0, (byte) 255, (byte) i}).add("null", null);
            out.add(r);
        }
        return out;
    }

    static byte[] noise(int n) {
        byte[] b = new byte[n];
        new Random(n).nextBytes(b);
        return b;
    }

    static List<RecordMetadata> send(List<ProducerRecord<byte[], byte[]>> records, Object... config) throws Exception {
        Map<String, Object> m = new HashMap<>(Map.of("bootstrap.servers", addr, "enable.idempotence", "false", "max.request.size", 8 << 20,
            "linger.ms", 20, "max.in.flight.requests.per.connection", 1));
        for (int i = 0; i < config.length; i += 2) m.put((String) config[i], config[i + 1]);
        try (Producer<byte[], byte[]> p = new KafkaProducer<>(m, new ByteArraySerializer(), new ByteArraySerializer())) {
            List<Future<RecordMetadata>> fs = new ArrayList<>();
            for (ProducerRecord<byte[], byte[]> r : records) fs.add(p.send(r));
            List<RecordMetadata> out = new ArrayList<>();
            for (Future<RecordMetadata> f : fs) out.add(f.get());
            return out;
        }
    }

    static KafkaConsumer<byte[], byte[]> consumer(Object... config) {
        Map<String, Object> m = new HashMap<>(Map.of("bootstrap.servers", addr, "auto.offset.reset", "earliest",
            "enable.auto.commit", "false", "fetch.max.wait.ms", 100));
        for (int i = 0; i < config.length; i += 2) m.put((String) config[i], config[i + 1]);
        return new KafkaConsumer<>(m, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static List<ConsumerRecord<byte[], byte[]>> read(String topic, int partition, long from, int n) throws Exception {
        try (KafkaConsumer<byte[], byte[]> c = consumer()) {
            TopicPartition tp = new TopicPartition(topic(topic), partition);
            c.assign(List.of(tp));
            c.seek(tp, from);
            List<ConsumerRecord<byte[], byte[]>> out = new ArrayList<>();
            until(n + " records", () -> {
                for (ConsumerRecord<byte[], byte[]> r : c.poll(Duration.ofMillis(200))) out.add(r);
                return out.size() >= n;
            });
            return out;
        }
    }

    static void same(List<ConsumerRecord<byte[], byte[]>> got, List<ProducerRecord<byte[], byte[]>> want, long base) {
        check(got.size() == want.size(), "%d records read, %d written", got.size(), want.size());
        for (int i = 0; i < got.size(); i++) {
            ConsumerRecord<byte[], byte[]> g = got.get(i);
            ProducerRecord<byte[], byte[]> w = want.get(i);
            check(g.offset() == base + i, "record %d has offset %d", i, g.offset());
            check(Arrays.equals(g.key(), w.key()) && Arrays.equals(g.value(), w.value()), "record %d differs", i);
            check(g.timestamp() == w.timestamp(), "record %d has time %d", i, g.timestamp());
            check(g.leaderEpoch().isPresent(), "record %d has no leader epoch", i);
            Header[] a = g.headers().toArray(), b = w.headers().toArray();
            check(a.length == b.length, "record %d has %d headers", i, a.length);
            for (int j = 0; j < a.length; j++)
                check(a[j].key().equals(b[j].key()) && Arrays.equals(a[j].value(), b[j].value()), "record %d, header %d differs", i, j);
        }
    }

    static void roundTrip(String topic, List<ProducerRecord<byte[], byte[]>> rs, Object... config) throws Exception {
        send(rs, config);
        same(read(topic, 0, 0, rs.size()), rs, 0);
    }

    static ConfigEntry config(String topic, String key) throws Exception {
        ConfigResource r = new ConfigResource(ConfigResource.Type.TOPIC, topic(topic));
        return admin.describeConfigs(List.of(r)).all().get().get(r).get(key);
    }

    static int partitions(String topic) throws Exception {
        return admin.describeTopics(List.of(topic(topic))).allTopicNames().get().get(topic(topic)).partitions().size();
    }

    static void topics() {
        run("create", () -> {
            List<NewTopic> ts = new ArrayList<>();
            for (String t : CODECS) ts.add(new NewTopic(topic(t), 1, (short) 1).configs(RETENTION));
            for (String t : List.of("nulls", "large", "idem", "acks", "trim")) ts.add(new NewTopic(topic(t), 1, (short) 1).configs(RETENTION));
            ts.add(new NewTopic(topic("keys"), PARTITIONS, (short) 1).configs(RETENTION));
            ts.add(new NewTopic(topic("append"), 1, (short) 1).configs(Map.of("message.timestamp.type", "LogAppendTime")));
            CreateTopicsResult r = admin.createTopics(ts);
            r.all().get();
            check(r.numPartitions(topic("keys")).get() == PARTITIONS, "the answer has %d partitions", r.numPartitions(topic("keys")).get());
            check(r.config(topic("keys")).get().get("retention.ms").value().equals("3600000"), "the answer lacks retention.ms");
            check(!r.topicId(topic("keys")).get().equals(Uuid.ZERO_UUID), "no topic id");
        });
        run("describe", () -> {
            until("three partitions", () -> {
                try { return partitions("keys") == PARTITIONS; } catch (ExecutionException e) { return false; }
            });
            TopicDescription d = admin.describeTopics(List.of(topic("keys"))).allTopicNames().get().get(topic("keys"));
            for (TopicPartitionInfo p : d.partitions())
                check(p.leader().id() == 1 && p.isr().size() == 1 && p.replicas().size() == 1, "partition %s", p);
            ConfigEntry e = config("keys", "retention.ms");
            check(e.value().equals("3600000") && e.source() == ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG, "config %s", e);
            check(config("keys", "segment.bytes").isDefault(), "config %s", config("keys", "segment.bytes"));
        });
        run("alter", () -> {
            ConfigResource r = new ConfigResource(ConfigResource.Type.TOPIC, topic("keys"));
            admin.incrementalAlterConfigs(Map.of(r, List.of(new AlterConfigOp(new ConfigEntry("retention.ms", "7200000"), AlterConfigOp.OpType.SET)))).all().get();
            until("retention.ms=7200000", () -> config("keys", "retention.ms").value().equals("7200000"));
        });
    }

    static void produce() {
        for (String codec : CODECS) run(codec, () -> roundTrip(codec, records(codec, 0, 20), "compression.type", codec));
        run("keys", Client::keys);
        run("nulls", () -> {
            List<ProducerRecord<byte[], byte[]>> rs = new ArrayList<>();
            byte[][][] kv = {{null, "v".getBytes()}, {"k".getBytes(), null}, {{}, {}}, {null, null}};
            for (byte[][] x : kv) rs.add(new ProducerRecord<>(topic("nulls"), 0, BASE, x[0], x[1]));
            roundTrip("nulls", rs);
        });
        run("large", () -> roundTrip("large", List.of(new ProducerRecord<>(topic("large"), 0, BASE, null, noise(900_000)))));
        run("toobig", () -> expect(RecordTooLargeException.class, () ->
            send(List.of(new ProducerRecord<>(topic("large"), 0, BASE, null, noise(2_000_000))))));
        run("idem", () -> roundTrip("idem", records("idem", 0, 200), "enable.idempotence", "true", "acks", "all",
            "max.in.flight.requests.per.connection", 5, "batch.size", 1000, "linger.ms", 0));
        long done = 0;
        for (String acks : List.of("0", "1", "all")) {
            long from = done;
            run("acks" + acks, () -> {
                List<ProducerRecord<byte[], byte[]>> rs = records("acks", 0, 10);
                List<RecordMetadata> ms = send(rs, "acks", acks);
                check(acks.equals("0") || ms.get(9).offset() == from + 9, "the last offset is %d", ms.get(9).offset());
                same(read("acks", 0, from, 10), rs, from);
            });
            done += 10;
        }
        run("times", () -> {
            TopicPartition tp = new TopicPartition(topic("none"), 0);
            try (KafkaConsumer<byte[], byte[]> c = consumer()) {
                OffsetAndTimestamp o = c.offsetsForTimes(Map.of(tp, BASE + 4500)).get(tp);
                check(o.offset() == 5 && o.timestamp() == BASE + 5000, "found %s", o);
                check(c.offsetsForTimes(Map.of(tp, BASE + 100_000)).get(tp) == null, "an offset for a time after the end");
            }
            ListOffsetsResult.ListOffsetsResultInfo i = admin.listOffsets(Map.of(tp, OffsetSpec.maxTimestamp())).all().get().get(tp);
            check(i.offset() == 19 && i.timestamp() == BASE + 19_000, "max timestamp %s", i);
        });
        run("append", () -> {
            long before = System.currentTimeMillis();
            send(records("append", 0, 3), "compression.type", "gzip");
            for (ConsumerRecord<byte[], byte[]> r : read("append", 0, 0, 3))
                check(r.timestamp() >= before - 1000 && r.timestampType() == org.apache.kafka.common.record.TimestampType.LOG_APPEND_TIME,
                    "time %d %s", r.timestamp(), r.timestampType());
        });
        run("offsets", () -> {
            check(offset("none", OffsetSpec.earliest()) == 0, "earliest");
            check(offset("none", OffsetSpec.latest()) == 20, "latest");
        });
        run("trim", () -> {
            send(records("trim", 0, 10));
            TopicPartition tp = new TopicPartition(topic("trim"), 0);
            long low = admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(7))).lowWatermarks().get(tp).get().lowWatermark();
            check(low == 7, "the low watermark is %d", low);
            check(offset("trim", OffsetSpec.earliest()) == 7 && offset("trim", OffsetSpec.latest()) == 10, "offsets after it");
            same(read("trim", 0, 7, 3), records("trim", 0, 10).subList(7, 10), 7);
        });
    }

    static long offset(String topic, OffsetSpec spec) throws Exception {
        TopicPartition tp = new TopicPartition(topic(topic), 0);
        return admin.listOffsets(Map.of(tp, spec)).all().get().get(tp).offset();
    }

    static void keys() throws Exception {
        List<ProducerRecord<byte[], byte[]>> rs = new ArrayList<>();
        for (int i = 0; i < TOTAL; i++)
            rs.add(new ProducerRecord<>(topic("keys"), null, BASE + i, ("key-" + i % 12).getBytes(), Integer.toString(i).getBytes()));
        List<RecordMetadata> ms = send(rs);
        Map<Integer, Integer> counts = new HashMap<>();
        for (RecordMetadata m : ms) counts.merge(m.partition(), 1, Integer::sum);
        Map<String, Integer> place = new HashMap<>(), last = new HashMap<>();
        int total = 0;
        for (Map.Entry<Integer, Integer> e : counts.entrySet()) {
            for (ConsumerRecord<byte[], byte[]> r : read("keys", e.getKey(), 0, e.getValue())) {
                String k = new String(r.key(), StandardCharsets.UTF_8);
                int v = Integer.parseInt(new String(r.value()));
                check(place.getOrDefault(k, e.getKey()).equals(e.getKey()), "key %s is in two partitions", k);
                check(last.getOrDefault(k, -1) < v, "key %s is out of order", k);
                place.put(k, e.getKey());
                last.put(k, v);
                total++;
            }
        }
        check(total == TOTAL, "%d records", total);
    }

    static KafkaConsumer<byte[], byte[]> member(String protocol, String group, Object... config) {
        List<Object> all = new ArrayList<>(List.of("group.id", group, "metadata.max.age.ms", 500, "client.id", group + "-" + System.nanoTime()));
        all.addAll(protocol.equals("classic") ? List.of("heartbeat.interval.ms", 200) : List.of("group.protocol", "consumer"));
        all.addAll(List.of(config));
        KafkaConsumer<byte[], byte[]> c = consumer(all.toArray());
        c.subscribe(List.of(topic("keys")));
        return c;
    }

    /** The checks of groups, with the classic protocol or that of KIP-848, whose names begin with "new-". */
    static void group(String protocol) {
        String sign = protocol.equals("classic") ? "" : "new-", group = topic(sign + "group");
        Map<TopicPartition, OffsetAndMetadata> places = new HashMap<>();
        KafkaConsumer<byte[], byte[]> m = member(protocol, group);
        run(sign + "group", () -> {
            int[] n = {0};
            until("all records", () -> {
                for (ConsumerRecord<byte[], byte[]> r : m.poll(Duration.ofMillis(100))) {
                    if (n[0]++ < HALF) places.put(new TopicPartition(r.topic(), r.partition()), new OffsetAndMetadata(r.offset() + 1, "m" + r.offset()));
                }
                return n[0] >= TOTAL;
            });
            check(m.groupMetadata().generationId() > 0, "generation %d", m.groupMetadata().generationId());
        });
        run(sign + "commit", () -> {
            m.commitSync(places);
            m.close();
            Map<TopicPartition, OffsetAndMetadata> got = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
            for (TopicPartition tp : places.keySet()) {
                check(got.get(tp).offset() == places.get(tp).offset(), "%s is committed at %s", tp, got.get(tp));
                check(got.get(tp).metadata().equals(places.get(tp).metadata()), "%s has metadata %s", tp, got.get(tp));
            }
        });
        run(sign + "resume", () -> {
            long want = TOTAL;
            for (OffsetAndMetadata o : places.values()) want -= o.offset();
            long left = want;
            Map<TopicPartition, Long> next = new HashMap<>();
            int[] n = {0};
            try (KafkaConsumer<byte[], byte[]> c = member(protocol, group)) {
                until(left + " records left", () -> {
                    for (ConsumerRecord<byte[], byte[]> r : c.poll(Duration.ofMillis(100))) {
                        TopicPartition tp = new TopicPartition(r.topic(), r.partition());
                        OffsetAndMetadata p = places.get(tp);
                        long w = next.getOrDefault(tp, p == null ? 0 : p.offset());
                        check(r.offset() == w, "%s goes on at %d, not %d", tp, r.offset(), w);
                        next.put(tp, w + 1);
                        n[0]++;
                    }
                    return n[0] == left;
                });
            }
        });
        run(sign + "share", () -> share(protocol, topic(sign + "share"), new HashSet<>()));
        if (protocol.equals("classic")) run("coop", Client::cooperative);
        run(sign + "static", () -> standing(protocol, topic(sign + "static")));
        run(sign + "regex", () -> pattern(protocol, sign + "re"));
        run(sign + "groups", () -> {
            check(listed(group), "the group is not listed");
            until("the group is empty", () -> admin.describeConsumerGroups(List.of(group)).all().get().get(group).groupState() == GroupState.EMPTY);
            admin.deleteConsumerGroups(List.of(group)).all().get();
            check(!listed(group), "the group is still listed");
        });
    }

    static boolean listed(String group) throws Exception {
        return admin.listGroups().all().get().stream().anyMatch(g -> g.groupId().equals(group));
    }

    /** A second member takes some of the first's partitions, which keeps the others all the while. */
    static void cooperative() throws Exception {
        Set<TopicPartition> taken = new HashSet<>();
        share("classic", topic("coop"), taken, "partition.assignment.strategy", CooperativeStickyAssignor.class.getName());
        check(taken.size() < PARTITIONS, "%d of %d partitions were taken from the first member", taken.size(), PARTITIONS);
    }

    /** A static member goes and comes back: it finds its partitions, and the other keeps its own. */
    static void standing(String protocol, String group) throws Exception {
        KafkaConsumer<byte[], byte[]> a = member(protocol, group, "group.instance.id", "one");
        try (KafkaConsumer<byte[], byte[]> b = member(protocol, group, "group.instance.id", "two")) {
            Set<String> seen = new HashSet<>();
            KafkaConsumer<byte[], byte[]> first = a;
            until("two members share", () -> divided(first, b, seen));
            Set<TopicPartition> hadA = a.assignment(), hadB = b.assignment();
            a.close();
            KafkaConsumer<byte[], byte[]> again = a = member(protocol, group, "group.instance.id", "one");
            until("the member is back", () -> divided(again, b, seen));
            check(a.assignment().equals(hadA), "the member comes back to %s; it had %s", a.assignment(), hadA);
            check(b.assignment().equals(hadB), "the other member has %s now; it had %s", b.assignment(), hadB);
        } finally {
            a.close();
        }
    }

    static boolean divided(KafkaConsumer<byte[], byte[]> a, KafkaConsumer<byte[], byte[]> b, Set<String> seen) {
        poll(a, seen);
        poll(b, seen);
        return !a.assignment().isEmpty() && !b.assignment().isEmpty() && a.assignment().size() + b.assignment().size() == PARTITIONS;
    }

    /** A subscription by pattern; with the new protocol the broker resolves it. A topic that comes later is read as well. */
    static void pattern(String protocol, String name) throws Exception {
        for (String t : List.of(name + "-a", name + "-b", "other-" + name)) fill(t);
        Set<String> seen = new HashSet<>();
        String expression = topic(name) + "-.*";
        try (KafkaConsumer<byte[], byte[]> c = member(protocol, topic(name))) {
            c.unsubscribe();
            if (protocol.equals("classic")) c.subscribe(java.util.regex.Pattern.compile(expression));
            else c.subscribe(new SubscriptionPattern(expression));
            until("the records of two topics", () -> { pollTopics(c, seen); return seen.size() == 10; });
            fill(name + "-c");
            until("the records of a topic that came later", () -> { pollTopics(c, seen); return seen.size() == 15; });
        }
    }

    static void fill(String name) throws Exception {
        admin.createTopics(List.of(new NewTopic(topic(name), 1, (short) 1))).all().get();
        send(records(name, 0, 5));
    }

    static void pollTopics(KafkaConsumer<byte[], byte[]> c, Set<String> seen) {
        for (ConsumerRecord<byte[], byte[]> r : c.poll(Duration.ofMillis(50))) seen.add(r.topic() + "/" + r.offset());
    }

    /** Two members divide the partitions, and one takes over what the other had; taken is what the first had to give away. */
    static void share(String protocol, String group, Set<TopicPartition> taken, Object... config) throws Exception {
        Set<String> seen = new HashSet<>();
        try (KafkaConsumer<byte[], byte[]> a = member(protocol, group, config)) {
            a.subscribe(List.of(topic("keys")), new ConsumerRebalanceListener() {
                public void onPartitionsAssigned(Collection<TopicPartition> tps) { }
                public void onPartitionsRevoked(Collection<TopicPartition> tps) { taken.addAll(tps); }
            });
            until("one member has all", () -> { poll(a, seen); return a.assignment().size() == PARTITIONS; });
            try (KafkaConsumer<byte[], byte[]> b = member(protocol, group, config)) {
                until("two members share", () -> divided(a, b, seen));
                ConsumerGroupDescription d = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
                check(d.members().size() == 2, "%d members are described", d.members().size());
            }
            until("the member left has all again", () -> { poll(a, seen); return a.assignment().size() == PARTITIONS && seen.size() == TOTAL; });
            a.subscribe(List.of(topic("keys"))); // without the listener, which would see the end
        }
    }

    static void poll(KafkaConsumer<byte[], byte[]> c, Set<String> seen) {
        for (ConsumerRecord<byte[], byte[]> r : c.poll(Duration.ofMillis(50))) seen.add(r.partition() + "/" + r.offset());
    }

    static void errors() {
        run("grow", () -> {
            admin.createPartitions(Map.of(topic("keys"), NewPartitions.increaseTo(5))).all().get();
            until("five partitions", () -> partitions("keys") == 5);
        });
        run("e-topic", () -> expect(UnknownTopicOrPartitionException.class, () -> partitions("absent")));
        run("e-name", () -> expect(InvalidTopicException.class, () ->
            admin.createTopics(List.of(new NewTopic(prefix + "/bad", 1, (short) 1))).all().get()));
        run("e-repl", () -> expect(InvalidReplicationFactorException.class, () ->
            admin.createTopics(List.of(new NewTopic(topic("three"), 1, (short) 3))).all().get()));
        run("e-dup", () -> expect(TopicExistsException.class, () ->
            admin.createTopics(List.of(new NewTopic(topic("keys"), 1, (short) 1))).all().get()));
        run("delete", () -> {
            List<String> names = new ArrayList<>();
            for (String c : CODECS) names.add(topic(c));
            names.add(topic("keys"));
            admin.deleteTopics(names).all().get();
            until("the topic is gone", () -> !admin.listTopics().names().get().contains(topic("keys")));
        });
    }
}
