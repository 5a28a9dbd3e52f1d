/* The policies: which scores count, and how much. `default` is the one the daemon uses; the others are
 * there to compare with. */
#include "sched/rules.h"

extern const BerthRule berth_rule_avoid, berth_rule_balance_fit, berth_rule_best_fit,
    berth_rule_dot_product, berth_rule_fgd, berth_rule_image, berth_rule_near, berth_rule_pack,
    berth_rule_room, berth_rule_wish;

static const BerthPolicy policies[] = {
    {
        .name = "default",
        .doc = "Keeps room for the requests that usually come, then packs.",
        .indexed = TRUE,
        .weights = {{&berth_rule_avoid, 64},
                    {&berth_rule_wish, 16},
                    {&berth_rule_near, 64},
                    {&berth_rule_image, 1},
                    {&berth_rule_room, 32},
                    {&berth_rule_pack, 32}},
    },
    {
        .name = "first-fit",
        .doc = "The first host, cell and device with room.",
    },
    {
        .name = "best-fit",
        .doc = "The fullest host or cell with room.",
        .weights = {{&berth_rule_best_fit, 1}},
    },
    {
        .name = "balance-fit",
        .doc = "The host whose cells differ most, evened out.",
        .weights = {{&berth_rule_balance_fit, 1}},
    },
    {
        .name = "dot-product",
        .doc = "The host whose free vector points least in the request's direction.",
        .weights = {{&berth_rule_dot_product, 1}},
    },
    {
        .name = "fgd",
        .doc = "Fragmentation gradient descent over devices.",
        .weights = {{&berth_rule_fgd, 1}},
    },
};

/**
 * berth_policy_default:
 *
 * Returns: the policy the daemon uses
 */
const BerthPolicy *
berth_policy_default(void)
{
    return &policies[0];
}

/**
 * berth_policy_find:
 *
 * Returns: (nullable): the policy called @name
 */
const BerthPolicy *
berth_policy_find(const char *name)
{
    for (guint i = 0; i < G_N_ELEMENTS(policies); i++) {
        if (g_str_equal(policies[i].name, name)) {
            return &policies[i];
        }
    }
    return NULL;
}

/**
 * berth_policy_names:
 *
 * Returns: all names, NULL-terminated
 */
const char *const *
berth_policy_names(void)
{
    static const char *names[G_N_ELEMENTS(policies) + 1];
    for (guint i = 0; i < G_N_ELEMENTS(policies); i++) {
        names[i] = policies[i].name;
    }
    return names;
}
