/* Strings as small numbers, so that rules compare integers. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Zero stands for "no string". */
typedef guint32 BerthSymbol;

typedef struct {
    GHashTable *ids;  /* owned; string to symbol */
    GPtrArray *names; /* borrowed from chunk; index is the symbol */
    GStringChunk *chunk;
} BerthSymbols;

void berth_symbols_init(BerthSymbols *symbols);
void berth_symbols_clear(BerthSymbols *symbols);
BerthSymbol berth_symbols_intern(BerthSymbols *symbols, const char *name);
const char *berth_symbols_name(const BerthSymbols *symbols, BerthSymbol symbol);

G_END_DECLS
