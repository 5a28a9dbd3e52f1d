/* Who answers at a Host's address. Invariant: what ssh or libvirt shows is compared with the
 * record, and only a person's change of the record makes a difference go away: no key and no
 * machine is taken silently, except the UUID of a machine that is seen for the first time.
 *
 * A machine that is there twice, or that took another's place, is not used at all: a workload
 * whose domain is "not there" would be started a second time. Start at berth_host_trust_take(). */
#include "daemon/host-trust.h"

#include "base/error.h"
#include "base/json.h"
#include "model/ssh-key.h"

#include <string.h>

#define SCAN_AGAIN_US (10 * G_USEC_PER_SEC)

struct BerthHostTrust {
    BerthControl *control;
    void (*changed)(const char *name, gpointer user_data);
    gpointer user_data;
    GHashTable *problems; /* Host name -> BerthHostProblem, owned */
    GHashTable *scanning; /* set of Host names whose keys are being asked for */
    BerthQueue *scans;    /* Host names whose keys are to be asked for */
};

/* ---- problems ---- */

static void
free_problem(gpointer data)
{
    BerthHostProblem *problem = data;
    g_free(problem->code);
    g_free(problem->message);
    g_free(problem->hint);
    json_decref(problem->seen);
    g_free(problem);
}

/* @message: (transfer full); @hint: static; @seen: (transfer full) (nullable). Returns:
 *     (transfer full). */
static BerthHostProblem *
problem_new(const char *code, char *message, const char *hint, json_t *seen)
{
    BerthHostProblem *problem = g_new(BerthHostProblem, 1);
    *problem = (BerthHostProblem){g_strdup(code), message, g_strdup(hint), seen};
    return problem;
}

/* @problem: (transfer full) (nullable): NULL: there is none any more. */
static void
set_problem(BerthHostTrust *trust, const char *name, BerthHostProblem *problem)
{
    const BerthHostProblem *before = g_hash_table_lookup(trust->problems, name);
    BerthCatalog *catalog = trust->control->catalog;
    if (problem == NULL) {
        if (g_hash_table_remove(trust->problems, name)) {
            trust->changed(name, trust->user_data);
        }
        return;
    }
    if (before == NULL || strcmp(before->message, problem->message) != 0) {
        BerthObject *object = berth_catalog_get(catalog, &berth_kind_host, NULL, name);
        berth_catalog_record_event(catalog, object, "warning", "HostRefused", NULL, "%s",
                                   problem->message);
    }
    g_hash_table_replace(trust->problems, g_strdup(name), problem);
    trust->changed(name, trust->user_data);
}

/** Returns: (nullable): why the host @name is not used, borrowed. */
const BerthHostProblem *
berth_host_trust_problem(const BerthHostTrust *trust, const char *name)
{
    return g_hash_table_lookup(trust->problems, name);
}

/** Records that the Host @object is not used because of @error. */
void
berth_host_trust_refuse(BerthHostTrust *trust, const BerthObject *object, const char *code,
                        const GError *error)
{
    set_problem(
        trust, object->name,
        problem_new(code, g_strdup(error->message), g_strdup(berth_error_hint(error)), NULL));
}

/* ---- SSH host keys ---- */

static json_t *
write_keys(char **keys)
{
    json_t *list = json_array();
    for (guint i = 0; keys[i] != NULL; i++) {
        g_autofree char *fingerprint = berth_ssh_key_fingerprint(keys[i]);
        json_array_append_new(list,
                              json_pack("{s:s, s:s}", "key", keys[i], "fingerprint", fingerprint));
    }
    return json_pack("{s:o}", "host_keys", list);
}

static gboolean
has_key(char **known, const char *key)
{
    for (guint i = 0; known != NULL && known[i] != NULL; i++) {
        g_autofree char *one = berth_ssh_key_parse(known[i], NULL);
        if (g_strcmp0(one, key) == 0) {
            return TRUE;
        }
    }
    return FALSE;
}

static char *
fingerprints(char **keys)
{
    g_autoptr(GString) text = g_string_new(NULL);
    for (guint i = 0; keys[i] != NULL; i++) {
        g_autofree char *key = berth_ssh_key_parse(keys[i], NULL);
        g_autofree char *fingerprint = key != NULL ? berth_ssh_key_fingerprint(key) : g_strdup("?");
        g_string_append_printf(text, "%s%s", i > 0 ? ", " : "", fingerprint);
    }
    return g_string_free(g_steal_pointer(&text), FALSE);
}

/* What the @shown keys mean beside the @known ones. Returns: (transfer full) (nullable). */
static BerthHostProblem *
judge_keys(char **known, char **shown)
{
    for (guint i = 0; shown[i] != NULL; i++) {
        if (has_key(known, shown[i])) {
            return NULL;
        }
    }
    g_autofree char *best = berth_ssh_key_fingerprint(shown[0]);
    g_autofree char *type = g_strndup(shown[0], strcspn(shown[0], " "));
    if (known == NULL || known[0] == NULL) {
        return problem_new(
            "host-key-unknown",
            g_strdup_printf("nobody has confirmed its host key yet: %s (%s)", best, type),
            "compare it with the host's own (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub "
            "there), then: berth host trust NAME",
            write_keys(shown));
    }
    g_autofree char *expected = fingerprints(known);
    return problem_new(
        "host-key-changed",
        g_strdup_printf("it shows the host key %s (%s), not the trusted %s; somebody "
                        "may stand in between",
                        best, type, expected),
        "if its key was changed on purpose, compare it with the host's own, then: "
        "berth host trust NAME",
        write_keys(shown));
}

typedef struct {
    BerthHostTrust *trust;
    char *name, *uid; /* owned */
} Scan;

static void
on_keys(char **keys, const GError *error, gpointer data)
{
    Scan *scan = data;
    BerthHostTrust *trust = scan->trust;
    BerthObject *object =
        berth_catalog_get(trust->control->catalog, &berth_kind_host, NULL, scan->name);
    g_hash_table_remove(trust->scanning, scan->name);
    if (object != NULL && strcmp(object->uid, scan->uid) == 0) {
        const BerthHostSpec *spec = object->spec_data;
        if (keys != NULL) {
            set_problem(trust, scan->name, judge_keys(spec->host_keys, keys));
        } else if (spec->host_keys == NULL) {
            berth_host_trust_refuse(trust, object, "unreachable", error);
        }
        if (keys == NULL || spec->host_keys == NULL) {
            berth_queue_add_after(trust->scans, scan->name, SCAN_AGAIN_US);
        }
    }
    g_free(scan->name);
    g_free(scan->uid);
    g_free(scan);
}

/* Asks the host @name for its keys, when it is still a matter of keys. */
static void
scan(const char *name, gpointer user_data)
{
    BerthHostTrust *trust = user_data;
    BerthObject *object = berth_catalog_get(trust->control->catalog, &berth_kind_host, NULL, name);
    const BerthFleetHost *host = berth_fleet_get(trust->control->fleet, name);
    if (object == NULL || (host != NULL && host->connected)) {
        return;
    }
    const BerthHostSpec *spec = object->spec_data;
    g_autoptr(BerthHostUri) uri = berth_host_uri_parse(spec->uri, NULL);
    if (uri != NULL && uri->transport == BERTH_TRANSPORT_SSH &&
        g_hash_table_add(trust->scanning, g_strdup(name))) {
        Scan *begun = g_new(Scan, 1);
        *begun = (Scan){trust, g_strdup(name), g_strdup(object->uid)};
        berth_host_access_scan(uri, on_keys, begun);
    }
}

/* Whether ssh refused the host's key, as far as libvirt passes its words on. */
static gboolean
is_key_refused(const BerthFleetHost *host)
{
    return !host->connected && host->why != NULL &&
           strstr(host->why, "Host key verification failed") != NULL;
}

/** The connection to @host changed: when ssh refused its key, it is found out which it shows. */
void
berth_host_trust_look(BerthHostTrust *trust, BerthFleetHost *host)
{
    if (is_key_refused(host)) {
        berth_queue_add(trust->scans, host->name);
    }
}

/* ---- before the connection ---- */

/* A host that was refused begins anew when its record changed. */
static void
begin_anew(BerthHostTrust *trust, const char *name)
{
    if (berth_host_trust_problem(trust, name) != NULL) {
        set_problem(trust, name, NULL);
        berth_fleet_remove(trust->control->fleet, name);
    }
}

/**
 * berth_host_trust_take:
 * @object: a Host, new or changed
 *
 * Makes its keys the trusted ones, and forgets why it was refused before.
 *
 * Returns: (transfer full) (nullable): what its driver is to be given; NULL: it is not to be
 * connected to, and berth_host_trust_problem() says, perhaps later, why.
 */
char *
berth_host_trust_take(BerthHostTrust *trust, BerthObject *object)
{
    BerthHostAccess *access = trust->control->access;
    const BerthHostSpec *spec = object->spec_data;
    g_autoptr(GError) error = NULL;
    begin_anew(trust, object->name);
    g_autofree char *made = berth_host_access_uri(access, spec->uri, &error);
    g_autoptr(BerthHostUri) uri = berth_host_uri_parse(spec->uri, NULL);
    if (made == NULL ||
        !berth_host_access_trust(access, object->name, uri, spec->host_keys, &error)) {
        berth_host_trust_refuse(trust, object, "invalid-uri", error);
        return NULL;
    }
    if (uri->transport == BERTH_TRANSPORT_SSH && spec->host_keys == NULL) {
        berth_queue_add(trust->scans, object->name);
        return NULL;
    }
    return g_steal_pointer(&made);
}

/* ---- after the connection ---- */

static const char *
recorded(const BerthObject *object, const char *member)
{
    const BerthHostStatus *status = object->status_data;
    return status != NULL ? berth_json_string(status->inventory, member) : NULL;
}

static gboolean
is_uuid(const char *a, const char *b)
{
    return a != NULL && b != NULL && g_ascii_strcasecmp(a, b) == 0;
}

/* Whether @other holds the UUID @uuid with more right than @object: it is in use, was recorded
 * with it, or, both being so, is the older record. */
static gboolean
goes_before(BerthControl *control, const BerthObject *other, const BerthObject *object,
            const char *uuid)
{
    const BerthFleetHost *host = berth_fleet_get(control->fleet, other->name);
    if (host != NULL && host->connected) {
        return is_uuid(host->inventory->uuid, uuid);
    }
    if (!is_uuid(recorded(other, "uuid"), uuid)) {
        return FALSE;
    }
    int order = g_strcmp0(other->created, object->created);
    return !is_uuid(recorded(object, "uuid"), uuid) || order < 0 ||
           (order == 0 && strcmp(other->name, object->name) < 0);
}

static BerthHostProblem *
find_twin(BerthControl *control, const BerthObject *object, const BerthInventory *has)
{
    g_autoptr(GPtrArray) hosts = berth_catalog_list(control->catalog, &berth_kind_host, NULL);
    for (guint i = 0; i < hosts->len; i++) {
        const BerthObject *other = hosts->pdata[i];
        if (strcmp(other->name, object->name) == 0 ||
            !goes_before(control, other, object, has->uuid)) {
            continue;
        }
        const char *its = recorded(other, "hostname");
        const BerthFleetHost *host = berth_fleet_get(control->fleet, other->name);
        if (host != NULL && host->connected) {
            its = host->inventory->hostname;
        }
        if (g_strcmp0(its, has->hostname) == 0) {
            return problem_new(
                "same-machine",
                g_strdup_printf("hosts '%s' and '%s' are one machine: both addresses "
                                "reach the libvirtd of '%s' (UUID %s)",
                                other->name, object->name, its, has->uuid),
                g_strdup_printf("berth host remove %s", object->name), NULL);
        }
        return problem_new(
            "same-uuid",
            g_strdup_printf("hosts '%s' ('%s') and '%s' ('%s') have one UUID, %s", other->name,
                            its != NULL ? its : "?", object->name, has->hostname, has->uuid),
            "set host_uuid in /etc/libvirt/libvirtd.conf of one of them to a new one "
            "(uuidgen) and restart its libvirtd",
            NULL);
    }
    return NULL;
}

/* Returns: (transfer full) (nullable): what speaks against @object's being the machine that
 * answered. */
static BerthHostProblem *
judge_machine(BerthControl *control, const BerthObject *object, const BerthInventory *has)
{
    const BerthHostSpec *spec = object->spec_data;
    const char *expected = spec->uuid != NULL ? spec->uuid : recorded(object, "uuid");
    if (has->uuid == NULL) {
        return NULL;
    }
    if (expected != NULL && !is_uuid(expected, has->uuid)) {
        return problem_new(
            "other-machine",
            g_strdup_printf("another machine answers at %s: '%s' with UUID %s; host '%s' has %s",
                            spec->uri, has->hostname, has->uuid, object->name, expected),
            "bring the old one back; if it was replaced on purpose: berth host trust NAME",
            json_pack("{s:s, s:s*}", "uuid", has->uuid, "hostname", has->hostname));
    }
    return find_twin(control, object, has);
}

/**
 * berth_host_trust_accept:
 * @inventory: what @host says of itself
 *
 * Returns: (transfer full) (nullable): why @host is not the machine that is meant.
 */
char *
berth_host_trust_accept(BerthHostTrust *trust, BerthFleetHost *host,
                        const BerthInventory *inventory)
{
    BerthObject *object =
        berth_catalog_get(trust->control->catalog, &berth_kind_host, NULL, host->name);
    if (object == NULL) {
        return g_strdup("it was removed");
    }
    set_problem(trust, host->name, judge_machine(trust->control, object, inventory));
    const BerthHostProblem *problem = berth_host_trust_problem(trust, host->name);
    return problem != NULL ? g_strdup(problem->message) : NULL;
}

/* ---- life ---- */

/** The Host @name was removed. */
void
berth_host_trust_forget(BerthHostTrust *trust, const char *name)
{
    g_autoptr(GError) error = NULL;
    g_hash_table_remove(trust->problems, name);
    berth_queue_forget(trust->scans, name);
    if (!berth_host_access_trust(trust->control->access, name, NULL, NULL, &error)) {
        g_warning("the key of host '%s' is still trusted: %s", name, error->message);
    }
}

BerthHostTrust *
berth_host_trust_new(BerthControl *control, void (*changed)(const char *name, gpointer user_data),
                     gpointer user_data)
{
    BerthHostTrust *trust = g_new0(BerthHostTrust, 1);
    trust->control = control;
    trust->changed = changed;
    trust->user_data = user_data;
    trust->problems = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_problem);
    trust->scanning = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    trust->scans = berth_queue_new(control->clock, scan, trust);
    berth_queue_attach(trust->scans);
    return trust;
}

void
berth_host_trust_free(BerthHostTrust *trust)
{
    berth_queue_free(trust->scans);
    g_hash_table_destroy(trust->scanning);
    g_hash_table_destroy(trust->problems);
    g_free(trust);
}
