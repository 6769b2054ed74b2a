// Lets Apache Kafka's own log judge a random history of idempotent and transactional batches:
//
//     java -cp "$KAFKA_HOME/lib/*" Golden.java SEED STEPS > kafka-SEED.txt
//
// Each line is an operation, "=>", and what Kafka did.
import java.nio.ByteBuffer;
import java.nio.file.*;
import java.util.*;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.protocol.Errors;
import org.apache.kafka.common.record.*;
import org.apache.kafka.common.record.internal.*;
import org.apache.kafka.common.utils.Time;
import org.apache.kafka.server.common.RequestLocal;
import org.apache.kafka.server.util.KafkaScheduler;
import org.apache.kafka.storage.internals.log.*;
import org.apache.kafka.storage.log.metrics.BrokerTopicStats;

public class Golden {
    static final int EXPIRATION = 5000;
    static UnifiedLog log;
    static Random random;
    static long now = 0;
    static Map<Long, VerificationGuard> guards = new HashMap<>();

    static String state() {
        return " unstable=" + log.firstUnstableOffset().map(String::valueOf).orElse("-");
    }

    static void line(String op, String result) {
        System.out.println(op + " => " + result + state());
    }

    static MemoryRecords batch(long pid, short epoch, int seq, int count, boolean txn, long ts) {
        MemoryRecordsBuilder b = MemoryRecords.builder(ByteBuffer.allocate(4096), (byte) 2, Compression.NONE,
            TimestampType.CREATE_TIME, 0L, ts, pid, epoch, seq, txn, 0);
        for (int i = 0; i < count; i++) b.append(ts, null, new byte[] {1});
        return b.build();
    }

    static String append(MemoryRecords r, AppendOrigin origin, VerificationGuard guard, short version) throws Exception {
        try {
            long end = log.logEndOffset();
            LogAppendInfo info = log.appendAsLeader(r, 0, origin, RequestLocal.noCaching(), guard, version);
            return (info.firstOffset() < end ? "duplicate " : "accept ") + info.firstOffset() + "-" + info.lastOffset();
        } catch (Exception e) {
            return Errors.forException(e).name();
        }
    }

    public static void main(String[] args) throws Exception {
        random = new Random(Long.parseLong(args[0]));
        int steps = Integer.parseInt(args[1]);
        Path dir = Files.createTempDirectory("golden").resolve("topic-0");
        Files.createDirectories(dir);
        KafkaScheduler scheduler = new KafkaScheduler(1);
        scheduler.startup();
        log = UnifiedLog.create(dir.toFile(), new LogConfig(new Properties()), 0L, 0L, scheduler, new BrokerTopicStats(),
            Time.SYSTEM, 60_000, new ProducerStateManagerConfig(EXPIRATION, true), 600_000, new LogDirFailureChannel(1),
            true, Optional.empty());
        // What a well-behaved producer would send next, from which some operations stray.
        Map<Long, short[]> epochs = new HashMap<>();
        Map<Long, int[]> sequences = new HashMap<>();
        for (int step = 0; step < steps; step++) {
            now += random.nextInt(200);
            long pid = 1 + random.nextInt(12);
            short[] epoch = epochs.computeIfAbsent(pid, p -> new short[1]);
            int[] seq = sequences.computeIfAbsent(pid, p -> new int[] {pid % 4 == 0 ? Integer.MAX_VALUE - 20 : 0});
            boolean txn = pid % 2 == 0;
            switch (random.nextInt(20)) {
                case 0: {
                    epoch[0]++;
                    seq[0] = 0;
                    break;
                }
                case 1: {
                    log.removeExpiredProducers(now);
                    line("expire " + now, "" + log.activeProducers().size());
                    break;
                }
                case 2: case 3: {
                    long hw = Math.max(log.highWatermark(), log.logEndOffset() - random.nextInt(5));
                    log.updateHighWatermark(hw);
                    line("hw " + hw, "ok");
                    break;
                }
                case 4: {
                    String op = "plain " + 2;
                    line(op, append(batch(-1, (short) -1, -1, 2, false, now), AppendOrigin.CLIENT, VerificationGuard.SENTINEL, (short) -1));
                    break;
                }
                case 5: case 6: case 7: {
                    if (!txn) break;
                    short version = (short) (random.nextInt(2) * 2);
                    short e = epoch[0];
                    if (version == 2 && random.nextInt(4) > 0) { e = ++epoch[0]; seq[0] = 0; }
                    if (random.nextInt(10) == 0) e--;
                    if (e < 0) break;
                    int coordinator = step / 200 - (random.nextInt(10) == 0 ? 1 : 0);
                    if (coordinator < 0) break;
                    boolean commit = random.nextBoolean();
                    String op = "marker " + pid + " " + e + " " + coordinator + " " + commit + " " + version + " " + now;
                    line(op, append(MemoryRecords.withEndTransactionMarker(0L, now, 0, pid, e,
                        new EndTransactionMarker(commit ? ControlRecordType.COMMIT : ControlRecordType.ABORT, coordinator)),
                        AppendOrigin.COORDINATOR, VerificationGuard.SENTINEL, version));
                    break;
                }
                case 8: case 9: case 10: {
                    if (!txn) break;
                    boolean bump = random.nextBoolean();
                    int s = seq[0] + (random.nextInt(6) == 0 ? 1 : 0);
                    if (s < 0) s = 0;
                    String op = "verify " + pid + " " + epoch[0] + " " + s + " " + bump;
                    String result;
                    try {
                        VerificationGuard g = log.maybeStartTransactionVerification(pid, s, epoch[0], bump);
                        guards.put(pid, g);
                        result = g == VerificationGuard.SENTINEL ? "none" : "guard";
                    } catch (Exception e) {
                        result = Errors.forException(e).name();
                    }
                    line(op, result);
                    break;
                }
                default: {
                    int count = 1 + random.nextInt(4);
                    int s = seq[0];
                    short e = epoch[0];
                    boolean t = txn;
                    int stray = random.nextInt(14);
                    if (stray == 0) s += 1 + random.nextInt(3);
                    if (stray == 1 || stray == 2) { s -= count; }
                    if (stray == 3) e--;
                    if (stray == 4) t = !t;
                    if (s < 0 || e < 0) break;
                    boolean origin = random.nextInt(10) > 0;
                    String guard = txn && random.nextInt(8) > 0 ? "guard" : "none";
                    VerificationGuard g = guard.equals("guard") ? guards.getOrDefault(pid, VerificationGuard.SENTINEL) : VerificationGuard.SENTINEL;
                    String op = "produce " + pid + " " + e + " " + (origin ? s : 0) + " " + count + " " + t + " " + guard + " " + now + (origin ? " client" : " coordinator");
                    String result = append(batch(pid, e, origin ? s : 0, count, t, now), origin ? AppendOrigin.CLIENT : AppendOrigin.COORDINATOR, g, (short) -1);
                    line(op, result);
                    if (origin && result.startsWith("accept")) seq[0] = (int) (((long) s + count) & Integer.MAX_VALUE);
                    break;
                }
            }
        }
        log.activeProducers().stream().sorted(Comparator.comparingLong(p -> p.producerId())).forEach(p ->
            System.out.println("producer " + p.producerId() + " " + p.producerEpoch() + " " + p.lastSequence() + " " + p.lastTimestamp()
                + " " + p.coordinatorEpoch() + " " + p.currentTxnStartOffset()));
        for (AbortedTxn a : log.collectAbortedTransactions(0, Long.MAX_VALUE))
            System.out.println("aborted " + a.producerId() + " " + a.firstOffset() + " " + a.lastOffset() + " " + a.lastStableOffset());
        log.producerStateManager().takeSnapshot();
        byte[] snapshot = Files.readAllBytes(dir.resolve(String.format("%020d.snapshot", log.logEndOffset())));
        System.out.println("snapshot " + log.logEndOffset() + " " + HexFormat.of().formatHex(snapshot));
        System.exit(0);
    }
}
