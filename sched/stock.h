/* What is free of a pool or named resource; shared by the rules about them. */
#pragma once

#include "sched/rules.h"

G_BEGIN_DECLS

static inline gint64
berth_stock_free(const BerthSnapshot *s, guint32 host, BerthStockKind kind, BerthSymbol key)
{
    const BerthStock *stocks = berth_stocks(s, host);
    for (guint i = 0; i < s->n_stocks[host]; i++) {
        if (stocks[i].kind == kind && stocks[i].key == key) {
            return stocks[i].capacity - stocks[i].used;
        }
    }
    return 0;
}

/* What the request wants of @key in all of @amounts up to and including @last: a key may repeat. */
static inline gint64
berth_stock_need(const BerthAmount *amounts, const BerthSymbol *keys, guint last)
{
    gint64 need = 0;
    for (guint i = 0; i <= last; i++) {
        need += keys[i] == keys[last] ? amounts[i].amount : 0;
    }
    return need;
}

/* As a rule's @lacks: what is short of @amounts. */
static inline guint
berth_stock_lacks(const BerthAsk *ask, guint32 host, BerthStockKind kind,
                  const BerthAmount *amounts, const BerthSymbol *keys, guint n, BerthRefusal *lacks,
                  guint max)
{
    guint found = 0;
    for (guint i = 0; i < n && found < max; i++) {
        gboolean last = TRUE; /* of those with this key, which asks for all */
        for (guint k = i + 1; k < n; k++) {
            last = last && keys[k] != keys[i];
        }
        gint64 need = berth_stock_need(amounts, keys, i);
        gint64 have = berth_stock_free(ask->snapshot, host, kind, keys[i]);
        if (last && need > have) {
            berth_refuse(&lacks[found++], amounts[i].key, need, have);
        }
    }
    return found;
}

G_END_DECLS
