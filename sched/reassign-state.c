/*
 * The state of the reassignment search: building it, changing it, and the rules that need counts
 * (spread and dependency). See reassign-state.h for the layout and the invariant.
 */
#include "sched/reassign-state.h"

#include <string.h>

/* A zeroed array of pairs or quads, aligned for them; freed with g_aligned_free. */
static gpointer
new_vectors(gsize count)
{
    return g_aligned_alloc0(MAX(count, 1), sizeof(BerthPair), 64);
}

/* The terms and the free capacity of an empty machine. */
static void
fill_machine(BerthReassignState *s, guint32 machine)
{
    const BerthReassignModel *m = s->model;
    const guint32 *capacity = m->capacity + (gsize)machine * m->resources;
    const guint32 *safety = m->safety + (gsize)machine * m->resources;
    double *terms = (double *)machine_terms(s, machine);
    gint32 *room = (gint32 *)machine_room(s, machine);
    for (guint32 r = 0; r < m->resources; r++) {
        room[r] = (gint32)capacity[r];
        terms[r] = -(double)safety[r];
    }
    for (guint32 b = 0; b < m->balances; b++) {
        const BerthReassignBalance *balance = &m->balance[b];
        terms[m->resources + b] =
            (double)balance->target * capacity[balance->first] - (double)capacity[balance->second];
    }
}

static void
fill_process(BerthReassignState *s, guint32 process)
{
    const BerthReassignModel *m = s->model;
    const guint32 *need = m->requirement + (gsize)process * m->resources;
    gint32 *terms = s->process + (gsize)process * 2 * s->term_pairs;
    for (guint32 r = 0; r < m->resources; r++) {
        terms[r] = (gint32)need[r];
    }
    for (guint32 b = 0; b < m->balances; b++) {
        const BerthReassignBalance *balance = &m->balance[b];
        terms[m->resources + b] = (gint32)((gint64)need[balance->second] -
                                           (gint64)balance->target * need[balance->first]);
    }
}

static void
fill_weights(BerthReassignState *s)
{
    const BerthReassignModel *m = s->model;
    s->term_weight = new_vectors(s->term_pairs);
    s->counts = new_vectors((gsize)2 * s->fit_quads);
    double *weight = (double *)s->term_weight;
    gint32 *counts = (gint32 *)s->counts;
    for (guint32 r = 0; r < m->resources; r++) {
        weight[r] = m->load_weight[r];
        counts[r] = -1;
        counts[4 * s->fit_quads + r] = m->transient[r] ? 0 : -1;
    }
    for (guint32 b = 0; b < m->balances; b++) {
        weight[m->resources + b] = m->balance[b].weight;
    }
}

static void
fill_vectors(BerthReassignState *s)
{
    const BerthReassignModel *m = s->model;
    s->term_pairs = (m->resources + m->balances + 3) / 4 * 2;
    s->fit_quads = (m->resources + 3) / 4;
    s->machine = new_vectors((gsize)m->machines * s->term_pairs);
    s->process = new_vectors((gsize)m->processes * s->term_pairs / 2);
    s->room = new_vectors((gsize)m->machines * s->fit_quads);
    fill_weights(s);
    for (guint32 i = 0; i < m->machines; i++) {
        fill_machine(s, i);
    }
    for (guint32 p = 0; p < m->processes; p++) {
        fill_process(s, p);
        /* Transient resources stay taken at home wherever the process goes. */
        gint32 *room = (gint32 *)machine_room(s, s->home[p]);
        const gint32 *need = process_terms(s, p);
        for (guint32 r = 0; r < m->resources; r++) {
            room[r] -= m->transient[r] ? need[r] : 0;
        }
    }
    gsize quads = (gsize)m->machines * s->fit_quads;
    s->bare = new_vectors(quads);
    memcpy(s->bare, s->room, quads * sizeof *s->bare);
}

static void
fill_dependents(BerthReassignState *s)
{
    const BerthReassignModel *m = s->model;
    guint32 total = m->dependency_first[m->services];
    s->dependent_first = g_new0(guint32, (gsize)m->services + 2);
    s->dependent = g_new0(guint32, total);
    for (guint32 i = 0; i < total; i++) {
        s->dependent_first[m->dependency[i] + 2]++;
    }
    for (guint32 v = 2; v < m->services + 2; v++) {
        s->dependent_first[v] += s->dependent_first[v - 1];
    }
    for (guint32 v = 0; v < m->services; v++) {
        for (guint32 i = m->dependency_first[v]; i < m->dependency_first[v + 1]; i++) {
            s->dependent[s->dependent_first[m->dependency[i] + 1]++] = v;
        }
    }
}

/* Only services that have a rule get a row of counts. */
static void
fill_rows(BerthReassignState *s)
{
    const BerthReassignModel *m = s->model;
    guint32 spread_rows = 0, depend_rows = 0;
    s->spread_row = g_new(guint32, m->services);
    s->depend_row = g_new(guint32, m->services);
    for (guint32 v = 0; v < m->services; v++) {
        gboolean spreads = m->spread_min[v] > 1;
        gboolean depends = m->dependency_first[v] < m->dependency_first[v + 1] ||
                           s->dependent_first[v] < s->dependent_first[v + 1];
        s->spread_row[v] = spreads ? spread_rows++ : G_MAXUINT32;
        s->depend_row[v] = depends ? depend_rows++ : G_MAXUINT32;
    }
    s->spread_seen = g_new0(guint32, m->services);
    s->spread_counts = g_new0(guint16, (gsize)spread_rows * m->locations);
    s->depend_counts = g_new0(guint16, (gsize)depend_rows * m->neighbourhoods);
}

static guint16 *
spread_count(const BerthReassignState *s, guint32 service, guint32 machine)
{
    return s->spread_counts + (gsize)s->spread_row[service] * s->model->locations +
           s->model->location[machine];
}

static guint16 *
depend_count(const BerthReassignState *s, guint32 service, guint32 neighbourhood)
{
    return s->depend_counts + (gsize)s->depend_row[service] * s->model->neighbourhoods +
           neighbourhood;
}

/* Adds (+1) or takes (-1) a process of @service to or from the counts of @machine. */
static void
count_service(BerthReassignState *s, guint32 service, guint32 machine, int by)
{
    if (s->spread_row[service] != G_MAXUINT32) {
        guint16 *count = spread_count(s, service, machine);
        s->spread_seen[service] += by > 0 ? *count == 0 : -(*count == 1);
        *count += by;
    }
    if (s->depend_row[service] != G_MAXUINT32) {
        *depend_count(s, service, s->model->neighbourhood[machine]) += by;
    }
}

static void
join_crew(BerthReassignState *s, guint32 process, guint32 machine)
{
    BerthReassignCrew *crew = &s->crew[machine];
    if (crew->count == crew->room) {
        crew->room = MAX(8, crew->room * 2);
        crew->processes = g_renew(guint32, crew->processes, crew->room);
    }
    s->slot[process] = crew->count;
    crew->processes[crew->count++] = process;
}

static void
leave_crew(BerthReassignState *s, guint32 process, guint32 machine)
{
    BerthReassignCrew *crew = &s->crew[machine];
    guint32 last = crew->processes[--crew->count];
    crew->processes[s->slot[process]] = last;
    s->slot[last] = s->slot[process];
}

/* Puts @process on (+1) or takes it off (-1) the vectors of @machine. */
static void
charge(BerthReassignState *s, guint32 process, guint32 machine, gint32 by)
{
    BerthPair *terms = machine_terms(s, machine), factor = {by, by}, sum = {0, 0};
    BerthQuad *room = machine_room(s, machine);
    const gint32 *d = process_terms(s, process);
    const BerthQuad *need = process_needs(s, process);
    const BerthQuad *counts = process_counts(s, process, machine);
    for (guint32 i = 0; i < s->term_pairs; i++) {
        terms[i] += factor * pair_of(d, i);
        sum += positive(terms[i]) * s->term_weight[i];
    }
    gint32 sign = by >> 31;
    for (guint32 i = 0; i < s->fit_quads; i++) {
        room[i] -= ((need[i] & counts[i]) ^ sign) - sign;
    }
    s->cost += pair_sum(sum) - s->machine_cost[machine];
    s->machine_cost[machine] = pair_sum(sum);
}

static void
set_present(BerthReassignState *s, guint32 process, guint32 machine, gboolean present)
{
    guint64 *word = s->presence + s->model->service[process] * s->presence_words + machine / 64;
    guint64 bit = G_GUINT64_CONSTANT(1) << (machine % 64);
    *word = present ? *word | bit : *word & ~bit;
}

/* Counts @process as moved (+1) or back home (-1) and keeps the service move cost. */
static void
count_moved(BerthReassignState *s, guint32 process, int by)
{
    guint32 service = s->model->service[process];
    guint32 before = s->moved_max;
    s->moved_count[s->moved[service]]--;
    s->moved[service] += by;
    s->moved_count[s->moved[service]]++;
    s->moved_max = MAX(s->moved_max, s->moved[service]);
    while (s->moved_max > 0 && s->moved_count[s->moved_max] == 0) {
        s->moved_max--;
    }
    s->cost += ((double)s->moved_max - before) * s->model->service_move_weight;
}

static void
place(BerthReassignState *s, guint32 process, guint32 machine)
{
    s->at[process] = machine;
    s->paid[process] = move_cost(s, process, machine);
    s->cost += s->paid[process];
    join_crew(s, process, machine);
    set_present(s, process, machine, TRUE);
    count_service(s, s->model->service[process], machine, +1);
    charge(s, process, machine, +1);
}

static void
remove_from(BerthReassignState *s, guint32 process, guint32 machine)
{
    s->cost -= s->paid[process];
    leave_crew(s, process, machine);
    set_present(s, process, machine, FALSE);
    count_service(s, s->model->service[process], machine, -1);
    charge(s, process, machine, -1);
}

static void
fill_counts(BerthReassignState *s)
{
    const BerthReassignModel *m = s->model;
    guint32 largest = 0;
    g_autofree guint32 *size = g_new0(guint32, m->services);
    for (guint32 p = 0; p < m->processes; p++) {
        size[m->service[p]]++;
        largest = MAX(largest, size[m->service[p]]);
    }
    s->moved = g_new0(guint32, m->services);
    s->moved_count = g_new0(guint32, (gsize)largest + 1);
    s->moved_count[0] = m->services;
    s->presence_words = (m->machines + 63) / 64;
    s->presence = g_new0(guint64, m->services * s->presence_words);
}

/**
 * berth_reassign_state_new:
 * @model: the instance; borrowed, must outlive the state
 * @home: [processes] the present assignment; copied
 *
 * Returns: the state with every process at home
 */
BerthReassignState *
berth_reassign_state_new(const BerthReassignModel *model, const guint32 *home)
{
    BerthReassignState *s = g_new0(BerthReassignState, 1);
    s->model = model;
    s->home = g_memdup2(home, model->processes * sizeof *home);
    s->at = g_new0(guint32, model->processes);
    s->paid = g_new0(double, model->processes);
    s->slot = g_new0(guint32, model->processes);
    s->crew = g_new0(BerthReassignCrew, model->machines);
    s->machine_cost = g_new0(double, model->machines);
    fill_vectors(s);
    fill_dependents(s);
    fill_rows(s);
    fill_counts(s);
    for (guint32 machine = 0; machine < model->machines; machine++) {
        const double *terms = (const double *)machine_terms(s, machine);
        for (guint32 t = 0; t < 2 * s->term_pairs; t++) {
            s->machine_cost[machine] += MAX(0, terms[t]) * ((const double *)s->term_weight)[t];
        }
        s->cost += s->machine_cost[machine];
    }
    for (guint32 p = 0; p < model->processes; p++) {
        place(s, p, home[p]);
    }
    return s;
}

void
berth_reassign_state_free(BerthReassignState *s)
{
    if (s == NULL) {
        return;
    }
    for (guint32 machine = 0; machine < s->model->machines; machine++) {
        g_free(s->crew[machine].processes);
    }
    g_free(s->crew);
    g_aligned_free(s->machine);
    g_aligned_free(s->process);
    g_aligned_free(s->term_weight);
    g_aligned_free(s->counts);
    g_aligned_free(s->room);
    g_aligned_free(s->bare);
    g_free(s->machine_cost);
    g_free((gpointer)s->home);
    g_free(s->at);
    g_free(s->paid);
    g_free(s->slot);
    g_free(s->presence);
    g_free(s->moved);
    g_free(s->moved_count);
    g_free(s->spread_row);
    g_free(s->spread_counts);
    g_free(s->spread_seen);
    g_free(s->depend_row);
    g_free(s->depend_counts);
    g_free(s->dependent_first);
    g_free(s->dependent);
    g_free(s);
}

static void
note_move(BerthReassignState *s, guint32 process, guint32 from, guint32 to)
{
    if (from == s->home[process]) {
        count_moved(s, process, +1);
    } else if (to == s->home[process]) {
        count_moved(s, process, -1);
    }
}

/**
 * berth_reassign_state_relocate:
 *
 * Moves @process to @to without asking whether that is allowed, and updates the cost.
 */
void
berth_reassign_state_relocate(BerthReassignState *s, guint32 process, guint32 to)
{
    guint32 from = s->at[process];
    remove_from(s, process, from);
    place(s, process, to);
    note_move(s, process, from, to);
}

/**
 * berth_reassign_state_swap:
 *
 * Lets @p and @q change places without asking whether that is allowed. Both leave before either
 * comes, so that two of one service can change places too.
 */
void
berth_reassign_state_swap(BerthReassignState *s, guint32 p, guint32 q)
{
    guint32 a = s->at[p], b = s->at[q];
    remove_from(s, p, a);
    remove_from(s, q, b);
    place(s, p, b);
    place(s, q, a);
    note_move(s, p, a, b);
    note_move(s, q, b, a);
}

/**
 * berth_reassign_state_restore:
 * @processes: [count] who goes back
 * @to: indexed by process, where to
 *
 * Moves all of @processes at once; all leave before any comes.
 */
void
berth_reassign_state_restore(BerthReassignState *s, const guint32 *processes, guint32 count,
                             const guint32 *to)
{
    for (guint32 i = 0; i < count; i++) {
        remove_from(s, processes[i], s->at[processes[i]]);
    }
    for (guint32 i = 0; i < count; i++) {
        guint32 p = processes[i], from = s->at[p];
        place(s, p, to[p]);
        if (from != to[p]) {
            note_move(s, p, from, to[p]);
        }
    }
}

/* Whether @service, having come to neighbourhood @to and left @from, finds what it depends on,
 * and whether nobody left behind depended on it. Counts already show the move. */
static gboolean
dependencies_hold(const BerthReassignState *s, guint32 service, guint32 from, guint32 to)
{
    const BerthReassignModel *m = s->model;
    if (s->depend_row[service] == G_MAXUINT32 || from == to) {
        return TRUE;
    }
    for (guint32 i = m->dependency_first[service]; i < m->dependency_first[service + 1]; i++) {
        if (*depend_count(s, m->dependency[i], to) == 0) {
            return FALSE;
        }
    }
    if (*depend_count(s, service, from) > 0) {
        return TRUE;
    }
    for (guint32 i = s->dependent_first[service]; i < s->dependent_first[service + 1]; i++) {
        if (*depend_count(s, s->dependent[i], from) > 0) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean
is_spread(const BerthReassignState *s, guint32 service)
{
    return s->spread_row[service] == G_MAXUINT32 ||
           s->spread_seen[service] >= s->model->spread_min[service];
}

/**
 * berth_reassign_state_allows:
 *
 * Whether spread and dependencies hold after @process goes to @to; capacity and conflict are
 * checked apart, as they are cheaper.
 */
gboolean
berth_reassign_state_allows(BerthReassignState *s, guint32 process, guint32 to)
{
    guint32 service = s->model->service[process], from = s->at[process];
    if (s->spread_row[service] == G_MAXUINT32 && s->depend_row[service] == G_MAXUINT32) {
        return TRUE;
    }
    const guint32 *area = s->model->neighbourhood;
    count_service(s, service, from, -1);
    count_service(s, service, to, +1);
    gboolean allowed = is_spread(s, service) && dependencies_hold(s, service, area[from], area[to]);
    count_service(s, service, to, -1);
    count_service(s, service, from, +1);
    return allowed;
}

/**
 * berth_reassign_state_allows_swap:
 *
 * Whether spread and dependencies hold after @p and @q changed places.
 */
gboolean
berth_reassign_state_allows_swap(BerthReassignState *s, guint32 p, guint32 q)
{
    guint32 v = s->model->service[p], w = s->model->service[q];
    if (v == w) {
        return TRUE;
    }
    guint32 a = s->at[p], b = s->at[q];
    const guint32 *area = s->model->neighbourhood;
    count_service(s, v, a, -1);
    count_service(s, v, b, +1);
    count_service(s, w, b, -1);
    count_service(s, w, a, +1);
    gboolean allowed = is_spread(s, v) && is_spread(s, w) &&
                       dependencies_hold(s, v, area[a], area[b]) &&
                       dependencies_hold(s, w, area[b], area[a]);
    count_service(s, w, a, -1);
    count_service(s, w, b, +1);
    count_service(s, v, b, -1);
    count_service(s, v, a, +1);
    return allowed;
}

/* Whether @service alone holds the maximum of moved processes. */
static gboolean
max_drops(const BerthReassignState *s, guint32 service)
{
    return s->moved[service] == s->moved_max && s->moved_count[s->moved_max] == 1;
}

/**
 * berth_reassign_state_service_delta:
 *
 * Returns: the change of the service move cost when @process goes to @to
 */
double
berth_reassign_state_service_delta(const BerthReassignState *s, guint32 process, guint32 to)
{
    guint32 service = s->model->service[process], home = s->home[process];
    if (s->at[process] == home && to != home) {
        return s->moved[service] == s->moved_max ? s->model->service_move_weight : 0;
    }
    if (s->at[process] != home && to == home && max_drops(s, service)) {
        return -(double)s->model->service_move_weight;
    }
    return 0;
}

/**
 * berth_reassign_state_could_fit:
 *
 * Whether @machine, which is not its home, could hold @process if nobody else were there; the
 * transient needs of those who live there count even so.
 */
gboolean
berth_reassign_state_could_fit(const BerthReassignState *s, guint32 machine, guint32 process)
{
    const BerthQuad *room = s->bare + (gsize)machine * s->fit_quads;
    const BerthQuad *need = process_needs(s, process);
    BerthQuad lacks = {0};
    for (guint32 i = 0; i < s->fit_quads; i++) {
        lacks |= (need[i] & s->counts[i]) > room[i];
    }
    return !any_of(lacks);
}
