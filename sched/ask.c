/* Reading a request: every string becomes a symbol, so that rules compare integers. The request must
 * outlive the ask. */
#include "sched/ask.h"

#include "sched/apart.h"
#include "sched/index.h"
#include "sched/mix.h"
#include "sched/relation.h"

static guint
count_words(const BerthRequest *r)
{
    guint n = r->n_cpu_features + r->n_networks + r->n_disks + r->n_counts + r->n_devices +
              r->n_selectors + 3 * r->n_relations + r->n_spreads + 2 * r->n_tolerations +
              2 * r->n_labels;
    for (guint i = 0; i < r->n_devices; i++) {
        n += r->devices[i].n_models;
    }
    for (guint i = 0; i < r->n_selectors; i++) {
        n += r->selectors[i].n_values;
    }
    return n;
}

typedef struct {
    BerthSymbols *symbols;
    BerthSymbol *next;
} Words;

static void
add(Words *words, const char *name)
{
    *words->next++ = berth_symbols_intern(words->symbols, name);
}

static const BerthSymbol *
add_names(Words *words, const char *const *names, guint n)
{
    const BerthSymbol *first = words->next;
    for (guint i = 0; i < n; i++) {
        add(words, names[i]);
    }
    return first;
}

static const BerthSymbol *
add_amounts(Words *words, const BerthAmount *amounts, guint n)
{
    const BerthSymbol *first = words->next;
    for (guint i = 0; i < n; i++) {
        add(words, amounts[i].key);
    }
    return first;
}

static void
add_devices(BerthAsk *ask, Words *words)
{
    const BerthRequest *r = ask->request;
    ask->devices = words->next;
    for (guint i = 0; i < r->n_devices; i++) {
        add(words, r->devices[i].kind);
    }
    ask->models = words->next;
    for (guint i = 0; i < r->n_devices; i++) {
        add_names(words, r->devices[i].models, r->devices[i].n_models);
    }
}

static void
add_selectors(BerthAsk *ask, Words *words)
{
    const BerthRequest *r = ask->request;
    ask->selector_keys = words->next;
    for (guint i = 0; i < r->n_selectors; i++) {
        add(words, r->selectors[i].key);
    }
    ask->selector_values = words->next;
    for (guint i = 0; i < r->n_selectors; i++) {
        add_names(words, r->selectors[i].values, r->selectors[i].n_values);
    }
}

static void
add_relations(BerthAsk *ask, Words *words)
{
    const BerthRequest *r = ask->request;
    ask->relation_groups = words->next;
    for (guint i = 0; i < r->n_relations; i++) {
        add(words, r->relations[i].group);
    }
    ask->relation_keys = words->next;
    for (guint i = 0; i < r->n_relations; i++) {
        add(words, r->relations[i].label.key);
    }
    ask->relation_values = words->next;
    for (guint i = 0; i < r->n_relations; i++) {
        add(words, r->relations[i].label.value);
    }
    ask->spread_groups = words->next;
    for (guint i = 0; i < r->n_spreads; i++) {
        add(words, r->spreads[i].group);
    }
}

static void
add_tolerations(BerthAsk *ask, Words *words)
{
    const BerthRequest *r = ask->request;
    ask->toleration_keys = words->next;
    for (guint i = 0; i < r->n_tolerations; i++) {
        add(words, r->tolerations[i].key);
    }
    ask->toleration_values = words->next;
    for (guint i = 0; i < r->n_tolerations; i++) {
        add(words, r->tolerations[i].value);
    }
}

static void
add_labels(BerthAsk *ask, Words *words)
{
    const BerthRequest *r = ask->request;
    ask->label_keys = words->next;
    for (guint i = 0; i < r->n_labels; i++) {
        add(words, r->labels[i].key);
    }
    ask->label_values = words->next;
    for (guint i = 0; i < r->n_labels; i++) {
        add(words, r->labels[i].value);
    }
}

static void
set_amounts(BerthAsk *ask)
{
    const BerthRequest *r = ask->request;
    ask->cpu_millis = r->dedicated ? 0 : r->cpu_millis;
    ask->cpus = r->dedicated ? (r->cpu_millis + 999) / 1000 : 0;
    ask->memory_mib = r->memory_mib + r->overhead_mib;
    if (r->hugepage_kib > 0) {
        char text[16];
        g_snprintf(text, sizeof(text), "%u", r->hugepage_kib);
        ask->page_key = berth_symbols_intern((BerthSymbols *)&ask->snapshot->symbols, text);
        ask->memory_mib = r->overhead_mib;
        ask->pages = (r->memory_mib * 1024 + r->hugepage_kib - 1) / r->hugepage_kib;
    }
}

static guint
least_in_a_place(const BerthAsk *ask, guint spread)
{
    const BerthSnapshot *s = ask->snapshot;
    guint least = G_MAXUINT;
    g_autoptr(GHashTable) seen = g_hash_table_new(NULL, NULL);
    for (guint32 host = 0; host < s->end && least > 0; host++) {
        guint64 place = berth_relation_place(s, host, ask->request->spreads[spread].scope);
        if (berth_host_is_schedulable(s, host) &&
            g_hash_table_add(seen, GSIZE_TO_POINTER(place + 1))) {
            least = MIN(least, berth_relation_count(ask, spread, host));
        }
    }
    return least == G_MAXUINT ? 0 : least;
}

/**
 * berth_ask_init:
 * @snapshot: learns the request's strings; its hosts are not changed
 */
void
berth_ask_init(BerthAsk *ask, BerthSnapshot *snapshot, const BerthRequest *request)
{
    memset(ask, 0, G_STRUCT_OFFSET(BerthAsk, inline_words));
    ask->snapshot = snapshot;
    ask->request = request;
    guint n = count_words(request);
    ask->words = n <= BERTH_ASK_WORDS ? ask->inline_words : g_new(BerthSymbol, n);
    Words words = {&snapshot->symbols, ask->words};
    ask->features = add_names(&words, request->cpu_features, request->n_cpu_features);
    ask->networks = add_names(&words, request->networks, request->n_networks);
    ask->disks = add_amounts(&words, request->disks, request->n_disks);
    ask->counts = add_amounts(&words, request->counts, request->n_counts);
    add_devices(ask, &words);
    add_selectors(ask, &words);
    add_relations(ask, &words);
    add_tolerations(ask, &words);
    add_labels(ask, &words);
    set_amounts(ask);
    ask->scale = berth_mix_scale(snapshot->mix, ask);
    ask->project = berth_symbols_intern(&snapshot->symbols, request->project);
    ask->group = berth_symbols_intern(&snapshot->symbols, request->group);
    ask->arch = berth_symbols_intern(&snapshot->symbols, request->arch);
    ask->cpu_model = berth_symbols_intern(&snapshot->symbols, request->cpu_model);
    ask->machine = berth_symbols_intern(&snapshot->symbols, request->machine);
    ask->image = berth_symbols_intern(&snapshot->symbols, request->image);
    ask->host = BERTH_HOST_NONE;
    if (request->n_spreads > 0) {
        ask->spread_least = g_new(guint, request->n_spreads);
        for (guint i = 0; i < request->n_spreads; i++) {
            ask->spread_least[i] = least_in_a_place(ask, i);
        }
    }
    for (guint i = 0; i < request->n_relations; i++) {
        if (request->relations[i].group == NULL) {
            ask->labelled =
                ask->labelled != NULL ? ask->labelled : g_new0(GHashTable *, request->n_relations);
            ask->labelled[i] = berth_relation_list_labelled(ask, i);
        }
    }
    ask->kept_apart = berth_aparts_list_places(ask);
    if (request->host != NULL) {
        ask->host = berth_snapshot_find_host(snapshot, request->host);
        ask->host_unknown = ask->host == BERTH_HOST_NONE;
    }
}

/**
 * berth_ask_init_for_decision:
 *
 * As berth_ask_init, after what the mix learned meanwhile is brought to bear.
 */
void
berth_ask_init_for_decision(BerthAsk *ask, BerthSnapshot *snapshot, const BerthRequest *request)
{
    if (berth_mix_refresh(snapshot->mix, snapshot)) {
        berth_index_forget(snapshot->index);
    }
    berth_ask_init(ask, snapshot, request);
}

void
berth_ask_clear(BerthAsk *ask)
{
    if (ask->words != ask->inline_words) {
        g_free(ask->words);
    }
    ask->words = NULL;
    g_clear_pointer(&ask->spread_least, g_free);
    for (guint i = 0; ask->labelled != NULL && i < ask->request->n_relations; i++) {
        g_clear_pointer(&ask->labelled[i], g_hash_table_unref);
    }
    g_clear_pointer(&ask->labelled, g_free);
    g_clear_pointer(&ask->kept_apart, g_array_unref);
}
