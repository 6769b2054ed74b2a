// Lets Apache Kafka's own SASL servers and parsers judge what peers and operators may write:
//
//     java -Dorg.apache.kafka.sasl.oauthbearer.allowed.urls=file:$PWD/jwks.json -Dorg.apache.kafka.sasl.oauthbearer.allowed.files=$PWD/jwks.json \
//         -cp "$KAFKA_HOME/lib/*" Verdicts.java verdicts.txt > new.txt
//
// The cases and the keys of their tokens come from `go test -run TestWriteCases -rewrite`.
// A line is "VERDICT : KIND NAME ARGUMENTS", arguments in hex; the verdict is put in anew:
//
//     ok WHAT        it passes, and what came of it (in hex)
//     more           another message is awaited
//     refused WHY    SaslAuthenticationException: the client sees why
//     hidden WHY     SaslException: the client sees nothing
//     error CLASS    any other exception
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.util.*;
import javax.security.auth.login.AppConfigurationEntry;
import javax.security.sasl.*;
import org.apache.kafka.common.config.types.Password;
import org.apache.kafka.common.errors.SaslAuthenticationException;
import org.apache.kafka.common.network.ListenerName;
import org.apache.kafka.common.security.JaasContext;
import org.apache.kafka.common.security.auth.AuthenticateCallbackHandler;
import org.apache.kafka.common.security.authenticator.CredentialCache;
import org.apache.kafka.common.security.kerberos.*;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler;
import org.apache.kafka.common.security.oauthbearer.internals.*;
import org.apache.kafka.common.security.oauthbearer.internals.unsecured.OAuthBearerUnsecuredValidatorCallbackHandler;
import org.apache.kafka.common.security.plain.internals.*;
import org.apache.kafka.common.security.scram.*;
import org.apache.kafka.common.security.scram.internals.*;
import org.apache.kafka.common.security.token.delegation.TokenInformation;
import org.apache.kafka.common.security.token.delegation.internals.DelegationTokenCache;
import org.apache.kafka.common.security.auth.KafkaPrincipal;

public class Verdicts {
    static String text(String hex) { return new String(bytes(hex), StandardCharsets.UTF_8); }
    static byte[] bytes(String hex) { return HexFormat.of().parseHex(hex.equals("-") ? "" : hex); }
    static String hex(String s) { return s.isEmpty() ? "-" : HexFormat.of().formatHex(s.getBytes(StandardCharsets.UTF_8)); }

    static List<AppConfigurationEntry> login(String mechanism, String line) {
        return JaasContext.loadServerContext(new ListenerName("CLIENT"), mechanism,
            Map.of(mechanism.toLowerCase() + ".sasl.jaas.config", new Password(line))).configurationEntries();
    }

    static String jaas(String line) {
        AppConfigurationEntry e = login("PLAIN", line).get(0);
        StringBuilder b = new StringBuilder(e.getLoginModuleName() + "\n" + e.getControlFlag().toString().replaceAll(".* ", "") + "\n");
        new TreeMap<String, Object>((Map<String, Object>) e.getOptions()).forEach((k, v) -> b.append(k + "\n" + v + "\n"));
        return "ok " + hex(b.toString());
    }

    static String step(SaslServer s, byte[] token) throws Exception {
        s.evaluateResponse(token);
        return s.isComplete() ? "ok " + hex(s.getAuthorizationID()) : "more";
    }

    static AuthenticateCallbackHandler plainUsers() {
        PlainServerCallbackHandler h = new PlainServerCallbackHandler();
        h.configure(Map.of(), "PLAIN", login("PLAIN", "org.apache.kafka.common.security.plain.PlainLoginModule required user_admin=\"admin-secret\" user_alice=\"alice-secret\" user_eve=\"\";"));
        return h;
    }

    static ScramCredential credential(ScramMechanism m, String password, String salt, int iterations) throws Exception {
        ScramFormatter f = new ScramFormatter(m);
        byte[] s = ScramFormatter.toBytes(salt);
        return f.generateCredential(s, f.saltedPassword(password, s, iterations), iterations);
    }

    static AuthenticateCallbackHandler scramUsers(ScramMechanism m) throws Exception {
        CredentialCache.Cache<ScramCredential> users = new CredentialCache().createCache(m.mechanismName(), ScramCredential.class);
        users.put("alice", credential(m, "alice-secret", "alicesalt", 4096));
        users.put("a,b=c", credential(m, "odd-secret", "oddsalt", 4096));
        users.put("weak", credential(m, "weak-secret", "weaksalt", 4095));
        DelegationTokenCache tokens = new DelegationTokenCache(List.of(m.mechanismName()));
        KafkaPrincipal owner = new KafkaPrincipal("User", "owner");
        TokenInformation info = new TokenInformation("token1", owner, List.of(), 0, 4102444800000L, 4102444800000L);
        tokens.addToken("token1", info);
        tokens.updateCache(new org.apache.kafka.common.security.token.delegation.DelegationToken(info, new byte[]{1}), Map.of(m.mechanismName(), credential(m, "token-hmac", "tokensalt", 4096)));
        ScramServerCallbackHandler h = new ScramServerCallbackHandler(users, tokens);
        h.configure(Map.of(), m.mechanismName(), List.of());
        return h;
    }

    // A whole exchange; change says what is wrong with the last message.
    static String scram(String mechanism, String change, byte[] first, String password) throws Exception {
        ScramMechanism m = ScramMechanism.forMechanismName(mechanism);
        ScramFormatter f = new ScramFormatter(m);
        ScramSaslServer s = new ScramSaslServer(m, Map.of(), scramUsers(m));
        byte[] answer = s.evaluateResponse(first);
        if (change.equals("none")) return "more";
        ScramMessages.ServerFirstMessage serverFirst = new ScramMessages.ServerFirstMessage(answer);
        ScramMessages.ClientFirstMessage clientFirst = new ScramMessages.ClientFirstMessage(first);
        ScramMessages.ClientFinalMessage last = new ScramMessages.ClientFinalMessage(clientFirst.gs2Header().getBytes(StandardCharsets.UTF_8), serverFirst.nonce());
        byte[] salted = f.saltedPassword(password, serverFirst.salt(), serverFirst.iterations());
        last.proof(f.clientProof(salted, clientFirst, serverFirst, last));
        String message = new String(last.toBytes(), StandardCharsets.UTF_8);
        switch (change) {
            case "good": break;
            case "nonce": message = message.replace(",p=", "x,p="); break;
            case "clientnonce": message = message.replaceAll(",r=[^,]*", ",r=nonce"); break;
            case "proof": message = message.replaceAll(",p=....", ",p=AAAA"); break;
            case "shortproof": message = message.replaceAll(",p=.*", ",p=AAAA"); break;
            case "noproof": message = message.replaceAll(",p=.*", ""); break;
            case "base64": message = message.replaceAll(",p=.*", ",p=A*AA"); break;
            case "again": message = new String(first, StandardCharsets.UTF_8); break;
            case "empty": message = ""; break;
            case "channel": message = message.replace("c=", "c=*"); break;
            default: throw new IllegalStateException(change);
        }
        return step(s, message.getBytes(StandardCharsets.UTF_8));
    }

    static String jwt(byte[] token) throws Exception {
        Map<String, Object> c = new HashMap<>();
        c.put("sasl.oauthbearer.jwks.endpoint.url", "file:" + Path.of("jwks.json").toAbsolutePath());
        c.put("sasl.oauthbearer.expected.issuer", "https://issuer.example");
        c.put("sasl.oauthbearer.expected.audience", List.of("kafka", "moldau"));
        c.put("sasl.oauthbearer.clock.skew.seconds", 30);
        c.put("sasl.oauthbearer.scope.claim.name", "scope");
        c.put("sasl.oauthbearer.sub.claim.name", "sub");
        c.put("sasl.oauthbearer.jwt.validator.class", Class.forName("org.apache.kafka.common.security.oauthbearer.DefaultJwtValidator"));
        OAuthBearerValidatorCallbackHandler h = new OAuthBearerValidatorCallbackHandler();
        h.configure(c, "OAUTHBEARER", login("OAUTHBEARER", "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;"));
        return bearer(new OAuthBearerSaslServer(h), token);
    }

    static String unsecured(byte[] token) throws Exception {
        OAuthBearerUnsecuredValidatorCallbackHandler h = new OAuthBearerUnsecuredValidatorCallbackHandler();
        h.configure(Map.of(), "OAUTHBEARER", login("OAUTHBEARER", "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub=\"x\" unsecuredValidatorRequiredScope=\"read write\";"));
        return bearer(new OAuthBearerSaslServer(h), token);
    }

    static String bearer(OAuthBearerSaslServer s, byte[] token) throws Exception {
        byte[] answer = s.evaluateResponse(token);
        if (s.isComplete()) return "ok " + hex(s.getAuthorizationID()) + " " + s.getNegotiatedProperty("CREDENTIAL.LIFETIME.MS");
        return step(s, new byte[]{1});
    }

    static String verdict(String[] f) {
        try {
            switch (f[0]) {
                case "jaas": return jaas(text(f[2]));
                case "plain": return step(new PlainSaslServer(plainUsers()), bytes(f[2]));
                case "scram": return scram(f[2], f[3], bytes(f[4]), text(f[5]));
                case "bearer":
                    OAuthBearerClientInitialResponse r = new OAuthBearerClientInitialResponse(bytes(f[2]));
                    return "ok " + hex(r.authorizationId()) + " " + hex(r.tokenValue());
                case "jwt": return jwt(bytes(f[2]));
                case "unsecured": return unsecured(bytes(f[2]));
                case "kerberos":
                    List<String> rules = new ArrayList<>();
                    for (String rule : f[3].split(",")) rules.add(text(rule));
                    return "ok " + hex(KerberosShortNamer.fromUnparsedRules(text(f[2]), rules).shortName(KerberosName.parse(text(f[4]))));
                default: throw new IllegalStateException(f[0]);
            }
        } catch (SaslAuthenticationException e) {
            return "refused " + hex(e.getMessage());
        } catch (SaslException e) {
            return "hidden " + hex(String.valueOf(e.getMessage()));
        } catch (Exception e) {
            return "error " + e.getClass().getSimpleName() + " " + hex(String.valueOf(e.getMessage()));
        }
    }

    public static void main(String[] args) throws Exception {
        for (String line : Files.readAllLines(Path.of(args[0]))) {
            String c = line.substring(line.indexOf(" : ") + 3);
            System.out.println(verdict(c.split(" ")) + " : " + c);
        }
        System.exit(0);
    }
}
