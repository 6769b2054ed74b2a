import java.io.File;
import org.apache.kerby.kerberos.kerb.server.SimpleKdcServer;

/**
 * A Kerberos server for one realm, until its standard input ends. Arguments: a directory, a port, and NAME=PRINCIPAL for each principal,
 * whose keys it writes to NAME.keytab; krb5.conf is there too. If a principal comes again, its earlier keys are valid no more. It prints
 * "ready" when it serves.
 */
public class Kdc {
    static final String REALM = "COMPAT.TEST";

    public static void main(String[] args) throws Exception {
        File dir = new File(args[0]);
        SimpleKdcServer kdc = new SimpleKdcServer();
        kdc.setWorkDir(dir);
        kdc.setKdcRealm(REALM);
        kdc.setKdcHost("127.0.0.1");
        kdc.setAllowUdp(false);
        kdc.setAllowTcp(true);
        kdc.setKdcTcpPort(Integer.parseInt(args[1]));
        kdc.init();
        kdc.start();
        for (int i = 2; i < args.length; i++) {
            String[] named = args[i].split("=");
            String principal = named[1] + "@" + REALM;
            if (kdc.getKadmin().getPrincipals().contains(principal)) kdc.deletePrincipal(principal);
            kdc.createPrincipal(principal, "secret of " + named[0]);
            kdc.exportPrincipal(principal, new File(dir, named[0] + ".keytab"));
        }
        System.out.println("ready");
        while (System.in.read() >= 0) { }
        System.exit(0);
    }
}
