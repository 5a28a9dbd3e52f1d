/* The host under test as its drivers' suite sees it: two fleets' connections to it, calls that are waited for,
 * and the domains that the tests make. */
#pragma once

#include "base/error.h"
#include "drivers/host.h"

G_BEGIN_DECLS

#define FLEET "conformance-fleet"
#define POOL "berth-conformance"
#define SPEC "{\"text\": \"<&>'\\\"\"}"
#define PATIENCE_S 60

typedef struct {
    BerthHost *host;
    GPtrArray *events; /* of char*: "uuid event reason" */
    guint closed;
} Peer;

extern Peer own, stranger; /* the same host, seen by two fleets */
extern const char uuid_a[], uuid_b[], nobody[];

gboolean wake(gpointer data);

#define RUN_UNTIL(condition)                                                                       \
    G_STMT_START {                                                                                 \
        gboolean is_late = FALSE;                                                                  \
        guint patience = g_timeout_add_seconds(PATIENCE_S, wake, &is_late);                        \
        while (!(condition)) {                                                                     \
            g_main_context_iteration(NULL, TRUE);                                                  \
            g_assert_false(is_late);                                                               \
        }                                                                                          \
        g_source_remove(patience);                                                                 \
    }                                                                                              \
    G_STMT_END

int call_as(Peer *peer, const BerthHostCall *call, BerthHostReply *reply);
int call(const BerthHostCall *wanted, BerthHostReply *reply);

#define CALL(...) call(&(BerthHostCall){__VA_ARGS__}, NULL)
#define ASSERT_OK(...) g_assert_cmpint(CALL(__VA_ARGS__), ==, -1)
#define ASSERT_CODE(wanted, ...) g_assert_cmpint(CALL(__VA_ARGS__), ==, wanted)

void open_peer(Peer *peer, const char *fleet);
BerthDomainPlan make_plan(const char *uuid, const char *name);
void define(const char *uuid, const char *name);
BerthDomain *get(const char *uuid);
BerthDomainState state_of(const char *uuid);
void remove_domain(const char *uuid);
gboolean saw(const Peer *peer, const char *uuid, BerthDomainEvent event, BerthStopReason reason);
void ensure_pool(void); /* host-volumes.c */

#define ADD(path, test) g_test_add_func("/conformance/host/" path, test)

/* The parts of the suite. */
void add_volume_tests(void);
void add_domain_tests(void);
void add_channel_tests(void);
void add_guest_tests(void);

G_END_DECLS
