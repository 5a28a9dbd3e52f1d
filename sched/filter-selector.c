/* Label expressions of weight 0: the host must match every one. */
#include "sched/selector.h"

static const BerthFact *
find_label(const BerthProfile *profile, BerthSymbol key)
{
    for (guint i = 0; i < profile->n_labels; i++) {
        if (profile->labels[i].key == key) {
            return &profile->labels[i];
        }
    }
    return NULL;
}

static gboolean
is_listed(const BerthAsk *ask, guint expression, BerthSymbol value)
{
    guint first = 0;
    for (guint i = 0; i < expression; i++) {
        first += ask->request->selectors[i].n_values;
    }
    for (guint i = 0; i < ask->request->selectors[expression].n_values; i++) {
        if (ask->selector_values[first + i] == value) {
            return TRUE;
        }
    }
    return FALSE;
}

/* Both must be whole integers; anything else does not match. */
static gboolean
compare_numbers(const char *have, const BerthExpression *e)
{
    gint64 left, right;
    if (have == NULL || e->n_values != 1 ||
        !g_ascii_string_to_signed(have, 10, G_MININT64, G_MAXINT64, &left, NULL) ||
        !g_ascii_string_to_signed(e->values[0], 10, G_MININT64, G_MAXINT64, &right, NULL)) {
        return FALSE;
    }
    return e->operator== BERTH_OPERATOR_GREATER ? left > right : left<right;
}

/**
 * berth_selector_matches:
 * @expression: index into the request's selectors
 *
 * Returns: whether the labels of @host satisfy it
 */
gboolean
berth_selector_matches(const BerthAsk *ask, guint32 host, guint expression)
{
    const BerthExpression *e = &ask->request->selectors[expression];
    const BerthFact *label =
        find_label(berth_profile(ask->snapshot, host), ask->selector_keys[expression]);
    switch (e->operator) {
    case BERTH_OPERATOR_IN:
        return label != NULL && is_listed(ask, expression, label->value);
    case BERTH_OPERATOR_NOT_IN:
        return label == NULL || !is_listed(ask, expression, label->value);
    case BERTH_OPERATOR_EXISTS:
        return label != NULL;
    case BERTH_OPERATOR_ABSENT:
        return label == NULL;
    case BERTH_OPERATOR_GREATER:
    case BERTH_OPERATOR_LESS:
        return label != NULL &&
               compare_numbers(berth_symbols_name(&ask->snapshot->symbols, label->value), e);
    }
    return FALSE;
}

static gboolean
asked(const BerthAsk *ask)
{
    for (guint i = 0; i < ask->request->n_selectors; i++) {
        if (ask->request->selectors[i].weight == 0) {
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean
admits(const BerthAsk *ask, guint32 host, BerthRefusal *refusal)
{
    for (guint i = 0; i < ask->request->n_selectors; i++) {
        if (ask->request->selectors[i].weight == 0 && !berth_selector_matches(ask, host, i)) {
            return berth_refuse(refusal, ask->request->selectors[i].key, 0, 0);
        }
    }
    return TRUE;
}

const BerthRule berth_rule_selector = {
    .code = "selector",
    .doc = "The host's labels match every expression of the request.",
    .reach = BERTH_REACH_FACTS,
    .remedy = BERTH_REMEDY_DROP,
    .asked = asked,
    .admits = admits,
};
