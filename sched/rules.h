/* What a rule is, and the one ordered table of them. */
#pragma once

#include "sched/ask.h"
#include "sched/explain.h"

G_BEGIN_DECLS

/**
 * BerthRuleReach: what the answer of a rule depends on, besides the request
 * @BERTH_REACH_FACTS: facts of the host that charges don't change
 * @BERTH_REACH_LOAD: also what is charged to the host
 * @BERTH_REACH_FLEET: also what is charged elsewhere; such answers are never kept
 */
typedef enum {
    BERTH_REACH_FACTS,
    BERTH_REACH_LOAD,
    BERTH_REACH_FLEET,
} BerthRuleReach;

/**
 * BerthRemedy: what helps a request that the rule refuses
 */
typedef enum {
    BERTH_REMEDY_NONE,     /* another host */
    BERTH_REMEDY_FREE,     /* freeing the amount it is short by */
    BERTH_REMEDY_UNCORDON, /* making the host schedulable */
    BERTH_REMEDY_DROP,     /* leaving the wish out of the request */
    BERTH_REMEDY_QUOTA,    /* raising the project's quota */
} BerthRemedy;

/* Ways of placing on one host are scored in portions of so many. */
#define BERTH_WAYS_MAX 32
/* Hosts are ranked in portions of so many. */
#define BERTH_PORTION 64

/**
 * BerthRule:
 * @code: stable name, in explanations and in documentation
 * @doc: one sentence
 * @asked: whether the request has anything to say to this rule; NULL = always
 * @admits: whether @host may take the request; fills @refusal (may be NULL) when not. NULL = a score
 * @lacks: all amounts that are short there, where a refusal names only the first: at most @max of them. May be NULL
 * @score: 0 .. BERTH_SCORE_MAX, higher is better, for this way of placing it there. NULL = a filter
 * @score_ways: the same for 1 to BERTH_WAYS_MAX ways on one host, when that is cheaper; may be NULL
 * @most: for each of @n hosts what no way there scores more than, told several times faster than by
 *   scoring; negative when there is no way. May be NULL
 * @everywhere: for filters: the answer is the same for every host, so moving what is there changes nothing
 * @placed: for filters: choosing a way to place within the host (evaluate.c) answers it too
 *
 * All are pure. A refusal's dimension is borrowed: a constant, or a string of the snapshot or request.
 */
typedef struct BerthRule {
    const char *code;
    const char *doc;
    BerthRuleReach reach;
    BerthRemedy remedy;
    gboolean (*asked)(const BerthAsk *ask);
    gboolean (*admits)(const BerthAsk *ask, guint32 host, BerthRefusal *refusal);
    guint (*lacks)(const BerthAsk *ask, guint32 host, BerthRefusal *lacks, guint max);
    gint64 (*score)(const BerthAsk *ask, guint32 host, const BerthPlacement *placement);
    void (*score_ways)(const BerthAsk *ask, guint32 host, const BerthPlacement *ways, guint n,
                       gint64 *scores);
    void (*most)(const BerthAsk *ask, const guint32 *hosts, guint n, gint32 *most);
    gboolean everywhere;
    gboolean placed;
} BerthRule;

#define BERTH_RULES_MAX 64

extern const BerthRule *const berth_rules[];
guint berth_rules_count(void);
gint berth_rules_find(const char *code);

typedef struct {
    const BerthRule *rule;
    gint32 weight;
} BerthWeight;

#define BERTH_WEIGHTS_MAX 12

struct BerthPolicy {
    const char *name;
    const char *doc;
    gboolean indexed; /* scores depend on the host alone and fit in the index's rank */
    BerthWeight weights[BERTH_WEIGHTS_MAX];
};

static inline gboolean
berth_refuse(BerthRefusal *refusal, const char *dimension, gint64 need, gint64 have)
{
    if (refusal != NULL) {
        refusal->dimension = dimension;
        refusal->need = need;
        refusal->have = have;
        refusal->short_by = MAX(0, need - have);
    }
    return FALSE;
}

G_END_DECLS
