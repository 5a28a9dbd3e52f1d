/* What the route files share: a call (one request on its way through a handler) and the steps handlers use.
 *
 *   routes.c          THE table; matching; dispatch; the life of a call
 *   routes-read.c     get and list
 *   routes-write.c    put, post, patch, delete
 *   routes-verb.c     verbs and Tasks
 *   routes-wait.c     Prefer: wait
 *   routes-follow.c   watch, logs, why, xml, plan, capacity, rebalance, fleet
 *   routes-file.c     image upload, backup
 *   routes-about.c    health, version, metrics, openapi
 *   routes-stream.c   the WebSocket of exec, attach, console */
#pragma once

#include "base/error.h"
#include "daemon/routes.h"

typedef struct Call Call;
typedef struct Route Route;

/* Which kinds a route of a collection exists for. */
typedef enum {
    KINDS_NONE, /* no collection: the pattern is the whole path */
    KINDS_VISIBLE,
    KINDS_WRITABLE,
    KINDS_WORKLOADS,
    KINDS_PODS,
    KINDS_TASKS,
    KINDS_IMAGES,
    KINDS_VERBS,   /* that have verbs */
    KINDS_PROJECT, /* of a project, listed over all projects */
} RouteKinds;

struct Route {
    const char *method; /* "WS": GET with an upgrade */
    RouteKinds kinds;
    const char *pattern; /* path, or what follows the collection: "", "/{name}", "/{name}:why", … */
    void (*handle)(Call *call);
    const char *parameters;         /* names of query parameters, separated by blanks; NULL: none */
    const char *request, *response; /* schema: NULL none, "object", "list", "Task", or media type */
    guint status;                   /* of success */
    const char *id;                 /* verb of the OpenAPI operationId */
    const char *doc;
};

extern const Route routes_table[]; /* ends with a NULL method */

typedef enum { WAIT_NONE, WAIT_SETTLED, WAIT_GONE } WaitFor;

struct Call {
    BerthRoutes *routes;   /* borrowed */
    BerthRequest *request; /* borrowed; NULL once the client is gone */
    guint references;      /* the request's, and one per pending store answer */
    const Route *route;
    const BerthKind *kind; /* NULL: no collection */
    char *project;         /* owned; "" for fleet kinds; NULL: all projects */
    char *name, *verb;     /* owned; NULL: not in the path */
    gboolean dry_run;
    gint64 wait_s;    /* Prefer: wait=N; 0: none */
    json_t *document; /* owned; the body */

    /* a write on its way */
    guint attempts;
    guint answer_status;
    BerthObject *object; /* reference: what was submitted */
    char *key_name;      /* owned; RequestKey's name */
    char *reserved;      /* owned; uid whose verb is on its way */
    void (*retry)(Call *call);

    gpointer session; /* owned; routes-stream.c's, until it has its socket; NULL: none */
    gpointer upload;  /* owned; routes-file.c's; NULL: none */

    /* a wait */
    WaitFor wait;
    char *wait_uid;        /* owned */
    GSource *wait_timeout; /* owned */
};

typedef struct {
    const BerthKind *kind;
    const char *verb, *doc;
    BerthVerbCheck check;
} Verb;

struct BerthRoutes {
    BerthCatalog *catalog;       /* borrowed */
    BerthWatchHub *hub;          /* borrowed */
    const BerthWorkloadOps *ops; /* borrowed; NULL: none */
    char *state;
    GArray *verbs;         /* of Verb */
    GHashTable *finalised; /* set of BerthKind */
    GHashTable *waiting;   /* set of Call: those of routes-wait.c */
    GHashTable *reserved;  /* set of char *: uids whose Task is being stored */
    GHashTable *sockets;   /* set of WebSocket sessions */
    guint subscription;
    gint64 began_us;
    guint uploads;
    gboolean backing_up;
};

/* Whether @route exists for collections of @kind; @all_projects: for /v1/pods. */
gboolean routes_has(const BerthRoutes *routes, const Route *route, const BerthKind *kind,
                    gboolean all_projects);

Call *call_ref(Call *call);
void call_unref(Call *call);

/* ---- answering; none does anything when the client is gone ---- */
void call_answer_object(Call *call, guint status, const BerthObject *object);
void call_fail(Call *call, guint status, const GError *error);
void call_refuse(Call *call, guint status, BerthErrorCode code, const char *hint,
                 const char *format, ...) G_GNUC_PRINTF(5, 6);
const char *call_query(const Call *call, const char *name);
gboolean call_query_integer(Call *call, const char *name, gint64 minimum, gint64 maximum,
                            gint64 *value);
gboolean call_query_flag(Call *call, const char *name, gboolean *value);
/* The object of the path; NULL after answering 404. */
BerthObject *call_find(Call *call);

/* ---- routes-write.c ---- */
typedef enum { ETAG_ANY, ETAG_REVISION, ETAG_EXISTS, ETAG_ABSENT, ETAG_BAD } EtagKind;
/* What the header @name asks for; @revision is set for ETAG_REVISION. */
EtagKind call_etag(Call *call, const char *name, gint64 *revision);
gboolean call_read_document(Call *call, gboolean required);
/* Submits @transaction, which writes @object; answers @status with the newest object then. On a lost
 * race @retry runs again from the beginning. */
void call_submit(Call *call, BerthTransaction *transaction, BerthObject *object, guint status,
                 void (*retry)(Call *call));
/* Adds the Idempotency-Key's record to @transaction. Returns FALSE after answering: the key was used. */
gboolean call_use_key(Call *call, BerthTransaction *transaction, const BerthObject *object);
gboolean call_check_key(Call *call);

/* ---- routes-wait.c ---- */
/* Answers now, or when @object is settled (or gone), or the time is up. @object: as committed. */
void call_wait(Call *call, guint status, BerthObject *object, WaitFor wait);
void routes_wait_changed(BerthRoutes *routes, const BerthObject *before, BerthObject *after);
void routes_wait_stop(Call *call);

/* ---- handlers ---- */
void handle_get(Call *call);
void handle_list(Call *call);
void handle_put(Call *call);
void handle_post(Call *call);
void handle_patch(Call *call);
void handle_delete(Call *call);
void handle_verb(Call *call);
void handle_cancel(Call *call);
void handle_watch(Call *call);
void handle_logs(Call *call);
void handle_why(Call *call);
void handle_xml(Call *call);
void handle_plan(Call *call);
void handle_capacity(Call *call);
void handle_rebalance(Call *call);
void handle_overview(Call *call);
void handle_fleet(Call *call);
void handle_exec(Call *call);
void handle_attach(Call *call);
void handle_console(Call *call);
void handle_upload(Call *call);
void handle_backup(Call *call);
void handle_healthz(Call *call);
void handle_readyz(Call *call);
void handle_metrics(Call *call);
void handle_version(Call *call);
void handle_host_key(Call *call);
void handle_openapi(Call *call);
void handle_index(Call *call);

/* An upload's head and body; see BerthServerOps. */
gboolean upload_begin(Call *call);
void upload_free(gpointer upload);
void upload_take(Call *call, const void *bytes, gsize size);

void stream_forget(gpointer session);
/* Ends every WebSocket. */
void routes_close_sockets(BerthRoutes *routes);
