/* The queue of workloads without a place.
 *
 * Next is the ready entry of highest priority; among equals the one whose project has the smallest
 * weighted dominant share (dominant-resource fairness, Ghodsi et al., NSDI 2011), then the oldest. An
 * entry that was refused steps aside, so it never blocks those behind it, and becomes ready again when
 * an event comes that could help it, but not before its back-off, which doubles with each refusal.
 * Without an event it is never tried again: nothing is polled.
 *
 * Invariant: an entry is ready, or it waits for an event, or for the end of its back-off.
 * Thread: the caller's. Start at berth_queue_next. */
#include "sched/queue.h"

#include "sched/rules.h"

typedef struct {
    char *uid;     /* owned */
    char *project; /* owned, "" = none */
    gint priority;
    guint64 order; /* of arrival */
    guint wakes;   /* events that could help; 0 = needs none */
    gboolean woken;
    gint64 not_before_us;
    guint refusals;
} Entry;

typedef struct {
    double weight;
    gint64 used[3];
} Project;

struct BerthQueue {
    GPtrArray *entries;   /* Entry, owned */
    GHashTable *by_uid;   /* borrowed uid to Entry */
    GHashTable *projects; /* owned name to owned Project */
    gint64 total[3];
    gint64 backoff_min_us, backoff_max_us;
    guint64 arrivals;
};

static void
free_entry(gpointer data)
{
    Entry *e = data;
    g_free(e->uid);
    g_free(e->project);
    g_free(e);
}

/**
 * berth_queue_new:
 * @backoff_min_us, @backoff_max_us: shortest and longest time between two tries of one workload
 */
BerthQueue *
berth_queue_new(gint64 backoff_min_us, gint64 backoff_max_us)
{
    BerthQueue *q = g_new0(BerthQueue, 1);
    q->entries = g_ptr_array_new_with_free_func(free_entry);
    q->by_uid = g_hash_table_new(g_str_hash, g_str_equal);
    q->projects = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    q->backoff_min_us = backoff_min_us;
    q->backoff_max_us = backoff_max_us;
    return q;
}

void
berth_queue_free(BerthQueue *q)
{
    if (q != NULL) {
        g_ptr_array_unref(q->entries);
        g_hash_table_unref(q->by_uid);
        g_hash_table_unref(q->projects);
        g_free(q);
    }
}

static Project *
get_project(BerthQueue *q, const char *name)
{
    Project *project = g_hash_table_lookup(q->projects, name == NULL ? "" : name);
    if (project == NULL) {
        project = g_new0(Project, 1);
        project->weight = 1;
        g_hash_table_insert(q->projects, g_strdup(name == NULL ? "" : name), project);
    }
    return project;
}

/**
 * berth_queue_set_weight:
 * @weight: share of the fleet against other projects, above 0; 1 unless set
 */
void
berth_queue_set_weight(BerthQueue *q, const char *project, double weight)
{
    g_return_if_fail(weight > 0);
    get_project(q, project)->weight = weight;
}

/* What the fleet has in all, against which shares are measured. */
void
berth_queue_set_total(BerthQueue *q, gint64 cpu_millis, gint64 memory_mib, gint64 device_millis)
{
    q->total[0] = cpu_millis;
    q->total[1] = memory_mib;
    q->total[2] = device_millis;
}

/**
 * berth_queue_charge:
 *
 * What a project got, or, negative, gave back.
 */
void
berth_queue_charge(BerthQueue *q, const char *project, gint64 cpu_millis, gint64 memory_mib,
                   gint64 device_millis)
{
    Project *p = get_project(q, project);
    p->used[0] += cpu_millis;
    p->used[1] += memory_mib;
    p->used[2] += device_millis;
}

static double
dominant_share(const BerthQueue *q, const char *name)
{
    const Project *p = g_hash_table_lookup(q->projects, name);
    double share = 0;
    for (guint i = 0; p != NULL && i < G_N_ELEMENTS(p->used); i++) {
        double part = q->total[i] <= 0 ? 0 : (double)p->used[i] / q->total[i];
        share = MAX(share, part);
    }
    return p == NULL ? 0 : share / p->weight;
}

/**
 * berth_queue_add:
 *
 * Puts a workload in line; one that is there already keeps its place and its back-off.
 */
void
berth_queue_add(BerthQueue *q, const char *uid, const char *project, gint priority, gint64 now_us)
{
    Entry *known = g_hash_table_lookup(q->by_uid, uid);
    if (known != NULL) {
        known->priority = priority;
        return;
    }
    Entry *e = g_new0(Entry, 1);
    e->uid = g_strdup(uid);
    e->project = g_strdup(project == NULL ? "" : project);
    e->priority = priority;
    e->order = q->arrivals++;
    e->not_before_us = now_us;
    e->woken = TRUE;
    g_ptr_array_add(q->entries, e);
    g_hash_table_insert(q->by_uid, e->uid, e);
}

/**
 * berth_queue_remove:
 *
 * For a workload that was placed or deleted.
 *
 * Returns: whether it was waiting
 */
gboolean
berth_queue_remove(BerthQueue *q, const char *uid)
{
    Entry *e = g_hash_table_lookup(q->by_uid, uid);
    if (e == NULL) {
        return FALSE;
    }
    g_hash_table_remove(q->by_uid, uid);
    g_ptr_array_remove_fast(q->entries, e);
    return TRUE;
}

static gboolean
goes_before(const BerthQueue *q, const Entry *a, const Entry *b)
{
    if (a->priority != b->priority) {
        return a->priority > b->priority;
    }
    double x = dominant_share(q, a->project), y = dominant_share(q, b->project);
    return x != y ? x < y : a->order < b->order;
}

/**
 * berth_queue_next:
 *
 * Returns: (nullable): uid of the workload to try now; it stays in line until it is removed, and must
 * be removed or refused before the next call
 */
const char *
berth_queue_next(BerthQueue *q, gint64 now_us)
{
    const Entry *best = NULL;
    for (guint i = 0; i < q->entries->len; i++) {
        const Entry *e = g_ptr_array_index(q->entries, i);
        if (e->woken && e->not_before_us <= now_us && (best == NULL || goes_before(q, e, best))) {
            best = e;
        }
    }
    return best == NULL ? NULL : best->uid;
}

/**
 * berth_queue_refused:
 * @wakes: events that could help it, BerthWake; 0 = only time
 *
 * Steps the workload aside until one of them comes and its back-off is over.
 */
void
berth_queue_refused(BerthQueue *q, const char *uid, guint wakes, gint64 now_us)
{
    Entry *e = g_hash_table_lookup(q->by_uid, uid);
    g_return_if_fail(e != NULL);
    gint64 wait = q->backoff_min_us;
    for (guint i = 0; i < e->refusals && wait < q->backoff_max_us; i++) {
        wait *= 2;
    }
    e->refusals++;
    e->wakes = wakes;
    e->woken = wakes == 0;
    e->not_before_us = now_us + MIN(wait, q->backoff_max_us);
}

/**
 * berth_queue_wake:
 * @wakes: what happened
 *
 * Returns: how many workloads it may help
 */
guint
berth_queue_wake(BerthQueue *q, guint wakes)
{
    guint n = 0;
    for (guint i = 0; i < q->entries->len; i++) {
        Entry *e = g_ptr_array_index(q->entries, i);
        if (!e->woken && (e->wakes & wakes) != 0) {
            e->woken = TRUE;
            n++;
        }
    }
    return n;
}

/**
 * berth_queue_due:
 *
 * Returns: when a woken workload may be tried, at least @now_us; G_MAXINT64 when only an event helps
 */
gint64
berth_queue_due(const BerthQueue *q, gint64 now_us)
{
    gint64 due = G_MAXINT64;
    for (guint i = 0; i < q->entries->len; i++) {
        const Entry *e = g_ptr_array_index(q->entries, i);
        if (e->woken) {
            due = MIN(due, MAX(now_us, e->not_before_us));
        }
    }
    return due;
}

guint
berth_queue_length(const BerthQueue *q)
{
    return q->entries->len;
}

static guint
wakes_of_code(const char *code)
{
    gint rule = berth_rules_find(code);
    if (rule < 0) {
        return 0;
    }
    if (berth_rules[rule]->remedy == BERTH_REMEDY_QUOTA) {
        return BERTH_WAKE_QUOTA;
    }
    switch (berth_rules[rule]->reach) {
    case BERTH_REACH_FACTS:
        return BERTH_WAKE_FACTS | BERTH_WAKE_HOST;
    case BERTH_REACH_LOAD:
        return BERTH_WAKE_CAPACITY;
    case BERTH_REACH_FLEET:
        return BERTH_WAKE_WORKLOADS | BERTH_WAKE_CAPACITY;
    }
    return 0;
}

/**
 * berth_queue_wakes_of:
 *
 * Returns: the events that could lift one of the refusals; a new host always could
 */
guint
berth_queue_wakes_of(const BerthExplanation *e)
{
    guint wakes = BERTH_WAKE_HOST;
    for (guint i = 0; i < e->groups->len; i++) {
        wakes |= wakes_of_code(g_array_index(e->groups, BerthRefusalGroup, i).code);
    }
    return wakes;
}
