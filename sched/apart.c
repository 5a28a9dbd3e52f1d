/* The hard wishes of what is charged to be apart from others. One that comes later and is meant by such a wish keeps to
 * it, though it has none of its own: a rule that held when its workload was placed goes on to hold.
 * Invariant: the snapshot's `aparts` list the wishes of exactly those charges that are attached. */
#include "sched/apart.h"

#include "sched/relation.h"

/* In the snapshot's lists. */
typedef struct {
    guint32 charge;
    guint32 scope;
} Entry;

static guint
hash_whom(gconstpointer data)
{
    const BerthApartWhom *whom = data;
    return whom->group * 2654435761U ^ whom->key * 40503U ^ whom->value;
}

static gboolean
equals_whom(gconstpointer a, gconstpointer b)
{
    return memcmp(a, b, sizeof(BerthApartWhom)) == 0;
}

/** Returns: (transfer full): whom to a list of who must be apart from them */
GHashTable *
berth_aparts_new(void)
{
    return g_hash_table_new_full(hash_whom, equals_whom, g_free, (GDestroyNotify)g_array_unref);
}

GHashTable *
berth_aparts_copy(GHashTable *from)
{
    GHashTable *to = berth_aparts_new();
    GHashTableIter iter;
    gpointer whom, list;
    g_hash_table_iter_init(&iter, from);
    while (g_hash_table_iter_next(&iter, &whom, &list)) {
        g_hash_table_insert(to, g_memdup2(whom, sizeof(BerthApartWhom)), g_array_copy(list));
    }
    return to;
}

/** Writes down in @charge, which is empty and not attached, what @ask wishes. */
void
berth_aparts_fill(BerthCharge *charge, const BerthAsk *ask)
{
    for (guint i = 0; i < ask->request->n_relations; i++) {
        const BerthRelation *r = &ask->request->relations[i];
        if (r->kind != BERTH_RELATION_APART || r->weight != 0) {
            continue;
        }
        if (charge->aparts == NULL) {
            charge->aparts = g_new(BerthApart, ask->request->n_relations);
        }
        charge->aparts[charge->n_aparts++] =
            r->group != NULL
                ? (BerthApart){{ask->relation_groups[i], 0, 0}, r->scope}
                : (BerthApart){{0, ask->relation_keys[i], ask->relation_values[i]}, r->scope};
    }
}

void
berth_aparts_attach(BerthSnapshot *s, guint32 index)
{
    const BerthCharge *charge = berth_charge(s, index);
    for (guint i = 0; i < charge->n_aparts; i++) {
        const BerthApart *apart = &charge->aparts[i];
        Entry entry = {index, apart->scope};
        GArray *list = g_hash_table_lookup(s->aparts, &apart->whom);
        if (list == NULL) {
            list = g_array_new(FALSE, FALSE, sizeof(Entry));
            g_hash_table_insert(s->aparts, g_memdup2(&apart->whom, sizeof apart->whom), list);
        }
        g_array_append_val(list, entry);
    }
}

void
berth_aparts_detach(BerthSnapshot *s, guint32 index)
{
    const BerthCharge *charge = berth_charge(s, index);
    for (guint i = 0; i < charge->n_aparts; i++) {
        const BerthApart *apart = &charge->aparts[i];
        GArray *list = g_hash_table_lookup(s->aparts, &apart->whom);
        guint at = 0;
        while (g_array_index(list, Entry, at).charge != index ||
               g_array_index(list, Entry, at).scope != apart->scope) {
            at++;
        }
        g_array_remove_index_fast(list, at);
        if (list->len == 0) {
            g_hash_table_remove(s->aparts, &apart->whom);
        }
    }
}

static void
add_places(const BerthAsk *ask, BerthApartWhom whom, BerthSymbol name, GArray **places)
{
    const BerthSnapshot *s = ask->snapshot;
    const GArray *list = g_hash_table_lookup(s->aparts, &whom);
    for (guint i = 0; list != NULL && i < list->len; i++) {
        const Entry *entry = &g_array_index(list, Entry, i);
        const BerthCharge *charge = berth_charge(s, entry->charge);
        if (berth_relation_is_itself(ask, charge)) {
            continue;
        }
        BerthApartPlace place = {berth_relation_key(s, charge->host, entry->scope), name};
        if (*places == NULL) {
            *places = g_array_sized_new(FALSE, FALSE, sizeof(BerthApartPlace), list->len);
        }
        g_array_append_val(*places, place);
    }
}

/**
 * berth_aparts_list_places:
 *
 * Cost: one look-up for its group and two for each of its labels, and as many as are found.
 *
 * Returns: (transfer full) (nullable): of BerthApartPlace; NULL when nobody must be apart from what asks
 */
GArray *
berth_aparts_list_places(const BerthAsk *ask)
{
    GArray *places = NULL;
    if (g_hash_table_size(ask->snapshot->aparts) == 0) {
        return NULL;
    }
    if (ask->group != 0) {
        add_places(ask, (BerthApartWhom){ask->group, 0, 0}, ask->group, &places);
    }
    for (guint i = 0; i < ask->request->n_labels; i++) {
        BerthSymbol key = ask->label_keys[i], value = ask->label_values[i];
        add_places(ask, (BerthApartWhom){0, key, value}, value, &places);
        if (value != 0) {
            add_places(ask, (BerthApartWhom){0, key, 0}, key, &places);
        }
    }
    return places;
}
