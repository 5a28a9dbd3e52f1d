/* Calls run on a thread while the main loop turns, as the runner does it. */
#include "tests/conformance/peer.h"

#include "tests/simhost/host-sim.h"

#include <string.h>

Peer own, stranger;

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

gboolean
wake(gpointer data)
{
    *(gboolean *)data = TRUE;
    return G_SOURCE_REMOVE;
}

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
int
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

int
call(const BerthHostCall *wanted, BerthHostReply *reply)
{
    return call_as(&own, wanted, reply);
}

void
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
    .spec = (char *)SPEC,
    .labels = (char *)"{}",
    .generation = 7,
    .format = 1,
};

/* A machine without disks: its firmware finds nothing to boot and waits. */
BerthDomainPlan
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

const char uuid_a[] = "c0000000-0000-4000-8000-00000000000a";
const char uuid_b[] = "c0000000-0000-4000-8000-00000000000b";
const char nobody[] = "c0000000-0000-4000-8000-0000000000ff";

void
define(const char *uuid, const char *name)
{
    BerthDomainPlan plan = make_plan(uuid, name);
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_DEFINE, .plan = &plan);
}

BerthDomain *
get(const char *uuid)
{
    g_auto(BerthHostReply) reply = {0};
    g_assert_cmpint(call(&(BerthHostCall){.verb = BERTH_HOST_DOMAIN_GET, .uuid = uuid}, &reply), ==,
                    -1);
    g_assert_cmpuint(reply.domains->len, ==, 1);
    return g_ptr_array_steal_index(reply.domains, 0);
}

BerthDomainState
state_of(const char *uuid)
{
    g_autoptr(BerthDomain) domain = get(uuid);
    return domain->state;
}

void
remove_domain(const char *uuid)
{
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_DESTROY, .uuid = uuid);
    ASSERT_OK(.verb = BERTH_HOST_DOMAIN_UNDEFINE, .uuid = uuid);
}

gboolean
saw(const Peer *peer, const char *uuid, BerthDomainEvent event, BerthStopReason reason)
{
    g_autofree char *wanted = g_strdup_printf("%s %d %d", uuid, event, reason);
    return g_ptr_array_find_with_equal_func(peer->events, wanted, g_str_equal, NULL);
}
