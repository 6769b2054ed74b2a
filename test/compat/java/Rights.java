/** What a client without rights is told. */
public class Rights {
    public static void main(String[] args) {}
}
