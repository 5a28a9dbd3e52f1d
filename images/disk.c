/* VM disk images: our own reading of the header first, then qemu-img with its format named.
 *
 * Invariant: no image with a reference to another file, or a feature unknown to us, is ever given to
 * QEMU, and no format is ever guessed (the class of CVE-2022-47951 and CVE-2024-32498). qemu-img
 * sees the file as an inherited descriptor, under limits of memory, CPU and file size. Thread-safe.
 * Format: QEMU's docs/interop/qcow2. Start at berth_disk_inspect(). */
#define _GNU_SOURCE /* prlimit */
#include "images/disk.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/json.h"

#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define QCOW2_MAGIC 0x514649fbu
#define FEATURE_DIRTY (1u << 0)
#define FEATURE_COMPRESSION (1u << 3)
#define FEATURE_EXTENDED_L2 (1u << 4)
#define EXTENSION_END 0u
#define EXTENSION_BACKING_FORMAT 0xe2792acau
#define EXTENSION_DATA_FILE 0x44415441u
#define OUTPUT_MAX (256 * 1024)
#define QEMU_IMG_SECONDS 60

static const char *const format_names[] = {[BERTH_DISK_RAW] = "raw", [BERTH_DISK_QCOW2] = "qcow2"};

/** Reads "raw" or "qcow2". Errors: INVALID for anything else: other formats are converted by the user. */
gboolean
berth_disk_format_parse(const char *text, BerthDiskFormat *format, GError **error)
{
    for (guint i = 0; text != NULL && i < G_N_ELEMENTS(format_names); i++) {
        if (strcmp(text, format_names[i]) == 0) {
            *format = (BerthDiskFormat)i;
            return TRUE;
        }
    }
    g_autofree char *shown = g_strescape(text == NULL ? "" : text, NULL);
    berth_error_set_at(error, BERTH_ERROR_INVALID, NULL,
                       "convert it: qemu-img convert -O qcow2 FROM TO",
                       "'%.40s' is no format of disk images that Berth takes (qcow2, raw)", shown);
    return FALSE;
}

/** Returns: "raw" or "qcow2"; static. */
const char *
berth_disk_format_name(BerthDiskFormat format)
{
    return format_names[format];
}

static guint32
get32(const guint8 *at)
{
    return (guint32)at[0] << 24 | (guint32)at[1] << 16 | (guint32)at[2] << 8 | at[3];
}

static guint64
get64(const guint8 *at)
{
    return (guint64)get32(at) << 32 | get32(at + 4);
}

static gboolean G_GNUC_PRINTF(2, 3) refuse(GError **error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *text = g_strdup_vprintf(format, args);
    va_end(args);
    berth_error_set(error, BERTH_ERROR_INVALID, "the disk image is refused: %s", text);
    return FALSE;
}

static gboolean
check_virtual_size(guint64 size, GError **error)
{
    if (size == 0 || size > BERTH_DISK_VIRTUAL_MAX || size % 512 != 0) {
        return refuse(error,
                      "its virtual size of %" G_GUINT64_FORMAT
                      " bytes is not a number of sectors up to %" G_GUINT64_FORMAT " TiB",
                      size, BERTH_DISK_VIRTUAL_MAX >> 40);
    }
    return TRUE;
}

/* Fields that are the same in version 2 and 3. */
static gboolean
check_qcow2_base(const guint8 *header, GError **error)
{
    if (get32(header) != QCOW2_MAGIC) {
        return refuse(error, "it is no qcow2 file");
    }
    guint32 version = get32(header + 4);
    if (version != 2 && version != 3) {
        return refuse(error, "it is qcow2 version %u, not 2 or 3", version);
    }
    if (get64(header + 8) != 0 || get32(header + 16) != 0) {
        return refuse(error, "it needs a backing file; make it whole with 'qemu-img convert'");
    }
    guint32 cluster_bits = get32(header + 20);
    if (cluster_bits < 9 || cluster_bits > 21) {
        return refuse(error, "its clusters have 2^%u bytes", cluster_bits);
    }
    if (get32(header + 32) != 0) {
        return refuse(error, "it is encrypted");
    }
    return check_virtual_size(get64(header + 24), error);
}

/* The first-level table must be as large as the size asks for, and lie inside the file. */
static gboolean
check_qcow2_tables(const guint8 *header, guint64 file_size, GError **error)
{
    guint32 bits = get32(header + 20), entries = get32(header + 36);
    guint64 table = get64(header + 40), refcounts = get64(header + 48);
    guint32 refcount_clusters = get32(header + 56), snapshots = get32(header + 60);
    guint64 cluster = G_GUINT64_CONSTANT(1) << bits;
    guint64 covered = cluster * (cluster / 8);
    guint64 needed = (get64(header + 24) + covered - 1) / covered;
    if (entries < needed || entries > 4 * 1024 * 1024 || table % cluster != 0 || table == 0 ||
        table > file_size || (guint64)entries * 8 > file_size - table) {
        return refuse(error, "its first-level table lies outside the file");
    }
    if (refcounts % cluster != 0 || refcounts == 0 || refcounts >= file_size ||
        refcount_clusters == 0 || refcount_clusters > 8 * 1024 * 1024 / cluster + 1) {
        return refuse(error, "its reference table lies outside the file");
    }
    if (snapshots != 0) {
        return refuse(error,
                      "it holds %u internal snapshots; make it whole with "
                      "'qemu-img convert'",
                      snapshots);
    }
    return TRUE;
}

static gboolean
check_extension(guint32 type, const guint8 *data, GError **error)
{
    if (type == EXTENSION_DATA_FILE) {
        return refuse(error, "its content lies in another file (data-file)");
    }
    if (type == EXTENSION_BACKING_FORMAT) {
        return refuse(error, "it names the format of a backing file");
    }
    return TRUE;
}

/* Header extensions: type, length, data padded to 8 bytes, until type 0 or the first cluster's end. */
static gboolean
check_extensions(const guint8 *header, gsize size, gsize at, GError **error)
{
    for (;;) {
        if (at + 8 > size) {
            return TRUE;
        }
        guint32 type = get32(header + at), length = get32(header + at + 4);
        if (type == EXTENSION_END) {
            return TRUE;
        }
        at += 8;
        if (length > size - at) {
            return refuse(error, "a header extension is longer than the header");
        }
        if (!check_extension(type, header + at, error)) {
            return FALSE;
        }
        at += (length + 7) & ~(gsize)7;
    }
}

static gboolean
check_qcow2_version3(const guint8 *header, gsize size, GError **error)
{
    guint64 incompatible = get64(header + 72);
    guint32 refcount_order = get32(header + 96), length = get32(header + 100);
    if ((incompatible & ~(guint64)(FEATURE_DIRTY | FEATURE_COMPRESSION | FEATURE_EXTENDED_L2)) !=
        0) {
        return refuse(error,
                      "it uses features Berth does not know (0x%" G_GINT64_MODIFIER
                      "x), or is marked corrupt, or keeps its content in another file",
                      incompatible);
    }
    if (refcount_order > 6 || length < 104 || length % 8 != 0 || length > size) {
        return refuse(error, "its header is malformed");
    }
    return check_extensions(header, size, length, error);
}

static gboolean
inspect_qcow2(const guint8 *header, gsize size, guint64 file_size, BerthDiskInfo *info,
              GError **error)
{
    if (size < 104) {
        return refuse(error, "it is shorter than a qcow2 header");
    }
    if (!check_qcow2_base(header, error) || !check_qcow2_tables(header, file_size, error)) {
        return FALSE;
    }
    /* Extensions end with the first cluster, which may be larger than what was read: then a chain
     * that long is refused by its length. */
    gsize header_size = MIN(size, (gsize)1 << get32(header + 20));
    gboolean ok = get32(header + 4) == 3 ? check_qcow2_version3(header, header_size, error)
                                         : check_extensions(header, header_size, 72, error);
    if (ok) {
        info->format = BERTH_DISK_QCOW2;
        info->virtual_size = get64(header + 24);
    }
    return ok;
}

/* A raw disk may begin with anything. But what begins like another format is a mistake or an attack:
 * a program that guesses would read it as that. */
static gboolean
inspect_raw(const guint8 *header, gsize size, guint64 file_size, BerthDiskInfo *info,
            GError **error)
{
    static const struct {
        const char *magic;
        gsize size;
        const char *name;
    } others[] = {
        {"QFI\xfb", 4, "qcow2"},
        {"KDMV", 4, "VMDK"},
        {"COWD", 4, "VMDK"},
        {"# Disk Descriptor", 17, "VMDK"},
        {"vhdxfile", 8, "VHDX"},
        {"conectix", 8, "VPC"},
        {"QED\0", 4, "QED"},
        {"<<< ", 4, "VDI"},
        {"LUKS\xba\xbe", 6, "LUKS"},
        {"WithoutFreeSpace", 16, "Parallels"},
        {"WithouFreSpacExt", 16, "Parallels"},
        {"json:", 5, "json:"},
    };
    for (guint i = 0; i < G_N_ELEMENTS(others); i++) {
        if (size >= others[i].size && memcmp(header, others[i].magic, others[i].size) == 0) {
            return refuse(error, "it was given as raw and begins like %s", others[i].name);
        }
    }
    if (!check_virtual_size(file_size, error)) {
        return FALSE;
    }
    info->format = BERTH_DISK_RAW;
    info->virtual_size = file_size;
    return TRUE;
}

/**
 * berth_disk_inspect:
 * @fd: the image, readable; its position does not matter and stays
 * @format: what the owner says it is; never guessed
 * @info: (out): set on success only
 *
 * Reads at most the first 64 KiB. Errors: INVALID with the reason; by errno.
 */
gboolean
berth_disk_inspect(int fd, BerthDiskFormat format, BerthDiskInfo *info, GError **error)
{
    const gsize limit = 65536;
    g_autofree guint8 *header = g_malloc0(limit);
    struct stat status;
    if (fstat(fd, &status) != 0) {
        berth_error_set_errno(error, errno, "can't look at the disk image");
        return FALSE;
    }
    if (!S_ISREG(status.st_mode)) {
        return refuse(error, "it is not a plain file");
    }
    gssize got = pread(fd, header, limit, 0);
    if (got < 0) {
        berth_error_set_errno(error, errno, "can't read the disk image");
        return FALSE;
    }
    return format == BERTH_DISK_QCOW2
               ? inspect_qcow2(header, (gsize)got, (guint64)status.st_size, info, error)
               : inspect_raw(header, (gsize)got, (guint64)status.st_size, info, error);
}

static void
limit_child(GSubprocess *process)
{
    const char *identifier = g_subprocess_get_identifier(process);
    pid_t pid = identifier == NULL ? 0 : (pid_t)g_ascii_strtoll(identifier, NULL, 10);
    static const struct {
        int what;
        rlim_t value;
    } limits[] = {{RLIMIT_AS, (rlim_t)2 << 30},
                  {RLIMIT_CPU, QEMU_IMG_SECONDS},
                  {RLIMIT_FSIZE, OUTPUT_MAX},
                  {RLIMIT_CORE, 0}};
    for (guint i = 0; pid > 0 && i < G_N_ELEMENTS(limits); i++) {
        struct rlimit limit = {limits[i].value, limits[i].value};
        prlimit(pid, limits[i].what, &limit, NULL);
    }
}

/* Reads qemu-img's answer, bounded; a longer one is cut and then no JSON. */
static char *
read_output(GSubprocess *process, GCancellable *cancellable)
{
    GInputStream *stream = g_subprocess_get_stdout_pipe(process);
    g_autofree char *text = g_malloc0(OUTPUT_MAX + 1);
    gsize got;
    g_input_stream_read_all(stream, text, OUTPUT_MAX, &got, cancellable, NULL);
    g_subprocess_force_exit(process);
    return g_steal_pointer(&text);
}

static gboolean
compare_answer(const char *text, const BerthDiskInfo *info, GError **error)
{
    g_autoptr(json_t) answer = berth_json_parse(text, strlen(text), NULL);
    const char *format = berth_json_string(answer, "format");
    if (format == NULL) {
        return refuse(error, "qemu-img can't read it as %s", format_names[info->format]);
    }
    if (strcmp(format, format_names[info->format]) != 0 ||
        berth_json_integer(answer, "virtual-size", -1) != (gint64)info->virtual_size ||
        json_object_get(answer, "backing-filename") != NULL ||
        json_object_get(answer, "full-backing-filename") != NULL) {
        return refuse(error, "qemu-img reads it in another way than Berth");
    }
    return TRUE;
}

/**
 * berth_disk_check:
 *
 * As berth_disk_inspect(), then a second opinion from `qemu-img info -f FORMAT` under limits; both
 * must agree. Errors: INVALID; UNAVAILABLE when qemu-img is missing; CANCELLED.
 */
gboolean
berth_disk_check(int fd, BerthDiskFormat format, GCancellable *cancellable, BerthDiskInfo *info,
                 GError **error)
{
    BerthDiskInfo found;
    if (!berth_disk_inspect(fd, format, &found, error)) {
        return FALSE;
    }
    g_autofree char *program = g_find_program_in_path("qemu-img");
    if (program == NULL) {
        berth_error_set_at(error, BERTH_ERROR_UNAVAILABLE, NULL, "install qemu-utils",
                           "the program 'qemu-img' is not installed");
        return FALSE;
    }
    static const char *const environment[] = {"LC_ALL=C", "PATH=/usr/bin:/bin", NULL};
    g_autoptr(GSubprocessLauncher) launcher = g_subprocess_launcher_new(
        G_SUBPROCESS_FLAGS_STDOUT_PIPE | G_SUBPROCESS_FLAGS_STDERR_SILENCE);
    g_subprocess_launcher_set_environ(launcher, (char **)environment);
    g_subprocess_launcher_take_fd(launcher, dup(fd), 3);
    g_autoptr(GError) problem = NULL;
    g_autoptr(GSubprocess) process =
        g_subprocess_launcher_spawn(launcher, &problem, program, "info", "--output=json", "-U",
                                    "-f", format_names[format], "/proc/self/fd/3", NULL);
    if (process == NULL) {
        berth_error_set(error, BERTH_ERROR_UNAVAILABLE, "can't start qemu-img: %s",
                        problem->message);
        return FALSE;
    }
    limit_child(process);
    g_autofree char *text = read_output(process, cancellable);
    g_subprocess_wait(process, NULL, NULL);
    if (g_cancellable_is_cancelled(cancellable)) {
        berth_error_set(error, BERTH_ERROR_CANCELLED, "cancelled");
        return FALSE;
    }
    if (!compare_answer(text, &found, error)) {
        return FALSE;
    }
    *info = found;
    return TRUE;
}
