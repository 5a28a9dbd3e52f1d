/* See luck.h. What is bad for a time ends by itself, or with luck_end(). */
#include "tests/simulation/luck.h"

#include "tests/simulation/fate.h"
#include "tests/simulation/registry.h"
#include "tests/simulation/users.h"

#include <string.h>

Site *
luck_choose_site(void)
{
    g_autofree char *name = g_strdup_printf("h%u", 1 + (guint)fate_below(SITES));
    return site_get(name);
}

static SimDomain *
choose_running(Site *site)
{
    g_autoptr(GPtrArray) running = g_ptr_array_new();
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, site->machine->domains);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const char *name = ((SimDomain *)value)->definition->plan->mark->name;
        if (sim_domain_is_active(value) && strcmp(name, "other") != 0) {
            g_ptr_array_add(running, value);
        }
    }
    return running->len > 0 ? running->pdata[fate_below(running->len)] : NULL;
}

void
luck_destroy_by_hand(void)
{
    SimDomain *domain = choose_running(luck_choose_site());
    if (domain == NULL) {
        return;
    }
    const char *uid = domain->definition->plan->mark->uid;
    fate_note("virsh destroy %s", uid);
    users_hear_of_destroy(uid);
    sim_domain_stop(domain, BERTH_STOP_DESTROYED);
}

static GPtrArray *silenced; /* of Silence*; NULL: nobody yet */

typedef struct {
    Site *site;
    char *uuid;
    int id;
    guint source;
} Silence;

static gboolean
end_silence(gpointer data)
{
    Silence *silence = data;
    SimDomain *domain = g_hash_table_lookup(silence->site->machine->domains, silence->uuid);
    if (domain != NULL && domain->id == silence->id && domain->guest != NULL &&
        domain->state == BERTH_DOMAIN_RUNNING) {
        sim_guest_set_paused(domain->guest, FALSE);
    }
    g_ptr_array_remove(silenced, silence);
    g_free(silence->uuid);
    g_free(silence);
    return G_SOURCE_REMOVE;
}

void
luck_silence_guest(void)
{
    Site *site = luck_choose_site();
    SimDomain *domain = choose_running(site);
    if (domain == NULL || domain->guest == NULL) {
        return;
    }
    Silence *silence = g_new(Silence, 1);
    *silence = (Silence){site, g_strdup(domain->definition->plan->uuid), domain->id, 0};
    fate_note("guest %s is silent", silence->uuid);
    sim_guest_set_paused(domain->guest, TRUE);
    silence->source = g_timeout_add(1000 * (1 + (guint)fate_below(120)), end_silence, silence);
    if (silenced == NULL) {
        silenced = g_ptr_array_new();
    }
    g_ptr_array_add(silenced, silence);
}

static gboolean
come_back(gpointer data)
{
    fate_note("%s is back", ((Site *)data)->machine->name);
    site_come_back(data);
    return G_SOURCE_REMOVE;
}

void
luck_lose_site(gboolean with_power)
{
    Site *site = luck_choose_site();
    if (!site->is_reachable) {
        return;
    }
    fate_note("%s %s", site->machine->name, with_power ? "loses power" : "is cut off");
    if (with_power) {
        site_lose_power(site);
    } else {
        site_leave(site);
    }
    g_timeout_add(1000 * (1 + (guint)fate_below(120)), come_back, site);
}

void
luck_end(void)
{
    for (guint i = 1; i <= SITES; i++) {
        g_autofree char *name = g_strdup_printf("h%u", i);
        site_come_back(site_get(name));
        site_hurry(site_get(name));
    }
    registry_hurry();
    while (silenced != NULL && silenced->len > 0) {
        Silence *silence = silenced->pdata[0];
        g_source_remove(silence->source);
        end_silence(silence);
    }
}
