/* What tells classes of requests apart in the index: everything of a request that a rank may depend on,
 * as words. Equal keys, equal ranks. Start at berth_index_key_make. */
#include "sched/index-key.h"

#include <string.h>

static void
put_words(GByteArray *key, const void *words, guint n)
{
    g_byte_array_append(key, words, n * 4);
}

/**
 * berth_index_key_make:
 * @key: (out): becomes the request's; its length is a multiple of four
 */
void
berth_index_key_make(GByteArray *key, const BerthAsk *ask)
{
    const BerthRequest *r = ask->request;
    guint8 lists[8] = {r->n_cpu_features, r->n_networks,  r->n_disks,       r->n_counts,
                       r->n_devices,      r->n_selectors, r->n_tolerations, r->dedicated};
    gint64 amounts[3] = {r->cpu_millis, ask->memory_mib, ask->pages};
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

guint64
berth_index_key_hash(const GByteArray *key)
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
