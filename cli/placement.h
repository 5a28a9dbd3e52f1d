/* Reasons of placements as tables: who refused and by how much, or how the choice was made. */
#pragma once

#include "cli/session.h"

G_BEGIN_DECLS

char *berth_placement_refusals(const json_t *placement, gboolean wide);
char *berth_placement_groups(const json_t *placement);
char *berth_placement_scores(const json_t *placement);
char *berth_placement_fix(const json_t *placement);
char *berth_placement_list(const json_t *placement, const char *member);

G_END_DECLS
