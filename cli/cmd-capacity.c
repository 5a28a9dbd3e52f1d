/* How much is left: of the whole fleet, and how many more workloads of a kind fit. */
#include "cli/cmd.h"

#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "cli/document.h"
#include "cli/question.h"
#include "cli/resolve.h"

/* So many hosts are shown one by one without -o wide. */
#define HOSTS_SHOWN 16

/* Of usual sizes no more than so many are counted. */
#define MORE_COUNTED 1000

/* ---- of what --------------------------------------------------------------------------------------- */

/* The words of --like: the options of `run` and `vm create` that say what a workload needs. */
static const BerthOption like_options[] = {
    {"memory", 0, BERTH_OPTION_SIZE, "SIZE", "memory"},
    {"cpus", 0, BERTH_OPTION_NUMBER, "N", "virtual CPUs"},
    {"vcpus", 0, BERTH_OPTION_NUMBER, "N", "virtual CPUs"},
    {"disk", 0, BERTH_OPTION_SIZE, "SIZE", "disk of a VM"},
    BERTH_WORKLOAD_OPTIONS,
    {NULL},
};
static const BerthCommand like_words = {.name = "capacity", .options = like_options};

#define LIKE_HINT "--like cpus=2,memory=4g or --like kind=vm,memory=4g,disk=20g,numa=one"

/* One part of --like: an option's word goes to @words, another field of a spec with its number to @spec. */
static gboolean
sort_part(const char *part, GStrvBuilder *words, json_t *spec, GError **error)
{
    const char *equals = strchr(part, '=');
    g_autofree char *name =
        equals != NULL ? g_strndup(part, (gsize)(equals - part)) : g_strdup(part);
    gint64 number;
    if (berth_option_find(like_options, name) != NULL) {
        g_autofree char *word = g_strconcat("--", part, NULL);
        g_strv_builder_add(words, word);
        return TRUE;
    }
    if (equals == NULL || !g_ascii_string_to_signed(equals + 1, 10, 0, G_MAXINT64, &number, NULL)) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, NULL, LIKE_HINT,
                           "option --like: '%s' is no size", part);
        return FALSE;
    }
    json_object_set_new(spec, name, json_integer(number));
    return TRUE;
}

static json_t *
make_document(gboolean is_vm, json_t *spec, gint64 disk_mib)
{
    if (is_vm) {
        json_object_set_new(
            spec, "disks",
            json_pack("[{s:s, s:I}]", "name", "root", "size_mib", (json_int_t)disk_mib));
    } else {
        json_object_set_new(spec, "containers",
                            json_pack("[{s:s, s:s}]", "name", "main", "image", "any"));
    }
    return json_pack("{s:s, s:O}", "kind", is_vm ? "VM" : "Pod", "spec", spec);
}

/* "cpus=2,memory=512m" and, for VMs, "kind=vm,disk=4g": a document of that size. */
static json_t *
read_sizes(const char *text, GError **error)
{
    g_auto(GStrv) parts = g_strsplit(text, ",", -1);
    g_autoptr(GStrvBuilder) builder = g_strv_builder_new();
    g_autoptr(json_t) spec = json_object();
    gboolean is_vm = FALSE;
    for (char **part = parts; *part != NULL; part++) {
        if (g_ascii_strcasecmp(*part, "kind=vm") == 0 ||
            g_ascii_strcasecmp(*part, "kind=pod") == 0) {
            is_vm = g_ascii_strcasecmp(*part, "kind=vm") == 0;
        } else if (!sort_part(*part, builder, spec, error)) {
            return NULL;
        }
    }
    g_auto(GStrv) words = g_strv_builder_end(builder);
    g_autoptr(BerthArgs) args = berth_args_parse(&like_words, words, error);
    if (args == NULL || !berth_workload_options_put(spec, args, error)) {
        return NULL;
    }
    gint64 disk_mib = berth_json_integer(spec, "disk_mib", berth_args_number(args, "disk", 1));
    json_object_del(spec, "disk_mib");
    return make_document(is_vm, spec, disk_mib);
}

/* A file, sizes, or the name of a workload that is there. */
static json_t *
read_like(BerthSession *session, const char *like, GError **error)
{
    if (strchr(like, '=') != NULL) {
        return read_sizes(like, error);
    }
    if (strcmp(like, "-") == 0 || strchr(like, '/') != NULL || strchr(like, '.') != NULL) {
        g_autoptr(json_t) documents = berth_documents_read(like, error);
        if (documents != NULL && json_array_size(documents) != 1) {
            berth_error_set(error, BERTH_ERROR_INVALID, "'%s' has %zu documents; one is needed",
                            like, json_array_size(documents));
        }
        return json_array_size(documents) == 1 ? json_incref(json_array_get(documents, 0)) : NULL;
    }
    g_autoptr(json_t) object = berth_resolve_workload(session, NULL, like, error);
    const json_t *metadata = json_object_get(object, "metadata");
    return object == NULL ? NULL
                          : json_pack("{s:{s:s, s:s}}", "metadata", "name",
                                      berth_json_string(metadata, "name"), "project",
                                      berth_json_string(metadata, "project"));
}

/* ---- the answer ------------------------------------------------------------------------------------ */

static void
put_capacity(BerthSession *session, const json_t *capacity)
{
    static const BerthColumn columns[] = {{"Host", "/name"}, {"More of them", "/count"}, {NULL}};
    const json_t *hosts = json_object_get(capacity, "hosts");
    const json_t *ends = json_object_get(capacity, "ends");
    gint64 total = berth_json_integer(capacity, "total", 0);
    gboolean limited = json_is_true(json_object_get(capacity, "limited"));
    gsize count = json_array_size(hosts);
    if (count > 0 && (count <= HOSTS_SHOWN || session->output == BERTH_OUTPUT_WIDE)) {
        g_autoptr(json_t) sorted = berth_sort_by_name(hosts, "name");
        g_autofree char *text = berth_print_objects(sorted, columns, FALSE, 0);
        printf("%s", text);
    }
    g_autofree char *where = count > HOSTS_SHOWN ? g_strdup_printf(" on %zu hosts", count) : NULL;
    berth_session_tell(session, "%s%" G_GINT64_FORMAT " more fit%s%s", limited ? "At least " : "",
                       total, where != NULL ? where : "", ends != NULL ? "; then:" : ".");
    if (ends != NULL) {
        berth_question_put_refusal(session, ends);
    }
}

static int
count_like(BerthSession *session, const BerthArgs *args, const char *given, GError **error)
{
    g_autoptr(json_t) like = read_like(session, given, error);
    g_autoptr(json_t) question = json_pack("{s:O?}", "like", like);
    if (like == NULL || !berth_question_add_hosts(question, args, error)) {
        return BERTH_FAILED;
    }
    g_autoptr(json_t) capacity = berth_question_ask(session, "/v1/capacity", question, error);
    if (capacity == NULL) {
        return BERTH_FAILED;
    }
    if (berth_session_wants_value(session)) {
        berth_session_put_value(session, capacity);
    } else {
        put_capacity(session, capacity);
    }
    return BERTH_EXIT_OK;
}

/* ---- the whole fleet ------------------------------------------------------------------------------- */

/* Adds to @size how many more of it fit. */
static gboolean
count_more(BerthSession *session, json_t *size, GError **error)
{
    gboolean is_vm = g_strcmp0(berth_json_string(size, "kind"), "VM") == 0;
    g_autoptr(json_t) spec = json_pack("{s:O, s:O}", "vcpus", json_object_get(size, "vcpus"),
                                       "memory_mib", json_object_get(size, "memory_mib"));
    g_autoptr(json_t) question =
        json_pack("{s:o, s:i}", "like", make_document(is_vm, spec, 1), "limit", MORE_COUNTED);
    g_autoptr(json_t) answer = berth_question_ask(session, "/v1/capacity", question, error);
    if (answer == NULL) {
        return FALSE;
    }
    json_object_set(size, "more", json_object_get(answer, "total"));
    json_object_set(size, "more_limited", json_object_get(answer, "limited"));
    return TRUE;
}

/* "1.5 GiB" of what is counted in MiB, else the number. */
static char *
format_amount(const json_t *resource, const char *member)
{
    const char *name = berth_json_string(resource, "name");
    gint64 amount = berth_json_integer(resource, member, 0);
    return name != NULL && g_str_has_suffix(name, "_mib") && amount >= 0
               ? berth_format_mib(amount)
               : g_strdup_printf("%" G_GINT64_FORMAT, amount);
}

/* What people call it: "Memory", "Huge pages of 2 MiB", "Devices: gpu". */
static char *
title_of(const char *name)
{
    static const char *const titles[][2] = {{"vcpus", "vCPUs"},
                                            {"memory_mib", "Memory"},
                                            {"disk_mib", "Disk"},
                                            {"dedicated_cpus", "Dedicated CPUs"}};
    for (gsize i = 0; i < G_N_ELEMENTS(titles); i++) {
        if (strcmp(name, titles[i][0]) == 0) {
            return g_strdup(titles[i][1]);
        }
    }
    if (g_str_has_prefix(name, "hugepages-")) {
        gint64 kib = g_ascii_strtoll(name + strlen("hugepages-"), NULL, 10);
        g_autofree char *size = berth_format_mib(kib / 1024);
        return g_strdup_printf("Huge pages of %s", size);
    }
    if (g_str_has_prefix(name, "resources/")) {
        return g_strdup(name + strlen("resources/"));
    }
    return g_str_has_prefix(name, "devices/")
               ? g_strdup_printf("Devices: %s", name + strlen("devices/"))
               : g_strdup(name);
}

static void
put_resources(BerthSession *session, const json_t *resources)
{
    static const char *const titles[] = {"Resource", "Capacity",         "Used",
                                         "Free",     "Most on one host", NULL};
    static const char *const members[] = {"capacity", "used", "free", "largest_free"};
    g_autoptr(BerthTable) table = berth_table_new(titles);
    gsize i;
    json_t *resource;
    json_array_foreach ((json_t *)resources, i, resource) {
        const char *name = berth_json_string(resource, "name");
        g_autoptr(GPtrArray) cells = g_ptr_array_new_with_free_func(g_free);
        g_ptr_array_add(cells, title_of(name != NULL ? name : ""));
        for (gsize k = 0; k < G_N_ELEMENTS(members); k++) {
            g_ptr_array_add(cells, format_amount(resource, members[k]));
        }
        berth_table_add(table, (const char *const *)cells->pdata);
    }
    g_autofree char *text = berth_table_format(table);
    berth_session_put(session, text);
}

static void
put_sizes(BerthSession *session, const json_t *sizes)
{
    static const char *const titles[] = {"Usual size", "vCPUs",    "Memory",
                                         "Placed",     "More fit", NULL};
    g_autoptr(BerthTable) table = berth_table_new(titles);
    gsize i;
    json_t *size;
    json_array_foreach ((json_t *)sizes, i, size) {
        gboolean limited = json_is_true(json_object_get(size, "more_limited"));
        g_autofree char *memory = berth_format_mib(berth_json_integer(size, "memory_mib", 0));
        g_autofree char *vcpus = format_amount(size, "vcpus");
        g_autofree char *placed = format_amount(size, "placed");
        g_autofree char *more = format_amount(size, "more");
        g_autofree char *least = g_strdup_printf("at least %s", more);
        const char *cells[] = {berth_json_string(size, "kind"), vcpus, memory, placed,
                               limited ? least : more};
        berth_table_add(table, cells);
    }
    if (json_array_size(sizes) > 0) {
        g_autofree char *text = berth_table_format(table);
        berth_session_put(session, text);
    }
}

/* Adds @words and what @project has of @prefix and @member, unless that is 0: none was set. */
static void
append_amount(GString *text, const char *words, const json_t *project, const char *prefix,
              const char *member)
{
    g_autofree char *name = g_strconcat(prefix, member, NULL);
    gint64 amount = berth_json_integer(project, name, 0);
    g_autofree char *shown = g_str_has_suffix(member, "_mib")
                                 ? berth_format_mib(amount)
                                 : g_strdup_printf("%" G_GINT64_FORMAT, amount);
    if (*prefix == '\0' || amount > 0) {
        g_string_append_printf(text, "%s%s", words, shown);
    }
}

/* "3", "3 of 10" when there is a quota, "3, 8 reserved" when others leave some free for it. */
static char *
format_share(const json_t *project, const char *member)
{
    GString *text = g_string_new(NULL);
    append_amount(text, "", project, "", member);
    append_amount(text, " of ", project, "quota_", member);
    gsize before = text->len;
    append_amount(text, ", ", project, "reserved_", member);
    g_string_append(text, text->len > before ? " reserved" : "");
    return g_string_free(text, FALSE);
}

static void
put_projects(BerthSession *session, const json_t *projects)
{
    static const char *const titles[] = {"Project", "Workloads", "vCPUs", "Memory",
                                         "Devices", "Waiting",   NULL};
    g_autoptr(BerthTable) table = berth_table_new(titles);
    gsize i;
    json_t *project;
    json_array_foreach ((json_t *)projects, i, project) {
        g_autofree char *workloads = format_share(project, "workloads");
        g_autofree char *vcpus = format_share(project, "vcpus");
        g_autofree char *memory = format_share(project, "memory_mib");
        g_autofree char *devices = format_share(project, "devices");
        g_autofree char *waiting = format_amount(project, "waiting");
        const char *cells[] = {
            berth_json_string(project, "name"), workloads, vcpus, memory, devices, waiting};
        berth_table_add(table, cells);
    }
    g_autofree char *text = berth_table_format(table);
    berth_session_put(session, text);
}

static int
show_fleet(BerthSession *session, GError **error)
{
    g_autoptr(json_t) overview = berth_client_get(session->client, "/v1/capacity", error);
    json_t *sizes = json_object_get(overview, "sizes");
    if (overview == NULL) {
        return BERTH_FAILED;
    }
    for (gsize i = 0; i < json_array_size(sizes); i++) {
        if (!count_more(session, json_array_get(sizes, i), error)) {
            return BERTH_FAILED;
        }
    }
    if (berth_session_wants_value(session)) {
        berth_session_put_value(session, overview);
        return BERTH_EXIT_OK;
    }
    put_resources(session, json_object_get(overview, "resources"));
    put_sizes(session, sizes);
    put_projects(session, json_object_get(overview, "projects"));
    berth_session_tell(session,
                       "%" G_GINT64_FORMAT " of %" G_GINT64_FORMAT
                       " hosts take new workloads; what is free elsewhere is not counted.",
                       berth_json_integer(overview, "open_hosts", 0),
                       berth_json_integer(overview, "hosts", 0));
    return BERTH_EXIT_OK;
}

static int
run_capacity(BerthSession *session, const BerthArgs *args, GError **error)
{
    const char *given = berth_args_get(args, "like");
    gboolean assumes = berth_args_has(args, "without-host") || berth_args_has(args, "add-host");
    if (given == NULL && assumes) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, NULL,
                           "--like cpus=2,memory=512m, --like FILE, or --like NAME",
                           "say of what; or ask of the fleet as it is");
        return BERTH_FAILED;
    }
    return given != NULL ? count_like(session, args, given, error) : show_fleet(session, error);
}

/* ---- the table ------------------------------------------------------------------------------------- */

static const BerthOption capacity_options[] = {
    {"like", 0, BERTH_OPTION_TEXT, "SPEC",
     "of what: cpus=2,memory=4g, a file, or a workload's name", NULL, BERTH_COMPLETE_WORKLOAD},
    BERTH_ASSUMPTION_OPTIONS,
    {NULL},
};

const BerthCommand berth_capacity_commands[] = {
    {.name = "capacity",
     .group = BERTH_GROUP_PLACEMENT,
     .doc = "how full the fleet is, or how many more of a kind fit",
     .run = run_capacity,
     .options = capacity_options,
     .about = "Names with a dot or a slash are files. Sizes are those of a pod, or with kind=vm of "
              "a VM, "
              "which has a disk, too; the words are those of berth run and berth vm create: cpus, "
              "memory, disk, numa, huge-pages, cpu-model, cpu-feature, dedicated-cpus, device, "
              "resource, host, network.",
     .example = "berth capacity\nberth capacity --like cpus=2,memory=512m\n"
                "berth capacity --like kind=vm,cpus=8,memory=32g,numa=one,device=gpu=2\n"
                "berth capacity --like web\n"
                "berth capacity --like vm.yaml --without-host h3"},
    {NULL},
};
