import java.io.*;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.*;
import java.util.concurrent.*;
import java.util.concurrent.locks.LockSupport;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's command line tools one after another in one virtual machine, each through its own
 * main. Every line of the standard input is one command: the class, its arguments and, after an
 * empty field, its own standard input, with tabs between the fields and \n for a new line. After
 * each command comes a line "=== CODE", before it what the tool printed on both of its outputs.
 */
public class Tools {
    /** How a tool ended: its exit code, and that it did. Known to the threads that it starts, so that one left behind ends no other. */
    static final InheritableThreadLocal<CompletableFuture<Integer>> ended = new InheritableThreadLocal<>();

    static final List<String> CHANGES = List.of("--alter", "--add", "--remove");
    static final long SETTLE_MS = 100;

    public static void main(String[] args) throws Exception {
        PrintStream out = System.out;
        // A tool that ends the machine is left standing where it does so. Of what it left to do at the end only a producer's
        // is run: it waits a second for a fuller batch, and sends it when it is closed.
        List<Runnable> closing = Collections.synchronizedList(new ArrayList<>());
        Exit.setExitProcedure(Tools::stop);
        Exit.setHaltProcedure(Tools::stop);
        Exit.setShutdownHookAdder((name, runnable) -> { if (name.startsWith("producer")) closing.add(runnable); });
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = in.readLine()) != null; ) {
            String[] fields = line.split("\t", -1);
            int end = Arrays.asList(fields).indexOf("");
            String input = end < 0 ? "" : fields[end + 1].replace("\\n", "\n");
            String[] rest = Arrays.copyOfRange(fields, 1, end < 0 ? fields.length : end);
            ByteArrayOutputStream bytes = new ByteArrayOutputStream();
            PrintStream both = new PrintStream(bytes, true, StandardCharsets.UTF_8);
            InputStream oldIn = System.in;
            System.setIn(new ByteArrayInputStream(input.getBytes(StandardCharsets.UTF_8)));
            System.setOut(both);
            System.setErr(both);
            int code = run(fields[0], rest, both);
            closing.forEach(Runnable::run);
            closing.clear();
            // Kafka shows a change a moment after it has said that it is done.
            if (!Collections.disjoint(Arrays.asList(rest), CHANGES)) Thread.sleep(SETTLE_MS);
            System.setIn(oldIn);
            System.setOut(out);
            both.flush();
            out.write(bytes.toByteArray());
            if (bytes.size() > 0 && bytes.toByteArray()[bytes.size() - 1] != '\n') out.println();
            out.println("=== " + code);
            out.flush();
        }
        Runtime.getRuntime().halt(0);
    }

    static void stop(int code, String message) {
        ended.get().complete(code);
        while (true) LockSupport.park();
    }

    /** Runs one main on a thread of its own, with a limit, and returns its exit code. */
    static int run(String name, String[] args, PrintStream err) throws Exception {
        CompletableFuture<Integer> end = new CompletableFuture<>();
        ended.set(end);
        Thread t = new Thread(() -> {
            int code = 0;
            try {
                Class.forName(name).getMethod("main", String[].class).invoke(null, (Object) args);
            } catch (InvocationTargetException e) {
                e.getCause().printStackTrace(err);
                code = 1;
            } catch (ReflectiveOperationException e) {
                err.println(e);
                code = 127;
            }
            end.complete(code);
        });
        t.setDaemon(true);
        t.start();
        try {
            return end.get(60, TimeUnit.SECONDS);
        } catch (TimeoutException e) {
            return -1;
        }
    }
}
