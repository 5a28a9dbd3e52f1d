/* YAML over libyaml's events: libyaml finds the structure, the scalars are ours (the 1.2 core schema, not
 * libyaml's 1.1), and so are the limits.
 *
 * Invariant: memory taken is bounded by the BERTH_YAML_* limits, whatever the text says; an alias costs
 * as much as what it stands for. Values without a JSON counterpart (collections as keys, .nan, unknown
 * tags, merge keys) are refused with their line, never guessed. Start reading at berth_yaml_parse(). */
#include "cli/yaml.h"

#include <math.h>
#include <string.h>
#include <yaml.h>

#include "base/error.h"
#include "base/json.h"

#define CORE "tag:yaml.org,2002:"

/* A finished node that an alias may stand for. */
typedef struct {
    json_t
        *value; /* owned; NULL while the node is still being read: an alias to it would be a loop */
    gsize nodes, bytes;
} Anchor;

typedef struct {
    yaml_parser_t parser;
    yaml_event_t event; /* the current one; valid while have_event */
    gboolean have_event;
    GHashTable *anchors;    /* owned; name -> Anchor; of the current document */
    const char *text, *end; /* borrowed; the input */
    const char *seen;       /* a place in it, and */
    gsize seen_index;       /* how many characters stand before */
    gsize nodes, bytes;     /* taken so far by all documents */
    guint aliases;
    GError *error; /* owned; the first failure */
} Reader;

static void
anchor_free(gpointer data)
{
    Anchor *anchor = data;
    json_decref(anchor->value);
    g_free(anchor);
}

static gpointer G_GNUC_PRINTF(3, 4)
    refuse(Reader *reader, const yaml_mark_t *mark, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *what = g_strdup_vprintf(format, args);
    va_end(args);
    if (reader->error == NULL) {
        berth_error_set(&reader->error, BERTH_ERROR_INVALID, "line %zu, column %zu: %s",
                        mark->line + 1, mark->column + 1, what);
    }
    return NULL;
}

static gboolean
advance(Reader *reader)
{
    if (reader->have_event) {
        yaml_event_delete(&reader->event);
        reader->have_event = FALSE;
    }
    if (!yaml_parser_parse(&reader->parser, &reader->event)) {
        refuse(reader, &reader->parser.problem_mark, "%s",
               reader->parser.problem != NULL ? reader->parser.problem : "not YAML");
        return FALSE;
    }
    reader->have_event = TRUE;
    return TRUE;
}

/* Charges one value. The limits are over the whole file: many documents cost as much as one. */
static gboolean
charge(Reader *reader, const yaml_mark_t *mark, gsize nodes, gsize bytes)
{
    reader->nodes += nodes;
    reader->bytes += bytes;
    if (reader->nodes > BERTH_YAML_NODES_MAX || reader->bytes > BERTH_YAML_SIZE_MAX) {
        refuse(reader, mark, "more than %d values or %d bytes once aliases are expanded",
               BERTH_YAML_NODES_MAX, BERTH_YAML_SIZE_MAX);
        return FALSE;
    }
    return TRUE;
}

/* The byte before @mark, which counts characters; 0 at the beginning. Marks are asked for in order. */
static char
byte_before(Reader *reader, const yaml_mark_t *mark)
{
    while (reader->seen_index < mark->index && reader->seen < reader->end) {
        reader->seen = g_utf8_next_char(reader->seen);
        reader->seen_index++;
    }
    return reader->seen > reader->text && reader->seen <= reader->end ? reader->seen[-1] : 0;
}

/* Two places where libyaml 0.2.5 reads YAML 1.2 as something else: "{?a: 1}" has the key "?a", and
 * "&a:b c" is the anchor "a:b". They are refused, for a wrong value is worse than none. */
static gboolean
check_misread(Reader *reader, const yaml_event_t *event, gboolean is_key)
{
    const yaml_mark_t *mark = &event->start_mark;
    if (is_key && byte_before(reader, mark) == '?') {
        refuse(reader, mark, "a question mark that begins a key must be quoted");
        return FALSE;
    }
    if (event->type == YAML_SCALAR_EVENT && event->data.scalar.anchor != NULL &&
        event->data.scalar.value[0] == ':' && event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
        refuse(reader, mark, "an anchor's name must not hold a colon");
        return FALSE;
    }
    return TRUE;
}

/* ---- scalars: the core schema of YAML 1.2, section 10.3 ---- */

static gboolean
is_digits(const char *text, const char *digits)
{
    return *text != '\0' && text[strspn(text, digits)] == '\0';
}

static gboolean
is_null(const char *text)
{
    static const char *const words[] = {"", "~", "null", "Null", "NULL", NULL};
    return g_strv_contains(words, text);
}

/* Returns 1, 0, or -1 when @text is no boolean. */
static int
read_boolean(const char *text)
{
    static const char *const yes[] = {"true", "True", "TRUE", NULL};
    static const char *const no[] = {"false", "False", "FALSE", NULL};
    return g_strv_contains(yes, text) ? 1 : g_strv_contains(no, text) ? 0 : -1;
}

static gboolean
is_integer(const char *text, guint *base)
{
    *base = 10;
    if (g_str_has_prefix(text, "0x")) {
        *base = 16;
        return is_digits(text + 2, "0123456789abcdefABCDEF");
    }
    if (g_str_has_prefix(text, "0o")) {
        *base = 8;
        return is_digits(text + 2, "01234567");
    }
    return is_digits(text + (*text == '-' || *text == '+'), "0123456789");
}

/* [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )? */
static gboolean
is_float(const char *text)
{
    const char *digits = "0123456789", *p = text + (*text == '-' || *text == '+');
    gsize whole = strspn(p, digits), fraction = 0;
    p += whole;
    if (*p == '.') {
        fraction = strspn(++p, digits);
        p += fraction;
    }
    if (whole + fraction == 0) {
        return FALSE;
    }
    return *p == '\0' ||
           ((*p == 'e' || *p == 'E') && is_digits(p + 1 + (p[1] == '-' || p[1] == '+'), digits));
}

static gboolean
is_infinite(const char *text)
{
    static const char *const words[] = {".inf", ".Inf", ".INF", ".nan", ".NaN", ".NAN", NULL};
    return g_strv_contains(words, text + (*text == '-' || *text == '+'));
}

static json_t *
read_integer(Reader *reader, const yaml_mark_t *mark, const char *text, guint base)
{
    const char *digits = base == 10 ? text : text + 2;
    gint64 value;
    g_autofree char *unsigned_text = g_strdup(*digits == '+' ? digits + 1 : digits);
    if (!g_ascii_string_to_signed(unsigned_text, base, G_MININT64, G_MAXINT64, &value, NULL)) {
        return refuse(reader, mark, "the number %.40s does not fit 64 bits", text);
    }
    return json_integer(value);
}

static json_t *
read_real(Reader *reader, const yaml_mark_t *mark, const char *text)
{
    double value = g_ascii_strtod(text, NULL);
    if (!isfinite(value)) {
        return refuse(reader, mark, "the number %.40s is too large", text);
    }
    return json_real(value);
}

/* What a plain scalar means. */
static json_t *
resolve_plain(Reader *reader, const yaml_mark_t *mark, const char *text)
{
    guint base;
    int boolean = read_boolean(text);
    if (is_null(text)) {
        return json_null();
    }
    if (boolean >= 0) {
        return json_boolean(boolean);
    }
    if (is_integer(text, &base)) {
        return read_integer(reader, mark, text, base);
    }
    if (is_float(text)) {
        return read_real(reader, mark, text);
    }
    if (is_infinite(text)) {
        return refuse(reader, mark, "%s has no JSON counterpart; quote it if a text is meant",
                      text);
    }
    return json_string(text);
}

/* A scalar with one of the core tags: the text must be what the tag says. */
static json_t *
resolve_tagged(Reader *reader, const yaml_mark_t *mark, const char *tag, const char *text)
{
    if (strcmp(tag, CORE "str") == 0 || strcmp(tag, "!") == 0) {
        return json_string(text);
    }
    json_t *value = resolve_plain(reader, mark, text);
    if (value == NULL) {
        return NULL;
    }
    if (strcmp(tag, CORE "float") == 0 && json_is_integer(value)) {
        double real = (double)json_integer_value(value);
        json_decref(value);
        return json_real(real);
    }
    gboolean fits = (strcmp(tag, CORE "null") == 0 && json_is_null(value)) ||
                    (strcmp(tag, CORE "bool") == 0 && json_is_boolean(value)) ||
                    (strcmp(tag, CORE "int") == 0 && json_is_integer(value)) ||
                    (strcmp(tag, CORE "float") == 0 && json_is_real(value));
    if (!fits) {
        json_decref(value);
        return refuse(reader, mark, "tag '%.60s' is not supported here", tag);
    }
    return value;
}

static json_t *
read_scalar(Reader *reader)
{
    const yaml_event_t *event = &reader->event;
    const char *text = (const char *)event->data.scalar.value;
    const char *tag = (const char *)event->data.scalar.tag;
    gsize length = event->data.scalar.length;
    if (!check_misread(reader, event, FALSE) || !charge(reader, &event->start_mark, 1, length)) {
        return NULL;
    }
    if (memchr(text, '\0', length) != NULL) {
        return refuse(reader, &event->start_mark, "a text must not hold a NUL character");
    }
    if (tag != NULL) {
        return resolve_tagged(reader, &event->start_mark, tag, text);
    }
    if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
        return resolve_plain(reader, &event->start_mark, text);
    }
    json_t *value = json_stringn(text, length);
    return value != NULL ? value : refuse(reader, &event->start_mark, "not valid UTF-8");
}

/* ---- collections ---- */

static json_t *read_node(Reader *reader, guint depth);

static gboolean
check_tag(Reader *reader, const yaml_char_t *tag, const char *core)
{
    const char *name = (const char *)tag;
    if (name != NULL && strcmp(name, core) != 0 && strcmp(name, "!") != 0) {
        refuse(reader, &reader->event.start_mark, "tag '%.60s' is not supported", name);
        return FALSE;
    }
    return TRUE;
}

static json_t *
read_sequence(Reader *reader, guint depth)
{
    if (!check_tag(reader, reader->event.data.sequence_start.tag, CORE "seq")) {
        return NULL;
    }
    g_autoptr(json_t) list = json_array();
    while (advance(reader)) {
        if (reader->event.type == YAML_SEQUENCE_END_EVENT) {
            return g_steal_pointer(&list);
        }
        json_t *item = read_node(reader, depth + 1);
        if (item == NULL || json_array_append_new(list, item) < 0) {
            return NULL;
        }
    }
    return NULL;
}

/* A key as JSON has it: a text. Numbers and booleans keep the spelling they have in the file. */
static char *
read_key(Reader *reader)
{
    const yaml_event_t *event = &reader->event;
    const yaml_mark_t *mark = &event->start_mark;
    if (event->type == YAML_ALIAS_EVENT) {
        Anchor *anchor = g_hash_table_lookup(reader->anchors, event->data.alias.anchor);
        if (anchor == NULL || !json_is_string(anchor->value)) {
            return refuse(reader, mark, "an alias used as a key must stand for a text");
        }
        return charge(reader, mark, 1, anchor->bytes) ? g_strdup(json_string_value(anchor->value))
                                                      : NULL;
    }
    if (event->type != YAML_SCALAR_EVENT) {
        return refuse(reader, mark, "a key must be a text");
    }
    if (!check_misread(reader, event, TRUE)) {
        return NULL;
    }
    const char *text = (const char *)event->data.scalar.value;
    gboolean plain =
        event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE && event->data.scalar.tag == NULL;
    if (plain && is_null(text)) {
        return refuse(reader, mark, "a key must not be empty");
    }
    if (plain && strcmp(text, "<<") == 0) {
        return refuse(reader, mark, "merge keys (<<) are not supported; write the fields out");
    }
    char *key = g_strdup(text);
    json_t *value = read_scalar(reader); /* charges, and checks tag and characters */
    if (value == NULL) {
        g_clear_pointer(&key, g_free);
    } else if (event->data.scalar.anchor != NULL) {
        Anchor *anchor = g_new0(Anchor, 1);
        *anchor = (Anchor){json_string(key), 1, strlen(key)};
        g_hash_table_insert(reader->anchors, g_strdup((char *)event->data.scalar.anchor), anchor);
    }
    json_decref(value);
    return key;
}

static json_t *
read_mapping(Reader *reader, guint depth)
{
    if (!check_tag(reader, reader->event.data.mapping_start.tag, CORE "map")) {
        return NULL;
    }
    g_autoptr(json_t) object = json_object();
    while (advance(reader)) {
        if (reader->event.type == YAML_MAPPING_END_EVENT) {
            return g_steal_pointer(&object);
        }
        yaml_mark_t mark = reader->event.start_mark;
        g_autofree char *key = read_key(reader);
        if (key == NULL) {
            return NULL;
        }
        if (json_object_get(object, key) != NULL) {
            return refuse(reader, &mark, "the key '%.60s' is there twice", key);
        }
        json_t *value = advance(reader) ? read_node(reader, depth + 1) : NULL;
        if (value == NULL || json_object_set_new(object, key, value) < 0) {
            return value == NULL ? NULL : refuse(reader, &mark, "the key is not valid UTF-8");
        }
    }
    return NULL;
}

static json_t *
read_alias(Reader *reader)
{
    const yaml_mark_t *mark = &reader->event.start_mark;
    const char *name = (const char *)reader->event.data.alias.anchor;
    const Anchor *anchor = g_hash_table_lookup(reader->anchors, name);
    if (anchor == NULL) {
        return refuse(reader, mark, "the alias '*%.60s' has no anchor before it", name);
    }
    if (anchor->value == NULL) {
        return refuse(reader, mark, "the alias '*%.60s' is inside of what it stands for", name);
    }
    if (++reader->aliases > BERTH_YAML_ALIASES_MAX) {
        return refuse(reader, mark, "more than %d aliases", BERTH_YAML_ALIASES_MAX);
    }
    if (!charge(reader, mark, anchor->nodes, anchor->bytes)) {
        return NULL;
    }
    return json_deep_copy(anchor->value);
}

static const char *
anchor_name(const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return (const char *)event->data.scalar.anchor;
    case YAML_SEQUENCE_START_EVENT:
        return (const char *)event->data.sequence_start.anchor;
    case YAML_MAPPING_START_EVENT:
        return (const char *)event->data.mapping_start.anchor;
    default:
        return NULL;
    }
}

static json_t *
read_value(Reader *reader, guint depth)
{
    const yaml_mark_t mark = reader->event.start_mark;
    switch (reader->event.type) {
    case YAML_ALIAS_EVENT:
        return read_alias(reader);
    case YAML_SCALAR_EVENT:
        return read_scalar(reader);
    case YAML_SEQUENCE_START_EVENT:
        return charge(reader, &mark, 1, 2) ? read_sequence(reader, depth) : NULL;
    case YAML_MAPPING_START_EVENT:
        return charge(reader, &mark, 1, 2) ? read_mapping(reader, depth) : NULL;
    default:
        return refuse(reader, &mark, "a value was expected");
    }
}

/* Reads the node at the current event, and remembers it when it has an anchor. */
static json_t *
read_node(Reader *reader, guint depth)
{
    if (depth > BERTH_YAML_DEPTH_MAX) {
        return refuse(reader, &reader->event.start_mark, "nested deeper than %d levels",
                      BERTH_YAML_DEPTH_MAX);
    }
    g_autofree char *name = g_strdup(anchor_name(&reader->event));
    gsize nodes = reader->nodes, bytes = reader->bytes;
    if (name != NULL) {
        g_hash_table_insert(reader->anchors, g_strdup(name), g_new0(Anchor, 1));
    }
    json_t *value = read_value(reader, depth);
    if (value != NULL && name != NULL) {
        Anchor *anchor = g_new0(Anchor, 1);
        *anchor = (Anchor){json_incref(value), reader->nodes - nodes, reader->bytes - bytes};
        g_hash_table_insert(reader->anchors, g_strdup(name), anchor);
    }
    return value;
}

static gboolean
read_documents(Reader *reader, json_t *documents)
{
    while (advance(reader) && reader->event.type != YAML_STREAM_END_EVENT) {
        if (reader->event.type != YAML_DOCUMENT_START_EVENT) {
            continue;
        }
        if (json_array_size(documents) == BERTH_YAML_DOCUMENTS_MAX) {
            refuse(reader, &reader->event.start_mark, "more than %d documents",
                   BERTH_YAML_DOCUMENTS_MAX);
            return FALSE;
        }
        g_hash_table_remove_all(reader->anchors);
        json_t *value = advance(reader) ? read_node(reader, 1) : NULL;
        if (value == NULL || json_array_append_new(documents, value) < 0) {
            return FALSE;
        }
    }
    return reader->error == NULL;
}

/**
 * berth_yaml_parse:
 * @text: @size bytes of YAML 1.2 (UTF-8), one or several documents
 *
 * Returns: (transfer full): an array with one JSON value for each document. Errors: INVALID with line
 * and column, when it is no YAML, has no JSON counterpart, or is beyond a BERTH_YAML_* limit.
 */
json_t *
berth_yaml_parse(const char *text, gsize size, GError **error)
{
    if (size > BERTH_YAML_SIZE_MAX) {
        berth_error_set(error, BERTH_ERROR_INVALID, "YAML of %zu bytes is larger than %d bytes",
                        size, BERTH_YAML_SIZE_MAX);
        return NULL;
    }
    /* libyaml takes a last line of blanks for nothing unless a line end follows it. */
    gboolean whole = size == 0 || text[size - 1] == '\n';
    g_autofree char *longer = whole ? NULL : g_malloc(size + 1);
    if (!whole) {
        memcpy(longer, text, size);
        longer[size++] = '\n';
        text = longer;
    }
    Reader reader = {.text = text, .seen = text, .end = text + size};
    if (!yaml_parser_initialize(&reader.parser)) {
        berth_error_set(error, BERTH_ERROR_EXHAUSTED, "no memory to read YAML");
        return NULL;
    }
    reader.anchors = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, anchor_free);
    yaml_parser_set_input_string(&reader.parser, (const unsigned char *)reader.text,
                                 (gsize)(reader.end - reader.text));
    yaml_parser_set_encoding(&reader.parser, YAML_UTF8_ENCODING);
    g_autoptr(json_t) documents = json_array();
    gboolean ok = read_documents(&reader, documents);
    if (reader.have_event) {
        yaml_event_delete(&reader.event);
    }
    g_hash_table_unref(reader.anchors);
    yaml_parser_delete(&reader.parser);
    if (!ok) {
        g_propagate_error(error, reader.error);
        return NULL;
    }
    return g_steal_pointer(&documents);
}
