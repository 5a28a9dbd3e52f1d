/* Hosts: add, list, show, prepare, cordon; and virsh's questions about one host. */
#include "cli/cmd.h"

#include <string.h>

#include "base/error.h"
#include "base/json.h"
#include "cli/host-trust.h"
#include "cli/host-view.h"
#include "cli/resolve.h"
#include "cli/wait.h"
#include "model/kinds.h"
#include "model/ssh-key.h"

#define ADD_WAIT_S 60
#define CORDON_WAIT_S 30 /* until its record says so */

/* ---- add ---- */

/* "qemu+ssh://root@quay1.example/system" is host quay1; what has no host is this machine. */
static char *
name_of_uri(const char *uri)
{
    const char *start = strstr(uri, "://");
    start = start != NULL ? start + 3 : uri;
    g_autofree char *authority = g_strndup(start, strcspn(start, "/?"));
    const char *at = strrchr(authority, '@');
    g_autofree char *host = g_strdup(at != NULL ? at + 1 : authority);
    g_autofree char *own = g_strdup(*host != '\0' ? host : g_get_host_name());
    g_autofree char *lower = g_ascii_strdown(own, -1);
    lower[strcspn(lower, g_ascii_isdigit(*lower) ? ":" : ".:")] = '\0';
    g_strcanon(lower, "abcdefghijklmnopqrstuvwxyz0123456789-", '-');
    return g_steal_pointer(&lower);
}

/* Waits until @task is done, if it is wanted and there is one to wait for. */
static gboolean
wait_prepared(BerthSession *session, const json_t *task, gint64 wait_s, GError **error)
{
    if (wait_s <= 0 || g_strcmp0(berth_json_string(task, "kind"), "Task") != 0) {
        return TRUE;
    }
    g_autoptr(json_t) ended = berth_wait_task(session, task, wait_s, error);
    return ended != NULL;
}

static json_t *
host_document(const BerthArgs *args, const char *name, GError **error)
{
    static const char *const texts[] = {"zone", "rack", "acceleration"};
    json_t *labels = NULL;
    if (!berth_labels_parse(berth_args_list(args, "label"), &labels, error)) {
        return NULL;
    }
    json_t *spec = json_pack("{s:s}", "uri", berth_args_get(args, "uri"));
    for (gsize i = 0; i < G_N_ELEMENTS(texts); i++) {
        if (berth_args_has(args, texts[i])) {
            json_object_set_new(spec, texts[i], json_string(berth_args_get(args, texts[i])));
        }
    }
    g_autofree char *key = berth_args_has(args, "host-key")
                               ? berth_ssh_key_parse(berth_args_get(args, "host-key"), NULL)
                               : NULL;
    if (key != NULL) {
        json_object_set_new(spec, "host_keys", json_pack("[s]", key));
    }
    return json_pack("{s:s, s:{s:s, s:o}, s:o}", "kind", "Host", "metadata", "name", name, "labels",
                     labels, "spec", spec);
}

static void
say_host(BerthSession *session, const json_t *host, const char *what)
{
    if (berth_session_wants_value(session)) {
        berth_session_put_value(session, host);
    } else {
        berth_session_say(session, "Host '%s' %s", berth_json_name(host), what);
    }
}

static gboolean
is_settled_or_unconfirmed(const json_t *host, gpointer user_data, GError **error)
{
    return (host != NULL && berth_host_is_unconfirmed(host)) ||
           berth_check_settled(host, user_data, error);
}

/* Waits until the host @added was read; asks whether its SSH key is the right one when nobody said so. */
static json_t *
wait_read(BerthSession *session, const BerthArgs *args, const json_t *added, gint64 wait_s,
          GError **error)
{
    const char *wanted = berth_args_has(args, "host-key") ? berth_args_get(args, "host-key") : NULL;
    g_autoptr(json_t) host =
        berth_wait_object(session, added, wait_s, is_settled_or_unconfirmed, NULL, error);
    if (host == NULL || !berth_host_is_unconfirmed(host)) {
        return g_steal_pointer(&host);
    }
    g_autoptr(json_t) confirmed = berth_host_confirm(session, host, wanted, error);
    return confirmed != NULL ? berth_wait_settled(session, confirmed, wait_s, error) : NULL;
}

static int
run_host_add(BerthSession *session, const BerthArgs *args, GError **error)
{
    g_autofree char *made = name_of_uri(berth_args_get(args, "uri"));
    const char *name = berth_args_has(args, "name") ? berth_args_get(args, "name") : made;
    g_autoptr(json_t) document = host_document(args, name, error);
    if (document == NULL) {
        return BERTH_FAILED;
    }
    const BerthRequestOptions options = {.body = document, .create_only = TRUE};
    g_autofree char *path = berth_object_url(session, &berth_kind_host, name);
    g_autoptr(BerthReply) reply = berth_client_call(session->client, "PUT", path, &options, error);
    if (reply == NULL) {
        return BERTH_FAILED;
    }
    gint64 wait_s = berth_wait_option(args, ADD_WAIT_S, BERTH_WAIT_DEFAULT_S);
    if (wait_s <= 0) {
        say_host(session, reply->body, "added");
        return BERTH_EXIT_OK;
    }
    g_autoptr(json_t) host = wait_read(session, args, reply->body, wait_s, error);
    if (host == NULL) {
        return BERTH_FAILED;
    }
    if (!berth_args_has(args, "prepare")) {
        say_host(session, host, "added; next: berth host prepare");
        return BERTH_EXIT_OK;
    }
    g_autoptr(json_t) task = berth_post_verb(session, host, "prepare", error);
    if (task == NULL || !wait_prepared(session, task, BERTH_WAIT_FOREVER, error)) {
        return BERTH_FAILED;
    }
    say_host(session, host, "added and prepared");
    return BERTH_EXIT_OK;
}

static int
run_host_trust(BerthSession *session, const BerthArgs *args, GError **error)
{
    const char *wanted = berth_args_has(args, "host-key") ? berth_args_get(args, "host-key")
                         : berth_args_has(args, "yes")    ? ""
                                                          : NULL;
    gint64 wait_s = berth_wait_option(args, ADD_WAIT_S, BERTH_WAIT_DEFAULT_S);
    g_autoptr(json_t) host =
        berth_get_object(session, &berth_kind_host, berth_args_get(args, "host"), error);
    g_autoptr(json_t) confirmed =
        host != NULL ? berth_host_confirm(session, host, wanted, error) : NULL;
    if (confirmed == NULL) {
        return BERTH_FAILED;
    }
    if (wait_s > 0) {
        g_autoptr(json_t) settled = berth_wait_settled(session, confirmed, wait_s, error);
        if (settled == NULL) {
            return BERTH_FAILED;
        }
    }
    say_host(session, confirmed, "is trusted");
    return BERTH_EXIT_OK;
}

static json_t *
begin_prepare(BerthSession *session, const BerthArgs *args, const char *name, GError **error)
{
    g_autoptr(json_t) host = berth_get_object(session, &berth_kind_host, name, error);
    json_t *task = host != NULL ? berth_post_verb(session, host, "prepare", error) : NULL;
    return task != NULL ? json_pack("[O, o]", host, task) : NULL;
}

static gboolean
end_prepare(BerthSession *session, const BerthArgs *args, const json_t *begun, GError **error)
{
    gint64 wait_s = berth_wait_option(args, BERTH_WAIT_FOREVER, BERTH_WAIT_DEFAULT_S);
    if (!wait_prepared(session, json_array_get(begun, 1), wait_s, error)) {
        return FALSE;
    }
    g_autoptr(json_t) after = berth_get_object(session, &berth_kind_host,
                                               berth_json_name(json_array_get(begun, 0)), error);
    if (after == NULL) {
        return FALSE;
    }
    const char *acceleration = json_string_value(berth_json_at(after, "/status/acceleration"));
    g_autofree char *what =
        wait_s <= 0
            ? g_strdup("is being prepared")
            : g_strdup_printf("prepared%s%s", acceleration != NULL ? ", guests run by " : "",
                              acceleration != NULL ? acceleration : "");
    say_host(session, after, what);
    return TRUE;
}

static int
run_host_prepare(BerthSession *session, const BerthArgs *args, GError **error)
{
    static const BerthNameVerb verb = {begin_prepare, end_prepare};
    return berth_each_name(session, args, "host", &verb, error);
}

/* ---- list and show ---- */

static int
run_host_list(BerthSession *session, const BerthArgs *args, GError **error)
{
    g_autoptr(json_t) hosts = berth_list_objects(session, &berth_kind_host, NULL, error);
    if (hosts == NULL) {
        return BERTH_FAILED;
    }
    berth_session_put_objects(session, hosts, berth_kind_host.columns);
    return BERTH_EXIT_OK;
}

static int
run_host_show(BerthSession *session, const BerthArgs *args, GError **error)
{
    g_autoptr(json_t) host =
        berth_get_object(session, &berth_kind_host, berth_args_get(args, "host"), error);
    if (host == NULL) {
        return BERTH_FAILED;
    }
    if (berth_session_wants_value(session)) {
        berth_session_put_value(session, host);
    } else {
        berth_host_view_put(session, host);
    }
    return BERTH_EXIT_OK;
}

/* ---- remove, cordon, key ---- */

static json_t *
begin_remove(BerthSession *session, const BerthArgs *args, const char *name, GError **error)
{
    g_autoptr(json_t) host = berth_get_object(session, &berth_kind_host, name, error);
    return host != NULL && berth_delete(session, host, 0, error) ? g_steal_pointer(&host) : NULL;
}

static gboolean
end_remove(BerthSession *session, const BerthArgs *args, const json_t *host, GError **error)
{
    gint64 wait_s = berth_wait_option(args, ADD_WAIT_S, BERTH_WAIT_DEFAULT_S);
    if (wait_s > 0 && !berth_wait_gone(session, host, wait_s, error)) {
        return FALSE;
    }
    berth_session_say(session, "Host '%s' %s", berth_json_name(host),
                      wait_s > 0 ? "removed" : "is being removed");
    return TRUE;
}

static int
run_host_remove(BerthSession *session, const BerthArgs *args, GError **error)
{
    static const BerthNameVerb verb = {begin_remove, end_remove};
    return berth_each_name(session, args, "host", &verb, error);
}

static json_t *
set_cordoned(BerthSession *session, const char *name, gboolean cordoned, GError **error)
{
    g_autoptr(json_t) patch = json_pack("{s:{s:b}}", "spec", "cordoned", cordoned);
    const BerthRequestOptions options = {.body = patch,
                                         .content_type = "application/merge-patch+json"};
    g_autofree char *path = berth_object_url(session, &berth_kind_host, name);
    g_autoptr(BerthReply) reply =
        berth_client_call(session->client, "PATCH", path, &options, error);
    return reply != NULL ? json_incref(reply->body) : NULL;
}

static json_t *
begin_cordon(BerthSession *session, const BerthArgs *args, const char *name, GError **error)
{
    return set_cordoned(session, name, TRUE, error);
}

static json_t *
begin_uncordon(BerthSession *session, const BerthArgs *args, const char *name, GError **error)
{
    return set_cordoned(session, name, FALSE, error);
}

/* Whether the host's conditions speak of its spec as it is now. */
static gboolean
is_observed(const json_t *host, gpointer unused, GError **error)
{
    return berth_json_integer(json_object_get(host, "status"), "observed_generation", 0) >=
           berth_json_integer(json_object_get(host, "metadata"), "generation", 0);
}

static gboolean
end_cordon(BerthSession *session, const BerthArgs *args, const json_t *host, GError **error)
{
    gboolean cordoned = json_is_true(berth_json_at(host, "/spec/cordoned"));
    g_autoptr(json_t) seen =
        berth_wait_object(session, host, CORDON_WAIT_S, is_observed, NULL, error);
    if (seen == NULL) {
        return FALSE;
    }
    say_host(session, host, cordoned ? "cordoned: nothing new is placed on it" : "uncordoned");
    return TRUE;
}

static int
run_host_cordon(BerthSession *session, const BerthArgs *args, GError **error)
{
    static const BerthNameVerb verb = {begin_cordon, end_cordon};
    return berth_each_name(session, args, "host", &verb, error);
}

static int
run_host_uncordon(BerthSession *session, const BerthArgs *args, GError **error)
{
    static const BerthNameVerb verb = {begin_uncordon, end_cordon};
    return berth_each_name(session, args, "host", &verb, error);
}

static int
run_host_key(BerthSession *session, const BerthArgs *args, GError **error)
{
    g_autoptr(json_t) answer = berth_client_get(session->client, "/v1/host-key", error);
    if (answer == NULL) {
        return BERTH_FAILED;
    }
    if (berth_session_wants_value(session)) {
        berth_session_put_value(session, answer);
    } else {
        const char *key = berth_json_string(answer, "public_key");
        berth_session_tell(session, "%s", key != NULL ? key : "-");
    }
    return BERTH_EXIT_OK;
}

/* ---- virsh's hostname and nodeinfo ---- */

static json_t *
host_option(BerthSession *session, const BerthArgs *args, GError **error)
{
    const char *name = berth_args_get(args, "host");
    if (name != NULL) {
        return berth_get_object(session, &berth_kind_host, name, error);
    }
    g_autoptr(json_t) hosts = berth_list_objects(session, &berth_kind_host, NULL, error);
    if (hosts != NULL && json_array_size(hosts) != 1) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, NULL, "berth host list shows them",
                           "there are %zu hosts; say which with --host", json_array_size(hosts));
    }
    return json_array_size(hosts) == 1 ? json_incref(json_array_get(hosts, 0)) : NULL;
}

static int
run_hostname(BerthSession *session, const BerthArgs *args, GError **error)
{
    g_autoptr(json_t) host = host_option(session, args, error);
    if (host == NULL) {
        return BERTH_FAILED;
    }
    const char *name = json_string_value(berth_json_at(host, "/status/inventory/hostname"));
    berth_session_tell(session, "%s", name != NULL ? name : berth_json_name(host));
    return BERTH_EXIT_OK;
}

static int
run_nodeinfo(BerthSession *session, const BerthArgs *args, GError **error)
{
    g_autoptr(json_t) host = host_option(session, args, error);
    const json_t *has = host != NULL ? berth_json_at(host, "/status/inventory") : NULL;
    if (has == NULL) {
        if (host != NULL) {
            berth_error_set(error, BERTH_ERROR_UNAVAILABLE, "host '%s' was not read yet",
                            berth_json_name(host));
        }
        return BERTH_FAILED;
    }
    if (berth_session_wants_value(session)) {
        berth_session_put_value(session, has);
        return BERTH_EXIT_OK;
    }
    const char *arch = berth_json_string(has, "arch");
    g_autoptr(BerthFacts) facts = berth_facts_new();
    berth_facts_add(facts, "CPU model", "%s", arch != NULL ? arch : "-");
    berth_facts_add(facts, "CPU(s)", "%" G_GINT64_FORMAT, berth_json_integer(has, "cpus", 0));
    berth_facts_add(facts, "CPU frequency", "%" G_GINT64_FORMAT " MHz",
                    berth_json_integer(has, "mhz", 0));
    berth_facts_add(facts, "CPU socket(s)", "%" G_GINT64_FORMAT,
                    berth_json_integer(has, "sockets", 0));
    berth_facts_add(facts, "Core(s) per socket", "%" G_GINT64_FORMAT,
                    berth_json_integer(has, "cores", 0));
    berth_facts_add(facts, "Thread(s) per core", "%" G_GINT64_FORMAT,
                    berth_json_integer(has, "threads", 0));
    berth_facts_add(facts, "NUMA cell(s)", "%zu", json_array_size(json_object_get(has, "cells")));
    const json_t *dedicated = json_object_get(json_object_get(host, "status"), "dedicated_cpus");
    if (dedicated != NULL) {
        const char *left = berth_json_string(dedicated, "free");
        berth_facts_add(facts, "Dedicated CPU(s)", "%s (free: %s)",
                        berth_json_string(dedicated, "cpus"),
                        left != NULL && *left != '\0' ? left : "none");
    }
    berth_facts_add(facts, "Memory size", "%" G_GINT64_FORMAT " KiB",
                    1024 * berth_json_integer(has, "memory_mib", 0));
    g_autofree char *text = berth_facts_format(facts);
    berth_session_put(session, text);
    return BERTH_EXIT_OK;
}

/* ---- the table ---- */

static const char *const accelerations[] = {"auto", "kvm", "tcg", NULL};

static const BerthArgument host_argument[] = {
    {"host", "name of the host", .complete = BERTH_COMPLETE_HOST},
    {NULL},
};
static const BerthArgument hosts_argument[] = {
    {"host", "names of hosts", .rest = TRUE, .complete = BERTH_COMPLETE_HOST},
    {NULL},
};
static const BerthArgument uri_argument[] = {
    {"uri", "where its libvirt is: qemu:///system, qemu+ssh://root@HOST/system"},
    {NULL},
};
static const BerthOption wait_option[] = {BERTH_WAIT_OPTION, {NULL}};
static const BerthOption host_option_table[] = {
    {"host", 0, BERTH_OPTION_TEXT, "HOST", "which host; not needed when there is one", NULL,
     BERTH_COMPLETE_HOST},
    {NULL},
};
static const BerthOption add_options[] = {
    {"name", 0, BERTH_OPTION_TEXT, "NAME", "its name; without it the first part of its host name"},
    {"label", 'l', BERTH_OPTION_LIST, "KEY=VALUE", "label of the host"},
    {"zone", 0, BERTH_OPTION_TEXT, "ZONE", "failure domain of several racks"},
    {"rack", 0, BERTH_OPTION_TEXT, "RACK", "failure domain of several hosts"},
    {"acceleration", 0, BERTH_OPTION_CHOICE, NULL, "how guests run", accelerations},
    {"host-key", 0, BERTH_OPTION_TEXT, "KEY",
     "SSH key it must show, or its fingerprint SHA256:…; without it the terminal is asked"},
    {"prepare", 0, BERTH_OPTION_FLAG, NULL, "prepare it, too"},
    BERTH_WAIT_OPTION,
    {NULL},
};
static const BerthOption trust_options[] = {
    {"host-key", 0, BERTH_OPTION_TEXT, "KEY", "SSH key it must show, or its fingerprint SHA256:…"},
    {"yes", 'y', BERTH_OPTION_FLAG, NULL, "whoever answers is the right one; does not ask"},
    BERTH_WAIT_OPTION,
    {NULL},
};

const BerthCommand berth_host_commands[] = {
    {.name = "host add",
     .group = BERTH_GROUP_HOSTS,
     .doc = "add a host; only reads it",
     .run = run_host_add,
     .arguments = uri_argument,
     .options = add_options,
     .about =
         "Nothing is changed on the host: its inventory and its domains are read. Waits until that "
         "is done; --wait=0 does not.",
     .example =
         "berth host add qemu:///system --prepare\n"
         "berth host add qemu+ssh://root@quay1.example/system --zone north\n"
         "berth host add --name h2 qemu+ssh://root@10.0.0.2/system --host-key SHA256:3jV0n…"},
    {.name = "host list",
     .group = BERTH_GROUP_HOSTS,
     .doc = "list hosts with what is used and free",
     .run = run_host_list,
     .alias = "hosts",
     .about =
         "Open is whether new workloads are placed on it; -o wide says why not. What hosts have "
         "beside vCPUs, memory and disk is in host show, and summed up in capacity."},
    {.name = "host show",
     .group = BERTH_GROUP_HOSTS,
     .doc = "all about a host",
     .run = run_host_show,
     .arguments = host_argument},
    {.name = "host trust",
     .group = BERTH_GROUP_HOSTS,
     .doc = "confirm who answers at a host's address",
     .run = run_host_trust,
     .arguments = host_argument,
     .options = trust_options,
     .about =
         "A host whose SSH key nobody confirmed, whose key changed, or at whose address another "
         "machine answers is not used until somebody says that this is meant. Shows who answers "
         "and asks.",
     .example = "berth host trust h2\n"
                "berth host trust h2 --host-key SHA256:3jV0n1rWq0r5w…"},
    {.name = "host prepare",
     .group = BERTH_GROUP_HOSTS,
     .doc = "make Berth's pool, upload the guest OS, prove the acceleration",
     .run = run_host_prepare,
     .arguments = hosts_argument,
     .options = wait_option},
    {.name = "host cordon",
     .group = BERTH_GROUP_HOSTS,
     .doc = "place nothing new on a host",
     .run = run_host_cordon,
     .arguments = hosts_argument,
     .alias = "cordon"},
    {.name = "host uncordon",
     .group = BERTH_GROUP_HOSTS,
     .doc = "place on a host again",
     .run = run_host_uncordon,
     .arguments = hosts_argument,
     .alias = "uncordon"},
    {.name = "host remove",
     .group = BERTH_GROUP_HOSTS,
     .doc = "remove a host from the fleet",
     .run = run_host_remove,
     .arguments = hosts_argument,
     .options = wait_option},
    {.name = "host key",
     .group = BERTH_GROUP_HOSTS,
     .doc = "the public key that hosts must let in for qemu+ssh",
     .run = run_host_key},
    {.name = "hostname",
     .group = BERTH_GROUP_HOSTS,
     .doc = "the host name of a host",
     .run = run_hostname,
     .options = host_option_table},
    {.name = "nodeinfo",
     .group = BERTH_GROUP_HOSTS,
     .doc = "CPUs and memory of a host",
     .run = run_nodeinfo,
     .options = host_option_table},
    {NULL},
};
