/* Reservations: an amount of the fleet that a project can count on. These are sums and no places: what is reserved may be
 * free in pieces, each too small for what the project wants.
 * Invariant: the sums are those of a count over all hosts and projects, a test holds them to it; they follow each change
 * in O(1). There are none while nobody has a reservation. */
#include "sched/reserved.h"

typedef struct {
    gint64 cpu_millis, memory_mib;
} BerthFree;

static BerthFree
free_of(const BerthSnapshot *s, guint32 host)
{
    if (!berth_host_is_schedulable(s, host)) {
        return (BerthFree){0, 0};
    }
    BerthFree left = {s->cpu_free[host], s->mem_free[host]};
    for (guint i = 0; i < s->n_stocks[host]; i++) {
        const BerthStock *stock = &berth_stocks(s, host)[i];
        if (stock->kind == BERTH_STOCK_HUGEPAGE) {
            left.memory_mib += (stock->capacity - stock->used) * stock->page_kib / 1024;
        } else if (stock->kind == BERTH_STOCK_CPU) {
            left.cpu_millis += (stock->capacity - stock->used) * 1000;
        }
    }
    return left;
}

/** Brings the sums, which are there, in step with @host as it is now. */
void
berth_reserved_note_change(BerthSnapshot *s, guint32 host)
{
    BerthReserved *r = s->reserved;
    if (host >= r->counted->len) {
        g_array_set_size(r->counted, host + 1);
    }
    BerthFree *counted = &g_array_index(r->counted, BerthFree, host);
    BerthFree now = free_of(s, host);
    r->free_cpu_millis += now.cpu_millis - counted->cpu_millis;
    r->free_memory_mib += now.memory_mib - counted->memory_mib;
    *counted = now;
}

/** Puts what is open of @share into the sums (@sign 1), or takes it out before the share is changed (-1). */
void
berth_reserved_count_share(BerthReserved *r, const BerthShare *share, int sign)
{
    if (r != NULL) {
        r->open_cpu_millis += sign * berth_share_open_cpu_millis(share);
        r->open_memory_mib += sign * berth_share_open_memory_mib(share);
    }
}

static gboolean
has_reservation(const BerthShare *share)
{
    return share->reserved_cpu_millis > 0 || share->reserved_memory_mib > 0;
}

static BerthReserved *
reserved_new(void)
{
    BerthReserved *r = g_new0(BerthReserved, 1);
    r->counted = g_array_new(FALSE, TRUE, sizeof(BerthFree));
    return r;
}

/** Returns: (transfer full) (nullable): NULL of NULL. */
BerthReserved *
berth_reserved_copy(const BerthReserved *from)
{
    BerthReserved *to = g_memdup2(from, sizeof(*from));
    if (to != NULL) {
        to->counted = g_array_copy(from->counted);
    }
    return to;
}

void
berth_reserved_free(BerthReserved *r)
{
    if (r != NULL) {
        g_array_unref(r->counted);
        g_free(r);
    }
}

/**
 * berth_snapshot_set_reserved:
 * @cpu_millis, @memory_mib: what of the fleet is for @project, as quotas count it; 0: nothing
 *
 * Cost: the first reservation one look at every host, others O(1).
 */
void
berth_snapshot_set_reserved(BerthSnapshot *s, const char *project, gint64 cpu_millis,
                            gint64 memory_mib)
{
    BerthShare *share = berth_snapshot_share(s, berth_symbols_intern(&s->symbols, project));
    g_return_if_fail(share != NULL);
    berth_reserved_count_share(s->reserved, share, -1);
    guint before = has_reservation(share);
    share->reserved_cpu_millis = MAX(0, cpu_millis);
    share->reserved_memory_mib = MAX(0, memory_mib);
    guint after = has_reservation(share);
    if (s->reserved == NULL && after > 0) {
        s->reserved = reserved_new();
        for (guint32 host = 0; host < s->end; host++) {
            berth_reserved_note_change(s, host);
        }
    }
    berth_reserved_count_share(s->reserved, share, 1);
    if (s->reserved != NULL) {
        s->reserved->projects += after - before;
        if (s->reserved->projects == 0) {
            g_clear_pointer(&s->reserved, berth_reserved_free);
        }
    }
}
