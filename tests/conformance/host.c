/* What every host driver must do, run against one real implementation: BERTH_HOST_URI says which
 * (qemu… through libvirt, sim… against tests/simhost). tests/conformance/run-host starts both kinds.
 *
 * Calls run on a thread while the main loop turns, as the runner does it. BERTH_HOST_POOL is a folder of
 * the host for a pool of ours; BERTH_HOST_POOL_SEEN the same folder as this program sees it, or unset. */
#include "base/error.h"
#include "base/json.h"
#include "drivers/guest-link.h"
#include "drivers/host.h"
#include "tests/simhost/host-sim.h"

#include <glib/gstdio.h>
#include <libvirt/libvirt.h>
#include <signal.h>
#include <string.h>

#define FLEET "conformance-fleet"
#define POOL "berth-conformance"
#define PATIENCE_S 60

/* ---- the host under test ----------------------------------------------------------------------- */

typedef struct {
    BerthHost *host;
    GPtrArray *events; /* of char*: "uuid event reason" */
    guint closed;
} Peer;

static Peer own, stranger; /* the same host, seen by two fleets */

static void
on_closed(const char *why, gpointer data)
{
    ((Peer *)data)->closed++;
}

static void
on_domain_event(const char *uuid, BerthDomainEvent event, BerthStopReason reason, gpointer data)
{
    g_ptr_array_add(((Peer *)data)->events, g_strdup_printf("%s %d %d", uuid, event, reason));
}

static void
on_inventory_event(gpointer data)
{
}

static gboolean
wake(gpointer data)
{
    *(gboolean *)data = TRUE;
    return G_SOURCE_REMOVE;
}

#define RUN_UNTIL(condition)                                                                       \
    G_STMT_START {                                                                                 \
        gboolean is_late = FALSE;                                                                  \
        guint patience = g_timeout_add_seconds(PATIENCE_S, wake, &is_late);                        \
        while (!(condition)) {                                                                     \
            g_main_context_iteration(NULL, TRUE);                                                  \
            g_assert_false(is_late);                                                               \
        }                                                                                          \
        g_source_remove(patience);                                                                 \
    }                                                                                              \
    G_STMT_END

typedef struct {
    BerthHost *host;
    const BerthHostCall *call; /* NULL: connect */
    BerthHostReply reply;
    GError *error;
    gboolean ok;
    gint is_done;
} Job;

static gpointer
run_job(gpointer data)
{
    Job *job = data;
    job->ok = job->call == NULL
                  ? job->host->ops->connect(job->host, &job->error)
                  : job->host->ops->perform(job->host, job->call, &job->reply, &job->error);
    g_atomic_int_set(&job->is_done, TRUE);
    g_main_context_wakeup(NULL);
    return NULL;
}

/* Returns: the error's code, or -1 for success. @reply may be NULL. */
static int
call_as(Peer *peer, const BerthHostCall *call, BerthHostReply *reply)
{
    Job job = {.host = peer->host, .call = call};
    GThread *thread = g_thread_new("call", run_job, &job);
    RUN_UNTIL(g_atomic_int_get(&job.is_done));
    g_thread_join(thread);
    g_assert_true(job.ok == (job.error == NULL));
    int code = -1;
    if (job.error != NULL) {
        g_assert_true(job.error->domain == BERTH_ERROR);
        g_assert_null(strchr(job.error->message, '\n'));
        g_test_message("%s: %s: %s", call != NULL ? berth_host_verb_name(call->verb) : "connect",
                       berth_error_code_name((BerthErrorCode)job.error->code), job.error->message);
        code = job.error->code;
        g_clear_error(&job.error);
    }
    if (reply != NULL) {
        *reply = job.reply;
    } else {
        berth_host_reply_clear(&job.reply);
    }
    return code;
}

static int
call(const BerthHostCall *wanted, BerthHostReply *reply)
{
    return call_as(&own, wanted, reply);
}

#define CALL(...) call(&(BerthHostCall){__VA_ARGS__}, NULL)
#define ASSERT_OK(...) g_assert_cmpint(CALL(__VA_ARGS__), ==, -1)
#define ASSERT_CODE(wanted, ...) g_assert_cmpint(CALL(__VA_ARGS__), ==, wanted)

static void
open_peer(Peer *peer, const char *fleet)
{
    static const BerthHostWatch watch = {on_closed, on_domain_event, on_inventory_event};
    const char *uri = g_getenv("BERTH_HOST_URI");
    BerthHostFactory factory =
        g_str_has_prefix(uri, "sim:") ? berth_host_sim_new : berth_host_libvirt_new;
    g_autoptr(GError) error = NULL;
    peer->events = g_ptr_array_new_with_free_func(g_free);
    peer->host = factory(&(BerthHostOptions){.uri = uri, .fleet = fleet}, &watch, peer, &error);
    g_assert_no_error(error);
    g_assert_cmpint(call_as(peer, NULL, NULL), ==, -1);
}

/* ---- domains of the tests ---------------------------------------------------------------------- */

static BerthDomainMark mark = {
    .fleet = (char *)FLEET,
    .kind = (char *)"VM",
    .project = (char *)"default",
    .spec = (char *)"{\"text\": \"<&>'\\\"\"}",
    .labels = (char *)"{}",
    .generation = 7,
    .format = 1,
};

/* A machine without disks: its firmware finds nothing to boot and waits. */
static BerthDomainPlan
make_plan(const char *uuid, const char *name)
{
    mark.uid = (char *)uuid;
    mark.name = (char *)name;
    return (BerthDomainPlan){
        .uuid = uuid,
        .name = name,
        .title = "a <title> & more",
        .vcpus = 1,
        .memory_mib = 64,
        .link = TRUE,
        .mark = &mark,
    };
}

static const char uuid_a[] = "c0000000-0000-4000-8000-00000000000a";
static const char uuid_b[] = "c0000000-0000-4000-8000-00000000000b";
static const char nobody[] = "c0000000-0000-4000-8000-0000000000ff";

static void
define(const char *uuid, const char *name)
{
    BerthDomainPlan plan = make_plan(uuid, name);
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_DEFINE, .plan = &plan);
}

static BerthDomain *
get(const char *uuid)
{
    g_auto(BerthHostReply) reply = {0};
    g_assert_cmpint(call(&(BerthHostCall){.verb = BERTH_HOST_DOMAIN_GET, .uuid = uuid}, &reply), ==,
                    -1);
    g_assert_cmpuint(reply.domains->len, ==, 1);
    return g_ptr_array_steal_index(reply.domains, 0);
}

static BerthDomainState
state_of(const char *uuid)
{
    g_autoptr(BerthDomain) domain = get(uuid);
    return domain->state;
}

static void
remove_domain(const char *uuid)
{
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_DESTROY, .uuid = uuid);
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_UNDEFINE, .uuid = uuid);
}

static gboolean
saw(const Peer *peer, const char *uuid, BerthDomainEvent event, BerthStopReason reason)
{
    g_autofree char *wanted = g_strdup_printf("%s %d %d", uuid, event, reason);
    return g_ptr_array_find_with_equal_func(peer->events, wanted, g_str_equal, NULL);
}

/* ---- inventory --------------------------------------------------------------------------------- */

static void
test_inventory_tells_size_and_names(void)
{
    g_auto(BerthHostReply) reply = {0};
    g_assert_cmpint(call(&(BerthHostCall){.verb = BERTH_HOST_INVENTORY}, &reply), ==, -1);
    const BerthInventory *inventory = reply.inventory;
    g_assert_cmpuint(inventory->cpus, >, 0);
    g_assert_cmpuint(inventory->memory_kib, >, 256 * 1024);
    g_assert_nonnull(inventory->hostname);
    g_assert_nonnull(inventory->uuid);
    g_assert_cmpstr(inventory->arch, ==, "x86_64");
    g_assert_nonnull(inventory->libvirt_version);
    g_assert_true(g_strv_contains((const char *const *)inventory->machine_types, "q35"));
    g_assert_cmpuint(inventory->cells->len, >, 0);
    guint64 cells_kib = 0;
    for (guint i = 0; i < inventory->cells->len; i++) {
        cells_kib += ((BerthCell *)inventory->cells->pdata[i])->memory_kib;
    }
    g_assert_cmpuint(cells_kib, <=, inventory->memory_kib);
    gboolean has_default = FALSE;
    for (guint i = 0; i < inventory->networks->len; i++) {
        const BerthHostNetwork *network = inventory->networks->pdata[i];
        has_default = has_default || g_str_equal(network->name, "default");
    }
    g_assert_true(has_default);
}

/* ---- pools and volumes ------------------------------------------------------------------------- */

static const char *
pool_path(void)
{
    const char *path = g_getenv("BERTH_HOST_POOL");
    return path != NULL ? path : "/var/lib/libvirt/berth-conformance";
}

static void
ensure_pool(void)
{
    ASSERT_OK(.verb = BERTH_HOST_POOL_ENSURE, .pool = POOL, .path = pool_path());
}

static const BerthVolume *
find_volume(const BerthHostReply *reply, const char *name)
{
    for (guint i = 0; i < reply->volumes->len; i++) {
        const BerthVolume *volume = reply->volumes->pdata[i];
        if (g_str_equal(volume->name, name)) {
            return volume;
        }
    }
    return NULL;
}

static void
list_volumes(BerthHostReply *reply)
{
    g_assert_cmpint(call(&(BerthHostCall){.verb = BERTH_HOST_VOLUME_LIST, .pool = POOL}, reply), ==,
                    -1);
}

static void
test_pool_is_made_once_and_only_there(void)
{
    ensure_pool();
    ensure_pool();
    ASSERT_CODE(BERTH_ERROR_EXISTS, .verb = BERTH_HOST_POOL_ENSURE, .pool = POOL,
                .path = "/var/lib/libvirt/elsewhere");
    ASSERT_CODE(BERTH_ERROR_NOT_FOUND, .verb = BERTH_HOST_VOLUME_LIST, .pool = "no-such-pool");
}

static void
test_volume_is_created_once_and_deleted_twice(void)
{
    ensure_pool();
    for (guint i = 0; i < 2; i++) {
        ASSERT_OK(.verb = BERTH_HOST_VOLUME_CREATE, .pool = POOL, .volume = "base",
                  .format = "qcow2", .size = 8 * 1024 * 1024);
        ASSERT_OK(.verb = BERTH_HOST_VOLUME_CREATE, .pool = POOL, .volume = "marker.ok",
                  .format = "raw", .size = 0);
        ASSERT_OK(.verb = BERTH_HOST_VOLUME_CREATE, .pool = POOL, .volume = "overlay",
                  .format = "qcow2", .size = 16 * 1024 * 1024, .backing = "base",
                  .backing_format = "qcow2");
    }
    ASSERT_CODE(BERTH_ERROR_EXISTS, .verb = BERTH_HOST_VOLUME_CREATE, .pool = POOL,
                .volume = "base", .format = "qcow2", .size = 4 * 1024 * 1024);
    ASSERT_CODE(BERTH_ERROR_NOT_FOUND, .verb = BERTH_HOST_VOLUME_CREATE, .pool = POOL,
                .volume = "other", .format = "qcow2", .size = 4096, .backing = "nothing",
                .backing_format = "qcow2");
    ASSERT_CODE(BERTH_ERROR_INVALID, .verb = BERTH_HOST_VOLUME_CREATE, .pool = POOL,
                .volume = "other", .format = "vmdk", .size = 4096);
    g_auto(BerthHostReply) reply = {0};
    list_volumes(&reply);
    g_assert_cmpuint(find_volume(&reply, "overlay")->capacity, ==, 16 * 1024 * 1024);
    g_assert_cmpuint(find_volume(&reply, "marker.ok")->capacity, ==, 0);
    static const char *const names[] = {"overlay", "base", "marker.ok", "overlay"};
    for (guint i = 0; i < G_N_ELEMENTS(names); i++) {
        ASSERT_OK(.verb = BERTH_HOST_VOLUME_DELETE, .pool = POOL, .volume = names[i]);
    }
    berth_host_reply_clear(&reply);
    list_volumes(&reply);
    g_assert_null(find_volume(&reply, "base"));
}

static guint64 last_progress;

static void
on_progress(guint64 done, guint64 total, gpointer data)
{
    g_assert_cmpuint(done, >=, last_progress);
    g_assert_cmpuint(done, <=, total);
    last_progress = done;
}

static void
assert_content(const char *volume, const char *content, gsize size)
{
    const char *seen = g_getenv("BERTH_HOST_POOL_SEEN");
    if (seen == NULL) {
        return;
    }
    g_autofree char *path = g_build_filename(seen, volume, NULL);
    g_autofree char *data = NULL;
    gsize length = 0;
    g_assert_true(g_file_get_contents(path, &data, &length, NULL));
    g_assert_cmpmem(data, length, content, size);
}

static void
test_upload_arrives_whole_or_not_at_all(void)
{
    ensure_pool();
    gsize size = 3 * 1024 * 1024 + 17;
    g_autofree char *content = g_malloc(size);
    for (gsize i = 0; i < size; i++) {
        content[i] = (char)(i * 2654435761U >> 24);
    }
    g_autofree char *path = NULL;
    int fd = g_file_open_tmp("berth-upload-XXXXXX", &path, NULL);
    g_assert_true(g_close(fd, NULL));
    g_assert_true(g_file_set_contents(path, content, (gssize)size, NULL));
    for (guint i = 0; i < 2; i++) { /* once more: what is there is written again */
        last_progress = 0;
        ASSERT_OK(.verb = BERTH_HOST_VOLUME_UPLOAD, .pool = POOL, .volume = "up", .path = path,
                  .size = size, .progress = on_progress);
        g_assert_cmpuint(last_progress, ==, size);
        assert_content("up", content, size);
    }
    ASSERT_CODE(BERTH_ERROR_CORRUPT, .verb = BERTH_HOST_VOLUME_UPLOAD, .pool = POOL,
                .volume = "short", .path = path, .size = size + 1);
    ASSERT_CODE(BERTH_ERROR_NOT_FOUND, .verb = BERTH_HOST_VOLUME_UPLOAD, .pool = POOL,
                .volume = "none", .path = "/no/such/file", .size = 1);
    ASSERT_CODE(BERTH_ERROR_NOT_FOUND, .verb = BERTH_HOST_VOLUME_UPLOAD, .pool = "no-such-pool",
                .volume = "none", .path = path, .size = size);
    g_auto(BerthHostReply) reply = {0};
    list_volumes(&reply);
    g_assert_cmpuint(find_volume(&reply, "up")->capacity, ==, size);
    g_assert_null(find_volume(&reply, "short"));
    ASSERT_OK(.verb = BERTH_HOST_VOLUME_DELETE, .pool = POOL, .volume = "up");
    g_remove(path);
}

/* libvirt looks into files: it says of a qcow2 file how large the disk in it is, not the file. */
static void
test_a_disk_image_is_uploaded_by_its_bytes(void)
{
    ensure_pool();
    static const guint8 header[104] = {'Q',
                                       'F',
                                       'I',
                                       0xfb,
                                       0,
                                       0,
                                       0,
                                       3,
                                       [23] = 16,
                                       /* the disk's size: 48 MiB */[28] = 3,
                                       [103] = 104};
    gsize size = 65536;
    g_autofree char *content = g_malloc0(size);
    memcpy(content, header, sizeof header);
    g_autofree char *path = NULL;
    int fd = g_file_open_tmp("berth-upload-XXXXXX", &path, NULL);
    g_assert_true(g_close(fd, NULL));
    g_assert_true(g_file_set_contents(path, content, (gssize)size, NULL));
    for (guint i = 0; i < 2; i++) { /* the second time, the list has made libvirt look */
        ASSERT_OK(.verb = BERTH_HOST_VOLUME_UPLOAD, .pool = POOL, .volume = "disk", .path = path,
                  .size = size);
        assert_content("disk", content, size);
        g_auto(BerthHostReply) reply = {0};
        list_volumes(&reply);
        g_assert_nonnull(find_volume(&reply, "disk"));
    }
    ASSERT_OK(.verb = BERTH_HOST_VOLUME_DELETE, .pool = POOL, .volume = "disk");
    g_remove(path);
}

/* ---- domains ----------------------------------------------------------------------------------- */

static void
test_define_is_repeatable_and_keeps_the_mark(void)
{
    define(uuid_a, "conformance.a");
    define(uuid_a, "conformance.a");
    g_autoptr(BerthDomain) domain = get(uuid_a);
    g_assert_cmpint(domain->state, ==, BERTH_DOMAIN_SHUTOFF);
    g_assert_cmpint(domain->id, ==, -1);
    g_assert_cmpstr(domain->name, ==, "conformance.a");
    g_assert_cmpstr(domain->title, ==, "a <title> & more");
    g_assert_true(domain->persistent);
    g_assert_false(domain->autostart);
    g_assert_cmpuint(domain->vcpus, ==, 1);
    g_assert_cmpuint(domain->memory_max_kib, ==, 64 * 1024);
    g_assert_nonnull(domain->mark);
    g_assert_cmpstr(domain->mark->fleet, ==, FLEET);
    g_assert_cmpstr(domain->mark->uid, ==, uuid_a);
    g_assert_cmpstr(domain->mark->spec, ==, mark.spec);
    g_assert_cmpint(domain->mark->generation, ==, 7);
    g_auto(BerthHostReply) reply = {0};
    g_assert_cmpint(call(&(BerthHostCall){.verb = BERTH_HOST_DOMAIN_XML, .uuid = uuid_a}, &reply),
                    ==, -1);
    g_assert_nonnull(strstr(reply.text, "conformance.a"));
    remove_domain(uuid_a);
    remove_domain(uuid_a);
}

static void
test_autostart_follows_the_plan(void)
{
    for (guint i = 0; i < 2; i++) {
        BerthDomainPlan plan = make_plan(uuid_a, "conformance.a");
        plan.autostart = i == 0;
        ASSERT_OK(.verb = BERTH_HOST_DOMAIN_DEFINE, .plan = &plan);
        g_autoptr(BerthDomain) domain = get(uuid_a);
        g_assert_true(domain->autostart == (i == 0));
    }
    remove_domain(uuid_a);
}

static void
test_absent_domains_are_not_found(void)
{
    static const BerthHostVerb verbs[] = {
        BERTH_HOST_DOMAIN_GET,    BERTH_HOST_DOMAIN_START, BERTH_HOST_DOMAIN_SHUTDOWN,
        BERTH_HOST_DOMAIN_REBOOT, BERTH_HOST_DOMAIN_RESET, BERTH_HOST_DOMAIN_SUSPEND,
        BERTH_HOST_DOMAIN_RESUME, BERTH_HOST_DOMAIN_XML,
    };
    for (guint i = 0; i < G_N_ELEMENTS(verbs); i++) {
        ASSERT_CODE(BERTH_ERROR_NOT_FOUND, .verb = verbs[i], .uuid = nobody);
    }
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_DESTROY, .uuid = nobody);
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_UNDEFINE, .uuid = nobody);
}

static void
test_power_on_and_off_is_repeatable_and_told(void)
{
    define(uuid_a, "conformance.a");
    g_ptr_array_set_size(own.events, 0);
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_START, .uuid = uuid_a);
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_START, .uuid = uuid_a);
    RUN_UNTIL(saw(&own, uuid_a, BERTH_DOMAIN_EVENT_STARTED, BERTH_STOP_UNKNOWN));
    g_autoptr(BerthDomain) running = get(uuid_a);
    g_assert_cmpint(running->state, ==, BERTH_DOMAIN_RUNNING);
    g_assert_cmpint(running->id, >, 0);
    ASSERT_CODE(BERTH_ERROR_CONFLICT, .verb = BERTH_HOST_DOMAIN_UNDEFINE, .uuid = uuid_a);
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_RESET, .uuid = uuid_a);
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_SHUTDOWN, .uuid = uuid_a); /* asked; firmware ignores it */
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_DESTROY, .uuid = uuid_a);
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_DESTROY, .uuid = uuid_a);
    RUN_UNTIL(saw(&own, uuid_a, BERTH_DOMAIN_EVENT_STOPPED, BERTH_STOP_DESTROYED));
    g_autoptr(BerthDomain) stopped = get(uuid_a);
    g_assert_cmpint(stopped->state, ==, BERTH_DOMAIN_SHUTOFF);
    g_assert_cmpint(stopped->stop_reason, ==, BERTH_STOP_DESTROYED);
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_SHUTDOWN, .uuid = uuid_a);
    remove_domain(uuid_a);
    RUN_UNTIL(saw(&own, uuid_a, BERTH_DOMAIN_EVENT_UNDEFINED, BERTH_STOP_UNKNOWN));
}

static void
test_pausing_is_repeatable(void)
{
    define(uuid_a, "conformance.a");
    ASSERT_CODE(BERTH_ERROR_CONFLICT, .verb = BERTH_HOST_DOMAIN_SUSPEND, .uuid = uuid_a);
    ASSERT_CODE(BERTH_ERROR_CONFLICT, .verb = BERTH_HOST_DOMAIN_RESUME, .uuid = uuid_a);
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_START, .uuid = uuid_a);
    for (guint i = 0; i < 2; i++) {
        ASSERT_OK(.verb = BERTH_HOST_DOMAIN_SUSPEND, .uuid = uuid_a);
        g_assert_cmpint(state_of(uuid_a), ==, BERTH_DOMAIN_PAUSED);
    }
    for (guint i = 0; i < 2; i++) {
        ASSERT_OK(.verb = BERTH_HOST_DOMAIN_RESUME, .uuid = uuid_a);
        g_assert_cmpint(state_of(uuid_a), ==, BERTH_DOMAIN_RUNNING);
    }
    remove_domain(uuid_a);
}

static void
test_list_shows_all_domains(void)
{
    define(uuid_a, "conformance.a");
    define(uuid_b, "conformance.b");
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_START, .uuid = uuid_b);
    g_auto(BerthHostReply) reply = {0};
    g_assert_cmpint(call(&(BerthHostCall){.verb = BERTH_HOST_DOMAIN_LIST}, &reply), ==, -1);
    guint seen = 0;
    for (guint i = 0; i < reply.domains->len; i++) {
        const BerthDomain *domain = reply.domains->pdata[i];
        seen += g_str_equal(domain->uuid, uuid_a) && domain->state == BERTH_DOMAIN_SHUTOFF;
        seen += g_str_equal(domain->uuid, uuid_b) && domain->state == BERTH_DOMAIN_RUNNING;
    }
    g_assert_cmpuint(seen, ==, 2);
    remove_domain(uuid_a);
    remove_domain(uuid_b);
}

static void
test_a_taken_name_is_refused(void)
{
    define(uuid_a, "conformance.a");
    BerthDomainPlan plan = make_plan(uuid_b, "conformance.a");
    ASSERT_CODE(BERTH_ERROR_EXISTS, .verb = BERTH_HOST_DOMAIN_DEFINE, .plan = &plan);
    remove_domain(uuid_a);
}

static void
test_a_missing_kernel_is_refused(void)
{
    ensure_pool();
    BerthDomainPlan plan = make_plan(uuid_a, "conformance.a");
    plan.kernel_pool = POOL;
    plan.kernel_volume = "no-such-kernel";
    ASSERT_CODE(BERTH_ERROR_NOT_FOUND, .verb = BERTH_HOST_DOMAIN_DEFINE, .plan = &plan);
    ASSERT_CODE(BERTH_ERROR_NOT_FOUND, .verb = BERTH_HOST_DOMAIN_GET, .uuid = uuid_a);
}

/* Invariant I5: nobody touches what carries another fleet's mark. */
static void
test_domains_of_others_are_left_alone(void)
{
    define(uuid_a, "conformance.a");
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_START, .uuid = uuid_a);
    for (guint verb = BERTH_HOST_DOMAIN_START; verb <= BERTH_HOST_DOMAIN_UNDEFINE; verb++) {
        const BerthHostCall wanted = {.verb = (BerthHostVerb)verb, .uuid = uuid_a};
        g_assert_cmpint(call_as(&stranger, &wanted, NULL), ==, BERTH_ERROR_DENIED);
    }
    BerthDomainMark theirs = mark;
    theirs.fleet = (char *)"another-fleet";
    BerthDomainPlan plan = make_plan(uuid_a, "conformance.a");
    plan.mark = &theirs;
    const BerthHostCall over = {.verb = BERTH_HOST_DOMAIN_DEFINE, .plan = &plan};
    g_assert_cmpint(call_as(&stranger, &over, NULL), ==, BERTH_ERROR_EXISTS);
    g_autoptr(BerthDomain) domain = get(uuid_a);
    g_assert_cmpint(domain->state, ==, BERTH_DOMAIN_RUNNING);
    g_assert_cmpstr(domain->mark->fleet, ==, FLEET);
    /* Reading is free to all. */
    const BerthHostCall read = {.verb = BERTH_HOST_DOMAIN_GET, .uuid = uuid_a};
    g_assert_cmpint(call_as(&stranger, &read, NULL), ==, -1);
    remove_domain(uuid_a);
}

/* ---- networks ---------------------------------------------------------------------------------- */

static void
test_networks_are_started_and_reserve_addresses(void)
{
    const char *mac = "52:54:00:c0:ff:01";
    for (guint i = 0; i < 2; i++) {
        ASSERT_OK(.verb = BERTH_HOST_NETWORK_ENSURE, .network = "default");
        ASSERT_OK(.verb = BERTH_HOST_DHCP_RESERVE, .network = "default", .mac = mac,
                  .ip = "192.168.122.50", .name = "conformance");
    }
    ASSERT_CODE(BERTH_ERROR_NOT_FOUND, .verb = BERTH_HOST_NETWORK_ENSURE, .network = "nowhere");
    ASSERT_CODE(BERTH_ERROR_NOT_FOUND, .verb = BERTH_HOST_DHCP_RESERVE, .network = "nowhere",
                .mac = mac, .ip = "192.168.122.50");
    ASSERT_CODE(BERTH_ERROR_EXISTS, .verb = BERTH_HOST_DHCP_RESERVE, .network = "default",
                .mac = mac, .ip = "192.168.122.51");
    ASSERT_CODE(BERTH_ERROR_EXISTS, .verb = BERTH_HOST_DHCP_RESERVE, .network = "default",
                .mac = "52:54:00:c0:ff:02", .ip = "192.168.122.50");
    /* Not ours to release. */
    ASSERT_OK(.verb = BERTH_HOST_DHCP_RELEASE, .network = "default", .mac = "52:54:00:c0:ff:02",
              .ip = "192.168.122.50");
    ASSERT_CODE(BERTH_ERROR_EXISTS, .verb = BERTH_HOST_DHCP_RESERVE, .network = "default",
                .mac = "52:54:00:c0:ff:02", .ip = "192.168.122.50");
    for (guint i = 0; i < 2; i++) {
        ASSERT_OK(.verb = BERTH_HOST_DHCP_RELEASE, .network = "default", .mac = mac,
                  .ip = "192.168.122.50");
    }
    ASSERT_OK(.verb = BERTH_HOST_DHCP_RESERVE, .network = "default", .mac = "52:54:00:c0:ff:02",
              .ip = "192.168.122.50");
    ASSERT_OK(.verb = BERTH_HOST_DHCP_RELEASE, .network = "default", .mac = "52:54:00:c0:ff:02",
              .ip = "192.168.122.50");
}

/* ---- channels ---------------------------------------------------------------------------------- */

typedef struct {
    BerthChannel *channel;
    guint closed;
    int code; /* of the error; -1: ended in order */
    gsize received;
} Ear;

static void
on_received(const guint8 *data, gsize size, gpointer user_data)
{
    ((Ear *)user_data)->received += size;
}

static void
on_channel_closed(const GError *error, gpointer user_data)
{
    Ear *ear = user_data;
    ear->closed++;
    ear->code = error != NULL ? error->code : -1;
    if (error != NULL) {
        g_test_message("channel: %s", error->message);
    }
}

static void
open_ear(Peer *peer, Ear *ear, const char *uuid, const char *port, gboolean force)
{
    static const BerthChannelWatch watch = {on_received, on_channel_closed};
    *ear = (Ear){.code = -2};
    ear->channel = peer->host->ops->channel_open(peer->host, uuid, port, force, &watch, ear);
    g_assert_nonnull(ear->channel);
    g_assert_cmpuint(ear->closed, ==, 0);
}

static void
assert_ends(Ear *ear, int code)
{
    RUN_UNTIL(ear->closed == 1);
    g_assert_cmpint(ear->code, ==, code);
    berth_channel_close(ear->channel);
}

static void
test_channels_that_cannot_be_opened_say_why(void)
{
    Ear ear;
    open_ear(&own, &ear, nobody, BERTH_LINK_PORT, FALSE);
    assert_ends(&ear, BERTH_ERROR_NOT_FOUND);
    define(uuid_a, "conformance.a");
    open_ear(&own, &ear, uuid_a, BERTH_LINK_PORT, FALSE);
    assert_ends(&ear, BERTH_ERROR_CONFLICT); /* it is off */
    open_ear(&stranger, &ear, uuid_a, BERTH_LINK_PORT, TRUE);
    assert_ends(&ear, BERTH_ERROR_DENIED);
    remove_domain(uuid_a);
}

/* A round through the host: what was asked of a channel before has been done when this is answered. */
static void
settle(void)
{
    Ear ear;
    open_ear(&own, &ear, nobody, BERTH_LINK_PORT, FALSE);
    assert_ends(&ear, BERTH_ERROR_NOT_FOUND);
    open_ear(&own, &ear, nobody, NULL, FALSE);
    assert_ends(&ear, BERTH_ERROR_NOT_FOUND);
}

static void
check_one_opener(const char *port)
{
    Ear first, second, third;
    open_ear(&own, &first, uuid_a, port, FALSE);
    settle();
    g_assert_cmpuint(first.closed, ==, 0);
    open_ear(&own, &second, uuid_a, port, FALSE);
    assert_ends(&second, BERTH_ERROR_CONFLICT);
    open_ear(&own, &third, uuid_a, port, TRUE);
    RUN_UNTIL(first.closed == 1); /* it was taken away */
    berth_channel_close(first.channel);
    settle();
    g_assert_cmpuint(third.closed, ==, 0);
    berth_channel_close(third.channel);
    settle();
    g_assert_cmpuint(third.closed, ==, 0); /* nothing is told after close */
}

static void
test_one_opener_at_a_time_unless_by_force(void)
{
    define(uuid_a, "conformance.a");
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_START, .uuid = uuid_a);
    check_one_opener(BERTH_LINK_PORT);
    check_one_opener(NULL);
    remove_domain(uuid_a);
}

static void
test_a_channel_ends_with_its_domain(void)
{
    define(uuid_a, "conformance.a");
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_START, .uuid = uuid_a);
    Ear link, console;
    open_ear(&own, &link, uuid_a, BERTH_LINK_PORT, FALSE);
    open_ear(&own, &console, uuid_a, NULL, FALSE);
    settle();
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_DESTROY, .uuid = uuid_a);
    RUN_UNTIL(link.closed == 1 && console.closed == 1);
    berth_channel_close(link.channel);
    berth_channel_close(console.channel);
    remove_domain(uuid_a);
}

static void
test_what_waits_for_a_guest_is_bounded(void)
{
    define(uuid_a, "conformance.a");
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_START, .uuid = uuid_a);
    Ear ear;
    open_ear(&own, &ear, uuid_a, BERTH_LINK_PORT, FALSE);
    g_autofree char *zeros = g_malloc0(300 * 1024);
    g_autoptr(GBytes) few = g_bytes_new_static(zeros, 1024);
    berth_channel_send(ear.channel, few);
    settle();
    g_assert_cmpuint(ear.closed, ==, 0);
    g_autoptr(GBytes) many = g_bytes_new_static(zeros, 300 * 1024);
    berth_channel_send(ear.channel, many);
    g_assert_cmpuint(ear.closed, ==, 0);
    assert_ends(&ear, BERTH_ERROR_EXHAUSTED);
    remove_domain(uuid_a);
}

/* ---- guests ------------------------------------------------------------------------------------ */

/* What a pod said over its link. */
typedef struct {
    BerthLink *link;
    guint ready, configured, closed;
    BerthContainerState state;
    int exit_code;
    GString *streams[3]; /* by BerthLinkStream */
} Pod;

static void
on_ready(const BerthLinkHello *hello, gpointer data)
{
    g_test_message("kernel %s, init after %" G_GUINT64_FORMAT " ms, port after %" G_GUINT64_FORMAT
                   " ms",
                   hello->kernel, hello->init_us / 1000, hello->port_us / 1000);
    ((Pod *)data)->ready++;
}

static void
on_configured(const GError *error, gpointer data)
{
    g_assert_no_error(error);
    ((Pod *)data)->configured++;
}

static void
on_log(guint container, guint64 sequence, gint64 wall_us, BerthLinkStream stream,
       const guint8 *data, gsize size, gpointer user_data)
{
    Pod *pod = user_data;
    g_string_append_len(pod->streams[stream], (const char *)data, (gssize)size);
    berth_link_log_ack(pod->link, container, sequence);
}

static void
on_container(guint container, const BerthLinkContainer *state, gpointer data)
{
    Pod *pod = data;
    pod->state = state->state;
    pod->exit_code = state->exit_code;
}

static void
on_broken(const GError *error, gpointer data)
{
    g_test_message("link: %s", error != NULL ? error->message : "ended");
}

static void
on_link_closed(const GError *error, gpointer data)
{
    ((Pod *)data)->closed++;
}

static BerthChannel *
open_link(gboolean force, const BerthChannelWatch *watch, gpointer watch_data, gpointer data)
{
    return own.host->ops->channel_open(own.host, uuid_a, BERTH_LINK_PORT, force, watch, watch_data);
}

static void
upload_guest_os(const char *folder, const char *file)
{
    g_autofree char *path = g_build_filename(folder, file, NULL);
    GStatBuf status;
    g_assert_cmpint(g_stat(path, &status), ==, 0);
    ASSERT_OK(.verb = BERTH_HOST_VOLUME_UPLOAD, .pool = POOL, .volume = file, .path = path,
              .size = (guint64)status.st_size);
}

/* One container whose image disk nobody attached: only a simulated guest runs it all the same. */
static void
run_container(Pod *pod)
{
    const BerthLinkContainerPlan container = {
        .name = "main",
        .image_serial = "image-0",
        .config = "{\"process\": {\"args\": [\"sh\", \"-c\","
                  " \"echo out; echo err >&2; exit 7\"]}}",
        .user = "",
    };
    const BerthLinkConfig config = {
        .id = 1, .hostname = "pod", .containers = &container, .container_count = 1};
    g_autoptr(GError) error = NULL;
    g_assert_true(berth_link_configure(pod->link, &config, &error));
    berth_link_start(pod->link, 0, 1);
    RUN_UNTIL(pod->state == BERTH_CONTAINER_EXITED || pod->state == BERTH_CONTAINER_FAILED);
    g_assert_cmpuint(pod->configured, ==, 1);
    if (!g_str_has_prefix(g_getenv("BERTH_HOST_URI"), "sim:")) {
        g_assert_cmpint(pod->state, ==, BERTH_CONTAINER_FAILED);
        return;
    }
    g_assert_cmpint(pod->state, ==, BERTH_CONTAINER_EXITED);
    g_assert_cmpint(pod->exit_code, ==, 7);
    g_assert_cmpstr(pod->streams[BERTH_STREAM_STDOUT]->str, ==, "out\n");
    g_assert_cmpstr(pod->streams[BERTH_STREAM_STDERR]->str, ==, "err\n");
}

static void
boot_pod(BerthProfile profile, const char *cmdline)
{
    static const BerthLinkWatch watch = {
        .ready = on_ready,
        .configured = on_configured,
        .log = on_log,
        .container = on_container,
        .broken = on_broken,
        .closed = on_link_closed,
    };
    BerthDomainPlan plan = make_plan(uuid_a, "conformance.a");
    const BerthNicPlan nic = {.network = "default", .mac = "52:54:00:c0:ff:0a"};
    plan.profile = profile;
    plan.memory_mib = 256;
    plan.kernel_pool = POOL;
    plan.kernel_volume = "vmlinuz";
    plan.initrd_volume = "initramfs";
    plan.cmdline = cmdline;
    plan.nics = &nic;
    plan.nic_count = 1;
    gint64 begin_us = g_get_monotonic_time();
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_DEFINE, .plan = &plan);
    gint64 defined_us = g_get_monotonic_time();
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_START, .uuid = uuid_a);
    gint64 started_us = g_get_monotonic_time();
    Pod pod = {0};
    for (guint i = 0; i < G_N_ELEMENTS(pod.streams); i++) {
        pod.streams[i] = g_string_new(NULL);
    }
    const BerthLinkOptions options = {
        .open = open_link, .clock = berth_clock_system(), .random = berth_random_system()};
    pod.link = berth_link_new(&options, &watch, &pod);
    berth_link_attach(pod.link);
    RUN_UNTIL(pod.ready > 0);
    g_test_message("define %d ms, start %d ms, answered after %d ms more",
                   (int)(defined_us - begin_us) / 1000, (int)(started_us - defined_us) / 1000,
                   (int)(g_get_monotonic_time() - started_us) / 1000);
    run_container(&pod);
    g_ptr_array_set_size(own.events, 0);
    berth_link_shutdown(pod.link, 1000);
    RUN_UNTIL(saw(&own, uuid_a, BERTH_DOMAIN_EVENT_STOPPED, BERTH_STOP_SHUTDOWN));
    berth_link_free(pod.link);
    for (guint i = 0; i < G_N_ELEMENTS(pod.streams); i++) {
        g_string_free(pod.streams[i], TRUE);
    }
    g_autoptr(BerthDomain) domain = get(uuid_a);
    g_assert_cmpint(domain->state, ==, BERTH_DOMAIN_SHUTOFF);
    g_assert_cmpint(domain->stop_reason, ==, BERTH_STOP_SHUTDOWN);
    remove_domain(uuid_a);
}

static void
test_pods_answer_on_their_link_and_power_off(void)
{
    const char *folder = g_getenv("BERTH_GUEST_OS");
    if (folder == NULL) {
        g_test_skip("there is no guest OS: run 'make guest-os'");
        return;
    }
    g_auto(BerthHostReply) reply = {0};
    g_assert_cmpint(call(&(BerthHostCall){.verb = BERTH_HOST_INVENTORY}, &reply), ==, -1);
    ensure_pool();
    upload_guest_os(folder, "vmlinuz");
    upload_guest_os(folder, "initramfs");
    boot_pod(BERTH_PROFILE_Q35, "console=ttyS0 quiet panic=-1 reboot=t");
    g_autofree char *cmdline =
        g_strdup_printf("console=ttyS0 quiet panic=-1 reboot=t tsc_early_khz=%" G_GUINT64_FORMAT,
                        reply.inventory->tsc_khz);
    boot_pod(BERTH_PROFILE_MICROVM, cmdline);
}

/* ---- connections ------------------------------------------------------------------------------- */

static void
test_abandoned_connections_come_back(void)
{
    define(uuid_a, "conformance.a");
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_START, .uuid = uuid_a);
    Ear ear;
    open_ear(&own, &ear, uuid_a, BERTH_LINK_PORT, FALSE);
    settle();
    guint closed = own.closed;
    own.host->ops->abandon(own.host);
    assert_ends(&ear, BERTH_ERROR_UNAVAILABLE);
    ASSERT_CODE(BERTH_ERROR_UNAVAILABLE, .verb = BERTH_HOST_DOMAIN_LIST);
    g_assert_cmpint(call(NULL, NULL), ==, -1);
    g_assert_cmpint(state_of(uuid_a), ==, BERTH_DOMAIN_RUNNING);
    g_assert_cmpuint(own.closed, ==, closed); /* who abandons is not told */
    g_ptr_array_set_size(own.events, 0);
    remove_domain(uuid_a);
    RUN_UNTIL(saw(&own, uuid_a, BERTH_DOMAIN_EVENT_STOPPED, BERTH_STOP_DESTROYED));
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    if (g_getenv("BERTH_HOST_URI") == NULL) {
        g_print("1..0 # SKIP BERTH_HOST_URI is not set: run tests/conformance/run-host\n");
        return 0;
    }
    signal(SIGPIPE, SIG_IGN); /* libvirt writes to sockets that the other side has closed */
    virEventRegisterDefaultImpl();
    open_peer(&own, FLEET);
    open_peer(&stranger, "another-fleet");
#define ADD(path, test) g_test_add_func("/conformance/host/" path, test)
    ADD("inventory-tells-size-and-names", test_inventory_tells_size_and_names);
    ADD("pool-is-made-once-and-only-there", test_pool_is_made_once_and_only_there);
    ADD("volume-is-created-once-and-deleted-twice", test_volume_is_created_once_and_deleted_twice);
    ADD("upload-arrives-whole-or-not-at-all", test_upload_arrives_whole_or_not_at_all);
    ADD("a-disk-image-is-uploaded-by-its-bytes", test_a_disk_image_is_uploaded_by_its_bytes);
    ADD("define-is-repeatable-and-keeps-the-mark", test_define_is_repeatable_and_keeps_the_mark);
    ADD("autostart-follows-the-plan", test_autostart_follows_the_plan);
    ADD("absent-domains-are-not-found", test_absent_domains_are_not_found);
    ADD("power-on-and-off-is-repeatable-and-told", test_power_on_and_off_is_repeatable_and_told);
    ADD("pausing-is-repeatable", test_pausing_is_repeatable);
    ADD("list-shows-all-domains", test_list_shows_all_domains);
    ADD("a-taken-name-is-refused", test_a_taken_name_is_refused);
    ADD("a-missing-kernel-is-refused", test_a_missing_kernel_is_refused);
    ADD("domains-of-others-are-left-alone", test_domains_of_others_are_left_alone);
    ADD("networks-are-started-and-reserve-addresses",
        test_networks_are_started_and_reserve_addresses);
    ADD("channels-that-cannot-be-opened-say-why", test_channels_that_cannot_be_opened_say_why);
    ADD("one-opener-at-a-time-unless-by-force", test_one_opener_at_a_time_unless_by_force);
    ADD("a-channel-ends-with-its-domain", test_a_channel_ends_with_its_domain);
    ADD("what-waits-for-a-guest-is-bounded", test_what_waits_for_a_guest_is_bounded);
    ADD("pods-answer-on-their-link-and-power-off", test_pods_answer_on_their_link_and_power_off);
    ADD("abandoned-connections-come-back", test_abandoned_connections_come_back);
    int failed = g_test_run();
    own.host->ops->free(own.host);
    stranger.host->ops->free(stranger.host);
    return failed;
}
