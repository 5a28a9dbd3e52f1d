/* What a fleet's hosts are asked, and how their answers and what Berth did itself become what is known.
 *
 * Invariant: an answer never overwrites what was learned after its question was asked: each change
 * of a domain or volume is numbered, and a list only replaces entries older than itself. Start at
 * on_domains(). Main loop only. */
#include "daemon/fleet-private.h"

#include "base/error.h"

#define CALL_DEADLINE_S 30
#define ASK_AGAIN_MS 2000 /* after an inventory that failed */

/* A question under way: answers find their host by name, since it may be removed meanwhile. */
typedef struct {
    BerthFleet *fleet;
    char *host, *uuid; /* owned */
    guint64 incarnation, changes, doubts;
} Question;

/* Numbers a change of the domain or volume @name. */
static void
touch(BerthFleetHost *host, const char *name)
{
    g_hash_table_replace(host->touched, g_strdup(name), GSIZE_TO_POINTER(++host->changes));
}

void
berth_fleet_tell_domain(BerthFleetHost *host, const char *uuid)
{
    host->fleet->listener.domain(host, uuid, host->fleet->user_data);
}

void
berth_fleet_tell_host(BerthFleetHost *host)
{
    host->fleet->listener.host(host, host->fleet->user_data);
}

static gboolean
is_newer_than(BerthFleetHost *host, const char *uuid, guint64 changes)
{
    return GPOINTER_TO_SIZE(g_hash_table_lookup(host->touched, uuid)) > changes;
}

/* ---- questions ------------------------------------------------------------------------------- */

static Question *
ask(BerthFleetHost *host, const char *uuid)
{
    Question *question = g_new0(Question, 1);
    question->fleet = host->fleet;
    question->host = g_strdup(host->name);
    question->uuid = g_strdup(uuid);
    question->incarnation = host->incarnation;
    question->changes = host->changes;
    question->doubts = host->doubts;
    return question;
}

/* The host that @question was asked of, unless it is gone or has reconnected since. */
static BerthFleetHost *
answered(Question *question)
{
    BerthFleetHost *host = berth_fleet_get(question->fleet, question->host);
    return host != NULL && host->incarnation == question->incarnation ? host : NULL;
}

static void
free_question(Question *question)
{
    g_free(question->host);
    g_free(question->uuid);
    g_free(question);
}

G_DEFINE_AUTOPTR_CLEANUP_FUNC(Question, free_question)

static void
submit(BerthFleetHost *host, const BerthHostCall *call, BerthHostDone done, const char *uuid)
{
    berth_host_runner_submit(host->runner, call, CALL_DEADLINE_S, done, ask(host, uuid));
}

static void on_inventory(BerthHostReply *reply, const GError *error, gpointer data);

/* Asks what the host is and has. */
void
berth_fleet_ask_inventory(BerthFleetHost *host)
{
    submit(host, &(BerthHostCall){.verb = BERTH_HOST_INVENTORY}, on_inventory, NULL);
}

static gboolean
ask_inventory_later(gpointer data)
{
    BerthFleetHost *host = data;
    host->ask_timer = 0;
    if (host->reached) {
        berth_fleet_ask_inventory(host);
    }
    return G_SOURCE_REMOVE;
}

/* The same after @ms; questions that are asked meanwhile are one. */
void
berth_fleet_ask_inventory_in(BerthFleetHost *host, guint ms)
{
    if (host->ask_timer == 0) {
        host->ask_timer = g_timeout_add(ms, ask_inventory_later, host);
    }
}

static void
take_inventory(BerthFleetHost *host, BerthInventory *inventory, guint64 changes)
{
    g_clear_pointer(&host->inventory, berth_inventory_free);
    host->inventory = inventory;
    host->inventory_as_of = changes;
}

static void
begin_to_use(BerthFleetHost *host)
{
    host->connected = TRUE;
    berth_fleet_list_domains(host);
    berth_fleet_list_volumes(host);
}

/* Asked on connecting, it decides whether the host is used; later, it is only what the host has now: on one
 * connection it stays the same machine. */
static void
on_inventory(BerthHostReply *reply, const GError *error, gpointer data)
{
    g_autoptr(Question) question = data;
    BerthFleetHost *host = answered(question);
    if (host == NULL || !host->reached || question->changes < host->inventory_as_of) {
        return;
    }
    if (host->connected) {
        if (error == NULL) {
            take_inventory(host, g_steal_pointer(&reply->inventory), question->changes);
            berth_fleet_tell_host(host);
        }
        return; /* relist() asks again */
    }
    g_free(host->why);
    host->why = error != NULL
                    ? g_strdup(error->message)
                    : host->fleet->listener.accept(host, reply->inventory, host->fleet->user_data);
    if (host->why == NULL) {
        take_inventory(host, g_steal_pointer(&reply->inventory), question->changes);
        begin_to_use(host);
    } else if (error != NULL) {
        berth_fleet_ask_inventory_in(host, ASK_AGAIN_MS);
    }
    berth_fleet_tell_host(host);
}

static void
drop_absent(BerthFleetHost *host, GHashTable *present, guint64 changes)
{
    GHashTableIter iter;
    gpointer uuid;
    g_autoptr(GPtrArray) gone = g_ptr_array_new_with_free_func(g_free);
    g_hash_table_iter_init(&iter, host->domains);
    while (g_hash_table_iter_next(&iter, &uuid, NULL)) {
        if (!g_hash_table_contains(present, uuid) && !is_newer_than(host, uuid, changes)) {
            g_ptr_array_add(gone, g_strdup(uuid));
        }
    }
    for (guint i = 0; i < gone->len; i++) {
        g_hash_table_remove(host->domains, gone->pdata[i]);
        berth_fleet_tell_domain(host, gone->pdata[i]);
    }
}

static gboolean
looks_the_same(const BerthDomain *a, const BerthDomain *b)
{
    return a != NULL && a->state == b->state && a->stop_reason == b->stop_reason &&
           a->id == b->id && a->memory_max_kib == b->memory_max_kib && a->vcpus_max == b->vcpus_max;
}

/* A list answers the doubts that were there when it was asked for. */
static void
settle_doubts(BerthFleetHost *host, guint64 changes)
{
    GHashTableIter iter;
    gpointer uuid, number;
    g_autoptr(GPtrArray) settled = g_ptr_array_new_with_free_func(g_free);
    g_hash_table_iter_init(&iter, host->doubted);
    while (g_hash_table_iter_next(&iter, &uuid, &number)) {
        if (GPOINTER_TO_SIZE(number) <= changes) {
            g_ptr_array_add(settled, g_strdup(uuid));
            g_hash_table_iter_remove(&iter);
        }
    }
    for (guint i = 0; i < settled->len; i++) {
        berth_fleet_tell_domain(host, settled->pdata[i]);
    }
}

static void
on_domains(BerthHostReply *reply, const GError *error, gpointer data)
{
    g_autoptr(Question) question = data;
    BerthFleetHost *host = answered(question);
    if (host == NULL || error != NULL) {
        return;
    }
    g_autoptr(GHashTable) present = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(GPtrArray) changed = g_ptr_array_new_with_free_func(g_free);
    for (guint i = 0; i < reply->domains->len; i++) {
        BerthDomain *domain = reply->domains->pdata[i];
        g_hash_table_add(present, g_strdup(domain->uuid));
        if (is_newer_than(host, domain->uuid, question->changes)) {
            continue;
        }
        if (!looks_the_same(berth_fleet_domain(host, domain->uuid), domain)) {
            g_ptr_array_add(changed, g_strdup(domain->uuid));
        }
        reply->domains->pdata[i] = NULL;
        g_hash_table_replace(host->domains, domain->uuid, domain);
    }
    drop_absent(host, present, question->changes);
    gboolean first = !host->listed;
    host->listed = TRUE;
    if (first) {
        berth_fleet_tell_host(host);
        berth_fleet_tell_domain(host, NULL);
    }
    for (guint i = 0; !first && i < changed->len; i++) {
        berth_fleet_tell_domain(host, changed->pdata[i]);
    }
    settle_doubts(host, question->changes);
    host->fleet->listener.listed(host, host->fleet->user_data);
}

static void
set_volume(GHashTable *volumes, const char *name, gint64 capacity)
{
    g_hash_table_replace(volumes, g_strdup(name), g_memdup2(&capacity, sizeof capacity));
}

/* What changed after @changes stays as it is known. */
static void
keep_newer_volumes(BerthFleetHost *host, GHashTable *fresh, guint64 changes)
{
    GHashTableIter iter;
    gpointer name, number;
    g_hash_table_iter_init(&iter, host->touched);
    while (host->volumes != NULL && g_hash_table_iter_next(&iter, &name, &number)) {
        if (GPOINTER_TO_SIZE(number) > changes) {
            const gint64 *known = g_hash_table_lookup(host->volumes, name);
            g_hash_table_remove(fresh, name);
            if (known != NULL) {
                set_volume(fresh, name, *known);
            }
        }
    }
}

static void
on_volumes(BerthHostReply *reply, const GError *error, gpointer data)
{
    g_autoptr(Question) question = data;
    BerthFleetHost *host = answered(question);
    if (host == NULL) {
        return;
    }
    if (error != NULL && !g_error_matches(error, BERTH_ERROR, BERTH_ERROR_NOT_FOUND)) {
        return; /* relist() asks again */
    }
    GHashTable *fresh = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    for (guint i = 0; error == NULL && i < reply->volumes->len; i++) {
        const BerthVolume *volume = reply->volumes->pdata[i];
        if (!g_hash_table_contains(host->leaving, volume->name)) {
            set_volume(fresh, volume->name, (gint64)volume->capacity);
        }
    }
    keep_newer_volumes(host, fresh, question->changes);
    g_clear_pointer(&host->volumes, g_hash_table_destroy);
    host->volumes = fresh;
    host->settled_doubts = question->doubts;
    berth_fleet_tell_host(host);
    berth_fleet_tell_domain(host, NULL);
}

static void
on_domain(BerthHostReply *reply, const GError *error, gpointer data)
{
    g_autoptr(Question) question = data;
    BerthFleetHost *host = answered(question);
    if (host == NULL) {
        return;
    }
    g_hash_table_remove(host->asked, question->uuid);
    if (g_hash_table_remove(host->asked_again, question->uuid)) {
        berth_fleet_look_at(host, question->uuid);
        return;
    }
    if (error == NULL && reply->domains != NULL && reply->domains->len == 1) {
        BerthDomain *domain = reply->domains->pdata[0];
        reply->domains->pdata[0] = NULL;
        touch(host, domain->uuid);
        g_hash_table_replace(host->domains, domain->uuid, domain);
    } else if (g_error_matches(error, BERTH_ERROR, BERTH_ERROR_NOT_FOUND)) {
        touch(host, question->uuid);
        g_hash_table_remove(host->domains, question->uuid);
    } else {
        return;
    }
    if (GPOINTER_TO_SIZE(g_hash_table_lookup(host->doubted, question->uuid)) <= question->changes) {
        g_hash_table_remove(host->doubted, question->uuid);
    }
    berth_fleet_tell_domain(host, question->uuid);
}

/** Asks what became of the domain @uuid; a question under way is asked again afterwards. */
void
berth_fleet_look_at(BerthFleetHost *host, const char *uuid)
{
    if (g_hash_table_contains(host->asked, uuid)) {
        g_hash_table_add(host->asked_again, g_strdup(uuid));
        return;
    }
    g_hash_table_add(host->asked, g_strdup(uuid));
    submit(host, &(BerthHostCall){.verb = BERTH_HOST_DOMAIN_GET, .uuid = uuid}, on_domain, uuid);
}

/** A call that was to change the domain @uuid failed, perhaps after it did something: it is looked at. */
void
berth_fleet_doubt_domain(BerthFleetHost *host, const char *uuid)
{
    g_hash_table_replace(host->doubted, g_strdup(uuid), GSIZE_TO_POINTER(++host->changes));
    berth_fleet_look_at(host, uuid);
}

/** Returns: whether the domain @uuid may be other than it is known, or become so: a call is stuck in it. */
gboolean
berth_fleet_is_domain_doubtful(const BerthFleetHost *host, const char *uuid)
{
    return g_hash_table_contains(host->doubted, uuid) || g_hash_table_contains(host->stuck, uuid);
}

/** Reads the volumes of Berth's pool on @host again. */
void
berth_fleet_list_volumes(BerthFleetHost *host)
{
    BerthHostCall call = {.verb = BERTH_HOST_VOLUME_LIST, .pool = host->fleet->pool};
    submit(host, &call, on_volumes, NULL);
}

/* Lists all domains. */
void
berth_fleet_list_domains(BerthFleetHost *host)
{
    submit(host, &(BerthHostCall){.verb = BERTH_HOST_DOMAIN_LIST}, on_domains, NULL);
}

/** A call that was to change volumes failed, perhaps after it did something: they are read again. */
void
berth_fleet_doubt_volumes(BerthFleetHost *host)
{
    host->doubts++;
    berth_fleet_list_volumes(host);
}

/** Returns: whether there may be volumes that are not known, or known ones that are not there. */
gboolean
berth_fleet_is_doubtful(const BerthFleetHost *host)
{
    return host->doubts != host->settled_doubts || g_hash_table_contains(host->stuck, "");
}

/* ---- what Berth did itself ------------------------------------------------------------------- */

/** Records what a call of ours just made of the domain @uuid, before libvirt's event tells. */
void
berth_fleet_note_domain(BerthFleetHost *host, const char *uuid, BerthDomainState state,
                        BerthStopReason reason)
{
    BerthDomain *domain = berth_fleet_domain(host, uuid);
    if (domain == NULL) {
        domain = g_new0(BerthDomain, 1);
        domain->uuid = g_strdup(uuid);
        domain->name = g_strdup(uuid);
        domain->id = -1;
        domain->persistent = TRUE;
        domain->mark = g_new0(BerthDomainMark, 1);
        domain->mark->fleet = g_strdup(host->fleet->id);
        domain->mark->uid = g_strdup(uuid);
        g_hash_table_replace(host->domains, domain->uuid, domain);
    }
    domain->state = state;
    domain->stop_reason = reason;
    touch(host, uuid);
}

/** Records that the domain @uuid is not there any more. */
void
berth_fleet_note_gone(BerthFleetHost *host, const char *uuid)
{
    touch(host, uuid);
    g_hash_table_remove(host->domains, uuid);
}

/** Records a volume that was made (@capacity >= 0) or deleted (-1). */
void
berth_fleet_note_volume(BerthFleetHost *host, const char *volume, gint64 capacity)
{
    if (host->volumes == NULL) {
        return;
    }
    touch(host, volume);
    if (capacity < 0) {
        g_hash_table_remove(host->volumes, volume);
    } else {
        set_volume(host->volumes, volume, capacity);
    }
}

/** A call that deletes @volume begins: it counts as gone, whatever a list says that is made before its end. */
void
berth_fleet_volume_leaves(BerthFleetHost *host, const char *volume)
{
    g_hash_table_add(host->leaving, g_strdup(volume));
    berth_fleet_note_volume(host, volume, -1);
}

/** … and ended; @gone: FALSE: with an error, so the volumes are read again. */
void
berth_fleet_volume_left(BerthFleetHost *host, const char *volume, gboolean gone)
{
    g_hash_table_remove(host->leaving, volume);
    if (gone) {
        berth_fleet_note_volume(host, volume, -1);
    } else {
        berth_fleet_doubt_volumes(host);
    }
}
