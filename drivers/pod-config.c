/* crun's config.json and process.json from an image's configuration and a user's wishes. Pure.
 *
 * Containers of a pod share its network, host name and IPC, so those namespaces are not listed. The
 * border is the microVM; inside it the usual capabilities and masks only keep a container from harming
 * its neighbours in the pod and PID 1. Start reading at berth_container_setup_new(). */
#include "drivers/pod-config.h"

#include "base/error.h"
#include "base/json.h"

#include <signal.h>
#include <string.h>

#define CONFIG_MAX (256 * 1024)
#define PIDS_DEFAULT 4096
#define NOFILE_SOFT 1024
#define NOFILE_HARD 1048576
#define PATH_DEFAULT "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static const struct {
    const char *name;
    int number;
} signals[] = {
    {"HUP", SIGHUP},   {"INT", SIGINT},       {"QUIT", SIGQUIT}, {"ILL", SIGILL},
    {"TRAP", SIGTRAP}, {"ABRT", SIGABRT},     {"BUS", SIGBUS},   {"FPE", SIGFPE},
    {"KILL", SIGKILL}, {"USR1", SIGUSR1},     {"SEGV", SIGSEGV}, {"USR2", SIGUSR2},
    {"PIPE", SIGPIPE}, {"ALRM", SIGALRM},     {"TERM", SIGTERM}, {"STKFLT", SIGSTKFLT},
    {"CHLD", SIGCHLD}, {"CONT", SIGCONT},     {"STOP", SIGSTOP}, {"TSTP", SIGTSTP},
    {"TTIN", SIGTTIN}, {"TTOU", SIGTTOU},     {"URG", SIGURG},   {"XCPU", SIGXCPU},
    {"XFSZ", SIGXFSZ}, {"VTALRM", SIGVTALRM}, {"PROF", SIGPROF}, {"WINCH", SIGWINCH},
    {"IO", SIGIO},     {"PWR", SIGPWR},       {"SYS", SIGSYS},
};

/* What containers may do by default everywhere; the same list docker and podman give. */
static const char *const capabilities[] = {"CAP_CHOWN",
                                           "CAP_DAC_OVERRIDE",
                                           "CAP_FSETID",
                                           "CAP_FOWNER",
                                           "CAP_MKNOD",
                                           "CAP_NET_RAW",
                                           "CAP_SETGID",
                                           "CAP_SETUID",
                                           "CAP_SETFCAP",
                                           "CAP_SETPCAP",
                                           "CAP_NET_BIND_SERVICE",
                                           "CAP_SYS_CHROOT",
                                           "CAP_KILL",
                                           "CAP_AUDIT_WRITE",
                                           NULL};

static const char *const masked_paths[] = {"/proc/kcore", "/proc/keys", "/proc/timer_list",
                                           "/sys/firmware", NULL};
static const char *const readonly_paths[] = {
    "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", NULL};

/** Returns: the number of the signal called @text ("SIGTERM", "term", "15"); 0 when unknown. */
int
berth_signal_parse(const char *text)
{
    guint64 number;
    if (text == NULL) {
        return 0;
    }
    if (g_ascii_string_to_unsigned(text, 10, 1, 64, &number, NULL)) {
        return (int)number;
    }
    if (g_ascii_strncasecmp(text, "SIG", 3) == 0) {
        text += 3;
    }
    for (gsize i = 0; i < G_N_ELEMENTS(signals); i++) {
        if (g_ascii_strcasecmp(text, signals[i].name) == 0) {
            return signals[i].number;
        }
    }
    if (g_ascii_strcasecmp(text, "RTMIN") == 0) {
        return SIGRTMIN;
    }
    return g_ascii_strncasecmp(text, "RTMIN+", 6) == 0 &&
                   g_ascii_string_to_unsigned(text + 6, 10, 1, 30, &number, NULL)
               ? SIGRTMIN + (int)number
               : 0;
}

/* ---- pieces ------------------------------------------------------------------------------------- */

static json_t *
strings(const char *const *list)
{
    json_t *array = json_array();
    for (gsize i = 0; list != NULL && list[i] != NULL; i++) {
        json_array_append_new(array, json_string(list[i]));
    }
    return array;
}

static gboolean
append_strings(json_t *array, const char *const *list, const char *what, GError **error)
{
    for (gsize i = 0; list != NULL && list[i] != NULL; i++) {
        if (!g_utf8_validate(list[i], -1, NULL)) {
            berth_error_set(error, BERTH_ERROR_INVALID, "%s %zu is not UTF-8", what, i + 1);
            return FALSE;
        }
        json_array_append_new(array, json_string(list[i]));
    }
    return TRUE;
}

static gboolean
is_empty(const char *const *list)
{
    return list == NULL || list[0] == NULL;
}

/* The command replaces the entrypoint and, as it was written for that, the image's cmd as well. */
static json_t *
command_line(const BerthImageConfig *image, const BerthContainerWish *wish, GError **error)
{
    g_autoptr(json_t) argv = json_array();
    gboolean replaced = !is_empty(wish->command);
    const char *const *program = replaced ? wish->command : image->entrypoint;
    const char *const *rest = !is_empty(wish->args) ? wish->args : replaced ? NULL : image->cmd;
    if (!append_strings(argv, program, "the command's word", error) ||
        !append_strings(argv, rest, "the command's argument", error)) {
        return NULL;
    }
    if (json_array_size(argv) == 0 || json_string_length(json_array_get(argv, 0)) == 0) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, "/command", "give the container a command",
                           "container '%s' has no command, and its image names none", wish->name);
        return NULL;
    }
    return g_steal_pointer(&argv);
}

static gboolean
same_variable(const char *a, const char *b)
{
    gsize length = strcspn(a, "=");
    return strncmp(a, b, length + 1) == 0;
}

static gboolean
set_variables(json_t *env, const char *const *list, GError **error)
{
    for (gsize i = 0; list != NULL && list[i] != NULL; i++) {
        gsize at, count = json_array_size(env);
        if (strchr(list[i], '=') == NULL || list[i][0] == '=' ||
            !g_utf8_validate(list[i], -1, NULL)) {
            berth_error_set_at(error, BERTH_ERROR_INVALID, "/env", "write NAME=value",
                               "variable %zu is not NAME=value in UTF-8", i + 1);
            return FALSE;
        }
        for (at = 0; at < count; at++) {
            if (same_variable(list[i], json_string_value(json_array_get(env, at)))) {
                break;
            }
        }
        if (at < count) {
            json_array_set_new(env, at, json_string(list[i]));
        } else {
            json_array_append_new(env, json_string(list[i]));
        }
    }
    return TRUE;
}

static json_t *
environment(const BerthImageConfig *image, const BerthContainerWish *wish, const char *const *more,
            gboolean tty, GError **error)
{
    g_autoptr(json_t) env = json_array();
    const char *const basics[] = {PATH_DEFAULT, tty ? "TERM=xterm" : NULL, NULL};
    if (!set_variables(env, basics, error) || !set_variables(env, image->env, error) ||
        !set_variables(env, wish->env, error) || !set_variables(env, more, error)) {
        return NULL;
    }
    return g_steal_pointer(&env);
}

static const char *
first_said(const char *a, const char *b, const char *c)
{
    return a != NULL && a[0] != '\0' ? a : b != NULL && b[0] != '\0' ? b : c;
}

static json_t *
process_object(json_t *argv, json_t *env, const char *workdir, gboolean tty, GError **error)
{
    if (workdir[0] != '/' || !g_utf8_validate(workdir, -1, NULL)) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, "/workdir", NULL,
                           "working directory '%s' is not an absolute path", workdir);
        return NULL;
    }
    /* Only the bound is said: by the kernel's own rules a program gets all of it when it runs as root,
     * whatever root is called in this image, and nothing when it runs as somebody else.
     * The guest looks for the empty user object at the very beginning, before any text of users. */
    return json_pack("{s:{}, s:b, s:O, s:O, s:s, s:{s:o}, s:[{s:s, s:i, s:i}]}", "user", "terminal",
                     tty, "args", argv, "env", env, "cwd", workdir, "capabilities", "bounding",
                     strings(capabilities), "rlimits", "type", "RLIMIT_NOFILE", "hard", NOFILE_HARD,
                     "soft", NOFILE_SOFT);
}

static json_t *
make_process(const BerthImageConfig *image, const BerthContainerWish *wish, GError **error)
{
    g_autoptr(json_t) argv = command_line(image, wish, error);
    g_autoptr(json_t) env = argv == NULL ? NULL : environment(image, wish, NULL, wish->tty, error);
    if (env == NULL) {
        return NULL;
    }
    return process_object(argv, env, first_said(wish->workdir, image->workdir, "/"), wish->tty,
                          error);
}

static json_t *
mount(const char *destination, const char *type, const char *source, const char *options)
{
    g_auto(GStrv) list = g_strsplit(options, ",", -1);
    return json_pack("{s:s, s:s, s:s, s:o}", "destination", destination, "type", type, "source",
                     source, "options", strings((const char *const *)list));
}

/* The guest keeps the pod's names in /run/berth/etc. */
static json_t *
mounts(void)
{
    return json_pack("[o,o,o,o,o,o,o,o,o,o]", mount("/proc", "proc", "proc", "nosuid,noexec,nodev"),
                     mount("/dev", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k"),
                     mount("/dev/pts", "devpts", "devpts",
                           "nosuid,noexec,newinstance,ptmxmode=0666,mode=0620,gid=5"),
                     mount("/dev/shm", "tmpfs", "shm", "nosuid,noexec,nodev,mode=1777,size=65536k"),
                     mount("/dev/mqueue", "mqueue", "mqueue", "nosuid,noexec,nodev"),
                     mount("/sys", "sysfs", "sysfs", "nosuid,noexec,nodev,ro"),
                     mount("/sys/fs/cgroup", "cgroup", "cgroup", "nosuid,noexec,nodev,relatime,ro"),
                     mount("/etc/resolv.conf", "bind", "/run/berth/etc/resolv.conf", "bind,rw"),
                     mount("/etc/hosts", "bind", "/run/berth/etc/hosts", "bind,rw"),
                     mount("/etc/hostname", "bind", "/run/berth/etc/hostname", "bind,rw"));
}

static json_t *
linux_object(const BerthContainerWish *wish)
{
    g_autofree char *path = g_strdup_printf("/pod/%s", wish->name);
    guint64 pids = wish->pids_max > 0 ? wish->pids_max : PIDS_DEFAULT;
    json_t *resources = json_pack("{s:{s:I}}", "pids", "limit", (json_int_t)pids);
    if (wish->memory_mib > 0) {
        json_object_set_new(resources, "memory",
                            json_pack("{s:I}", "limit",
                                      (json_int_t)MIN(wish->memory_mib, G_MAXINT32) * 1024 * 1024));
    }
    return json_pack("{s:s, s:o, s:[{s:s}, {s:s}, {s:s}], s:o, s:o}", "cgroupsPath", path,
                     "resources", resources, "namespaces", "type", "pid", "type", "mount", "type",
                     "cgroup", "maskedPaths", strings(masked_paths), "readonlyPaths",
                     strings(readonly_paths));
}

static char *
dump(const json_t *value, GError **error)
{
    char *text = json_dumps(value, JSON_COMPACT);
    g_autofree char *copy = g_strdup(text);
    free(text);
    if (copy == NULL || strlen(copy) > CONFIG_MAX) {
        berth_error_set(error, BERTH_ERROR_INVALID, "command and environment need more than %d KiB",
                        CONFIG_MAX / 1024);
        return NULL;
    }
    return g_steal_pointer(&copy);
}

/* ---- the whole ---------------------------------------------------------------------------------- */

static int
stop_signal(const BerthImageConfig *image, const BerthContainerWish *wish, GError **error)
{
    const char *text = first_said(wish->stop_signal, image->stop_signal, "SIGTERM");
    int number = berth_signal_parse(text);
    if (number == 0) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, "/stop_signal", "use a name like SIGTERM",
                           "'%s' is no signal", text);
    }
    return number;
}

/**
 * berth_container_setup_new:
 * @image, @wish: borrowed; @wish has a name
 *
 * Returns: (transfer full) (nullable): NULL with INVALID.
 */
BerthContainerSetup *
berth_container_setup_new(const BerthImageConfig *image, const BerthContainerWish *wish,
                          GError **error)
{
    int number = stop_signal(image, wish, error);
    json_t *process = number == 0 ? NULL : make_process(image, wish, error);
    if (process == NULL) {
        return NULL;
    }
    /* "process" comes first for the guest's sake: see process_object(). */
    g_autoptr(json_t) config =
        json_pack("{s:o, s:s, s:{s:s, s:b}, s:o, s:o}", "process", process, "ociVersion", "1.0.2",
                  "root", "path", "rootfs", "readonly", wish->read_only != FALSE, "mounts",
                  mounts(), "linux", linux_object(wish));
    char *text = dump(config, error);
    if (text == NULL) {
        return NULL;
    }
    BerthContainerSetup *setup = g_new0(BerthContainerSetup, 1);
    setup->config = text;
    setup->user = g_strdup(first_said(wish->user, image->user, ""));
    setup->stop_signal = number;
    return setup;
}

void
berth_container_setup_free(BerthContainerSetup *setup)
{
    if (setup != NULL) {
        g_free(setup->config);
        g_free(setup->user);
        g_free(setup);
    }
}

/**
 * berth_exec_setup:
 * @command: not empty
 * @env: (nullable): added to the container's
 * @workdir: (nullable): NULL: the container's
 *
 * Returns: (transfer full) (nullable): crun's process.json; NULL with INVALID.
 */
char *
berth_exec_setup(const BerthImageConfig *image, const BerthContainerWish *wish,
                 const char *const *command, const char *const *env, const char *workdir,
                 gboolean tty, GError **error)
{
    BerthContainerWish exec = {.name = wish->name, .command = command};
    g_autoptr(json_t) argv = command_line(&(BerthImageConfig){0}, &exec, error);
    g_autoptr(json_t) variables = argv == NULL ? NULL : environment(image, wish, env, tty, error);
    if (variables == NULL) {
        return NULL;
    }
    const char *folder = first_said(workdir, wish->workdir, first_said(image->workdir, NULL, "/"));
    g_autoptr(json_t) process = process_object(argv, variables, folder, tty, error);
    return process == NULL ? NULL : dump(process, error);
}
