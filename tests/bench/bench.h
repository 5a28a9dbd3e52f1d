/* berth-bench: what its parts share. One thread; every wait has a deadline. */
#pragma once

#include "cli/client.h"

G_BEGIN_DECLS

#define BENCH_ROUND_S 120
#define BENCH_IMAGE "hello"

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

BenchRig *bench_rig_new(const char *socket, const char *host, gboolean want_host, GError **error);
void bench_rig_free(BenchRig *rig);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BenchRig, bench_rig_free)

json_t *bench_call(BenchRig *rig, const char *method, const char *path, json_t *body,
                   GError **error);
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
    double boot_ms;  /* from QEMU's start to the guest's greeting */
    double link_ms;  /* from there until it took its configuration */
    double crun_ms;  /* from there to the first byte */
    double total_ms; /* all of it */
} BenchBareTimes;

gboolean bench_bare_run(BenchBare *bare, const char *const *command, BenchBareTimes *times,
                        GError **error);

int bench_idle(int count, gboolean json);

G_END_DECLS
