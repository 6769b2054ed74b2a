import java.io.File;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.*;
import org.apache.kafka.streams.CloseOptions;
import org.apache.kafka.streams.kstream.*;
import org.apache.kafka.streams.processor.StateRestoreListener;
import org.apache.kafka.streams.state.*;

/**
 * An application of Kafka Streams: words counted in a state store, and two streams joined in windows; restarted, with
 * its state lost, and spread over two instances. Arguments: HOST:PORT PREFIX PROTOCOL DIRECTORY, where PROTOCOL is classic or
 * streams (KIP-1071).
 */
public class Streams {
    static final long BASE = System.currentTimeMillis() / 60_000 * 60_000 - 600_000;
    static final List<String> CHECKS = List.of("count", "changelog", "store", "join", "describe", "restart", "restore", "two", "one", "delete");
    static final int PARTITIONS = 3;
    static String protocol, application;
    static File directory;
    static final AtomicLong restored = new AtomicLong();
    static final Map<String, Long> counts = new TreeMap<>();
    static final List<Instance> running = new ArrayList<>();

    public static void main(String[] args) throws Exception {
        Client.addr = args[0];
        Client.prefix = args[1] + "-" + args[2];
        protocol = args[2];
        directory = new File(args[3]);
        application = Client.topic("app");
        Client.admin = Admin.create(Map.of("bootstrap.servers", args[0], "metadata.max.age.ms", "1000"));
        if (!offered()) {
            for (String c : CHECKS) System.out.println("skip " + c + ": the broker does not offer the group protocol");
        } else {
            checks();
        }
        System.out.flush();
        Runtime.getRuntime().halt(Client.failed ? 1 : 0);
    }

    /** Whether the broker serves the groups of this protocol. */
    static boolean offered() throws Exception {
        if (protocol.equals("classic")) return true;
        try {
            Client.admin.describeStreamsGroups(List.of(application)).all().get();
        } catch (ExecutionException e) {
            return !(e.getCause() instanceof UnsupportedVersionException);
        }
        return true;
    }

    static void checks() {
        Client.run("count", () -> {
            List<NewTopic> ts = new ArrayList<>();
            for (String t : List.of("lines", "left", "right", "counts", "pairs")) ts.add(new NewTopic(Client.topic(t), PARTITIONS, (short) 1));
            Client.admin.createTopics(ts).all().get();
            running.add(new Instance("a"));
            lines("the cat and the dog", "the bird", "a cat");
            counted();
        });
        Client.run("changelog", Streams::changelog);
        Client.run("store", () -> {
            for (Map.Entry<String, Long> e : counts.entrySet()) {
                Long got = running.get(0).counts().get(e.getKey());
                Client.check(e.getValue().equals(got), "%s is counted %d times in the store, not %d", e.getKey(), got, e.getValue());
            }
        });
        Client.run("join", Streams::join);
        Client.run("describe", Streams::describe);
        Client.run("restart", () -> {
            running.remove(0).close(CloseOptions.GroupMembershipOperation.LEAVE_GROUP);
            lines("the cat again", "again");
            running.add(new Instance("a"));
            counted();
        });
        Client.run("restore", () -> {
            Instance old = running.remove(0);
            old.close(CloseOptions.GroupMembershipOperation.LEAVE_GROUP);
            old.streams.cleanUp();
            restored.set(0);
            running.add(new Instance("a"));
            lines("the end of the cat");
            counted();
            Client.check(restored.get() > 0, "nothing was restored from the changelog");
        });
        Client.run("two", () -> {
            running.add(new Instance("b"));
            Client.until("both instances have tasks, together all", () -> {
                Set<String> a = running.get(0).tasks(), b = running.get(1).tasks();
                Set<String> all = new HashSet<>(a);
                all.addAll(b);
                return !a.isEmpty() && !b.isEmpty() && all.size() == a.size() + b.size() && all.size() == 3 * PARTITIONS;
            });
            lines("two cats", "the two dogs");
            counted();
        });
        Client.run("one", () -> {
            running.remove(0).close(CloseOptions.GroupMembershipOperation.LEAVE_GROUP);
            lines("one cat", "one of the dogs");
            counted();
            Client.until("one instance has all tasks", () -> running.get(0).tasks().size() == 3 * PARTITIONS);
        });
        Client.run("delete", () -> {
            running.remove(0).close(CloseOptions.GroupMembershipOperation.LEAVE_GROUP);
            Client.until("the group is deleted", () -> {
                try {
                    if (protocol.equals("classic")) Client.admin.deleteConsumerGroups(List.of(application)).all().get();
                    else Client.admin.deleteStreamsGroups(List.of(application)).all().get();
                } catch (ExecutionException e) {
                    if (e.getCause() instanceof GroupNotEmptyException) return false;
                    throw e;
                }
                return true;
            });
            Client.check(!Client.listed(application), "the group is still listed");
        });
    }

    static Topology topology() {
        StreamsBuilder b = new StreamsBuilder();
        b.<String, String>stream(Client.topic("lines")).flatMapValues(v -> Arrays.asList(v.split(" "))).groupBy((k, w) -> w)
            .count(Materialized.<String, Long, KeyValueStore<Bytes, byte[]>>as("words")).toStream().to(Client.topic("counts"), Produced.with(Serdes.String(), Serdes.Long()));
        KStream<String, String> left = b.stream(Client.topic("left")), right = b.stream(Client.topic("right"));
        left.join(right, (l, r) -> l + "+" + r, JoinWindows.ofTimeDifferenceAndGrace(Duration.ofSeconds(5), Duration.ofHours(1)))
            .to(Client.topic("pairs"));
        return b.build();
    }

    static class Instance {
        final KafkaStreams streams;

        Instance(String name) throws Exception {
            Properties p = new Properties();
            p.put("application.id", application);
            p.put("client.id", application + "-" + name);
            p.put("bootstrap.servers", Client.addr);
            p.put("state.dir", new File(directory, protocol + "-" + name).getPath());
            p.put("group.protocol", protocol);
            p.put("commit.interval.ms", 100);
            p.put("statestore.cache.max.bytes", 0);
            p.put("metadata.max.age.ms", 1000);
            p.put("default.key.serde", Serdes.StringSerde.class.getName());
            p.put("default.value.serde", Serdes.StringSerde.class.getName());
            p.put("consumer.auto.offset.reset", "earliest");
            if (protocol.equals("classic")) {
                p.put("num.standby.replicas", 1);
                p.put("session.timeout.ms", 6000);
                p.put("heartbeat.interval.ms", 500);
            }
            streams = new KafkaStreams(topology(), p);
            streams.setGlobalStateRestoreListener(new StateRestoreListener() {
                public void onRestoreStart(TopicPartition tp, String store, long from, long to) { }
                public void onBatchRestored(TopicPartition tp, String store, long to, long n) { }
                public void onRestoreEnd(TopicPartition tp, String store, long n) { restored.addAndGet(n); }
            });
            streams.start();
            Client.until("the application runs", () -> {
                Client.check(streams.state() != KafkaStreams.State.ERROR, "the application is in error");
                return streams.state() == KafkaStreams.State.RUNNING;
            });
        }

        void close(CloseOptions.GroupMembershipOperation how) {
            Client.check(streams.close(CloseOptions.timeout(Duration.ofSeconds(30)).withGroupMembershipOperation(how)), "the application does not close");
        }

        Set<String> tasks() {
            Set<String> out = new TreeSet<>();
            for (ThreadMetadata t : streams.metadataForLocalThreads())
                for (TaskMetadata m : t.activeTasks()) out.add(m.taskId().toString());
            return out;
        }

        Map<String, Long> counts() {
            Map<String, Long> out = new HashMap<>();
            ReadOnlyKeyValueStore<String, Long> store = streams.store(StoreQueryParameters.fromNameAndType("words", QueryableStoreTypes.keyValueStore()));
            try (KeyValueIterator<String, Long> i = store.all()) {
                while (i.hasNext()) {
                    KeyValue<String, Long> e = i.next();
                    out.put(e.key, e.value);
                }
            }
            return out;
        }
    }

    static Producer<String, String> producer() {
        return new KafkaProducer<>(Map.of("bootstrap.servers", Client.addr), new StringSerializer(), new StringSerializer());
    }

    /** Writes lines, and counts their words itself. */
    static void lines(String... lines) throws Exception {
        try (Producer<String, String> p = producer()) {
            for (int i = 0; i < 100; i++) {
                for (String l : lines) {
                    p.send(new ProducerRecord<>(Client.topic("lines"), "line-" + i, l));
                    for (String w : l.split(" ")) counts.merge(w, 1L, Long::sum);
                }
            }
        }
    }

    static <V> void readAll(String topic, Deserializer<V> values, java.util.function.Consumer<ConsumerRecord<String, V>> each, Client.Condition end) throws Exception {
        Map<String, Object> m = Map.of("bootstrap.servers", Client.addr, "auto.offset.reset", "earliest", "enable.auto.commit", "false", "fetch.max.wait.ms", 100);
        try (KafkaConsumer<String, V> c = new KafkaConsumer<>(m, new StringDeserializer(), values)) {
            List<TopicPartition> tps = new ArrayList<>();
            for (int i = 0; i < PARTITIONS; i++) tps.add(new TopicPartition(Client.topic(topic), i));
            c.assign(tps);
            Client.until("the result in " + topic, () -> {
                for (ConsumerRecord<String, V> r : c.poll(Duration.ofMillis(100))) each.accept(r);
                return end.holds();
            });
        }
    }

    /** The newest count of every word is that of all lines: none was lost or counted twice. */
    static void counted() throws Exception {
        Map<String, Long> got = new TreeMap<>();
        try {
            readAll("counts", new LongDeserializer(), r -> got.put(r.key(), r.value()), () -> got.equals(counts));
        } catch (IllegalStateException e) {
            throw new IllegalStateException(e.getMessage() + ": " + got + ", not " + counts);
        }
    }

    static void changelog() throws Exception {
        Map<String, String> policy = Map.of("words-changelog", "compact", "repartition", "delete");
        Set<String> found = new HashSet<>();
        for (String name : Client.admin.listTopics().names().get()) {
            if (!name.startsWith(application + "-")) continue;
            for (Map.Entry<String, String> e : policy.entrySet()) {
                if (!name.endsWith(e.getKey())) continue;
                found.add(e.getKey());
                ConfigResource r = new ConfigResource(ConfigResource.Type.TOPIC, name);
                String got = Client.admin.describeConfigs(List.of(r)).all().get().get(r).get("cleanup.policy").value();
                Client.check(got.equals(e.getValue()), "%s has cleanup.policy %s", name, got);
                int n = Client.admin.describeTopics(List.of(name)).allTopicNames().get().get(name).partitions().size();
                Client.check(n == PARTITIONS, "%s has %d partitions", name, n);
            }
        }
        Client.check(found.equals(policy.keySet()), "of the internal topics there are only %s", found);
    }

    /** Pairs arise only of records that are five seconds apart at most. */
    static void join() throws Exception {
        Set<String> want = new TreeSet<>(), got = new TreeSet<>();
        try (Producer<String, String> p = producer()) {
            for (int k = 0; k < 20; k++) {
                p.send(new ProducerRecord<>(Client.topic("left"), null, BASE, "k" + k, "l" + k));
                p.send(new ProducerRecord<>(Client.topic("right"), null, BASE + k * 500L, "k" + k, "r" + k));
                if (k * 500 <= 5000) want.add("k" + k + "=l" + k + "+r" + k);
            }
        }
        readAll("pairs", new StringDeserializer(), r -> got.add(r.key() + "=" + r.value()), () -> got.size() >= want.size());
        Client.check(got.equals(want), "the pairs are %s, not %s", got, want);
    }

    static void describe() throws Exception {
        if (protocol.equals("classic")) {
            ConsumerGroupDescription d = Client.admin.describeConsumerGroups(List.of(application)).all().get().get(application);
            Client.check(d.members().size() == 1 && d.groupState() == GroupState.STABLE, "the group is %s", d);
            return;
        }
        StreamsGroupDescription d = Client.admin.describeStreamsGroups(List.of(application)).all().get().get(application);
        Client.check(d.members().size() == 1 && d.groupState() == GroupState.STABLE, "the group is %s", d);
        Client.check(d.subtopologies().size() == 3, "%d subtopologies", d.subtopologies().size());
    }
}
