/* See users.h. Invariant: what a user was answered is remembered, and held against the store. Start at users_put(). */
#include "tests/simulation/users.h"

#include "base/json.h"
#include "model/kinds.h"
#include "tests/simulation/fate.h"
#include "tests/simulation/oracle.h"
#include "tests/simulation/visitor.h"

#include <string.h>

#define PODS 16
#define PLAIN 12 /* pods from here on want more than memory, and so do the last VMs */
#define VMS 6
#define GROUP 2 /* pods 6, 7 and 8 */
#define GROUP_SIZE 3

typedef enum { ABSENT, PRESENT, LEAVING, UNSURE } Presence;
typedef enum { POWER_OFF, POWER_ON, POWER_ANY } Power;

/* A name that users work with; one request at a time. */
typedef struct {
    const BerthKind *kind;
    char name[8];
    char *path; /* owned */
    gboolean is_asked;
    Presence presence;
    Power power;
    char *uid;          /* owned; of the object that was acknowledged */
    guint asks;         /* how often it was put: the label "n" of the last */
    guint life;         /* counts how often it was made: names the image of some */
    guint acknowledged; /* the label that was acknowledged last; 0: unsure */
} Subject;

typedef struct {
    Subject *subject;
    const char *verb; /* static: "PUT", "DELETE", or a verb of the API */
} Ask;

static Subject subjects[PODS + VMS];
static const char *socket_path;

static Subject *
find_subject(const char *uid)
{
    for (guint i = 0; i < G_N_ELEMENTS(subjects); i++) {
        if (g_strcmp0(subjects[i].uid, uid) == 0) {
            return &subjects[i];
        }
    }
    return NULL;
}

void
users_hear_of_destroy(const char *uid)
{
    Subject *subject = find_subject(uid);
    if (subject != NULL && subject->kind == &berth_kind_vm) {
        subject->power = POWER_ANY; /* whoever did it wanted it off */
    }
}

static void
on_put(Subject *subject, guint status, const json_t *body)
{
    const json_t *metadata = json_object_get(body, "metadata");
    const char *uid = json_string_value(json_object_get(metadata, "uid"));
    if (status == 200 && subject->presence == PRESENT && g_strcmp0(uid, subject->uid) != 0) {
        oracle_violate("%s was acknowledged as %s and is %s", subject->name, subject->uid, uid);
    }
    if (status == 201 && subject->presence == PRESENT) {
        oracle_violate("%s was acknowledged and is made again", subject->name);
    }
    subject->power = status == 201 ? POWER_ON : subject->power;
    subject->presence = PRESENT;
    subject->acknowledged = subject->asks;
    g_free(subject->uid);
    subject->uid = g_strdup(uid);
}

static void
on_unsure(Subject *subject, const char *verb)
{
    subject->acknowledged = strcmp(verb, "PUT") == 0 ? 0 : subject->acknowledged;
    if (strcmp(verb, "PUT") != 0) {
        subject->power = POWER_ANY;
    }
    if (strcmp(verb, "DELETE") == 0 && subject->presence == PRESENT) {
        subject->presence = UNSURE;
    }
    if (strcmp(verb, "PUT") == 0 && subject->presence != PRESENT) {
        subject->presence = UNSURE;
        subject->power = POWER_ANY;
    }
}

static gboolean
is_believed_on(const Subject *subject)
{
    const BerthObject *object = oracle_find(subject->kind->name, subject->name);
    BerthPhase phase =
        object != NULL ? (BerthPhase)berth_workload_status_of(object)->phase : BERTH_PHASE_STOPPED;
    return phase == BERTH_PHASE_UNKNOWN || phase == BERTH_PHASE_RUNNING ||
           phase == BERTH_PHASE_STARTING;
}

static void
on_done(Subject *subject, const char *verb)
{
    if (strcmp(verb, "DELETE") == 0) {
        subject->presence = LEAVING;
    } else if (strcmp(verb, "start") == 0) {
        /* What is believed to be on is not told to start: it may be off by somebody's hand. */
        if (!is_believed_on(subject)) {
            subject->power = POWER_ON;
        }
    } else if (strcmp(verb, "shutdown") == 0 || strcmp(verb, "destroy") == 0) {
        subject->power = POWER_OFF;
    }
}

static void
on_answered(guint status, const json_t *body, gpointer data)
{
    g_autofree Ask *ask = data;
    Subject *subject = ask->subject;
    subject->is_asked = FALSE;
    fate_note("user %s %s: %u", ask->verb, subject->name, status);
    oracle_follow();
    if (status == 0 || status >= 500) {
        on_unsure(subject, ask->verb);
    } else if (status == 404) {
        if (subject->presence == PRESENT) {
            oracle_violate("%s was acknowledged and is not found", subject->name);
        }
    } else if (strcmp(ask->verb, "PUT") == 0 && (status == 200 || status == 201)) {
        on_put(subject, status, body);
    } else if (status < 300) {
        on_done(subject, ask->verb);
    } else if (status == 400) {
        oracle_violate("%s %s was refused: %s", ask->verb, subject->name,
                       json_string_value(json_object_get(body, "detail")));
    }
}

static void
ask(Subject *subject, const char *verb, const json_t *body)
{
    gboolean is_verb = g_ascii_islower(*verb);
    g_autofree char *path =
        is_verb ? g_strconcat(subject->path, ":", verb, NULL) : g_strdup(subject->path);
    Ask *memo = g_new(Ask, 1);
    *memo = (Ask){subject, verb};
    subject->is_asked = TRUE;
    visitor_ask(socket_path, is_verb ? "POST" : verb, path, "Content-Type: application/json\r\n",
                body, on_answered, memo);
}

static gboolean
is_grouped(const Subject *subject)
{
    return (subject - subjects) / GROUP_SIZE == GROUP;
}

/* The same name has the same size and rank in every run; labels change. */
static json_t *
describe(Subject *subject)
{
    guint number = (guint)(subject - subjects);
    json_t *metadata = json_pack("{s:s, s:{s:o}}", "name", subject->name, "labels", "n",
                                 json_sprintf("%u", ++subject->asks));
    /* Three of the pods come together or not at all; they are large, and more than most. */
    gboolean grouped = is_grouped(subject);
    int priority = (int)(grouped ? 2 + number % 2 : number % 3);
    int memory_mib = (int)(256 + 256 * (number % 5)) << grouped;
    if (subject->kind == &berth_kind_pod) {
        const char *life = number % 4 == 3 ? "20" : "1000000";
        const char *restart = number % 4 == 3 ? "OnFailure" : "Always";
        json_t *placement = grouped
                                ? json_pack("{s:s, s:i}", "group", "trio", "group_size", GROUP_SIZE)
                                : json_object();
        subject->life += subject->presence == ABSENT;
        g_autofree char *image =
            number % 4 == 1 ? g_strdup_printf("registry.test/%s:%u", subject->name, subject->life)
                            : g_strdup("hello");
        return json_pack("{s:s, s:o, s:{s:o, s:i, s:i, s:b, s:s, s:i, s:[{s:s, s:s, s:[s]}]}}",
                         "kind", "Pod", "metadata", metadata, "spec", "placement", placement,
                         "memory_mib", memory_mib, "priority", priority, "preemptible",
                         number % 2 == 0, "restart", restart, "stop_timeout_s", 3, "containers",
                         "name", "main", "image", image, "args", life);
    }
    return json_pack("{s:s, s:o, s:{s:i, s:i, s:b, s:s, s:i, s:[{s:s, s:i}, {s:s, s:i}]}}", "kind",
                     "VM", "metadata", metadata, "spec", "memory_mib",
                     512 + 512 * (int)(number % 3), "priority", (int)(number - PODS), "preemptible",
                     number % 2 == 0, "run", "Always", "stop_timeout_s", 3, "disks", "name", "root",
                     "size_mib", 1024, "name", "data", "size_mib", 2048);
}

/* Devices, CPUs of their own, huge pages; and whom it must be apart from, which asks for nothing itself. */
static void
add_wishes(const Subject *subject, json_t *spec)
{
    guint number = (guint)(subject - subjects);
    gboolean last = number + 1 == G_N_ELEMENTS(subjects);
    if (number == PLAIN || number == PLAIN + 1 || last) {
        json_object_set_new(
            spec, "devices",
            json_pack("[{s:s, s:i}]", "class", "gpu", "count", 1 + (int)(number - PLAIN) % 2));
    }
    if ((number >= PLAIN && number < PODS) || number + 4 > G_N_ELEMENTS(subjects)) {
        json_object_set_new(spec, "memory_mib", json_integer(256));
    }
    if (number == PLAIN + 1 || number == PLAIN + 2 || number + 2 == G_N_ELEMENTS(subjects)) {
        json_object_set_new(spec, "dedicated_cpus", json_true());
        json_object_set_new(spec, "vcpus", json_integer(1 + number % 2));
    }
    if (number == PLAIN + 1 || number == PLAIN + 3 || number + 3 == G_N_ELEMENTS(subjects)) {
        json_object_set_new(spec, "huge_pages_kib", json_integer(2048));
        json_object_set_new(spec, "numa", json_string(number == PLAIN + 3 ? "one" : "any"));
    }
    if (number == PLAIN + 2) {
        json_object_set_new(spec, "placement",
                            json_pack("{s:[s, s]}", "anti_affinity", "p1", "p12"));
    }
}

static void
put(Subject *subject)
{
    json_t *body = describe(subject);
    add_wishes(subject, json_object_get(body, "spec"));
    ask(subject, "PUT", body);
    json_decref(body);
}

/* Somebody whose last request was answered; NULL: nobody, or nobody to ask. */
static Subject *
choose_subject(gboolean is_alive)
{
    Subject *subject = &subjects[fate_below(G_N_ELEMENTS(subjects))];
    return subject->is_asked || !is_alive ? NULL : subject;
}

void
users_put(gboolean is_alive)
{
    Subject *subject = choose_subject(is_alive);
    if (subject == NULL) {
        return;
    }
    put(subject);
    /* Its fellows come with it, those that are there already, too. */
    for (guint i = 0; i < G_N_ELEMENTS(subjects); i++) {
        if (is_grouped(subject) && is_grouped(&subjects[i]) && !subjects[i].is_asked) {
            put(&subjects[i]);
        }
    }
}

void
users_delete(gboolean is_alive)
{
    Subject *subject = choose_subject(is_alive);
    if (subject != NULL) {
        ask(subject, "DELETE", NULL);
    }
}

void
users_verb(gboolean is_alive)
{
    static const char *const verbs[] = {"start",  "start",   "shutdown", "shutdown",
                                        "reboot", "destroy", "suspend",  "resume"};
    Subject *subject = choose_subject(is_alive);
    if (subject != NULL) {
        g_autoptr(json_t) none = json_object();
        ask(subject, verbs[fate_below(G_N_ELEMENTS(verbs))], none);
    }
}

static void
check_subject(const Subject *subject)
{
    const BerthObject *object = oracle_find(subject->kind->name, subject->name);
    if (subject->presence != PRESENT) {
        return;
    }
    if (object == NULL || g_strcmp0(object->uid, subject->uid) != 0) {
        oracle_violate("%s (%s) was acknowledged and is lost", subject->name, subject->uid);
        return;
    }
    g_autofree char *label = g_strdup_printf("%u", subject->acknowledged);
    if (!subject->is_asked && subject->acknowledged != 0 &&
        g_strcmp0(json_string_value(json_object_get(object->labels, "n")), label) != 0) {
        oracle_violate("label %s of %s was acknowledged and is lost", label, subject->name);
    }
}

void
users_check(void)
{
    for (guint i = 0; i < G_N_ELEMENTS(subjects); i++) {
        check_subject(&subjects[i]);
    }
}

gboolean
users_are_answered(gpointer data)
{
    for (guint i = 0; i < G_N_ELEMENTS(subjects); i++) {
        if (subjects[i].is_asked) {
            return FALSE;
        }
    }
    return TRUE;
}

/* What was acknowledged has to be what came about. */
void
users_compare(void)
{
    for (guint i = 0; i < G_N_ELEMENTS(subjects); i++) {
        Subject *subject = &subjects[i];
        const BerthObject *object = oracle_find(subject->kind->name, subject->name);
        if (subject->presence == LEAVING && object != NULL) {
            oracle_violate("%s was deleted and is there", subject->name);
        }
        gboolean ends = subject->kind == &berth_kind_pod && i % 4 == 3;
        if (object != NULL && subject->presence == PRESENT && subject->power != POWER_ANY &&
            !ends && (object->power == BERTH_POWER_ON) != (subject->power == POWER_ON)) {
            oracle_violate("%s was told to be %s and is not", subject->name,
                           subject->power == POWER_ON ? "on" : "off");
        }
        subject->acknowledged = object != NULL ? subject->acknowledged : 0;
        subject->presence = object != NULL ? PRESENT : ABSENT;
        subject->power = object == NULL                    ? POWER_ANY
                         : object->power == BERTH_POWER_ON ? POWER_ON
                                                           : POWER_OFF;
        g_free(subject->uid);
        subject->uid = object != NULL ? g_strdup(object->uid) : NULL;
    }
}

void
users_begin(const char *socket)
{
    socket_path = socket;
    for (guint i = 0; i < G_N_ELEMENTS(subjects); i++) {
        Subject *subject = &subjects[i];
        subject->kind = i < PODS ? &berth_kind_pod : &berth_kind_vm;
        g_snprintf(subject->name, sizeof subject->name, "%c%u", i < PODS ? 'p' : 'v', i);
        subject->path =
            g_strdup_printf("/v1/projects/default/%s/%s", subject->kind->plural, subject->name);
        subject->power = POWER_ANY;
    }
}
