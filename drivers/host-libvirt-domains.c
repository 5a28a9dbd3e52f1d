/* The verbs on domains: listing, defining, power.
 *
 * Invariant: a domain that does not carry the mark of our fleet is never changed; each verb but the
 * reading ones goes through berth_virt_own_domain() first. Workers only; may block.
 * Start at berth_virt_define() and change_power(). */
#include "drivers/host-libvirt-private.h"

#include "drivers/domain-xml.h"

#include <string.h>

/* ---- whose it is ----------------------------------------------------------------------------- */

static gboolean
is_own(virDomainPtr domain, const char *fleet)
{
    char *xml = virDomainGetMetadata(domain, VIR_DOMAIN_METADATA_ELEMENT, BERTH_METADATA_URI, 0);
    g_autoptr(BerthDomainMark) mark = xml != NULL ? berth_domain_mark_parse(xml, NULL) : NULL;
    free(xml);
    return mark != NULL && g_strcmp0(mark->fleet, fleet) == 0;
}

static virDomainPtr
find_domain(virConnectPtr connection, const char *uuid, GError **error)
{
    virDomainPtr domain = virDomainLookupByUUIDString(connection, uuid != NULL ? uuid : "");
    if (domain == NULL) {
        if (berth_virt_last_code() == VIR_ERR_NO_DOMAIN) {
            berth_error_set(error, BERTH_ERROR_NOT_FOUND, "there is no domain '%s'", uuid);
        } else {
            berth_virt_error(error, "can't look for domain '%s'", uuid);
        }
    }
    return domain;
}

/* Returns: (transfer full): the domain; NOT_FOUND, or DENIED when it is not marked as @fleet's. */
virDomainPtr
berth_virt_own_domain(virConnectPtr connection, const char *fleet, const char *uuid, GError **error)
{
    g_autoptr(BerthVirDomain) domain = find_domain(connection, uuid, error);
    if (domain == NULL) {
        return NULL;
    }
    if (!is_own(domain, fleet)) {
        berth_error_set(error, BERTH_ERROR_DENIED,
                        "domain '%s' (%s) was not made by this fleet and is left alone",
                        virDomainGetName(domain), uuid);
        return NULL;
    }
    return g_steal_pointer(&domain);
}

/* ---- reading --------------------------------------------------------------------------------- */

static BerthDomainState
state_of(int state, int reason)
{
    switch (state) {
    case VIR_DOMAIN_RUNNING:
    case VIR_DOMAIN_BLOCKED:
        return BERTH_DOMAIN_RUNNING;
    case VIR_DOMAIN_PAUSED:
        return reason == VIR_DOMAIN_PAUSED_MIGRATION || reason == VIR_DOMAIN_PAUSED_POSTCOPY ||
                       reason == VIR_DOMAIN_PAUSED_POSTCOPY_FAILED
                   ? BERTH_DOMAIN_MIGRATING
                   : BERTH_DOMAIN_PAUSED;
    case VIR_DOMAIN_SHUTDOWN:
        return BERTH_DOMAIN_SHUTTING_DOWN;
    case VIR_DOMAIN_CRASHED:
        return BERTH_DOMAIN_CRASHED;
    case VIR_DOMAIN_PMSUSPENDED:
        return BERTH_DOMAIN_SUSPENDED;
    default:
        return BERTH_DOMAIN_SHUTOFF;
    }
}

/* @state_reason: of VIR_DOMAIN_SHUTOFF. */
BerthStopReason
berth_virt_stop_reason(int state_reason)
{
    switch (state_reason) {
    case VIR_DOMAIN_SHUTOFF_SHUTDOWN:
        return BERTH_STOP_SHUTDOWN;
    case VIR_DOMAIN_SHUTOFF_DESTROYED:
        return BERTH_STOP_DESTROYED;
    case VIR_DOMAIN_SHUTOFF_CRASHED:
        return BERTH_STOP_CRASHED;
    case VIR_DOMAIN_SHUTOFF_MIGRATED:
        return BERTH_STOP_MIGRATED;
    case VIR_DOMAIN_SHUTOFF_SAVED:
        return BERTH_STOP_SAVED;
    case VIR_DOMAIN_SHUTOFF_FAILED:
        return BERTH_STOP_FAILED;
    default:
        return BERTH_STOP_UNKNOWN;
    }
}

static void
read_stats(BerthDomain *domain, virDomainStatsRecordPtr record)
{
    int state = VIR_DOMAIN_SHUTOFF, reason = 0;
    unsigned long long cpu_time = 0, rss = 0;
    virTypedParamsGetInt(record->params, record->nparams, "state.state", &state);
    virTypedParamsGetInt(record->params, record->nparams, "state.reason", &reason);
    virTypedParamsGetULLong(record->params, record->nparams, "cpu.time", &cpu_time);
    virTypedParamsGetULLong(record->params, record->nparams, "balloon.rss", &rss);
    domain->state = state_of(state, reason);
    domain->stop_reason =
        state == VIR_DOMAIN_SHUTOFF ? berth_virt_stop_reason(reason) : BERTH_STOP_UNKNOWN;
    domain->cpu_time_ns = cpu_time;
    domain->rss_kib = rss;
}

/* Returns: NULL when the domain vanished meanwhile, without @error; or can't be read, with. */
static BerthDomain *
read_domain(virDomainStatsRecordPtr record, GError **error)
{
    char *xml = virDomainGetXMLDesc(record->dom, 0);
    if (xml == NULL) {
        if (berth_virt_last_code() != VIR_ERR_NO_DOMAIN) {
            berth_virt_error(error, "can't read domain '%s'", virDomainGetName(record->dom));
        }
        return NULL;
    }
    BerthDomain *domain = berth_domain_xml_parse(xml, error);
    free(xml);
    if (domain != NULL) {
        read_stats(domain, record);
    }
    return domain;
}

/* NOWAIT: a domain whose monitor hangs is told without what only QEMU knows. */
#define STATS (VIR_DOMAIN_STATS_STATE | VIR_DOMAIN_STATS_CPU_TOTAL | VIR_DOMAIN_STATS_BALLOON)

/* One call for all domains of a kind, instead of one for each. Returns: set of UUIDs. */
static GHashTable *
list_uuids(virConnectPtr connection, unsigned int flags, GError **error)
{
    virDomainPtr *domains = NULL;
    int count = virConnectListAllDomains(connection, &domains, flags);
    if (count < 0) {
        berth_virt_error(error, "can't list domains");
        return NULL;
    }
    GHashTable *uuids = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    for (int i = 0; i < count; i++) {
        char uuid[VIR_UUID_STRING_BUFLEN];
        if (virDomainGetUUIDString(domains[i], uuid) == 0) {
            g_hash_table_add(uuids, g_strdup(uuid));
        }
        virDomainFree(domains[i]);
    }
    free(domains);
    return uuids;
}

static gboolean
add_domains(virConnectPtr connection, virDomainStatsRecordPtr *records, GPtrArray *domains,
            GError **error)
{
    g_autoptr(GHashTable) autostarted =
        list_uuids(connection, VIR_CONNECT_LIST_DOMAINS_AUTOSTART, error);
    if (autostarted == NULL) {
        return FALSE;
    }
    g_autoptr(GHashTable) transient =
        list_uuids(connection, VIR_CONNECT_LIST_DOMAINS_TRANSIENT, error);
    if (transient == NULL) {
        return FALSE;
    }
    for (; *records != NULL; records++) {
        g_autoptr(GError) problem = NULL;
        BerthDomain *domain = read_domain(*records, &problem);
        if (problem != NULL) {
            g_propagate_error(error, g_steal_pointer(&problem));
            return FALSE;
        }
        if (domain != NULL) {
            domain->persistent = !g_hash_table_contains(transient, domain->uuid);
            domain->autostart = g_hash_table_contains(autostarted, domain->uuid);
            g_ptr_array_add(domains, domain);
        }
    }
    return TRUE;
}

gboolean
berth_virt_domain_list(BerthVirtLine *line, const BerthHostCall *call, BerthHostReply *reply,
                       GError **error)
{
    virDomainStatsRecordPtr *records = NULL;
    if (virConnectGetAllDomainStats(line->connection, STATS, &records,
                                    VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT) < 0) {
        berth_virt_error(error, "can't list domains");
        return FALSE;
    }
    g_autoptr(GPtrArray) domains =
        g_ptr_array_new_with_free_func((GDestroyNotify)berth_domain_free);
    gboolean done = add_domains(line->connection, records, domains, error);
    virDomainStatsRecordListFree(records);
    if (done) {
        reply->domains = g_steal_pointer(&domains);
    }
    return done;
}

gboolean
berth_virt_domain_get(BerthVirtLine *line, const BerthHostCall *call, BerthHostReply *reply,
                      GError **error)
{
    g_autoptr(BerthVirDomain) found = find_domain(line->connection, call->uuid, error);
    if (found == NULL) {
        return FALSE;
    }
    virDomainPtr one[] = {found, NULL};
    virDomainStatsRecordPtr *records = NULL;
    if (virDomainListGetStats(one, STATS, &records, VIR_CONNECT_GET_ALL_DOMAINS_STATS_NOWAIT) < 0) {
        berth_virt_error(error, "can't read domain '%s'", call->uuid);
        return FALSE;
    }
    g_autoptr(GError) problem = NULL;
    BerthDomain *domain = records[0] != NULL ? read_domain(records[0], &problem) : NULL;
    virDomainStatsRecordListFree(records);
    if (domain == NULL) {
        if (problem == NULL) {
            berth_error_set(&problem, BERTH_ERROR_NOT_FOUND, "there is no domain '%s'", call->uuid);
        }
        g_propagate_error(error, g_steal_pointer(&problem));
        return FALSE;
    }
    int autostart = 0;
    virDomainGetAutostart(found, &autostart); /* a transient domain has none */
    domain->autostart = autostart != 0;
    domain->persistent = virDomainIsPersistent(found) == 1;
    reply->domains = g_ptr_array_new_with_free_func((GDestroyNotify)berth_domain_free);
    g_ptr_array_add(reply->domains, domain);
    return TRUE;
}

gboolean
berth_virt_domain_xml(BerthVirtLine *line, const BerthHostCall *call, BerthHostReply *reply,
                      GError **error)
{
    g_autoptr(BerthVirDomain) domain = find_domain(line->connection, call->uuid, error);
    char *xml = domain != NULL ? virDomainGetXMLDesc(domain, 0) : NULL;
    if (domain != NULL && xml == NULL) {
        berth_virt_error(error, "can't read domain '%s'", call->uuid);
    }
    reply->text = g_strdup(xml);
    free(xml);
    return reply->text != NULL;
}

/* ---- define, undefine ------------------------------------------------------------------------ */

static gboolean
find_boot_files(BerthVirtLine *line, const BerthDomainPlan *plan, char **kernel, char **initrd,
                GError **error)
{
    if (plan->kernel_volume != NULL) {
        *kernel =
            berth_virt_volume_path(line->connection, plan->kernel_pool, plan->kernel_volume, error);
        if (*kernel == NULL) {
            return FALSE;
        }
    }
    if (plan->initrd_volume != NULL) {
        *initrd =
            berth_virt_volume_path(line->connection, plan->kernel_pool, plan->initrd_volume, error);
        if (*initrd == NULL) {
            return FALSE;
        }
    }
    return TRUE;
}

/* libvirt would redefine a domain of the same UUID and name without a word. */
static gboolean
check_uuid_is_free_or_own(BerthVirtLine *line, const char *uuid, GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_autoptr(BerthVirDomain) domain =
        berth_virt_own_domain(line->connection, line->fleet, uuid, &problem);
    if (domain != NULL || g_error_matches(problem, BERTH_ERROR, BERTH_ERROR_NOT_FOUND)) {
        return TRUE;
    }
    if (g_error_matches(problem, BERTH_ERROR, BERTH_ERROR_DENIED)) {
        problem->code = BERTH_ERROR_EXISTS;
    }
    g_propagate_error(error, g_steal_pointer(&problem));
    return FALSE;
}

/* libvirt has no code for "the name is taken by another UUID": look. */
static void
set_define_error(BerthVirtLine *line, const BerthDomainPlan *plan, GError **error)
{
    g_autoptr(GError) problem = NULL;
    berth_virt_error(&problem, "can't define domain '%s'", plan->name);
    g_autoptr(BerthVirDomain) other = virDomainLookupByName(line->connection, plan->name);
    char uuid[VIR_UUID_STRING_BUFLEN] = "";
    if (other != NULL && virDomainGetUUIDString(other, uuid) == 0 &&
        strcmp(uuid, plan->uuid) != 0) {
        problem->code = BERTH_ERROR_EXISTS;
    }
    g_propagate_error(error, g_steal_pointer(&problem));
}

gboolean
berth_virt_define(BerthVirtLine *line, const BerthHostCall *call, BerthHostReply *reply,
                  GError **error)
{
    const BerthDomainPlan *plan = call->plan;
    g_autofree char *kernel = NULL, *initrd = NULL;
    if (plan->uuid == NULL || !check_uuid_is_free_or_own(line, plan->uuid, error) ||
        !find_boot_files(line, plan, &kernel, &initrd, error)) {
        return FALSE;
    }
    g_autofree char *xml = berth_domain_xml_format(plan, kernel, initrd, error);
    if (xml == NULL) {
        return FALSE;
    }
    g_autoptr(BerthVirDomain) domain = virDomainDefineXMLFlags(line->connection, xml, 0);
    if (domain == NULL) {
        set_define_error(line, plan, error);
        return FALSE;
    }
    int autostart = 0;
    virDomainGetAutostart(domain, &autostart);
    if ((autostart != 0) != (plan->autostart != FALSE) &&
        virDomainSetAutostart(domain, plan->autostart) < 0) {
        berth_virt_error(error, "can't set autostart of domain '%s'", plan->name);
        return FALSE;
    }
    return TRUE;
}

/* An absent domain is what undefine and destroy want. */
static gboolean
forgive_absence(GError **problem, GError **error)
{
    if (g_error_matches(*problem, BERTH_ERROR, BERTH_ERROR_NOT_FOUND)) {
        return TRUE;
    }
    g_propagate_error(error, g_steal_pointer(problem));
    return FALSE;
}

gboolean
berth_virt_undefine(BerthVirtLine *line, const BerthHostCall *call, BerthHostReply *reply,
                    GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_autoptr(BerthVirDomain) domain =
        berth_virt_own_domain(line->connection, line->fleet, call->uuid, &problem);
    if (domain == NULL) {
        return forgive_absence(&problem, error);
    }
    if (virDomainIsActive(domain) == 1) {
        berth_error_set(error, BERTH_ERROR_CONFLICT,
                        "domain '%s' still runs: destroy it before it is undefined",
                        virDomainGetName(domain));
        return FALSE;
    }
    unsigned int flags = VIR_DOMAIN_UNDEFINE_MANAGED_SAVE | VIR_DOMAIN_UNDEFINE_NVRAM |
                         VIR_DOMAIN_UNDEFINE_SNAPSHOTS_METADATA |
                         VIR_DOMAIN_UNDEFINE_CHECKPOINTS_METADATA;
    if (virDomainUndefineFlags(domain, flags) < 0 && berth_virt_last_code() != VIR_ERR_NO_DOMAIN) {
        berth_virt_error(error, "can't undefine domain '%s'", virDomainGetName(domain));
        return FALSE;
    }
    return TRUE;
}

/* ---- power ----------------------------------------------------------------------------------- */

/* Does one thing to an own domain. When libvirt refuses because of the domain's state and the domain
 * is @wanted_active already, the thing was done before. @wanted_active -1: no such state. */
static gboolean
change_power(BerthVirtLine *line, const BerthHostCall *call, int (*change)(virDomainPtr),
             int wanted_active, GError **error)
{
    g_autoptr(BerthVirDomain) domain =
        berth_virt_own_domain(line->connection, line->fleet, call->uuid, error);
    if (domain == NULL) {
        return FALSE;
    }
    if (change(domain) == 0) {
        return TRUE;
    }
    g_autoptr(GError) problem = NULL;
    int code = berth_virt_last_code();
    if (code == VIR_ERR_NO_DOMAIN) {
        berth_error_set(error, BERTH_ERROR_NOT_FOUND, "there is no domain '%s'", call->uuid);
        return FALSE;
    }
    berth_virt_error(&problem, "can't %s domain '%s'", berth_host_verb_name(call->verb),
                     virDomainGetName(domain));
    if (code == VIR_ERR_OPERATION_INVALID && wanted_active >= 0 &&
        virDomainIsActive(domain) == wanted_active) {
        return TRUE;
    }
    g_propagate_error(error, g_steal_pointer(&problem));
    return FALSE;
}

gboolean
berth_virt_start(BerthVirtLine *line, const BerthHostCall *call, BerthHostReply *reply,
                 GError **error)
{
    return change_power(line, call, virDomainCreate, 1, error);
}

/* By ACPI: asking the guest's agent could wait for an answer that never comes. */
static int
press_power_button(virDomainPtr domain)
{
    return virDomainShutdownFlags(domain, VIR_DOMAIN_SHUTDOWN_ACPI_POWER_BTN);
}

gboolean
berth_virt_shutdown(BerthVirtLine *line, const BerthHostCall *call, BerthHostReply *reply,
                    GError **error)
{
    return change_power(line, call, press_power_button, 0, error);
}

static int
reboot_by_button(virDomainPtr domain)
{
    return virDomainReboot(domain, VIR_DOMAIN_REBOOT_ACPI_POWER_BTN);
}

gboolean
berth_virt_reboot(BerthVirtLine *line, const BerthHostCall *call, BerthHostReply *reply,
                  GError **error)
{
    return change_power(line, call, reboot_by_button, -1, error);
}

static int
press_reset(virDomainPtr domain)
{
    return virDomainReset(domain, 0);
}

gboolean
berth_virt_reset(BerthVirtLine *line, const BerthHostCall *call, BerthHostReply *reply,
                 GError **error)
{
    return change_power(line, call, press_reset, -1, error);
}

gboolean
berth_virt_destroy(BerthVirtLine *line, const BerthHostCall *call, BerthHostReply *reply,
                   GError **error)
{
    g_autoptr(GError) problem = NULL;
    return change_power(line, call, virDomainDestroy, 0, &problem) ||
           forgive_absence(&problem, error);
}

static gboolean
read_state(BerthVirtLine *line, const BerthHostCall *call, BerthDomainState *state, GError **error)
{
    g_autoptr(BerthVirDomain) domain =
        berth_virt_own_domain(line->connection, line->fleet, call->uuid, error);
    int found = 0, reason = 0;
    if (domain == NULL) {
        return FALSE;
    }
    if (virDomainGetState(domain, &found, &reason, 0) < 0) {
        berth_virt_error(error, "can't read the state of domain '%s'", call->uuid);
        return FALSE;
    }
    *state = state_of(found, reason);
    return TRUE;
}

static gboolean
refuse_state(const BerthHostCall *call, const char *why, GError **error)
{
    berth_error_set(error, BERTH_ERROR_CONFLICT, "can't %s domain '%s': %s",
                    berth_host_verb_name(call->verb), call->uuid, why);
    return FALSE;
}

gboolean
berth_virt_suspend(BerthVirtLine *line, const BerthHostCall *call, BerthHostReply *reply,
                   GError **error)
{
    BerthDomainState state;
    if (!read_state(line, call, &state, error)) {
        return FALSE;
    }
    if (state == BERTH_DOMAIN_PAUSED) {
        return TRUE;
    }
    if (state != BERTH_DOMAIN_RUNNING) {
        return refuse_state(call, "it does not run", error);
    }
    return change_power(line, call, virDomainSuspend, -1, error);
}

/* A domain that a migration paused may run elsewhere already: only who knows the other side decides. */
gboolean
berth_virt_resume(BerthVirtLine *line, const BerthHostCall *call, BerthHostReply *reply,
                  GError **error)
{
    BerthDomainState state;
    if (!read_state(line, call, &state, error)) {
        return FALSE;
    }
    if (state == BERTH_DOMAIN_RUNNING) {
        return TRUE;
    }
    if (state == BERTH_DOMAIN_MIGRATING) {
        return refuse_state(call, "a migration paused it, and it may run on another host", error);
    }
    if (state != BERTH_DOMAIN_PAUSED) {
        return refuse_state(call, "it is not paused", error);
    }
    return change_power(line, call, virDomainResume, -1, error);
}
