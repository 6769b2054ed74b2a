import java.time.Duration;
import java.util.*;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.*;

/** The checks of share groups (KIP-932), on the topic of Client's groups. */
public class Queue {
    static KafkaShareConsumer<byte[], byte[]> member(String group, String mode) {
        KafkaShareConsumer<byte[], byte[]> c = new KafkaShareConsumer<>(Map.of("bootstrap.servers", Client.addr, "group.id", group,
            "share.acknowledgement.mode", mode, "fetch.max.wait.ms", 100), new ByteArrayDeserializer(), new ByteArrayDeserializer());
        c.subscribe(List.of(Client.topic("keys")));
        return c;
    }

    static void fromStart(String group) throws Exception {
        ConfigResource r = new ConfigResource(ConfigResource.Type.GROUP, group);
        Client.admin.incrementalAlterConfigs(Map.of(r, List.of(new AlterConfigOp(new ConfigEntry("share.auto.offset.reset", "earliest"), AlterConfigOp.OpType.SET)))).all().get();
    }

    static void checks() {
        Client.run("queue", Queue::queue);
        Client.run("release", Queue::release);
    }

    /** Two members take all records, each once; the group is listed, described and deleted. */
    static void queue() throws Exception {
        String group = Client.topic("queue");
        fromStart(group);
        Map<String, Integer> times = new HashMap<>();
        try (KafkaShareConsumer<byte[], byte[]> a = member(group, "implicit"); KafkaShareConsumer<byte[], byte[]> b = member(group, "implicit")) {
            Client.until("all records", () -> {
                for (KafkaShareConsumer<byte[], byte[]> c : List.of(a, b))
                    for (ConsumerRecord<byte[], byte[]> r : c.poll(Duration.ofMillis(100)))
                        Client.check(times.merge(r.partition() + "/" + r.offset(), 1, Integer::sum) == 1, "record %d of partition %d came again, delivery %s",
                            r.offset(), r.partition(), r.deliveryCount());
                return times.size() == Client.TOTAL;
            });
            a.commitSync();
            b.commitSync();
            ShareGroupDescription d = Client.admin.describeShareGroups(List.of(group)).all().get().get(group);
            Client.check(d.members().size() == 2 && d.groupState() == GroupState.STABLE, "the group is %s", d);
        }
        Client.check(Client.admin.listGroups(ListGroupsOptions.forShareGroups()).all().get().stream().anyMatch(g -> g.groupId().equals(group)), "the group is not listed");
        Client.until("the group is deleted", () -> {
            try {
                Client.admin.deleteShareGroups(List.of(group)).all().get();
            } catch (java.util.concurrent.ExecutionException e) {
                return false; // its members may be there still
            }
            return true;
        });
    }

    /** Every third record is given back and must come again, every fifth is rejected and must not. */
    static void release() throws Exception {
        String group = Client.topic("release");
        fromStart(group);
        Map<String, Integer> times = new TreeMap<>(), want = new TreeMap<>();
        int[] quiet = {0};
        try (KafkaShareConsumer<byte[], byte[]> c = member(group, "explicit")) {
            Client.until("the released records again", () -> {
                for (ConsumerRecord<byte[], byte[]> r : c.poll(Duration.ofMillis(100))) {
                    String at = r.partition() + "/" + r.offset();
                    int n = times.merge(at, 1, Integer::sum);
                    Client.check(r.deliveryCount().get() == n, "record %s comes for the %d. time and says %s", at, n, r.deliveryCount());
                    if (r.offset() % 5 == 1) {
                        want.put(at, 1);
                        c.acknowledge(r, AcknowledgeType.REJECT);
                    } else if (r.offset() % 3 == 0 && n == 1) {
                        want.put(at, 2);
                        c.acknowledge(r, AcknowledgeType.RELEASE);
                    } else {
                        want.merge(at, 1, Math::max);
                        c.acknowledge(r, AcknowledgeType.ACCEPT);
                    }
                }
                c.commitSync().forEach((tp, e) -> Client.check(e.isEmpty(), "%s: %s", tp, e));
                quiet[0] = times.size() == Client.TOTAL && times.equals(want) ? quiet[0] + 1 : 0;
                return quiet[0] > 3; // nothing else may come
            });
        }
    }
}
