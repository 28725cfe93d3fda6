package interop;

/** The SDK has no way to do what was asked. */
final class NotOffered extends RuntimeException {
    private static final long serialVersionUID = 1L;

    NotOffered(String why) {
        super(why);
    }
}
