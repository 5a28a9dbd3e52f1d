/* See holdings.h. Sums and sets of its own: nothing of the ledger or the scheduler is used. */
#include "tests/simulation/holdings.h"

#include "model/kinds.h"
#include "tests/simulation/oracle.h"

#include <string.h>

gboolean
holdings_has_any(const BerthObject *workload)
{
    const BerthWorkload *spec = berth_workload_of(workload);
    return (spec->devices != NULL && spec->devices->len > 0) || spec->dedicated_cpus ||
           spec->huge_pages_kib > 0 || spec->numa != 0 || spec->placement.anti_affinity != NULL;
}

gint64
holdings_huge_mib(const BerthObject *workload)
{
    const BerthWorkload *spec = berth_workload_of(workload);
    return spec->huge_pages_kib > 0 ? spec->memory_mib : 0;
}

/* Each of @list, as "a,b,c", is taken once. */
static void
take_all(GHashTable *taken, const char *list, const char *what, const char *where)
{
    g_auto(GStrv) parts = list == NULL ? NULL : g_strsplit(list, ",", -1);
    for (guint i = 0; parts != NULL && parts[i] != NULL; i++) {
        if (!g_hash_table_add(taken, g_strdup(parts[i]))) {
            oracle_violate("%s %s of %s is of two guests", what, parts[i], where);
        }
    }
}

/* Whether @cpuset, as libvirt writes it, has @cpu. */
static gboolean
has_cpu(const char *cpuset, guint64 cpu)
{
    g_auto(GStrv) ranges = g_strsplit(cpuset, ",", -1);
    for (guint i = 0; ranges[i] != NULL; i++) {
        char *dash = NULL;
        guint64 first = g_ascii_strtoull(ranges[i], &dash, 10), last = first;
        if (*dash == '-') {
            last = g_ascii_strtoull(dash + 1, NULL, 10);
        }
        if (first <= cpu && cpu <= last) {
            return TRUE;
        }
    }
    return FALSE;
}

/* CPUs that are one guest's own are in nobody else's set. */
static void
check_shared(const SimMachine *machine, const GPtrArray *domains, GHashTable *pinned)
{
    for (guint i = 0; i < domains->len; i++) {
        const BerthDomainPlan *plan = ((const SimDomain *)domains->pdata[i])->definition->plan;
        GHashTableIter iter;
        gpointer cpu;
        g_hash_table_iter_init(&iter, pinned);
        while (plan->pins == NULL && g_hash_table_iter_next(&iter, &cpu, NULL)) {
            if (plan->cpuset == NULL || has_cpu(plan->cpuset, g_ascii_strtoull(cpu, NULL, 10))) {
                oracle_violate("CPU %s of %s is another guest's own, and %s may use it",
                               (char *)cpu, machine->name, plan->name);
            }
        }
    }
}

void
holdings_check_machine(const SimMachine *machine, const GPtrArray *domains)
{
    g_autoptr(GHashTable) devices = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_autoptr(GHashTable) cpus = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    guint64 pages = 0, there = (guint64)machine->size.huge_pages * machine->size.cells;
    for (guint i = 0; i < domains->len; i++) {
        const BerthDomainPlan *plan = ((const SimDomain *)domains->pdata[i])->definition->plan;
        take_all(devices, plan->host_devices, "device", machine->name);
        take_all(cpus, plan->pins, "CPU", machine->name);
        pages += plan->huge_pages_kib > 0 ? plan->memory_mib * 1024 / plan->huge_pages_kib : 0;
    }
    check_shared(machine, domains, cpus);
    if (pages > there) {
        oracle_violate("guests on %s have %" G_GUINT64_FORMAT " huge pages of %" G_GUINT64_FORMAT,
                       machine->name, pages, there);
    }
}

/* ---- by the records ---------------------------------------------------------------------------- */

static void
check_apart(const BerthObject *a, const BerthObject *b)
{
    char **apart = berth_workload_of(a)->placement.anti_affinity;
    if (a != b && apart != NULL && strcmp(a->project, b->project) == 0 &&
        g_strv_contains((const char *const *)apart, b->name)) {
        oracle_violate("%s must be apart from %s, and both are on %s", a->name, b->name,
                       berth_workload_status_of(a)->host);
    }
}

/* Those of the placement that are recorded, as many as were asked for, each of one workload. */
static void
take_recorded(GHashTable *taken, const BerthObject *workload, const char *member, gint64 wanted)
{
    const json_t *list = json_object_get(berth_workload_status_of(workload)->placement, member);
    if (wanted > 0 && (gint64)json_array_size(list) != wanted) {
        oracle_violate("%s has %zu %s of %" G_GINT64_FORMAT, workload->name, json_array_size(list),
                       member, wanted);
    }
    for (size_t i = 0; wanted > 0 && i < json_array_size(list); i++) {
        g_autofree char *text = json_dumps(json_array_get(list, i), JSON_ENCODE_ANY);
        if (!g_hash_table_add(taken, g_strconcat(member, text, NULL))) {
            oracle_violate("%s of %s is recorded for two", text,
                           berth_workload_status_of(workload)->host);
        }
    }
}

void
holdings_check_host(const GPtrArray *workloads)
{
    g_autoptr(GHashTable) taken = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (guint i = 0; i < workloads->len; i++) {
        const BerthWorkload *spec = berth_workload_of(workloads->pdata[i]);
        gint64 devices = 0;
        for (guint k = 0; spec->devices != NULL && k < spec->devices->len; k++) {
            devices += ((const BerthDeviceSpec *)spec->devices->pdata[k])->count;
        }
        take_recorded(taken, workloads->pdata[i], "devices", devices);
        take_recorded(taken, workloads->pdata[i], "cpus", spec->dedicated_cpus ? spec->vcpus : 0);
        for (guint k = 0; k < workloads->len; k++) {
            check_apart(workloads->pdata[i], workloads->pdata[k]);
        }
    }
}

/* ---- the host's own record, at rest ------------------------------------------------------------ */

static gint64
sum_used_mib(const GPtrArray *workloads, gint64 *vcpus, gint64 *own_cpus, gint64 *pages,
             gint64 *devices)
{
    gint64 mib = 0;
    *vcpus = *own_cpus = *pages = *devices = 0;
    for (guint i = 0; i < workloads->len; i++) {
        const BerthObject *workload = workloads->pdata[i];
        const BerthWorkload *spec = berth_workload_of(workload);
        gint64 huge = holdings_huge_mib(workload);
        mib += berth_workload_status_of(workload)->used_memory_mib - huge;
        *pages += huge / 2;
        *(spec->dedicated_cpus ? own_cpus : vcpus) += spec->vcpus;
        for (guint k = 0; spec->devices != NULL && k < spec->devices->len; k++) {
            *devices += ((const BerthDeviceSpec *)spec->devices->pdata[k])->count;
        }
    }
    return mib;
}

static gint64
count_taken_devices(const BerthHostStatus *status)
{
    gint64 taken = 0;
    size_t i;
    json_t *device;
    json_array_foreach (status->devices, i, device) {
        taken += json_is_false(json_object_get(device, "free"));
    }
    return taken;
}

/* CPUs in a set as text, "2-3,7". */
static gint64
count_cpus(const char *set)
{
    gint64 n = 0;
    for (guint64 cpu = 0; set != NULL && *set != '\0' && cpu < 256; cpu++) {
        n += has_cpu(set, cpu);
    }
    return n;
}

static gint64
count_taken_cpus(const BerthHostStatus *status)
{
    const json_t *sets = status->dedicated_cpus;
    return count_cpus(json_string_value(json_object_get(sets, "cpus"))) -
           count_cpus(json_string_value(json_object_get(sets, "free")));
}

char *
holdings_find_difference(const BerthObject *host, const GPtrArray *workloads, gint64 foreign_vcpus,
                         gint64 foreign_mib)
{
    const BerthHostStatus *status = host->status_data;
    gint64 vcpus, own_cpus, pages, devices;
    gint64 mib = sum_used_mib(workloads, &vcpus, &own_cpus, &pages, &devices);
    const struct {
        const char *what;
        gint64 said, summed;
    } pairs[] = {
        {"MiB", status->used.memory_mib, mib + foreign_mib},
        {"vCPUs", status->used.vcpus, vcpus + foreign_vcpus},
        {"own CPUs", count_taken_cpus(status), own_cpus},
        {"devices", count_taken_devices(status), devices},
    };
    for (guint i = 0; i < G_N_ELEMENTS(pairs); i++) {
        if (pairs[i].said != pairs[i].summed) {
            return g_strdup_printf("Host/%s says that %" G_GINT64_FORMAT
                                   " %s are used, and its workloads have %" G_GINT64_FORMAT,
                                   host->name, pairs[i].said, pairs[i].what, pairs[i].summed);
        }
    }
    return NULL;
}
