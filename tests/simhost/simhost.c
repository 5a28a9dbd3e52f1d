/* simhost: a process that is any number of hosts, behind the driver's ops, over a unix socket.
 *
 *   simhost --socket PATH [--size CPUS:MIB[:CELLS[:GPUS[:PAGES]]]]… [--pool-mib N] [--boot-ms N]
 *
 * PAGES are huge pages of 2 MiB in each cell. A client (host-sim.c, for URIs sim:///PATH#name) says "hello" with a machine's name; the machine is
 * made when its name is first heard, and stands until this process ends, whatever happens to clients.
 * Channels are served by the guest's real protocol core. Prints "ready" when it listens.
 *
 * One thread. Start at on_frame(). */
#include "base/error.h"
#include "base/json.h"
#include "tests/simhost/pipe.h"
#include "tests/simhost/wire.h"
#include "tests/simhost/world.h"

#include <errno.h>
#include <gio/gunixsocketaddress.h>
#include <glib-unix.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static GHashTable *machines; /* name -> SimMachine* */
static SimSettings settings = {.pool_mib = 1024 * 1024, .boot_ms = 5};

/* ---- clients ----------------------------------------------------------------------------------- */

/* A peer and its socket. */
typedef struct {
    SimPeer base;  /* first */
    SimPipe *pipe; /* owned */
} Client;

static SimPipe *
pipe_of(SimPeer *peer)
{
    return ((Client *)peer)->pipe;
}

static void
send_event(SimPeer *peer, const char *uuid, BerthDomainEvent event, BerthStopReason reason)
{
    g_autoptr(json_t) value =
        json_pack("{s:s, s:i, s:i}", "uuid", uuid, "event", (int)event, "reason", (int)reason);
    sim_pipe_send_json(pipe_of(peer), SIM_EVENT, value);
}

static void
send_data(SimPeer *peer, guint32 channel, const guint8 *data, gsize size)
{
    sim_pipe_send_data(pipe_of(peer), channel, data, size);
}

static void
add_error(json_t *answer, const GError *error)
{
    if (error != NULL) {
        json_object_set_new(answer, "code",
                            json_string(berth_error_code_name(berth_error_code_of(error))));
        json_object_set_new(answer, "message", json_string(error->message));
    }
}

static void
send_closed(SimPeer *peer, guint32 channel, const GError *error)
{
    g_autoptr(json_t) value = json_pack("{s:I}", "channel", (json_int_t)channel);
    add_error(value, error);
    sim_pipe_send_json(pipe_of(peer), SIM_CLOSED, value);
}

static gsize
count_queued(SimPeer *peer)
{
    return sim_pipe_queued(pipe_of(peer));
}

static SimMachine *
find_machine(const char *name)
{
    SimMachine *machine = g_hash_table_lookup(machines, name);
    if (machine == NULL) {
        machine = sim_machine_new(name, &settings);
        g_hash_table_insert(machines, machine->name, machine);
    }
    return machine;
}

static void
send_answer(SimPeer *peer, const json_t *id, json_t *answer, const GError *error)
{
    add_error(answer, error);
    json_object_set(answer, "id", (json_t *)id);
    sim_pipe_send_json(pipe_of(peer), SIM_REPLY, answer);
}

static void
greet(SimPeer *peer, const json_t *call)
{
    peer->machine = find_machine(berth_json_string(call, "host"));
    peer->fleet = g_strdup(berth_json_string(call, "fleet"));
    g_ptr_array_add(peer->machine->peers, peer);
}

static void
take_call(SimPeer *peer, const json_t *value)
{
    const char *verb = berth_json_string(value, "verb");
    g_autoptr(GError) error = NULL;
    g_auto(BerthHostReply) reply = {0};
    if (g_strcmp0(verb, "hello") == 0 && peer->machine == NULL) {
        greet(peer, value);
    } else if (peer->machine == NULL) {
        berth_error_set(&error, BERTH_ERROR_INVALID, "say hello first");
    } else if (g_strcmp0(verb, "upload-chunk") == 0) {
        sim_machine_upload_chunk(peer, berth_json_string(value, "pool"),
                                 berth_json_string(value, "volume"),
                                 (guint64)berth_json_integer(value, "size", 0), &error);
    } else {
        g_autoptr(BerthHostCall) call = sim_call_from_json(value);
        sim_machine_perform(peer, call, &reply, &error);
    }
    g_autoptr(json_t) answer = sim_reply_to_json(&reply);
    send_answer(peer, json_object_get(value, "id"), answer, error);
}

static void
take_open(SimPeer *peer, const json_t *value)
{
    g_autoptr(GError) error = NULL;
    SimOpener *opener = g_new0(SimOpener, 1);
    opener->peer = peer;
    opener->number = (guint32)berth_json_integer(value, "channel", 0);
    opener->is_console = berth_json_string(value, "port") == NULL;
    g_hash_table_insert(peer->openers, GUINT_TO_POINTER(opener->number), opener);
    if (peer->machine == NULL ||
        !sim_opener_open(opener, berth_json_string(value, "uuid"),
                         json_is_true(json_object_get(value, "force")), &error)) {
        send_closed(peer, opener->number, error);
    }
}

static void
take_data(const SimPeer *peer, const guint8 *data, gsize size)
{
    guint32 number;
    if (size <= sizeof number) {
        return;
    }
    memcpy(&number, data, sizeof number);
    SimOpener *opener =
        g_hash_table_lookup(peer->openers, GUINT_TO_POINTER(GUINT32_FROM_LE(number)));
    if (opener != NULL) {
        sim_opener_receive(opener, data + sizeof number, size - sizeof number);
    }
}

static void
on_frame(char type, const guint8 *data, gsize size, gpointer user_data)
{
    SimPeer *peer = user_data;
    if (type == SIM_DATA) {
        take_data(peer, data, size);
        return;
    }
    g_autoptr(json_t) value = json_loadb((const char *)data, size, JSON_ALLOW_NUL, NULL);
    if (type == SIM_CALL) {
        take_call(peer, value);
    } else if (type == SIM_OPEN) {
        take_open(peer, value);
    } else if (type == SIM_CLOSE) {
        g_hash_table_remove(peer->openers,
                            GUINT_TO_POINTER((guint32)berth_json_integer(value, "channel", 0)));
    }
}

/* The client read: guests that were held back go on. */
static void
on_drained(gpointer user_data)
{
    const SimPeer *peer = user_data;
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, peer->openers);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const SimOpener *opener = value;
        if (opener->domain != NULL && opener->domain->guest != NULL) {
            sim_guest_kick(opener->domain->guest);
        }
    }
}

static void
on_peer_closed(gpointer user_data)
{
    SimPeer *peer = user_data;
    g_hash_table_unref(peer->openers);
    if (peer->machine != NULL) {
        g_ptr_array_remove_fast(peer->machine->peers, peer);
    }
    sim_pipe_unref(pipe_of(peer));
    g_free(peer->fleet);
    g_free(peer);
}

static gboolean
on_client(GSocket *listener, GIOCondition condition, gpointer unused)
{
    static const SimPipeWatch watch = {on_frame, on_peer_closed, on_drained};
    g_autoptr(GSocket) client = g_socket_accept(listener, NULL, NULL);
    if (client != NULL) {
        static const SimPeerOps ops = {send_event, send_data, send_closed, count_queued};
        Client *peer = g_new0(Client, 1);
        peer->base.ops = &ops;
        peer->base.openers = g_hash_table_new_full(NULL, NULL, NULL, sim_opener_free);
        peer->pipe = sim_pipe_new(dup(g_socket_get_fd(client)), &watch, peer);
    }
    return G_SOURCE_CONTINUE;
}

/* ---- start ------------------------------------------------------------------------------------- */

static gboolean
parse_size(const char *option, const char *text, gpointer unused, GError **error)
{
    SimSize size = {.cells = 1};
    unsigned long long memory = 0;
    if (sscanf(text, "%u:%llu:%u:%u:%u", &size.vcpus, &memory, &size.cells, &size.gpus,
               &size.huge_pages) < 2 ||
        size.vcpus == 0 || memory == 0 || size.cells == 0 || size.cells > size.vcpus) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                    "size '%s' is not CPUS:MIB[:CELLS[:GPUS[:PAGES]]]", text);
        return FALSE;
    }
    size.memory_mib = memory;
    g_array_append_val(settings.sizes, size);
    return TRUE;
}

static GSocket *
listen_on(const char *path, GError **error)
{
    g_autoptr(GSocketAddress) address = g_unix_socket_address_new(path);
    g_autoptr(GSocket) listener =
        g_socket_new(G_SOCKET_FAMILY_UNIX, G_SOCKET_TYPE_STREAM, G_SOCKET_PROTOCOL_DEFAULT, error);
    if (listener == NULL) {
        return NULL;
    }
    g_socket_set_listen_backlog(listener, 1024);
    unlink(path);
    if (!g_socket_bind(listener, address, FALSE, error) || !g_socket_listen(listener, error)) {
        return NULL;
    }
    return g_steal_pointer(&listener);
}

/* Every client is a descriptor. */
static void
raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static gboolean
quit(gpointer loop)
{
    g_main_loop_quit(loop);
    return G_SOURCE_REMOVE;
}

int
main(int argc, char **argv)
{
    g_autofree char *path = NULL;
    gint64 pool_mib = (gint64)settings.pool_mib;
    int boot_ms = (int)settings.boot_ms;
    const GOptionEntry entries[] = {
        {"socket", 0, 0, G_OPTION_ARG_FILENAME, &path, "where to listen", "PATH"},
        {"size", 0, 0, G_OPTION_ARG_CALLBACK, parse_size, "size of the next machine; repeatable",
         "CPUS:MIB[:CELLS[:GPUS[:PAGES]]]"},
        {"pool-mib", 0, 0, G_OPTION_ARG_INT64, &pool_mib, "room in each pool", "N"},
        {"boot-ms", 0, 0, G_OPTION_ARG_INT, &boot_ms, "time a guest takes to boot", "N"},
        {NULL},
    };
    settings.sizes = g_array_new(FALSE, TRUE, sizeof(SimSize));
    g_autoptr(GOptionContext) context = g_option_context_new("- simulated hosts for tests");
    g_autoptr(GError) error = NULL;
    g_option_context_add_main_entries(context, entries, NULL);
    if (!g_option_context_parse(context, &argc, &argv, &error) || path == NULL) {
        g_printerr("simhost: %s\n", error != NULL ? error->message : "--socket PATH is missing");
        return 2;
    }
    if (settings.sizes->len == 0) {
        parse_size(NULL, "16:65536", NULL, NULL);
    }
    settings.pool_mib = (guint64)MAX(pool_mib, 0);
    settings.boot_ms = (guint)MAX(boot_ms, 0);
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    machines = g_hash_table_new(g_str_hash, g_str_equal);
    g_autoptr(GSocket) listener = listen_on(path, &error);
    if (listener == NULL) {
        g_printerr("simhost: can't listen on '%s': %s\n", path, error->message);
        return 1;
    }
    g_autoptr(GSource) source = g_socket_create_source(listener, G_IO_IN, NULL);
    g_source_set_callback(source, G_SOURCE_FUNC(on_client), NULL, NULL);
    g_source_attach(source, NULL);
    g_autoptr(GMainLoop) loop = g_main_loop_new(NULL, FALSE);
    g_unix_signal_add(SIGTERM, quit, loop);
    g_unix_signal_add(SIGINT, quit, loop);
    g_print("ready %s\n", path);
    fflush(stdout);
    g_main_loop_run(loop);
    unlink(path);
    return 0;
}
