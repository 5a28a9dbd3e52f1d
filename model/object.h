/* An object: what users want (body: labels, power, spec) and what was seen (status), under a name.
 *
 * Objects are immutable values with a reference count: a change makes a new one. They belong to the
 * main loop; workers get copies of what they need. */
#pragma once

#include "model/schema.h"

G_BEGIN_DECLS

typedef struct BerthObject BerthObject;

/* A column of a list: where its text is in the object's JSON. */
typedef struct {
    const char *title;   /* "Memory" */
    const char *pointer; /* "/spec/memory_mib"; several separated by '|': the first that is there */
    gboolean wide;       /* only with -o wide */
} BerthColumn;

typedef enum { BERTH_SCOPE_FLEET, BERTH_SCOPE_PROJECT } BerthKindScope;

typedef struct {
    const char *name;       /* "Pod" */
    const char *plural;     /* "pods": path segment */
    const char *short_name; /* "po": for the CLI; may be NULL */
    BerthKindScope scope;
    gboolean workload;                /* has power, placement and a domain: Pod, VM */
    gboolean read_only;               /* users can't write it: Task, Event, Address */
    gboolean hidden;                  /* not in the API: Address */
    const BerthSchema *spec, *status; /* status may be NULL */
    const BerthColumn *columns;       /* NULL title ends */
    gboolean (*validate)(const BerthObject *object,
                         GError **error); /* across fields; may be NULL */
    const char *doc;
} BerthKind;

extern const BerthKind berth_kind_host, berth_kind_vm, berth_kind_pod, berth_kind_image,
    berth_kind_network, berth_kind_volume, berth_kind_project, berth_kind_task, berth_kind_event,
    berth_kind_settings, berth_kind_address, berth_kind_request_key, berth_kind_fleet_mark;

/* All kinds, NULL-terminated, in the order documents list them. */
extern const BerthKind *const berth_kinds[];

/* @name: kind name, plural or short name, any case. Returns NULL when there is none. */
const BerthKind *berth_kind_find(const char *name);

typedef enum { BERTH_POWER_OFF, BERTH_POWER_ON } BerthPower;

/* What a document's `metadata` holds. Names, labels and annotations are the user's, the rest the
 * server's. */
typedef struct {
    char *name, *project, *uid;
    gint64 revision, generation;
    json_t *labels, *annotations;
    char *created, *deleting;
} BerthMetadata;

extern const BerthSchema berth_metadata_schema;

/* What `berth explain PATH` prints: "pod", "pod.spec", "pod.spec.containers.image". */
char *berth_kind_explain(const char *path, GError **error);
/* The JSON Schema of a whole object of @kind. */
json_t *berth_kind_openapi(const BerthKind *kind);

struct BerthObject {
    const BerthKind *kind;
    char *project; /* owned; "" for kinds of the fleet */
    char *name, *uid;
    gint64 revision, body_revision; /* 0: not stored yet */
    gint64 generation;              /* counts changes of spec */
    char *created;                  /* RFC 3339 */
    char *deleting;                 /* RFC 3339 when deletion was asked for; NULL otherwise */
    json_t *labels, *annotations;   /* owned; objects of strings, never NULL */
    BerthPower power;               /* workloads only: what verbs want */
    json_t *spec;                   /* owned; exactly as the user wrote it */
    json_t *status;                 /* owned; NULL before the first record */
    gsize row_bytes;      /* of the row it was loaded from; in memory it takes some times that */
    gpointer spec_data;   /* owned; read by kind->spec with defaults filled in; never NULL */
    gpointer status_data; /* owned; read by kind->status; all defaults when there is no status */
    gatomicrefcount references;
};

BerthObject *berth_object_ref(BerthObject *object);
void berth_object_unref(BerthObject *object);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthObject, berth_object_unref)

/* From a request's document: checks kind, metadata and spec; ignores nothing: unknown members and
 * server-owned ones that differ from @existing are refused with their pointer. */
BerthObject *berth_object_read(const BerthKind *kind, const char *project, const char *name,
                               const json_t *document, const BerthObject *existing, GError **error);
/* From a store's row halves. CORRUPT when they don't read. */
BerthObject *berth_object_load(const char *kind, const char *project, const char *name,
                               const char *uid, gint64 revision, gint64 body_revision,
                               const char *body, const char *status, GError **error);
/* A new object made by the daemon itself (Task, Event, Address, …). @spec: (transfer none). */
BerthObject *berth_object_make(const BerthKind *kind, const char *project, const char *name,
                               const json_t *spec, const char *created, GError **error);
/* A copy with another status (transfer none), power or deletion mark. */
BerthObject *berth_object_with_status(const BerthObject *object, const json_t *status,
                                      GError **error);

BerthObject *berth_object_with_power(const BerthObject *object, BerthPower power);
BerthObject *berth_object_with_deleting(const BerthObject *object, const char *when);
BerthObject *berth_object_with_labels(const BerthObject *object, const json_t *labels);
/* For an object that was just read and is not shared yet: the identity that the daemon gives it. */
void berth_object_set_identity(BerthObject *object, const char *uid, const char *created);

char *berth_object_format_body(const BerthObject *object);
json_t *
berth_object_to_json(const BerthObject *object);    /* the whole object, as the API answers it */
char *berth_object_path(const BerthObject *object); /* "/v1/projects/default/pods/web" */

gboolean berth_labels_match(const json_t *labels, const char *selector, GError **error);
gboolean berth_name_check(const char *name, GError **error);
char *berth_uid_new(void); /* a random UUID, from libuuid */

G_END_DECLS
