/* Looks for the smallest change that lets a refused request in. Every candidate is one change that is
 * enough by itself; its size is a share of a host, and the smallest wins, the lowest host among
 * equals. Adding a host is last. */
#include "sched/fix.h"

#include "sched/fix-trial.h"
#include "sched/forecast.h"
#include "sched/place.h"

/* How much a change counts against freeing amounts, which counts the share of the host freed. */
#define COST_UNCORDON 0.05
#define COST_QUOTA 0.2
#define COST_DROP 0.3

/* So many are tried at most. */
#define TRIALS_MAX 16

/* The smallest changes that may help, the best first. */
typedef struct {
    guint n;
    BerthFix fixes[TRIALS_MAX];
    double costs[TRIALS_MAX];
} Offers;

/* The earliest stays first among equals. */
static void
offer(Offers *offers, const BerthFix *fix, double cost)
{
    guint at = offers->n;
    while (at > 0 && cost < offers->costs[at - 1]) {
        at--;
    }
    if (at == TRIALS_MAX) {
        return;
    }
    offers->n = MIN(offers->n + 1, TRIALS_MAX);
    memmove(&offers->fixes[at + 1], &offers->fixes[at],
            (offers->n - at - 1) * sizeof(offers->fixes[0]));
    memmove(&offers->costs[at + 1], &offers->costs[at],
            (offers->n - at - 1) * sizeof(offers->costs[0]));
    offers->fixes[at] = *fix;
    offers->costs[at] = cost;
}

/* Whether @cell, were it empty, took one of @parts of what a request for dedicated CPUs asks for. */
static gboolean
cell_could(const BerthAsk *ask, guint32 host, guint cell, guint parts)
{
    const BerthSnapshot *s = ask->snapshot;
    gint64 cpus = 0, pages = 0;
    for (guint i = 0; i < s->n_stocks[host]; i++) {
        const BerthStock *stock = &berth_stocks(s, host)[i];
        if (stock->cell == cell && stock->kind == BERTH_STOCK_CPU) {
            cpus += stock->capacity;
        } else if (stock->cell == cell && stock->kind == BERTH_STOCK_HUGEPAGE &&
                   stock->key == ask->page_key) {
            pages += stock->capacity;
        }
    }
    return cpus >= berth_place_part(ask->cpus, 0, parts) &&
           pages >= berth_place_part(ask->pages, 0, parts) &&
           berth_cells(s, host)[cell].mem_cap >= berth_place_part(ask->memory_mib, 0, parts);
}

/* Whether the cells of @host would do for a request for dedicated CPUs if they were empty. */
static gboolean
cells_could(const BerthAsk *ask, guint32 host)
{
    guint wanted = berth_ask_cells(ask), whole = 0, halves = 0;
    for (guint c = 0; c < ask->snapshot->n_cells[host]; c++) {
        whole += cell_could(ask, host, c, 1);
        halves += cell_could(ask, host, c, 2);
    }
    return (wanted != 2 && whole > 0) || (wanted != 1 && halves > 1);
}

/* Capacity behind a refusal, so that a shortage has a size; 0 = the host could never do it. */
static gint64
capacity_of(const BerthAsk *ask, const BerthRule *rule, const BerthRefusal *r)
{
    const BerthSnapshot *s = ask->snapshot;
    if (g_str_equal(rule->code, "vcpu")) {
        return s->cpu_cap[r->host];
    }
    if (g_str_equal(rule->code, "memory")) {
        return s->mem_cap[r->host];
    }
    if (g_str_equal(rule->code, "dedicated")) {
        return cells_could(ask, r->host) ? r->need : 0;
    }
    gint64 capacity = 0;
    BerthStockKind kind = g_str_equal(rule->code, "hugepage") ? BERTH_STOCK_HUGEPAGE
                          : g_str_equal(rule->code, "disk")   ? BERTH_STOCK_POOL
                                                              : BERTH_STOCK_COUNT;
    for (guint i = 0; i < s->n_stocks[r->host]; i++) {
        const BerthStock *stock = &berth_stocks(s, r->host)[i];
        gboolean meant =
            kind == BERTH_STOCK_HUGEPAGE
                ? stock->key == ask->page_key
                : g_strcmp0(berth_symbols_name(&s->symbols, stock->key), r->dimension) == 0;
        capacity += stock->kind == kind && meant ? stock->capacity : 0;
    }
    return capacity;
}

/* What one host would need: all refusing rules, not only the first. */
typedef struct {
    guint refused;        /* rules that refuse */
    const BerthRule *one; /* the last of them */
    BerthRefusal refusal; /* its refusal */
    gboolean only_amounts;
    BerthFix amounts;
    double cost;
} Wants;

/* Adds what @rule lacks on @host to @fix, and its share of what there is to @cost. FALSE: the host could never do
 * it. */
static gboolean
add_lacks(const BerthAsk *ask, const BerthRule *rule, const BerthRefusal *refusal, BerthFix *fix,
          double *cost)
{
    BerthRefusal all[BERTH_FIX_AMOUNTS_MAX] = {*refusal};
    guint n = rule->lacks == NULL
                  ? 1
                  : rule->lacks(ask, refusal->host, all, BERTH_FIX_AMOUNTS_MAX - fix->n_amounts);
    for (guint i = 0; i < n; i++) {
        all[i].host = refusal->host;
        gint64 capacity =
            rule->remedy == BERTH_REMEDY_QUOTA ? G_MAXINT64 : capacity_of(ask, rule, &all[i]);
        if (capacity < all[i].need || fix->n_amounts == BERTH_FIX_AMOUNTS_MAX) {
            return FALSE;
        }
        fix->amounts[fix->n_amounts++] =
            (BerthFixAmount){rule->code, all[i].dimension, all[i].short_by};
        *cost += (double)all[i].short_by / (double)MAX(1, capacity);
    }
    return n > 0;
}

static void
look_at_host(const BerthAsk *ask, const BerthPlan *plan, guint32 host, Wants *wants)
{
    *wants = (Wants){.only_amounts = TRUE, .amounts = {.kind = BERTH_FIX_FREE, .host = host}};
    for (guint i = 0; i < plan->n_filters; i++) {
        const BerthRule *rule = berth_rules[plan->filters[i]];
        BerthRefusal r = {.host = host, .code = rule->code};
        /* What a host without room means for the loss of others is known when it has room: a trial tells. */
        gboolean too_early = wants->refused > 0 && g_str_equal(rule->code, "reserve");
        if (too_early || rule->admits(ask, host, &r)) {
            continue;
        }
        wants->refused++;
        wants->one = rule;
        wants->refusal = r;
        wants->only_amounts = rule->remedy == BERTH_REMEDY_FREE && wants->only_amounts &&
                              add_lacks(ask, rule, &r, &wants->amounts, &wants->cost);
    }
}

/* Whether a host helps those on others, too: with N+1 by the room that it gives to these, with reservations by what is
 * free on it. */
static gboolean
helps_elsewhere(const BerthSnapshot *s)
{
    return s->spare != NULL || s->reserved != NULL;
}

static void
offer_uncordon(Offers *offers, const Wants *wants, guint32 host, const BerthAsk *ask)
{
    const BerthSnapshot *s = ask->snapshot;
    gboolean enough = wants->refused == 1 && wants->one->remedy == BERTH_REMEDY_UNCORDON;
    BerthFix fix = {.kind = BERTH_FIX_UNCORDON, .host = host, .code = "state"};
    if (s->state[host] & BERTH_HOST_READY && !berth_host_is_schedulable(s, host) &&
        (enough || helps_elsewhere(s))) {
        offer(offers, &fix, COST_UNCORDON);
    }
}

static void
offer_one_rule(Offers *offers, const Wants *wants, guint32 host, const BerthAsk *ask)
{
    double cost = 0;
    BerthFix fix = {.host = host, .code = wants->one->code, .dimension = wants->refusal.dimension};
    switch (wants->one->remedy) {
    case BERTH_REMEDY_DROP:
        fix.kind = BERTH_FIX_DROP_RULE;
        offer(offers, &fix, COST_DROP);
        break;
    case BERTH_REMEDY_QUOTA:
        fix.kind = BERTH_FIX_RAISE_QUOTA;
        add_lacks(ask, wants->one, &wants->refusal, &fix, &cost);
        offer(offers, &fix, COST_QUOTA);
        break;
    case BERTH_REMEDY_FREE:
    case BERTH_REMEDY_UNCORDON:
    case BERTH_REMEDY_NONE:
        break;
    }
}

/* Whether @twin, just added, takes the request. It counts among the places that a spread is over. */
static gboolean
twin_fits(BerthSnapshot *s, const BerthAsk *ask, const BerthPlan *plan, guint32 twin)
{
    BerthPlacement placement;
    g_auto(BerthAsk) anew = {0};
    if (ask->request->n_spreads == 0) {
        return berth_evaluate(ask, plan, twin, &placement) > 0;
    }
    berth_ask_init(&anew, s, ask->request);
    return berth_evaluate(&anew, plan, twin, &placement) > 0;
}

/* Whether the request fits with one more host like @host, which is added for the moment. */
static gboolean
fits_with_twin(BerthSnapshot *s, const BerthAsk *ask, const BerthPlan *plan, guint32 host)
{
    guint64 version = s->version;
    guint32 twin = berth_forecast_add_like(s, host, NULL);
    gboolean fits = twin_fits(s, ask, plan, twin);
    berth_snapshot_remove_host(s, twin, NULL);
    /* Nothing changed: or the mix would look anew earlier than in a replay, which explains nothing. */
    s->version = version;
    return fits;
}

/* Several rules refuse where the request would stand alone on the host: an empty twin helps. With N+1 it may also be
 * the room that another host's workloads find there. */
static void
find_twin(BerthFix *fix, BerthSnapshot *s, const BerthAsk *ask, const BerthPlan *plan)
{
    guint trials = 0;
    for (guint32 host = 0, end = s->end; host < end && trials < TRIALS_MAX; host++) {
        BerthFix twin = {.kind = BERTH_FIX_ADD_HOST, .host = host, .code = ""};
        gboolean same =
            s->charge_head[host] == BERTH_CHARGE_NONE && berth_host_is_schedulable(s, host);
        if (s->name[host] == 0 || (same && !helps_elsewhere(s))) {
            continue;
        }
        trials += s->spare != NULL;
        if (s->spare != NULL ? berth_fix_helps(s, ask->request, &twin)
                             : fits_with_twin(s, ask, plan, host)) {
            *fix = twin;
            return;
        }
    }
}

/* Whether @host, were it empty, has too little of something; @most: gets what, and how much it has. */
static gboolean
is_too_small(const BerthAsk *ask, const BerthPlan *plan, guint32 host, BerthFixAmount *most)
{
    for (guint i = 0; i < plan->n_filters; i++) {
        const BerthRule *rule = berth_rules[plan->filters[i]];
        BerthRefusal r = {.host = host, .code = rule->code};
        if (rule->remedy == BERTH_REMEDY_FREE && rule->lacks == NULL &&
            !rule->admits(ask, host, &r)) {
            *most = (BerthFixAmount){rule->code, r.dimension, capacity_of(ask, rule, &r)};
            if (most->amount < r.need) {
                return TRUE;
            }
        }
    }
    return FALSE;
}

/* Says so when every host is too small in the same respect. */
static void
note_size(BerthFix *fix, const BerthSnapshot *s, const BerthAsk *ask, const BerthPlan *plan)
{
    BerthFixAmount most = {.amount = -1}, own;
    for (guint32 host = 0; host < s->end; host++) {
        if (s->name[host] == 0) {
            continue;
        }
        if (!is_too_small(ask, plan, host, &own) ||
            (most.amount >= 0 && !g_str_equal(most.code, own.code))) {
            return;
        }
        most = own.amount > most.amount ? own : most;
    }
    if (most.amount > 0) {
        fix->code = most.code;
        fix->n_amounts = 1;
        fix->amounts[0] = most;
    }
}

static void
list_offers(Offers *offers, const BerthAsk *ask, const BerthPlan *plan)
{
    const BerthSnapshot *s = ask->snapshot;
    for (guint32 host = 0; host < s->end; host++) {
        Wants wants;
        if (s->name[host] == 0) {
            continue;
        }
        look_at_host(ask, plan, host, &wants);
        if (wants.only_amounts && wants.refused > 0) {
            wants.amounts.code = wants.amounts.amounts[0].code;
            offer(offers, &wants.amounts, wants.cost);
        }
        if (wants.refused == 1) {
            offer_one_rule(offers, &wants, host, ask);
        }
        offer_uncordon(offers, &wants, host, ask);
    }
}

/**
 * berth_fix_find:
 * @fix: (out): the smallest change found; kind NONE when there is none. Dimensions are borrowed
 * @snapshot: the ask's snapshot; as it was when the call returns
 *
 * What may not be enough is tried on a copy before it is named, the 16 smallest at most.
 */
void
berth_fix_find(BerthFix *fix, BerthSnapshot *snapshot, const BerthAsk *ask, const BerthPlan *plan)
{
    Offers offers = {0};
    list_offers(&offers, ask, plan);
    for (guint i = 0; i < offers.n; i++) {
        *fix = offers.fixes[i];
        if (berth_fix_is_certain(ask, fix) || berth_fix_helps(snapshot, ask->request, fix)) {
            return;
        }
    }
    *fix = (BerthFix){.kind = BERTH_FIX_NONE, .host = BERTH_HOST_NONE, .code = ""};
    find_twin(fix, snapshot, ask, plan);
    if (fix->kind == BERTH_FIX_NONE) {
        note_size(fix, snapshot, ask, plan);
    }
}
