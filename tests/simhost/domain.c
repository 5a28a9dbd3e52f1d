/* Simulated domains: power, events, and the channels into them. What a domain does by itself can be
 * chosen by its label "simhost": "mute" never answers on its link, "crash" crashes a second after each
 * start, "slow" takes five seconds to boot. Main loop. Start at sim_domain_start(). */
#include "tests/simhost/world.h"

#include "base/error.h"
#include "base/json.h"
#include "drivers/domain-xml.h"

#include <string.h>

/* The most that may wait in a client's socket before its guests are held back. */
#define CHANNEL_ROOM (1024 * 1024)

gboolean
sim_domain_is_active(const SimDomain *domain)
{
    return domain->state != BERTH_DOMAIN_SHUTOFF && domain->state != BERTH_DOMAIN_CRASHED;
}

static gboolean
has_label(const SimDomain *domain, const char *value)
{
    const BerthDomainMark *mark = domain->definition->plan->mark;
    g_autoptr(json_t) labels =
        mark != NULL && mark->labels != NULL ? json_loads(mark->labels, 0, NULL) : NULL;
    return g_strcmp0(berth_json_string(labels, "simhost"), value) == 0;
}

/** Tells every client of the machine. */
void
sim_domain_tell(const SimDomain *domain, BerthDomainEvent event, BerthStopReason reason)
{
    for (guint i = 0; i < domain->machine->peers->len; i++) {
        SimPeer *peer = domain->machine->peers->pdata[i];
        peer->ops->event(peer, domain->definition->plan->uuid, event, reason);
    }
}

/* ---- channels ---------------------------------------------------------------------------------- */

/** Takes the opener off its domain without telling it. */
void
sim_opener_detach(SimOpener *opener)
{
    SimDomain *domain = opener->domain;
    opener->domain = NULL;
    if (domain == NULL) {
        return;
    }
    if (opener->is_console) {
        domain->console = NULL;
    } else {
        domain->link = NULL;
        if (domain->guest != NULL) {
            sim_guest_hang_up(domain->guest);
        }
    }
}

/** Detaches and frees; what destroys the entries of SimPeer.openers. */
void
sim_opener_free(gpointer data)
{
    sim_opener_detach(data);
    g_free(data);
}

static void
end_opener(SimOpener *opener, const GError *error)
{
    opener->peer->ops->closed(opener->peer, opener->number, error);
    sim_opener_detach(opener);
}

static gboolean
take_away(SimOpener *present, gboolean force, GError **error)
{
    if (present == NULL) {
        return TRUE;
    }
    if (!force) {
        berth_error_set(error, BERTH_ERROR_CONFLICT, "somebody else has the channel open");
        return FALSE;
    }
    g_autoptr(GError) why =
        g_error_new_literal(BERTH_ERROR, BERTH_ERROR_INTERNAL, "another opener took the channel");
    end_opener(present, why);
    return TRUE;
}

/** Opens the channel that @opener describes. Returns: FALSE with CONFLICT, NOT_FOUND, DENIED. */
gboolean
sim_opener_open(SimOpener *opener, const char *uuid, gboolean force, GError **error)
{
    SimDomain *domain = sim_domain_find_own(opener->peer, uuid, error);
    if (domain == NULL) {
        return FALSE;
    }
    if (!sim_domain_is_active(domain)) {
        berth_error_set(error, BERTH_ERROR_CONFLICT, "domain '%s' is not running",
                        domain->definition->plan->name);
        return FALSE;
    }
    if (!opener->is_console && !domain->definition->plan->link) {
        berth_error_set(error, BERTH_ERROR_INVALID, "domain '%s' has no guest link",
                        domain->definition->plan->name);
        return FALSE;
    }
    SimOpener **slot = opener->is_console ? &domain->console : &domain->link;
    if (!take_away(*slot, force, error)) {
        return FALSE;
    }
    *slot = opener;
    opener->domain = domain;
    if (!opener->is_console && domain->guest != NULL) {
        sim_guest_kick(domain->guest);
    }
    return TRUE;
}

/* A console echoes, as a terminal does. */
void
sim_opener_receive(SimOpener *opener, const guint8 *data, gsize size)
{
    SimDomain *domain = opener->domain;
    if (domain == NULL) {
        return;
    }
    if (opener->is_console) {
        opener->peer->ops->data(opener->peer, opener->number, data, size);
    } else if (domain->guest != NULL) {
        sim_guest_receive(domain->guest, data, size);
    }
}

static gsize
guest_room(gpointer data)
{
    const SimDomain *domain = data;
    if (domain->link == NULL) {
        return 0;
    }
    gsize queued = domain->link->peer->ops->queued(domain->link->peer);
    return queued < CHANNEL_ROOM ? CHANNEL_ROOM - queued : 0;
}

static void
guest_wrote(const guint8 *data, gsize size, gpointer user_data)
{
    const SimDomain *domain = user_data;
    domain->link->peer->ops->data(domain->link->peer, domain->link->number, data, size);
}

static void
guest_powered_off(gpointer user_data)
{
    sim_domain_stop(user_data, BERTH_STOP_SHUTDOWN);
}

/* ---- power ------------------------------------------------------------------------------------- */

static gboolean
crash(gpointer data)
{
    SimDomain *domain = data;
    domain->later = 0;
    sim_domain_stop(domain, BERTH_STOP_CRASHED);
    return G_SOURCE_REMOVE;
}

static gboolean
finish_shutdown(gpointer data)
{
    SimDomain *domain = data;
    domain->later = 0;
    sim_domain_stop(domain, BERTH_STOP_SHUTDOWN);
    return G_SOURCE_REMOVE;
}

/* Only a pod's machine has our guest inside: it has a link and a kernel of ours. */
static void
boot(SimDomain *domain)
{
    static const SimGuestWatch watch = {guest_room, guest_wrote, guest_powered_off};
    const BerthDomainPlan *plan = domain->definition->plan;
    if (plan->link && plan->kernel_volume != NULL && !has_label(domain, "mute")) {
        guint boot_ms = has_label(domain, "slow") ? 5000 : domain->machine->settings->boot_ms;
        domain->guest = sim_guest_new(boot_ms, &watch, domain);
    }
    if (has_label(domain, "crash")) {
        domain->later = g_timeout_add(1000, crash, domain);
    }
}

static void
power_down(SimDomain *domain)
{
    g_clear_handle_id(&domain->later, g_source_remove);
    g_clear_pointer(&domain->guest, sim_guest_free);
}

void
sim_domain_start(SimDomain *domain)
{
    domain->state = BERTH_DOMAIN_RUNNING;
    domain->id = ++domain->machine->next_id;
    boot(domain);
    sim_domain_tell(domain, BERTH_DOMAIN_EVENT_STARTED, BERTH_STOP_UNKNOWN);
}

void
sim_domain_stop(SimDomain *domain, BerthStopReason reason)
{
    power_down(domain);
    domain->state = BERTH_DOMAIN_SHUTOFF;
    domain->stop_reason = reason;
    domain->id = -1;
    if (domain->link != NULL) {
        end_opener(domain->link, NULL);
    }
    if (domain->console != NULL) {
        end_opener(domain->console, NULL);
    }
    sim_domain_tell(domain, BERTH_DOMAIN_EVENT_STOPPED, reason);
}

void
sim_domain_restart(SimDomain *domain)
{
    power_down(domain);
    boot(domain);
    sim_domain_tell(domain, BERTH_DOMAIN_EVENT_OTHER, BERTH_STOP_UNKNOWN);
}

/* Firmware without a disk ignores the button. */
void
sim_domain_press_button(SimDomain *domain)
{
    if (domain->guest != NULL) {
        sim_guest_power_button(domain->guest);
    } else if (domain->definition->plan->disk_count > 0 && domain->later == 0) {
        domain->later = g_timeout_add(100, finish_shutdown, domain);
    }
}

void
sim_domain_free(SimDomain *domain)
{
    power_down(domain);
    berth_host_call_free(domain->definition);
    g_free(domain);
}

/* ---- records ----------------------------------------------------------------------------------- */

/** Returns: the domain; NOT_FOUND, or DENIED when another fleet made it. */
SimDomain *
sim_domain_find_own(SimPeer *peer, const char *uuid, GError **error)
{
    SimDomain *domain = uuid != NULL ? g_hash_table_lookup(peer->machine->domains, uuid) : NULL;
    if (domain == NULL) {
        berth_error_set(error, BERTH_ERROR_NOT_FOUND, "there is no domain '%s'", uuid);
        return NULL;
    }
    const BerthDomainMark *mark = domain->definition->plan->mark;
    if (mark == NULL || g_strcmp0(mark->fleet, peer->fleet) != 0) {
        berth_error_set(error, BERTH_ERROR_DENIED,
                        "domain '%s' was not made by this fleet and is left alone",
                        domain->definition->plan->name);
        return NULL;
    }
    return domain;
}

static gboolean
check_name(const SimMachine *machine, const BerthDomainPlan *plan, GError **error)
{
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, machine->domains);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const BerthDomainPlan *other = ((SimDomain *)value)->definition->plan;
        if (strcmp(other->name, plan->name) == 0 && strcmp(other->uuid, plan->uuid) != 0) {
            berth_error_set(error, BERTH_ERROR_EXISTS, "domain '%s' already exists with uuid %s",
                            plan->name, other->uuid);
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean
check_plan(const BerthDomainPlan *plan, GError **error)
{
    g_autofree char *xml =
        berth_domain_xml_format(plan, plan->kernel_volume != NULL ? "/k" : NULL,
                                plan->initrd_volume != NULL ? "/i" : NULL, error);
    return xml != NULL;
}

gboolean
sim_domain_define(SimPeer *peer, const BerthHostCall *call, GError **error)
{
    SimMachine *machine = peer->machine;
    if (call->plan == NULL || !check_plan(call->plan, error) ||
        !check_name(machine, call->plan, error)) {
        return FALSE;
    }
    SimDomain *domain = g_hash_table_lookup(machine->domains, call->plan->uuid);
    if (domain != NULL && sim_domain_find_own(peer, call->plan->uuid, NULL) == NULL) {
        berth_error_set(error, BERTH_ERROR_EXISTS, "domain '%s' is another fleet's",
                        call->plan->name);
        return FALSE;
    }
    if (domain == NULL) {
        domain = g_new0(SimDomain, 1);
        domain->machine = machine;
        domain->id = -1;
        g_hash_table_insert(machine->domains, g_strdup(call->plan->uuid), domain);
    }
    g_clear_pointer(&domain->definition, berth_host_call_free);
    domain->definition = berth_host_call_copy(call);
    sim_domain_tell(domain, BERTH_DOMAIN_EVENT_DEFINED, BERTH_STOP_UNKNOWN);
    return TRUE;
}

/** Returns: (transfer full): as a real host would list it. */
BerthDomain *
sim_domain_describe(const SimDomain *domain)
{
    const BerthDomainPlan *plan = domain->definition->plan;
    gboolean is_active = sim_domain_is_active(domain);
    BerthDomain *described = g_new(BerthDomain, 1);
    *described = (BerthDomain){
        .uuid = g_strdup(plan->uuid),
        .name = g_strdup(plan->name),
        .title = g_strdup(plan->title),
        .id = domain->id,
        .state = domain->state,
        .stop_reason = is_active ? BERTH_STOP_UNKNOWN : domain->stop_reason,
        .persistent = TRUE,
        .autostart = plan->autostart,
        .vcpus = plan->vcpus,
        .vcpus_max = plan->profile == BERTH_PROFILE_Q35 ? MAX(plan->vcpus, BERTH_Q35_VCPUS_MAX)
                                                        : plan->vcpus,
        .memory_kib = plan->memory_mib * 1024,
        .memory_max_kib = plan->memory_mib * 1024,
        .rss_kib = is_active ? plan->memory_mib * 512 : 0,
        .machine = g_strdup(plan->profile == BERTH_PROFILE_MICROVM ? "microvm" : "pc-q35-7.2"),
        .mark = berth_domain_mark_copy(plan->mark),
    };
    return described;
}

/** Returns: (transfer full): the XML that a real host would have been given. */
char *
sim_domain_xml(const SimDomain *domain, GError **error)
{
    const BerthDomainPlan *plan = domain->definition->plan;
    return berth_domain_xml_format(plan, plan->kernel_volume, plan->initrd_volume, error);
}
