/* Shared work. Invariant: for one key at most one thread leads at any time; who leads must land.
 *
 * A leader that was cancelled hands over to one that waits, since only its own caller lost interest;
 * any other failure is given to all that wait, so that a bad registry is asked once and not a hundred
 * times. Thread-safe. Start at berth_flights_join(). */
#include "images/flight.h"

#include "base/error.h"

struct BerthFlights {
    GMutex mutex;
    GCond landed;
    GHashTable *flights; /* owned; key -> Flight that is under way */
};

/* Leaves the table when it lands; those that waited still hold it and read its result. */
typedef struct {
    guint refs;
    gboolean over;
    GError *failure; /* owned; once over, NULL: it went well */
    char *outcome;   /* owned; once over, may be NULL */
} Flight;

static void
flight_unref(gpointer data)
{
    Flight *flight = data;
    if (--flight->refs == 0) {
        g_clear_error(&flight->failure);
        g_free(flight->outcome);
        g_free(flight);
    }
}

/** Returns: (transfer full): nothing under way. */
BerthFlights *
berth_flights_new(void)
{
    BerthFlights *flights = g_new0(BerthFlights, 1);
    g_mutex_init(&flights->mutex);
    g_cond_init(&flights->landed);
    flights->flights = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, flight_unref);
    return flights;
}

/** Frees @flights, in which nobody may lead or wait any more. */
void
berth_flights_free(BerthFlights *flights)
{
    g_assert(g_hash_table_size(flights->flights) == 0);
    g_hash_table_unref(flights->flights);
    g_mutex_clear(&flights->mutex);
    g_cond_clear(&flights->landed);
    g_free(flights);
}

/* Waits for the end of @flight. The tick bounds how late a cancellation is seen. */
static gboolean
wait_for_landing(BerthFlights *flights, Flight *flight, GCancellable *cancellable, GError **error)
{
    while (!flight->over) {
        if (g_cancellable_is_cancelled(cancellable)) {
            berth_error_set(error, BERTH_ERROR_CANCELLED, "cancelled");
            return FALSE;
        }
        g_cond_wait_until(&flights->landed, &flights->mutex,
                          g_get_monotonic_time() + 100 * G_TIME_SPAN_MILLISECOND);
    }
    return TRUE;
}

static void
take_off(BerthFlights *flights, const char *key)
{
    Flight *flight = g_new0(Flight, 1);
    flight->refs = 1;
    g_hash_table_insert(flights->flights, g_strdup(key), flight);
}

/**
 * berth_flights_join:
 * @key: names the work; copied
 * @cancellable: (nullable): ends the waiting, not the work
 * @leads: (out): TRUE: the caller does the work now and calls berth_flights_land() in any case;
 *   FALSE: another thread has just done it well
 * @outcome: (out) (nullable): (transfer full): what that thread gave to berth_flights_land(), or NULL
 *
 * Blocks while another thread does the same work.
 *
 * Returns: FALSE with the leader's error when its work failed, or CANCELLED.
 */
gboolean
berth_flights_join(BerthFlights *flights, const char *key, GCancellable *cancellable,
                   gboolean *leads, char **outcome, GError **error)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&flights->mutex);
    *leads = FALSE;
    for (;;) {
        Flight *flight = g_hash_table_lookup(flights->flights, key);
        if (flight == NULL) {
            take_off(flights, key);
            *leads = TRUE;
            return TRUE;
        }
        flight->refs++;
        gboolean landed = wait_for_landing(flights, flight, cancellable, error);
        g_autoptr(GError) failure =
            landed && flight->failure != NULL ? g_error_copy(flight->failure) : NULL;
        if (landed && failure == NULL && outcome != NULL) {
            *outcome = g_strdup(flight->outcome);
        }
        flight_unref(flight);
        if (!landed || failure == NULL) {
            return landed;
        }
        if (!g_error_matches(failure, BERTH_ERROR, BERTH_ERROR_CANCELLED)) {
            g_propagate_error(error, g_steal_pointer(&failure));
            return FALSE;
        }
    }
}

/**
 * berth_flights_land:
 * @outcome: (nullable): a word for those that waited; copied
 * @failure: (nullable): why the leader's work failed; copied. NULL: it went well
 */
void
berth_flights_land(BerthFlights *flights, const char *key, const char *outcome,
                   const GError *failure)
{
    g_autoptr(GMutexLocker) locker = g_mutex_locker_new(&flights->mutex);
    Flight *flight = g_hash_table_lookup(flights->flights, key);
    g_return_if_fail(flight != NULL);
    flight->failure = failure == NULL ? NULL : g_error_copy(failure);
    flight->outcome = g_strdup(outcome);
    flight->over = TRUE;
    g_cond_broadcast(&flights->landed);
    g_hash_table_remove(flights->flights, key);
}
