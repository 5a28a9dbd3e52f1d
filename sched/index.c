/* The index: per class of equal requests the rank of every host, with maxima over blocks of 64 and over
 * blocks of those. A change of a host is noted once, in a ring; a class that is asked again looks at
 * the hosts noted since it was asked last, each once, and then reads the best from the maxima. Nothing
 * is sampled: the answer is that of a scan, and a test holds it to that.
 *
 * Ranks below the best of a class may be too high: a host is ranked only as far as it takes to see that
 * it is not better. The host that is chosen is ranked exactly, which is asked for
 * anyway; when it was taken for better than it is, the next best is tried.
 *
 * Rules about other workloads (affinity, spread, quota, N+1) are not in the ranks; the best host is
 * tried against them, and the next best when they refuse.
 *
 * Invariant: no rank of a class is below berth_evaluate_rank on the snapshot as of its position in the
 * ring. Thread: the snapshot's. Start at berth_index_pick. */
#include "sched/index.h"

#include <string.h>

#include "sched/mix.h"
#include "sched/relation.h"
#include "sched/wide.h"

#define BLOCK BERTH_PORTION
#define CLASSES_MAX 128

typedef struct {
    GByteArray *key; /* owned */
    guint64 seen;    /* position in the ring up to which ranks are right */
    guint64 epoch;   /* of the index when they were made */
    guint64 used;    /* tick of the last question */
    guint32 end;     /* hosts covered */
    guint16 *ranks;  /* owned, length room */
    guint16 *blocks;
    guint16 *tops;
} Class;

struct BerthIndex {
    const BerthPolicy *policy;
    guint32 room; /* length of the per-host arrays */
    guint64 noted;
    guint64 epoch;
    guint64 tick;
    guint32 ring_mask;
    guint32 *ring;   /* hosts in order of change */
    guint32 *latest; /* per host: low bits of the position after its latest note */
    guint n_classes;
    guint64 hashes[CLASSES_MAX]; /* of their keys */
    Class classes[CLASSES_MAX];
    guint64 facts; /* of the snapshot when places were listed */
    GHashTable
        *places[3]; /* per scope: symbol of the place to GArray of hosts; NULL = not listed */
    GByteArray *scratch;
};

static guint32
round_up(guint32 n, guint32 unit)
{
    return (n + unit - 1) / unit * unit;
}

static void
clear_class(Class *class)
{
    g_clear_pointer(&class->key, g_byte_array_unref);
    g_clear_pointer(&class->ranks, g_free);
    g_clear_pointer(&class->blocks, g_free);
    g_clear_pointer(&class->tops, g_free);
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
    index->room = round_up(s->room, BLOCK);
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
        index->ring[index->noted & index->ring_mask] = host;
        index->noted++;
        index->latest[host] = (guint32)index->noted;
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
    gsize class =
        (gsize)index->room * sizeof(guint16) + (gsize)index->room / BLOCK * sizeof(guint16) * 2;
    return index->n_classes * class + (gsize)index->room * sizeof(guint32) +
           (gsize)(index->ring_mask + 1) * sizeof(guint32);
}

BERTH_WIDE static guint16
maximum(const guint16 *values, guint n)
{
    guint16 best = 0;
    for (guint i = 0; i < n; i++) {
        best = values[i] > best ? values[i] : best;
    }
    return best;
}

static guint32
block_count(const BerthIndex *index)
{
    return round_up(index->room / BLOCK, BLOCK);
}

/* The block's best has gone: finds the next, and the same above when that was the best there too. */
static void
lower_block(Class *class, guint32 block)
{
    guint16 old = class->blocks[block];
    guint32 top = block / BLOCK;
    class->blocks[block] = maximum(class->ranks + block * BLOCK, BLOCK);
    if (class->blocks[block] != old && class->tops[top] == old) {
        class->tops[top] = maximum(class->blocks + top * BLOCK, BLOCK);
    }
}

static void
set_rank(Class *class, guint32 host, guint16 rank)
{
    guint16 old = class->ranks[host];
    guint32 block = host / BLOCK, top = block / BLOCK;
    class->ranks[host] = rank;
    if (rank >= class->blocks[block]) {
        class->blocks[block] = rank;
        class->tops[top] = MAX(class->tops[top], rank);
    } else if (old == class->blocks[block]) {
        lower_block(class, block);
    }
}

static void
rank_all(BerthIndex *index, Class *class, const BerthAsk *ask, const BerthPlan *plan)
{
    guint32 blocks = block_count(index), end = ask->snapshot->end;
    guint16 best = 0;
    memset(class->ranks, 0, sizeof(guint16) * index->room);
    memset(class->blocks, 0, sizeof(guint16) * blocks);
    for (guint32 first = 0; first < end; first += BLOCK) {
        guint32 hosts[BLOCK], block = first / BLOCK;
        guint n = MIN(BLOCK, end - first);
        for (guint i = 0; i < n; i++) {
            hosts[i] = first + i;
        }
        berth_evaluate_ranks(ask, plan, hosts, n, best, class->ranks + first);
        class->blocks[block] = maximum(class->ranks + first, BLOCK);
        best = MAX(best, class->blocks[block]);
    }
    for (guint32 top = 0; top < blocks / BLOCK; top++) {
        class->tops[top] = maximum(class->blocks + top * BLOCK, BLOCK);
    }
    class->epoch = index->epoch;
    class->seen = index->noted;
}

/* So few hosts are ranked together that what ranking the next ones reads comes in meanwhile. */
#define TOGETHER 16

typedef struct {
    guint n;
    guint32 hosts[TOGETHER];
} Changed;

/* Takes the next hosts from the ring, each once, and calls for what ranking them will read. */
static void
take_changed(const BerthIndex *index, Class *class, const BerthSnapshot *s, Changed *changed)
{
    changed->n = 0;
    for (; class->seen < index->noted && changed->n < TOGETHER; class->seen++) {
        guint32 host = index->ring[class->seen & index->ring_mask];
        changed->hosts[changed->n] = host;
        changed->n += index->latest[host] == (guint32)(class->seen + 1);
    }
    for (guint i = 0; i < changed->n; i++) {
        guint32 host = changed->hosts[i];
        const char *worth = (const char *)&s->worth[host];
        __builtin_prefetch(worth);
        __builtin_prefetch(worth + sizeof(BerthWorth) - 1);
        __builtin_prefetch(&class->ranks[host]);
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
    guint16 floor = maximum(class->tops, block_count(index) / BLOCK);
    Changed changed[2];
    guint at = 0;
    take_changed(index, class, ask->snapshot, &changed[at]);
    while (changed[at].n > 0) {
        guint16 ranks[TOGETHER];
        take_changed(index, class, ask->snapshot, &changed[!at]);
        berth_evaluate_ranks(ask, plan, changed[at].hosts, changed[at].n, floor, ranks);
        for (guint i = 0; i < changed[at].n; i++) {
            set_rank(class, changed[at].hosts[i], ranks[i]);
        }
        at = !at;
    }
}

static void
put_words(GByteArray *key, const void *words, guint n)
{
    g_byte_array_append(key, words, n * 4);
}

/* Everything of the request that a rank may depend on, as bytes: equal keys, equal ranks. */
static void
make_key(GByteArray *key, const BerthAsk *ask)
{
    const BerthRequest *r = ask->request;
    guint8 lists[8] = {r->n_cpu_features, r->n_networks,  r->n_disks,       r->n_counts,
                       r->n_devices,      r->n_selectors, r->n_tolerations, r->dedicated};
    gint64 amounts[3] = {ask->cpu_millis, ask->memory_mib, ask->pages};
    BerthSymbol names[6] = {ask->arch,  ask->cpu_model, ask->machine,
                            ask->image, ask->page_key,  r->numa};
    g_byte_array_set_size(key, 0);
    put_words(key, lists, 2);
    put_words(key, amounts, 6);
    put_words(key, names, 6);
    put_words(key, ask->features, r->n_cpu_features);
    put_words(key, ask->networks, r->n_networks);
    for (guint i = 0; i < r->n_disks; i++) {
        put_words(key, &ask->disks[i], 1);
        put_words(key, &r->disks[i].amount, 2);
    }
    for (guint i = 0; i < r->n_counts; i++) {
        put_words(key, &ask->counts[i], 1);
        put_words(key, &r->counts[i].amount, 2);
    }
    const BerthSymbol *models = ask->models;
    for (guint i = 0; i < r->n_devices; i++) {
        guint32 need[4] = {ask->devices[i], r->devices[i].n_models, r->devices[i].count,
                           r->devices[i].millis};
        put_words(key, need, 4);
        put_words(key, models, need[1]);
        models += need[1];
    }
    const BerthSymbol *values = ask->selector_values;
    for (guint i = 0; i < r->n_selectors; i++) {
        guint32 selector[3] = {ask->selector_keys[i],
                               r->selectors[i].operator<< 8 | r->selectors[i].weight,
                               r->selectors[i].n_values};
        put_words(key, selector, 3);
        put_words(key, values, selector[2]);
        values += selector[2];
    }
    put_words(key, ask->toleration_keys, r->n_tolerations);
    put_words(key, ask->toleration_values, r->n_tolerations);
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

/* Of a key, whose length is a multiple of four. */
static guint64
hash_words(const GByteArray *key)
{
    guint64 hash = key->len;
    for (guint i = 0; i < key->len; i += 4) {
        guint32 word;
        memcpy(&word, key->data + i, 4);
        hash = (hash ^ word) * 0x9e3779b97f4a7c15;
        hash ^= hash >> 29;
    }
    return hash;
}

static Class *
find_class(BerthIndex *index, const GByteArray *key, guint64 hash)
{
    for (guint i = 0; i < index->n_classes; i++) {
        const GByteArray *known = index->classes[i].key;
        if (index->hashes[i] == hash && known->len == key->len &&
            memcmp(known->data, key->data, key->len) == 0) {
            return &index->classes[i];
        }
    }
    return NULL;
}

static Class *
get_class(BerthIndex *index, const BerthAsk *ask)
{
    make_key(index->scratch, ask);
    guint64 hash = hash_words(index->scratch);
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
    index->hashes[at] = hash;
    class = &index->classes[at];
    *class = (Class){.key = g_byte_array_new(),
                     .epoch = G_MAXUINT64,
                     .ranks = g_new0(guint16, index->room),
                     .blocks = g_new0(guint16, block_count(index)),
                     .tops = g_new0(guint16, block_count(index) / BLOCK)};
    g_byte_array_append(class->key, index->scratch->data, index->scratch->len);
    return class;
}

/* The best host, the lowest among equals, or BERTH_HOST_NONE. */
static guint32
best_host(const BerthIndex *index, const Class *class)
{
    guint32 tops = block_count(index) / BLOCK, at = 0;
    guint16 best = maximum(class->tops, tops);
    if (best == 0) {
        return BERTH_HOST_NONE;
    }
    while (class->tops[at] != best) {
        at++;
    }
    at *= BLOCK;
    while (class->blocks[at] != best) {
        at++;
    }
    at *= BLOCK;
    while (class->ranks[at] != best) {
        at++;
    }
    return at;
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

typedef struct {
    const Class *class;
    const BerthAsk *ask;
    const BerthPlan *rules;
    guint32 host;
    guint16 rank;
} Best;

static void
try_host(Best *best, guint32 host)
{
    guint16 rank = best->class->ranks[host];
    gboolean better = rank > best->rank || (rank == best->rank && rank > 0 && host < best->host);
    if (better && berth_evaluate_filters(best->ask, best->rules, host, NULL) < 0) {
        best->rank = rank;
        best->host = host;
    }
}

/* Looks only where the members of the group are. */
static guint32
search_near(BerthIndex *index, const Class *class, const BerthAsk *ask,
            const BerthPlan *fleet_rules, guint relation, guint16 *rank)
{
    const BerthSnapshot *s = ask->snapshot;
    BerthScope scope = ask->request->relations[relation].scope;
    GHashTable *places = scope == BERTH_SCOPE_HOST ? NULL : list_places(index, s, scope);
    const BerthGroup *group = berth_snapshot_group(s, ask->relation_groups[relation]);
    Best best = {class, ask, fleet_rules, BERTH_HOST_NONE, 0};
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
            try_host(&best, host);
        }
        for (guint i = 0; hosts != NULL && i < hosts->len; i++) {
            try_host(&best, g_array_index(hosts, guint32, i));
        }
    }
    *rank = best.rank;
    return best.host;
}

typedef struct {
    guint32 host;
    guint16 rank;
} Masked;

/* The best host that the rules about other workloads admit too. */
static guint32
search(BerthIndex *index, Class *class, const BerthAsk *ask, const BerthPlan *fleet_rules,
       guint16 *rank)
{
    guint32 host = best_host(index, class);
    *rank = host == BERTH_HOST_NONE ? 0 : class->ranks[host];
    if (host == BERTH_HOST_NONE || fleet_rules->n_filters == 0) {
        return host;
    }
    gint near = bounding_relation(ask);
    if (near >= 0) {
        return search_near(index, class, ask, fleet_rules, near, rank);
    }
    g_autoptr(GArray) masked = g_array_new(FALSE, FALSE, sizeof(Masked));
    while (host != BERTH_HOST_NONE && berth_evaluate_filters(ask, fleet_rules, host, NULL) >= 0) {
        Masked m = {host, class->ranks[host]};
        g_array_append_val(masked, m);
        set_rank(class, host, 0);
        host = best_host(index, class);
    }
    *rank = host == BERTH_HOST_NONE ? 0 : class->ranks[host];
    for (guint i = 0; i < masked->len; i++) {
        set_rank(class, g_array_index(masked, Masked, i).host,
                 g_array_index(masked, Masked, i).rank);
    }
    return host;
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
    guint16 rank;
    for (guint32 host;
         (host = search(index, class, ask, &fleet_rules, &rank)) != BERTH_HOST_NONE;) {
        guint16 exact = berth_evaluate_rank(ask, &ranked, host, &decision->placement);
        if (exact == rank) {
            decision->placed = TRUE;
            decision->score = rank;
            return BERTH_INDEX_PLACED;
        }
        set_rank(class, host, exact);
    }
    decision->placement = (BerthPlacement){0};
    return BERTH_INDEX_REFUSED;
}
