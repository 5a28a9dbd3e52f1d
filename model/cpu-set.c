/* Sets of CPUs. Start at berth_cpu_set_parse(). */
#include "model/cpu-set.h"

#include "base/error.h"
#include "model/schema.h"

/* Reads a number below BERTH_CPU_MAX and moves @at behind it. */
static gboolean
read_number(const char **at, guint *number)
{
    guint digits = 0;
    for (*number = 0; g_ascii_isdigit(**at) && digits < 5; (*at)++, digits++) {
        *number = *number * 10 + (guint)(**at - '0');
    }
    return digits > 0 && *number < BERTH_CPU_MAX;
}

/* Reads "4", "4-15" or "^7" and moves @at behind it. */
static gboolean
read_range(const char **at, BerthCpuSet *set)
{
    gboolean out = **at == '^';
    guint first, last;
    *at += out;
    if (!read_number(at, &first)) {
        return FALSE;
    }
    last = first;
    if (**at == '-' && !out) {
        ++*at;
        if (!read_number(at, &last) || last < first) {
            return FALSE;
        }
    }
    for (guint cpu = first; cpu <= last; cpu++) {
        if (out) {
            berth_cpu_set_remove(set, cpu);
        } else {
            berth_cpu_set_add(set, cpu);
        }
    }
    return TRUE;
}

/**
 * berth_cpu_set_parse:
 * @text: numbers and ranges, separated by commas; ^N takes N out of what is before it; no spaces
 * @set: (out): unchanged on error
 *
 * Errors: INVALID
 */
gboolean
berth_cpu_set_parse(const char *text, BerthCpuSet *set, GError **error)
{
    BerthCpuSet read = {{0}};
    const char *at = text;
    gboolean fine = read_range(&at, &read);
    while (fine && *at == ',') {
        at++;
        fine = read_range(&at, &read);
    }
    if (!fine || *at != '\0') {
        g_autofree char *quoted = berth_quote(text);
        berth_error_set_at(error, BERTH_ERROR_INVALID, NULL, "write 4-15 or 2,4-7,^5, for example",
                           "%s is not a set of CPUs", quoted);
        return FALSE;
    }
    *set = read;
    return TRUE;
}

/** Returns: (transfer full): the shortest text of @set; "" when it is empty. */
char *
berth_cpu_set_format(const BerthCpuSet *set)
{
    GString *text = g_string_new(NULL);
    for (guint first = 0, last; first < BERTH_CPU_MAX; first = last + 1) {
        last = first;
        if (!berth_cpu_set_has(set, first)) {
            continue;
        }
        while (berth_cpu_set_has(set, last + 1)) {
            last++;
        }
        g_string_append_printf(text, "%s%u", text->len > 0 ? "," : "", first);
        if (last > first) {
            g_string_append_printf(text, "-%u", last);
        }
    }
    return g_string_free(text, FALSE);
}

guint
berth_cpu_set_count(const BerthCpuSet *set)
{
    guint count = 0;
    for (guint i = 0; i < G_N_ELEMENTS(set->words); i++) {
        count += (guint)__builtin_popcountll(set->words[i]);
    }
    return count;
}

/** Adds to @set what is in @other. */
void
berth_cpu_set_join(BerthCpuSet *set, const BerthCpuSet *other)
{
    for (guint i = 0; i < G_N_ELEMENTS(set->words); i++) {
        set->words[i] |= other->words[i];
    }
}

/** Takes out of @set what is not in @other. */
void
berth_cpu_set_keep(BerthCpuSet *set, const BerthCpuSet *other)
{
    for (guint i = 0; i < G_N_ELEMENTS(set->words); i++) {
        set->words[i] &= other->words[i];
    }
}

/** Takes out of @set what is in @other. */
void
berth_cpu_set_take_out(BerthCpuSet *set, const BerthCpuSet *other)
{
    for (guint i = 0; i < G_N_ELEMENTS(set->words); i++) {
        set->words[i] &= ~other->words[i];
    }
}
