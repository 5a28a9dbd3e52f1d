/* Reading: one object, and lists with paging and selectors. Main loop. */
#include "daemon/routes-private.h"

#include "base/json.h"

#include <string.h>

#define LIMIT_DEFAULT 1000
#define LIMIT_MAX 1000

void
handle_get(Call *call)
{
    BerthObject *object = call_find(call);
    gint64 revision = 0;
    if (object == NULL) {
        return;
    }
    EtagKind etag = call_etag(call, "If-None-Match", &revision);
    if (etag == ETAG_BAD) {
        return;
    }
    if (etag == ETAG_REVISION && revision == object->revision && call->wait_s == 0) {
        berth_request_answer_json(call->request, 304, NULL);
        return;
    }
    call_wait(call, 200, object, WAIT_SETTLED);
}

/* ---- field selectors ---- */

typedef struct {
    char **path; /* owned: members from the object's root */
    char *value; /* owned */
    gboolean unequal;
} FieldTerm;

static void
clear_term(gpointer data)
{
    FieldTerm *term = data;
    g_strfreev(term->path);
    g_free(term->value);
}

static gboolean
parse_term(const char *text, GArray *terms)
{
    const char *equals = strchr(text, '=');
    if (equals == NULL || equals == text) {
        return FALSE;
    }
    FieldTerm term = {.unequal = equals[-1] == '!'};
    const char *value = equals[1] == '=' ? equals + 2 : equals + 1;
    g_autofree char *path = g_strndup(text, (gsize)(equals - text) - (term.unequal ? 1 : 0));
    term.path = g_strsplit_set(*path == '/' ? path + 1 : path, "./", 16);
    term.value = g_strdup(value);
    g_array_append_val(terms, term);
    return TRUE;
}

/* "status.phase=Running,spec.vcpus!=1". NULL after answering 400. */
static GArray *
parse_fields(Call *call, const char *selector)
{
    g_autoptr(GArray) terms = g_array_new(FALSE, TRUE, sizeof(FieldTerm));
    g_array_set_clear_func(terms, clear_term);
    g_auto(GStrv) parts = g_strsplit(selector != NULL ? selector : "", ",", 16);
    for (char **part = parts; *part != NULL; part++) {
        if (!parse_term(*part, terms)) {
            call_refuse(call, 400, BERTH_ERROR_INVALID, "field=status.phase=Running",
                        "'%s' is no field selector", *part);
            return NULL;
        }
    }
    return g_steal_pointer(&terms);
}

static gboolean
term_matches(const FieldTerm *term, const json_t *object)
{
    const json_t *value = object;
    for (char **member = term->path; *member != NULL && value != NULL; member++) {
        value = json_is_array(value)
                    ? json_array_get(value, (gsize)g_ascii_strtoull(*member, NULL, 10))
                    : json_object_get(value, *member);
    }
    g_autofree char *text = value == NULL || json_is_null(value) ? g_strdup("")
                            : json_is_string(value) ? g_strdup(json_string_value(value))
                                                    : berth_json_format(value);
    return (strcmp(text, term->value) == 0) != term->unequal;
}

static gboolean
fields_match(const GArray *terms, const json_t *object)
{
    for (guint i = 0; i < terms->len; i++) {
        if (!term_matches(&g_array_index(terms, FieldTerm, i), object)) {
            return FALSE;
        }
    }
    return TRUE;
}

/* ---- lists ---- */

/* The token names the last object that was listed: a list may go on after that one was deleted. */
static char *
format_continue(const BerthObject *last)
{
    g_autofree char *text = g_strdup_printf("%s/%s", last->project, last->name);
    return g_base64_encode((const guchar *)text, strlen(text));
}

static gboolean
begin_list(Call *call, BerthCatalogIter *iter)
{
    const char *token = call_query(call, "continue");
    if (token == NULL) {
        berth_catalog_iter_init(iter, call->routes->catalog, call->kind, call->project);
        return TRUE;
    }
    gsize size = 0;
    g_autofree guchar *raw = g_base64_decode(token, &size);
    g_autofree char *text = g_strndup((const char *)raw, size);
    char *slash = strchr(text, '/');
    if (slash == NULL || size > 512) {
        call_refuse(call, 400, BERTH_ERROR_INVALID, "begin the list anew",
                    "'%s' is no continue token of a list", token);
        return FALSE;
    }
    *slash = '\0';
    berth_catalog_iter_init_after(iter, call->routes->catalog, call->kind, call->project, text,
                                  slash + 1);
    return TRUE;
}

static gboolean
label_is_valid(Call *call, const char *selector)
{
    g_autoptr(GError) error = NULL;
    g_autoptr(json_t) none = json_object();
    if (selector != NULL && !berth_labels_match(none, selector, &error) && error != NULL) {
        call_fail(call, 400, error);
        return FALSE;
    }
    return TRUE;
}

/* Returns: the JSON of @object when it is selected, else NULL. */
static json_t *
select_object(const BerthObject *object, const char *label, const GArray *fields)
{
    if (label != NULL && !berth_labels_match(object->labels, label, NULL)) {
        return NULL;
    }
    json_t *json = berth_object_to_json(object);
    if (!fields_match(fields, json)) {
        g_clear_pointer(&json, json_decref);
    }
    return json;
}

void
handle_list(Call *call)
{
    gint64 limit = LIMIT_DEFAULT;
    const char *label = call_query(call, "label");
    BerthCatalogIter iter;
    if (!call_query_integer(call, "limit", 1, LIMIT_MAX, &limit) || !label_is_valid(call, label) ||
        !begin_list(call, &iter)) {
        return;
    }
    g_autoptr(GArray) fields = parse_fields(call, call_query(call, "field"));
    if (fields == NULL) {
        return;
    }
    g_autoptr(json_t) items = json_array();
    g_autofree char *next = NULL;
    const BerthObject *object, *last = NULL;
    while ((object = berth_catalog_iter_next(&iter)) != NULL) {
        json_t *json = select_object(object, label, fields);
        if (json == NULL) {
            continue;
        }
        if ((gint64)json_array_size(items) == limit) {
            json_decref(json);
            next = format_continue(last);
            break;
        }
        json_array_append_new(items, json);
        last = object;
    }
    g_autofree char *kind = g_strconcat(call->kind->name, "List", NULL);
    g_autoptr(json_t) list = json_pack("{s:s, s:I, s:s*, s:O}", "kind", kind, "revision",
                                       (json_int_t)berth_catalog_revision(call->routes->catalog),
                                       "continue", next, "items", items);
    berth_request_answer_json(call->request, 200, list);
}
