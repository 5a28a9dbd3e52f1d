/* Starting crun with the right descriptors. */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

/* What crun is to do with a container or an exec. */
typedef struct {
    const char *container; /* crun's id for it */
    const char *bundle;    /* folder with config.json: run; NULL: exec */
    const char *process;   /* process.json: exec */
    const char *pid_file, *log_file;
    const char *console_socket; /* NULL: no terminal */
    int in, out, err;           /* of the process; /dev/null where -1 */
} Launch;

int launch_init(void);
pid_t launch_crun(const Launch *launch);
int launch_listen(const char *path);
int launch_receive_terminal(int listener);
