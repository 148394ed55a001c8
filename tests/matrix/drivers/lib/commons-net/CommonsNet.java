import java.io.BufferedReader;
import java.io.File;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.FileWriter;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.io.PrintWriter;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import javax.net.ssl.SSLSession;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;
import org.apache.commons.net.PrintCommandListener;
import org.apache.commons.net.ftp.FTP;
import org.apache.commons.net.ftp.FTPClient;
import org.apache.commons.net.ftp.FTPReply;
import org.apache.commons.net.ftp.FTPSClient;

/**
 * Java's commons-net as a driver, see README.md. Its first argument is that of the driver; the property resuming is for
 * the subclass that resumes the session.
 *
 * Words are Latin-1 strings, one letter a byte, as the client gives and takes names of files.
 */
final class CommonsNet {
    private static final String WAYS = "explicit implicit none tls1.2 pasv epsv port+tls eprt6+tls ipv6 P C verify";
    private static final String COMMANDS = "open close list get put append get_rest put_rest rename delete mkdir rmdir"
        + " many put_folder get_folder abort leave leave_put";
    private static final boolean RESUMING = Boolean.getBoolean("resuming");
    private static final int KILLED = 137;

    private final PrintWriter log;
    private FTPClient client;

    private CommonsNet() throws IOException {
        log = new PrintWriter(new FileWriter(env("SCRATCH") + "/log", true), true);
    }

    /** What the client or the server says of a failure that is no exception. */
    private static final class Refused extends Exception {
        Refused(String text) {
            super(text);
        }
    }

    /**
     * The subclass that everybody copies: Java looks for a session under host and port, and there the one of the
     * control connection is put. With TLS 1.3 that finds none.
     */
    private static final class Resuming extends FTPSClient {
        Resuming(boolean implicit) {
            super(implicit);
        }

        @Override
        protected void _prepareDataSocket_(Socket socket) throws IOException {
            if (!(socket instanceof SSLSocket)) {
                return;
            }
            SSLSession session = ((SSLSocket) _socket_).getSession();
            try {
                var field = session.getSessionContext().getClass().getDeclaredField("sessionHostPortCache");
                field.setAccessible(true);
                var cache = field.get(session.getSessionContext());
                var put = cache.getClass().getDeclaredMethod("put", Object.class, Object.class);
                put.setAccessible(true);
                for (String host : List.of(socket.getInetAddress().getHostName(), socket.getInetAddress().getHostAddress())) {
                    put.invoke(cache, (host + ":" + socket.getPort()).toLowerCase(), session);
                }
            } catch (ReflectiveOperationException error) {
                throw new IOException(error);
            }
        }
    }

    private static String env(String name) {
        return System.getenv(name);
    }

    private FTPClient session() throws IOException, GeneralSecurityException, Refused {
        if (client == null) {
            client = connected();
        }
        return client;
    }

    private FTPClient connected() throws IOException, GeneralSecurityException, Refused {
        FTPClient made = env("TLS").equals("none") ? new FTPClient() : secured();
        made.addProtocolCommandListener(new PrintCommandListener(log, true));
        made.setControlEncoding("ISO-8859-1");
        made.connect(env("HOST"), Integer.parseInt(env("PORT")));
        must(made, FTPReply.isPositiveCompletion(made.getReplyCode()));
        must(made, made.login(env("USERNAME"), env("PASSWORD")));
        if (made instanceof FTPSClient) {
            ((FTPSClient) made).execPBSZ(0);
            ((FTPSClient) made).execPROT(env("PROT"));
        }
        must(made, made.setFileType(FTP.BINARY_FILE_TYPE));
        if (env("DATA").endsWith("sv")) {
            made.enterLocalPassiveMode();
            made.setUseEPSVwithIPv4(env("DATA").equals("epsv"));
        }
        return made;
    }

    private static FTPSClient secured() throws IOException, GeneralSecurityException {
        boolean implicit = env("TLS").equals("implicit");
        FTPSClient made = RESUMING ? new Resuming(implicit) : new FTPSClient(implicit);
        made.setTrustManager(trust());
        made.setEndpointCheckingEnabled(true);
        made.setEnabledProtocols(new String[] {"TLSv" + env("VERSION")});
        return made;
    }

    private static TrustManager trust() throws IOException, GeneralSecurityException {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null, null);
        try (InputStream file = new FileInputStream(env("AUTHORITY"))) {
            store.setCertificateEntry("authority", CertificateFactory.getInstance("X.509").generateCertificate(file));
        }
        TrustManagerFactory factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        factory.init(store);
        return factory.getTrustManagers()[0];
    }

    private static void must(FTPClient client, boolean done) throws Refused {
        if (!done) {
            throw new Refused(String.valueOf(client.getReplyString()).strip());
        }
    }

    /** Java takes the names of local files as text. */
    private static File file(String word) {
        return new File(new String(word.getBytes(StandardCharsets.ISO_8859_1), StandardCharsets.UTF_8));
    }

    private List<String> work(String command, String... words) throws Exception {
        FTPClient ftp = session();
        switch (command) {
            case "open":
                break;
            case "close":
                client = null;
                must(ftp, ftp.logout());
                ftp.disconnect();
                break;
            case "list":
                return list(ftp, words[0]);
            case "get":
                get(ftp, words[0], words[1], false);
                break;
            case "get_rest":
                ftp.setRestartOffset(file(words[1]).length());
                get(ftp, words[0], words[1], true);
                break;
            case "put":
                put(ftp, words[0], words[1]);
                break;
            case "append":
                try (InputStream file = new FileInputStream(file(words[0]))) {
                    must(ftp, ftp.appendFile(words[1], file));
                }
                break;
            case "put_rest":
                String size = ftp.getSize(words[1]);
                must(ftp, size != null);
                ftp.setRestartOffset(Long.parseLong(size));
                try (InputStream file = new FileInputStream(file(words[0]))) {
                    file.skipNBytes(Long.parseLong(size));
                    must(ftp, ftp.storeFile(words[1], file));
                }
                break;
            case "rename":
                must(ftp, ftp.rename(words[0], words[1]));
                break;
            case "delete":
                must(ftp, ftp.deleteFile(words[0]));
                break;
            case "mkdir":
                must(ftp, ftp.makeDirectory(words[0]));
                break;
            case "rmdir":
                must(ftp, ftp.removeDirectory(words[0]));
                break;
            case "many":
                for (int n = 0; n < Integer.parseInt(words[0]); n++) {
                    put(ftp, words[1], words[2] + "/" + n);
                    get(ftp, words[2] + "/" + n, words[3] + "/" + n, false);
                }
                break;
            case "put_folder":
                for (String name : file(words[0]).list()) {
                    String word = new String(name.getBytes(StandardCharsets.UTF_8), StandardCharsets.ISO_8859_1);
                    put(ftp, words[0] + "/" + word, words[1] + "/" + word);
                }
                break;
            case "get_folder":
                for (String name : list(ftp, words[0])) {
                    get(ftp, words[0] + "/" + name, words[1] + "/" + name, false);
                }
                break;
            case "abort":
                abort(ftp, words[0]);
                break;
            case "leave":
                inAnother("die_getting", words);
                break;
            case "leave_put":
                inAnother("die_putting", words);
                break;
            case "die_getting":
                begun(ftp, words[0]);
                Runtime.getRuntime().halt(KILLED);
                break;
            case "die_putting":
                OutputStream remote = ftp.storeFileStream(words[1]);
                must(ftp, remote != null);
                try (InputStream file = new FileInputStream(file(words[0]))) {
                    remote.write(file.readNBytes(65536));
                }
                remote.flush();
                Runtime.getRuntime().halt(KILLED);
                break;
            default:
                throw new Refused("no such command");
        }
        return List.of();
    }

    private static List<String> list(FTPClient ftp, String folder) throws IOException, Refused {
        String[] names = ftp.listNames(folder.isEmpty() ? null : folder);
        must(ftp, names != null);
        // Some servers put the folder before each name, and some name it and the one above it too.
        return Arrays.stream(names)
            .map(name -> name.substring(name.lastIndexOf('/') + 1))
            .filter(name -> !name.equals(".") && !name.equals(".."))
            .collect(Collectors.toList());
    }

    private static void get(FTPClient ftp, String remote, String local, boolean behind) throws IOException, Refused {
        try (OutputStream file = new FileOutputStream(file(local), behind)) {
            must(ftp, ftp.retrieveFile(remote, file));
        }
    }

    private static void put(FTPClient ftp, String local, String remote) throws IOException, Refused {
        try (InputStream file = new FileInputStream(file(local))) {
            must(ftp, ftp.storeFile(remote, file));
        }
    }

    /** The client hands on the reply to ABOR, or the one of the transfer where that comes before it: two then. */
    private static void abort(FTPClient ftp, String remote) throws IOException, Refused {
        InputStream data = begun(ftp, remote);
        boolean done = ftp.abort();
        data.close();
        must(ftp, done || ftp.completePendingCommand());
    }

    /** A download of which the first byte has come. */
    private static InputStream begun(FTPClient ftp, String remote) throws IOException, Refused {
        InputStream data = ftp.retrieveFileStream(remote);
        must(ftp, data != null);
        if (data.read() < 0) {
            throw new Refused("nothing came");
        }
        return data;
    }

    /** Has another process of ours begin it and be gone. Our own session is ended before: its user is one who goes. */
    private void inAnother(String command, String... words) throws Exception {
        work("close");
        Process other = new ProcessBuilder(System.getProperty("driver"), "run").redirectErrorStream(true).start();
        try (OutputStream input = other.getOutputStream()) {
            input.write((line(Stream.concat(Stream.of(command), Arrays.stream(words))) + "\n").getBytes());
        }
        String said = new String(other.getInputStream().readAllBytes(), StandardCharsets.ISO_8859_1);
        if (other.waitFor() != KILLED) {
            throw new Refused("it went on: " + said.strip());
        }
    }

    private void run() throws IOException {
        var input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.ISO_8859_1));
        var output = new PrintStream(System.out, true);
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            String[] words = Arrays.stream(line.split("\t", -1)).map(CommonsNet::read).toArray(String[]::new);
            Stream<String> answer;
            try {
                var result = work(words[0], Arrays.copyOfRange(words, 1, words.length));
                answer = Stream.concat(Stream.of("ok"), result.stream());
            } catch (Refused error) {
                answer = Stream.of("failed", error.getMessage());
            } catch (Exception error) {
                error.printStackTrace(log);
                answer = Stream.of("failed", error + reply());
                lose();
            }
            output.println(line(answer));
        }
        lose();
    }

    private String reply() {
        return client == null || client.getReplyString() == null ? "" : "; " + client.getReplyString().strip();
    }

    private void lose() throws IOException {
        if (client != null) {
            client.disconnect();
        }
        client = null;
    }

    private static String read(String word) {
        var text = new StringBuilder();
        for (int at = 0; at < word.length(); at++) {
            boolean written = word.charAt(at) == '%';
            text.append(written ? (char) Integer.parseInt(word.substring(at + 1, at + 3), 16) : word.charAt(at));
            at += written ? 2 : 0;
        }
        return text.toString();
    }

    private static String line(Stream<String> words) {
        return words.map(CommonsNet::written).collect(Collectors.joining("\t"));
    }

    private static String written(String word) {
        var text = new StringBuilder();
        for (byte letter : word.getBytes(StandardCharsets.ISO_8859_1)) {
            boolean plain = letter != '%' && letter != '\t' && letter != '\n' && letter != '\r' && letter > 0 && letter < 0x7f;
            text.append(plain ? String.valueOf((char) letter) : String.format("%%%02X", letter));
        }
        return text.toString();
    }

    public static void main(String[] arguments) throws IOException {
        switch (arguments.length == 1 ? arguments[0] : "") {
            case "can":
                System.out.println(String.join(" ", WAYS, RESUMING ? "resume" : "tls1.3", COMMANDS));
                break;
            case "run":
                new CommonsNet().run();
                break;
            default:
                System.err.println("usage: commons-net can|version|run");
                System.exit(64);
        }
    }
}
