/* Which changes of a Host document are taken: those that leave every guest there what it has. Main loop
 * only; changes nothing. Start at berth_host_admit(). */
#include "daemon/control.h"

#include "base/error.h"
#include "base/json.h"

/* How many workloads are on @host, or are about to be: charged, or claimed by their records. @one: (out): a name */
static guint
count_guests(BerthControl *control, const char *host, const char **one)
{
    static const BerthKind *const kinds[] = {&berth_kind_pod, &berth_kind_vm};
    guint count = 0;
    for (guint i = 0; i < G_N_ELEMENTS(kinds); i++) {
        BerthCatalogIter iter;
        berth_catalog_iter_init(&iter, control->catalog, kinds[i], NULL);
        for (BerthObject *object; (object = berth_catalog_iter_next(&iter)) != NULL;) {
            if (g_strcmp0(berth_ledger_host_of(control->ledger, object->uid), host) == 0 ||
                berth_host_controller_is_claimed(host, object)) {
                *one = object->name;
                count++;
            }
        }
    }
    return count;
}

/* The CPUs of @inventory that @set leaves to the others must not be none, and the others must be there. */
static gboolean
check_cpus_are_there(const json_t *inventory, const BerthCpuSet *set, GError **error)
{
    BerthCpuSet all = {{0}}, there, missing = *set;
    size_t i;
    json_t *cell;
    json_array_foreach (json_object_get(inventory, "cells"), i, cell) {
        const char *text = berth_json_string(cell, "cpu_set");
        if (text != NULL && berth_cpu_set_parse(text, &there, NULL)) {
            berth_cpu_set_join(&all, &there);
        }
    }
    g_autofree char *has = berth_cpu_set_format(&all);
    berth_cpu_set_take_out(&missing, &all);
    berth_cpu_set_take_out(&all, set);
    if (*has != '\0' && berth_cpu_set_count(&missing) > 0) {
        g_autofree char *lacks = berth_cpu_set_format(&missing);
        berth_error_set_at(error, BERTH_ERROR_INVALID, "/spec/dedicated_cpus",
                           "name CPUs that it has", "the host has CPUs %s, not %s", has, lacks);
        return FALSE;
    }
    if (*has != '\0' && berth_cpu_set_count(&all) == 0) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, "/spec/dedicated_cpus",
                           "leave one out at least", "no CPU is left for the host itself");
        return FALSE;
    }
    return TRUE;
}

/* Guests keep the CPUs that they were started with, so the set stays while there are any. */
static gboolean
check_dedicated_cpus(BerthControl *control, const BerthObject *object, GError **error)
{
    const BerthObject *before =
        berth_catalog_get(control->catalog, &berth_kind_host, NULL, object->name);
    const char *old = before != NULL ? ((BerthHostSpec *)before->spec_data)->dedicated_cpus : NULL;
    const char *text = ((const BerthHostSpec *)object->spec_data)->dedicated_cpus, *guest = NULL;
    BerthCpuSet set;
    if (before == NULL || g_strcmp0(old, text) == 0) {
        return TRUE;
    }
    guint guests = count_guests(control, object->name, &guest);
    if (guests > 0) {
        berth_error_set_at(
            error, BERTH_ERROR_CONFLICT, "/spec/dedicated_cpus",
            "cordon the host and stop or move them first",
            "%u workload%s on it, such as '%s', %s started with the CPUs as they are", guests,
            guests == 1 ? "" : "s", guest, guests == 1 ? "was" : "were");
        return FALSE;
    }
    return text == NULL ||
           (berth_cpu_set_parse(text, &set, error) &&
            check_cpus_are_there(((BerthHostStatus *)before->status_data)->inventory, &set, error));
}

/* A guest keeps the devices that it has: they stay offered while it does. */
static gboolean
check_devices(BerthControl *control, const BerthObject *object, GError **error)
{
    const BerthObject *before =
        berth_catalog_get(control->catalog, &berth_kind_host, NULL, object->name);
    const json_t *inventory =
        before != NULL ? ((BerthHostStatus *)before->status_data)->inventory : NULL;
    const char *lost = berth_ledger_lost_device(control->ledger, object, inventory);
    if (lost != NULL) {
        berth_error_set_at(error, BERTH_ERROR_CONFLICT, "/spec/devices",
                           "stop who has it first: 'berth get pod,vm -o wide' shows who is there",
                           "a guest has %s, which would be offered no more", lost);
    }
    return lost == NULL;
}

/** Returns: whether the document @object of a Host may replace what is recorded; else @error with place and remedy. */
gboolean
berth_host_admit(BerthControl *control, const BerthObject *object, GError **error)
{
    const BerthHostSpec *spec = object->spec_data;
    g_autoptr(BerthHostUri) uri = berth_host_uri_parse(spec->uri, error);
    return uri != NULL && berth_host_access_check(control->access, uri, error) &&
           check_dedicated_cpus(control, object, error) && check_devices(control, object, error);
}
