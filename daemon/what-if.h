/* Questions about placement that change nothing: what documents would do, how many more of a kind fit,
 * which live migrations are worth making, and the fleet as a file. Answered on a copy of the ledger. Main
 * loop only. */
#pragma once

#include "daemon/control.h"

G_BEGIN_DECLS

/* Fills plan, capacity, rebalance, overview, fleet and their data. @control: borrowed, outlives @ops. */
void berth_what_if_fill_ops(BerthControl *control, BerthWorkloadOps *ops);

/* ---- shared by what-if.c, what-if-plan.c, what-if-rebalance.c and what-if-overview.c ---- */

/**
 * BerthWhatIf: the fleet as the question assumes it to be
 * @ledger: owned; a copy
 * @lost: names of hosts that are thought away; owned
 * @added: whether hosts were added
 */
typedef struct {
    BerthControl *control;
    BerthFleetLedger *ledger;
    char **lost;
    gboolean added;
} BerthWhatIf;

gboolean berth_what_if_init(BerthWhatIf *what_if, BerthControl *control, char **without,
                            char **add_like, GError **error);
void berth_what_if_clear(BerthWhatIf *what_if);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BerthWhatIf, berth_what_if_clear)

void berth_what_if_unknown_host(const char *name, const char *place, GError **error);
json_t *berth_what_if_rebalance(BerthWhatIf *what_if, const BerthRebalanceQuestion *question,
                                GError **error);
json_t *berth_what_if_overview(BerthControl *control);
json_t *berth_what_if_plan(BerthWhatIf *what_if, const BerthPlanQuestion *question, GError **error);

G_END_DECLS
