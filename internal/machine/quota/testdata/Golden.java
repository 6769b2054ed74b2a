import java.net.InetAddress;
import java.util.*;
import org.apache.kafka.common.metrics.*;
import org.apache.kafka.common.security.auth.KafkaPrincipal;
import org.apache.kafka.common.utils.*;
import org.apache.kafka.common.errors.ThrottlingQuotaExceededException;
import org.apache.kafka.network.Session;
import org.apache.kafka.server.config.ClientQuotaManagerConfig;
import org.apache.kafka.server.quota.*;

/**
 * Prints what Kafka's own quota classes answer to random sequences, for golden_test.go:
 *
 *   java -cp 'KAFKA/libs/*' Golden.java > golden.txt
 */
public class Golden {
    static class Hand implements Time {
        long ms = 1_700_000_000_000L;
        public long milliseconds() { return ms; }
        public long nanoseconds() { return ms * 1_000_000; }
        public void sleep(long d) { ms += d; }
        public void waitObject(Object o, java.util.function.Supplier<Boolean> c, long d) { }
    }

    static final Random R = new Random(4711);
    static final Optional<ClientQuotaEntity.ConfigEntity> NONE = Optional.empty();

    static Session session(String user) throws Exception {
        return new Session(new KafkaPrincipal("User", user), InetAddress.getByName("127.0.0.1"));
    }

    static long step(int window) {
        switch (R.nextInt(8)) {
            case 0: return 0;
            case 1: return R.nextInt(window * 1000 * 3);
            case 2: return R.nextInt(window * 1000 * 15);
            default: return R.nextInt(window * 400);
        }
    }

    // rate SAMPLES SECONDS BOUND, then: STEP VALUE(check|free) DELAY
    static void rates() throws Exception {
        for (int round = 0; round < 40; round++) {
            Hand t = new Hand();
            int samples = 1 + R.nextInt(12), window = 1 + R.nextInt(3);
            double bound = R.nextInt(4) == 0 ? 0.5 + R.nextInt(100) : 1 + R.nextInt(1_000_000);
            Metrics m = new Metrics(t);
            ClientQuotaManager q = new ClientQuotaManager(new ClientQuotaManagerConfig(samples, window), m, QuotaType.PRODUCE, t, "");
            q.updateQuota(Optional.of(new ClientQuotaManager.UserEntity("u")), NONE, Optional.of(new Quota(bound, true)));
            System.out.printf(Locale.ROOT, "rate %d %d %s%n", samples, window, bound);
            Session s = session("u");
            for (int i = 0; i < 60; i++) {
                long d = step(window);
                t.ms += d;
                double v = Math.floor(R.nextDouble() * bound * window * (1 + R.nextInt(4)));
                if (R.nextInt(5) == 0) {
                    q.recordNoThrottle(s, "c", v);
                    System.out.printf("%d %s free 0%n", d, v);
                } else {
                    System.out.printf("%d %s check %d%n", d, v, q.recordAndGetThrottleTimeMs(s, "c", v, t.ms));
                    if (R.nextInt(6) == 0) {
                        q.unrecordQuotaSensor(s, "c", v, t.ms);
                        System.out.printf("0 %s free 0%n", -v);
                    }
                }
            }
            q.shutdown();
        }
    }

    // bucket SAMPLES SECONDS BOUND, then: STEP N strict|permissive DELAY
    static void buckets() throws Exception {
        for (int round = 0; round < 40; round++) {
            Hand t = new Hand();
            int samples = 1 + R.nextInt(12), window = 1 + R.nextInt(3);
            double bound = R.nextInt(3) == 0 ? 0.25 + R.nextInt(4) : 1 + R.nextInt(100);
            ControllerMutationQuotaManager q = new ControllerMutationQuotaManager(new ClientQuotaManagerConfig(samples, window),
                new Metrics(t), t, "", Optional.empty());
            q.updateQuota(Optional.of(new ClientQuotaManager.UserEntity("u")), NONE, Optional.of(new Quota(bound, true)));
            System.out.printf(Locale.ROOT, "bucket %d %d %s%n", samples, window, bound);
            Session s = session("u");
            for (int i = 0; i < 40; i++) {
                long d = step(window);
                t.ms += d;
                int n = 1 + R.nextInt((int) (bound * samples * window) + 2);
                boolean strict = R.nextBoolean();
                ControllerMutationQuota one = strict ? q.newStrictQuotaFor(s, "c") : q.newPermissiveQuotaFor(s, "c");
                long delay = 0;
                boolean refused = false;
                try {
                    one.record(n);
                    delay = one.throttleTime();
                } catch (ThrottlingQuotaExceededException e) {
                    refused = true;
                    delay = one.throttleTime();
                }
                System.out.printf("%d %d %s %d%n", d, n, strict ? (refused ? "refused" : "strict") : "permissive", delay);
            }
            q.shutdown();
        }
    }

    static Optional<ClientQuotaEntity.ConfigEntity> user(int i) {
        if (i == 0) return NONE;
        return Optional.of(i == 1 ? ClientQuotaManager.DEFAULT_USER_ENTITY : new ClientQuotaManager.UserEntity(Sanitizer.sanitize(NAMES[i])));
    }

    static Optional<ClientQuotaEntity.ConfigEntity> client(int i) {
        if (i == 0) return NONE;
        return Optional.of(i == 1 ? ClientQuotaManager.DEFAULT_USER_CLIENT_ID : new ClientQuotaManager.ClientIdEntity(NAMES[i]));
    }

    static final String[] NAMES = {"", "", "ann", "CN=b,O=x y", "<default>"};

    // limits USER/CLIENT=BOUND …, then: USER CLIENT BOUND SHARED-USER SHARED-CLIENT (indices into NAMES; -1 for no limit)
    static void levels() throws Exception {
        for (int round = 0; round < 150; round++) {
            Hand t = new Hand();
            Metrics m = new Metrics(t);
            ClientQuotaManager q = new ClientQuotaManager(new ClientQuotaManagerConfig(11, 1), m, QuotaType.FETCH, t, "");
            StringBuilder line = new StringBuilder("limits");
            int n = 1 + R.nextInt(6);
            for (int i = 0; i < n; i++) {
                int u = R.nextInt(5), c = R.nextInt(5);
                if (u == 0 && c == 0) continue;
                int bound = 100 + R.nextInt(900);
                q.updateQuota(user(u), client(c), Optional.of(new Quota(bound, true)));
                line.append(" ").append(u).append("/").append(c).append("=").append(bound);
            }
            System.out.println(line);
            for (int u = 2; u < 5; u++) for (int c = 1; c < 5; c++) {
                String id = c == 1 ? "" : NAMES[c];
                double bound = q.quota(new KafkaPrincipal("User", NAMES[u]), id).bound();
                Map<String, String> tags = q.getOrCreateQuotaSensors(session(NAMES[u]), id).metricTags();
                System.out.printf("%d %d %d %s%n", u, c, bound == (double) Long.MAX_VALUE ? -1 : (long) bound,
                    bound == (double) Long.MAX_VALUE ? "-" : "[" + tags.get("user") + "] [" + tags.get("client-id") + "]");
            }
            q.shutdown();
        }
    }

    public static void main(String[] a) throws Exception {
        rates();
        buckets();
        levels();
        System.exit(0);
    }
}
