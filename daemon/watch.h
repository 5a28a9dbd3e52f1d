/* Following changes from a revision on: misses nothing, repeats nothing, never splits a revision.
 *
 * A watch is a position, not a queue: it holds no copies, the reader pulls lines when it has room. Recent
 * changes are shared by all watches in one ring; a reader behind the ring is served from the store, one
 * behind the store's compaction gets GONE. So a reader that never reads costs a few hundred bytes.
 *
 * Lines are JSON objects:
 *   {"type":"put","object":{…},"revision":812}
 *   {"type":"deleted","object":{…},"revision":813}     (the last state; also when it left the selection)
 *   {"type":"bookmark","revision":900}                 (nothing selected happened up to there)
 *   {"type":"error","error":{problem+json}}            (the last line)
 * "revision" is what to resume from and is only on the last line of a revision: a transaction over two
 * objects has it on the second alone.
 *
 * Main loop only. Start reading at berth_watch_next(). */
#pragma once

#include "daemon/catalog.h"

G_BEGIN_DECLS

typedef struct BerthWatchHub BerthWatchHub;
typedef struct BerthWatch BerthWatch;

/* What a watch selects. All borrowed by berth_watch_new(), which copies. */
typedef struct {
    const char *kinds;   /* "pods,tasks"; NULL: all that are in the API */
    const char *project; /* NULL: all */
    const char *name;    /* NULL: all */
    const char *labels;  /* selector; NULL: all */
    gint64 since; /* revision the reader has; -1: begin with every present object, then follow */
} BerthWatchQuery;

BerthWatchHub *berth_watch_hub_new(BerthCatalog *catalog);
void berth_watch_hub_free(BerthWatchHub *hub);
guint berth_watch_hub_count(const BerthWatchHub *hub);

/* @wake: called when lines became available after berth_watch_next() had none; must not call back.
 * Errors: INVALID (kinds, labels, a revision of the future), GONE (compacted: list again). */
BerthWatch *berth_watch_new(BerthWatchHub *hub, const BerthWatchQuery *query,
                            void (*wake)(gpointer user_data), gpointer user_data, GError **error);
void berth_watch_free(BerthWatch *watch);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthWatch, berth_watch_free)

/* Returns: (transfer full): the next line with its newline; NULL without @error: nothing now, wait for
 * wake(); NULL with @error GONE: the reader fell behind the compaction. */
GBytes *berth_watch_next(BerthWatch *watch, GError **error);

/* (transfer full): a bookmark line at the present position; for idle readers, every 15 s. */
GBytes *berth_watch_bookmark(BerthWatch *watch);

G_END_DECLS
