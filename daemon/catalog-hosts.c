/* Which workloads name a host in their record, without a walk over all of them: each host is asked at every turn
 * of its life. Invariant: a workload of the trees is in the set of `status.host` and in that of
 * `status.preempting.host`, and in no other. Main loop. */
#include "daemon/catalog-private.h"

#include "model/workload.h"

#include <string.h>

/* Pods before VMs, then by project and name. */
static int
compare_workloads(gconstpointer a, gconstpointer b, gpointer unused)
{
    const BerthObject *one = a, *other = b;
    int order = one->kind != other->kind ? strcmp(one->kind->plural, other->kind->plural)
                                         : strcmp(one->project, other->project);
    return order != 0 ? order : strcmp(one->name, other->name);
}

static void
free_set(gpointer set)
{
    g_tree_unref(set);
}

void
catalog_hosts_init(BerthCatalog *catalog)
{
    catalog->by_host = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_set);
}

static void
leave(BerthCatalog *catalog, const char *host, const BerthObject *object)
{
    GTree *set = host != NULL ? g_hash_table_lookup(catalog->by_host, host) : NULL;
    if (set != NULL && g_tree_remove(set, object) && g_tree_nnodes(set) == 0) {
        g_hash_table_remove(catalog->by_host, host);
    }
}

static void
join(BerthCatalog *catalog, const char *host, BerthObject *object)
{
    if (host == NULL) {
        return;
    }
    GTree *set = g_hash_table_lookup(catalog->by_host, host);
    if (set == NULL) {
        set = g_tree_new_full(compare_workloads, NULL, NULL, NULL);
        g_hash_table_insert(catalog->by_host, g_strdup(host), set);
    }
    g_tree_replace(set, object, object);
}

/** A change enters the trees; @before (nullable) is alive still, @after (nullable) already. */
void
catalog_hosts_changed(BerthCatalog *catalog, const BerthObject *before, BerthObject *after)
{
    if (!(after != NULL ? after : before)->kind->workload) {
        return;
    }
    if (before != NULL) {
        const BerthWorkloadStatus *status = berth_workload_status_of(before);
        leave(catalog, status->host, before);
        leave(catalog, status->preempting.host, before);
    }
    if (after != NULL) {
        const BerthWorkloadStatus *status = berth_workload_status_of(after);
        join(catalog, status->host, after);
        join(catalog, status->preempting.host, after);
    }
}

static gboolean
add_to_list(gpointer object, gpointer unused, gpointer list)
{
    g_ptr_array_add(list, berth_object_ref(object));
    return FALSE;
}

/** See the header. */
GPtrArray *
berth_catalog_list_naming(const BerthCatalog *catalog, const char *host)
{
    GPtrArray *list = g_ptr_array_new_with_free_func((GDestroyNotify)berth_object_unref);
    GTree *set = g_hash_table_lookup(catalog->by_host, host);
    if (set != NULL) {
        g_tree_foreach(set, add_to_list, list);
    }
    return list;
}

/** See the header. */
guint
berth_catalog_count_on(const BerthCatalog *catalog, const BerthKind *kind, const char *host)
{
    g_autoptr(GPtrArray) list = berth_catalog_list_naming(catalog, host);
    guint count = 0;
    for (guint i = 0; i < list->len; i++) {
        const BerthObject *object = list->pdata[i];
        count += (kind == NULL || object->kind == kind) &&
                 g_strcmp0(berth_workload_status_of(object)->host, host) == 0;
    }
    return count;
}
