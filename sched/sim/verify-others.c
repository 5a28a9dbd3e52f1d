/* Hard rules about other workloads: nearness, from both sides, and spread. Read from the books alone. */
#include "sched/sim/verify-private.h"

static const SimHost *
host_at(const SimVerifier *v, guint32 index)
{
    return g_ptr_array_index(v->hosts, index);
}

static gboolean
share_place(const SimHost *a, const SimHost *b, BerthScope scope)
{
    const char *x = scope == BERTH_SCOPE_RACK ? a->rack : a->zone;
    const char *y = scope == BERTH_SCOPE_RACK ? b->rack : b->zone;
    return a == b || (scope != BERTH_SCOPE_HOST && x != NULL && g_strcmp0(x, y) == 0);
}

/* In @group, or without one, with the label. */
static gboolean
is_meant(const SimBook *book, const char *group, const char *key, const char *value)
{
    if (group != NULL) {
        return g_strcmp0(book->group, group) == 0;
    }
    for (guint i = 0; i < book->n_labels; i++) {
        if (g_strcmp0(book->labels[2 * i], key) == 0 &&
            (value == NULL || g_strcmp0(book->labels[2 * i + 1], value) == 0)) {
            return TRUE;
        }
    }
    return FALSE;
}

/* Returns: (nullable): the @i-th book, if it is of another workload than @book that is there now. */
static const SimBook *
other_at(const SimVerifier *v, guint i, const SimBook *book)
{
    const SimBook *other = &g_array_index(v->books, SimBook, i);
    gboolean same = book->uid != NULL && g_strcmp0(other->uid, book->uid) == 0;
    return other->live && !same ? other : NULL;
}

static void
check_relation(SimVerifier *v, const BerthRelation *r, const SimBook *book)
{
    const SimHost *here = host_at(v, book->host);
    guint near = 0, all = 0;
    for (guint i = 0; i < v->books->len; i++) {
        const SimBook *other = other_at(v, i, book);
        if (other != NULL && is_meant(other, r->group, r->label.key, r->label.value)) {
            all++;
            near += share_place(here, host_at(v, other->host), r->scope);
        }
    }
    if (r->kind == BERTH_RELATION_TOGETHER ? all > 0 && near == 0 : near > 0) {
        sim_verify_complain(v, "host %s breaks the nearness to %s", here->name,
                            r->group != NULL ? r->group : r->label.key);
    }
}

/* Those who are there already and must be apart from it. */
static void
check_aparts(SimVerifier *v, const SimBook *book)
{
    const SimHost *here = host_at(v, book->host);
    for (guint i = 0; i < v->repelling->len; i++) {
        const SimBook *other = other_at(v, g_array_index(v->repelling, guint, i), book);
        for (guint k = 0; other != NULL && k < other->n_aparts; k++) {
            const SimApart *apart = &other->aparts[k];
            if (is_meant(book, apart->group, apart->key, apart->value) &&
                share_place(here, host_at(v, other->host), apart->scope)) {
                sim_verify_complain(v, "host %s has one that must be apart from the new one",
                                    here->name);
            }
        }
    }
}

/* A place may hold at most max_skew members more than the emptiest place with a host that takes any. */
static void
check_spread(SimVerifier *v, const BerthSpread *spread, const SimBook *book)
{
    const SimHost *here = host_at(v, book->host);
    guint least = G_MAXUINT, mine = 1;
    for (guint h = 0; h < v->hosts->len; h++) {
        const SimHost *host = host_at(v, h);
        guint near = 0;
        if (host == NULL || host->state != BERTH_HOST_READY) {
            continue;
        }
        for (guint i = 0; i < v->books->len; i++) {
            const SimBook *other = other_at(v, i, book);
            near += other != NULL && is_meant(other, spread->group, NULL, NULL) &&
                    share_place(host, host_at(v, other->host), spread->scope);
        }
        least = MIN(least, near);
        mine = host == here ? near + 1 : mine;
    }
    if (mine > least + MAX(1, spread->max_skew)) {
        sim_verify_complain(v, "host %s breaks the spread of group %s", here->name, spread->group);
    }
}

/**
 * sim_verify_others:
 * @book: what @request becomes; not among the books yet
 */
void
sim_verify_others(SimVerifier *v, const BerthRequest *request, const SimBook *book)
{
    for (guint i = 0; i < request->n_relations; i++) {
        if (request->relations[i].weight == 0) {
            check_relation(v, &request->relations[i], book);
        }
    }
    for (guint i = 0; i < request->n_spreads; i++) {
        if (request->spreads[i].weight == 0) {
            check_spread(v, &request->spreads[i], book);
        }
    }
    check_aparts(v, book);
}
