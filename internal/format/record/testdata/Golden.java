// Writes the golden batches of this directory with Apache Kafka's own classes:
//
//     java -cp "$KAFKA_HOME/lib/*" Golden.java OUTPUT_DIRECTORY
//
// content() has its twin in golden_test.go.
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.util.*;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.*;
import org.apache.kafka.common.record.internal.*;

public class Golden {
    static final long TIME = 1_700_000_000_000L;

    static byte[] bytes(String s) { return s == null ? null : s.getBytes(StandardCharsets.UTF_8); }

    static void content(MemoryRecordsBuilder b, int count, boolean headers) {
        for (int i = 0; i < count; i++) {
            String key = i % 5 == 0 ? null : "key-" + i;
            String value = i % 7 == 3 ? null : ("value-" + i + " ").repeat(i % 4);
            List<Header> hs = new ArrayList<>();
            if (headers)
                for (int h = 0; h < i % 3; h++)
                    hs.add(new RecordHeader("h" + h, h == 1 ? null : bytes("v" + i)));
            b.append(TIME + i * 7 - (i % 3) * 1000, bytes(key), bytes(value), hs.toArray(new Header[0]));
        }
    }

    static void write(Path dir, String name, MemoryRecords r) throws Exception {
        ByteBuffer buf = r.buffer().duplicate();
        byte[] all = new byte[buf.remaining()];
        buf.get(all);
        StringBuilder s = new StringBuilder();
        String hex = HexFormat.of().formatHex(all);
        for (int i = 0; i < hex.length(); i += 120)
            s.append(hex, i, Math.min(hex.length(), i + 120)).append('\n');
        Files.writeString(dir.resolve(name + ".hex"), s.toString());
    }

    static Compression codec(String name) {
        switch (name) {
            case "gzip": return Compression.gzip().build();
            case "snappy": return Compression.snappy().build();
            case "lz4": return Compression.lz4().build();
            case "zstd": return Compression.zstd().build();
            default: return Compression.NONE;
        }
    }

    public static void main(String[] args) throws Exception {
        Path dir = Paths.get(args[0]);
        for (String name : new String[] {"none", "gzip", "snappy", "lz4", "zstd"}) {
            for (byte magic = 0; magic <= 2; magic++) {
                if (name.equals("zstd") && magic < 2) continue;
                MemoryRecordsBuilder b = MemoryRecords.builder(ByteBuffer.allocate(1 << 20), magic, codec(name),
                    TimestampType.CREATE_TIME, 1000L);
                content(b, 60, magic == 2);
                write(dir, "v" + magic + "-" + name, b.build());
            }
        }
        MemoryRecordsBuilder b = MemoryRecords.builder(ByteBuffer.allocate(1 << 20), (byte) 2, Compression.NONE,
            TimestampType.LOG_APPEND_TIME, 1000L, TIME + 5, 4711L, (short) 3, 17, true, 9);
        content(b, 60, true);
        write(dir, "v2-appendtime-txn", b.build());
        b = MemoryRecords.builder(ByteBuffer.allocate(1 << 20), (byte) 1, codec("gzip"),
            TimestampType.LOG_APPEND_TIME, 1000L, TIME + 5);
        content(b, 60, false);
        write(dir, "v1-appendtime-gzip", b.build());
        write(dir, "v2-marker-commit", MemoryRecords.withEndTransactionMarker(55L, TIME, 9, 4711L, (short) 3,
            new EndTransactionMarker(ControlRecordType.COMMIT, 8)));
        write(dir, "v2-marker-abort", MemoryRecords.withEndTransactionMarker(56L, TIME, 9, 4711L, (short) 3,
            new EndTransactionMarker(ControlRecordType.ABORT, 8)));
        for (String name : new String[] {"gzip", "snappy", "lz4", "zstd"}) {
            b = MemoryRecords.builder(ByteBuffer.allocate(1 << 20), (byte) 2, codec(name), TimestampType.CREATE_TIME, 0L);
            b.append(TIME, bytes("big"), bytes("0123456789".repeat(20_000)));
            write(dir, "v2-big-" + name, b.build());
        }
    }
}
