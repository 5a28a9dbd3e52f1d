/* Rows, changes and transactions, and what a step means: the same for every store. Pure. */
#include "drivers/store.h"

#include <string.h>

#include "base/error.h"
#include "drivers/store-transaction.h"

void
berth_row_free(BerthRow *row)
{
    if (row != NULL) {
        g_free(row->kind);
        g_free(row->project);
        g_free(row->name);
        g_free(row->uid);
        g_free(row->body);
        g_free(row->status);
        g_free(row);
    }
}

/** Returns: (transfer full): a copy of @row. */
BerthRow *
berth_row_copy(const BerthRow *row)
{
    BerthRow *copy = g_new(BerthRow, 1);
    *copy = (BerthRow){
        .kind = g_strdup(row->kind),
        .project = g_strdup(row->project),
        .name = g_strdup(row->name),
        .uid = g_strdup(row->uid),
        .revision = row->revision,
        .body_revision = row->body_revision,
        .body = g_strdup(row->body),
        .status = g_strdup(row->status),
    };
    return copy;
}

void
berth_change_free(BerthChange *change)
{
    if (change != NULL) {
        berth_row_free(change->row);
        g_free(change);
    }
}

/** Returns: (transfer full): the change that @revision made; takes @row. */
BerthChange *
berth_change_new(gint64 revision, gboolean deleted, BerthRow *row)
{
    BerthChange *change = g_new(BerthChange, 1);
    *change = (BerthChange){.revision = revision, .deleted = deleted, .row = row};
    return change;
}

static void
free_step(gpointer data)
{
    BerthStep *step = data;
    g_free(step->kind);
    g_free(step->project);
    g_free(step->name);
    g_free(step->uid);
    g_free(step->body);
    g_free(step->status);
    g_free(step->if_uid);
    g_free(step);
}

/** Returns: (transfer full): a transaction without steps. */
BerthTransaction *
berth_transaction_new(void)
{
    BerthTransaction *transaction = g_new0(BerthTransaction, 1);
    transaction->steps = g_ptr_array_new_with_free_func(free_step);
    return transaction;
}

static gsize
length_of(const char *text)
{
    return text != NULL ? strlen(text) : 0;
}

/**
 * berth_transaction_add:
 * @op: copied with its strings; project NULL means ""
 *
 * Steps are done in the order they were added, each seeing what the former did.
 */
void
berth_transaction_add(BerthTransaction *transaction, const BerthStoreOp *op)
{
    BerthStep *step = g_new(BerthStep, 1);
    *step = (BerthStep){
        .verb = op->verb,
        .kind = g_strdup(op->kind),
        .project = g_strdup(op->project != NULL ? op->project : ""),
        .name = g_strdup(op->name),
        .uid = g_strdup(op->uid),
        .body = g_strdup(op->body),
        .status = g_strdup(op->status),
        .if_uid = g_strdup(op->if_uid),
        .if_revision = op->if_revision,
    };
    transaction->bytes += length_of(op->body) + length_of(op->status) + 256;
    g_ptr_array_add(transaction->steps, step);
}

/** Returns: how many steps @transaction has. */
guint
berth_transaction_size(const BerthTransaction *transaction)
{
    return transaction->steps->len;
}

void
berth_transaction_free(BerthTransaction *transaction)
{
    if (transaction != NULL) {
        g_ptr_array_unref(transaction->steps);
        g_free(transaction);
    }
}

static gboolean
fail(const BerthStep *step, BerthErrorCode code, const char *what, GError **error)
{
    berth_error_set(error, code, "%s %s%s%s %s", step->kind, step->project,
                    *step->project != '\0' ? "/" : "", step->name, what);
    return FALSE;
}

static gboolean
needs_row(const BerthStep *step)
{
    return step->if_uid != NULL || step->if_revision > 0 || step->verb == BERTH_STORE_DELETE ||
           (step->verb == BERTH_STORE_PUT && step->if_revision == BERTH_STORE_ANY &&
            (step->uid == NULL || step->body == NULL));
}

/**
 * berth_step_check:
 * @row: (nullable): what is stored under the step's name now
 * @revision: the store's present revision
 *
 * Returns: whether the step's conditions hold. Errors: NOT_FOUND, EXISTS, CONFLICT; INTERNAL for a
 * new row without uid or body.
 */
gboolean
berth_step_check(const BerthStep *step, const BerthRow *row, gint64 revision, GError **error)
{
    if (row == NULL && needs_row(step)) {
        return fail(step, BERTH_ERROR_NOT_FOUND, "does not exist", error);
    }
    if (row == NULL) {
        return step->verb != BERTH_STORE_PUT || (step->uid != NULL && step->body != NULL) ||
               fail(step, BERTH_ERROR_INTERNAL, "needs a uid and a body to be made", error);
    }
    if (step->if_revision == BERTH_STORE_ABSENT) {
        return fail(step, BERTH_ERROR_EXISTS, "exists already", error);
    }
    if (step->if_uid != NULL && strcmp(step->if_uid, row->uid) != 0) {
        return fail(step, BERTH_ERROR_NOT_FOUND, "is another object by now", error);
    }
    if (step->verb == BERTH_STORE_PUT && step->uid != NULL && strcmp(step->uid, row->uid) != 0) {
        return fail(step, BERTH_ERROR_EXISTS, "exists already with another uid", error);
    }
    if (step->if_revision > 0 &&
        (row->body_revision > step->if_revision || step->if_revision > revision)) {
        return fail(step, BERTH_ERROR_CONFLICT, "was changed meanwhile; read it again", error);
    }
    return TRUE;
}

/** Returns: whether the step, its conditions holding, changes anything. */
gboolean
berth_step_writes(const BerthStep *step)
{
    return step->verb == BERTH_STORE_DELETE ||
           (step->verb == BERTH_STORE_PUT && (step->body != NULL || step->status != NULL));
}

/**
 * berth_step_apply:
 * @row: (nullable): what is stored
 * @revision: that the transaction takes
 *
 * Returns: (transfer full): the row that a step which writes makes of @row; for a delete the last one.
 */
BerthRow *
berth_step_apply(const BerthStep *step, const BerthRow *row, gint64 revision)
{
    if (step->verb == BERTH_STORE_DELETE) {
        return berth_row_copy(row);
    }
    BerthRow *next = g_new(BerthRow, 1);
    *next = (BerthRow){
        .kind = g_strdup(step->kind),
        .project = g_strdup(step->project),
        .name = g_strdup(step->name),
        .uid = g_strdup(row != NULL ? row->uid : step->uid),
        .revision = revision,
        .body_revision = step->body != NULL ? revision : row->body_revision,
        .body = g_strdup(step->body != NULL ? step->body : row->body),
        .status = g_strdup(step->status != NULL ? step->status
                           : row != NULL        ? row->status
                                                : NULL),
    };
    return next;
}
