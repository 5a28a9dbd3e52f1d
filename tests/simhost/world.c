/* The verbs of a simulated machine. Each does at once what a real host would do, with the same errors.
 * Main loop. Start at sim_machine_perform(). */
#include "tests/simhost/world.h"

#include "base/error.h"

#include <string.h>

/* ---- things ------------------------------------------------------------------------------------ */

static void
volume_free(gpointer data)
{
    SimVolume *volume = data;
    g_free(volume->name);
    g_free(volume->format);
    g_free(volume);
}

static void
pool_free(gpointer data)
{
    SimPool *pool = data;
    g_hash_table_unref(pool->volumes);
    g_free(pool->name);
    g_free(pool->target);
    g_free(pool);
}

static void
reservation_free(gpointer data)
{
    SimReservation *reservation = data;
    g_free(reservation->mac);
    g_free(reservation->ip);
    g_free(reservation);
}

static void
network_free(gpointer data)
{
    SimNetwork *network = data;
    g_ptr_array_unref(network->reservations);
    g_free(network->name);
    g_free(network);
}

static SimPool *
add_pool(SimMachine *machine, const char *name, const char *target)
{
    SimPool *pool = g_new(SimPool, 1);
    *pool = (SimPool){g_strdup(name), g_strdup(target),
                      g_hash_table_new_full(g_str_hash, g_str_equal, NULL, volume_free)};
    g_hash_table_insert(machine->pools, pool->name, pool);
    return pool;
}

static void
add_network(SimMachine *machine, const char *name)
{
    SimNetwork *network = g_new(SimNetwork, 1);
    *network = (SimNetwork){g_strdup(name), TRUE, g_ptr_array_new_with_free_func(reservation_free)};
    g_hash_table_insert(machine->networks, network->name, network);
}

/* The same name gives the same UUID, in this life and the next. */
static char *
make_uuid(const char *name)
{
    g_autofree char *seed = g_strconcat("simhost/", name, NULL);
    g_autofree char *sum = g_compute_checksum_for_string(G_CHECKSUM_SHA256, seed, -1);
    return g_strdup_printf("%.8s-%.4s-4%.3s-8%.3s-%.12s", sum, sum + 8, sum + 12, sum + 15,
                           sum + 18);
}

/* "h17" takes the 17th size, counted around. */
static SimSize
choose_size(const char *name, const SimSettings *settings)
{
    const char *digits = name + strcspn(name, "0123456789");
    guint64 number = g_ascii_strtoull(digits, NULL, 10);
    guint index = (guint)((number + settings->sizes->len - 1) % settings->sizes->len);
    return g_array_index(settings->sizes, SimSize, number == 0 ? 0 : index);
}

/** Returns: (transfer full): a machine that was just unpacked; it has the network "default". */
SimMachine *
sim_machine_new(const char *name, const SimSettings *settings)
{
    SimMachine *machine = g_new0(SimMachine, 1);
    machine->name = g_strdup(name);
    machine->uuid = make_uuid(name);
    machine->settings = settings;
    machine->size = choose_size(name, settings);
    machine->domains =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)sim_domain_free);
    machine->pools = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, pool_free);
    machine->networks = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, network_free);
    machine->peers = g_ptr_array_new();
    add_network(machine, "default");
    return machine;
}

/** Frees a machine that nobody is connected to. */
void
sim_machine_free(SimMachine *machine)
{
    g_assert(machine->peers->len == 0);
    g_hash_table_unref(machine->domains);
    g_hash_table_unref(machine->pools);
    g_hash_table_unref(machine->networks);
    g_ptr_array_unref(machine->peers);
    g_free(machine->name);
    g_free(machine->uuid);
    g_free(machine);
}

/* ---- inventory --------------------------------------------------------------------------------- */

static void
add_cells(BerthInventory *inventory, const SimSize *size)
{
    for (guint i = 0; i < size->cells; i++) {
        BerthCell *cell = g_new0(BerthCell, 1);
        cell->id = i;
        cell->memory_kib = size->memory_mib * 1024 / size->cells;
        cell->cpu_count = size->vcpus / size->cells;
        cell->cpus = g_new(guint, cell->cpu_count);
        for (guint cpu = 0; cpu < cell->cpu_count; cpu++) {
            cell->cpus[cpu] = i * cell->cpu_count + cpu;
        }
        if (size->huge_pages > 0) {
            cell->huge_pages[cell->huge_page_kinds].size_kib = 2048;
            cell->huge_pages[cell->huge_page_kinds++].count = size->huge_pages;
        }
        g_ptr_array_add(inventory->cells, cell);
    }
    for (guint i = 0; i < size->gpus; i++) {
        BerthPciDevice *device = g_new0(BerthPciDevice, 1);
        g_snprintf(device->address, sizeof device->address, "0000:%02x:00.0", 0x40 + (i & 0x3f));
        g_strlcpy(device->vendor_id, "0x10de", sizeof device->vendor_id);
        g_strlcpy(device->product_id, "0x20b0", sizeof device->product_id);
        g_strlcpy(device->class_id, "0x030200", sizeof device->class_id);
        device->product = g_strdup("Simulated accelerator");
        device->iommu_group = (int)i + 10;
        device->numa_cell = (int)(i % size->cells);
        g_ptr_array_add(inventory->devices, device);
    }
}

static guint64
used_bytes(const SimPool *pool)
{
    guint64 used = 0;
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, pool->volumes);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        used += ((SimVolume *)value)->written;
    }
    return used;
}

static void
add_places(BerthInventory *inventory, const SimMachine *machine)
{
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, machine->pools);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const SimPool *pool = value;
        guint64 capacity = machine->settings->pool_mib * 1024 * 1024;
        BerthHostPool *described = g_new(BerthHostPool, 1);
        *described = (BerthHostPool){g_strdup(pool->name), g_strdup(pool->target), TRUE, capacity,
                                     capacity - MIN(capacity, used_bytes(pool))};
        g_ptr_array_add(inventory->pools, described);
    }
    g_hash_table_iter_init(&iter, machine->networks);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const SimNetwork *network = value;
        BerthHostNetwork *described = g_new0(BerthHostNetwork, 1);
        described->name = g_strdup(network->name);
        described->bridge = g_strdup("virbr0");
        described->cidr = g_strdup("192.168.122.1/24");
        described->dhcp_start = g_strdup("192.168.122.200");
        described->dhcp_end = g_strdup("192.168.122.254");
        described->active = network->is_active;
        g_ptr_array_add(inventory->networks, described);
    }
}

static BerthInventory *
describe_machine(const SimMachine *machine)
{
    static const char *const machine_types[] = {"pc-q35-7.2", "q35", "microvm", NULL};
    static const char *const kvm_models[] = {"Nehalem", "EPYC", NULL};
    static const char *const kvm_features[] = {"aes", "avx2", NULL};
    static const char *const tcg_models[] = {"Nehalem", NULL}, *const tcg_features[] = {"aes",
                                                                                        NULL};
    const SimSize *size = &machine->size;
    BerthInventory *inventory = berth_inventory_new();
    inventory->hostname = g_strdup(machine->name);
    inventory->uuid = g_strdup(machine->uuid);
    inventory->arch = g_strdup("x86_64");
    inventory->cpu_model = g_strdup("Simulated CPU");
    inventory->cpu_vendor = g_strdup("Simulation");
    inventory->libvirt_version = g_strdup("9.0.0");
    inventory->hypervisor_version = g_strdup("7.2.0");
    inventory->cpus = size->vcpus;
    inventory->sockets = 1;
    inventory->cores = MAX(size->vcpus / size->cells, 1);
    inventory->threads = 1;
    inventory->mhz = 2400;
    inventory->tsc_khz = 2400000;
    inventory->memory_kib = size->memory_mib * 1024;
    inventory->claims_kvm = TRUE;
    inventory->machine_types = g_strdupv((char **)machine_types);
    inventory->kvm_models = g_strdupv((char **)kvm_models);
    inventory->kvm_features = g_strdupv((char **)kvm_features);
    inventory->tcg_models = g_strdupv((char **)tcg_models);
    inventory->tcg_features = g_strdupv((char **)tcg_features);
    add_cells(inventory, size);
    add_places(inventory, machine);
    return inventory;
}

/* ---- domains ----------------------------------------------------------------------------------- */

static gboolean
do_inventory(SimPeer *peer, const BerthHostCall *call, BerthHostReply *reply, GError **error)
{
    reply->inventory = describe_machine(peer->machine);
    return TRUE;
}

static gboolean
do_list(SimPeer *peer, const BerthHostCall *call, BerthHostReply *reply, GError **error)
{
    GHashTableIter iter;
    gpointer value;
    reply->domains = g_ptr_array_new_with_free_func((GDestroyNotify)berth_domain_free);
    g_hash_table_iter_init(&iter, peer->machine->domains);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        g_ptr_array_add(reply->domains, sim_domain_describe(value));
    }
    return TRUE;
}

static SimDomain *
find_any(SimPeer *peer, const BerthHostCall *call, GError **error)
{
    SimDomain *domain =
        call->uuid != NULL ? g_hash_table_lookup(peer->machine->domains, call->uuid) : NULL;
    if (domain == NULL) {
        berth_error_set(error, BERTH_ERROR_NOT_FOUND, "there is no domain '%s'", call->uuid);
    }
    return domain;
}

static gboolean
do_get(SimPeer *peer, const BerthHostCall *call, BerthHostReply *reply, GError **error)
{
    const SimDomain *domain = find_any(peer, call, error);
    if (domain == NULL) {
        return FALSE;
    }
    reply->domains = g_ptr_array_new_with_free_func((GDestroyNotify)berth_domain_free);
    g_ptr_array_add(reply->domains, sim_domain_describe(domain));
    return TRUE;
}

static gboolean
do_xml(SimPeer *peer, const BerthHostCall *call, BerthHostReply *reply, GError **error)
{
    const SimDomain *domain = find_any(peer, call, error);
    reply->text = domain != NULL ? sim_domain_xml(domain, error) : NULL;
    return reply->text != NULL;
}

static SimVolume *find_volume(SimPeer *peer, const char *pool_name, const char *name,
                              GError **error);

static gboolean
do_define(SimPeer *peer, const BerthHostCall *call, BerthHostReply *reply, GError **error)
{
    const BerthDomainPlan *plan = call->plan;
    if (plan != NULL && plan->kernel_volume != NULL &&
        (find_volume(peer, plan->kernel_pool, plan->kernel_volume, error) == NULL ||
         (plan->initrd_volume != NULL &&
          find_volume(peer, plan->kernel_pool, plan->initrd_volume, error) == NULL))) {
        return FALSE;
    }
    return sim_domain_define(peer, call, error);
}

static guint64
running_mib(const SimMachine *machine)
{
    guint64 sum = 0;
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, machine->domains);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const SimDomain *domain = value;
        sum += sim_domain_is_active(domain) ? domain->definition->plan->memory_mib : 0;
    }
    return sum;
}

/* As QEMU does: a disk that is not there stops the start. */
static gboolean
check_disks(SimPeer *peer, const BerthDomainPlan *plan, GError **error)
{
    for (gsize i = 0; i < plan->disk_count; i++) {
        if (find_volume(peer, plan->disks[i].pool, plan->disks[i].volume, error) == NULL) {
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean
do_start(SimPeer *peer, const BerthHostCall *call, BerthHostReply *reply, GError **error)
{
    SimDomain *domain = sim_domain_find_own(peer, call->uuid, error);
    if (domain == NULL || sim_domain_is_active(domain)) {
        return domain != NULL;
    }
    const BerthDomainPlan *plan = domain->definition->plan;
    if (!check_disks(peer, plan, error)) {
        return FALSE;
    }
    if (running_mib(peer->machine) + plan->memory_mib > peer->machine->size.memory_mib) {
        berth_error_set(error, BERTH_ERROR_EXHAUSTED,
                        "cannot set up guest memory: Cannot allocate memory");
        return FALSE;
    }
    sim_domain_start(domain);
    return TRUE;
}

static gboolean
do_shutdown(SimPeer *peer, const BerthHostCall *call, BerthHostReply *reply, GError **error)
{
    SimDomain *domain = sim_domain_find_own(peer, call->uuid, error);
    if (domain != NULL && sim_domain_is_active(domain)) {
        sim_domain_press_button(domain);
    }
    return domain != NULL;
}

static gboolean
refuse(const BerthHostCall *call, const char *why, GError **error)
{
    berth_error_set(error, BERTH_ERROR_CONFLICT, "can't %s domain '%s': %s",
                    berth_host_verb_name(call->verb), call->uuid, why);
    return FALSE;
}

static gboolean
do_restart(SimPeer *peer, const BerthHostCall *call, BerthHostReply *reply, GError **error)
{
    SimDomain *domain = sim_domain_find_own(peer, call->uuid, error);
    if (domain == NULL) {
        return FALSE;
    }
    if (!sim_domain_is_active(domain)) {
        return refuse(call, "it does not run", error);
    }
    sim_domain_restart(domain);
    return TRUE;
}

/* What is gone already, destroy and undefine are content with. */
static gboolean
find_for_removal(SimPeer *peer, const BerthHostCall *call, SimDomain **domain, GError **error)
{
    g_autoptr(GError) problem = NULL;
    *domain = sim_domain_find_own(peer, call->uuid, &problem);
    if (problem != NULL && !g_error_matches(problem, BERTH_ERROR, BERTH_ERROR_NOT_FOUND)) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return FALSE;
    }
    return TRUE;
}

static gboolean
do_destroy(SimPeer *peer, const BerthHostCall *call, BerthHostReply *reply, GError **error)
{
    SimDomain *domain;
    if (!find_for_removal(peer, call, &domain, error)) {
        return FALSE;
    }
    if (domain != NULL && sim_domain_is_active(domain)) {
        sim_domain_stop(domain, BERTH_STOP_DESTROYED);
    }
    return TRUE;
}

static gboolean
do_undefine(SimPeer *peer, const BerthHostCall *call, BerthHostReply *reply, GError **error)
{
    SimDomain *domain;
    if (!find_for_removal(peer, call, &domain, error)) {
        return FALSE;
    }
    if (domain == NULL) {
        return TRUE;
    }
    if (sim_domain_is_active(domain)) {
        return refuse(call, "it still runs: destroy it before", error);
    }
    sim_domain_tell(domain, BERTH_DOMAIN_EVENT_UNDEFINED, BERTH_STOP_UNKNOWN);
    g_hash_table_remove(peer->machine->domains, call->uuid);
    return TRUE;
}

static gboolean
set_paused(SimPeer *peer, const BerthHostCall *call, gboolean paused, GError **error)
{
    SimDomain *domain = sim_domain_find_own(peer, call->uuid, error);
    BerthDomainState wanted = paused ? BERTH_DOMAIN_PAUSED : BERTH_DOMAIN_RUNNING;
    if (domain == NULL || domain->state == wanted) {
        return domain != NULL;
    }
    if (domain->state != BERTH_DOMAIN_PAUSED && domain->state != BERTH_DOMAIN_RUNNING) {
        return refuse(call, "it does not run", error);
    }
    domain->state = wanted;
    if (domain->guest != NULL) {
        sim_guest_set_paused(domain->guest, paused);
    }
    sim_domain_tell(domain, BERTH_DOMAIN_EVENT_OTHER, BERTH_STOP_UNKNOWN);
    return TRUE;
}

static gboolean
do_suspend(SimPeer *peer, const BerthHostCall *call, BerthHostReply *reply, GError **error)
{
    return set_paused(peer, call, TRUE, error);
}

static gboolean
do_resume(SimPeer *peer, const BerthHostCall *call, BerthHostReply *reply, GError **error)
{
    return set_paused(peer, call, FALSE, error);
}

/* ---- pools and volumes ------------------------------------------------------------------------- */

static SimPool *
find_pool(SimPeer *peer, const char *name, GError **error)
{
    SimPool *pool = name != NULL ? g_hash_table_lookup(peer->machine->pools, name) : NULL;
    if (pool == NULL) {
        berth_error_set(error, BERTH_ERROR_NOT_FOUND, "there is no storage pool '%s'", name);
    }
    return pool;
}

static SimVolume *
find_volume(SimPeer *peer, const char *pool_name, const char *name, GError **error)
{
    SimPool *pool = find_pool(peer, pool_name, error);
    if (pool == NULL) {
        return NULL;
    }
    SimVolume *volume = name != NULL ? g_hash_table_lookup(pool->volumes, name) : NULL;
    if (volume == NULL) {
        berth_error_set(error, BERTH_ERROR_NOT_FOUND, "there is no volume '%s' in pool '%s'", name,
                        pool_name);
    }
    return volume;
}

static gboolean
do_pool_ensure(SimPeer *peer, const BerthHostCall *call, BerthHostReply *reply, GError **error)
{
    const SimPool *pool = find_pool(peer, call->pool, NULL);
    if (pool == NULL) {
        pool = add_pool(peer->machine, call->pool, call->path);
    }
    if (g_strcmp0(pool->target, call->path) != 0) {
        berth_error_set(error, BERTH_ERROR_EXISTS, "storage pool '%s' exists in '%s', not in '%s'",
                        call->pool, pool->target, call->path);
        return FALSE;
    }
    return TRUE;
}

static gboolean
do_volume_list(SimPeer *peer, const BerthHostCall *call, BerthHostReply *reply, GError **error)
{
    const SimPool *pool = find_pool(peer, call->pool, error);
    if (pool == NULL) {
        return FALSE;
    }
    GHashTableIter iter;
    gpointer value;
    reply->volumes = g_ptr_array_new_with_free_func((GDestroyNotify)berth_volume_free);
    g_hash_table_iter_init(&iter, pool->volumes);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const SimVolume *found = value;
        BerthVolume *volume = g_new(BerthVolume, 1);
        *volume = (BerthVolume){g_strdup(found->name), found->capacity, found->written};
        g_ptr_array_add(reply->volumes, volume);
    }
    return TRUE;
}

static SimVolume *
add_volume(SimPool *pool, const char *name, const char *format, guint64 capacity)
{
    SimVolume *volume = g_new(SimVolume, 1);
    *volume = (SimVolume){g_strdup(name), g_strdup(format), capacity, 0};
    g_hash_table_insert(pool->volumes, volume->name, volume);
    return volume;
}

static gboolean
is_disk_format(const char *format)
{
    return g_strcmp0(format, "raw") == 0 || g_strcmp0(format, "qcow2") == 0;
}

static gboolean
do_volume_create(SimPeer *peer, const BerthHostCall *call, BerthHostReply *reply, GError **error)
{
    SimPool *pool = find_pool(peer, call->pool, error);
    if (pool == NULL) {
        return FALSE;
    }
    if (!is_disk_format(call->format) || call->volume == NULL) {
        berth_error_set(error, BERTH_ERROR_INVALID, "volume format '%s' is not raw or qcow2",
                        call->format);
        return FALSE;
    }
    const SimVolume *present = g_hash_table_lookup(pool->volumes, call->volume);
    if (present != NULL) {
        if (present->capacity != call->size || g_strcmp0(present->format, call->format) != 0) {
            berth_error_set(error, BERTH_ERROR_EXISTS,
                            "volume '%s' exists with another size or format", call->volume);
            return FALSE;
        }
        return TRUE;
    }
    if (call->backing != NULL && find_volume(peer, call->pool, call->backing, error) == NULL) {
        return FALSE;
    }
    add_volume(pool, call->volume, call->format, call->size);
    return TRUE;
}

/* Begins an upload; the chunks follow. */
static gboolean
do_volume_upload(SimPeer *peer, const BerthHostCall *call, BerthHostReply *reply, GError **error)
{
    SimPool *pool = find_pool(peer, call->pool, error);
    if (pool == NULL) {
        return FALSE;
    }
    SimVolume *volume = g_hash_table_lookup(pool->volumes, call->volume);
    if (volume == NULL) {
        volume = add_volume(pool, call->volume, "raw", call->size);
    }
    volume->capacity = call->size;
    volume->written = 0;
    return TRUE;
}

/** @size more bytes of an upload have come. Returns: FALSE with EXHAUSTED when the pool is full. */
gboolean
sim_machine_upload_chunk(SimPeer *peer, const char *pool_name, const char *name, guint64 size,
                         GError **error)
{
    SimVolume *volume = find_volume(peer, pool_name, name, error);
    if (volume == NULL) {
        return FALSE;
    }
    SimPool *pool = find_pool(peer, pool_name, error);
    if (used_bytes(pool) + size > peer->machine->settings->pool_mib * 1024 * 1024) {
        g_hash_table_remove(pool->volumes, name);
        berth_error_set(error, BERTH_ERROR_EXHAUSTED, "the upload broke: No space left on device");
        return FALSE;
    }
    volume->written += size;
    return TRUE;
}

static gboolean
do_volume_delete(SimPeer *peer, const BerthHostCall *call, BerthHostReply *reply, GError **error)
{
    SimPool *pool = find_pool(peer, call->pool, error);
    if (pool != NULL && call->volume != NULL) {
        g_hash_table_remove(pool->volumes, call->volume);
    }
    return pool != NULL;
}

/* ---- networks ---------------------------------------------------------------------------------- */

static SimNetwork *
find_network(SimPeer *peer, const BerthHostCall *call, GError **error)
{
    SimNetwork *network =
        call->network != NULL ? g_hash_table_lookup(peer->machine->networks, call->network) : NULL;
    if (network == NULL) {
        berth_error_set(error, BERTH_ERROR_NOT_FOUND, "there is no network '%s' on the host",
                        call->network);
    }
    return network;
}

static gboolean
do_network_ensure(SimPeer *peer, const BerthHostCall *call, BerthHostReply *reply, GError **error)
{
    SimNetwork *network = find_network(peer, call, error);
    if (network != NULL) {
        network->is_active = TRUE;
    }
    return network != NULL;
}

/* Returns: the first reservation with this MAC or this address; -1 for none. */
static int
find_reservation(const SimNetwork *network, const BerthHostCall *call, gboolean *is_same)
{
    for (guint i = 0; i < network->reservations->len; i++) {
        const SimReservation *found = network->reservations->pdata[i];
        gboolean same_mac = g_ascii_strcasecmp(found->mac, call->mac) == 0;
        gboolean same_ip = g_str_equal(found->ip, call->ip);
        if (same_mac || same_ip) {
            *is_same = same_mac && same_ip;
            return (int)i;
        }
    }
    return -1;
}

static gboolean
do_reserve(SimPeer *peer, const BerthHostCall *call, BerthHostReply *reply, GError **error)
{
    gboolean is_same = FALSE;
    SimNetwork *network = find_network(peer, call, error);
    if (network == NULL) {
        return FALSE;
    }
    if (find_reservation(network, call, &is_same) < 0) {
        SimReservation *reservation = g_new(SimReservation, 1);
        *reservation = (SimReservation){g_strdup(call->mac), g_strdup(call->ip)};
        g_ptr_array_add(network->reservations, reservation);
        return TRUE;
    }
    if (!is_same) {
        berth_error_set(error, BERTH_ERROR_EXISTS, "there is another reservation for '%s' or '%s'",
                        call->mac, call->ip);
    }
    return is_same;
}

static gboolean
do_release(SimPeer *peer, const BerthHostCall *call, BerthHostReply *reply, GError **error)
{
    gboolean is_same = FALSE;
    SimNetwork *network = find_network(peer, call, NULL);
    int index = network != NULL ? find_reservation(network, call, &is_same) : -1;
    if (is_same) {
        g_ptr_array_remove_index_fast(network->reservations, (guint)index);
    }
    return TRUE;
}

/* ---- the table --------------------------------------------------------------------------------- */

typedef gboolean (*Verb)(SimPeer *peer, const BerthHostCall *call, BerthHostReply *reply,
                         GError **error);

static const Verb verbs[BERTH_HOST_VERBS] = {
    [BERTH_HOST_INVENTORY] = do_inventory,
    [BERTH_HOST_DOMAIN_LIST] = do_list,
    [BERTH_HOST_DOMAIN_GET] = do_get,
    [BERTH_HOST_DOMAIN_DEFINE] = do_define,
    [BERTH_HOST_DOMAIN_START] = do_start,
    [BERTH_HOST_DOMAIN_SHUTDOWN] = do_shutdown,
    [BERTH_HOST_DOMAIN_REBOOT] = do_restart,
    [BERTH_HOST_DOMAIN_RESET] = do_restart,
    [BERTH_HOST_DOMAIN_DESTROY] = do_destroy,
    [BERTH_HOST_DOMAIN_SUSPEND] = do_suspend,
    [BERTH_HOST_DOMAIN_RESUME] = do_resume,
    [BERTH_HOST_DOMAIN_UNDEFINE] = do_undefine,
    [BERTH_HOST_DOMAIN_XML] = do_xml,
    [BERTH_HOST_POOL_ENSURE] = do_pool_ensure,
    [BERTH_HOST_VOLUME_LIST] = do_volume_list,
    [BERTH_HOST_VOLUME_CREATE] = do_volume_create,
    [BERTH_HOST_VOLUME_UPLOAD] = do_volume_upload,
    [BERTH_HOST_VOLUME_DELETE] = do_volume_delete,
    [BERTH_HOST_NETWORK_ENSURE] = do_network_ensure,
    [BERTH_HOST_DHCP_RESERVE] = do_reserve,
    [BERTH_HOST_DHCP_RELEASE] = do_release,
};

/** Does one call for @peer, whose machine is known. */
gboolean
sim_machine_perform(SimPeer *peer, const BerthHostCall *call, BerthHostReply *reply, GError **error)
{
    if ((guint)call->verb >= BERTH_HOST_VERBS || verbs[call->verb] == NULL) {
        berth_error_set(error, BERTH_ERROR_INVALID, "a simulated host does not know this verb");
        return FALSE;
    }
    return verbs[call->verb](peer, call, reply, error);
}
