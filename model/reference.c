/* Prints the reference of all kinds (docs/reference/kinds.md) from their tables. A program of the build,
 * not installed: `make update-reference` writes the file, a test compares it. */
#include <stdio.h>

#include "model/object.h"

/* One line a cell can hold: no bar may end it. */
static char *
escape(const char *text)
{
    g_auto(GStrv) parts = g_strsplit(text, "|", -1);
    return g_strjoinv("\\|", parts);
}

static void
print_fields(const BerthSchema *schema, const char *prefix)
{
    static const char *const changes[] = {"live", "next boot", "never"};
    for (gsize i = 0; i < schema->count; i++) {
        const BerthField *field = &schema->fields[i];
        g_autofree char *path = g_strconcat(prefix, field->name, NULL);
        g_autofree char *facts = berth_field_facts(field);
        g_autofree char *doc = escape(field->doc);
        printf("| `%s` | %s | %s | %s", path, facts, changes[field->mutability], doc);
        if (field->choices != NULL) {
            g_autofree char *all = g_strjoinv("`, `", (char **)field->choices);
            printf(" One of `%s`.", all);
        }
        printf(" |\n");
        if (field->schema != NULL) {
            g_autofree char *inner =
                g_strconcat(path, field->type == BERTH_FIELD_OBJECTS ? "[]." : ".", NULL);
            print_fields(field->schema, inner);
        }
    }
}

static void
print_table(const char *title, const BerthSchema *schema)
{
    printf("\n**%s**: %s\n\n| field | type | change | meaning |\n|---|---|---|---|\n", title,
           schema->doc);
    print_fields(schema, "");
}

static void
print_kind(const BerthKind *kind)
{
    printf("\n## %s\n\n%s Path: `/v1/%s%s`.%s\n", kind->name, kind->doc,
           kind->scope == BERTH_SCOPE_PROJECT ? "projects/PROJECT/" : "", kind->plural,
           kind->read_only ? " Written by Berth alone." : "");
    print_table("spec", kind->spec);
    if (kind->status != NULL) {
        print_table("status", kind->status);
    }
}

int
main(void)
{
    printf(
        "# Kinds\n\nMade from the tables in `model/` by `make update-reference`; `berth explain "
        "KIND.spec.FIELD` says the same.\n\n\"change\" is what a change to the field of an object "
        "that exists does: live (at once), next boot, or never (refused: delete and create "
        "anew).\n\n## Metadata of every kind\n");
    print_table("metadata", &berth_metadata_schema);
    for (gsize i = 0; berth_kinds[i] != NULL; i++) {
        if (!berth_kinds[i]->hidden) {
            print_kind(berth_kinds[i]);
        }
    }
    return 0;
}
