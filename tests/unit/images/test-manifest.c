/* Manifests, indexes and configs; every row of the hostile corpus with what it must give. */
#include "images/manifest.h"

#include "base/error.h"
#include "base/json.h"
#include "tests/unit/images/scratch.h"

#include <string.h>

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define OK (-1)

static char *
read_case(const char *name, gsize *size)
{
    g_autofree char *path =
        g_strconcat(scratch_corpus(), "/generated/oci-manifests/", name, ".json", NULL);
    g_autoptr(GError) error = NULL;
    char *data = NULL;
    g_file_get_contents(path, &data, size, &error);
    g_assert_no_error(error);
    return data;
}

static const struct {
    const char *name;
    int code;         /* OK, or the error's */
    const char *says; /* part of the error, or of the result's JSON */
} manifests[] = {
    {"digest-00", BERTH_ERROR_INVALID, "not a digest"},
    {"digest-01", BERTH_ERROR_INVALID, "not a digest"},
    {"digest-02", BERTH_ERROR_INVALID, "not a digest"},
    {"digest-03", BERTH_ERROR_INVALID, "not a digest"},
    {"digest-04", BERTH_ERROR_INVALID, "not a digest"},
    {"digest-05", BERTH_ERROR_INVALID, "not a digest"},
    {"digest-06", BERTH_ERROR_INVALID, "not a digest"},
    {"digest-07", BERTH_ERROR_INVALID, "not a digest"},
    {"digest-08", BERTH_ERROR_INVALID, "not a digest"},
    {"digest-09", BERTH_ERROR_INVALID, "not a digest"},
    {"size-0", BERTH_ERROR_INVALID, "not a size in bytes"},
    {"size-1", BERTH_ERROR_INVALID, "too big integer"},
    {"size-2", BERTH_ERROR_INVALID, "too big integer"},
    {"size-3", BERTH_ERROR_INVALID, "not a size in bytes"},
    {"size-4", BERTH_ERROR_INVALID, "not a size in bytes"},
    {"size-5", BERTH_ERROR_INVALID, "not a size in bytes"},
    {"size-6", BERTH_ERROR_INVALID, "not a size in bytes"},
    {"no-layers", BERTH_ERROR_INVALID, "no layers"},
    {"layers-missing", BERTH_ERROR_INVALID, "no layers"},
    {"layers-null", BERTH_ERROR_INVALID, "no layers"},
    {"layers-10000", BERTH_ERROR_INVALID, "10000 layers, more than 256"},
    {"layers-same", OK, NULL},
    {"index-self", OK, NULL}, /* an index; the loop is met by BERTH_INDEX_DEPTH_MAX when pulling */
    {"type-confusion", BERTH_ERROR_INVALID, "both an index and an image"},
    {"foreign-urls", BERTH_ERROR_DENIED, "other places"},
    {"annotations-huge", BERTH_ERROR_INVALID, "no layers"},
    {"dup-keys", BERTH_ERROR_INVALID, "duplicate"},
    {"deep", BERTH_ERROR_INVALID, "deeper than 8"},
};

static const struct {
    const char *name;
    int code;
    const char *says;
} configs[] = {
    {"config-env-nul", BERTH_ERROR_INVALID, "holds a NUL"},
    {"config-env-no-eq", BERTH_ERROR_INVALID, "not NAME=value"},
    {"config-user-path", BERTH_ERROR_INVALID, "not NAME[:GROUP]"},
    {"config-workdir", OK, "\"workdir\":\"/\""},
    {"config-entry-empty", OK, "\"entrypoint\":[],\"cmd\":[]"},
    {"config-entry-nul", BERTH_ERROR_INVALID, "holds a NUL"},
    {"config-diffids-short", OK, "\"entrypoint\":[]"}, /* then refused by the check below */
    {"config-arch", OK, "\"entrypoint\":[]"},          /* likewise */
    {"config-volumes", OK, "\"env\":[]"},              /* volumes are left aside */
};

/* Each line of INDEX.tsv has a row above. */
static void
test_corpus_is_covered(void)
{
    if (scratch_corpus() == NULL) {
        return;
    }
    g_autofree char *path =
        g_strconcat(scratch_corpus(), "/generated/oci-manifests/INDEX.tsv", NULL);
    g_autofree char *text = NULL;
    g_assert_true(g_file_get_contents(path, &text, NULL, NULL));
    g_auto(GStrv) lines = g_strsplit(g_strchomp(text), "\n", -1);
    for (guint i = 0; lines[i] != NULL; i++) {
        g_autofree char *name = g_strndup(lines[i], strcspn(lines[i], "\t"));
        gboolean found = FALSE;
        for (guint k = 0; k < G_N_ELEMENTS(manifests); k++) {
            found |= strcmp(manifests[k].name, name) == 0;
        }
        for (guint k = 0; k < G_N_ELEMENTS(configs); k++) {
            found |= strcmp(configs[k].name, name) == 0;
        }
        if (!found) {
            g_error("no expectation for '%s'", name);
        }
    }
}

static void
test_manifest_corpus(void)
{
    for (guint i = 0; scratch_corpus() != NULL && i < G_N_ELEMENTS(manifests); i++) {
        gsize size;
        g_autofree char *data = read_case(manifests[i].name, &size);
        g_autoptr(GError) error = NULL;
        g_autoptr(BerthManifest) manifest = berth_manifest_parse(data, size, NULL, &error);
        g_test_message("%s: %s", manifests[i].name, error == NULL ? "ok" : error->message);
        if (manifests[i].code == OK) {
            g_assert_no_error(error);
        } else {
            g_assert_null(manifest);
            scratch_assert_error(error, manifests[i].code, manifests[i].says);
        }
    }
}

static void
test_config_corpus(void)
{
    for (guint i = 0; scratch_corpus() != NULL && i < G_N_ELEMENTS(configs); i++) {
        gsize size;
        g_autofree char *data = read_case(configs[i].name, &size);
        g_autoptr(GError) error = NULL;
        g_autoptr(BerthImageConfig) config = berth_image_config_parse(data, size, &error);
        g_test_message("%s: %s", configs[i].name, error == NULL ? "ok" : error->message);
        if (configs[i].code == OK) {
            g_assert_no_error(error);
            g_autoptr(json_t) json = berth_image_config_to_json(config);
            g_autofree char *text = berth_json_format(json);
            g_assert_nonnull(strstr(text, configs[i].says));
            g_assert_false(berth_image_config_check(config, 1, &error));
            scratch_assert_error(error, BERTH_ERROR_INVALID, "not for linux/amd64");
        } else {
            g_assert_null(config);
            scratch_assert_error(error, configs[i].code, configs[i].says);
        }
    }
}

/* Every prefix and every document with one byte changed: no crash, no leak, an answer. */
static void
test_damaged_documents(void)
{
    static const char text[] =
        "{\"schemaVersion\":2,\"mediaType\":\"" BERTH_MEDIA_OCI_MANIFEST "\",\"config\":{"
        "\"mediaType\":\"" BERTH_MEDIA_OCI_CONFIG "\",\"digest\":\"sha256:" HEX "\",\"size\":2},"
        "\"layers\":[{\"mediaType\":\"" BERTH_MEDIA_OCI_LAYER_GZIP "\",\"digest\":\"sha256:" HEX
        "\",\"size\":1,\"urls\":[]}]}";
    gsize size = sizeof text - 1;
    g_autoptr(BerthManifest) whole = berth_manifest_parse(text, size, NULL, NULL);
    g_assert_nonnull(whole);
    g_assert_cmpuint(whole->layers->len, ==, 1);
    for (gsize cut = 0; cut < size; cut++) {
        g_autoptr(BerthManifest) manifest = berth_manifest_parse(text, cut, NULL, NULL);
        g_assert_null(manifest);
    }
    for (guint round = 0; round < 20000; round++) {
        g_autofree char *copy = g_memdup2(text, size);
        copy[g_test_rand_int_range(0, (int)size)] = (char)g_test_rand_int_range(0, 256);
        g_autoptr(BerthManifest) manifest = berth_manifest_parse(copy, size, NULL, NULL);
        g_autoptr(BerthImageConfig) config = berth_image_config_parse(copy, size, NULL);
    }
}

#define ENTRY(os, arch, more)                                                                      \
    "{\"mediaType\":\"" BERTH_MEDIA_OCI_MANIFEST "\",\"digest\":\"sha256:" HEX                     \
    "\",\"size\":7,\"platform\":{\"os\":\"" os "\",\"architecture\":\"" arch "\"" more "}}"
#define INDEX(entries) "{\"schemaVersion\":2,\"manifests\":[" entries "]}"

static void
test_platform(void)
{
    static const char mixed[] = INDEX(ENTRY("linux", "arm64", "") "," ENTRY(
        "linux", "amd64", ",\"variant\":\"v3\"") ","
                                                 "{\"mediaType\":\"" BERTH_MEDIA_DOCKER_MANIFEST
                                                 "\",\"digest\":\"sha256:" HEX
                                                 "\",\"size\":8,\"platform\":{\"os\":\"linux\","
                                                 "\"architecture\":\"amd64\"}}");
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthManifest) manifest = berth_manifest_parse(mixed, strlen(mixed), NULL, &error);
    g_assert_no_error(error);
    g_assert_cmpint(manifest->type, ==, BERTH_MANIFEST_INDEX);
    g_assert_cmpuint(manifest->chosen.size, ==, 8);
    static const char foreign[] =
        INDEX(ENTRY("linux", "arm64", "") "," ENTRY("win\\n", "amd64", ""));
    g_assert_null(berth_manifest_parse(foreign, strlen(foreign), NULL, &error));
    scratch_assert_error(error, BERTH_ERROR_NOT_FOUND, "linux/arm64");
}

static void
test_confusion(void)
{
    static const char index[] = INDEX(ENTRY("linux", "amd64", ""));
    g_autoptr(GError) error = NULL;
    g_assert_null(berth_manifest_parse(index, strlen(index), BERTH_MEDIA_OCI_MANIFEST, &error));
    scratch_assert_error(error, BERTH_ERROR_INVALID, "contradicts");
    g_autoptr(BerthManifest) manifest =
        berth_manifest_parse(index, strlen(index), BERTH_MEDIA_DOCKER_INDEX, NULL);
    g_assert_nonnull(manifest);
    g_clear_error(&error);
    static const char old[] = "{\"schemaVersion\":1,\"fsLayers\":[]}";
    g_assert_null(berth_manifest_parse(old, strlen(old), NULL, &error));
    scratch_assert_error(error, BERTH_ERROR_INVALID, "schemaVersion 2");
    g_clear_error(&error);
    g_autofree char *huge = g_strnfill(BERTH_MANIFEST_SIZE_MAX + 1, ' ');
    g_assert_null(berth_manifest_parse(huge, BERTH_MANIFEST_SIZE_MAX + 1, NULL, &error));
    scratch_assert_error(error, BERTH_ERROR_INVALID, "larger than");
}

static void
test_config(void)
{
    static const char text[] =
        "{\"os\":\"linux\",\"architecture\":\"amd64\",\"config\":{\"Entrypoint\":[\"/init\"],"
        "\"Cmd\":[\"a\",\"b c\"],\"Env\":[\"A=1\",\"B=2\",\"A=3=4\",\"E=\"],\"User\":\"www:80\","
        "\"WorkingDir\":\"srv//x/../y/.\",\"StopSignal\":\"SIGQUIT\","
        "\"ExposedPorts\":{\"80/tcp\":{}},\"Labels\":{\"l\":\"v\\n\"}},"
        "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"sha256:" HEX "\"]}}";
    g_autoptr(GError) error = NULL;
    g_autoptr(BerthImageConfig) config = berth_image_config_parse(text, strlen(text), &error);
    g_assert_no_error(error);
    g_assert_true(berth_image_config_check(config, 1, &error));
    g_assert_false(berth_image_config_check(config, 2, &error));
    scratch_assert_error(error, BERTH_ERROR_INVALID, "names 1 layers, its manifest 2");
    g_autoptr(BerthImageConfig) copy = berth_image_config_copy(config);
    g_autoptr(json_t) json = berth_image_config_to_json(copy);
    g_autofree char *got = berth_json_format(json);
    g_assert_cmpstr(got, ==,
                    "{\"entrypoint\":[\"/init\"],\"cmd\":[\"a\",\"b c\"],"
                    "\"env\":[\"A=3=4\",\"B=2\",\"E=\"],\"user\":\"www:80\","
                    "\"workdir\":\"/srv/y\",\"stop_signal\":\"SIGQUIT\","
                    "\"exposed_ports\":[\"80/tcp\"],\"labels\":{\"l\":\"v\\n\"}}");
}

int
main(int argc, char **argv)
{
    g_test_init(&argc, &argv, NULL);
    g_test_add_func("/images/manifest/corpus-is-covered-row-by-row", test_corpus_is_covered);
    g_test_add_func("/images/manifest/gives-each-hostile-manifest-its-answer",
                    test_manifest_corpus);
    g_test_add_func("/images/manifest/gives-each-hostile-config-its-answer", test_config_corpus);
    g_test_add_func("/images/manifest/survives-damaged-documents", test_damaged_documents);
    g_test_add_func("/images/manifest/chooses-plain-linux-amd64-from-an-index", test_platform);
    g_test_add_func("/images/manifest/refuses-documents-of-two-kinds", test_confusion);
    g_test_add_func("/images/config/reads-how-the-image-wants-to-be-run", test_config);
    return g_test_run();
}
