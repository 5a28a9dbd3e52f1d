/* Unmanaged domains: those that Berth did not make, and *lost* ones: they carry this fleet's mark, but no
 * record has their uid, as after an older backup was put back. Both are shown and charged from the first
 * listing on, and neither is ever changed or deleted. Main loop only. */
#include "daemon/unmanaged.h"

#include <string.h>

/** Whether a marked @domain is host prepare's own. */
gboolean
berth_domain_is_probe(const BerthDomain *domain)
{
    return g_strcmp0(domain->mark->kind, "Probe") == 0;
}

/** Whether @domain is this fleet's, but from a time that the store does not know. */
gboolean
berth_domain_is_lost(BerthControl *control, const BerthDomain *domain)
{
    return berth_fleet_is_ours(control->fleet, domain) && !berth_domain_is_probe(domain) &&
           berth_catalog_get_uid(control->catalog, domain->mark->uid) == NULL;
}

gboolean
berth_domain_is_unmanaged(BerthControl *control, const BerthDomain *domain)
{
    return !berth_fleet_is_ours(control->fleet, domain) || berth_domain_is_lost(control, domain);
}

/* Its maximum: it may grow to that without asking us. A lost one can't: who grows ours is Berth. */
static void
measure(BerthControl *control, const BerthDomain *domain, guint *vcpus, gint64 *memory_mib)
{
    gboolean lost = berth_domain_is_lost(control, domain);
    *vcpus = lost ? domain->vcpus : domain->vcpus_max;
    *memory_mib = (gint64)((lost ? domain->memory_kib : domain->memory_max_kib) / 1024);
}

static const char *
state_name(BerthDomainState state)
{
    static const char *const names[] = {"shut off", "running",     "paused",   "in shutdown",
                                        "crashed",  "pmsuspended", "migrating"};
    return names[state];
}

/** Returns: (transfer full): the unmanaged domains of @host in order of UUID, as status.foreign. */
json_t *
berth_unmanaged_list(BerthControl *control, BerthFleetHost *host)
{
    json_t *list = json_array();
    g_autoptr(GList) uuids =
        g_list_sort(g_hash_table_get_keys(host->domains), (GCompareFunc)strcmp);
    for (GList *next = uuids; next != NULL; next = next->next) {
        const BerthDomain *domain = berth_fleet_domain(host, next->data);
        guint vcpus;
        gint64 memory_mib;
        if (berth_domain_is_unmanaged(control, domain)) {
            measure(control, domain, &vcpus, &memory_mib);
            json_array_append_new(
                list, json_pack("{s:s, s:s, s:s, s:I, s:I}", "uuid", domain->uuid, "name",
                                domain->name, "state", state_name(domain->state), "vcpus",
                                (json_int_t)vcpus, "memory_mib", (json_int_t)memory_mib));
        }
    }
    return list;
}

/** Whether a lost domain is on @host: then nobody knows which files it runs from. */
gboolean
berth_unmanaged_has_lost(BerthControl *control, BerthFleetHost *host)
{
    GHashTableIter iter;
    gpointer domain;
    g_hash_table_iter_init(&iter, host->domains);
    while (g_hash_table_iter_next(&iter, NULL, &domain)) {
        if (berth_domain_is_lost(control, domain)) {
            return TRUE;
        }
    }
    return FALSE;
}

/** Records an event for each lost domain on @host. */
void
berth_unmanaged_tell(BerthControl *control, BerthFleetHost *host)
{
    BerthObject *object = berth_catalog_get(control->catalog, &berth_kind_host, NULL, host->name);
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, host->domains);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const BerthDomain *domain = value;
        if (berth_domain_is_lost(control, domain)) {
            berth_catalog_record_event(control->catalog, object, "warning", "UnknownWorkload", NULL,
                                       "domain '%s' carries this fleet's mark, but no record has "
                                       "its uid %s; it is charged and left alone",
                                       domain->name, domain->mark->uid);
        }
    }
}

static char *
charge_prefix(const char *host)
{
    return g_strdup_printf("foreign/%s/", host);
}

/**
 * berth_unmanaged_charge:
 * @charged: set of "foreign/<host>/<uuid>", what is charged now; kept up to date
 *
 * Makes the ledger's charges for @host those of its unmanaged domains.
 */
void
berth_unmanaged_charge(BerthControl *control, BerthFleetHost *host, GHashTable *charged)
{
    g_autofree char *prefix = charge_prefix(host->name);
    GHashTableIter iter;
    gpointer key, value;
    g_hash_table_iter_init(&iter, charged);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        if (!g_str_has_prefix(key, prefix)) {
            continue;
        }
        const BerthDomain *domain = berth_fleet_domain(host, (const char *)key + strlen(prefix));
        if (domain == NULL || !berth_domain_is_unmanaged(control, domain)) {
            berth_ledger_release(control->ledger, key);
            g_hash_table_iter_remove(&iter);
        }
    }
    g_hash_table_iter_init(&iter, host->domains);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const BerthDomain *domain = value;
        guint vcpus;
        gint64 memory_mib;
        if (berth_domain_is_unmanaged(control, domain)) {
            measure(control, domain, &vcpus, &memory_mib);
            berth_ledger_charge_foreign(control->ledger, host->name, domain->uuid, vcpus,
                                        memory_mib);
            g_hash_table_add(charged, g_strconcat(prefix, domain->uuid, NULL));
        }
    }
}

/** Takes back all of these charges for @host. */
void
berth_unmanaged_release(BerthControl *control, const char *host, GHashTable *charged)
{
    g_autofree char *prefix = charge_prefix(host);
    GHashTableIter iter;
    gpointer key;
    g_hash_table_iter_init(&iter, charged);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        if (g_str_has_prefix(key, prefix)) {
            berth_ledger_release(control->ledger, key);
            g_hash_table_iter_remove(&iter);
        }
    }
}
