/* Free amount of a pool or named resource; shared by the rules about them. */
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

G_END_DECLS
