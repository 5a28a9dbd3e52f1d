/* Tables as virsh draws them, and values as JSON or YAML. */
#pragma once

#include <jansson.h>
#include <stdio.h>

#include "model/object.h"

G_BEGIN_DECLS

typedef enum {
    BERTH_OUTPUT_TABLE,
    BERTH_OUTPUT_WIDE,
    BERTH_OUTPUT_JSON,
    BERTH_OUTPUT_YAML,
    BERTH_OUTPUT_NAME,
} BerthOutput;

extern const char *const berth_output_names[]; /* in the order of BerthOutput */

typedef struct BerthTable BerthTable;
BerthTable *berth_table_new(const char *const *titles);
void berth_table_add(BerthTable *table, const char *const *cells);
char *berth_table_format(const BerthTable *table);
void berth_table_free(BerthTable *table);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthTable, berth_table_free)

/* Lines "Name:   value", as virsh's dominfo has them. */
typedef struct BerthFacts BerthFacts;
BerthFacts *berth_facts_new(void);
void berth_facts_add(BerthFacts *facts, const char *name, const char *format, ...)
    G_GNUC_PRINTF(3, 4);
char *berth_facts_format(const BerthFacts *facts);
void berth_facts_free(BerthFacts *facts);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthFacts, berth_facts_free)

char *berth_print_value(const json_t *value, BerthOutput output);
char *berth_print_objects(const json_t *objects, const BerthColumn *columns, gboolean wide,
                          gint64 now_us);
char *berth_print_cell(const json_t *object, const BerthColumn *column, gint64 now_us);

json_t *berth_sort_by_name(const json_t *objects, const char *member);
char *berth_format_age(const char *time, gint64 now_us);
char *berth_format_bytes(gint64 bytes);
char *berth_format_mib(gint64 mib);
const json_t *berth_json_at(const json_t *value, const char *pointer);

G_END_DECLS
