import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.*;
import org.apache.kafka.common.acl.*;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.*;
import org.apache.kafka.common.quota.*;
import org.apache.kafka.common.resource.*;
import org.apache.kafka.common.serialization.*;

/**
 * What clients are told who lack rights, and what becomes of them when rights come and go. Arguments: HOST:PORT of a listener where one
 * may do everything, and of one with PLAIN. Prints lines: a name, a tab, how it ended.
 */
public class Rights {
    interface Ask { Object get() throws Exception; }

    static final String TOPIC = "rights-topic", OTHER = "rights-other", GROUP = "rights-group";
    static final TopicPartition PARTITION = new TopicPartition(TOPIC, 0);
    static final long LIMIT = 120;
    static String everything, listener;
    static Admin root;

    public static void main(String[] args) throws Exception {
        everything = args[0];
        listener = args[1];
        root = Admin.create(settings(null));
        root.createTopics(List.of(new NewTopic(TOPIC, 1, (short) 1), new NewTopic(OTHER, 1, (short) 1))).all().get();
        fill();
        ExecutorService pool = Executors.newFixedThreadPool(5);
        List<Callable<Void>> parts = List.of(Rights::nothing, Rights::nothingOfGroups, Rights::nothingOfTransactions, Rights::patterns, Rights::session, Rights::some, Rights::someTransactions, Rights::quotas, Rights::mutations);
        List<Future<Void>> ends = new ArrayList<>();
        for (Callable<Void> p : parts) ends.add(pool.submit(p));
        int code = 0;
        for (Future<Void> f : ends)
            try {
                f.get(LIMIT, TimeUnit.SECONDS);
            } catch (ExecutionException | java.util.concurrent.TimeoutException e) {
                e.printStackTrace();
                code = 1;
            }
        System.out.flush();
        Runtime.getRuntime().halt(code);
    }

    static void note(String name, String outcome) {
        synchronized (System.out) {
            System.out.println(name + "\t" + outcome);
        }
    }

    static Map<String, Object> settings(String user) {
        Map<String, Object> c = new HashMap<>(Map.of("bootstrap.servers", user == null ? everything : listener, "default.api.timeout.ms", "40000", "request.timeout.ms", "15000",
            "max.block.ms", "40000", "delivery.timeout.ms", "40000", "linger.ms", "0", "metadata.max.age.ms", "500"));
        if (user == null) return c;
        c.put("security.protocol", "SASL_PLAINTEXT");
        c.put("sasl.mechanism", "PLAIN");
        c.put("sasl.jaas.config", "org.apache.kafka.common.security.plain.PlainLoginModule required username=\"" + user + "\" password=\"" + user + "-secret\";");
        return c;
    }

    static KafkaProducer<String, String> producer(String user, String... more) {
        Map<String, Object> c = settings(user);
        for (int i = 0; i < more.length; i += 2) c.put(more[i], more[i + 1]);
        return new KafkaProducer<>(c, new StringSerializer(), new StringSerializer()) {
            @Override
            public void close() { close(Duration.ofSeconds(2)); } // an idempotent one that was refused would never end by itself
        };
    }

    static KafkaConsumer<String, String> consumer(String user, String... more) {
        Map<String, Object> c = settings(user);
        c.put("group.id", GROUP);
        c.put("enable.auto.commit", "false");
        c.put("auto.offset.reset", "earliest");
        for (int i = 0; i < more.length; i += 2) c.put(more[i], more[i + 1]);
        return new KafkaConsumer<>(c, new StringDeserializer(), new StringDeserializer());
    }

    static ProducerRecord<String, String> record(String topic) { return new ProducerRecord<>(topic, 0, "k", "v"); }

    static void fill() throws Exception {
        try (KafkaProducer<String, String> p = producer(null); KafkaConsumer<String, String> c = consumer(null)) {
            for (int i = 0; i < 20; i++) p.send(record(TOPIC)).get();
            c.assign(List.of(PARTITION));
            c.commitSync(Map.of(PARTITION, new OffsetAndMetadata(1)));
        }
    }

    /** Asks once, and notes how it ended. */
    static void ask(String name, Ask a) { note(name, outcome(a)); }

    static String outcome(Ask a) {
        try {
            return String.valueOf(a.get());
        } catch (Throwable e) {
            while ((e instanceof ExecutionException || e.getClass() == KafkaException.class) && e.getCause() != null) e = e.getCause();
            String text = e.getClass().getSimpleName() + ": " + e.getMessage();
            if (e instanceof TopicAuthorizationException t) text += " " + t.unauthorizedTopics();
            return text.replace('\n', ' ');
        }
    }

    /** Asks again until it ends so, for a while: a change of rights takes a moment to be everywhere. Notes how it ended last. */
    static void until(String begins, String name, Ask a) throws Exception {
        String got = "";
        for (long end = System.nanoTime() + 20_000_000_000L; System.nanoTime() < end && !(got = outcome(a)).startsWith(begins); ) Thread.sleep(50);
        note(name, got);
    }

    static final Map<String, String> DONE = Map.of();

    static Object done(KafkaFuture<?> f) throws Exception {
        f.get();
        return "done";
    }

    static Void nothing() throws Exception {
        ConfigResource topic = new ConfigResource(ConfigResource.Type.TOPIC, TOPIC), broker = new ConfigResource(ConfigResource.Type.BROKER, "1"),
            group = new ConfigResource(ConfigResource.Type.GROUP, GROUP), metrics = new ConfigResource(ConfigResource.Type.CLIENT_METRICS, "m");
        try (Admin a = Admin.create(settings("poor"))) {
            ask("create topics", () -> done(a.createTopics(List.of(new NewTopic("rights-new", 1, (short) 1))).all()));
            ask("create topics, only tried", () -> done(a.createTopics(List.of(new NewTopic("rights-new", 1, (short) 1)), new CreateTopicsOptions().validateOnly(true)).all()));
            ask("delete topics", () -> done(a.deleteTopics(List.of(TOPIC)).all()));
            ask("delete topics that are not there", () -> done(a.deleteTopics(List.of("rights-absent")).all()));
            Uuid id = root.describeTopics(List.of(TOPIC)).allTopicNames().get().get(TOPIC).topicId();
            ask("delete topics by id", () -> outcome(() -> done(a.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all())).replace(id.toString(), "ID"));
            ask("describe topics by id", () -> outcome(() -> done(a.describeTopics(TopicCollection.ofTopicIds(List.of(id))).allTopicIds())).replace(id.toString(), "ID"));
            ask("create partitions", () -> done(a.createPartitions(Map.of(TOPIC, NewPartitions.increaseTo(2))).all()));
            ask("describe topics", () -> done(a.describeTopics(List.of(TOPIC)).allTopicNames()));
            ask("describe topics that are not there", () -> done(a.describeTopics(List.of("rights-absent")).allTopicNames()));
            ask("list topics", () -> a.listTopics().names().get());
            ask("list offsets", () -> done(a.listOffsets(Map.of(PARTITION, OffsetSpec.latest())).all()));
            ask("delete records", () -> done(a.deleteRecords(Map.of(PARTITION, RecordsToDelete.beforeOffset(1))).all()));
            for (ConfigResource r : List.of(topic, broker, group, metrics)) {
                ask("describe configs of " + r.type(), () -> a.describeConfigs(List.of(r)).all().get().values().stream().map(c -> c.entries().size() > 0).toList());
                ask("alter configs of " + r.type(), () -> done(a.incrementalAlterConfigs(Map.of(r, List.of(new AlterConfigOp(new ConfigEntry("retention.ms", "1"), AlterConfigOp.OpType.SET)))).all()));
            }
            ask("list config resources", () -> a.listConfigResources().all().get());
            ask("describe the cluster", () -> a.describeCluster().nodes().get().size());
            ask("describe the cluster with operations", () -> a.describeCluster(new DescribeClusterOptions().includeAuthorizedOperations(true)).authorizedOperations().get());
            ask("describe rules", () -> a.describeAcls(AclBindingFilter.ANY).values().get());
            ask("create rules", () -> done(a.createAcls(List.of(rule(PatternType.LITERAL, TOPIC, "poor", AclOperation.ALL, AclPermissionType.ALLOW))).all()));
            ask("delete rules", () -> done(a.deleteAcls(List.of(AclBindingFilter.ANY)).all()));
            ask("describe log directories", () -> a.describeLogDirs(List.of(1)).allDescriptions().get().get(1).values().stream().map(d -> d.error() + " " + d.replicaInfos()).toList());
            ask("move replicas", () -> done(a.alterReplicaLogDirs(Map.of(new TopicPartitionReplica(TOPIC, 0, 1), "/x")).all()));
            ask("elect leaders", () -> done(a.electLeaders(ElectionType.PREFERRED, Set.of(PARTITION)).all()));
            ask("reassign partitions", () -> done(a.alterPartitionReassignments(Map.of(PARTITION, Optional.of(new NewPartitionReassignment(List.of(1))))).all()));
            ask("list reassignments", () -> a.listPartitionReassignments().reassignments().get());
            ask("describe SCRAM credentials", () -> done(a.describeUserScramCredentials().all()));
            ask("alter SCRAM credentials", () -> done(a.alterUserScramCredentials(List.of(new UserScramCredentialUpsertion("poor", new ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096), "x"))).all()));
            ask("describe quotas", () -> a.describeClientQuotas(org.apache.kafka.common.quota.ClientQuotaFilter.all()).entities().get());
            ask("alter quotas", () -> done(a.alterClientQuotas(List.of(quota("poor", "producer_byte_rate", 1.0))).all()));
            ask("describe features", () -> a.describeFeatures().featureMetadata().get().finalizedFeatures().isEmpty());
            ask("update features", () -> done(a.updateFeatures(Map.of("group.version", new FeatureUpdate((short) 0, FeatureUpdate.UpgradeType.SAFE_DOWNGRADE)), new UpdateFeaturesOptions()).all()));
            ask("describe the quorum", () -> a.describeMetadataQuorum().quorumInfo().get().leaderId());
            ask("describe producers", () -> done(a.describeProducers(List.of(PARTITION)).all()));
            ask("unregister a broker", () -> done(a.unregisterBroker(9).all()));
            ask("add a voter", () -> done(a.addRaftVoter(9, Uuid.ONE_UUID, Set.of(new RaftVoterEndpoint("CONTROLLER", "localhost", 1))).all()));
            ask("remove a voter", () -> done(a.removeRaftVoter(9, Uuid.ONE_UUID).all()));
            ask("describe delegation tokens", () -> a.describeDelegationToken().delegationTokens().get());
            ask("delegation token for another", () -> done(a.createDelegationToken(new CreateDelegationTokenOptions().owner(new org.apache.kafka.common.security.auth.KafkaPrincipal("User", "root"))).delegationToken()));
        }
        return null;
    }

    static Void nothingOfGroups() throws Exception {
        try (Admin a = Admin.create(settings("poor"))) {
            ask("list groups", () -> a.listGroups().all().get());
            ask("describe groups", () -> done(a.describeConsumerGroups(List.of(GROUP)).all()));
            ask("describe classic groups", () -> done(a.describeClassicGroups(List.of(GROUP)).all()));
            ask("describe share groups", () -> done(a.describeShareGroups(List.of(GROUP)).all()));
            ask("describe streams groups", () -> done(a.describeStreamsGroups(List.of(GROUP)).all()));
            ask("delete groups", () -> done(a.deleteConsumerGroups(List.of(GROUP)).all()));
            ask("delete groups that are not there", () -> done(a.deleteConsumerGroups(List.of("rights-absent")).all()));
            ask("group's offsets", () -> a.listConsumerGroupOffsets(GROUP).partitionsToOffsetAndMetadata().get());
            ask("alter a group's offsets", () -> done(a.alterConsumerGroupOffsets(GROUP, Map.of(PARTITION, new OffsetAndMetadata(3))).all()));
            ask("delete a group's offsets", () -> done(a.deleteConsumerGroupOffsets(GROUP, Set.of(PARTITION)).all()));
            ask("share group's offsets", () -> a.listShareGroupOffsets(Map.of(GROUP, new ListShareGroupOffsetsSpec())).all().get());
            ask("alter a share group's offsets", () -> done(a.alterShareGroupOffsets(GROUP, Map.of(PARTITION, 1L)).all()));
            ask("delete a share group's offsets", () -> done(a.deleteShareGroupOffsets(GROUP, Set.of(TOPIC)).all()));
            ask("remove a group's members", () -> done(a.removeMembersFromConsumerGroup(GROUP, new RemoveMembersFromConsumerGroupOptions(Set.of(new MemberToRemove("x")))).all()));
        }
        for (String protocol : List.of("classic", "consumer")) {
            // Whether it is told of the topic or of the group first depends on the order of two answers.
            until(protocol.equals("classic") ? "Topic" : "Group", "join with the protocol " + protocol, () -> {
                try (KafkaConsumer<String, String> c = consumer("poor", "group.protocol", protocol)) {
                    c.subscribe(List.of(TOPIC));
                    return polled(c);
                }
            });
            until(protocol.equals("classic") ? "not" : "Group", "join by pattern with the protocol " + protocol, () -> {
                if (protocol.equals("classic")) return "not offered";
                try (KafkaConsumer<String, String> c = consumer("poor", "group.protocol", protocol)) {
                    c.subscribe(new SubscriptionPattern("rights-.*"));
                    return polled(c);
                }
            });
        }
        ask("join a share group", () -> {
            Map<String, Object> s = settings("poor");
            s.put("group.id", "rights-share");
            try (KafkaShareConsumer<String, String> c = new KafkaShareConsumer<>(s, new StringDeserializer(), new StringDeserializer())) {
                c.subscribe(List.of(TOPIC));
                for (int i = 0; i < 20; i++) c.poll(Duration.ofMillis(250));
                return "nothing";
            }
        });
        try (KafkaConsumer<String, String> c = consumer("poor")) {
            c.assign(List.of(PARTITION));
            ask("position", () -> c.position(PARTITION));
            ask("committed", () -> c.committed(Set.of(PARTITION)));
            ask("commit", () -> { c.commitSync(Map.of(PARTITION, new OffsetAndMetadata(2))); return "done"; });
            ask("end of a partition", () -> c.endOffsets(List.of(PARTITION)));
            ask("partitions of a topic", () -> c.partitionsFor(TOPIC));
            ask("topics", () -> c.listTopics());
            c.seekToBeginning(List.of(PARTITION));
            ask("fetch", () -> polled(c));
        }
        return null;
    }

    static Object polled(KafkaConsumer<?, ?> c) {
        for (int i = 0; i < 20; i++)
            if (c.poll(Duration.ofMillis(250)).count() > 0) return "got records";
        return "nothing in 5 s";
    }

    static Void nothingOfTransactions() {
        try (Admin a = Admin.create(settings("poor"))) {
            ask("list transactions", () -> a.listTransactions().all().get());
            ask("describe transactions", () -> done(a.describeTransactions(List.of("rights-id")).all()));
            ask("fence producers", () -> done(a.fenceProducers(List.of("rights-id")).all()));
            ask("abort a transaction", () -> done(a.abortTransaction(new AbortTransactionSpec(PARTITION, 1, (short) 0, 0)).all()));
        }
        try (KafkaProducer<String, String> p = producer("poor", "transactional.id", "rights-id")) {
            ask("begin transactions", () -> { p.initTransactions(); return "done"; });
        }
        try (KafkaProducer<String, String> p = producer("poor")) {
            ask("produce idempotently", () -> p.send(record(TOPIC)).get().topic());
            ask("produce to a topic that is not there", () -> p.send(record("rights-absent")).get().topic());
        }
        try (KafkaProducer<String, String> p = producer("poor", "enable.idempotence", "false", "acks", "1")) {
            ask("produce", () -> p.send(record(TOPIC)).get().topic());
        }
        return null;
    }

    static AclBinding rule(PatternType pattern, String topic, String user, AclOperation op, AclPermissionType permission) {
        return rule(ResourceType.TOPIC, pattern, topic, user, "*", op, permission);
    }

    static AclBinding rule(ResourceType type, PatternType pattern, String name, String user, String host, AclOperation op, AclPermissionType permission) {
        return new AclBinding(new ResourcePattern(type, name, pattern), new AccessControlEntry("User:" + user, host, op, permission));
    }

    static void add(AclBinding... rules) throws Exception { root.createAcls(List.of(rules)).all().get(); }

    static void remove(AclBinding... rules) throws Exception {
        root.deleteAcls(Arrays.stream(rules).map(AclBinding::toFilter).toList()).all().get();
    }

    /** Rules of all patterns come and go, and what user rita may do with them. */
    static Void patterns() throws Exception {
        AclBinding describe = rule(PatternType.LITERAL, TOPIC, "rita", AclOperation.DESCRIBE, AclPermissionType.ALLOW);
        AclBinding write = rule(PatternType.LITERAL, TOPIC, "rita", AclOperation.WRITE, AclPermissionType.ALLOW);
        AclBinding prefix = rule(PatternType.PREFIXED, "rights-", "rita", AclOperation.WRITE, AclPermissionType.ALLOW);
        AclBinding deny = rule(PatternType.PREFIXED, "rights-t", "rita", AclOperation.WRITE, AclPermissionType.DENY);
        AclBinding all = rule(PatternType.LITERAL, "*", "rita", AclOperation.WRITE, AclPermissionType.ALLOW);
        AclBinding everybody = rule(PatternType.LITERAL, OTHER, "*", AclOperation.WRITE, AclPermissionType.ALLOW); // on what user poor does not ask for
        AclBinding elsewhere = rule(ResourceType.TOPIC, PatternType.LITERAL, TOPIC, "rita", "192.0.2.1", AclOperation.WRITE, AclPermissionType.ALLOW);
        AclBinding here = rule(ResourceType.TOPIC, PatternType.LITERAL, TOPIC, "rita", "127.0.0.1", AclOperation.WRITE, AclPermissionType.ALLOW);
        AclBinding[] create = {rule(PatternType.PREFIXED, "rights-", "rita", AclOperation.CREATE, AclPermissionType.ALLOW)};
        AclBinding groups = rule(ResourceType.GROUP, PatternType.PREFIXED, "rights-", "rita", "*", AclOperation.READ, AclPermissionType.ALLOW);
        AclBinding cluster = rule(ResourceType.CLUSTER, PatternType.LITERAL, "kafka-cluster", "rita", "*", AclOperation.ALTER, AclPermissionType.ALLOW);
        try (Admin a = Admin.create(settings("rita")); KafkaProducer<String, String> p = producer("rita", "enable.idempotence", "false")) {
            Ask may = () -> new TreeSet<>(a.describeTopics(List.of(TOPIC), new DescribeTopicsOptions().includeAuthorizedOperations(true)).allTopicNames().get().get(TOPIC).authorizedOperations());
            Ask produce = () -> p.send(record(TOPIC)).get().topic(), other = () -> p.send(record(OTHER)).get().topic();
            add(describe);
            until("[", "operations with the right to describe", may);
            until("[rights", "topics with the right to describe one", () -> a.listTopics().names().get());
            until("Topic", "produce with the right to describe", produce);
            add(write);
            until(TOPIC, "produce with the right to write", produce);
            until("[", "operations with the right to write", may);
            ask("produce to another topic with the right to write one", other);
            remove(write, describe);
            until("Topic", "produce without the right again", produce);
            add(prefix);
            until(TOPIC, "produce by prefix", produce);
            until(OTHER, "produce to another by prefix", other);
            add(deny);
            until("Topic", "produce where a longer prefix denies", produce);
            until(OTHER, "produce where a longer prefix denies another", other);
            until("[DESCRIBE]", "operations where writing is denied", may);
            remove(prefix, deny);
            add(all);
            until(TOPIC, "produce with the right to all topics", produce);
            remove(all);
            until("Topic", "produce without the right to all topics", produce);
            until("Topic", "produce to another without the right to all topics", other);
            add(everybody);
            until(OTHER, "produce with everybody's right", other);
            remove(everybody);
            until("Topic", "produce without everybody's right", other);
            add(elsewhere);
            ask("produce with a right for another host", produce);
            remove(elsewhere);
            add(here);
            until(TOPIC, "produce with a right for this host", produce);
            remove(here);
            add(create);
            until("done", "create a topic by prefix", () -> done(a.createTopics(List.of(new NewTopic("rights-made", 1, (short) 1))).all()));
            ask("create a topic of another prefix", () -> done(a.createTopics(List.of(new NewTopic("other-made", 1, (short) 1))).all()));
            add(groups);
            until("done", "describe a group with the right to read", () -> done(a.describeConsumerGroups(List.of(GROUP)).all()));
            ask("group's offsets with a right to the group only", () -> a.listConsumerGroupOffsets(GROUP).partitionsToOffsetAndMetadata().get());
            ask("groups with a right to them", () -> a.listGroups().all().get().stream().map(GroupListing::groupId).filter(GROUP::equals).toList());
            add(cluster);
            until("[", "describe rules with the right to alter the cluster", () -> a.describeAcls(new AclBindingFilter(cluster.toFilter().patternFilter(), cluster.toFilter().entryFilter())).values().get());
            ask("describe quotas with the right to alter the cluster", () -> a.describeClientQuotas(ClientQuotaFilter.all()).entities().get());
            ask("operations on the cluster", () -> new TreeSet<>(a.describeCluster(new DescribeClusterOptions().includeAuthorizedOperations(true)).authorizedOperations().get()));
            remove(cluster, groups, create[0]);
        }
        return null;
    }

    /** Rights are taken away while user quentin's clients are at work. */
    static Void session() throws Exception {
        AclBinding write = rule(PatternType.LITERAL, OTHER, "quentin", AclOperation.WRITE, AclPermissionType.ALLOW);
        AclBinding read = rule(PatternType.LITERAL, TOPIC, "quentin", AclOperation.READ, AclPermissionType.ALLOW);
        AclBinding group = rule(ResourceType.GROUP, PatternType.LITERAL, "rights-session", "quentin", "*", AclOperation.READ, AclPermissionType.ALLOW);
        AclBinding id = rule(ResourceType.TRANSACTIONAL_ID, PatternType.LITERAL, "rights-session", "quentin", "*", AclOperation.WRITE, AclPermissionType.ALLOW);
        add(write, read, group, id);
        try (KafkaProducer<String, String> p = producer("quentin"); KafkaConsumer<String, String> c = consumer("quentin", "group.id", "rights-session", "max.poll.records", "1")) {
            until(OTHER, "produce in a session", () -> p.send(record(OTHER)).get().topic());
            remove(write);
            until("Topic", "produce after the right is revoked", () -> p.send(record(OTHER)).get().topic());
            add(write);
            until(OTHER, "produce after the right is given back", () -> p.send(record(OTHER)).get().topic());
            c.subscribe(List.of(TOPIC));
            until("got", "consume in a session", () -> polled(c));
            ask("commit in a session", () -> { c.commitSync(); return "done"; });
            remove(group);
            until("Group", "commit after the right to the group is revoked", () -> { c.commitSync(); return "done"; });
        }
        try (KafkaConsumer<String, String> c = consumer("quentin", "max.poll.records", "1", "fetch.max.bytes", "1", "max.partition.fetch.bytes", "1")) {
            c.assign(List.of(PARTITION));
            c.seekToBeginning(List.of(PARTITION));
            until("got", "fetch in a session", () -> polled(c));
            remove(read);
            until("Topic", "fetch after the right is revoked", () -> c.poll(Duration.ofMillis(250)).count());
        }
        try (KafkaProducer<String, String> p = producer("quentin", "transactional.id", "rights-session")) {
            until("done", "transactions in a session", () -> { p.initTransactions(); return "done"; });
            p.beginTransaction();
            ask("produce in a transaction", () -> p.send(record(OTHER)).get().topic());
            remove(id);
            Thread.sleep(500); // a refusal ends the producer, so there is one try
            ask("commit a transaction after the right is revoked", () -> { p.commitTransaction(); return "done"; });
        }
        return null;
    }

    static AclBinding may(String user, ResourceType type, String name, AclOperation op) {
        return rule(type, PatternType.LITERAL, name, user, "*", op, AclPermissionType.ALLOW);
    }

    /** Notes how each part of a request ended. */
    static <K, F extends KafkaFuture<?>> void each(String name, Map<K, F> parts) {
        parts.entrySet().stream().sorted(Comparator.comparing(e -> e.getKey().toString()))
            .forEach(e -> ask(name + ": " + e.getKey(), () -> { e.getValue().get(); return "done"; }));
    }

    /** User petra has one right of each kind, and asks for what has it and what has not in one request. */
    static Void some() throws Exception {
        String one = "rights-one", two = "rights-two", group = "rights-petra";
        TopicPartition first = new TopicPartition(one, 0), second = new TopicPartition(two, 0);
        root.createTopics(List.of(new NewTopic(one, 1, (short) 1), new NewTopic(two, 1, (short) 1))).all().get();
        try (KafkaProducer<String, String> p = producer(null)) {
            p.send(record(one)).get();
            p.send(record(two)).get();
        }
        AclBinding read = may("petra", ResourceType.TOPIC, one, AclOperation.READ), member = may("petra", ResourceType.GROUP, group, AclOperation.READ);
        add(read, member);
        try (Admin a = Admin.create(settings("petra"))) {
            until("[rights-one]", "topics of which one may be read", () -> a.listTopics().names().get());
            each("describe topics", a.describeTopics(List.of(one, two)).topicNameValues());
            Map<TopicPartition, OffsetSpec> specs = Map.of(first, OffsetSpec.latest(), second, OffsetSpec.latest());
            ListOffsetsResult offsets = a.listOffsets(specs);
            each("list offsets", Map.of(first, offsets.partitionResult(first), second, offsets.partitionResult(second)));
            each("alter a group's offsets", Map.of(first, a.alterConsumerGroupOffsets(group, Map.of(first, new OffsetAndMetadata(0))).partitionResult(first)));
            AlterConsumerGroupOffsetsResult altered = a.alterConsumerGroupOffsets(group, Map.of(first, new OffsetAndMetadata(0), second, new OffsetAndMetadata(0)));
            each("alter a group's offsets, more than is allowed", Map.of(first, altered.partitionResult(first), second, altered.partitionResult(second)));
            root.alterConsumerGroupOffsets(group, Map.of(second, new OffsetAndMetadata(0))).all().get();
            ask("offsets of a group, with those of a topic that may not be described", () -> a.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().keySet());
            DeleteConsumerGroupOffsetsResult dropped = a.deleteConsumerGroupOffsets(group, Set.of(first, second));
            each("delete a group's offsets", Map.of(first, dropped.partitionResult(first), second, dropped.partitionResult(second)));
            for (String protocol : List.of("classic", "consumer")) {
                try (KafkaConsumer<String, String> c = consumer("petra", "group.id", group, "group.protocol", protocol)) {
                    if (protocol.equals("classic")) c.subscribe(java.util.regex.Pattern.compile("rights-(one|two)"));
                    else c.subscribe(new SubscriptionPattern("rights-(one|two)"));
                    until("[rights-one-0]", "what a pattern finds with the protocol " + protocol, () -> { c.poll(Duration.ofMillis(100)); return c.assignment(); });
                }
            }
            AclBinding[] many = {may("petra", ResourceType.TOPIC, one, AclOperation.DESCRIBE_CONFIGS), may("petra", ResourceType.TOPIC, one, AclOperation.ALTER_CONFIGS),
                may("petra", ResourceType.TOPIC, one, AclOperation.ALTER), may("petra", ResourceType.TOPIC, one, AclOperation.DELETE),
                may("petra", ResourceType.TOPIC, "rights-three", AclOperation.CREATE), may("petra", ResourceType.GROUP, group, AclOperation.DELETE),
                may("petra", ResourceType.GROUP, group, AclOperation.DESCRIBE_CONFIGS), may("petra", ResourceType.GROUP, group, AclOperation.ALTER_CONFIGS)};
            add(many);
            ConfigResource own = new ConfigResource(ConfigResource.Type.TOPIC, one), other = new ConfigResource(ConfigResource.Type.TOPIC, two),
                ofGroup = new ConfigResource(ConfigResource.Type.GROUP, group);
            until("done", "describe configs with the right to", () -> done(a.describeConfigs(List.of(own)).all()));
            each("describe configs", a.describeConfigs(List.of(own, other, ofGroup)).values());
            List<AlterConfigOp> retention = List.of(new AlterConfigOp(new ConfigEntry("retention.ms", "3600000"), AlterConfigOp.OpType.SET));
            List<AlterConfigOp> session = List.of(new AlterConfigOp(new ConfigEntry("consumer.session.timeout.ms", "50000"), AlterConfigOp.OpType.SET));
            each("alter configs", a.incrementalAlterConfigs(Map.of(own, retention, other, retention, ofGroup, session)).values());
            each("create partitions", a.createPartitions(Map.of(one, NewPartitions.increaseTo(2), two, NewPartitions.increaseTo(2))).values());
            each("delete records", a.deleteRecords(Map.of(first, RecordsToDelete.beforeOffset(1), second, RecordsToDelete.beforeOffset(1))).lowWatermarks());
            CreateTopicsResult made = a.createTopics(List.of(new NewTopic("rights-three", 1, (short) 1), new NewTopic("rights-four", 1, (short) 1)));
            each("create topics", made.values());
            ask("settings of a topic that is made without the right to see them", () -> made.config("rights-three").get().entries().size());
            each("delete groups", a.deleteConsumerGroups(List.of(group, GROUP)).deletedGroups());
            each("delete topics", a.deleteTopics(List.of(one, two, "rights-absent")).topicNameValues());
            AclBinding see = may("petra", ResourceType.CLUSTER, "kafka-cluster", AclOperation.DESCRIBE);
            add(see);
            until("1", "describe the quorum with the right to describe the cluster", () -> a.describeMetadataQuorum().quorumInfo().get().leaderId());
            ask("log directories with the right to describe the cluster", () -> done(a.describeLogDirs(List.of(1)).allDescriptions()));
            ask("reassignments with the right to describe the cluster", () -> done(a.listPartitionReassignments().reassignments()));
            ask("SCRAM credentials with the right to describe the cluster", () -> done(a.describeUserScramCredentials().all()));
            ask("all groups with the right to describe the cluster", () -> a.listGroups().all().get().stream().anyMatch(g -> g.groupId().equals(GROUP)));
            remove(see);
        }
        return null;
    }

    /** User tessa may use a transactional id and one topic, and nothing else. */
    static Void someTransactions() throws Exception {
        add(may("tessa", ResourceType.TRANSACTIONAL_ID, "rights-tessa", AclOperation.WRITE), may("tessa", ResourceType.TOPIC, "rights-txn", AclOperation.WRITE));
        root.createTopics(List.of(new NewTopic("rights-txn", 1, (short) 1))).all().get();
        try (Admin a = Admin.create(settings("tessa"))) {
            try (KafkaProducer<String, String> p = producer("tessa", "transactional.id", "rights-tessa")) {
                until("done", "begin transactions with the right to", () -> { p.initTransactions(); return "done"; });
                p.beginTransaction();
                ask("produce in a transaction with the right to", () -> p.send(record("rights-txn")).get().topic());
                ask("describe a transaction with the right to write its id", () -> a.describeTransactions(List.of("rights-tessa")).all().get().get("rights-tessa").topicPartitions());
                ask("list transactions with a right to one", () -> a.listTransactions().all().get().stream().map(TransactionListing::transactionalId).toList());
                ask("commit a transaction with the right to", () -> { p.commitTransaction(); return "done"; });
                p.beginTransaction();
                ask("offsets into a transaction without a right to the group", () -> {
                    try (KafkaConsumer<String, String> c = consumer("tessa", "group.id", "rights-tessa")) {
                        p.sendOffsetsToTransaction(Map.of(PARTITION, new OffsetAndMetadata(1)), c.groupMetadata());
                    }
                    p.commitTransaction();
                    return "done";
                });
                ask("abort after a refusal", () -> { p.abortTransaction(); return "done"; });
                p.beginTransaction();
                ask("produce in a transaction without a right to the topic", () -> p.send(record(OTHER)).get().topic());
                ask("abort after another refusal", () -> { p.abortTransaction(); return "done"; });
            }
            AclBinding idempotent = may("tessa", ResourceType.CLUSTER, "kafka-cluster", AclOperation.IDEMPOTENT_WRITE);
            add(idempotent);
            try (KafkaProducer<String, String> p = producer("tessa")) {
                ask("produce idempotently without a right to the topic", () -> p.send(record(OTHER)).get().topic());
            }
            remove(idempotent);
        }
        return null;
    }

    static ClientQuotaAlteration quota(String user, String key, Double value) {
        return new ClientQuotaAlteration(new ClientQuotaEntity(Map.of(ClientQuotaEntity.USER, user)), List.of(new ClientQuotaAlteration.Op(key, value)));
    }

    /** User ann may write and read little a second; the clients must see that they are throttled. */
    static Void quotas() throws Exception {
        add(rule(PatternType.LITERAL, "rights-quota", "ann", AclOperation.ALL, AclPermissionType.ALLOW));
        root.createTopics(List.of(new NewTopic("rights-quota", 1, (short) 1))).all().get();
        root.alterClientQuotas(List.of(quota("ann", "producer_byte_rate", 20_000.0))).all().get();
        root.alterClientQuotas(List.of(quota("ann", "consumer_byte_rate", 20_000.0))).all().get();
        String value = "v".repeat(5_000);
        try (KafkaProducer<String, String> p = producer("ann", "enable.idempotence", "false")) {
            until("rights-quota", "produce with a quota", () -> p.send(new ProducerRecord<>("rights-quota", 0, "k", value)).get().topic());
            until("throttled", "producer_byte_rate throttles", () -> {
                for (int i = 0; i < 10; i++) p.send(new ProducerRecord<>("rights-quota", 0, "k", value));
                p.flush();
                return metric(p.metrics(), "produce-throttle-time-avg");
            });
        }
        TopicPartition partition = new TopicPartition("rights-quota", 0);
        try (KafkaConsumer<String, String> c = consumer("ann", "max.partition.fetch.bytes", "20000")) {
            c.assign(List.of(partition));
            until("throttled", "consumer_byte_rate throttles", () -> {
                c.seekToBeginning(List.of(partition));
                for (int i = 0; i < 4; i++) c.poll(Duration.ofMillis(500));
                return metric(c.metrics(), "fetch-throttle-time-avg");
            });
        }
        return null;
    }

    static String metric(Map<MetricName, ? extends Metric> metrics, String name) {
        for (Map.Entry<MetricName, ? extends Metric> e : metrics.entrySet())
            if (e.getKey().name().equals(name) && e.getValue().metricValue() instanceof Double d && d > 0) return "throttled";
        return "not throttled: " + metrics.keySet().stream().map(MetricName::name).filter(name::equals).collect(Collectors.joining());
    }

    /** User max may change little a second in the controller: KIP-599. */
    static Void mutations() throws Exception {
        add(rule(PatternType.PREFIXED, "rights-max", "max", AclOperation.CREATE, AclPermissionType.ALLOW));
        root.alterClientQuotas(List.of(quota("max", "controller_mutation_rate", 1.0))).all().get();
        try (Admin a = Admin.create(settings("max"))) {
            CreateTopicsOptions impatient = new CreateTopicsOptions().retryOnQuotaViolation(false);
            int[] n = {0};
            until("ThrottlingQuotaExceededException", "controller_mutation_rate throttles", () -> {
                NewTopic t = new NewTopic("rights-max-" + n[0]++, 4, (short) 1);
                return outcome(() -> done(a.createTopics(List.of(t), impatient).all()));
            });
        }
        return null;
    }
}
