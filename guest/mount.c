/* Mounts and modules. PID 1 starts in the initramfs; its root becomes a tmpfs, because crun's pivot_root
 * does not work on the initial one. Images are disks with a serial number that the daemon names. */
#include "guest/mount.h"

#include "guest/file.h"
#include "guest/text.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- PID 1's own root ---------------------------------------------------------------------------- */

/** Makes a tmpfs the root; the initramfs' /usr is kept in it. Returns: 0 or -errno. */
int
mount_move_to_tmpfs(void)
{
    mkdir("/new", 0755);
    if (mount("tmpfs", "/new", "tmpfs", 0, "mode=755,size=50%") < 0 ||
        mkdir("/new/usr", 0755) < 0 || mount("/usr", "/new/usr", NULL, MS_BIND, NULL) < 0 ||
        chdir("/new") < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
        chdir("/") < 0) {
        return -errno;
    }
    symlink("usr/lib", "/lib");
    symlink("usr/lib64", "/lib64");
    symlink("usr/bin", "/bin");
    return 0;
}

/** Mounts the kernel's file systems. Returns: 0 or -errno. */
int
mount_system(void)
{
    static const struct {
        const char *path, *type, *options;
        unsigned long flags;
    } mounts[] = {
        {"/dev", "devtmpfs", "mode=755", MS_NOSUID},
        {"/proc", "proc", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC},
        {"/sys", "sysfs", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC},
        {"/dev/pts", "devpts", "mode=620,ptmxmode=666", MS_NOSUID | MS_NOEXEC},
        {CGROUP_FOLDER, "cgroup2", NULL, MS_NOSUID | MS_NODEV | MS_NOEXEC},
    };
    for (size_t i = 0; i < sizeof mounts / sizeof mounts[0]; i++) {
        mkdir(mounts[i].path, 0755);
        if (mount(mounts[i].type, mounts[i].path, mounts[i].type, mounts[i].flags,
                  mounts[i].options) < 0 &&
            errno != EBUSY) {
            return -errno;
        }
    }
    return file_make_folders(RUN_FOLDER "/etc");
}

/* Memory that stays PID 1's, whatever the containers take. */
#define OWN_MEMORY_KIB (16 * 1024)

static unsigned long long
total_memory_kib(void)
{
    char text[256];
    unsigned long long total = 0;
    file_read(AT_FDCWD, "/proc/meminfo", text, sizeof text);
    sscanf(text, "MemTotal: %llu kB", &total);
    return total;
}

/** Containers live in one cgroup with limits, PID 1 outside of it. Returns: 0 or -errno. */
int
mount_cgroups(void)
{
    char text[64];
    unsigned long long total = total_memory_kib();
    int result = file_write(CGROUP_FOLDER "/cgroup.subtree_control", "+cpu +memory +pids");
    if (result < 0 || (mkdir(POD_CGROUP, 0755) < 0 && errno != EEXIST)) {
        return result < 0 ? result : -errno;
    }
    if (total > 2 * OWN_MEMORY_KIB) {
        snprintf(text, sizeof text, "%lluK", total - OWN_MEMORY_KIB);
        file_write(POD_CGROUP "/memory.max", text);
    }
    /* Even all pids of all containers together leave some to PID 1 and crun. */
    snprintf(text, sizeof text, "%llu",
             (unsigned long long)(file_read_number("/proc/sys/kernel/threads-max") * 3 / 4));
    file_write(POD_CGROUP "/pids.max", text);
    return file_write(POD_CGROUP "/cgroup.subtree_control", "+cpu +memory +pids");
}

/* ---- modules ------------------------------------------------------------------------------------- */

/* "virtio_mmio.device=512@0xfeb00e00:12" on the kernel's command line is the module's parameter. */
static void
find_parameters(const char *module, char *out, size_t size)
{
    char line[2048], prefix[64];
    size_t used = 0;
    int length = snprintf(prefix, sizeof prefix, "%s.", module);
    out[0] = '\0';
    file_read(AT_FDCWD, "/proc/cmdline", line, sizeof line);
    for (char *rest = line, *word; (word = strsep(&rest, " \n")) != NULL;) {
        if (strncmp(word, prefix, (size_t)length) == 0 && used + strlen(word) + 2 < size) {
            used += (size_t)snprintf(out + used, size - used, "%s ", word + length);
        }
    }
}

static int
load_module(const char *name)
{
    char path[160], parameters[1024];
    snprintf(path, sizeof path, MODULES_FOLDER "/%s.ko", name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return -errno;
    }
    find_parameters(name, parameters, sizeof parameters);
    long result = syscall(SYS_finit_module, fd, parameters, 0);
    int error = errno;
    close(fd);
    return result < 0 && error != EEXIST ? -error : 0;
}

/**
 * mount_load_modules:
 * @class: first word of the lines of modules.list to load, in their order, which is the dependencies'
 *
 * Returns: 0, or the first -errno; the others are loaded all the same.
 */
int
mount_load_modules(const char *class)
{
    char list[4096];
    int result = 0;
    file_read(AT_FDCWD, MODULES_FOLDER "/modules.list", list, sizeof list);
    for (char *rest = list, *line; (line = strsep(&rest, "\n")) != NULL;) {
        char *name = strchr(line, ' ');
        if (name == NULL) {
            continue;
        }
        *name++ = '\0';
        if (strcmp(line, class) == 0) {
            int loaded = load_module(name);
            result = result == 0 ? loaded : result;
        }
    }
    return result;
}

/* ---- images -------------------------------------------------------------------------------------- */

/* Finds "/dev/vdX" by the serial that the daemon gave the disk. */
static int
find_disk(const char *serial, char *out, size_t size)
{
    DIR *dir = opendir("/sys/block");
    struct dirent *entry;
    int result = -ENODEV;
    if (dir == NULL) {
        return -errno;
    }
    while (result < 0 && (entry = readdir(dir)) != NULL) {
        char path[320], found[64];
        snprintf(path, sizeof path, "/sys/block/%s/serial", entry->d_name);
        if (entry->d_name[0] != '.' && file_read(AT_FDCWD, path, found, sizeof found) > 0) {
            found[strcspn(found, "\n")] = '\0';
            if (strcmp(found, serial) == 0) {
                result =
                    snprintf(out, size, "/dev/%s", entry->d_name) < (int)size ? 0 : -ENAMETOOLONG;
            }
        }
    }
    closedir(dir);
    return result;
}

static int
fail(int error, char *text, size_t size, const char *what, const char *about)
{
    snprintf(text, size, "%s '%s': %s", what, about, strerror(-error));
    return error;
}

/* Containers of one image share its mount. */
static int
mount_image(const char *serial, char *folder, size_t folder_size, char *text, size_t size)
{
    char device[64];
    snprintf(folder, folder_size, RUN_FOLDER "/image/%s", serial);
    if (access(folder, F_OK) == 0) {
        return 0;
    }
    int result = strchr(serial, '/') != NULL ? -EINVAL : find_disk(serial, device, sizeof device);
    if (result < 0) {
        return fail(result, text, size, "no disk has the image's serial", serial);
    }
    result = file_make_folders(folder);
    if (result == 0 && mount(device, folder, "squashfs", MS_RDONLY | MS_NODEV, NULL) < 0) {
        result = -errno;
        rmdir(folder);
    }
    return result < 0 ? fail(result, text, size, "can't mount the image", serial) : 0;
}

static int
mount_scratch(const BerthPodContainer *container, const char *folder, char *text, size_t size)
{
    char device[64];
    if (container->scratch_serial[0] == '\0') {
        return mount("scratch", folder, "tmpfs", MS_NODEV, "mode=755,size=50%") < 0
                   ? fail(-errno, text, size, "can't make the scratch space of", container->name)
                   : 0;
    }
    int result = find_disk(container->scratch_serial, device, sizeof device);
    if (result < 0) {
        return fail(result, text, size, "no disk has the serial", container->scratch_serial);
    }
    mount_load_modules("ext4");
    return mount(device, folder, "ext4", MS_NODEV, NULL) < 0
               ? fail(-errno, text, size, "can't mount the scratch disk", container->scratch_serial)
               : 0;
}

/**
 * mount_container:
 * @index: of the container; its folder is RUN_FOLDER/container/<index>
 * @text: (out): why it failed
 *
 * Makes its root file system at rootfs in its folder, unless it is there. Returns: 0 or -errno.
 */
int
mount_container(const BerthPodContainer *container, unsigned index, char *text, size_t size)
{
    char image[64], folder[64], upper[96], work[96], rootfs[96], options[400];
    snprintf(folder, sizeof folder, RUN_FOLDER "/container/%u", index);
    snprintf(rootfs, sizeof rootfs, "%s/rootfs", folder);
    if (access(rootfs, F_OK) == 0) {
        return 0;
    }
    int result = mount_image(container->image_serial, image, sizeof image, text, size);
    if (result < 0) {
        return result;
    }
    snprintf(upper, sizeof upper, "%s/scratch", folder);
    result = file_make_folders(upper);
    if (result == 0) {
        result = mount_scratch(container, upper, text, size);
    }
    if (result < 0) {
        return result;
    }
    snprintf(upper, sizeof upper, "%s/scratch/upper", folder);
    snprintf(work, sizeof work, "%s/scratch/work", folder);
    mkdir(upper, 0755);
    mkdir(work, 0755);
    mkdir(rootfs, 0755);
    snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s,workdir=%s", image, upper, work);
    if (mount("overlay", rootfs, "overlay", MS_NODEV, options) < 0) {
        result = -errno;
        rmdir(rootfs);
        return fail(result, text, size, "can't make the root of", container->name);
    }
    return 0;
}
