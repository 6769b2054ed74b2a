import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.common.utils.Utils;

/** Transactions with the Java client: the script of goclients/txn. Arguments: HOST:PORT PREFIX. */
public class Txn {
    static final int RECORDS = 300, BATCH = 25;

    public static void main(String[] args) {
        Client.addr = args[0];
        Client.prefix = args[1];
        Client.run("commit", () -> { write(true, "a", "b"); committed("a", "b"); });
        Client.run("abort", () -> { write(false, "c"); committed("a", "b"); });
        Client.run("again", () -> { write(true, "d"); committed("a", "b", "d"); });
        Client.run("fence", Txn::fence);
        Client.run("copy", Txn::copy);
        System.out.flush();
        Runtime.getRuntime().halt(Client.failed ? 1 : 0);
    }

    static KafkaProducer<String, String> producer(String name) {
        KafkaProducer<String, String> p = new KafkaProducer<>(Map.of("bootstrap.servers", Client.addr, "transactional.id", Client.topic(name),
            "transaction.timeout.ms", 20_000), new StringSerializer(), new StringSerializer());
        p.initTransactions();
        return p;
    }

    static void produce(KafkaProducer<String, String> p, String... values) {
        p.beginTransaction();
        for (String v : values) p.send(new ProducerRecord<>(Client.topic("out"), 0, null, v));
        p.flush();
    }

    static void write(boolean commit, String... values) {
        try (KafkaProducer<String, String> p = producer("id")) {
            produce(p, values);
            if (commit) p.commitTransaction();
            else p.abortTransaction();
        }
    }

    static KafkaConsumer<String, String> consumer(String group) {
        return new KafkaConsumer<>(Map.of("bootstrap.servers", Client.addr, "group.id", group, "isolation.level", "read_committed",
            "enable.auto.commit", false, "auto.offset.reset", "earliest", "max.poll.records", BATCH), new StringDeserializer(), new StringDeserializer());
    }

    static void committed(String... want) {
        List<String> got = read();
        // A commit may be answered before all markers are written.
        for (int i = 0; i < 100 && !got.equals(List.of(want)); i++) {
            Utils.sleep(100);
            got = read();
        }
        Client.check(got.equals(List.of(want)), "committed are %s, not %s", got, List.of(want));
    }

    static List<String> read() {
        List<String> got = new ArrayList<>();
        TopicPartition tp = new TopicPartition(Client.topic("out"), 0);
        try (KafkaConsumer<String, String> c = consumer(Client.topic("reader"))) {
            c.assign(List.of(tp));
            c.seekToBeginning(List.of(tp));
            long end = c.endOffsets(List.of(tp)).get(tp);
            while (c.position(tp) < end) c.poll(Duration.ofMillis(100)).forEach(r -> got.add(r.value()));
        }
        return got;
    }

    static void fence() {
        KafkaProducer<String, String> first = producer("id");
        produce(first, "old");
        write(true, "new");
        try {
            first.commitTransaction();
            Client.check(false, "the first producer could commit after the second had taken over");
        } catch (ProducerFencedException | InvalidProducerEpochException e) {
            first.close(Duration.ZERO);
        }
        committed("a", "b", "d", "new");
    }

    static void copy() {
        try (KafkaConsumer<String, String> c = consumer(Client.topic("group")); KafkaProducer<String, String> p = producer("copier")) {
            c.subscribe(List.of(Client.topic("in")));
            for (int copied = 0, turn = 0; copied < RECORDS; ) {
                ConsumerRecords<String, String> batch = c.poll(Duration.ofMillis(200));
                if (batch.isEmpty()) continue;
                p.beginTransaction();
                Map<TopicPartition, OffsetAndMetadata> next = new HashMap<>(), first = new HashMap<>();
                for (ConsumerRecord<String, String> r : batch) {
                    TopicPartition tp = new TopicPartition(r.topic(), r.partition());
                    p.send(new ProducerRecord<>(Client.topic("copy"), r.partition(), null, r.value()));
                    next.put(tp, new OffsetAndMetadata(r.offset() + 1));
                    first.putIfAbsent(tp, new OffsetAndMetadata(r.offset()));
                }
                p.sendOffsetsToTransaction(next, c.groupMetadata());
                if (++turn % 3 > 0) {
                    p.commitTransaction();
                    copied += batch.count();
                } else {
                    p.abortTransaction();
                    first.forEach(c::seek);
                }
            }
        }
    }
}
