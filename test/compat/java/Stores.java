import java.io.*;
import java.nio.charset.StandardCharsets;
import java.nio.file.*;
import java.security.*;
import java.security.cert.*;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;

/**
 * Makes PKCS#12 and JKS stores of PEM files. Every line of the standard input is one: "trust PATH PASSWORD" for an authority, or
 * "key PATH PASSWORD CA" for a certificate with its key and the authority it is of, with tabs between; the stores are PATH.p12 and PATH.jks.
 */
public class Stores {
    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = in.readLine()) != null; ) {
            String[] f = line.split("\t");
            char[] password = f[2].toCharArray();
            for (String type : new String[] {"PKCS12", "JKS"}) {
                KeyStore store = KeyStore.getInstance(type);
                store.load(null, null);
                if (f[0].equals("trust")) store.setCertificateEntry("ca", certificate(f[1]));
                else store.setKeyEntry("key", key(f[1]), password, new java.security.cert.Certificate[] {certificate(f[1]), certificate(f[3])});
                try (OutputStream out = new FileOutputStream(f[1] + (type.equals("JKS") ? ".jks" : ".p12"))) {
                    store.store(out, password);
                }
            }
        }
    }

    static java.security.cert.Certificate certificate(String path) throws Exception {
        try (InputStream in = new FileInputStream(path + ".crt")) {
            return CertificateFactory.getInstance("X.509").generateCertificate(in);
        }
    }

    static PrivateKey key(String path) throws Exception {
        String body = Files.readString(Path.of(path + ".key")).replaceAll("-----[^-]+-----|\\s", "");
        String kind = certificate(path).getPublicKey().getAlgorithm();
        return KeyFactory.getInstance(kind).generatePrivate(new PKCS8EncodedKeySpec(Base64.getDecoder().decode(body)));
    }
}
