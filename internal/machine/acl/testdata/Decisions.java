import java.io.*;
import java.net.InetAddress;
import java.util.*;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.acl.AclOperation;
import org.apache.kafka.common.metadata.AccessControlEntryRecord;
import org.apache.kafka.common.metrics.Metrics;
import org.apache.kafka.common.metrics.internals.PluginMetricsImpl;
import org.apache.kafka.common.resource.*;
import org.apache.kafka.common.security.auth.*;
import org.apache.kafka.metadata.authorizer.*;
import org.apache.kafka.server.authorizer.*;

/**
 * Asks Kafka's StandardAuthorizer what comes in on standard input, and answers a byte for each question: 1 for allowed, 2 for
 * allowed on some resource of the type, 4 for a failure.
 */
public class Decisions {
    private static DataInputStream in;

    public static void main(String[] args) throws Exception {
        in = new DataInputStream(new BufferedInputStream(System.in, 1 << 16));
        BufferedOutputStream out = new BufferedOutputStream(System.out, 1 << 16);
        StandardAuthorizer authorizer = null;
        Metrics metrics = new Metrics();
        int sets = 0;
        for (int command = in.read(); command >= 0; command = in.read()) {
            switch (command) {
                case 'C':
                    authorizer = new StandardAuthorizer();
                    authorizer.withPluginMetrics(new PluginMetricsImpl(metrics, Map.of("set", String.valueOf(sets++))));
                    authorizer.configure(Map.of("super.users", in.readUTF(), "allow.everyone.if.no.acl.found", String.valueOf(in.readBoolean()), "node.id", "1"));
                    Map<Uuid, StandardAcl> all = new LinkedHashMap<>();
                    for (int n = in.readInt(); n > 0; n--) {
                        StandardAclWithId acl = rule();
                        all.put(acl.id(), acl.acl());
                    }
                    authorizer.loadSnapshot(all);
                    authorizer.completeInitialLoad();
                    break;
                case 'W':
                    for (int n = in.readInt(); n > 0; n--)
                        authorizer.removeAcl(new Uuid(in.readLong(), in.readLong()));
                    for (int n = in.readInt(); n > 0; n--) {
                        StandardAclWithId acl = rule();
                        authorizer.addAcl(acl.id(), acl.acl());
                    }
                    break;
                case 'Q':
                    for (int n = in.readInt(); n > 0; n--)
                        out.write(answer(authorizer));
                    out.flush();
                    break;
                case 'T':
                    time(authorizer, new DataOutputStream(out));
                    out.flush();
                    break;
                default:
                    throw new IOException("command " + command);
            }
        }
    }

    private static StandardAclWithId rule() throws IOException {
        return StandardAclWithId.fromRecord(new AccessControlEntryRecord().setId(new Uuid(in.readLong(), in.readLong()))
            .setResourceType(in.readByte()).setResourceName(in.readUTF()).setPatternType(in.readByte()).setPrincipal(in.readUTF())
            .setHost(in.readUTF()).setOperation(in.readByte()).setPermissionType(in.readByte()));
    }

    /** Answers the median of what decisions take, in nanoseconds, once the virtual machine has compiled them. */
    private static void time(StandardAuthorizer authorizer, DataOutputStream out) throws IOException {
        List<Asker> who = new ArrayList<>();
        List<List<Action>> what = new ArrayList<>();
        for (int n = in.readInt(); n > 0; n--) {
            who.add(new Asker(new KafkaPrincipal(in.readUTF(), in.readUTF()), InetAddress.getByAddress(in.readNBytes(in.readByte()))));
            AclOperation operation = AclOperation.fromCode(in.readByte());
            what.add(List.of(new Action(operation, new ResourcePattern(ResourceType.fromCode(in.readByte()), in.readUTF(), PatternType.LITERAL), 1, true, false)));
        }
        long[] took = new long[who.size()];
        for (int round = 0; round < 200; round++) {
            for (int i = 0; i < took.length; i++) {
                long begin = System.nanoTime();
                authorizer.authorize(who.get(i), what.get(i));
                took[i] = System.nanoTime() - begin;
            }
        }
        Arrays.sort(took);
        out.writeLong(took[took.length / 2]);
    }

    private static int answer(StandardAuthorizer authorizer) throws IOException {
        Asker who = new Asker(new KafkaPrincipal(in.readUTF(), in.readUTF()), InetAddress.getByAddress(in.readNBytes(in.readByte())));
        AclOperation operation = AclOperation.fromCode(in.readByte());
        ResourceType type = ResourceType.fromCode(in.readByte());
        ResourcePattern what = new ResourcePattern(type, in.readUTF(), PatternType.LITERAL);
        try {
            int allowed = authorizer.authorize(who, List.of(new Action(operation, what, 1, true, false))).get(0) == AuthorizationResult.ALLOWED ? 1 : 0;
            return allowed | (authorizer.authorizeByResourceType(who, operation, type) == AuthorizationResult.ALLOWED ? 2 : 0);
        } catch (RuntimeException e) {
            e.printStackTrace();
            return 4;
        }
    }

    private record Asker(KafkaPrincipal principal, InetAddress clientAddress) implements AuthorizableRequestContext {
        public String listenerName() { return "PLAINTEXT"; }
        public SecurityProtocol securityProtocol() { return SecurityProtocol.PLAINTEXT; }
        public int requestType() { return 0; }
        public int requestVersion() { return 0; }
        public String clientId() { return "test"; }
        public int correlationId() { return 0; }
    }
}
