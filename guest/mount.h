/* The guest's own file system, kernel modules, and the containers' root file systems. */
#pragma once

#include "guest/core.h"

#include <stddef.h>

#define MODULES_FOLDER "/usr/lib/berth/modules"
#define CGROUP_FOLDER "/sys/fs/cgroup"
#define POD_CGROUP CGROUP_FOLDER "/pod"
#define RUN_FOLDER "/run/berth"

int mount_move_to_tmpfs(void);
int mount_system(void);
int mount_cgroups(void);
int mount_load_modules(const char *class);
int mount_container(const BerthPodContainer *container, unsigned index, char *text, size_t size);
