/* THE ordered table of rules. Filters run in this order and the first that refuses is the reason that
 * is shown; scores run where a policy gives them weight. A new rule is one file and one line here. */
#include "sched/rules.h"

/* clang-format off */
#define RULES(RULE)     \
    RULE(state)         \
    RULE(pinned)        \
    RULE(cpu_type)      \
    RULE(machine)       \
    RULE(network)       \
    RULE(pool)          \
    RULE(selector)      \
    RULE(taint)         \
    RULE(vcpu)          \
    RULE(memory)        \
    RULE(disk)          \
    RULE(count)         \
    RULE(hugepage)      \
    RULE(dedicated)     \
    RULE(numa)          \
    RULE(device)        \
    RULE(quota)         \
    RULE(unreserved)    \
    RULE(tenant)        \
    RULE(affinity)      \
    RULE(anti_affinity) \
    RULE(kept_apart)    \
    RULE(spread)        \
    RULE(reserve)       \
    RULE(wish)          \
    RULE(near)          \
    RULE(avoid)         \
    RULE(image)         \
    RULE(room)          \
    RULE(pack)          \
    RULE(spread_load)   \
    RULE(balance)       \
    RULE(best_fit)      \
    RULE(balance_fit)   \
    RULE(dot_product)   \
    RULE(fgd)
/* clang-format on */

#define DECLARE(rule) extern const BerthRule berth_rule_##rule;
RULES(DECLARE)

#define ADDRESS(rule) &berth_rule_##rule,
const BerthRule *const berth_rules[] = {RULES(ADDRESS) NULL};

guint
berth_rules_count(void)
{
    return G_N_ELEMENTS(berth_rules) - 1;
}

/**
 * berth_rules_find:
 *
 * Returns: place of the rule called @code in the table, or -1
 */
gint
berth_rules_find(const char *code)
{
    for (guint i = 0; berth_rules[i] != NULL; i++) {
        if (g_str_equal(berth_rules[i]->code, code)) {
            return i;
        }
    }
    return -1;
}
