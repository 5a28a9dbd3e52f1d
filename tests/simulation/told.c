/* See told.h. Start at told_line(). */
#include "tests/simulation/told.h"

#include "base/json.h"
#include "tests/simulation/oracle.h"

#include <string.h>

typedef struct {
    gint64 revision;
    char *name; /* owned: "Pod/web" */
} Told;

static GArray *told;     /* of Told: all that was committed, of the kinds that are watched */
static guint watched;    /* how many of them the watch told */
static guint complete;   /* … with the end of their revision */
static gint64 resume_at; /* the revision that ended there */

static void
clear_told(gpointer data)
{
    g_free(((Told *)data)->name);
}

void
told_begin(gint64 revision)
{
    told = g_array_new(FALSE, FALSE, sizeof(Told));
    g_array_set_clear_func(told, clear_told);
    resume_at = revision;
}

void
told_end(void)
{
    g_clear_pointer(&told, g_array_unref);
}

static gboolean
is_watched(const char *kind)
{
    return strcmp(kind, "Pod") == 0 || strcmp(kind, "VM") == 0 || strcmp(kind, "Host") == 0;
}

void
told_commit(const BerthChange *change)
{
    const BerthRow *row = change->row;
    if (is_watched(row->kind)) {
        Told entry = {change->revision, g_strconcat(row->kind, "/", row->name, NULL)};
        g_array_append_val(told, entry);
    }
}

void
told_line(const json_t *line)
{
    const json_t *object = json_object_get(line, "object");
    const json_t *metadata = json_object_get(object, "metadata");
    gint64 ended = berth_json_integer(line, "revision", 0);
    if (metadata == NULL) {
        resume_at = MAX(resume_at, ended); /* a bookmark */
        return;
    }
    g_autofree char *name = g_strconcat(berth_json_string(object, "kind"), "/",
                                        berth_json_string(metadata, "name"), NULL);
    gint64 revision = berth_json_integer(metadata, "revision", 0);
    const char *type = berth_json_string(line, "type");
    oracle_follow();
    if (watched >= told->len) {
        oracle_violate("the watch tells of %s at %" G_GINT64_FORMAT ", which is not committed",
                       name, revision);
        return;
    }
    const Told *next = &g_array_index(told, Told, watched);
    if (strcmp(next->name, name) != 0 ||
        (g_strcmp0(type, "deleted") != 0 && next->revision != revision)) {
        oracle_violate("the watch tells of %s at %" G_GINT64_FORMAT " where %s at %" G_GINT64_FORMAT
                       " comes next",
                       name, revision, next->name, next->revision);
    }
    watched++;
    if (ended != 0) {
        complete = watched;
        resume_at = ended;
    }
}

/* What came of a revision without its end comes again. */
void
told_cut(void)
{
    watched = complete;
}

gint64
told_since(void)
{
    return resume_at;
}

char *
told_find_missing(void)
{
    return watched < told->len
               ? g_strdup_printf("the watch has told %u of %u changes", watched, told->len)
               : NULL;
}
