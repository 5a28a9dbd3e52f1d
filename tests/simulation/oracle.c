/* See oracle.h. Start at oracle_check() and oracle_find_unsettled(). */
#include "tests/simulation/oracle.h"

#include "base/error.h"
#include "base/json.h"
#include "model/kinds.h"
#include "tests/simulation/fate.h"
#include "tests/simulation/holdings.h"
#include "tests/simulation/promises.h"
#include "tests/simulation/site.h"
#include "tests/simulation/told.h"

#include <stdio.h>
#include <string.h>

#define OTHER_FLEET "00000000-0000-4000-8000-00000000f0f0"
#define HOST_RESERVE_MIB 512
#define FOREIGN_VCPUS 1
#define FOREIGN_VCPUS_MAX 8 /* that a domain could get, as its libvirt says: these are charged */
#define FOREIGN_MIB 512

typedef struct {
    Site *site;
    const SimDomain *domain;
    const BerthHostCall *definition;
    int id;
    char *volume;
} Foreign;

static BerthStore *store;
static char *fleet_id;
static gint64 followed;
static GHashTable *objects; /* "Pod/web" -> BerthObject*, owned */
static GPtrArray *foreigners;
static GPtrArray *site_names;
static guint violations;

void
oracle_violate(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    violations++;
    fate_note("VIOLATION %s", text);
    if (violations <= 20) {
        printf("# violation: %s\n", text);
        fflush(stdout);
    }
}

guint
oracle_violations(void)
{
    return violations;
}

/* ---- the store --------------------------------------------------------------------------------- */

static gboolean is_charged(const BerthObject *object);

static void
take_row(const BerthRow *row, gboolean deleted)
{
    char *key = g_strconcat(row->kind, "/", row->name, NULL);
    if (deleted) {
        g_hash_table_remove(objects, key);
        g_free(key);
        return;
    }
    g_autoptr(GError) error = NULL;
    BerthObject *object =
        berth_object_load(row->kind, row->project, row->name, row->uid, row->revision,
                          row->body_revision, row->body, row->status, &error);
    if (object == NULL) {
        oracle_violate("%s does not read: %s", key, error->message);
        g_free(key);
        return;
    }
    BerthObject *known = g_hash_table_lookup(objects, key);
    g_autoptr(BerthObject) before = known != NULL ? berth_object_ref(known) : NULL;
    if (before != NULL && strcmp(before->uid, object->uid) != 0) {
        oracle_violate("%s became another object without a delete", key);
    }
    g_hash_table_replace(objects, key, object);
    promises_commit(objects, before, object, is_charged);
}

static void
note_commit(const BerthChange *change)
{
    const BerthRow *row = change->row;
    const BerthObject *object = oracle_find(row->kind, row->name);
    g_autofree char *what = NULL;
    if (object != NULL && object->kind->workload) {
        const BerthWorkloadStatus *status = berth_workload_status_of(object);
        what = g_strdup_printf("%s, %s on %s, %s", object->power == BERTH_POWER_ON ? "on" : "off",
                               berth_phase_name((BerthPhase)status->phase), status->host,
                               status->reason.code);
    }
    fate_note("commit %" G_GINT64_FORMAT " %s/%s %s %08x %s", change->revision, row->kind,
              row->name, change->deleted ? "deleted" : "put",
              row->status != NULL ? g_str_hash(row->status) : 0, what != NULL ? what : "");
}

void
oracle_begin(BerthStore *memory, const char *fleet)
{
    g_autoptr(GPtrArray) rows = NULL;
    store = memory;
    fleet_id = g_strdup(fleet);
    objects =
        g_hash_table_new_full(g_str_hash, g_str_equal, g_free, (GDestroyNotify)berth_object_unref);
    foreigners = g_ptr_array_new();
    site_names = g_ptr_array_new_with_free_func(g_free);
    g_assert_true(memory->ops->load(memory, &rows, &followed, NULL));
    told_begin(followed);
    for (guint i = 0; i < rows->len; i++) {
        take_row(rows->pdata[i], FALSE);
    }
}

void
oracle_end(void)
{
    for (guint i = 0; i < foreigners->len; i++) {
        g_free(((Foreign *)foreigners->pdata[i])->volume);
        g_free(foreigners->pdata[i]);
    }
    g_clear_pointer(&foreigners, g_ptr_array_unref);
    g_clear_pointer(&site_names, g_ptr_array_unref);
    told_end();
    g_clear_pointer(&objects, g_hash_table_unref);
    promises_end();
    g_clear_pointer(&fleet_id, g_free);
}

void
oracle_follow(void)
{
    g_autoptr(GPtrArray) changes = store->ops->changes_since(store, followed, G_MAXUINT, NULL);
    for (guint i = 0; i < changes->len; i++) {
        const BerthChange *change = changes->pdata[i];
        const BerthRow *row = change->row;
        if (change->revision < followed || change->revision > followed + 1) {
            oracle_violate("revision %" G_GINT64_FORMAT " follows %" G_GINT64_FORMAT,
                           change->revision, followed);
        }
        if (change->revision != followed) {
            promises_end_revision(objects);
        }
        followed = change->revision;
        take_row(row, change->deleted);
        note_commit(change);
        told_commit(change);
    }
    promises_end_revision(objects);
}

BerthObject *
oracle_find(const char *kind, const char *name)
{
    g_autofree char *key = g_strconcat(kind, "/", name, NULL);
    return g_hash_table_lookup(objects, key);
}

static BerthObject *
find_workload(const char *uid)
{
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, objects);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        BerthObject *object = value;
        if (object->kind->workload && strcmp(object->uid, uid) == 0) {
            return object;
        }
    }
    return NULL;
}

/* ---- somebody else's (I5) ---------------------------------------------------------------------- */

void
oracle_add_foreign(const char *name)
{
    Site *site = site_get(name);
    g_ptr_array_add(site_names, g_strdup(name));
    g_autofree char *uuid = g_strdup_printf("%08x-0000-4000-8000-000000000000", g_str_hash(name));
    BerthDomainMark mark = {.fleet = (char *)OTHER_FLEET,
                            .uid = uuid,
                            .kind = (char *)"VM",
                            .project = (char *)"default",
                            .name = (char *)"other",
                            .spec = (char *)"{}",
                            .labels = (char *)"{}",
                            .format = 1};
    BerthDiskPlan disk = {
        .pool = "other", .volume = "other.qcow2", .serial = "other", .format = "qcow2"};
    BerthDomainPlan plan = {.uuid = uuid,
                            .name = "other",
                            .title = "somebody else's",
                            .vcpus = FOREIGN_VCPUS,
                            .memory_mib = FOREIGN_MIB,
                            .disks = &disk,
                            .disk_count = 1,
                            .mark = &mark};
    const BerthHostCall calls[] = {
        {.verb = BERTH_HOST_POOL_ENSURE, .pool = "other", .path = "/var/lib/other"},
        {.verb = BERTH_HOST_VOLUME_CREATE,
         .pool = "other",
         .volume = "other.qcow2",
         .format = "qcow2",
         .size = 1 << 20},
        {.verb = BERTH_HOST_DOMAIN_DEFINE, .plan = &plan},
        {.verb = BERTH_HOST_DOMAIN_START, .uuid = uuid},
    };
    for (guint i = 0; i < G_N_ELEMENTS(calls); i++) {
        g_autoptr(GError) error = NULL;
        g_auto(BerthHostReply) reply = {0};
        site_perform(site, OTHER_FLEET, &calls[i], &reply, &error);
        g_assert_no_error(error);
    }
    Foreign *foreign = g_new0(Foreign, 1);
    foreign->site = site;
    foreign->domain = g_hash_table_lookup(site->machine->domains, uuid);
    foreign->definition = foreign->domain->definition;
    foreign->id = foreign->domain->id;
    foreign->volume = g_strdup(disk.volume);
    g_ptr_array_add(foreigners, foreign);
}

static void
check_foreign(void)
{
    for (guint i = 0; i < foreigners->len; i++) {
        Foreign *foreign = foreigners->pdata[i];
        const SimMachine *machine = foreign->site->machine;
        const SimPool *pool = g_hash_table_lookup(machine->pools, "other");
        const char *uuid = foreign->definition->plan->uuid;
        if (g_hash_table_lookup(machine->domains, uuid) != foreign->domain ||
            foreign->domain->definition != foreign->definition ||
            (foreign->domain->id != foreign->id && sim_domain_is_active(foreign->domain)) ||
            g_hash_table_lookup(pool->volumes, foreign->volume) == NULL) {
            oracle_violate("somebody else's domain on %s was touched", machine->name);
        }
    }
}

/* ---- always (I3, capacity) --------------------------------------------------------------------- */

typedef void (*EachDomain)(const Site *site, const SimDomain *domain, gpointer data);

static gboolean
is_ours(const SimDomain *domain)
{
    const BerthDomainMark *mark = domain->definition->plan->mark;
    return mark != NULL && strcmp(mark->fleet, fleet_id) == 0;
}

static void
each_domain(EachDomain visit, gpointer data)
{
    for (guint i = 0; i < site_names->len; i++) {
        const Site *site = site_get(site_names->pdata[i]);
        GHashTableIter iter;
        gpointer value;
        g_hash_table_iter_init(&iter, site->machine->domains);
        while (g_hash_table_iter_next(&iter, NULL, &value)) {
            if (is_ours(value)) {
                visit(site, value, data);
            }
        }
    }
}

static void
note_active(const Site *site, const SimDomain *domain, gpointer data)
{
    const char *uid = domain->definition->plan->mark->uid;
    if (sim_domain_is_active(domain) && !g_hash_table_add(data, (gpointer)uid)) {
        oracle_violate("%s runs twice, once on %s", uid, site->machine->name);
    }
}

/* A VM keeps its host while it is off, waits for room there or is deleted, without being charged. */
static gboolean
is_resting(const BerthObject *object)
{
    BerthPhase phase = (BerthPhase)berth_workload_status_of(object)->phase;
    gboolean is_off = object->power == BERTH_POWER_OFF && phase == BERTH_PHASE_UNKNOWN;
    return object->kind == &berth_kind_vm &&
           (phase == BERTH_PHASE_STOPPED || phase == BERTH_PHASE_PENDING ||
            phase == BERTH_PHASE_DELETING || is_off);
}

static gboolean
is_charged(const BerthObject *object)
{
    return berth_workload_status_of(object)->host != NULL && !is_resting(object);
}

/* What the records place on @host, in MiB of ordinary memory. @list: (nullable): gets names and sizes. */
static gint64
recorded_mib(const char *host, GString *list)
{
    gint64 sum = 0;
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, objects);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const BerthObject *object = value;
        if (object->kind->workload && is_charged(object) &&
            g_strcmp0(berth_workload_status_of(object)->host, host) == 0) {
            sum += berth_workload_status_of(object)->used_memory_mib - holdings_huge_mib(object);
            if (list != NULL) {
                g_string_append_printf(list, " %s:%" G_GINT64_FORMAT, object->name,
                                       berth_workload_status_of(object)->used_memory_mib);
            }
        }
    }
    return sum;
}

static gint64
room_mib(const Site *site)
{
    const SimSize *size = &site->machine->size;
    gint64 huge = (gint64)size->huge_pages * size->cells * 2;
    return (gint64)size->memory_mib - huge - HOST_RESERVE_MIB - FOREIGN_MIB;
}

static void
check_capacity(void)
{
    for (guint i = 0; i < site_names->len; i++) {
        Site *site = site_get(site_names->pdata[i]);
        g_autoptr(GString) list = g_string_new(NULL);
        gint64 placed = recorded_mib(site->machine->name, list);
        if (placed > room_mib(site)) {
            oracle_violate("%" G_GINT64_FORMAT " MiB are placed on %s, which has %" G_GINT64_FORMAT
                           ":%s",
                           placed, site->machine->name, room_mib(site), list->str);
        }
        if (site->exhausted > 0) {
            oracle_violate("%s had no memory for a guest that was placed there",
                           site->machine->name);
            site->exhausted = 0;
        }
    }
}

static void
add_active(const Site *site, const SimDomain *domain, gpointer data)
{
    if (sim_domain_is_active(domain)) {
        g_ptr_array_add(g_hash_table_lookup(data, site->machine->name), (gpointer)domain);
    }
}

/* Returns: (transfer full): of BerthObject*, borrowed */
static GPtrArray *
list_charged(const char *host)
{
    GPtrArray *charged = g_ptr_array_new();
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, objects);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        if (((BerthObject *)value)->kind->workload && is_charged(value) &&
            g_strcmp0(berth_workload_status_of(value)->host, host) == 0) {
            g_ptr_array_add(charged, value);
        }
    }
    return charged;
}

static void
check_holdings(void)
{
    g_autoptr(GHashTable) active =
        g_hash_table_new_full(g_str_hash, g_str_equal, NULL, (GDestroyNotify)g_ptr_array_unref);
    for (guint i = 0; i < site_names->len; i++) {
        g_hash_table_insert(active, site_names->pdata[i], g_ptr_array_new());
    }
    each_domain(add_active, active);
    for (guint i = 0; i < site_names->len; i++) {
        const char *name = site_names->pdata[i];
        g_autoptr(GPtrArray) charged = list_charged(name);
        holdings_check_machine(site_get(name)->machine, g_hash_table_lookup(active, name));
        holdings_check_host(charged);
    }
}

void
oracle_check(void)
{
    oracle_follow();
    g_autoptr(GHashTable) active = g_hash_table_new(g_str_hash, g_str_equal);
    each_domain(note_active, active);
    check_foreign();
    check_capacity();
    check_holdings();
}

/* ---- a new life -------------------------------------------------------------------------------- */

static gboolean
answers(const BerthObject *host)
{
    size_t i;
    json_t *condition;
    json_array_foreach (json_object_get(host->status, "conditions"), i, condition) {
        if (g_strcmp0(berth_json_string(condition, "type"), "Answers") == 0) {
            return json_is_true(json_object_get(condition, "value"));
        }
    }
    return FALSE;
}

void
oracle_check_birth(void)
{
    oracle_follow();
    for (guint i = 0; i < site_names->len; i++) {
        const Site *site = site_get(site_names->pdata[i]);
        const BerthObject *host = oracle_find("Host", site->machine->name);
        const BerthHostStatus *status = host->status_data;
        if (!site_is_connected(site) && (answers(host) || g_strcmp0(status->phase, "Ready") == 0)) {
            oracle_violate("%s is told to be %s before it was reached", site->machine->name,
                           answers(host) ? "answering" : status->phase);
        }
    }
}

/* ---- at rest (I4) ------------------------------------------------------------------------------ */

typedef struct {
    const BerthObject *object;
    const char *elsewhere; /* a site that has it and should not */
    guint defined, active;
} Count;

static void
count_domain(const Site *site, const SimDomain *domain, gpointer data)
{
    Count *count = data;
    if (strcmp(domain->definition->plan->mark->uid, count->object->uid) != 0) {
        return;
    }
    count->defined++;
    count->active += sim_domain_is_active(domain);
    if (g_strcmp0(site->machine->name, berth_workload_status_of(count->object)->host) != 0) {
        count->elsewhere = site->machine->name;
    }
}

static gboolean
has_room_somewhere(const BerthObject *object)
{
    const BerthWorkload *workload = berth_workload_of(object);
    for (guint i = 0; i < site_names->len; i++) {
        const Site *site = site_get(site_names->pdata[i]);
        const BerthObject *host = oracle_find("Host", site->machine->name);
        const BerthHostSpec *spec = host->spec_data;
        const char *pin = berth_workload_status_of(object)->host; /* where its disks are */
        if (pin != NULL && strcmp(pin, site->machine->name) != 0) {
            continue;
        }
        gint64 left = room_mib(site) - recorded_mib(site->machine->name, NULL);
        /* With a margin for overheads: what is this near may be refused. */
        if (!spec->cordoned && left > workload->memory_mib + 256) {
            return TRUE;
        }
    }
    return FALSE;
}

/* Whether somebody must be apart from it, which takes more than memory to judge. */
static gboolean
is_kept_apart(const BerthObject *object)
{
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, objects);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const BerthObject *other = value;
        char **apart =
            other->kind->workload ? berth_workload_of(other)->placement.anti_affinity : NULL;
        if (apart != NULL && g_strv_contains((const char *const *)apart, object->name)) {
            return TRUE;
        }
    }
    return FALSE;
}

static const char *
judge_power_on(const BerthObject *object, const Count *count)
{
    const BerthWorkloadStatus *status = berth_workload_status_of(object);
    if (status->phase == BERTH_PHASE_RUNNING ||
        g_strcmp0(status->reason.code, "paused") == 0) { /* by its user */
        return count->active == 1 ? NULL : "is Running without a domain that is on";
    }
    if (status->phase == BERTH_PHASE_PENDING && count->active > 0) {
        return "waits for room and runs";
    }
    if (status->phase == BERTH_PHASE_PENDING &&
        g_strcmp0(status->reason.code, "group-incomplete") == 0) {
        return promises_group_lacks(objects, object) ? NULL : "waits though its group is there";
    }
    if (status->phase == BERTH_PHASE_PENDING &&
        g_strcmp0(status->reason.code, "no-capacity") == 0) {
        /* What room is for all of a group is not judged here. */
        gboolean has_room = !promises_has_group(object) && !holdings_has_any(object) &&
                            !is_kept_apart(object) && has_room_somewhere(object) &&
                            promises_quota_admits(objects, object, is_charged);
        return has_room ? "waits though there is room" : NULL;
    }
    return "is on and does not run";
}

static const char *
judge_power_off(const BerthObject *object, const Count *count)
{
    const BerthWorkloadStatus *status = berth_workload_status_of(object);
    gboolean rests = status->phase == BERTH_PHASE_STOPPED ||
                     status->phase == BERTH_PHASE_SUCCEEDED || status->phase == BERTH_PHASE_FAILED;
    if (count->active > 0) {
        return "is off and runs";
    }
    if (count->defined > 0 && object->kind == &berth_kind_pod) {
        return "is a pod that is off and has a domain";
    }
    return rests ? NULL : "is off and does not rest";
}

static char *
judge_workload(const BerthObject *object)
{
    Count count = {.object = object};
    each_domain(count_domain, &count);
    const char *wrong = object->deleting != NULL          ? "is not deleted yet"
                        : count.elsewhere != NULL         ? "has a domain on another host"
                        : count.defined > 1               ? "has two domains"
                        : object->power == BERTH_POWER_ON ? judge_power_on(object, &count)
                                                          : judge_power_off(object, &count);
    if (wrong == NULL) {
        return NULL;
    }
    const BerthWorkloadStatus *status = berth_workload_status_of(object);
    return g_strdup_printf("%s/%s %s (%s) %s: phase %s, host %s, reason %s (%s), %u domains, %u on",
                           object->kind->name, object->name, object->uid,
                           object->power == BERTH_POWER_ON ? "on" : "off", wrong,
                           berth_phase_name((BerthPhase)status->phase), status->host,
                           status->reason.code, status->reason.message, count.defined,
                           count.active);
}

static char *
judge_objects(void)
{
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, objects);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const BerthObject *object = value;
        char *wrong = object->kind->workload ? judge_workload(object) : NULL;
        if (wrong != NULL) {
            return wrong;
        }
        if (object->kind == &berth_kind_task) {
            const BerthTaskStatus *status = object->status_data;
            if (status->finished == NULL) {
                return g_strdup_printf("Task/%s has not ended: %s", object->name, status->phase);
            }
        }
        if (object->kind == &berth_kind_image) {
            const BerthImageStatus *status = object->status_data;
            if (g_strcmp0(status->phase, "Ready") != 0) {
                return g_strdup_printf("Image/%s is %s", object->name, status->phase);
            }
        }
        if (object->kind == &berth_kind_host) {
            const BerthHostStatus *status = object->status_data;
            if (g_strcmp0(status->phase, "Ready") != 0) {
                return g_strdup_printf("Host/%s is %s", object->name, status->phase);
            }
        }
    }
    return NULL;
}

static void
find_orphan(const Site *site, const SimDomain *domain, gpointer data)
{
    char **found = data;
    const BerthDomainMark *mark = domain->definition->plan->mark;
    if (*found == NULL && find_workload(mark->uid) == NULL) {
        *found = g_strdup_printf("domain %s (%s '%s') on %s belongs to no record", mark->uid,
                                 mark->kind, mark->name, site->machine->name);
    }
}

/* Of a workload: "<uid>-<disk>.qcow2"; of a file: "<sha256>-<random>" and its marker. */
static gboolean
is_accounted_for(const SimPool *pool, const char *volume, const Site *site)
{
    if (strspn(volume, "0123456789abcdef") == 64) {
        g_autofree char *base = g_str_has_suffix(volume, ".ok")
                                    ? g_strndup(volume, strlen(volume) - strlen(".ok"))
                                    : g_strconcat(volume, ".ok", NULL);
        return g_hash_table_contains(pool->volumes, base);
    }
    g_autofree char *uid = g_strndup(volume, 36);
    const BerthObject *object = find_workload(uid);
    return object != NULL && object->kind == &berth_kind_vm &&
           g_strcmp0(berth_workload_status_of(object)->host, site->machine->name) == 0;
}

static char *
judge_volumes(void)
{
    for (guint i = 0; i < site_names->len; i++) {
        const Site *site = site_get(site_names->pdata[i]);
        GHashTableIter pools, volumes;
        gpointer pool, name;
        g_hash_table_iter_init(&pools, site->machine->pools);
        while (g_hash_table_iter_next(&pools, NULL, &pool)) {
            if (strcmp(((SimPool *)pool)->name, "other") == 0) {
                continue;
            }
            g_hash_table_iter_init(&volumes, ((SimPool *)pool)->volumes);
            while (g_hash_table_iter_next(&volumes, &name, NULL)) {
                if (!is_accounted_for(pool, name, site)) {
                    return g_strdup_printf("volume %s on %s belongs to no record", (char *)name,
                                           site->machine->name);
                }
            }
        }
    }
    return NULL;
}

/* What hosts say that is used of them is the sum of who is there. */
static char *
judge_ledger(void)
{
    for (guint i = 0; i < site_names->len; i++) {
        g_autoptr(GPtrArray) charged = list_charged(site_names->pdata[i]);
        char *wrong = holdings_find_difference(oracle_find("Host", site_names->pdata[i]), charged,
                                               FOREIGN_VCPUS_MAX, FOREIGN_MIB);
        if (wrong != NULL) {
            return wrong;
        }
    }
    return NULL;
}

char *
oracle_find_unsettled(void)
{
    oracle_follow();
    char *wrong = judge_objects();
    if (wrong == NULL) {
        wrong = judge_ledger();
    }
    if (wrong == NULL) {
        each_domain(find_orphan, &wrong);
    }
    if (wrong == NULL) {
        wrong = judge_volumes();
    }
    if (wrong == NULL) {
        wrong = promises_find_torn_group(objects);
    }
    return wrong != NULL ? wrong : told_find_missing();
}
