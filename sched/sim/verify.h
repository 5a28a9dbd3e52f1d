/* An independent check of placements: capacities and hard rules only, its own bookkeeping. */
#pragma once

#include <jansson.h>

#include "sched/snapshot.h"

G_BEGIN_DECLS

typedef struct SimVerifier SimVerifier;

SimVerifier *sim_verifier_new(void);
void sim_verifier_free(SimVerifier *verifier);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(SimVerifier, sim_verifier_free)
void sim_verifier_add_host(SimVerifier *verifier, guint32 index, const BerthHost *host);
void sim_verifier_remove_host(SimVerifier *verifier, guint32 index);
guint sim_verifier_place(SimVerifier *verifier, const BerthRequest *request,
                         const BerthPlacement *placement);
guint sim_verifier_find(SimVerifier *verifier, const BerthRequest *request,
                        const BerthPlacement *placement);
guint sim_verifier_move(SimVerifier *verifier, guint token, const BerthRequest *request,
                        const BerthPlacement *placement);
void sim_verifier_set_quota(SimVerifier *verifier, const char *project, gint64 cpu_millis,
                            gint64 memory_mib, gint64 device_millis, gint64 workloads);
void sim_verifier_set_state(SimVerifier *verifier, guint32 index, BerthHostState state);
void sim_verifier_release(SimVerifier *verifier, guint token);
gboolean sim_verifier_is_clean(const SimVerifier *verifier);
const char *sim_verifier_complaint(const SimVerifier *verifier);

/* verify-facts.c */
const char *sim_verify_facts(const json_t *host, const BerthRequest *request);

G_END_DECLS
