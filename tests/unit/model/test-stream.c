/* berth.stream.v1 under peers that break it: each mutated stream is carried, or cut off with a reason; what a peer can
 * make us hold is bounded by the window. */
#include "model/stream.h"

#include "base/error.h"

#include <string.h>

#define ROUNDS 20000

typedef struct {
    gsize data, controls, closed;
} Heard;

static void
on_data(BerthStreamChannel channel, const void *bytes, gsize size, gpointer user_data)
{
    Heard *heard = user_data;
    g_assert_cmpint(channel, <=, BERTH_STREAM_STDERR);
    g_assert_cmpuint(size, >, 0);
    heard->data += size;
}

static void
on_control(const char *type, const json_t *message, gpointer user_data)
{
    g_assert_nonnull(type);
    g_assert_true(json_is_object(message));
    ((Heard *)user_data)->controls++;
}

static void
on_closed(guint code, gpointer user_data)
{
    ((Heard *)user_data)->closed++;
}

static const BerthStreamEvents events = {on_data, on_control, NULL, on_closed};

/* What a sound client sends: a start, data, a resize, an end. */
static GByteArray *
sound_bytes(BerthStreamRole role)
{
    Heard heard = {0};
    g_autoptr(BerthStream) stream = berth_stream_new(role, &events, &heard);
    BerthStreamChannel channel =
        role == BERTH_STREAM_CLIENT ? BERTH_STREAM_STDIN : BERTH_STREAM_STDOUT;
    berth_stream_send_control(stream, json_pack("{s:s, s:[s]}", "type", "start", "command", "sh"));
    berth_stream_send(stream, channel, "some bytes", 10);
    berth_stream_ping(stream);
    berth_stream_send_control(
        stream, json_pack("{s:s, s:i, s:i}", "type", "resize", "columns", 80, "rows", 24));
    berth_stream_send(stream, channel, "more of them", 12);
    berth_stream_close(stream, 1000, "bye");
    gsize size;
    gconstpointer bytes = berth_stream_output(stream, &size);
    GByteArray *copy = g_byte_array_new();
    g_byte_array_append(copy, bytes, (guint)size);
    return copy;
}

static void
mutate(GByteArray *bytes, GRand *random)
{
    for (gint i = g_rand_int_range(random, 1, 5); i > 0 && bytes->len > 0; i--) {
        guint at = (guint)g_rand_int_range(random, 0, (gint32)bytes->len);
        switch (g_rand_int_range(random, 0, 4)) {
        case 0:
            bytes->data[at] = (guint8)g_rand_int(random);
            break;
        case 1:
            bytes->data[at] ^= (guint8)(1 << g_rand_int_range(random, 0, 8));
            break;
        case 2:
            g_byte_array_set_size(bytes, at);
            break;
        default:
            g_byte_array_set_size(bytes, bytes->len + at);
            memmove(bytes->data + bytes->len - at, bytes->data, at);
        }
    }
}

/* In pieces of any size. Returns: whether it was carried to its end. */
static gboolean
feed(BerthStream *stream, const GByteArray *bytes, GRand *random)
{
    for (guint from = 0; from < bytes->len;) {
        guint drawn = (guint)g_rand_int_range(random, 1, 40);
        guint part = MIN(bytes->len - from, drawn);
        g_autoptr(GError) error = NULL;
        if (!berth_stream_feed(stream, bytes->data + from, part, &error)) {
            g_assert_error(error, BERTH_ERROR, BERTH_ERROR_INVALID);
            return FALSE;
        }
        from += part;
    }
    return TRUE;
}

static void
test_mutated(gconstpointer data)
{
    BerthStreamRole sender = (BerthStreamRole)GPOINTER_TO_UINT(data);
    BerthStreamRole reader =
        sender == BERTH_STREAM_CLIENT ? BERTH_STREAM_SERVER : BERTH_STREAM_CLIENT;
    g_autoptr(GRand) random = g_rand_new_with_seed(20261128);
    guint carried = 0;
    for (guint round = 0; round < ROUNDS; round++) {
        GByteArray *bytes = sound_bytes(sender);
        Heard heard = {0};
        g_autoptr(BerthStream) stream = berth_stream_new(reader, &events, &heard);
        if (round > 0) {
            mutate(bytes, random);
        }
        gboolean whole = feed(stream, bytes, random);
        carried += whole;
        g_assert_cmpuint(heard.data, <=, BERTH_STREAM_WINDOW);
        if (round == 0) { /* unharmed */
            g_assert_true(whole);
            g_assert_cmpuint(heard.data, ==, 22);
            g_assert_cmpuint(heard.controls, ==, 2);
            g_assert_cmpuint(heard.closed, ==, 1);
        }
        gsize size;
        berth_stream_output(stream, &size);
        g_assert_cmpuint(size, <, 4096); /* pongs and a close */
        g_byte_array_unref(bytes);
    }
    g_test_message("%u of %u were carried", carried, ROUNDS);
    g_assert_cmpuint(carried, <, ROUNDS);
}

/* The answer's head to the opening handshake, mutated: refused, incomplete, or read within its bytes. */
static void
test_mutated_answers(void)
{
    g_autoptr(GRand) random = g_rand_new_with_seed(20261128);
    g_autofree char *key = berth_stream_key_new();
    g_autofree char *accept = berth_stream_key_accept(key);
    g_autofree char *sound = g_strdup_printf(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Accept: %s\r\nSec-WebSocket-Protocol: " BERTH_STREAM_PROTOCOL "\r\n\r\n",
        accept);
    for (guint round = 0; round < ROUNDS; round++) {
        g_autoptr(GByteArray) bytes = g_byte_array_new();
        g_autoptr(GError) error = NULL;
        gsize used = 0;
        guint status = 0;
        g_byte_array_append(bytes, (const guint8 *)sound, (guint)strlen(sound));
        if (round > 0) {
            mutate(bytes, random);
        }
        gboolean read = berth_stream_parse_answer((const char *)bytes->data, bytes->len, key, &used,
                                                  &status, &error);
        g_assert_true(read == (error == NULL));
        g_assert_cmpuint(used, <=, bytes->len);
        if (round == 0) {
            g_assert_true(read && status == 101 && used == strlen(sound));
        }
    }
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_data_func("/model/stream/survives-mutated-clients",
                         GUINT_TO_POINTER(BERTH_STREAM_CLIENT), test_mutated);
    g_test_add_data_func("/model/stream/survives-mutated-servers",
                         GUINT_TO_POINTER(BERTH_STREAM_SERVER), test_mutated);
    g_test_add_func("/model/stream/survives-mutated-answers", test_mutated_answers);
    return g_test_run();
}
