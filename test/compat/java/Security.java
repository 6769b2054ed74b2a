import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.time.Duration;
import java.util.*;
import java.util.concurrent.*;
import javax.security.auth.callback.Callback;
import javax.security.auth.callback.UnsupportedCallbackException;
import javax.security.auth.login.AppConfigurationEntry;
import org.apache.kafka.clients.admin.*;
import org.apache.kafka.clients.consumer.*;
import org.apache.kafka.clients.producer.*;
import org.apache.kafka.common.security.auth.AuthenticateCallbackHandler;
import org.apache.kafka.common.security.auth.SaslExtensionsCallback;
import org.apache.kafka.common.security.oauthbearer.*;
import org.apache.kafka.common.serialization.*;

/**
 * The rows of the matrix of mechanisms with Kafka's Java client. Argument: a file with the rows; all at once. Each prints its name, a tab, and
 * how each step of it ended: create a topic, produce to it, consume from it, produce to a topic that only others may write.
 */
public class Security {
    static final int ROWS_AT_ONCE = 6;

    public static void main(String[] args) throws Exception {
        JsonNode rows = new ObjectMapper().readTree(new File(args[0]));
        for (JsonNode row : rows)
            if (row.has("krb5")) System.setProperty("java.security.krb5.conf", row.get("krb5").asText());
        ExecutorService pool = Executors.newFixedThreadPool(ROWS_AT_ONCE);
        for (JsonNode row : rows)
            pool.submit(() -> {
                String outcome = run(row);
                synchronized (System.out) {
                    System.out.println(row.get("name").asText() + "\t" + outcome);
                }
            });
        pool.shutdown();
        pool.awaitTermination(3, TimeUnit.MINUTES);
        System.out.flush();
        Runtime.getRuntime().halt(0);
    }

    static String run(JsonNode row) {
        String topic = text(row, "prefix") + "-topic";
        String step = "create";
        try (Admin admin = Admin.create(settings(row))) {
            admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1))).all().get();
            step = "produce";
            try (KafkaProducer<String, String> p = new KafkaProducer<>(settings(row), new StringSerializer(), new StringSerializer())) {
                for (int i = 0; i < 3; i++) p.send(new ProducerRecord<>(topic, 0, "k", "v" + i)).get();
                String idle = text(row, "rest");
                if (!idle.isEmpty()) { // authenticates anew on the connection meanwhile
                    Thread.sleep(Long.parseLong(idle));
                    p.send(new ProducerRecord<>(topic, 0, "k", "later")).get();
                }
                step = "consume";
                consume(row, topic);
                step = "other";
                if (text(row, "other").isEmpty()) return "ok";
                p.send(new ProducerRecord<>(text(row, "other"), 0, "k", "v")).get();
            }
            return "other=written, which only others may";
        } catch (Throwable e) {
            return step + "=" + say(e);
        }
    }

    static void consume(JsonNode row, String topic) {
        Map<String, Object> c = settings(row);
        c.put("group.id", text(row, "prefix") + "-group");
        c.put("auto.offset.reset", "earliest");
        try (KafkaConsumer<String, String> consumer = new KafkaConsumer<>(c, new StringDeserializer(), new StringDeserializer())) {
            consumer.subscribe(List.of(topic));
            int got = 0;
            for (long end = System.nanoTime() + 40_000_000_000L; got < 3; ) {
                if (System.nanoTime() > end) throw new IllegalStateException("got " + got + " of 3 records in 40 s");
                got += consumer.poll(Duration.ofMillis(200)).count();
            }
            consumer.commitSync();
        }
    }

    static String say(Throwable e) {
        while (e instanceof ExecutionException || e.getClass() == org.apache.kafka.common.KafkaException.class && e.getCause() != null) e = e.getCause();
        return e.getClass().getSimpleName() + ": " + e.getMessage();
    }

    static String text(JsonNode row, String key) {
        return row.has(key) ? row.get(key).asText() : "";
    }

    static Map<String, Object> settings(JsonNode row) {
        Map<String, Object> c = new HashMap<>(Map.of("bootstrap.servers", text(row, "bootstrap"), "security.protocol", text(row, "protocol"),
            "default.api.timeout.ms", "40000", "request.timeout.ms", "15000", "max.block.ms", "40000", "delivery.timeout.ms", "40000", "linger.ms", "0"));
        if (!text(row, "ca").isEmpty()) {
            c.put("ssl.truststore.location", text(row, "ca") + ".p12");
            c.put("ssl.truststore.type", "PKCS12");
            c.put("ssl.truststore.password", text(row, "store"));
        }
        if (!text(row, "cert").isEmpty()) {
            c.put("ssl.keystore.location", text(row, "cert") + ".p12");
            c.put("ssl.keystore.type", "PKCS12");
            c.put("ssl.keystore.password", text(row, "store"));
        }
        if (!text(row, "tls").isEmpty()) c.put("ssl.enabled.protocols", text(row, "tls"));
        String mechanism = text(row, "mechanism");
        if (mechanism.isEmpty()) return c;
        c.put("sasl.mechanism", mechanism);
        String module = "org.apache.kafka.common.security.scram.ScramLoginModule", more = "";
        switch (mechanism) {
            case "PLAIN" -> module = "org.apache.kafka.common.security.plain.PlainLoginModule";
            case "OAUTHBEARER" -> {
                c.put("sasl.jaas.config", "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required token=\"" + text(row, "token") + "\";");
                c.put("sasl.login.callback.handler.class", Bearer.class.getName());
                return c;
            }
            case "GSSAPI" -> {
                c.put("sasl.kerberos.service.name", "kafka");
                c.put("sasl.jaas.config", "com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true storeKey=true doNotPrompt=true keyTab=\""
                    + text(row, "keytab") + "\" principal=\"" + text(row, "username") + "\";");
                return c;
            }
        }
        if (row.path("delegated").asBoolean()) more = " tokenauth=\"true\"";
        c.put("sasl.jaas.config", module + " required username=\"" + text(row, "username") + "\" password=\"" + text(row, "password") + "\"" + more + ";");
        return c;
    }

    /** Gives the token that the login module's options name. */
    public static class Bearer implements AuthenticateCallbackHandler {
        String token;

        @Override
        public void configure(Map<String, ?> configs, String mechanism, List<AppConfigurationEntry> entries) {
            token = (String) entries.get(0).getOptions().get("token");
        }

        @Override
        public void handle(Callback[] callbacks) throws UnsupportedCallbackException {
            for (Callback c : callbacks) {
                if (c instanceof OAuthBearerTokenCallback t) t.token(new Token(token));
                else if (!(c instanceof SaslExtensionsCallback)) throw new UnsupportedCallbackException(c);
            }
        }

        @Override
        public void close() {}
    }

    record Token(String value) implements OAuthBearerToken {
        @Override
        public Set<String> scope() { return Set.of(); }

        @Override
        public long lifetimeMs() { return System.currentTimeMillis() + 3_600_000; }

        @Override
        public String principalName() { return "client"; }

        @Override
        public Long startTimeMs() { return System.currentTimeMillis(); }
    }
}
