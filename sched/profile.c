/* Profiles: arch, CPU models and features, machine types, networks, labels and taints of a host.
 * Two hosts with equal facts, in whatever order they are listed, have the same profile. */
#include "sched/profile.h"

#include "sched/index.h"

static int
compare_symbols(gconstpointer a, gconstpointer b)
{
    BerthSymbol x = *(const BerthSymbol *)a, y = *(const BerthSymbol *)b;
    return x < y ? -1 : x > y;
}

static guint
add_names(BerthSnapshot *s, GArray *key, const char *const *names, guint n)
{
    guint start = key->len;
    for (guint i = 0; i < n; i++) {
        BerthSymbol symbol = berth_symbols_intern(&s->symbols, names[i]);
        g_array_append_val(key, symbol);
    }
    if (n > 1) {
        qsort(&g_array_index(key, BerthSymbol, start), n, sizeof(BerthSymbol), compare_symbols);
    }
    return n;
}

static void
add_fact(BerthSnapshot *s, GArray *key, const char *name, const char *value)
{
    BerthFact fact = {berth_symbols_intern(&s->symbols, name),
                      berth_symbols_intern(&s->symbols, value)};
    g_array_append_vals(key, &fact, 2);
}

/* Everything of the host that a profile holds, as numbers: a header of lengths, then the lists. */
static GArray *
make_key(BerthSnapshot *s, const BerthHost *host)
{
    GArray *key = g_array_new(FALSE, FALSE, sizeof(guint32));
    guint32 header[7] = {berth_symbols_intern(&s->symbols, host->arch),
                         host->n_cpu_models,
                         host->n_cpu_features,
                         host->n_machines,
                         host->n_networks,
                         host->n_labels,
                         host->n_taints};
    g_array_append_vals(key, header, G_N_ELEMENTS(header));
    add_names(s, key, host->cpu_models, host->n_cpu_models);
    add_names(s, key, host->cpu_features, host->n_cpu_features);
    add_names(s, key, host->machines, host->n_machines);
    add_names(s, key, host->networks, host->n_networks);
    for (guint i = 0; i < host->n_labels; i++) {
        add_fact(s, key, host->labels[i].key, host->labels[i].value);
    }
    for (guint i = 0; i < host->n_taints; i++) {
        add_fact(s, key, host->taints[i].key, host->taints[i].value);
        guint32 effect = host->taints[i].effect;
        g_array_append_val(key, effect);
    }
    return key;
}

static BerthProfile *
make_profile(const guint32 *words, gsize size)
{
    BerthProfile *p = g_new0(BerthProfile, 1);
    p->key = g_bytes_new(words, size);
    guint32 *list = g_memdup2(words + 7, size - 7 * sizeof(guint32) + 4);
    p->arch = words[0];
    p->n_models = words[1];
    p->n_features = words[2];
    p->n_machines = words[3];
    p->n_networks = words[4];
    p->n_labels = words[5];
    p->n_taints = words[6];
    p->models = list;
    p->features = p->models + p->n_models;
    p->machines = p->features + p->n_features;
    p->networks = p->machines + p->n_machines;
    p->labels = (BerthFact *)(p->networks + p->n_networks);
    const guint32 *taints = (const guint32 *)(p->labels + p->n_labels);
    p->taints = g_new(BerthFact, p->n_taints + 1);
    p->taint_effects = g_new(guint8, p->n_taints + 1);
    for (guint i = 0; i < p->n_taints; i++) {
        p->taints[i] = (BerthFact){taints[3 * i], taints[3 * i + 1]};
        p->taint_effects[i] = taints[3 * i + 2];
    }
    return p;
}

void
berth_profile_free(BerthProfile *profile)
{
    g_bytes_unref(profile->key);
    g_free(profile->models);
    g_free(profile->taints);
    g_free(profile->taint_effects);
    g_free(profile);
}

static gboolean
has_taint(const BerthProfile *profile, BerthTaintEffect effect)
{
    for (guint i = 0; i < profile->n_taints; i++) {
        if (profile->taint_effects[i] == effect) {
            return TRUE;
        }
    }
    return FALSE;
}

/* Counts the profile's taints in (@sign 1) or out (-1). The score "avoid" joins with the first avoiding
 * taint and leaves with the last, and then every kept rank is on another scale. */
static void
count_taints(BerthSnapshot *s, const BerthProfile *profile, int sign)
{
    gboolean avoided = s->avoided > 0;
    s->refusing += has_taint(profile, BERTH_TAINT_REFUSE) * sign;
    s->avoided += has_taint(profile, BERTH_TAINT_AVOID) * sign;
    if (avoided != (s->avoided > 0)) {
        berth_index_forget(s->index);
    }
}

/**
 * berth_profile_get:
 *
 * Returns: index of the profile with @host's facts, with one more host counted in it
 */
guint32
berth_profile_get(BerthSnapshot *s, const BerthHost *host)
{
    g_autoptr(GArray) key = make_key(s, host);
    /* one spare word: make_profile copies from the lists even when they are empty */
    guint32 spare = 0;
    g_array_append_val(key, spare);
    gsize size = (key->len - 1) * sizeof(guint32);
    g_autoptr(GBytes) bytes = g_bytes_new(key->data, size);
    gpointer known = g_hash_table_lookup(s->profile_ids, bytes);
    guint32 index = GPOINTER_TO_UINT(known) - 1;
    if (known == NULL) {
        BerthProfile *made = make_profile((const guint32 *)(gpointer)key->data, size);
        for (index = 0; index < s->profiles->len; index++) {
            if (g_ptr_array_index(s->profiles, index) == NULL) {
                break;
            }
        }
        if (index == s->profiles->len) {
            g_ptr_array_add(s->profiles, NULL);
        }
        g_ptr_array_index(s->profiles, index) = made;
        count_taints(s, made, 1);
        g_hash_table_insert(s->profile_ids, made->key, GUINT_TO_POINTER(index + 1));
    }
    BerthProfile *profile = g_ptr_array_index(s->profiles, index);
    profile->hosts++;
    return index;
}

void
berth_profile_put(BerthSnapshot *s, guint32 index)
{
    BerthProfile *profile = g_ptr_array_index(s->profiles, index);
    if (--profile->hosts == 0) {
        count_taints(s, profile, -1);
        g_hash_table_remove(s->profile_ids, profile->key);
        g_ptr_array_index(s->profiles, index) = NULL;
        berth_profile_free(profile);
    }
}

/** Returns: (transfer container): names of CPU features, borrowed, and how many hosts have each. */
GHashTable *
berth_snapshot_count_features(const BerthSnapshot *s)
{
    GHashTable *counts = g_hash_table_new(g_str_hash, g_str_equal);
    for (guint i = 0; i < s->profiles->len; i++) {
        const BerthProfile *p = g_ptr_array_index(s->profiles, i);
        for (guint k = 0; p != NULL && k < p->n_features; k++) {
            const char *name = berth_symbols_name(&s->symbols, p->features[k]);
            guint count = GPOINTER_TO_UINT(g_hash_table_lookup(counts, name));
            g_hash_table_insert(counts, (gpointer)name, GUINT_TO_POINTER(count + p->hosts));
        }
    }
    return counts;
}

/** Returns: (transfer container): names of the CPU features that the host has; borrowed. */
GPtrArray *
berth_snapshot_cpu_features(const BerthSnapshot *s, guint32 index)
{
    const BerthProfile *p = berth_profile(s, index);
    GPtrArray *names = g_ptr_array_sized_new(p->n_features);
    for (guint k = 0; k < p->n_features; k++) {
        g_ptr_array_add(names, (gpointer)berth_symbols_name(&s->symbols, p->features[k]));
    }
    return names;
}
