/* Bringing files to hosts: content-addressed volumes in Berth's pool, once per host and digest.
 *
 * libvirt cannot rename and a killed upload leaves a partial volume, so a file becomes the volume
 * "<sha256>-<random>" and counts only when the empty volume "<same name>.ok" stands beside it, made
 * after the size was checked. Main loop only. */
#pragma once

#include "daemon/fleet.h"

G_BEGIN_DECLS

typedef struct BerthStage BerthStage;

/* @error: (nullable). Called on the main loop, never from inside berth_stage_bring(). */
typedef void (*BerthStageDone)(const GError *error, gpointer user_data);

BerthStage *berth_stage_new(BerthFleet *fleet, BerthRandom *random);
void berth_stage_free(BerthStage *stage);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthStage, berth_stage_free)

GPtrArray *berth_stage_list(BerthFleetHost *host);
const char *berth_stage_find(BerthFleetHost *host, const char *sha256);
void berth_stage_bring(BerthStage *stage, const char *host, const char *sha256, const char *path,
                       guint64 size, BerthStageDone done, gpointer user_data);
guint berth_stage_clean(BerthStage *stage, BerthFleetHost *host, GHashTable *wanted);
gboolean berth_stage_is_digest_volume(const char *volume);

G_END_DECLS
