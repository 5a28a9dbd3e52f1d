/* The index: per class of equal requests the rank of every host (ranks.c). A change of a host is
 * noted once, in a ring; a class that is asked again looks at the hosts noted since it was asked
 * last, each once, and then reads the best from the maxima. Nothing is sampled: the answer is that
 * of a scan, and a test holds it to that.
 *
 * Ranks may be too high: of a host that changed only a bound is worked out. The host that comes out best is
 * ranked exactly, which placing there takes anyway; when it was taken for better than it is, the next best
 * is tried.
 *
 * Rules about other workloads (affinity, spread, quota, N+1) are not in the ranks; the best host is
 * tried against them, and the next best when they refuse.
 *
 * Invariant: no rank of a class is below berth_evaluate_rank on the snapshot as of its position in the
 * ring. Thread: the snapshot's. Start at berth_index_pick. */
#include "sched/index.h"

#include <string.h>

#include "sched/index-key.h"
#include "sched/mix.h"
#include "sched/ranks.h"
#include "sched/relation.h"

#define CLASSES_MAX 128

typedef struct {
    GByteArray *key; /* owned */
    guint64 hash;    /* of the key */
    guint64 seen;    /* position in the ring up to which ranks are right */
    guint64 epoch;   /* of the index when they were made */
    guint64 used;    /* tick of the last question */
    BerthRanks ranks;
} Class;

struct BerthIndex {
    const BerthPolicy *policy;
    guint32 room; /* length of the per-host arrays */
    guint64 noted;
    guint64 epoch;
    guint64 tick;
    guint32 ring_mask;
    guint32 *ring;   /* hosts in order of change, each at its latest only: BERTH_HOST_NONE before */
    guint32 *latest; /* per host: where in the ring its latest note is */
    guint n_classes;
    Class classes[CLASSES_MAX];
    guint64 facts; /* of the snapshot when places were listed */
    GHashTable
        *places[3]; /* per scope: symbol of the place to GArray of hosts; NULL = not listed */
    GByteArray *scratch;
};

static void
clear_class(Class *class)
{
    g_clear_pointer(&class->key, g_byte_array_unref);
    berth_ranks_clear(&class->ranks);
}

void
berth_index_free(BerthIndex *index)
{
    if (index == NULL) {
        return;
    }
    for (guint i = 0; i < index->n_classes; i++) {
        clear_class(&index->classes[i]);
    }
    for (guint i = 0; i < G_N_ELEMENTS(index->places); i++) {
        g_clear_pointer(&index->places[i], g_hash_table_unref);
    }
    g_byte_array_unref(index->scratch);
    g_free(index->ring);
    g_free(index->latest);
    g_free(index);
}

static BerthIndex *
make_index(const BerthSnapshot *s, const BerthPolicy *policy)
{
    BerthIndex *index = g_new0(BerthIndex, 1);
    index->policy = policy;
    index->room = s->room;
    guint32 ring = 4096;
    while (ring < index->room / 2) {
        ring *= 2;
    }
    index->ring_mask = ring - 1;
    index->ring = g_new0(guint32, ring);
    index->latest = g_new0(guint32, index->room);
    index->noted = 1;
    index->scratch = g_byte_array_new();
    return index;
}

/**
 * berth_index_note_change:
 *
 * Says that @host is no longer what it was. Cost: constant.
 */
void
berth_index_note_change(BerthIndex *index, guint32 host)
{
    if (host < index->room) {
        guint32 *before = &index->ring[index->latest[host]];
        *before = *before == host ? BERTH_HOST_NONE : *before;
        index->latest[host] = (guint32)(index->noted++ & index->ring_mask);
        index->ring[index->latest[host]] = host;
    }
}

/**
 * berth_index_forget:
 *
 * Says that every rank may be wrong: the values behind the scores changed.
 */
void
berth_index_forget(BerthIndex *index)
{
    if (index != NULL) {
        index->epoch++;
    }
}

gsize
berth_index_bytes(const BerthIndex *index)
{
    if (index == NULL) {
        return 0;
    }
    gsize bytes = sizeof(guint32) * ((gsize)index->room + index->ring_mask + 1);
    for (guint i = 0; i < index->n_classes; i++) {
        bytes += berth_ranks_bytes(&index->classes[i].ranks);
    }
    return bytes;
}

static void
rank_all(BerthIndex *index, Class *class, const BerthAsk *ask, const BerthPlan *plan)
{
    BerthRanks *r = &class->ranks;
    guint32 end = ask->snapshot->end;
    guint32 likely = berth_ranks_best_host(r); /* was the best, and is a good one still */
    guint16 best = likely == BERTH_HOST_NONE ? 0 : berth_evaluate_rank(ask, plan, likely, NULL);
    memset(r->ranks, 0, sizeof(guint16) * r->room);
    for (guint32 first = 0; first < end; first += BERTH_PORTION) {
        guint32 hosts[BERTH_PORTION];
        guint n = MIN(BERTH_PORTION, end - first);
        for (guint i = 0; i < n; i++) {
            hosts[i] = first + i;
        }
        berth_evaluate_ranks(ask, plan, hosts, n, best, r->ranks + first);
        for (guint i = 0; i < n; i++) {
            best = MAX(best, r->ranks[first + i]);
        }
    }
    berth_ranks_set_all(r);
    class->epoch = index->epoch;
    class->seen = index->noted;
}

/* So few hosts are ranked together that what ranking the next ones reads comes in meanwhile. */
#define TOGETHER 32

typedef struct {
    guint n;
    guint32 hosts[TOGETHER];
} Changed;

/* Takes the next hosts from the ring, each once, and calls for what ranking them will read. */
static void
take_changed(const BerthIndex *index, Class *class, const BerthSnapshot *s, Changed *changed)
{
    guint64 seen = class->seen;
    guint n = 0;
    for (; seen < index->noted && n < TOGETHER; seen++) {
        guint32 host = index->ring[seen & index->ring_mask];
        changed->hosts[n] = host;
        n += host != BERTH_HOST_NONE;
    }
    class->seen = seen;
    changed->n = n;
    for (guint i = 0; i < n; i++) {
        guint32 host = changed->hosts[i];
        const char *worth = (const char *)&s->worth[host];
        __builtin_prefetch(worth);
        __builtin_prefetch(worth + sizeof(BerthWorth) - 1);
        __builtin_prefetch(&class->ranks.ranks[host]);
    }
}

/* Looks at each host that was noted since the class was asked last, once. */
static void
catch_up(BerthIndex *index, Class *class, const BerthAsk *ask, const BerthPlan *plan)
{
    if (class->epoch != index->epoch || index->noted - class->seen > index->ring_mask) {
        rank_all(index, class, ask, plan);
        return;
    }
    Changed changed[2];
    guint at = 0;
    take_changed(index, class, ask->snapshot, &changed[at]);
    while (changed[at].n > 0) {
        guint16 ranks[TOGETHER];
        take_changed(index, class, ask->snapshot, &changed[!at]);
        berth_evaluate_ranks(ask, plan, changed[at].hosts, changed[at].n, G_MAXUINT16, ranks);
        for (guint i = 0; i < changed[at].n; i++) {
            berth_ranks_set(&class->ranks, changed[at].hosts[i], ranks[i]);
        }
        at = !at;
    }
}

static guint
oldest_class(const BerthIndex *index)
{
    guint oldest = 0;
    for (guint i = 1; i < index->n_classes; i++) {
        if (index->classes[i].used < index->classes[oldest].used) {
            oldest = i;
        }
    }
    return oldest;
}

static Class *
find_class(BerthIndex *index, const GByteArray *key, guint64 hash)
{
    for (guint i = 0; i < index->n_classes; i++) {
        Class *class = &index->classes[i];
        if (class->hash == hash && class->key->len == key->len &&
            memcmp(class->key->data, key->data, key->len) == 0) {
            return class;
        }
    }
    return NULL;
}

static Class *
get_class(BerthIndex *index, const BerthAsk *ask)
{
    berth_index_key_make(index->scratch, ask);
    guint64 hash = berth_index_key_hash(index->scratch);
    Class *class = find_class(index, index->scratch, hash);
    if (class != NULL) {
        return class;
    }
    guint at = index->n_classes;
    if (at == CLASSES_MAX) {
        at = oldest_class(index);
        clear_class(&index->classes[at]);
    } else {
        index->n_classes++;
    }
    class = &index->classes[at];
    *class = (Class){.key = g_byte_array_new(), .hash = hash, .epoch = G_MAXUINT64};
    berth_ranks_init(&class->ranks, index->room);
    g_byte_array_append(class->key, index->scratch->data, index->scratch->len);
    return class;
}

/* Hosts of each rack or zone, listed once until facts of hosts change. */
static GHashTable *
list_places(BerthIndex *index, const BerthSnapshot *s, BerthScope scope)
{
    if (index->facts != s->facts) {
        for (guint i = 0; i < G_N_ELEMENTS(index->places); i++) {
            g_clear_pointer(&index->places[i], g_hash_table_unref);
        }
        index->facts = s->facts;
    }
    if (index->places[scope] != NULL) {
        return index->places[scope];
    }
    GHashTable *places = g_hash_table_new_full(NULL, NULL, NULL, (GDestroyNotify)g_array_unref);
    for (guint32 host = 0; host < s->end; host++) {
        BerthSymbol place = scope == BERTH_SCOPE_RACK ? s->rack[host] : s->zone[host];
        if (s->name[host] == 0 || place == 0) {
            continue;
        }
        GArray *hosts = g_hash_table_lookup(places, GUINT_TO_POINTER(place));
        if (hosts == NULL) {
            hosts = g_array_new(FALSE, FALSE, sizeof(guint32));
            g_hash_table_insert(places, GUINT_TO_POINTER(place), hosts);
        }
        g_array_append_val(hosts, host);
    }
    index->places[scope] = places;
    return places;
}

/* The group a request must be together with that has members, which bounds where to look. */
static gint
bounding_relation(const BerthAsk *ask)
{
    for (guint i = 0; i < ask->request->n_relations; i++) {
        const BerthRelation *r = &ask->request->relations[i];
        if (r->kind == BERTH_RELATION_TOGETHER && r->weight == 0 && r->group != NULL &&
            berth_relation_has_members(ask, i)) {
            return i;
        }
    }
    return -1;
}

/* The best host of a class, as far as its ranks say; that of places near members when the request must be
 * together with them. */
static guint32
best_of(const Class *class, guint32 best, const guint32 *hosts, guint n)
{
    const guint16 *ranks = class->ranks.ranks;
    for (guint i = 0; i < n; i++) {
        guint16 rank = ranks[hosts[i]], most = best == BERTH_HOST_NONE ? 0 : ranks[best];
        if (rank > most || (rank == most && rank > 0 && hosts[i] < best)) {
            best = hosts[i];
        }
    }
    return best;
}

/* The best host where members of the group are. */
static guint32
best_near(BerthIndex *index, const Class *class, const BerthAsk *ask, guint relation)
{
    const BerthSnapshot *s = ask->snapshot;
    BerthScope scope = ask->request->relations[relation].scope;
    GHashTable *places = scope == BERTH_SCOPE_HOST ? NULL : list_places(index, s, scope);
    const BerthGroup *group = berth_snapshot_group(s, ask->relation_groups[relation]);
    guint32 best = BERTH_HOST_NONE;
    guint64 last = G_MAXUINT64;
    for (guint32 c = group->head; c != BERTH_CHARGE_NONE; c = berth_charge(s, c)->group_next) {
        guint32 host = berth_charge(s, c)->host;
        guint64 place = berth_relation_place(s, host, scope);
        if (place == last) {
            continue;
        }
        last = place;
        BerthSymbol name = scope == BERTH_SCOPE_RACK ? s->rack[host] : s->zone[host];
        GArray *hosts = places == NULL ? NULL : g_hash_table_lookup(places, GUINT_TO_POINTER(name));
        if (hosts == NULL) {
            best = best_of(class, best, &host, 1);
        } else {
            best = best_of(class, best, (const guint32 *)(gconstpointer)hosts->data, hosts->len);
        }
    }
    return best;
}

typedef struct {
    guint32 host;
    guint16 rank;
} Masked;

/* Finds the best host that the rules about other workloads admit too, and ranks each that comes up. Those
 * that they refuse are out of the way meanwhile. */
static gboolean
search(BerthIndex *index, Class *class, const BerthAsk *ask, const BerthPlan *ranked,
       const BerthPlan *fleet_rules, BerthDecision *decision)
{
    BerthRanks *ranks = &class->ranks;
    gint near = fleet_rules->n_filters == 0 ? -1 : bounding_relation(ask);
    g_autoptr(GArray) masked = NULL;
    while (!decision->placed) {
        guint32 host =
            near >= 0 ? best_near(index, class, ask, near) : berth_ranks_best_host(ranks);
        if (host == BERTH_HOST_NONE) {
            break;
        }
        Masked m = {host, ranks->ranks[host]};
        if (berth_evaluate_filters(ask, fleet_rules, host, NULL) >= 0) {
            masked = masked == NULL ? g_array_new(FALSE, FALSE, sizeof(Masked)) : masked;
            g_array_append_val(masked, m);
            berth_ranks_set(ranks, host, 0);
            continue;
        }
        guint16 exact = berth_evaluate_rank(ask, ranked, host, &decision->placement);
        decision->placed = exact == m.rank;
        decision->score = exact;
        berth_ranks_set(ranks, host, exact);
    }
    for (guint i = 0; masked != NULL && i < masked->len; i++) {
        const Masked *m = &g_array_index(masked, Masked, i);
        berth_ranks_set(ranks, m->host, m->rank);
    }
    return decision->placed;
}

static gboolean
can_serve(const BerthSnapshot *s, const BerthAsk *ask, const BerthPolicy *policy)
{
    const BerthRequest *r = ask->request;
    return policy->indexed && s->hosts >= BERTH_INDEX_HOSTS_MIN && r->host == NULL &&
           ask->waived == 0 && r->n_devices < 256 && r->n_selectors < 256 &&
           (s->index == NULL || s->index->policy == policy);
}

/* Splits the plan: what ranks hold, and the rules about other workloads. */
static gboolean
split_plan(const BerthPlan *plan, BerthPlan *ranked, BerthPlan *fleet_rules)
{
    *ranked = *plan;
    *fleet_rules = (BerthPlan){0};
    ranked->n_filters = 0;
    for (guint pass = 0; pass < 2; pass++) {
        /* what changes refuses more often than what doesn't: ask it first */
        BerthRuleReach reach = pass == 0 ? BERTH_REACH_LOAD : BERTH_REACH_FACTS;
        for (guint i = 0; i < plan->n_filters; i++) {
            if (berth_rules[plan->filters[i]]->reach == reach) {
                ranked->filters[ranked->n_filters++] = plan->filters[i];
            }
        }
    }
    for (guint i = 0; i < plan->n_filters; i++) {
        if (berth_rules[plan->filters[i]]->reach == BERTH_REACH_FLEET) {
            fleet_rules->filters[fleet_rules->n_filters++] = plan->filters[i];
        }
    }
    for (guint i = 0; i < plan->n_scores; i++) {
        if (plan->scores[i]->reach == BERTH_REACH_FLEET) {
            return FALSE;
        }
    }
    return TRUE;
}

/* Whether a rule that says the same of every host refuses; it need not be asked of each. */
static gboolean
is_refused_everywhere(const BerthAsk *ask, const BerthPlan *fleet_rules)
{
    for (guint i = 0; i < fleet_rules->n_filters; i++) {
        const BerthRule *rule = berth_rules[fleet_rules->filters[i]];
        if (rule->everywhere && !rule->admits(ask, 0, NULL)) {
            return TRUE;
        }
    }
    return FALSE;
}

/**
 * berth_index_pick:
 * @decision: (out): set when it is placed
 *
 * Cost: hosts changed since a request of the same class came last, not the fleet's size; a class that
 * comes for the first time costs one scan.
 *
 * Returns: PLACED, REFUSED, or CANNOT when a scan has to answer
 */
BerthIndexAnswer
berth_index_pick(BerthSnapshot *s, const BerthAsk *ask, const BerthPolicy *policy,
                 BerthDecision *decision)
{
    BerthPlan plan, ranked, fleet_rules;
    if (!can_serve(s, ask, policy)) {
        return BERTH_INDEX_CANNOT;
    }
    berth_plan_init(&plan, ask, policy);
    if (!split_plan(&plan, &ranked, &fleet_rules)) {
        return BERTH_INDEX_CANNOT;
    }
    if (is_refused_everywhere(ask, &fleet_rules)) {
        memset(decision, 0, sizeof(*decision));
        return BERTH_INDEX_REFUSED;
    }
    if (s->index != NULL && s->index->room < s->end) {
        g_clear_pointer(&s->index, berth_index_free);
    }
    if (s->index == NULL) {
        s->index = make_index(s, policy);
    }
    BerthIndex *index = s->index;
    Class *class = get_class(index, ask);
    class->used = ++index->tick;
    catch_up(index, class, ask, &ranked);
    if (search(index, class, ask, &ranked, &fleet_rules, decision)) {
        return BERTH_INDEX_PLACED;
    }
    memset(decision, 0, sizeof(*decision));
    return BERTH_INDEX_REFUSED;
}
