/* See vault.h. Invariant: callbacks run in the order of submission, from the main loop. */
#include "tests/simulation/vault.h"

#include "base/error.h"
#include "drivers/store-memory.h"
#include "tests/simulation/fate.h"

typedef struct {
    BerthStore base;
    BerthStore *memory;
    GQueue waiting; /* of Submission, borrowed: who has not been answered */
    guint source;
    gboolean is_cut, has_refused;
} Vault;

typedef struct {
    Vault *vault;
    BerthStoreDone done;
    gpointer user_data;
    GError *refusal; /* owned; what the disk said */
} Submission;

static void
answer(Submission *submission, gint64 revision, const GPtrArray *changes, int failed_op,
       const GError *error)
{
    g_queue_remove(&submission->vault->waiting, submission);
    if (submission->done != NULL) {
        submission->done(revision, changes, failed_op, error, submission->user_data);
    }
    g_clear_error(&submission->refusal);
    g_free(submission);
}

static void
on_told(gint64 revision, const GPtrArray *changes, int failed_op, const GError *error,
        gpointer data)
{
    Submission *submission = data;
    if (submission->refusal != NULL) {
        answer(submission, 0, NULL, -1, submission->refusal);
    } else {
        answer(submission, revision, changes, failed_op, error);
    }
}

static gboolean
tell(gpointer data)
{
    Vault *vault = data;
    vault->source = 0;
    if (vault->is_cut) {
        g_autoptr(GError) dead = NULL;
        berth_error_set(&dead, BERTH_ERROR_UNAVAILABLE, "the daemon died");
        while (vault->waiting.length > 0) {
            answer(g_queue_peek_head(&vault->waiting), 0, NULL, -1, dead);
        }
    } else {
        berth_store_memory_dispatch(vault->memory);
    }
    return G_SOURCE_REMOVE;
}

/* A transaction that takes its place in the queue and changes nothing. */
static BerthTransaction *
nothing(void)
{
    BerthTransaction *transaction = berth_transaction_new();
    berth_transaction_add(transaction, &(BerthStoreOp){.verb = BERTH_STORE_CHECK,
                                                       .kind = "Pod",
                                                       .project = "",
                                                       .name = "-",
                                                       .if_revision = BERTH_STORE_ABSENT});
    return transaction;
}

static GError *
refuse(void)
{
    GError *refusal = NULL;
    if (fate_strikes(2)) {
        berth_error_set(&refusal, BERTH_ERROR_EXHAUSTED, "the disk is full on purpose");
    } else if (fate_strikes(1)) {
        berth_error_set(&refusal, BERTH_ERROR_CONFLICT, "somebody was faster on purpose");
    }
    return refusal;
}

static void
submit(BerthStore *base, BerthTransaction *transaction, BerthStoreDone done, gpointer user_data)
{
    Vault *vault = (Vault *)base;
    Submission *submission = g_new(Submission, 1);
    *submission = (Submission){vault, done, user_data, NULL};
    g_queue_push_tail(&vault->waiting, submission);
    if (vault->is_cut) {
        berth_transaction_free(transaction);
    } else {
        submission->refusal = refuse();
        if (submission->refusal != NULL) {
            vault->has_refused = TRUE;
            berth_transaction_free(transaction);
            transaction = nothing();
        }
        vault->memory->ops->submit(vault->memory, transaction, on_told, submission);
    }
    if (vault->source == 0) {
        guint delay_ms = fate_strikes(3) ? 700 : (guint)fate_below(3);
        vault->source = g_timeout_add_full(G_PRIORITY_DEFAULT, delay_ms, tell, vault, NULL);
    }
}

static gboolean
load(BerthStore *base, GPtrArray **rows, gint64 *revision, GError **error)
{
    BerthStore *memory = ((Vault *)base)->memory;
    return memory->ops->load(memory, rows, revision, error);
}

static GPtrArray *
changes_since(BerthStore *base, gint64 revision, guint limit, GError **error)
{
    BerthStore *memory = ((Vault *)base)->memory;
    return memory->ops->changes_since(memory, revision, limit, error);
}

static void
compact(BerthStore *base, gint64 revision)
{
    /* The oracle reads all changes that ever were; watches that fall behind have tests of their own. */
}

static gboolean
backup(BerthStore *base, const char *path, GError **error)
{
    BerthStore *memory = ((Vault *)base)->memory;
    return memory->ops->backup(memory, path, error);
}

static gint64
oldest(BerthStore *base)
{
    BerthStore *memory = ((Vault *)base)->memory;
    return memory->ops->oldest(memory);
}

static void
free_vault(BerthStore *base)
{
    Vault *vault = (Vault *)base;
    while (vault->waiting.length > 0) {
        g_clear_handle_id(&vault->source, g_source_remove);
        tell(vault);
    }
    g_clear_handle_id(&vault->source, g_source_remove);
    g_free(vault);
}

BerthStore *
vault_new(BerthStore *memory)
{
    static const BerthStoreOps ops = {.load = load,
                                      .submit = submit,
                                      .changes_since = changes_since,
                                      .compact = compact,
                                      .backup = backup,
                                      .oldest = oldest,
                                      .free = free_vault};
    Vault *vault = g_new0(Vault, 1);
    vault->base.ops = &ops;
    vault->memory = memory;
    g_queue_init(&vault->waiting);
    return &vault->base;
}

gboolean
vault_has_refused(BerthStore *base)
{
    return ((Vault *)base)->has_refused;
}

gboolean
vault_is_quiet(gpointer vault)
{
    return ((Vault *)vault)->waiting.length == 0;
}

void
vault_cut(BerthStore *base)
{
    Vault *vault = (Vault *)base;
    vault->is_cut = TRUE;
    berth_store_memory_crash(vault->memory);
    if (vault->waiting.length > 0 && vault->source == 0) {
        vault->source = g_idle_add_full(G_PRIORITY_DEFAULT, tell, vault, NULL);
    }
}
