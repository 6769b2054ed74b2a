import java.util.*;
import org.apache.kafka.common.serialization.*;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.*;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler;
import org.apache.kafka.streams.kstream.*;
import org.apache.kafka.streams.state.*;

/** Counts words exactly once until it is killed. Arguments: HOST:PORT PREFIX DIRECTORY. */
public class TxnStreams {
    public static void main(String[] args) throws Exception {
        StreamsBuilder b = new StreamsBuilder();
        b.<String, String>stream(args[1] + "-lines").flatMapValues(v -> Arrays.asList(v.split(" "))).groupBy((k, w) -> w)
            .count(Materialized.<String, Long, KeyValueStore<Bytes, byte[]>>as("words")).toStream()
            .mapValues(n -> Long.toString(n)).to(args[1] + "-counts");
        Properties p = new Properties();
        p.put("application.id", args[1] + "-app");
        p.put("bootstrap.servers", args[0]);
        p.put("state.dir", args[2]);
        p.put("processing.guarantee", "exactly_once_v2");
        p.put("commit.interval.ms", 100);
        p.put("statestore.cache.max.bytes", 0);
        p.put("session.timeout.ms", 6000);
        p.put("heartbeat.interval.ms", 500);
        p.put("producer.transaction.timeout.ms", 10_000);
        p.put("consumer.auto.offset.reset", "earliest");
        p.put("default.key.serde", Serdes.StringSerde.class.getName());
        p.put("default.value.serde", Serdes.StringSerde.class.getName());
        KafkaStreams streams = new KafkaStreams(b.build(), p);
        streams.setUncaughtExceptionHandler(e -> {
            e.printStackTrace();
            return StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse.REPLACE_THREAD;
        });
        streams.start();
        Thread.currentThread().join();
    }
}
