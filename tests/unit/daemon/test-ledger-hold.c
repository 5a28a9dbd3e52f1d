/* Room that is made by stopping others is kept, all of it, for the one that it is made for, also over a restart. */
#include "base/json.h"
#include "daemon/ledger.h"

typedef struct {
    BerthManualClock clock;
    BerthFleetLedger *ledger;
} Fixture;

/* One host, of which @low holds a part, so that @high has no room. @other could have what is free beside @low: the
 * asker needs it. Specs of Pods, and what their disks take. */
typedef struct {
    const char *what;
    const char *low, *high, *other;
    gint64 low_disk, high_disk, other_disk;
} Case;

static const Case cases[] = {
    {"memory", "\"memory_mib\": 6000", "\"memory_mib\": 13000", "\"memory_mib\": 4000", 0, 0, 0},
    {"vcpus", "\"vcpus\": 1", "\"vcpus\": 4", "\"vcpus\": 2", 0, 0, 0},
    {"devices", "\"devices\": [{\"class\": \"gpu\", \"count\": 2}]",
     "\"devices\": [{\"class\": \"gpu\", \"count\": 4}]", "\"devices\": [{\"class\": \"gpu\"}]", 0,
     0, 0},
    {"dedicated CPUs", "\"dedicated_cpus\": true, \"vcpus\": 2",
     "\"dedicated_cpus\": true, \"vcpus\": 4", "\"dedicated_cpus\": true, \"vcpus\": 1", 0, 0, 0},
    /* The vCPUs that it gives back are others than those that are asked for. */
    {"dedicated CPUs beside shared ones", "\"vcpus\": 2, \"memory_mib\": 9000",
     "\"dedicated_cpus\": true, \"vcpus\": 4, \"memory_mib\": 8000",
     "\"dedicated_cpus\": true, \"vcpus\": 1, \"memory_mib\": 512", 0, 0, 0},
    {"disk", "\"memory_mib\": 6000", "\"memory_mib\": 13000", "\"memory_mib\": 128", 100, 700, 600},
    {"huge pages", "\"huge_pages_kib\": 2048, \"memory_mib\": 512",
     "\"huge_pages_kib\": 2048, \"memory_mib\": 1800",
     "\"huge_pages_kib\": 2048, \"memory_mib\": 256", 0, 0, 0},
    {"a cell", "\"numa\": \"one\", \"memory_mib\": 4000",
     "\"numa\": \"two\", \"memory_mib\": 13000", "\"numa\": \"one\", \"memory_mib\": 2000", 0, 0,
     0},
};

static BerthObject *
make(const BerthKind *kind, const char *name, const char *spec, const char *status)
{
    g_autoptr(GError) error = NULL;
    const char *project = kind->scope == BERTH_SCOPE_PROJECT ? "default" : "";
    g_autoptr(json_t) spec_json = json_loads(spec, 0, NULL);
    g_autoptr(json_t) status_json = json_loads(status, 0, NULL);
    g_autoptr(BerthObject) object =
        berth_object_make(kind, project, name, spec_json, "2026-01-01T00:00:00Z", &error);
    g_assert_no_error(error);
    BerthObject *whole = berth_object_with_status(object, status_json, &error);
    g_assert_no_error(error);
    return whole;
}

static BerthObject *
make_pod(const char *name, const char *spec, const char *more)
{
    g_autofree char *text = g_strdup_printf(
        "{%s%s, \"containers\": [{\"name\": \"main\", \"image\": \"hello\"}]}", spec, more);
    return make(&berth_kind_pod, name, text, "{}");
}

#define GPU(bus, cell)                                                                             \
    "{\"address\": \"0000:" bus ":00.0\", \"vendor_id\": \"0x10de\", \"product_id\": "             \
    "\"0x20b0\", \"iommu_group\": 1" bus ", \"numa_cell\": " cell "}"
#define CELL(id, cpus)                                                                             \
    "{\"id\": " id ", \"cpus\": 4, \"cpu_set\": \"" cpus "\", \"memory_mib\": 8192, "              \
    "\"huge_pages\": [{\"size_kib\": 2048, \"count\": 512}]}"

/* Two cells of 4 threads, two of each for dedicated ones, 7,168 MiB and 512 huge pages; 4 devices. */
static void
put_host(Fixture *f, const char *devices)
{
    g_autofree char *status =
        g_strdup_printf("{\"inventory\": {\"cpus\": 8, \"machine_types\": [\"q35\"], "
                        "\"memory_mib\": 16384, \"pool_mib\": 1000, \"cells\": [" CELL(
                            "0", "0-3") ", " CELL("1", "4-7") "], \"devices\": [%s]}}",
                        devices);
    g_autoptr(BerthObject) host =
        make(&berth_kind_host, "h1",
             "{\"uri\": \"qemu+ssh://h1/system\", \"dedicated_cpus\": \"2-3,6-7\", \"devices\": "
             "[{\"class\": \"gpu\", \"ids\": [\"10de:20b0\"]}]}",
             status);
    g_autoptr(GError) error = NULL;
    g_assert_true(berth_ledger_put_host(f->ledger, host, TRUE, NULL, &error));
    g_assert_no_error(error);
}

static const char in_order[] =
    GPU("41", "0") ", " GPU("42", "1") ", " GPU("43", "0") ", " GPU("44", "1");
static const char other_order[] =
    GPU("44", "1") ", " GPU("43", "0") ", " GPU("42", "1") ", " GPU("41", "0");

static void
set_up(Fixture *f, gconstpointer unused)
{
    BerthSettingsSpec settings = {.overcommit_cpu_percent = 100, .overcommit_memory_percent = 100};
    berth_manual_clock_init(&f->clock, 0);
    f->ledger = berth_ledger_new(&f->clock.base);
    berth_ledger_set_settings(f->ledger, &settings);
}

static void
tear_down(Fixture *f, gconstpointer unused)
{
    berth_ledger_free(f->ledger);
}

static gboolean
place(Fixture *f, const BerthObject *pod, gint64 disk_mib)
{
    BerthNeeds needs = {.disk_mib = disk_mib};
    g_autofree char *host = NULL;
    g_autoptr(json_t) why = NULL;
    return berth_ledger_place(f->ledger, pod, &needs, NULL, &host, &why, NULL);
}

/* What a record keeps of a decision. */
typedef struct {
    char *victim;
    json_t *holding, *rest;
} Record;

static void
clear_record(Record *record)
{
    g_free(record->victim);
    json_decref(record->holding);
    json_decref(record->rest);
}

/* @low has its place, @high is refused: what is decided. */
static void
decide(Fixture *f, const BerthObject *low, const BerthObject *high, const Case *c, Record *record)
{
    g_autoptr(GPtrArray) members = g_ptr_array_new();
    BerthNeeds needs = {.disk_mib = c->high_disk};
    const char *anywhere = NULL;
    BerthParty party = {members, &needs, &anywhere};
    g_ptr_array_add(members, (gpointer)high);
    g_assert_true(place(f, low, c->low_disk));
    g_assert_false(place(f, high, c->high_disk));
    g_autoptr(GPtrArray) rooms = berth_ledger_preempt(f->ledger, &party);
    g_assert_nonnull(rooms);
    const BerthRoom *room = rooms->pdata[0];
    g_assert_cmpstr(room->host, ==, "h1");
    g_assert_cmpuint(room->victims->len, ==, 1);
    g_assert_cmpstr(room->victims->pdata[0], ==, low->uid);
    *record = (Record){g_strdup(low->uid), berth_ledger_holding(f->ledger, low->uid),
                       json_deep_copy(room->rest)};
}

static void
end_holds(Fixture *f, const BerthObject *asker)
{
    g_autoptr(GPtrArray) held = berth_ledger_held_for(f->ledger, asker->uid);
    g_assert_cmpuint(held->len, ==, 2);
    for (guint i = 0; i < held->len; i++) {
        berth_ledger_unhold(f->ledger, held->pdata[i], TRUE);
    }
}

static gint64
used_mib(Fixture *f)
{
    BerthCapacity capacity, used;
    g_assert_true(berth_ledger_usage(f->ledger, "h1", &capacity, &used));
    return used.memory_mib;
}

static void
test_all_that_is_needed_is_kept(Fixture *f, gconstpointer data)
{
    const Case *c = data;
    g_autoptr(BerthObject) low = make_pod("low", c->low, ", \"preemptible\": true");
    g_autoptr(BerthObject) high = make_pod("high", c->high, ", \"priority\": 5");
    g_autoptr(BerthObject) other = make_pod("other", c->other, "");
    Record record;
    put_host(f, in_order);
    decide(f, low, high, c, &record);
    berth_ledger_hold(f->ledger, high->uid, "h1", record.victim, record.holding);
    g_assert_false(berth_ledger_release(f->ledger, low->uid));
    /* Kept is what the victim held, and only that: another one takes what is free beside it. */
    g_assert_true(place(f, other, c->other_disk));
    berth_ledger_release(f->ledger, other->uid);
    berth_ledger_hold_rest(f->ledger, high, "h1", record.rest);
    g_assert_false(place(f, other, c->other_disk));
    end_holds(f, high);
    g_assert_cmpint(used_mib(f), ==, 0);
    g_assert_true(place(f, high, c->high_disk));
    clear_record(&record);
}

/* All that the ledger says of the host, in one text. */
static char *
tell(Fixture *f)
{
    BerthCapacity capacity, used;
    g_autoptr(json_t) file = berth_ledger_export(f->ledger);
    g_autoptr(json_t) dedicated = berth_ledger_dedicated(f->ledger, "h1");
    g_autofree char *held = json_dumps(json_object_get(file, "held"), JSON_SORT_KEYS);
    g_assert_true(berth_ledger_usage(f->ledger, "h1", &capacity, &used));
    return g_strdup_printf("%s; %" G_GINT64_FORMAT " vCPUs, %" G_GINT64_FORMAT
                           " MiB, disk %" G_GINT64_FORMAT "; dedicated free %s",
                           held, used.vcpus, used.memory_mib, used.disk_mib,
                           berth_json_string(dedicated, "free"));
}

/* The daemon dies once the victim is gone: only the record of the one that asked says what was kept. The host may
 * be there before the record is read, or after, and list its devices in another order. */
static void
test_a_restart_changes_nothing(Fixture *f, gconstpointer data)
{
    const Case *c = data;
    g_autoptr(BerthObject) low = make_pod("low", c->low, ", \"preemptible\": true");
    g_autoptr(BerthObject) high = make_pod("high", c->high, ", \"priority\": 5");
    g_autoptr(BerthObject) other = make_pod("other", c->other, "");
    Record record;
    put_host(f, in_order);
    decide(f, low, high, c, &record);
    berth_ledger_hold(f->ledger, high->uid, "h1", record.victim, record.holding);
    berth_ledger_hold_rest(f->ledger, high, "h1", record.rest);
    g_autofree char *before = tell(f);
    for (guint late = 0; late < 2; late++) {
        Fixture next;
        set_up(&next, NULL);
        if (!late) {
            put_host(&next, other_order);
        }
        berth_ledger_hold(next.ledger, high->uid, "h1", record.victim, record.holding);
        berth_ledger_hold_rest(next.ledger, high, "h1", record.rest);
        if (late) {
            put_host(&next, other_order);
            berth_ledger_charge_holds(next.ledger, "h1");
        }
        g_autofree char *after = tell(&next);
        g_assert_cmpstr(after, ==, before);
        g_assert_false(place(&next, other, c->other_disk));
        end_holds(&next, high);
        g_assert_true(place(&next, high, c->high_disk));
        tear_down(&next, NULL);
    }
    clear_record(&record);
}

/* A victim of another project gives nothing back to the asker's quota, of which what it needs is kept. */
static void
test_quota_is_kept_for_the_one_that_asked(Fixture *f, gconstpointer unused)
{
    static const struct {
        const char *quota, *member;
        int amount;
    } claims[] = {{"{\"quota_workloads\": 1}", "workloads", 1},
                  {"{\"quota_devices\": 1}", "device_millis", 1000}};
    g_autoptr(BerthObject) high = make_pod("high", "\"memory_mib\": 400", "");
    g_autoptr(BerthObject) other =
        make_pod("other", "\"memory_mib\": 100", ", \"devices\": [{\"class\": \"gpu\"}]");
    put_host(f, in_order);
    for (guint i = 0; i < G_N_ELEMENTS(claims); i++) {
        g_autoptr(BerthObject) project =
            make(&berth_kind_project, "default", claims[i].quota, "{}");
        g_autoptr(json_t) rest =
            json_pack("{s:{}, s:{s:i}}", "holding", "claim", claims[i].member, claims[i].amount);
        berth_ledger_set_project(f->ledger, project);
        berth_ledger_hold_rest(f->ledger, high, "h1", rest);
        g_assert_cmpint(used_mib(f), ==, 0);
        g_assert_false(place(f, other, 0));
        g_autoptr(GPtrArray) held = berth_ledger_held_for(f->ledger, high->uid);
        berth_ledger_unhold(f->ledger, held->pdata[0], FALSE);
        g_assert_true(place(f, other, 0));
        berth_ledger_release(f->ledger, other->uid);
    }
}

/* What is held is nobody's victim a second time. */
static void
test_what_is_held_is_no_victim(Fixture *f, gconstpointer unused)
{
    const Case *c = &cases[0];
    g_autoptr(BerthObject) low = make_pod("low", c->low, ", \"preemptible\": true");
    g_autoptr(BerthObject) high = make_pod("high", c->high, ", \"priority\": 5");
    g_autoptr(GPtrArray) members = g_ptr_array_new();
    BerthNeeds needs = {0};
    const char *anywhere = NULL;
    BerthParty party = {members, &needs, &anywhere};
    Record record;
    put_host(f, in_order);
    decide(f, low, high, c, &record);
    berth_ledger_hold(f->ledger, high->uid, "h1", record.victim, record.holding);
    g_ptr_array_add(members, high);
    g_assert_null(berth_ledger_preempt(f->ledger, &party));
    clear_record(&record);
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    for (guint i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *what = g_strdelimit(g_strdup(cases[i].what), " ", '-');
        g_autofree char *kept = g_strconcat("/daemon/ledger/hold/keeps/", what, NULL);
        g_autofree char *restart = g_strconcat("/daemon/ledger/hold/restart/", what, NULL);
        g_test_add(kept, Fixture, &cases[i], set_up, test_all_that_is_needed_is_kept, tear_down);
        g_test_add(restart, Fixture, &cases[i], set_up, test_a_restart_changes_nothing, tear_down);
    }
    g_test_add("/daemon/ledger/hold/quota-is-kept", Fixture, NULL, set_up,
               test_quota_is_kept_for_the_one_that_asked, tear_down);
    g_test_add("/daemon/ledger/hold/is-no-victim", Fixture, NULL, set_up,
               test_what_is_held_is_no_victim, tear_down);
    return g_test_run();
}
