/* A decorator that fails, loses, delays and repeats calls, or kills the process around them, as a script
 * says. Faults are injected by composition, so that what is tested is what is shipped.
 *
 * Invariant: which rule strikes depends on the script, its seed and the order of calls alone. perform()
 * and connect() on workers; the rest as the inner driver. Start at perform(). */
#include "drivers/faulty.h"

#include "base/error.h"
#include "base/fd.h"
#include "base/random.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>

typedef enum {
    ACTION_FAIL,
    ACTION_DROP,
    ACTION_HOLD,
    ACTION_HANG,
    ACTION_REPEAT,
    ACTION_KILL_BEFORE,
    ACTION_KILL_AFTER,
    ACTIONS
} Action;

static const char *const action_names[ACTIONS] = {
    [ACTION_FAIL] = "fail",
    [ACTION_DROP] = "drop",
    [ACTION_HOLD] = "hold",
    [ACTION_HANG] = "hang",
    [ACTION_REPEAT] = "repeat",
    [ACTION_KILL_BEFORE] = "kill-before",
    [ACTION_KILL_AFTER] = "kill-after",
};

/* Beside BerthHostVerb. */
enum { VERB_CONNECT = -1, VERB_ANY = -2, VERB_CHANGES = -3 };

typedef struct {
    Action action;
    int verb;
    guint64 number; /* 0: not by number */
    guint percent;  /* 0: not by chance */
    BerthErrorCode code;
    guint64 seen; /* matching calls so far */
} Rule;

struct BerthFaults {
    GMutex lock;
    GCond released;
    GArray *rules; /* of Rule */
    BerthSeededRandom random;
    char *trace; /* owned; NULL: none */
    guint64 calls;
    guint waiting;
    guint releases; /* each lets go what waits at that moment */
};

/* ---- scripts --------------------------------------------------------------------------------- */

static gboolean
parse_verb(const char *name, int *verb)
{
    static const struct {
        const char *name;
        int verb;
    } groups[] = {{"*", VERB_ANY}, {"connect", VERB_CONNECT}, {"changes", VERB_CHANGES}};
    for (guint i = 0; i < G_N_ELEMENTS(groups); i++) {
        if (strcmp(name, groups[i].name) == 0) {
            *verb = groups[i].verb;
            return TRUE;
        }
    }
    for (int i = 0; i < BERTH_HOST_VERBS; i++) {
        if (strcmp(name, berth_host_verb_name((BerthHostVerb)i)) == 0) {
            *verb = i;
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean
parse_code(const char *name, BerthErrorCode *code)
{
    for (int i = 0; i <= BERTH_ERROR_INTERNAL; i++) {
        if (strcmp(name, berth_error_code_name((BerthErrorCode)i)) == 0) {
            *code = (BerthErrorCode)i;
            return TRUE;
        }
    }
    return FALSE;
}

static gboolean
parse_action(const char *name, Action *action)
{
    for (int i = 0; i < ACTIONS; i++) {
        if (strcmp(name, action_names[i]) == 0) {
            *action = (Action)i;
            return TRUE;
        }
    }
    return FALSE;
}

/* "define#3", "define%10", "define": cuts the name off @text. */
static gboolean
parse_target(char *text, Rule *rule)
{
    gsize length = strcspn(text, "#%");
    char mark = text[length];
    guint64 number = 0;
    text[length] = '\0';
    if (mark != '\0' &&
        !g_ascii_string_to_unsigned(text + length + 1, 10, 1, mark == '%' ? 100 : G_MAXINT64,
                                    &number, NULL)) {
        return FALSE;
    }
    rule->number = mark == '#' ? number : 0;
    rule->percent = mark == '%' ? (guint)number : 0;
    return parse_verb(text, &rule->verb);
}

static gboolean
parse_setting(BerthFaults *faults, const char *text)
{
    guint64 seed;
    if (g_str_has_prefix(text, "seed=") &&
        g_ascii_string_to_unsigned(text + 5, 10, 0, G_MAXUINT64, &seed, NULL)) {
        berth_seeded_random_init(&faults->random, seed);
        return TRUE;
    }
    if (g_str_has_prefix(text, "trace=") && text[6] != '\0') {
        g_free(faults->trace);
        faults->trace = g_strdup(text + 6);
        return TRUE;
    }
    return FALSE;
}

static gboolean
parse_rule(BerthFaults *faults, const char *text)
{
    Rule rule = {.code = BERTH_ERROR_UNAVAILABLE};
    g_auto(GStrv) words = g_strsplit(text, " ", 2);
    if (words[0] == NULL || words[1] == NULL || !parse_action(words[0], &rule.action)) {
        return FALSE;
    }
    char *target = g_strstrip(words[1]);
    char *equals = strchr(target, '=');
    if (equals != NULL) {
        *equals = '\0';
        if (!parse_code(equals + 1, &rule.code)) {
            return FALSE;
        }
    }
    if (!parse_target(target, &rule)) {
        return FALSE;
    }
    g_array_append_val(faults->rules, rule);
    return TRUE;
}

/**
 * berth_faults_parse:
 * @script: see BerthFaults; an empty one does nothing
 *
 * Returns: (transfer full) (nullable): INVALID quotes the rule that is wrong
 */
BerthFaults *
berth_faults_parse(const char *script, GError **error)
{
    g_autoptr(BerthFaults) faults = g_new0(BerthFaults, 1);
    g_mutex_init(&faults->lock);
    g_cond_init(&faults->released);
    faults->rules = g_array_new(FALSE, TRUE, sizeof(Rule));
    berth_seeded_random_init(&faults->random, 1);
    g_auto(GStrv) parts = g_strsplit_set(script, ";\n", -1);
    for (char **part = parts; *part != NULL; part++) {
        const char *text = g_strstrip(*part);
        if (*text != '\0' && !parse_setting(faults, text) && !parse_rule(faults, text)) {
            berth_error_set(error, BERTH_ERROR_INVALID,
                            "'%s' is no fault: write ACTION VERB[#N|%%P][=CODE]", text);
            return NULL;
        }
    }
    return g_steal_pointer(&faults);
}

/** Frees @faults, which no host uses any more; NULL is fine. */
void
berth_faults_free(BerthFaults *faults)
{
    if (faults == NULL) {
        return;
    }
    g_array_unref(faults->rules);
    g_free(faults->trace);
    g_mutex_clear(&faults->lock);
    g_cond_clear(&faults->released);
    g_free(faults);
}

/** Lets every call go on that waits now by "hold" or "hang"; later ones wait again. */
void
berth_faults_release(BerthFaults *faults)
{
    g_mutex_lock(&faults->lock);
    faults->releases++;
    g_cond_broadcast(&faults->released);
    g_mutex_unlock(&faults->lock);
}

/** Returns: how many calls wait by "hold" or "hang". */
guint
berth_faults_waiting(BerthFaults *faults)
{
    g_mutex_lock(&faults->lock);
    guint waiting = faults->waiting;
    g_mutex_unlock(&faults->lock);
    return waiting;
}

/** Returns: how many calls were made, connects included. */
guint64
berth_faults_calls(BerthFaults *faults)
{
    g_mutex_lock(&faults->lock);
    guint64 calls = faults->calls;
    g_mutex_unlock(&faults->lock);
    return calls;
}

/* ---- striking -------------------------------------------------------------------------------- */

static gboolean
is_change(int verb)
{
    return verb >= 0 && verb != BERTH_HOST_INVENTORY && verb != BERTH_HOST_DOMAIN_LIST &&
           verb != BERTH_HOST_DOMAIN_GET && verb != BERTH_HOST_DOMAIN_XML &&
           verb != BERTH_HOST_VOLUME_LIST;
}

static gboolean
matches(const Rule *rule, int verb)
{
    return rule->verb == verb || rule->verb == VERB_ANY ||
           (rule->verb == VERB_CHANGES && is_change(verb));
}

static gboolean
strikes(BerthFaults *faults, Rule *rule)
{
    rule->seen++;
    if (rule->number != 0) {
        return rule->seen == rule->number;
    }
    return rule->percent == 0 || berth_random_below(&faults->random.base, 100) < rule->percent;
}

static void
trace(BerthFaults *faults, int verb, const BerthHostCall *call)
{
    g_auto(BerthFd) fd =
        open(faults->trace, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    const char *uuid = call == NULL         ? NULL
                       : call->plan != NULL ? call->plan->uuid
                       : call->uuid != NULL ? call->uuid
                                            : call->volume;
    g_autofree char *line = g_strdup_printf(
        "%" G_GUINT64_FORMAT " %s %s\n", faults->calls,
        verb == VERB_CONNECT ? "connect" : berth_host_verb_name((BerthHostVerb)verb),
        uuid != NULL ? uuid : "-");
    if (fd >= 0) {
        berth_fd_write_all(fd, line, strlen(line), NULL);
    }
}

/* What strikes one call: at most one rule of each action. */
typedef struct {
    gboolean by[ACTIONS];
    BerthErrorCode code;
} Strike;

static Strike
choose(BerthFaults *faults, int verb, const BerthHostCall *call)
{
    Strike strike = {.code = BERTH_ERROR_UNAVAILABLE};
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&faults->lock);
    faults->calls++;
    if (faults->trace != NULL) {
        trace(faults, verb, call);
    }
    for (guint i = 0; i < faults->rules->len; i++) {
        Rule *rule = &g_array_index(faults->rules, Rule, i);
        if (matches(rule, verb) && strikes(faults, rule)) {
            strike.by[rule->action] = TRUE;
            strike.code = rule->action <= ACTION_DROP ? rule->code : strike.code;
        }
    }
    return strike;
}

static void
wait_for_release(BerthFaults *faults)
{
    g_mutex_lock(&faults->lock);
    guint releases = faults->releases;
    faults->waiting++;
    while (faults->releases == releases) {
        g_cond_wait(&faults->released, &faults->lock);
    }
    faults->waiting--;
    g_mutex_unlock(&faults->lock);
}

static void
kill_if(gboolean wanted)
{
    if (wanted) {
        kill(getpid(), SIGKILL);
    }
}

/* ---- the decorator --------------------------------------------------------------------------- */

typedef struct {
    BerthHost base; /* first */
    BerthHost *inner;
    BerthFaults *faults; /* borrowed */
} FaultyHost;

typedef gboolean (*Attempt)(FaultyHost *host, const BerthHostCall *call, BerthHostReply *reply,
                            GError **error);

static gboolean
attempt_perform(FaultyHost *host, const BerthHostCall *call, BerthHostReply *reply, GError **error)
{
    return host->inner->ops->perform(host->inner, call, reply, error);
}

static gboolean
attempt_connect(FaultyHost *host, const BerthHostCall *call, BerthHostReply *reply, GError **error)
{
    return host->inner->ops->connect(host->inner, error);
}

static gboolean
run(FaultyHost *host, int verb, Attempt attempt, const BerthHostCall *call, BerthHostReply *reply,
    GError **error)
{
    Strike strike = choose(host->faults, verb, call);
    kill_if(strike.by[ACTION_KILL_BEFORE]);
    if (strike.by[ACTION_FAIL]) {
        berth_error_set(error, strike.code, "the call fails on purpose");
        return FALSE;
    }
    if (strike.by[ACTION_HOLD]) {
        wait_for_release(host->faults);
    }
    gboolean done = attempt(host, call, reply, error);
    if (strike.by[ACTION_REPEAT] && done) {
        berth_host_reply_clear(reply);
        done = attempt(host, call, reply, error);
    }
    kill_if(strike.by[ACTION_KILL_AFTER]);
    if (strike.by[ACTION_HANG]) {
        wait_for_release(host->faults);
    }
    if (strike.by[ACTION_DROP] && done) {
        berth_host_reply_clear(reply);
        berth_error_set(error, strike.code, "the answer is lost on purpose");
        return FALSE;
    }
    return done;
}

static gboolean
perform(BerthHost *base, const BerthHostCall *call, BerthHostReply *reply, GError **error)
{
    return run((FaultyHost *)base, (int)call->verb, attempt_perform, call, reply, error);
}

static gboolean
connect_host(BerthHost *base, GError **error)
{
    BerthHostReply none = {0};
    return run((FaultyHost *)base, VERB_CONNECT, attempt_connect, NULL, &none, error);
}

static BerthChannel *
channel_open(BerthHost *base, const char *uuid, const char *port, gboolean force,
             const BerthChannelWatch *watch, gpointer user_data)
{
    BerthHost *inner = ((FaultyHost *)base)->inner;
    return inner->ops->channel_open(inner, uuid, port, force, watch, user_data);
}

static void
abandon(BerthHost *base)
{
    BerthHost *inner = ((FaultyHost *)base)->inner;
    inner->ops->abandon(inner);
}

static void
free_host(BerthHost *base)
{
    FaultyHost *host = (FaultyHost *)base;
    host->inner->ops->free(host->inner);
    g_free(host);
}

static const BerthHostOps ops = {
    .connect = connect_host,
    .perform = perform,
    .channel_open = channel_open,
    .abandon = abandon,
    .free = free_host,
};

/**
 * berth_host_faulty_new:
 * @options: its data points to a BerthFaultyOptions
 *
 * Returns: (transfer full) (nullable): the inner factory's host behind the faults. Unlike the drivers,
 *     it must not be freed while a call is in it; the runner takes care of that
 */
BerthHost *
berth_host_faulty_new(const BerthHostOptions *options, const BerthHostWatch *watch,
                      gpointer user_data, GError **error)
{
    const BerthFaultyOptions *faulty = options->data;
    BerthHostOptions inner = *options;
    inner.data = faulty->inner_data;
    BerthHost *host = faulty->inner(&inner, watch, user_data, error);
    if (host == NULL) {
        return NULL;
    }
    FaultyHost *wrapped = g_new(FaultyHost, 1);
    *wrapped = (FaultyHost){{&ops}, host, faulty->faults};
    return &wrapped->base;
}
