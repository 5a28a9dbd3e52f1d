/* The hosts that are connected to, and what their runners tell. Start reading at on_state(): after each
 * connect the host is asked who it is, and when it is the one that is meant, everything is listed anew
 * (fleet-ask.c). */
#include "daemon/fleet-private.h"

#include "base/error.h"

#include <string.h>

#define RELIST_US (30 * G_USEC_PER_SEC)
#define GATHER_MS 50 /* events that come together are one question */
#define RELISTS_PER_INVENTORY 10

static void
free_host(gpointer data)
{
    BerthFleetHost *host = data;
    g_clear_pointer(&host->relist_alarm, berth_alarm_free);
    if (host->ask_timer != 0) {
        g_source_remove(host->ask_timer);
    }
    g_clear_pointer(&host->runner, berth_host_runner_free);
    g_clear_pointer(&host->inventory, berth_inventory_free);
    g_hash_table_destroy(host->domains);
    g_clear_pointer(&host->volumes, g_hash_table_destroy);
    g_hash_table_destroy(host->leaving);
    g_hash_table_destroy(host->stuck);
    g_hash_table_destroy(host->touched);
    g_hash_table_destroy(host->doubted);
    g_hash_table_destroy(host->asked);
    g_hash_table_destroy(host->asked_again);
    g_free(host->why);
    g_free(host->name);
    g_free(host->uri);
    g_free(host);
}

/**
 * berth_fleet_new:
 * @fleet_id: only domains marked with it are ours
 * @pool: name of Berth's pool on each host
 * @drivers: by URI scheme; static
 */
BerthFleet *
berth_fleet_new(const char *fleet_id, const char *pool, const BerthHostDriver *drivers,
                BerthClock *clock, const BerthFleetListener *listener, gpointer user_data)
{
    BerthFleet *fleet = g_new0(BerthFleet, 1);
    fleet->id = g_strdup(fleet_id);
    fleet->pool = g_strdup(pool);
    fleet->drivers = drivers;
    fleet->clock = clock;
    fleet->listener = *listener;
    fleet->user_data = user_data;
    fleet->hosts = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, free_host);
    return fleet;
}

void
berth_fleet_free(BerthFleet *fleet)
{
    g_hash_table_destroy(fleet->hosts);
    g_free(fleet->id);
    g_free(fleet->pool);
    g_free(fleet);
}

/** Returns: the id that marks domains as ours, borrowed. */
const char *
berth_fleet_id(const BerthFleet *fleet)
{
    return fleet->id;
}

/** Returns: the name of Berth's pool on every host, borrowed. */
const char *
berth_fleet_pool(const BerthFleet *fleet)
{
    return fleet->pool;
}

/** Returns: (nullable): the host called @name, borrowed until the next turn of the main loop. */
BerthFleetHost *
berth_fleet_get(BerthFleet *fleet, const char *name)
{
    return name == NULL ? NULL : g_hash_table_lookup(fleet->hosts, name);
}

/** Returns: name -> BerthFleetHost, borrowed; not to be changed. */
GHashTable *
berth_fleet_hosts(BerthFleet *fleet)
{
    return fleet->hosts;
}

/** Returns: (nullable): the domain @uuid as last seen on @host, borrowed. */
BerthDomain *
berth_fleet_domain(BerthFleetHost *host, const char *uuid)
{
    return uuid == NULL ? NULL : g_hash_table_lookup(host->domains, uuid);
}

/** Returns: whether @domain carries this fleet's mark. */
gboolean
berth_fleet_is_ours(const BerthFleet *fleet, const BerthDomain *domain)
{
    return domain->mark != NULL && g_strcmp0(domain->mark->fleet, fleet->id) == 0;
}

/* ---- what the runner tells ------------------------------------------------------------------- */

static void
on_state(BerthHostState state, const char *why, gpointer data)
{
    BerthFleetHost *host = data;
    gboolean was_connected = host->connected;
    host->reached = state == BERTH_HOST_CONNECTED;
    host->connected = FALSE;
    host->listed = FALSE;
    g_free(host->why);
    host->why = g_strdup(why);
    if (host->reached) {
        host->incarnation++;
        g_hash_table_remove_all(host->asked);
        g_hash_table_remove_all(host->asked_again);
        berth_fleet_ask_inventory(host);
    }
    if (was_connected) {
        berth_fleet_tell_domain(host, NULL);
    }
    berth_fleet_tell_host(host);
}

static void
on_domain_event(const char *uuid, BerthDomainEvent event, BerthStopReason reason, gpointer data)
{
    BerthFleetHost *host = data;
    if (host->connected) {
        berth_fleet_look_at(host, uuid);
    }
}

static void
on_inventory_event(gpointer data)
{
    BerthFleetHost *host = data;
    host->changes++;
    berth_fleet_ask_inventory_in(host, GATHER_MS);
}

static void
on_stuck(const char *uuid, gboolean stuck, gpointer data)
{
    BerthFleetHost *host = data;
    const char *key = uuid != NULL ? uuid : "";
    if (stuck) {
        g_hash_table_add(host->stuck, g_strdup(key));
    } else {
        g_hash_table_remove(host->stuck, key);
    }
    if (uuid != NULL) {
        if (!stuck) {
            berth_fleet_doubt_domain(host, uuid); /* it may have changed it after all */
        }
        berth_fleet_tell_domain(host, uuid);
    } else {
        berth_fleet_tell_host(host);
        if (!stuck) {
            berth_fleet_doubt_volumes(host); /* it may have changed them after all */
        }
    }
}

/* Domains change behind our back, and events get lost; what the host has is read less often, since it
 * changes seldom, and volumes only where an answer is missing: nobody but us changes them. */
static void
relist(gpointer data)
{
    BerthFleetHost *host = data;
    berth_alarm_set(host->relist_alarm, g_get_monotonic_time() + RELIST_US);
    if (!host->connected) {
        if (host->reached) {
            berth_fleet_ask_inventory(host);
        }
        return;
    }
    berth_fleet_list_domains(host);
    if (++host->relists % RELISTS_PER_INVENTORY == 0) {
        berth_fleet_ask_inventory(host);
    }
    if (host->volumes == NULL || berth_fleet_is_doubtful(host)) {
        berth_fleet_list_volumes(host);
    }
}

static BerthHostFactory
find_driver(BerthFleet *fleet, const char *uri)
{
    for (const BerthHostDriver *driver = fleet->drivers; driver->scheme != NULL; driver++) {
        gsize length = strlen(driver->scheme);
        if (strncmp(uri, driver->scheme, length) == 0 &&
            (uri[length] == ':' || uri[length] == '+')) {
            return driver->factory;
        }
    }
    return NULL;
}

/**
 * berth_fleet_put:
 * @uri: as validated; a changed one replaces the connection
 *
 * Makes sure that the host @name is being connected to. Errors: INVALID for an unknown scheme.
 */
gboolean
berth_fleet_put(BerthFleet *fleet, const char *name, const char *uri, GError **error)
{
    static const BerthHostListener listener = {on_state, on_domain_event, on_inventory_event,
                                               on_stuck};
    BerthFleetHost *host = berth_fleet_get(fleet, name);
    if (host != NULL && strcmp(host->uri, uri) == 0) {
        return TRUE;
    }
    BerthHostFactory factory = find_driver(fleet, uri);
    if (factory == NULL) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, "/spec/uri",
                           "use qemu:///system or qemu+ssh://HOST/system",
                           "no driver for the URI '%s'", uri);
        return FALSE;
    }
    host = g_new0(BerthFleetHost, 1);
    host->fleet = fleet;
    host->name = g_strdup(name);
    host->uri = g_strdup(uri);
    host->domains =
        g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify)berth_domain_free);
    host->leaving = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    host->stuck = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    host->touched = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    host->doubted = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    host->asked = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    host->asked_again = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    g_hash_table_replace(fleet->hosts, host->name, host);
    BerthHostOptions options = {.uri = uri, .fleet = fleet->id};
    host->runner = berth_host_runner_new(factory, &options, fleet->clock, &listener, host, error);
    if (host->runner == NULL) {
        g_hash_table_remove(fleet->hosts, name);
        return FALSE;
    }
    host->relist_alarm = berth_alarm_new(relist, host);
    berth_alarm_set(host->relist_alarm, g_get_monotonic_time() + RELIST_US);
    return TRUE;
}

/** Forgets the host @name; what runs there goes on. */
void
berth_fleet_remove(BerthFleet *fleet, const char *name)
{
    g_hash_table_remove(fleet->hosts, name);
}

/** Asks those again that answer but are not used: what spoke against them may have changed. */
void
berth_fleet_ask_again(BerthFleet *fleet)
{
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, fleet->hosts);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        BerthFleetHost *host = value;
        if (host->reached && !host->connected) {
            berth_fleet_ask_inventory(host);
        }
    }
}
