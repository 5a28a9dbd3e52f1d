/* See promises.h. Judged by commits alone; what the daemon decided just before it could know better is forgiven for
 * GRACE_US: a commit is on its way for that long. Start at promises_commit(). */
#include "tests/simulation/promises.h"

#include "model/kinds.h"
#include "tests/simulation/oracle.h"

#include <string.h>

#define GRACE_US (2 * G_USEC_PER_SEC)

typedef struct {
    gint64 vcpus, memory_mib, workloads;
} Amount;

/* Since when a workload waits for a place or has one; 0: it does not. */
typedef struct {
    gint64 waits_us, placed_us;
} Since;

static GHashTable *since; /* uid -> Since*, owned */
static GPtrArray
    *begun; /* of uids: others are stopped for them by the revision that is being read */
static Amount quota_before; /* 0: no limit */
static gint64 quota_us;     /* when it was changed last */

static const BerthProjectSpec *
find_quota(GHashTable *objects, const BerthObject *workload)
{
    g_autofree char *key = g_strconcat("Project/", workload->project, NULL);
    const BerthObject *project = g_hash_table_lookup(objects, key);
    return project != NULL ? project->spec_data : NULL;
}

/* What those of @project hold, but for @except. */
static Amount
sum_up(GHashTable *objects, const char *project, const BerthObject *except,
       gboolean (*is_charged)(const BerthObject *object))
{
    Amount sum = {0};
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, objects);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const BerthObject *object = value;
        if (object->kind->workload && object != except && is_charged(object) &&
            strcmp(object->project, project) == 0) {
            sum.vcpus += berth_workload_of(object)->vcpus;
            sum.memory_mib += berth_workload_status_of(object)->used_memory_mib;
            sum.workloads++;
        }
    }
    return sum;
}

static gboolean
is_over(gint64 used, gint64 limit, gint64 limit_before)
{
    gboolean before =
        g_get_monotonic_time() - quota_us < GRACE_US && (limit_before == 0 || used <= limit_before);
    return limit > 0 && used > limit && !before;
}

static void
check_quota(GHashTable *objects, const BerthObject *placed,
            gboolean (*is_charged)(const BerthObject *object))
{
    const BerthProjectSpec *quota = find_quota(objects, placed);
    Amount used = sum_up(objects, placed->project, NULL, is_charged);
    if (quota != NULL &&
        (is_over(used.vcpus, quota->quota_vcpus, quota_before.vcpus) ||
         is_over(used.memory_mib, quota->quota_memory_mib, quota_before.memory_mib) ||
         is_over(used.workloads, quota->quota_workloads, quota_before.workloads))) {
        oracle_violate("%s was placed over the quota: %" G_GINT64_FORMAT " vCPUs, %" G_GINT64_FORMAT
                       " MiB, %" G_GINT64_FORMAT " workloads",
                       placed->name, used.vcpus, used.memory_mib, used.workloads);
    }
}

gboolean
promises_quota_admits(GHashTable *objects, const BerthObject *workload,
                      gboolean (*is_charged)(const BerthObject *object))
{
    const BerthProjectSpec *quota = find_quota(objects, workload);
    Amount used = sum_up(objects, workload->project, workload, is_charged);
    const BerthWorkload *asks = berth_workload_of(workload);
    /* With a margin for overheads, as for hosts. */
    return quota == NULL ||
           ((quota->quota_vcpus == 0 || used.vcpus + asks->vcpus <= quota->quota_vcpus) &&
            (quota->quota_memory_mib == 0 ||
             used.memory_mib + asks->memory_mib + 256 < quota->quota_memory_mib) &&
            (quota->quota_workloads == 0 || used.workloads < quota->quota_workloads));
}

/* ---- victims ----------------------------------------------------------------------------------- */

static const BerthObject *
find_uid(GHashTable *objects, const char *uid)
{
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, objects);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        if (strcmp(((BerthObject *)value)->uid, uid) == 0) {
            return value;
        }
    }
    return NULL;
}

/* ---- groups ------------------------------------------------------------------------------------ */

gboolean
promises_has_group(const BerthObject *workload)
{
    return berth_workload_of(workload)->placement.group_size > 1;
}

static gboolean
is_wanted(const BerthObject *object)
{
    return object->power == BERTH_POWER_ON && object->deleting == NULL;
}

static gboolean
is_fellow(const BerthObject *object, const BerthObject *of)
{
    return object->kind->workload && promises_has_group(object) && is_wanted(object) &&
           strcmp(object->project, of->project) == 0 &&
           strcmp(berth_workload_of(object)->placement.group,
                  berth_workload_of(of)->placement.group) == 0;
}

static void
check_victims(GHashTable *objects, const BerthObject *asker)
{
    const BerthPreempting *preempting = &berth_workload_status_of(asker)->preempting;
    for (guint i = 0; preempting->victims != NULL && i < preempting->victims->len; i++) {
        const BerthVictim *named = preempting->victims->pdata[i];
        const BerthObject *victim = find_uid(objects, named->uid);
        if (victim == NULL) {
            continue; /* it went meanwhile */
        }
        const BerthWorkload *spec = berth_workload_of(victim);
        if (promises_has_group(asker) && promises_has_group(victim) && is_fellow(victim, asker)) {
            oracle_violate("%s is stopped for %s of its own group", victim->name, asker->name);
        }
        if (!spec->preemptible || spec->priority >= berth_workload_of(asker)->priority) {
            oracle_violate("%s is stopped for %s and is not less or not preemptible", victim->name,
                           asker->name);
        }
    }
}

/* Whether @uid is recorded to wait together with those of @with, or has its place. */
static gboolean
is_in_it(GHashTable *objects, const char *uid, char **with)
{
    const BerthObject *member = find_uid(objects, uid);
    if (member == NULL) {
        return FALSE;
    }
    char **its = berth_workload_status_of(member)->preempting.with;
    return its != NULL && g_strv_equal((const char *const *)its, (const char *const *)with);
}

/* Those of a group for which others are stopped are recorded in one go, or none of them. */
static void
check_together(GHashTable *objects, const BerthObject *asker)
{
    char **with = berth_workload_status_of(asker)->preempting.with;
    gboolean named = with == NULL;
    for (guint i = 0; with != NULL && with[i] != NULL; i++) {
        named = named || strcmp(with[i], asker->uid) == 0;
        if (!is_in_it(objects, with[i], with)) {
            oracle_violate("%s is to get its place together with %s, which does not know it",
                           asker->name, with[i]);
        }
    }
    if (!named) {
        oracle_violate("%s waits with others, and not with itself", asker->name);
    }
}

gboolean
promises_group_lacks(GHashTable *objects, const BerthObject *workload)
{
    gint64 count = 0;
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, objects);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        count += is_fellow(value, workload);
    }
    return count < berth_workload_of(workload)->placement.group_size;
}

static void
follow(const BerthObject *object)
{
    Since *entry = g_hash_table_lookup(since, object->uid);
    gint64 now_us = g_get_monotonic_time();
    gboolean placed = berth_workload_status_of(object)->host != NULL;
    gboolean waits = !placed && is_wanted(object);
    if (entry == NULL) {
        entry = g_new0(Since, 1);
        g_hash_table_insert(since, g_strdup(object->uid), entry);
    }
    entry->waits_us = !waits ? 0 : entry->waits_us != 0 ? entry->waits_us : now_us;
    entry->placed_us = !placed ? 0 : entry->placed_us != 0 ? entry->placed_us : now_us;
}

/* One that has waited for longer than a fellow has its place was left out when that one got it. */
static const BerthObject *
find_left_out(GHashTable *objects, const BerthObject *placed)
{
    const Since *got = g_hash_table_lookup(since, placed->uid);
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, objects);
    while (got != NULL && g_hash_table_iter_next(&iter, NULL, &value)) {
        const BerthObject *object = value;
        const Since *entry = g_hash_table_lookup(since, object->uid);
        if (is_fellow(object, placed) && entry != NULL && entry->waits_us != 0 &&
            entry->waits_us + GRACE_US < got->placed_us) {
            return object;
        }
    }
    return NULL;
}

char *
promises_find_torn_group(GHashTable *objects)
{
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, objects);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const BerthObject *object = value;
        if (object->kind->workload && promises_has_group(object) && is_wanted(object) &&
            berth_workload_status_of(object)->host != NULL) {
            const BerthObject *left = find_left_out(objects, object);
            if (left != NULL) {
                return g_strdup_printf("%s has a place, and %s of its group was left out",
                                       object->name, left->name);
            }
        }
    }
    return NULL;
}

/* ---- commits ----------------------------------------------------------------------------------- */

static void
note_quota(const BerthObject *before)
{
    const BerthProjectSpec *quota = before->spec_data;
    quota_before = (Amount){quota->quota_vcpus, quota->quota_memory_mib, quota->quota_workloads};
    quota_us = g_get_monotonic_time();
}

void
promises_commit(GHashTable *objects, const BerthObject *before, const BerthObject *after,
                gboolean (*is_charged)(const BerthObject *object))
{
    if (since == NULL) {
        since = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
        begun = g_ptr_array_new_with_free_func(g_free);
    }
    if (before != NULL && after != NULL && before->kind == &berth_kind_project) {
        note_quota(before);
    }
    if (after == NULL || !after->kind->workload) {
        return;
    }
    follow(after);
    /* A VM that is found to be on after all is charged again without being placed. */
    if (berth_workload_status_of(after)->phase == BERTH_PHASE_PREPARING && is_charged(after) &&
        (before == NULL || !is_charged(before))) {
        check_quota(objects, after, is_charged);
    }
    if (berth_workload_status_of(after)->preempting.host != NULL &&
        (before == NULL || berth_workload_status_of(before)->preempting.host == NULL)) {
        check_victims(objects, after);
        g_ptr_array_add(begun, g_strdup(after->uid));
    }
}

void
promises_end_revision(GHashTable *objects)
{
    for (guint i = 0; begun != NULL && i < begun->len; i++) {
        const BerthObject *asker = find_uid(objects, begun->pdata[i]);
        if (asker != NULL) {
            check_together(objects, asker);
        }
    }
    if (begun != NULL) {
        g_ptr_array_set_size(begun, 0);
    }
}

void
promises_end(void)
{
    g_clear_pointer(&begun, g_ptr_array_unref);
    g_clear_pointer(&since, g_hash_table_unref);
}
