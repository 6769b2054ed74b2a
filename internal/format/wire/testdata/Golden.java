import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.Type;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.jar.JarEntry;
import java.util.jar.JarFile;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.errors.UnsupportedVersionException;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.UnalignedMemoryRecords;

/**
 * Writes kafka-4.4.txt: java -cp JARS Golden.java JAR...
 *
 * For each message in the jars and each of its versions: as constructed, with every field filled, and filled with one
 * field of the message null, as far as Kafka allows that. A field that the version does not have and that must not be
 * dropped silently is taken back to its default.
 */
public class Golden {
    public static void main(String[] jars) throws Exception {
        List<Class<?>> classes = new ArrayList<>();
        for (String jar : jars) {
            try (JarFile file = new JarFile(jar)) {
                for (JarEntry entry : (Iterable<JarEntry>) file.stream()::iterator) {
                    add(classes, entry.getName());
                }
            }
        }
        classes.sort(Comparator.comparing(Class::getSimpleName));
        for (Class<?> kind : classes) {
            ApiMessage message = (ApiMessage) create(kind);
            for (short v = message.lowestSupportedVersion(); v <= message.highestSupportedVersion(); v++) {
                writeAll(kind, v);
            }
        }
    }

    static void add(List<Class<?>> classes, String path) {
        if (!path.matches(".*/(generated|common/message|common/metadata)/\\w+\\.class")) return;
        try {
            Class<?> kind = Class.forName(path.replace('/', '.').replace(".class", ""));
            if (ApiMessage.class.isAssignableFrom(kind) && !kind.getSimpleName().endsWith("HeaderData")) classes.add(kind);
        } catch (Throwable t) {
            // Not a class that can stand alone.
        }
    }

    static void writeAll(Class<?> kind, short version) throws Exception {
        write(version, "default", create(kind));
        write(version, "filled", filled(kind));
        for (Field field : fields(kind)) {
            if (field.getType().isPrimitive() || field.getType() == Uuid.class) continue;
            Message message = filled(kind);
            field.set(message, null);
            write(version, "null:" + small(field), message);
        }
    }

    static void write(short version, String mode, Message message) throws Exception {
        String name = message.getClass().getSimpleName().replaceAll("(Request|Response)Data$", "$1");
        while (true) {
            try {
                ByteBuffer buffer = MessageUtil.toByteBufferAccessor(message, version).buffer();
                StringBuilder hex = new StringBuilder();
                while (buffer.hasRemaining()) hex.append(String.format("%02x", buffer.get()));
                System.out.println(name + " " + version + " " + mode + " " + hex + ".");
                return;
            } catch (UnsupportedVersionException e) {
                reset(message, e.getMessage().replaceAll(".*non-default (\\w+) at.*", "$1"));
            } catch (NullPointerException e) {
                return; // Null is not allowed here.
            }
        }
    }

    static Message create(Class<?> kind) throws Exception {
        return (Message) kind.getConstructor().newInstance();
    }

    static Message filled(Class<?> kind) throws Exception {
        Message message = create(kind);
        for (Field field : fields(kind)) field.set(message, value(small(field), field.getGenericType()));
        return message;
    }

    static List<Field> fields(Class<?> kind) {
        List<Field> fields = new ArrayList<>();
        for (Field field : kind.getDeclaredFields()) {
            String name = field.getName();
            if (Modifier.isStatic(field.getModifiers()) || name.startsWith("_") || name.equals("next") || name.equals("prev")) continue;
            field.setAccessible(true);
            fields.add(field);
        }
        return fields;
    }

    static String small(Field field) {
        return field.getName().toLowerCase(Locale.ROOT);
    }

    static Object value(String name, Type type) throws Exception {
        Class<?> kind = type instanceof Class<?> c ? c : (Class<?>) ((ParameterizedType) type).getRawType();
        int n = name.chars().sum() % 100 + 1;
        if (kind == byte.class || kind == Byte.class) return (byte) n;
        if (kind == short.class || kind == Short.class) return (short) n;
        if (kind == int.class || kind == Integer.class) return n;
        if (kind == long.class || kind == Long.class) return (long) n;
        if (kind == double.class) return n + 0.5;
        if (kind == boolean.class) return true;
        if (kind == Uuid.class) return new Uuid(n, n);
        if (kind == String.class) return name;
        if (kind == byte[].class) return name.getBytes(StandardCharsets.UTF_8);
        if (kind == ByteBuffer.class) return ByteBuffer.wrap(name.getBytes(StandardCharsets.UTF_8));
        if (kind.getSimpleName().equals("BaseRecords")) return MemoryRecords.EMPTY;
        if (kind.getSimpleName().equals("UnalignedRecords")) return new UnalignedMemoryRecords(ByteBuffer.allocate(0));
        if (kind == List.class) {
            List<Object> list = new ArrayList<>();
            list.add(value(name, ((ParameterizedType) type).getActualTypeArguments()[0]));
            return list;
        }
        if (!Collection.class.isAssignableFrom(kind)) return filled(kind);
        Object collection = kind.getConstructor().newInstance();
        Type element = ((ParameterizedType) kind.getGenericSuperclass()).getActualTypeArguments()[0];
        for (Method method : kind.getMethods()) {
            if (!method.getName().equals("add") || method.isBridge()) continue;
            method.invoke(collection, value(name, element));
            break;
        }
        return collection;
    }

    /** Gives the field its default, at the outermost level at which it has another value. */
    static void reset(Object message, String name) throws Exception {
        Object fresh = create(message.getClass());
        for (Field field : fields(message.getClass())) {
            if (field.getName().equals(name) && !Objects.equals(field.get(message), field.get(fresh))) {
                field.set(message, field.get(fresh));
                return;
            }
        }
        for (Field field : fields(message.getClass())) {
            Object value = field.get(message);
            if (value instanceof Message) reset(value, name);
            if (value instanceof Collection<?> elements) {
                for (Object element : elements) if (element instanceof Message) reset(element, name);
            }
        }
    }
}
