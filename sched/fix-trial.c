/* Changes that may not be enough, although they remove what refuses, tried on a copy of the fleet. Who is freed
 * for one that must be near others may be one of those; a host made schedulable may have too little free for what is
 * reserved; and whether the loss of a host is survived (N+1) is known only when all is where it would be. */
#include "sched/fix-trial.h"

#include "sched/forecast.h"
#include "sched/relation.h"

/* Some of those in @host's place may be who @ask must be near. */
static gboolean
seeks_others(const BerthAsk *ask)
{
    for (guint i = 0; i < ask->request->n_relations; i++) {
        if (berth_relation_must_be_near(ask, i)) {
            return TRUE;
        }
    }
    return FALSE;
}

/**
 * berth_fix_is_certain:
 *
 * Returns: whether @fix helps for no other reason than that it removes what refuses, so that it needs no trial
 */
gboolean
berth_fix_is_certain(const BerthAsk *ask, const BerthFix *fix)
{
    const BerthSnapshot *s = ask->snapshot;
    return s->spare == NULL && (fix->kind != BERTH_FIX_FREE || !seeks_others(ask)) &&
           (fix->kind != BERTH_FIX_UNCORDON || s->reserved == NULL);
}

static guint64
bit_of(const char *code)
{
    return G_GUINT64_CONSTANT(1) << berth_rules_find(code);
}

/* Whether @host takes @request when the rules in @waived are left out. */
static gboolean
takes(BerthSnapshot *s, const BerthRequest *request, guint32 host, guint64 waived)
{
    BerthPlan plan;
    BerthPlacement placement;
    g_auto(BerthAsk) ask = {0};
    berth_ask_init(&ask, s, request);
    ask.waived = waived;
    berth_plan_init(&plan, &ask, berth_policy_default());
    return berth_evaluate(&ask, &plan, host, &placement) > 0;
}

static gboolean
takes_anywhere(BerthSnapshot *s, const BerthRequest *request)
{
    BerthDecision decision;
    return berth_pick(s, request, NULL, &decision);
}

/* The newest workload on @host that @ask needn't be near, or NONE. */
static guint32
find_newest(const BerthAsk *ask, guint32 host)
{
    guint32 c = ask->snapshot->charge_head[host];
    while (c != BERTH_CHARGE_NONE &&
           berth_relation_is_sought(ask, berth_charge(ask->snapshot, c))) {
        c = berth_charge(ask->snapshot, c)->next;
    }
    return c;
}

/* Lets workloads of @host go whole, the newest first, until it has room; whether it takes the request then. */
static gboolean
helps_to_free(BerthSnapshot *s, const BerthRequest *request, guint32 host)
{
    g_auto(BerthAsk) ask = {0};
    berth_ask_init(&ask, s, request);
    while (!takes(s, request, host, bit_of("reserve"))) {
        guint32 newest = find_newest(&ask, host);
        if (newest == BERTH_CHARGE_NONE) {
            return FALSE;
        }
        berth_snapshot_release_charge(s, newest);
    }
    return takes(s, request, host, 0);
}

/* What N+1 moves is less then, or more. */
static BerthRequest
without(const BerthRequest *request, const char *code)
{
    BerthRequest less = *request;
    if (g_str_equal(code, "device")) {
        less.n_devices = 0;
    } else if (g_str_equal(code, "pinned")) {
        less.host = NULL;
        less.fixed = FALSE;
    }
    return less;
}

/**
 * berth_fix_helps:
 * @snapshot: isn't changed
 *
 * Makes the change that @fix names on a copy of the fleet. Amounts are freed by letting workloads go whole, the newest
 * first, but none that @request must be near. Cost: a copy, and a look at one host, or at all for what makes room for
 * those of a lost host.
 *
 * Returns: whether @request fits then
 */
gboolean
berth_fix_helps(const BerthSnapshot *snapshot, const BerthRequest *request, const BerthFix *fix)
{
    g_autoptr(BerthSnapshot) s = berth_snapshot_copy(snapshot);
    BerthRequest less;
    switch (fix->kind) {
    case BERTH_FIX_FREE:
        return helps_to_free(s, request, fix->host);
    case BERTH_FIX_UNCORDON:
        berth_snapshot_set_state(s, fix->host, BERTH_HOST_READY);
        return takes_anywhere(s, request);
    case BERTH_FIX_ADD_HOST:
        berth_forecast_add_like(s, fix->host, NULL);
        return takes_anywhere(s, request);
    case BERTH_FIX_DROP_RULE:
        less = without(request, fix->code);
        return takes(s, &less, fix->host, bit_of(fix->code));
    case BERTH_FIX_RAISE_QUOTA:
        return takes(s, request, fix->host, bit_of("quota"));
    case BERTH_FIX_NONE:
        break;
    }
    return FALSE;
}
