/* berth-bench: what its parts share. One thread; every wait has a deadline. */
#pragma once

#include "cli/client.h"

G_BEGIN_DECLS

#define BENCH_ROUND_S 120
#define BENCH_IMAGE "hello"

#define BENCH_FLOOD_S 300

/* Of the command line; strings are borrowed from it. */
typedef struct {
    const char *socket, *host; /* NULL: what the benchmark makes itself */
    const char *profile;
    int count; /* 0: the benchmark's own choice */
    int megabytes;
    gboolean json;
} BenchOptions;

int bench_start(const BenchOptions *options);
int bench_logs(const BenchOptions *options);
int bench_idle(const BenchOptions *options);

/* ---- what is measured ---- */

double bench_percentile(GArray *values, double part);
double bench_cpu_ms(GPid pid);
double bench_memory_mb(GPid pid, const char *what);

/* ---- what it runs on ---- */

/* A berthd to ask, and what was started for it; freed in whatever state it is. */
typedef struct {
    char *build, *source; /* folders; owned */
    char *folder;         /* everything temporary; owned */
    char *socket;         /* of the API; owned */
    const char *host;     /* where pods are placed; borrowed */
    GPid daemon;          /* 0: somebody else's */
    gboolean fleet;       /* a test host is up */
    BerthClient *client;  /* owned */
} BenchRig;

BenchRig *bench_rig_new(const BenchOptions *options, gboolean want_host, GError **error);
void bench_rig_free(BenchRig *rig);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BenchRig, bench_rig_free)

json_t *bench_call(BenchRig *rig, const char *method, const char *path, json_t *body,
                   GError **error);
gboolean bench_put_pod(BenchRig *rig, const char *path, const char *profile,
                       const char *const *command, GError **error);
void bench_remove_pod(BenchRig *rig, const char *path);
void bench_pause(guint ms);
/* Whether we were told to end; every wait asks. */
gboolean bench_is_over(void);
void bench_obey_signals(void);

/* ---- bare QEMU ---- */

/* How Berth's guest was started, made startable without libvirt. */
typedef struct BenchBare BenchBare;

/* @uuid: of a domain that runs on this machine now; its files are copied into @folder. */
BenchBare *bench_bare_new(const char *uuid, const char *folder, GError **error);
void bench_bare_free(BenchBare *bare);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BenchBare, bench_bare_free)

typedef struct {
    double qemu_ms;  /* QEMU's own start, until it has made the machine */
    double boot_ms;  /* from there to the guest's greeting */
    double link_ms;  /* from there until it took its configuration */
    double crun_ms;  /* from there to the first byte */
    double total_ms; /* all of it */
} BenchBareTimes;

gboolean bench_bare_run(BenchBare *bare, const char *const *command, BenchBareTimes *times,
                        GError **error);

/* ---- libvirt's channel alone ---- */

typedef struct BenchChannel BenchChannel;

BenchChannel *bench_channel_new(BenchRig *rig, const char *uri, const char *uuid, GError **error);
double bench_channel_run(BenchChannel *channel, guint64 bytes, GError **error);
void bench_channel_free(BenchChannel *channel);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BenchChannel, bench_channel_free)

G_END_DECLS
