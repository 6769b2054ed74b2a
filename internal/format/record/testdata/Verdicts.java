// Lets Apache Kafka's own produce path judge record batches:
//
//     java -cp "$KAFKA_HOME/lib/*" Verdicts.java CASES > verdicts.txt
//
// A line of CASES is "topic-config hex"; to each the error, or what became of the batch, is prepended.
import java.nio.ByteBuffer;
import java.nio.file.*;
import java.util.*;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.internal.*;
import org.apache.kafka.common.requests.ProduceRequest;
import org.apache.kafka.common.utils.*;
import org.apache.kafka.server.common.RequestLocal;
import org.apache.kafka.server.util.KafkaScheduler;
import org.apache.kafka.storage.internals.log.*;
import org.apache.kafka.storage.log.metrics.BrokerTopicStats;

public class Verdicts {
    static final long NOW = 1_700_000_000_500L;

    // The clock stands still.
    static class Fixed implements Time {
        public long milliseconds() { return NOW; }
        public long nanoseconds() { return NOW * 1_000_000; }
        public void sleep(long ms) { }
        public void waitObject(Object o, java.util.function.Supplier<Boolean> done, long deadline) { }
    }

    static Properties config(String name) {
        Properties p = new Properties();
        switch (name) {
            case "compact": p.put("cleanup.policy", "compact"); break;
            case "appendtime": p.put("message.timestamp.type", "LogAppendTime"); break;
            case "gzip": p.put("compression.type", "gzip"); break;
            case "uncompressed": p.put("compression.type", "uncompressed"); break;
            case "window": p.put("message.timestamp.before.max.ms", "1000"); p.put("message.timestamp.after.max.ms", "1000"); break;
            case "small": p.put("max.message.bytes", "150"); break;
            default: break;
        }
        return p;
    }

    public static void main(String[] args) throws Exception {
        KafkaScheduler scheduler = new KafkaScheduler(1);
        scheduler.startup();
        Path dir = Files.createTempDirectory("verdicts");
        int n = 0;
        for (String line : Files.readAllLines(Path.of(args[0]))) {
            String[] f = line.split(" ");
            Path d = dir.resolve("topic-" + n++);
            Files.createDirectories(d);
            UnifiedLog log = UnifiedLog.create(d.toFile(), new LogConfig(config(f[0])), 0L, 0L, scheduler, new BrokerTopicStats(),
                new Fixed(), 60_000, new ProducerStateManagerConfig(86400000, false), 600_000, new LogDirFailureChannel(1),
                true, Optional.empty());
            String result;
            try {
                MemoryRecords r = MemoryRecords.readableRecords(ByteBuffer.wrap(HexFormat.of().parseHex(f.length > 1 ? f[1] : "")));
                ProduceRequest.validateRecords((short) 12, r);
                LogAppendInfo info = log.appendAsLeader(r, 5, AppendOrigin.CLIENT, RequestLocal.noCaching(), VerificationGuard.SENTINEL, (short) -1);
                log.flush(false);
                byte[] stored = Files.readAllBytes(d.resolve("00000000000000000000.log"));
                result = "NONE " + info.maxTimestamp() + " " + HexFormat.of().formatHex(stored);
            } catch (Throwable e) {
                Errors error = Errors.forException(e);
                int listed = e instanceof RecordValidationException ? ((RecordValidationException) e).recordErrors().size() : 0;
                if (e instanceof RecordValidationException) error = Errors.forException(((RecordValidationException) e).invalidException());
                result = error.name() + " " + listed + " -";
            }
            log.close();
            System.out.println(result + " " + line);
        }
        System.exit(0);
    }
}
