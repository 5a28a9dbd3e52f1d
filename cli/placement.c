/* Placements as ":why", plan and capacity have them, for people. Pure: returns text, prints nothing. */
#include "cli/placement.h"

#include <string.h>

#include "base/json.h"

/* So many hosts are shown one by one; more are shown by reason, unless asked for. */
#define HOSTS_SHOWN 16
/* So many are named in one row when the same is said of them. */
#define HOSTS_NAMED 3

/* An amount with its unit; NULL for rules that are not about amounts. */
static char *
format_amount(const json_t *refusal, const char *member)
{
    const char *dimension = berth_json_string(refusal, "dimension");
    gint64 amount = berth_json_integer(refusal, member, 0);
    if (berth_json_integer(refusal, "need", 0) == 0 &&
        berth_json_integer(refusal, "least_short_by", 0) == 0) {
        return NULL;
    }
    if (dimension != NULL && g_str_has_suffix(dimension, "cpu_millis")) {
        g_autofree char *number = amount % 1000 == 0
                                      ? g_strdup_printf("%" G_GINT64_FORMAT, amount / 1000)
                                      : g_strdup_printf("%.1f", (double)amount / 1000);
        return g_strdup_printf("%s vCPU%s", number, amount == 1000 ? "" : "s");
    }
    if ((dimension != NULL && g_str_has_suffix(dimension, "memory_mib")) ||
        g_strcmp0(berth_json_string(refusal, "code"), "disk") == 0) {
        g_autofree char *size = berth_format_mib(ABS(amount));
        return g_strdup_printf("%s%s", amount < 0 ? "-" : "", size);
    }
    return g_strdup_printf("%" G_GINT64_FORMAT, amount);
}

/* What a rule is about, when its code and units don't say it: a label, a network, a group. */
static char *
subject_of(const json_t *refusal)
{
    const char *dimension = berth_json_string(refusal, "dimension");
    if (g_strcmp0(berth_json_string(refusal, "code"), "reserve") == 0) {
        return g_strdup_printf("loss of %s", dimension);
    }
    gboolean is_unit = dimension != NULL && (g_str_has_suffix(dimension, "cpu_millis") ||
                                             g_str_has_suffix(dimension, "memory_mib"));
    return is_unit ? NULL : g_strdup(dimension);
}

/* Whether two refusals say the same of two hosts. */
static gboolean
is_alike(const json_t *one, const json_t *other)
{
    static const char *const members[] = {"code", "dimension", "need", "have", "short_by"};
    for (gsize i = 0; i < G_N_ELEMENTS(members); i++) {
        const json_t *a = json_object_get(one, members[i]), *b = json_object_get(other, members[i]);
        if (!json_equal(a, b)) {
            return FALSE;
        }
    }
    return TRUE;
}

/* "h1", "h1, h4", "h1, h2, h3 and 3 more": the hosts of which the refusal at @first and those alike speak; NULL
 * when one before it was alike. */
static char *
name_hosts(const json_t *refusals, gsize first)
{
    g_autoptr(GString) names = g_string_new(NULL);
    gsize count = 0, i;
    json_t *refusal;
    json_array_foreach ((json_t *)refusals, i, refusal) {
        if (!is_alike(json_array_get(refusals, first), refusal)) {
            continue;
        }
        if (i < first) {
            return NULL;
        }
        if (count++ < HOSTS_NAMED) {
            g_string_append_printf(names, "%s%s", count > 1 ? ", " : "",
                                   berth_json_string(refusal, "host"));
        }
    }
    if (count == json_array_size(refusals) && count > 1) {
        g_string_printf(names, "all %zu", count);
    } else if (count > HOSTS_NAMED) {
        g_string_append_printf(names, ", %zu more", count - HOSTS_NAMED);
    }
    return g_string_free(g_steal_pointer(&names), FALSE);
}

static char *
format_hosts(const json_t *refusals, gboolean wide)
{
    static const char *const titles[] = {"Host", "Refused by", "About", "Needs",
                                         "Has",  "Short by",   NULL};
    g_autoptr(BerthTable) table = berth_table_new(titles);
    g_autoptr(json_t) sorted = berth_sort_by_name(refusals, "host");
    gsize i;
    json_t *refusal;
    json_array_foreach (sorted, i, refusal) {
        g_autofree char *hosts =
            wide ? g_strdup(berth_json_string(refusal, "host")) : name_hosts(sorted, i);
        g_autofree char *need = format_amount(refusal, "need");
        g_autofree char *have = format_amount(refusal, "have");
        g_autofree char *short_by = format_amount(refusal, "short_by");
        g_autofree char *subject = subject_of(refusal);
        const char *cells[] = {hosts,   berth_json_string(refusal, "code"), subject, need, have,
                               short_by};
        if (hosts != NULL) {
            berth_table_add(table, cells);
        }
    }
    return berth_table_format(table);
}

static char *
format_groups(const json_t *groups)
{
    static const char *const titles[] = {"Hosts",   "Refused by", "About", "Short by at least",
                                         "Nearest", NULL};
    g_autoptr(BerthTable) table = berth_table_new(titles);
    gsize i;
    json_t *group;
    json_array_foreach ((json_t *)groups, i, group) {
        g_autofree char *hosts =
            g_strdup_printf("%" G_GINT64_FORMAT, berth_json_integer(group, "hosts", 0));
        g_autofree char *short_by = format_amount(group, "least_short_by");
        g_autofree char *subject = subject_of(group);
        const char *cells[] = {hosts, berth_json_string(group, "code"), subject, short_by,
                               berth_json_string(group, "nearest")};
        berth_table_add(table, cells);
    }
    return berth_table_format(table);
}

/**
 * berth_placement_groups:
 *
 * Returns: (transfer full) (nullable): a table of the reasons for which hosts refuse; NULL when none does
 */
char *
berth_placement_groups(const json_t *placement)
{
    const json_t *groups = json_object_get(placement, "groups");
    return json_array_size(groups) > 0 ? format_groups(groups) : NULL;
}

/**
 * berth_placement_refusals:
 * @wide: a row for every host, however many there are
 *
 * Returns: (transfer full) (nullable): a table of the hosts that refuse, those of which the same is to be said in
 * one row, or of their reasons when they are many; NULL when none does
 */
char *
berth_placement_refusals(const json_t *placement, gboolean wide)
{
    const json_t *refusals = json_object_get(placement, "refusals");
    gsize count = json_array_size(refusals);
    return count > 0 && (wide || count <= HOSTS_SHOWN) ? format_hosts(refusals, wide)
                                                       : berth_placement_groups(placement);
}

static char *
format_part(const json_t *scored, gsize index)
{
    const json_t *part = json_array_get(json_object_get(scored, "parts"), index);
    return part == NULL
               ? NULL
               : g_strdup_printf("%" G_GINT64_FORMAT, berth_json_integer(part, "score", 0));
}

static char *
format_total(const json_t *scored)
{
    return scored == NULL
               ? NULL
               : g_strdup_printf("%" G_GINT64_FORMAT, berth_json_integer(scored, "score", 0));
}

/**
 * berth_placement_scores:
 *
 * Returns: (transfer full) (nullable): a table of the score's parts of the chosen host and of the runner-up;
 * NULL when the placement has none
 */
char *
berth_placement_scores(const json_t *placement)
{
    const json_t *winner = json_object_get(placement, "winner");
    const json_t *second = json_object_get(placement, "runner_up");
    const json_t *parts = json_object_get(winner, "parts");
    if (json_array_size(parts) == 0) {
        return NULL;
    }
    const char *titles[] = {"Score (of 1000)", "Weight", berth_json_string(winner, "host"),
                            second != NULL ? berth_json_string(second, "host") : "(no other)",
                            NULL};
    g_autoptr(BerthTable) table = berth_table_new(titles);
    gsize i;
    json_t *part;
    json_array_foreach ((json_t *)parts, i, part) {
        g_autofree char *weight =
            g_strdup_printf("%" G_GINT64_FORMAT, berth_json_integer(part, "weight", 0));
        g_autofree char *one = format_part(winner, i);
        g_autofree char *two = format_part(second, i);
        const char *cells[] = {berth_json_string(part, "code"), weight, one, two};
        berth_table_add(table, cells);
    }
    g_autofree char *one = format_total(winner);
    g_autofree char *two = format_total(second);
    const char *cells[] = {"rank (of 65535)", "", one, two};
    berth_table_add(table, cells);
    return berth_table_format(table);
}

/**
 * berth_placement_fix:
 *
 * Returns: (transfer full): the smallest change as a sentence
 */
char *
berth_placement_fix(const json_t *placement)
{
    const char *text = json_string_value(berth_json_at(placement, "/fix/text"));
    return text != NULL ? g_strdup_printf("It %s.", text)
                        : g_strdup("No single change would let it fit.");
}

/**
 * berth_placement_list:
 * @placement: (nullable): of a workload's status
 * @member: "cells", "cpus" or "devices"
 *
 * Returns: (transfer full) (nullable): what of its host it holds, "4,5"; NULL when that is nothing
 */
char *
berth_placement_list(const json_t *placement, const char *member)
{
    g_autoptr(GString) text = g_string_new(NULL);
    gsize i;
    json_t *item;
    json_array_foreach (json_object_get(placement, member), i, item) {
        g_string_append(text, i > 0 ? "," : "");
        if (json_is_string(item)) {
            g_string_append(text, json_string_value(item));
        } else {
            g_string_append_printf(text, "%" JSON_INTEGER_FORMAT, json_integer_value(item));
        }
    }
    return text->len > 0 ? g_string_free(g_steal_pointer(&text), FALSE) : NULL;
}
