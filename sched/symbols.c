/* Interned strings. A symbol, once given, names the same string for the life of the table.
 * Any one thread at a time. */
#include "sched/symbols.h"

void
berth_symbols_init(BerthSymbols *symbols)
{
    symbols->ids = g_hash_table_new(g_str_hash, g_str_equal);
    symbols->names = g_ptr_array_new();
    symbols->chunk = g_string_chunk_new(1024);
    g_ptr_array_add(symbols->names, NULL);
}

void
berth_symbols_clear(BerthSymbols *symbols)
{
    g_hash_table_unref(symbols->ids);
    g_ptr_array_unref(symbols->names);
    g_string_chunk_free(symbols->chunk);
}

/**
 * berth_symbols_intern:
 * @name: may be NULL, which is symbol 0
 *
 * Returns: the symbol of @name, made when it is new
 */
BerthSymbol
berth_symbols_intern(BerthSymbols *symbols, const char *name)
{
    if (name == NULL) {
        return 0;
    }
    gpointer id = g_hash_table_lookup(symbols->ids, name);
    if (id != NULL) {
        return GPOINTER_TO_UINT(id);
    }
    char *copy = g_string_chunk_insert(symbols->chunk, name);
    BerthSymbol symbol = symbols->names->len;
    g_ptr_array_add(symbols->names, copy);
    g_hash_table_insert(symbols->ids, copy, GUINT_TO_POINTER(symbol));
    return symbol;
}

/**
 * berth_symbols_name:
 *
 * Returns: (nullable): the string, borrowed; NULL for symbol 0
 */
const char *
berth_symbols_name(const BerthSymbols *symbols, BerthSymbol symbol)
{
    return g_ptr_array_index(symbols->names, symbol);
}
