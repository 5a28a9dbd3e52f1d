/* Why a workload was refused, and the smallest change that lets it in; or why it was put there. */
#pragma once

#include <jansson.h>

#include "sched/pick.h"

G_BEGIN_DECLS

/**
 * BerthRefusal:
 * @code: stable code of the first rule that refused, such as "memory"
 * @dimension: what was short or missing: "memory_mib", a pool, a label, a network; owned by the explanation
 * @need: amount wanted, in the dimension's unit; 0 when the rule is not about an amount
 * @have: amount there is
 * @short_by: need - have, never negative
 */
typedef struct {
    guint32 host;
    const char *code;
    const char *dimension;
    gint64 need;
    gint64 have;
    gint64 short_by;
} BerthRefusal;

/**
 * BerthRefusalGroup: hosts refused by the same rule for the same dimension
 * @least_short_by: the smallest shortage among them
 * @nearest: the host with it
 */
typedef struct {
    const char *code;
    const char *dimension;
    guint hosts;
    gint64 least_short_by;
    guint32 nearest;
} BerthRefusalGroup;

typedef enum {
    BERTH_FIX_NONE,        /* nothing small would help */
    BERTH_FIX_FREE,        /* free the amounts on @host */
    BERTH_FIX_UNCORDON,    /* make @host schedulable */
    BERTH_FIX_DROP_RULE,   /* leave out the named rule of the request */
    BERTH_FIX_RAISE_QUOTA, /* give the project more */
    BERTH_FIX_ADD_HOST,    /* add an empty host like @host */
} BerthFixKind;

/* One amount to be freed for BERTH_FIX_FREE. */
typedef struct {
    const char *code;
    const char *dimension;
    gint64 amount;
} BerthFixAmount;

#define BERTH_FIX_AMOUNTS_MAX 8

/**
 * BerthFix: one change after which the request fits; a property test holds it to that
 * @dimension: what the rule that is left out is about, such as a group; owned by the explanation
 *
 * Of kind NONE @code is a rule by which every host is too small even when it is empty, or "", and the one amount
 * what the largest has.
 */
typedef struct {
    BerthFixKind kind;
    guint32 host;
    const char *code; /* the rule that is left out, or the first that refuses */
    const char *dimension;
    guint n_amounts;
    BerthFixAmount amounts[BERTH_FIX_AMOUNTS_MAX];
} BerthFix;

typedef struct {
    const char *code;
    gint64 score; /* 0..1000 for a rule of the default policy, before weight */
    gint weight;  /* of the policy */
} BerthScorePart;

#define BERTH_SCORE_PARTS_MAX 24

typedef struct {
    guint32 host;
    guint32 score;
    guint n_parts;
    BerthScorePart parts[BERTH_SCORE_PARTS_MAX];
} BerthScored;

typedef struct {
    gboolean fits;
    GArray *refusals;      /* BerthRefusal, one a refusing host, in host order; owned */
    GArray *groups;        /* BerthRefusalGroup, most hosts first; owned */
    BerthFix fix;          /* when it does not fit */
    BerthScored winner;    /* when it fits */
    BerthScored runner_up; /* host is BERTH_HOST_NONE when there was one host only */
    GStringChunk *text;    /* owns the strings above */
} BerthExplanation;

BerthExplanation *berth_explain(BerthSnapshot *snapshot, const BerthRequest *request,
                                const BerthPolicy *policy);
void berth_explanation_free(BerthExplanation *explanation);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthExplanation, berth_explanation_free)

char *berth_explanation_fix(const BerthSnapshot *snapshot, const BerthExplanation *explanation);
char *berth_explanation_refusals(const BerthExplanation *explanation);
char *berth_explanation_summary(const BerthSnapshot *snapshot, const BerthExplanation *explanation);
json_t *berth_explain_to_json(const BerthSnapshot *snapshot, const BerthExplanation *explanation,
                              guint refusals_max);

G_END_DECLS
