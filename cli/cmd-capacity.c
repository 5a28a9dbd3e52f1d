/* How much is left: how many more workloads of a kind fit. */
#include "cli/cmd.h"

#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "cli/document.h"
#include "cli/question.h"
#include "cli/resolve.h"

/* So many hosts are shown one by one without -o wide. */
#define HOSTS_SHOWN 16

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
run_capacity(BerthSession *session, const BerthArgs *args, GError **error)
{
    const char *given = berth_args_get(args, "like");
    if (given == NULL) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, NULL,
                           "--like cpus=2,memory=512m, --like FILE, or --like NAME", "say of what");
        return BERTH_FAILED;
    }
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
     .doc = "how many more workloads of a kind fit",
     .run = run_capacity,
     .options = capacity_options,
     .about = "Names with a dot or a slash are files. Sizes are those of a pod, or with kind=vm of "
              "a VM, "
              "which has a disk, too; the words are those of berth run and berth vm create: cpus, "
              "memory, disk, numa, huge-pages, dedicated-cpus, device, host, network.",
     .example = "berth capacity --like cpus=2,memory=512m\n"
                "berth capacity --like kind=vm,cpus=8,memory=32g,numa=one,device=gpu=2\n"
                "berth capacity --like web\n"
                "berth capacity --like vm.yaml --without-host h3"},
    {NULL},
};
