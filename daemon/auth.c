/* Who is asking. Invariant: an actor's name never comes from what the request says about itself, but from the
 * kernel, a verified certificate or a token that hashes to a known value. Main loop. */
#include "daemon/auth.h"

#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define TOKEN_FILE_MAX (1024 * 1024)
#define HASH_HEX 64

typedef struct {
    char *name;
    char hash[HASH_HEX + 1];
} Token;

struct BerthTokens {
    GArray *tokens; /* of Token */
};

void
berth_actor_free(BerthActor *actor)
{
    g_free(actor->name);
    g_free(actor->origin);
    g_free(actor->peer);
    g_free(actor);
}

/* Read from /etc/passwd alone: getpwuid() may ask the network and block the main loop. */
static char *
user_name(uid_t uid)
{
    FILE *passwd = fopen("/etc/passwd", "re");
    char *name = NULL;
    struct passwd *entry;
    while (passwd != NULL && name == NULL && (entry = fgetpwent(passwd)) != NULL) {
        if (entry->pw_uid == uid) {
            name = g_strdup(entry->pw_name);
        }
    }
    if (passwd != NULL) {
        fclose(passwd);
    }
    return name != NULL ? name : g_strdup_printf("uid-%u", (guint)uid);
}

/* Names of recent users, so that a connection does not cost a file. Emptied when it grows: an account may be
 * renamed, rarely. */
static const char *
cached_user_name(uid_t uid)
{
    static GHashTable *names;
    if (names == NULL) {
        names = g_hash_table_new_full(NULL, NULL, NULL, g_free);
    }
    char *name = g_hash_table_lookup(names, GUINT_TO_POINTER((guint)uid));
    if (name == NULL) {
        if (g_hash_table_size(names) >= 64) {
            g_hash_table_remove_all(names);
        }
        name = user_name(uid);
        g_hash_table_insert(names, GUINT_TO_POINTER((guint)uid), name);
    }
    return name;
}

/** Returns: (transfer full): the process at the other end of the unix socket @fd. */
BerthActor *
berth_actor_from_unix(int fd, GError **error)
{
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
        berth_error_set_errno(error, errno, "can't read the credentials of a connection");
        return NULL;
    }
    BerthActor *actor = g_new0(BerthActor, 1);
    actor->name = g_strdup(cached_user_name(peer.uid));
    actor->origin = g_strdup_printf("unix pid %d", (int)peer.pid);
    actor->peer = g_strdup_printf("pid %d", (int)peer.pid);
    return actor;
}

static gboolean
read_token_line(const char *path, guint number, const char *line, GArray *tokens, GError **error)
{
    g_auto(GStrv) words = g_strsplit_set(line, " \t", -1);
    const char *name = NULL, *hash = NULL;
    guint count = 0;
    for (char **word = words; *word != NULL; word++) {
        if (**word != '\0') {
            name = count == 0 ? *word : name;
            hash = count == 1 ? *word : hash;
            count++;
        }
    }
    if (count == 0 || *name == '#') {
        return TRUE;
    }
    if (count != 2 || strlen(hash) != HASH_HEX || strspn(hash, "0123456789abcdef") != HASH_HEX) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, NULL,
                           "each line is: name, blank, sha256 of the token as 64 hex digits",
                           "%s:%u is no token line", path, number);
        return FALSE;
    }
    Token token = {.name = g_strdup(name)};
    memcpy(token.hash, hash, HASH_HEX);
    g_array_append_val(tokens, token);
    return TRUE;
}

static char *
read_private_file(const char *path, GError **error)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct stat status;
    if (fd < 0 || fstat(fd, &status) != 0) {
        berth_error_set_errno(error, errno, "can't open the token file '%s'", path);
        if (fd >= 0) {
            close(fd);
        }
        return NULL;
    }
    g_autofree char *text = g_malloc(TOKEN_FILE_MAX + 1);
    gssize got = read(fd, text, TOKEN_FILE_MAX);
    close(fd);
    if ((status.st_mode & 077) != 0 || !S_ISREG(status.st_mode)) {
        berth_error_set_at(error, BERTH_ERROR_DENIED, NULL, "chmod 600",
                           "the token file '%s' may be read by others (mode %04o)", path,
                           status.st_mode & 07777);
        return NULL;
    }
    text[MAX(got, 0)] = '\0';
    return g_steal_pointer(&text);
}

static void
clear_token(gpointer data)
{
    g_free(((Token *)data)->name);
}

/** Returns: (transfer full): the tokens of the file @path. Errors: DENIED when others may read it. */
BerthTokens *
berth_tokens_load(const char *path, GError **error)
{
    g_autofree char *text = read_private_file(path, error);
    if (text == NULL) {
        return NULL;
    }
    g_autoptr(BerthTokens) tokens = g_new0(BerthTokens, 1);
    tokens->tokens = g_array_new(FALSE, TRUE, sizeof(Token));
    g_array_set_clear_func(tokens->tokens, clear_token);
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (guint i = 0; lines[i] != NULL; i++) {
        if (!read_token_line(path, i + 1, lines[i], tokens->tokens, error)) {
            return NULL;
        }
    }
    return g_steal_pointer(&tokens);
}

void
berth_tokens_free(BerthTokens *tokens)
{
    g_array_unref(tokens->tokens);
    g_free(tokens);
}

char *
berth_token_hash(const char *token)
{
    return g_compute_checksum_for_string(G_CHECKSUM_SHA256, token, -1);
}

/* Hashes are compared whole, and all of them, so the time tells nothing about a near miss. */
const char *
berth_tokens_find(const BerthTokens *tokens, const char *token)
{
    g_autofree char *hash = berth_token_hash(token);
    const char *name = NULL;
    for (guint i = 0; i < tokens->tokens->len; i++) {
        const Token *known = &g_array_index(tokens->tokens, Token, i);
        guint8 difference = 0;
        for (guint k = 0; k < HASH_HEX; k++) {
            difference |= (guint8)(known->hash[k] ^ hash[k]);
        }
        name = difference == 0 ? known->name : name;
    }
    return name;
}
