/* One table describes a struct: how its JSON is read, checked, written, documented and shown.
 *
 * A field is described once in the whole tree. From the tables come strict reading with the JSON pointer
 * of the offending field, writing, defaults, validation, the OpenAPI document, `berth explain` and
 * the columns of lists. Pure; thread-safe. */
#pragma once

#include <glib.h>
#include <jansson.h>
#include <stddef.h>

G_BEGIN_DECLS

/* What the C member at .offset is. */
typedef enum {
    BERTH_FIELD_BOOL,   /* gboolean */
    BERTH_FIELD_INT,    /* gint64; .minimum .. .maximum */
    BERTH_FIELD_STRING, /* char *, owned, NULL when absent; length .minimum .. .maximum bytes */
    BERTH_FIELD_ENUM,   /* int, index into .choices */
    BERTH_FIELD_STRINGS, /* char **, owned, NULL-terminated, NULL when absent; count up to .maximum */
    BERTH_FIELD_MAP,    /* json_t *, owned: an object of strings under label keys, NULL when absent;
                          * up to .maximum keys, values up to 4096 bytes */
    BERTH_FIELD_COUNTS, /* json_t *, owned: an object of whole numbers, .minimum .. .maximum, under
                          * label keys, NULL when absent; up to BERTH_COUNTS_MAX */
    BERTH_FIELD_OBJECT, /* an embedded struct described by .schema */
    BERTH_FIELD_OBJECTS, /* GPtrArray * without a free function, owned, of structs described by
                          * .schema; .minimum .. .maximum of them; NULL when absent */
    BERTH_FIELD_JSON,    /* json_t *, owned: any JSON, NULL when absent */
} BerthFieldType;

#define BERTH_COUNTS_MAX 64

/* What a STRING (or each of STRINGS) must look like beyond its length. */
typedef enum {
    BERTH_FORMAT_TEXT,  /* any UTF-8 without NUL */
    BERTH_FORMAT_LINE,  /* as TEXT, without control characters */
    BERTH_FORMAT_NAME,  /* DNS label: 1-63 of a-z 0-9 -, starts and ends with a letter or digit */
    BERTH_FORMAT_IMAGE, /* an OCI image reference (checked in depth by images/) */
    BERTH_FORMAT_UUID,
    BERTH_FORMAT_MAC,
    BERTH_FORMAT_IP,      /* IPv4 or IPv6 address */
    BERTH_FORMAT_CIDR,    /* address/prefix */
    BERTH_FORMAT_TIME,    /* RFC 3339, UTC */
    BERTH_FORMAT_DIGEST,  /* sha256:<64 hex> */
    BERTH_FORMAT_ENV,     /* NAME=value; NAME of A-Z a-z 0-9 _ . - */
    BERTH_FORMAT_DEVICE,  /* interface or bridge name: 1-15 of A-Z a-z 0-9 _ . - */
    BERTH_FORMAT_LIBVIRT, /* libvirt object name: 1-127 of A-Z a-z 0-9 _ . -, no leading - or . */
} BerthFormat;

/* When a change to a field takes effect. */
typedef enum {
    BERTH_MUTABLE_LIVE,      /* at once, the guest goes on */
    BERTH_MUTABLE_NEXT_BOOT, /* at the next start */
    BERTH_MUTABLE_NEVER,     /* refused: delete and create anew */
} BerthMutability;

typedef struct BerthSchema BerthSchema;
typedef struct BerthField BerthField;

struct BerthField {
    const char *name; /* JSON member */
    BerthFieldType type;
    gsize offset;
    gboolean required;
    gint64 fallback;           /* default of BOOL, INT, ENUM */
    const char *fallback_text; /* default of STRING; NULL: none */
    gint64 minimum, maximum;   /* 0, 0: the type's own (STRING 4096 bytes, counts 64) */
    BerthFormat format;
    const char *const *choices; /* ENUM: NULL-terminated; a STRING may be limited to them too */
    const char *unit;           /* "MiB", "s", …; NULL: none */
    BerthMutability mutability;
    const BerthSchema *schema; /* OBJECT, OBJECTS */
    const char *doc;           /* one sentence */
};

struct BerthSchema {
    const char *name; /* "PodSpec"; the component's name in OpenAPI */
    gsize size;       /* of the struct */
    const BerthField *fields;
    gsize count;
    const char *doc;
};

#define BERTH_SCHEMA(schema_name, type, table, text)                                               \
    {                                                                                              \
        .name = (schema_name), .size = sizeof(type), .fields = (table),                            \
        .count = G_N_ELEMENTS(table), .doc = (text)                                                \
    }

/* The start of a row of a table: the JSON member is called as the C member. */
#define BERTH_FIELD(owner, member, kind, ...)                                                      \
    {                                                                                              \
        .name = #member, .type = BERTH_FIELD_##kind, .offset = offsetof(owner, member),            \
        __VA_ARGS__                                                                                \
    }

gpointer berth_schema_read(const BerthSchema *schema, const json_t *json, GError **error);
json_t *berth_schema_write(const BerthSchema *schema, gconstpointer data);
gpointer berth_schema_new(const BerthSchema *schema);
void berth_schema_free(const BerthSchema *schema, gpointer data);
const BerthField *berth_schema_find(const BerthSchema *schema, const char *path);
gboolean berth_schema_check_change(const BerthSchema *schema, const json_t *before,
                                   const json_t *after, GError **error);
json_t *berth_schema_openapi(const BerthSchema *schema);
char *berth_schema_explain(const BerthSchema *schema, const char *title);
char *berth_field_facts(const BerthField *field);
char *berth_field_explain(const BerthField *field, const char *title);
void berth_field_limits(const BerthField *field, gint64 *minimum, gint64 *maximum);

gboolean berth_format_check(BerthFormat format, const char *text, GError **error);
const char *berth_format_doc(BerthFormat format);
gboolean berth_label_key_check(const char *key, GError **error);
char *berth_quote(const char *text);
const char *berth_suggest(const char *word, const char *const *known);
json_t *berth_merge_patch(const json_t *target, const json_t *patch);

G_END_DECLS
