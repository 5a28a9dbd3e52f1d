/* Workloads without a place, and whose turn it is.
 *
 * Next is the one of highest priority; among equals the one whose project has the smallest weighted
 * dominant share (dominant-resource fairness, Ghodsi et al., NSDI 2011) by what is charged in the snapshot,
 * then the oldest. One that was refused steps aside, so it never blocks those behind it, and is awake again
 * when an event comes that could help it. Its back-off, which doubles with each refusal, puts that try
 * off, but nobody behind it is tried before it meanwhile: what was freed is offered in order. Without
 * an event it is never tried again: nothing is polled.
 *
 * Invariant: an entry is in its project's `awake` and in `by_time`, or in neither and waits for an event.
 * Thread: the caller's. Start at berth_waiting_next. */
#include "sched/waiting.h"

#include "sched/fleet.h"
#include "sched/rules.h"

typedef struct {
    char *name; /* owned, "" = none */
    double weight;
    GSequence *awake; /* of Entry, borrowed; the first is tried first */
} Project;

typedef struct {
    char *uid;        /* owned */
    char *since;      /* owned */
    Project *project; /* borrowed */
    gint priority;
    guint wakes; /* events that could help */
    gint64 not_before_us;
    guint refusals;
    GSequenceIter *place, *time; /* in awake and in by_time; NULL = waits for an event */
} Entry;

struct BerthWaiting {
    GHashTable *entries;  /* borrowed uid to Entry, owned */
    GHashTable *projects; /* borrowed name to Project, owned */
    GSequence *by_time;   /* those awake by the end of their back-off */
    guint64 facts;        /* of the snapshot that `total` is of */
    BerthUsage total;     /* capacity of all hosts */
    gint64 backoff_min_us, backoff_max_us;
};

static void
free_entry(gpointer data)
{
    Entry *e = data;
    g_free(e->uid);
    g_free(e->since);
    g_free(e);
}

static void
free_project(gpointer data)
{
    Project *project = data;
    g_sequence_free(project->awake);
    g_free(project->name);
    g_free(project);
}

/**
 * berth_waiting_new:
 * @backoff_min_us, @backoff_max_us: shortest and longest time between two tries of one workload
 */
BerthWaiting *
berth_waiting_new(gint64 backoff_min_us, gint64 backoff_max_us)
{
    BerthWaiting *w = g_new0(BerthWaiting, 1);
    w->entries = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, free_entry);
    w->projects = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, free_project);
    w->by_time = g_sequence_new(NULL);
    w->facts = G_MAXUINT64;
    w->backoff_min_us = backoff_min_us;
    w->backoff_max_us = backoff_max_us;
    return w;
}

void
berth_waiting_free(BerthWaiting *w)
{
    if (w != NULL) {
        g_hash_table_unref(w->entries);
        g_hash_table_unref(w->projects);
        g_sequence_free(w->by_time);
        g_free(w);
    }
}

static Project *
get_project(BerthWaiting *w, const char *name)
{
    Project *project = g_hash_table_lookup(w->projects, name == NULL ? "" : name);
    if (project == NULL) {
        project = g_new0(Project, 1);
        project->name = g_strdup(name == NULL ? "" : name);
        project->weight = 1;
        project->awake = g_sequence_new(NULL);
        g_hash_table_insert(w->projects, project->name, project);
    }
    return project;
}

/**
 * berth_waiting_set_weight:
 * @weight: share of the fleet against other projects, above 0; 1 unless set
 */
void
berth_waiting_set_weight(BerthWaiting *w, const char *project, double weight)
{
    g_return_if_fail(weight > 0);
    get_project(w, project)->weight = weight;
}

/** Returns: (transfer full): nobody in line, but the weights and back-off of @waiting. */
BerthWaiting *
berth_waiting_copy_rules(const BerthWaiting *waiting)
{
    BerthWaiting *copy = berth_waiting_new(waiting->backoff_min_us, waiting->backoff_max_us);
    GHashTableIter iter;
    gpointer name, project;
    g_hash_table_iter_init(&iter, waiting->projects);
    while (g_hash_table_iter_next(&iter, &name, &project)) {
        berth_waiting_set_weight(copy, name, ((Project *)project)->weight);
    }
    return copy;
}

/* ---- who is awake ---------------------------------------------------------------------------- */

/* Within one project: shares don't differ there. */
static int
compare_rank(gconstpointer a, gconstpointer b, gpointer unused)
{
    const Entry *x = a, *y = b;
    if (x->priority != y->priority) {
        return x->priority > y->priority ? -1 : 1;
    }
    int by_age = g_strcmp0(x->since, y->since);
    return by_age != 0 ? by_age : g_strcmp0(x->uid, y->uid);
}

static int
compare_time(gconstpointer a, gconstpointer b, gpointer unused)
{
    const Entry *x = a, *y = b;
    return x->not_before_us < y->not_before_us ? -1 : x->not_before_us > y->not_before_us;
}

static void
sleep_entry(Entry *e)
{
    g_clear_pointer(&e->place, g_sequence_remove);
    g_clear_pointer(&e->time, g_sequence_remove);
}

static void
wake_entry(BerthWaiting *w, Entry *e)
{
    sleep_entry(e);
    e->place = g_sequence_insert_sorted(e->project->awake, e, compare_rank, NULL);
    e->time = g_sequence_insert_sorted(w->by_time, e, compare_time, NULL);
}

/**
 * berth_waiting_add:
 * @project: (nullable): whose share decides among equals
 * @since: its age, as text that sorts by time
 *
 * Puts a workload in line, to be tried at once; one that is there already keeps its back-off.
 */
void
berth_waiting_add(BerthWaiting *w, const char *uid, const char *project, gint priority,
                  const char *since, gint64 now_us)
{
    Entry *e = g_hash_table_lookup(w->entries, uid);
    if (e != NULL) {
        if (e->priority != priority) {
            e->priority = priority;
            if (e->place != NULL) {
                wake_entry(w, e);
            }
        }
        return;
    }
    e = g_new0(Entry, 1);
    *e = (Entry){g_strdup(uid), g_strdup(since), get_project(w, project), priority};
    e->not_before_us = now_us;
    g_hash_table_insert(w->entries, e->uid, e);
    wake_entry(w, e);
}

/**
 * berth_waiting_remove:
 *
 * For a workload that was placed or is not to be.
 *
 * Returns: whether it was waiting
 */
gboolean
berth_waiting_remove(BerthWaiting *w, const char *uid)
{
    Entry *e = g_hash_table_lookup(w->entries, uid);
    if (e == NULL) {
        return FALSE;
    }
    sleep_entry(e);
    return g_hash_table_remove(w->entries, uid);
}

/* ---- whose turn it is ------------------------------------------------------------------------ */

/* What the fleet has in all, against which shares are measured; worked out when hosts changed. */
static void
follow_total(BerthWaiting *w, const BerthSnapshot *s)
{
    if (w->facts == s->facts) {
        return;
    }
    w->facts = s->facts;
    w->total = (BerthUsage){0};
    for (guint32 host = 0; host < s->end; host++) {
        if (berth_snapshot_host_exists(s, host)) {
            BerthUsage usage;
            berth_snapshot_host_usage(s, host, &usage);
            w->total.cpu_millis += usage.cpu_millis;
            w->total.memory_mib += usage.memory_mib;
            w->total.device_millis += usage.device_millis;
        }
    }
}

static double
part(gint64 used, gint64 total)
{
    return total <= 0 ? 0 : (double)used / (double)total;
}

static double
weighted_share(const BerthWaiting *w, const BerthSnapshot *s, const Project *project)
{
    gpointer symbol = g_hash_table_lookup(s->symbols.ids, project->name);
    const BerthShare *share = symbol == NULL ? NULL : g_hash_table_lookup(s->shares, symbol);
    if (share == NULL) {
        return 0;
    }
    double dominant = MAX(part(share->cpu_used_millis, w->total.cpu_millis),
                          part(share->memory_used_mib, w->total.memory_mib));
    return MAX(dominant, part(share->device_used_millis, w->total.device_millis)) / project->weight;
}

/**
 * berth_waiting_next:
 * @snapshot: what the projects have
 *
 * Cost: the number of projects.
 *
 * Returns: (nullable): uid of the workload to try now, NULL when nobody's time has come; it stays in line
 * until it is removed, and must be removed or refused before the next call
 */
const char *
berth_waiting_next(BerthWaiting *w, const BerthSnapshot *snapshot, gint64 now_us)
{
    const Entry *best = NULL;
    double best_share = 0;
    if (berth_waiting_due(w) > now_us) {
        return NULL;
    }
    follow_total(w, snapshot);
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, w->projects);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const Project *project = value;
        if (g_sequence_is_empty(project->awake)) {
            continue;
        }
        const Entry *e = g_sequence_get(g_sequence_get_begin_iter(project->awake));
        double share = weighted_share(w, snapshot, project);
        if (best == NULL || e->priority > best->priority ||
            (e->priority == best->priority &&
             (share < best_share || (share == best_share && compare_rank(e, best, NULL) < 0)))) {
            best = e;
            best_share = share;
        }
    }
    return best->uid;
}

/**
 * berth_waiting_refused:
 * @wakes: events that could help it, BerthWake; 0 = nothing but berth_waiting_call()
 *
 * Steps the workload aside until one of them comes; nothing when it isn't in line.
 */
void
berth_waiting_refused(BerthWaiting *w, const char *uid, guint wakes, gint64 now_us)
{
    Entry *e = g_hash_table_lookup(w->entries, uid);
    if (e == NULL) {
        return;
    }
    gint64 wait = w->backoff_min_us;
    for (guint i = 0; i < e->refusals && wait < w->backoff_max_us; i++) {
        wait *= 2;
    }
    sleep_entry(e);
    e->refusals++;
    e->wakes = wakes;
    e->not_before_us = now_us + MIN(wait, w->backoff_max_us);
}

/**
 * berth_waiting_call:
 *
 * Wakes one workload that something else than an event can help, its back-off forgotten; nothing when it isn't
 * in line.
 */
void
berth_waiting_call(BerthWaiting *w, const char *uid, gint64 now_us)
{
    Entry *e = g_hash_table_lookup(w->entries, uid);
    if (e != NULL) {
        e->refusals = 0;
        e->not_before_us = now_us;
        wake_entry(w, e);
    }
}

/**
 * berth_waiting_wake:
 * @wakes: what happened
 *
 * Returns: how many workloads it may help
 */
guint
berth_waiting_wake(BerthWaiting *w, guint wakes)
{
    guint n = 0;
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, w->entries);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        Entry *e = value;
        if (e->place == NULL && (e->wakes & wakes) != 0) {
            wake_entry(w, e);
            n++;
        }
    }
    return n;
}

/** Returns: when the first one that is awake may be tried; G_MAXINT64 when only an event helps. */
gint64
berth_waiting_due(const BerthWaiting *w)
{
    GSequenceIter *first = g_sequence_get_begin_iter(w->by_time);
    return g_sequence_iter_is_end(first) ? G_MAXINT64
                                         : ((Entry *)g_sequence_get(first))->not_before_us;
}

guint
berth_waiting_length(const BerthWaiting *w)
{
    return g_hash_table_size(w->entries);
}

/* ---- which event could help ------------------------------------------------------------------ */

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
    case BERTH_REACH_FLEET: /* where others are is no matter of what is the same everywhere */
        return BERTH_WAKE_CAPACITY | (berth_rules[rule]->everywhere ? 0 : BERTH_WAKE_WORKLOADS);
    }
    return 0;
}

/**
 * berth_wakes_of:
 *
 * Returns: the events that could lift one of the refusals; a new host always could
 */
guint
berth_wakes_of(const BerthExplanation *e)
{
    guint wakes = BERTH_WAKE_HOST;
    for (guint i = 0; i < e->groups->len; i++) {
        wakes |= wakes_of_code(g_array_index(e->groups, BerthRefusalGroup, i).code);
    }
    return wakes;
}
