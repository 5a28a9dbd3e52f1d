/* A small threaded web server on loopback. One request a connection. Start at stub_new(). */
#include "tests/unit/images/stub.h"

#include "images/manifest.h"
#include "tests/unit/images/scratch.h"

#include <string.h>

struct Stub {
    GSocketService *service;
    GMainContext *context;
    GThread *thread;
    guint16 port;
    StubHandler handler;
    gpointer user_data;
    GMutex mutex;
    GPtrArray *seen;           /* paths */
    GPtrArray *authorizations; /* beside them; "" for none */
    gint stopping;
    guint active; /* connections, from their arrival on */
    GCond ended;
};

static char *
read_head(GInputStream *input)
{
    g_autoptr(GString) head = g_string_new(NULL);
    char byte;
    while (head->len < 65536 && g_input_stream_read(input, &byte, 1, NULL, NULL) == 1) {
        g_string_append_c(head, byte);
        if (g_str_has_suffix(head->str, "\r\n\r\n")) {
            return g_string_free(g_steal_pointer(&head), FALSE);
        }
    }
    return NULL;
}

static char *
find_header(const char *head, const char *name)
{
    g_auto(GStrv) lines = g_strsplit(head, "\r\n", -1);
    for (guint i = 1; lines[i] != NULL; i++) {
        gsize length = strlen(name);
        if (g_ascii_strncasecmp(lines[i], name, length) == 0 && lines[i][length] == ':') {
            return g_strdup(g_strstrip(lines[i] + length + 1));
        }
    }
    return NULL;
}

static gboolean
count_in(GSocketService *service, GSocketConnection *connection, GObject *source,
         gpointer user_data)
{
    Stub *stub = user_data;
    g_mutex_lock(&stub->mutex);
    stub->active++;
    g_mutex_unlock(&stub->mutex);
    return FALSE;
}

static void
count_out(Stub *stub)
{
    g_mutex_lock(&stub->mutex);
    stub->active--;
    g_cond_signal(&stub->ended);
    g_mutex_unlock(&stub->mutex);
}

static gboolean
serve(GThreadedSocketService *service, GSocketConnection *connection, GObject *source,
      gpointer user_data)
{
    Stub *stub = user_data;
    g_autofree char *head = read_head(g_io_stream_get_input_stream(G_IO_STREAM(connection)));
    if (head == NULL) {
        count_out(stub);
        return TRUE;
    }
    g_auto(GStrv) words = g_strsplit(head, " ", 3);
    g_autofree char *authorization = find_header(head, "authorization");
    g_autofree char *range = find_header(head, "range");
    StubRequest request = {.path = words[1], .authorization = authorization};
    if (range != NULL && g_str_has_prefix(range, "bytes=")) {
        request.offset = g_ascii_strtoull(range + strlen("bytes="), NULL, 10);
    }
    g_mutex_lock(&stub->mutex);
    g_ptr_array_add(stub->seen, g_strdup(words[1]));
    g_ptr_array_add(stub->authorizations, g_strdup(authorization == NULL ? "" : authorization));
    g_mutex_unlock(&stub->mutex);
    stub->handler(stub, g_io_stream_get_output_stream(G_IO_STREAM(connection)), &request,
                  stub->user_data);
    count_out(stub);
    return TRUE;
}

static gpointer
run_loop(gpointer data)
{
    Stub *stub = data;
    g_main_context_push_thread_default(stub->context);
    while (!stub_is_stopping(stub)) {
        g_main_context_iteration(stub->context, TRUE);
    }
    g_main_context_pop_thread_default(stub->context);
    return NULL;
}

Stub *
stub_new(StubHandler handler, gpointer user_data)
{
    g_autoptr(GError) error = NULL;
    Stub *stub = g_new0(Stub, 1);
    stub->handler = handler;
    stub->user_data = user_data;
    g_mutex_init(&stub->mutex);
    g_cond_init(&stub->ended);
    stub->seen = g_ptr_array_new_with_free_func(g_free);
    stub->authorizations = g_ptr_array_new_with_free_func(g_free);
    stub->context = g_main_context_new();
    g_main_context_push_thread_default(stub->context);
    stub->service = g_threaded_socket_service_new(200);
    g_autoptr(GInetAddress) loopback = g_inet_address_new_loopback(G_SOCKET_FAMILY_IPV4);
    g_autoptr(GSocketAddress) any = g_inet_socket_address_new(loopback, 0);
    g_autoptr(GSocketAddress) bound = NULL;
    g_socket_listener_add_address(G_SOCKET_LISTENER(stub->service), any, G_SOCKET_TYPE_STREAM,
                                  G_SOCKET_PROTOCOL_TCP, NULL, &bound, &error);
    g_assert_no_error(error);
    stub->port = g_inet_socket_address_get_port(G_INET_SOCKET_ADDRESS(bound));
    g_signal_connect(stub->service, "incoming", G_CALLBACK(count_in), stub);
    g_signal_connect(stub->service, "run", G_CALLBACK(serve), stub);
    g_socket_service_start(stub->service);
    g_main_context_pop_thread_default(stub->context);
    stub->thread = g_thread_new("stub", run_loop, stub);
    return stub;
}

void
stub_free(Stub *stub)
{
    g_atomic_int_set(&stub->stopping, 1);
    g_socket_service_stop(stub->service);
    g_socket_listener_close(G_SOCKET_LISTENER(stub->service));
    g_main_context_wakeup(stub->context);
    g_thread_join(stub->thread);
    g_mutex_lock(&stub->mutex);
    while (stub->active > 0) {
        g_cond_wait(&stub->ended, &stub->mutex);
    }
    g_mutex_unlock(&stub->mutex);
    g_object_unref(stub->service);
    g_cond_clear(&stub->ended);
    g_main_context_unref(stub->context);
    g_ptr_array_unref(stub->seen);
    g_ptr_array_unref(stub->authorizations);
    g_mutex_clear(&stub->mutex);
    g_free(stub);
}

guint16
stub_port(const Stub *stub)
{
    return stub->port;
}

gboolean
stub_is_stopping(const Stub *stub)
{
    return g_atomic_int_get(&stub->stopping) != 0;
}

/* How many requests had @part in their path. */
guint
stub_count(Stub *stub, const char *part)
{
    guint count = 0;
    g_mutex_lock(&stub->mutex);
    for (guint i = 0; i < stub->seen->len; i++) {
        count += strstr(stub->seen->pdata[i], part) != NULL ? 1 : 0;
    }
    g_mutex_unlock(&stub->mutex);
    return count;
}

/* All Authorization headers that came with paths that have @part. */
char *
stub_authorization(Stub *stub, const char *part)
{
    g_autoptr(GString) all = g_string_new(NULL);
    g_mutex_lock(&stub->mutex);
    for (guint i = 0; i < stub->seen->len; i++) {
        if (strstr(stub->seen->pdata[i], part) != NULL) {
            g_string_append(all, stub->authorizations->pdata[i]);
        }
    }
    g_mutex_unlock(&stub->mutex);
    return g_string_free(g_steal_pointer(&all), FALSE);
}

gboolean
stub_write(GOutputStream *stream, const void *data, gsize size)
{
    return g_output_stream_write_all(stream, data, size, NULL, NULL, NULL) &&
           g_output_stream_flush(stream, NULL, NULL);
}

void
stub_reply(GOutputStream *stream, const char *status, const char *headers, const void *body,
           gsize size)
{
    g_autofree char *head = g_strdup_printf("HTTP/1.1 %s\r\nConnection: close\r\n%s"
                                            "Content-Length: %zu\r\n\r\n",
                                            status, headers, size);
    if (stub_write(stream, head, strlen(head))) {
        stub_write(stream, body, size);
    }
}

static void
add_blob(StubRegistry *registry, GBytes *bytes, BerthDigest *digest)
{
    gsize size;
    const void *data = g_bytes_get_data(bytes, &size);
    berth_digest_of_bytes(data, size, digest);
    g_hash_table_insert(registry->blobs, g_strdup(digest->hex), bytes);
}

/* A layer with one file of @size bytes that do not pack well; the seed makes it different. */
static GBytes *
make_layer(guint number, gsize size, BerthDigest *diff_id)
{
    g_autoptr(GByteArray) tar = g_byte_array_new();
    g_autoptr(GRand) rand = g_rand_new_with_seed(number + 1);
    g_autofree char *noise = g_malloc0(size + 1);
    for (gsize i = 0; i < size; i++) {
        noise[i] = (char)g_rand_int_range(rand, 1, 128);
    }
    g_autofree char *name = g_strdup_printf("layer-%u", number);
    scratch_tar_add(tar, BERTH_TAR_FILE, name, noise);
    scratch_tar_end(tar);
    berth_digest_of_bytes(tar->data, tar->len, diff_id);
    return scratch_gzip(tar->data, tar->len);
}

void
stub_registry_init(StubRegistry *registry, guint layers, gsize layer_size)
{
    memset(registry, 0, sizeof *registry);
    registry->blobs =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)g_bytes_unref);
    registry->media_type = BERTH_MEDIA_OCI_MANIFEST;
    g_autoptr(GString) list = g_string_new(NULL);
    g_autoptr(GString) diff_ids = g_string_new(NULL);
    for (guint i = 0; i < layers; i++) {
        BerthDigest diff_id, digest;
        GBytes *layer = make_layer(i, layer_size, &diff_id);
        add_blob(registry, layer, &digest);
        g_string_append_printf(list,
                               "%s{\"mediaType\":\"" BERTH_MEDIA_OCI_LAYER_GZIP
                               "\",\"digest\":\"sha256:%s\",\"size\":%zu}",
                               i == 0 ? "" : ",", digest.hex, g_bytes_get_size(layer));
        g_string_append_printf(diff_ids, "%s\"sha256:%s\"", i == 0 ? "" : ",", diff_id.hex);
    }
    char *config = g_strdup_printf("{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{"
                                   "\"Cmd\":[\"/layer-0\"]},\"rootfs\":{\"diff_ids\":[%s]}}",
                                   diff_ids->str);
    BerthDigest digest;
    gsize size = strlen(config);
    add_blob(registry, g_bytes_new_take(config, size), &digest);
    registry->manifest =
        g_strdup_printf("{\"schemaVersion\":2,\"config\":{\"mediaType\":\"" BERTH_MEDIA_OCI_CONFIG
                        "\",\"digest\":\"sha256:%s\",\"size\":%zu},\"layers\":[%s]}",
                        digest.hex, size, list->str);
    berth_digest_of_bytes(registry->manifest, strlen(registry->manifest), &registry->digest);
}

void
stub_registry_clear(StubRegistry *registry)
{
    g_hash_table_unref(registry->blobs);
    g_free(registry->manifest);
}

static void
send_blob(const Stub *stub, GOutputStream *stream, StubRegistry *registry, const char *data,
          gsize size, guint64 offset)
{
    g_autofree char *range =
        offset == 0 ? g_strdup("")
                    : g_strdup_printf("Content-Range: bytes %" G_GUINT64_FORMAT "-%zu/%zu\r\n",
                                      offset, size - 1, size);
    g_autofree char *head = g_strdup_printf(
        "HTTP/1.1 %s\r\nConnection: close\r\n%sContent-Length: %" G_GUINT64_FORMAT "\r\n\r\n",
        offset == 0 ? "200 OK" : "206 Partial Content", range, size - offset);
    gsize end = size;
    gint cut = g_atomic_int_get(&registry->cut_after);
    if (cut > 0 && offset + (gsize)cut < size && g_atomic_int_add(&registry->cuts, -1) > 0) {
        end = offset + (gsize)cut;
    }
    if (!stub_write(stream, head, strlen(head))) {
        return;
    }
    for (gsize at = offset; at < end && !stub_is_stopping(stub); at += 16384) {
        if (!stub_write(stream, data + at, MIN(16384, end - at))) {
            return;
        }
        if (registry->chunk_delay_ms > 0) {
            g_usleep(registry->chunk_delay_ms * 1000); /* a slow line */
        }
    }
}

void
stub_registry_handle(Stub *stub, GOutputStream *stream, const StubRequest *request, gpointer data)
{
    StubRegistry *registry = data;
    const char *blob = strstr(request->path, "/blobs/sha256:");
    if (strstr(request->path, "/manifests/") != NULL) {
        g_autofree char *type = g_strdup_printf("Content-Type: %s\r\n", registry->media_type);
        stub_reply(stream, "200 OK", type, registry->manifest, strlen(registry->manifest));
        return;
    }
    GBytes *bytes =
        blob == NULL ? NULL : g_hash_table_lookup(registry->blobs, blob + strlen("/blobs/sha256:"));
    if (bytes == NULL) {
        stub_reply(stream, "404 Not Found", "", "", 0);
        return;
    }
    gsize size;
    const char *content = g_bytes_get_data(bytes, &size);
    if (request->offset >= size) {
        stub_reply(stream, "416 Range Not Satisfiable", "", "", 0);
        return;
    }
    send_blob(stub, stream, registry, content, size, request->offset);
}
