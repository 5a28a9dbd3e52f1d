/* Who is asking: peer credentials on the unix socket, a client certificate or a bearer token on TCP. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

typedef struct {
    char *name;   /* owned: "root", "alice", a certificate's CN, a token's name */
    char *origin; /* owned: "unix pid 812", "192.0.2.7:51234" */
    char *peer;   /* owned: what connections are counted by: "pid 812", "192.0.2.7" */
} BerthActor;

void berth_actor_free(BerthActor *actor);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthActor, berth_actor_free)

/* From SO_PEERCRED of a connected unix socket. */
BerthActor *berth_actor_from_unix(int fd, GError **error);

/* The token file: one "name sha256hex" a line, # comments; mode 0600 enforced. */
typedef struct BerthTokens BerthTokens;
BerthTokens *berth_tokens_load(const char *path, GError **error);
void berth_tokens_free(BerthTokens *tokens);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthTokens, berth_tokens_free)
/* Returns: (nullable): the name @token belongs to. Takes the same time for every wrong one. */
const char *berth_tokens_find(const BerthTokens *tokens, const char *token);
/* (transfer full): the hash that goes into the file. */
char *berth_token_hash(const char *token);

G_END_DECLS
