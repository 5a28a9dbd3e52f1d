/* Clients among each other: connections, memory and turns are counted by peer (a process on the unix socket, an
 * address on TCP), so that none takes from the others what all share. Invariants: server->held is the sum of
 * the peers' held, a peer's that of its requests; a request is in its peer's queue of turns, and the peer in the
 * server's, exactly while request->queued.
 *
 * Start reading at peer_hold() and peer_must_wait(). */
#include "daemon/server-private.h"

#include "base/error.h"

#include <string.h>

/* Of each body, answer and chunk so much is not counted: the ordinary ones always have room. */
#define HELD_FREE ((gsize)16 * 1024)
/* Handling in one turn of the main loop, and who goes first in the next one. */
#define TURN_BUDGET_US 5000
#define TURNS 2

/* ---- connections ---- */

static void
free_peer(gpointer data)
{
    Peer *peer = data;
    g_assert(g_queue_is_empty(&peer->turns) && peer->held == 0);
    g_free(peer->name);
    g_free(peer);
}

void
peers_init(BerthServer *server)
{
    server->peers = g_hash_table_new_full(g_str_hash, g_str_equal, NULL, free_peer);
    g_queue_init(&server->turns);
}

void
peer_join(Connection *connection, const char *name)
{
    BerthServer *server = connection->server;
    Peer *peer = g_hash_table_lookup(server->peers, name);
    if (peer == NULL) {
        peer = g_new0(Peer, 1);
        peer->name = g_strdup(name);
        g_queue_init(&peer->turns);
        g_hash_table_insert(server->peers, peer->name, peer);
    }
    peer->connections++;
    connection->peer = peer;
}

void
peer_leave(Connection *connection)
{
    Peer *peer = g_steal_pointer(&connection->peer);
    if (--peer->connections == 0) {
        g_hash_table_remove(connection->server->peers, peer->name);
    }
}

guint
peer_connections(BerthServer *server, const char *name)
{
    const Peer *peer = g_hash_table_lookup(server->peers, name);
    return peer != NULL ? peer->connections : 0;
}

static const Peer *
find_greatest(BerthServer *server)
{
    const Peer *greatest = NULL;
    GHashTableIter iter;
    gpointer value;
    g_hash_table_iter_init(&iter, server->peers);
    while (g_hash_table_iter_next(&iter, NULL, &value)) {
        const Peer *peer = value;
        if (greatest == NULL || peer->connections > greatest->connections) {
            greatest = peer;
        }
    }
    return greatest;
}

/* The connection of @peer that has been without a whole request for longest; NULL. */
static Connection *
find_idlest(BerthServer *server, const Peer *peer)
{
    Connection *idlest = NULL;
    GHashTableIter iter;
    gpointer key;
    g_hash_table_iter_init(&iter, server->connections);
    while (g_hash_table_iter_next(&iter, &key, NULL)) {
        Connection *connection = key;
        gboolean idle = connection->phase == PHASE_HEAD || connection->phase == PHASE_BODY;
        if (idle && !connection->ending && connection->peer == peer &&
            (idlest == NULL || connection->since_us < idlest->since_us)) {
            idlest = connection;
        }
    }
    return idlest;
}

/* Ends an idle connection of the peer that has most, when @name has fewer. Returns: whether it did. */
gboolean
peers_make_room(BerthServer *server, const char *name)
{
    const Peer *greatest = find_greatest(server);
    if (greatest == NULL || peer_connections(server, name) + 1 >= greatest->connections) {
        return FALSE;
    }
    Connection *idlest = find_idlest(server, greatest);
    if (idlest == NULL) {
        return FALSE;
    }
    server->figures.refused++;
    if (idlest->handed_over) {
        connection_abort(idlest);
    } else {
        gate_refuse(idlest->fd, 503, "exhausted", "the server has too many connections", TRUE);
        connection_close(idlest);
    }
    return TRUE;
}

/* ---- memory ---- */

/* Counts that @request holds @bytes (a body, an answer or a chunk; 0: no more). Returns: 0, or the status to
 * refuse with, what was counted before unchanged: 429 when its peer, 503 when all together would hold too much. */
guint
peer_hold(BerthRequest *request, gsize bytes)
{
    BerthServer *server = request->server;
    Peer *peer = request->connection->peer;
    gsize wanted = bytes > HELD_FREE ? bytes - HELD_FREE : 0;
    gsize by_peer = peer->held - request->held + wanted;
    gsize by_all = server->figures.held - request->held + wanted;
    if (wanted > request->held && by_peer > server->limits.held_per_peer) {
        return 429;
    }
    if (wanted > request->held && by_all > server->limits.held) {
        return 503;
    }
    peer->held = by_peer;
    server->figures.held = by_all;
    request->held = wanted;
    return 0;
}

/* (transfer full): why peer_hold() gave @status. */
GError *
peer_hold_error(guint status)
{
    GError *error = NULL;
    berth_error_set_at(
        &error, BERTH_ERROR_EXHAUSTED, NULL, "take what was answered, then try again",
        "bodies and answers of %s that are under way fill the memory set aside for them",
        status == 429 ? "this client" : "all clients together");
    return error;
}

/* ---- turns ---- */

/* Whether others come before @request; it is handled when its turn comes. */
gboolean
peer_must_wait(BerthRequest *request)
{
    BerthServer *server = request->server;
    Peer *peer = request->connection->peer;
    if (server->handle_us > 0 && g_queue_is_empty(&peer->turns)) {
        return FALSE;
    }
    if (g_queue_is_empty(&peer->turns)) {
        g_queue_push_tail(&server->turns, peer);
    }
    g_queue_push_tail(&peer->turns, request);
    request->queued = TRUE;
    return TRUE;
}

/* @request ended while it waited. */
void
peer_forget_turn(BerthRequest *request)
{
    Peer *peer = request->connection->peer;
    if (request->queued) {
        request->queued = FALSE;
        g_queue_remove(&peer->turns, request);
        if (g_queue_is_empty(&peer->turns)) {
            g_queue_remove(&request->server->turns, peer);
        }
    }
}

void
peers_begin_turn(BerthServer *server)
{
    server->handle_us = TURN_BUDGET_US;
}

/* After a turn: who has waited longest goes first in the next one, one request of each peer in its order. */
void
peers_give_turns(BerthServer *server)
{
    for (guint i = 0; i < TURNS && !g_queue_is_empty(&server->turns); i++) {
        Peer *peer = g_queue_pop_head(&server->turns);
        BerthRequest *request = g_queue_pop_head(&peer->turns);
        if (!g_queue_is_empty(&peer->turns)) {
            g_queue_push_tail(&server->turns, peer);
        }
        request->queued = FALSE;
        request_handle(request);
    }
}
