/* What the tests of images/ share. Start at scratch_corpus(). */
#include "tests/unit/images/scratch.h"

#include "base/error.h"

#include <gio/gio.h>
#include <glib/gstdio.h>
#include <string.h>
#include <sys/stat.h>

char *
scratch_folder(void)
{
    g_autoptr(GError) error = NULL;
    char *folder = g_dir_make_tmp("berth-images-XXXXXX", &error);
    g_assert_no_error(error);
    return folder;
}

gboolean
scratch_program_missing(const char *program)
{
    g_autofree char *path = g_find_program_in_path(program);
    if (path == NULL) {
        g_autofree char *why = g_strdup_printf("'%s' is not installed", program);
        g_test_skip(why);
    }
    return path == NULL;
}

char *
scratch_run(const char *const *argv)
{
    g_autoptr(GError) error = NULL;
    char *output = NULL;
    int status;
    g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &output, NULL, &status,
                 &error);
    g_assert_no_error(error);
    g_spawn_check_wait_status(status, &error);
    g_assert_no_error(error);
    return output;
}

static char *corpus;

static void
remove_corpus(void)
{
    folder_remove(corpus);
    g_clear_pointer(&corpus, g_free);
}

const char *
scratch_corpus(void)
{
    if (corpus != NULL) {
        return corpus;
    }
    const char *folder = g_getenv("BERTH_CORPORA");
    const char *top = g_getenv("TOP_SRCDIR");
    g_autofree char *fallback =
        g_build_filename(top == NULL ? "." : top, "..", "shared", "corpora", NULL);
    g_autofree char *archive =
        g_build_filename(folder == NULL ? fallback : folder, "oci-hostile.tar.xz", NULL);
    if (!g_file_test(archive, G_FILE_TEST_IS_REGULAR)) {
        g_autofree char *why = g_strdup_printf("no corpus at '%s'; set BERTH_CORPORA", archive);
        g_test_skip(why);
        return NULL;
    }
    corpus = scratch_folder();
    atexit(remove_corpus);
    const char *argv[] = {"tar", "-xJf", archive, "-C", corpus, NULL};
    g_autofree char *output = scratch_run(argv);
    return corpus;
}

void
scratch_tar_add(GByteArray *tar, BerthTarType type, const char *path, const char *content)
{
    static const guint8 zeros[512];
    gboolean link = type == BERTH_TAR_HARD_LINK || type == BERTH_TAR_SYMLINK;
    gsize size = type == BERTH_TAR_FILE && content != NULL ? strlen(content) : 0;
    BerthTarEntry entry = {.type = type,
                           .path = (char *)path,
                           .link = link ? (char *)content : NULL,
                           .mode = type == BERTH_TAR_FOLDER ? 0755 : 0644,
                           .size = size};
    berth_tar_format_header(&entry, tar);
    g_byte_array_append(tar, (const guint8 *)content, (guint)size);
    g_byte_array_append(tar, zeros, (guint)berth_tar_padding(size));
}

void
scratch_tar_end(GByteArray *tar)
{
    static const guint8 zeros[1024];
    g_byte_array_append(tar, zeros, sizeof zeros);
}

GBytes *
scratch_gzip(const void *data, gsize size)
{
    g_autoptr(GZlibCompressor) gzip = g_zlib_compressor_new(G_ZLIB_COMPRESSOR_FORMAT_GZIP, 6);
    g_autoptr(GOutputStream) memory = g_memory_output_stream_new_resizable();
    g_autoptr(GOutputStream) stream = g_converter_output_stream_new(memory, G_CONVERTER(gzip));
    g_autoptr(GError) error = NULL;
    g_output_stream_write_all(stream, data, size, NULL, NULL, &error);
    g_assert_no_error(error);
    g_output_stream_close(stream, NULL, &error);
    g_assert_no_error(error);
    return g_memory_output_stream_steal_as_bytes(G_MEMORY_OUTPUT_STREAM(memory));
}

static gint
compare_texts(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void
witness_folder(const char *folder, GPtrArray *lines)
{
    g_autoptr(GDir) dir = g_dir_open(folder, 0, NULL);
    const char *name;
    while (dir != NULL && (name = g_dir_read_name(dir)) != NULL) {
        g_autofree char *path = g_build_filename(folder, name, NULL);
        GStatBuf info;
        if (g_lstat(path, &info) != 0) {
            continue;
        }
        g_ptr_array_add(lines,
                        g_strdup_printf("%s %lu %o %ld.%ld %ld", path, (unsigned long)info.st_ino,
                                        info.st_mode, (long)info.st_ctim.tv_sec,
                                        (long)info.st_ctim.tv_nsec, (long)info.st_size));
        if (S_ISDIR(info.st_mode)) {
            witness_folder(path, lines);
        }
    }
}

char *
scratch_witness(const char *folder)
{
    g_autoptr(GPtrArray) lines = g_ptr_array_new_with_free_func(g_free);
    witness_folder(folder, lines);
    g_ptr_array_sort(lines, compare_texts);
    g_ptr_array_add(lines, NULL);
    return g_strjoinv("\n", (char **)lines->pdata);
}

BerthDescriptor *
scratch_blob(BerthBlobs *blobs, const void *data, gsize size, const char *media_type)
{
    g_autoptr(GError) error = NULL;
    BerthDigest digest;
    berth_blobs_put(blobs, data, size, &digest, &error);
    g_assert_no_error(error);
    berth_blobs_unpin(blobs, &digest);
    return berth_descriptor_new(&digest, size, media_type);
}

void
scratch_assert_error(const GError *error, int code, const char *part)
{
    g_assert_error(error, BERTH_ERROR, code);
    if (strstr(error->message, part) == NULL) {
        g_error("'%s' does not say '%s'", error->message, part);
    }
    g_assert_null(strchr(error->message, '\n'));
    g_assert_null(strchr(error->message, '\033'));
}
