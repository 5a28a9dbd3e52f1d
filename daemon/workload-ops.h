/* What the HTTP side asks the controllers for beyond the catalog: reasons, domain XML, logs, and
 * the byte streams of exec, attach and console. Routes call, controllers answer; everything on the main
 * loop, nothing blocks. An op that is NULL is answered with 501. */
#pragma once

#include "model/object.h"

G_BEGIN_DECLS

/* The answer to a question. Exactly one of @text and @error. @text: (transfer none), of the media type the
 * op names. Called once, also from within the op. */
typedef void (*BerthAnswer)(const char *text, const GError *error, gpointer user_data);

/* What a log reader wants. Strings borrowed for the call. */
typedef struct {
    const char *container; /* NULL: the only one, INVALID when there are several */
    gboolean follow;
    gint64 since_us; /* wall clock; 0: from the beginning */
    gint64 tail;     /* the last so many lines; -1: all */
    gboolean timestamps;
} BerthLogQuery;

/* What is to run. Borrowed for the call. */
typedef struct {
    const char *container;      /* NULL: the first */
    char **argv;                /* exec: at least one; attach, console: NULL */
    char **env;                 /* may be NULL */
    const char *workdir, *user; /* may be NULL */
    gboolean tty, want_stdin;
    guint columns, rows; /* 0: unknown */
    const char *resume;  /* exec: id of a cut exec to attach to again; NULL: a new one */
    gint64 history;      /* console: bytes of history to send first; -1: all there is */
    const char *actor, *request_id;
} BerthStreamQuery;

/* The controllers' end of a stream that is going to the client, given to the op when it is opened. A
 * stream's flow control: each side may send only what the other has granted. `granted` bytes
 * are added by @grant; the receiver of bytes grants again when it has disposed of them. */
typedef struct BerthStreamPeer BerthStreamPeer;
typedef struct {
    /* Bytes for the client. @channel: 1 stdout, 2 stderr. Never more than was granted. */
    void (*output)(BerthStreamPeer *peer, guint channel, const void *data, gsize size);
    /* The controller has disposed of @size bytes of stdin; the client may send as many more. */
    void (*grant_input)(BerthStreamPeer *peer, gsize size);
    /* The id for a re-attach; once, before output. */
    void (*started)(BerthStreamPeer *peer, const char *id);
    /* The end: the process ended (@error NULL; @exit_code, 128+n for signal n), or could not be
     * run or reached. The peer is gone after it. */
    void (*finished)(BerthStreamPeer *peer, int exit_code, const GError *error);
} BerthStreamPeerOps;

struct BerthStreamPeer {
    const BerthStreamPeerOps *ops;
};

/* The HTTP side's end: how the client's input reaches the controller. A handle made by exec_open,
 * attach_open or console_open; closed exactly once, also after finished(). */
typedef struct BerthStreamHandle BerthStreamHandle;
typedef struct {
    void (*input)(BerthStreamHandle *handle, const void *data, gsize size);
    void (*input_eof)(BerthStreamHandle *handle);
    /* The client can take @size more bytes of output. */
    void (*grant_output)(BerthStreamHandle *handle, gsize size);
    void (*resize)(BerthStreamHandle *handle, guint columns, guint rows);
    void (*signal)(BerthStreamHandle *handle, const char *name); /* "TERM" */
    /* @lost: the client vanished without a close: an exec waits 30 s for a re-attach, then SIGHUP. */
    void (*close)(BerthStreamHandle *handle, gboolean lost);
} BerthStreamHandleOps;

struct BerthStreamHandle {
    const BerthStreamHandleOps *ops;
};

/* A log reader: pulled, so that a slow client holds nothing up. Its bytes are application/x-ndjson, one
 * record a line, in order: {"sequence":7,"time":"2026-11-24T09:00:00.123456Z","stream":"stdout",
 * "data":"text as UTF-8"}; "data64" (base64) instead of "data" when the bytes are not UTF-8; a hole is
 * {"sequence":9,"stream":"gap","bytes":4096}. Records are pieces of the stream, not lines of text. */
typedef struct BerthLogReader BerthLogReader;
typedef struct {
    /* Returns: (transfer full): the next bytes (at most 64 KiB); NULL and @end FALSE: nothing now, wait for
     * wake; NULL and @end TRUE: all was read, or @error. */
    GBytes *(*next)(BerthLogReader *reader, gboolean *end, GError **error);
    void (*free)(BerthLogReader *reader);
} BerthLogReaderOps;

struct BerthLogReader {
    const BerthLogReaderOps *ops;
};

/**
 * BerthWorkloadOps:
 * @data: the controllers' own, first argument of each but
 * @image_data: first argument of @image_content
 * @what_if_data: first argument of @plan, @capacity, @rebalance, @overview and @fleet
 * @host_data: first argument of @admit and @host_key
 * @why: why the workload is where it is, or is not placed: JSON text
 * @xml: the domain XML, as libvirt has it or as it would be made
 * @plan: what an apply of documents would do; @capacity: how many more fit; @rebalance: live migrations
 *     worth making; @question: borrowed
 * @overview: how full the fleet is; @fleet: the fleet file
 * @logs_open: @wake is called when bytes came after next() had none
 * @attach_open: output begins with the whole log that is kept when history is -1, with what comes from
 *     now on when it is 0; waits for a workload that is still being started; nothing is lost or doubled
 * @exec_open, @attach_open, @console_open: return NULL and set @error when it can't even be tried
 * @image_content: the uploaded file at @path (handed over: to be moved or unlinked) for the Image
 *     @image; answers with the text ""
 * @admit: whether this daemon takes @object, which fits its schema, at all. Errors: why not
 * @host_key: Berth's public SSH key, borrowed. Errors: UNAVAILABLE
 * @metrics: appends lines of the Prometheus text format
 * @unready: (nullable): a reason why the daemon is not ready, (transfer full)
 */
typedef struct {
    gpointer data, image_data, what_if_data, host_data;
    void (*why)(gpointer data, BerthObject *object, BerthAnswer answer, gpointer user_data);
    void (*xml)(gpointer data, BerthObject *object, BerthAnswer answer, gpointer user_data);
    void (*plan)(gpointer data, const json_t *question, BerthAnswer answer, gpointer user_data);
    void (*capacity)(gpointer data, const json_t *question, BerthAnswer answer, gpointer user_data);
    void (*rebalance)(gpointer data, const json_t *question, BerthAnswer answer,
                      gpointer user_data);
    void (*overview)(gpointer data, BerthAnswer answer, gpointer user_data);
    void (*fleet)(gpointer data, BerthAnswer answer, gpointer user_data);
    BerthLogReader *(*logs_open)(gpointer data, BerthObject *object, const BerthLogQuery *query,
                                 void (*wake)(gpointer user_data), gpointer user_data,
                                 GError **error);
    BerthStreamHandle *(*exec_open)(gpointer data, BerthObject *object,
                                    const BerthStreamQuery *query, BerthStreamPeer *peer,
                                    GError **error);
    BerthStreamHandle *(*attach_open)(gpointer data, BerthObject *object,
                                      const BerthStreamQuery *query, BerthStreamPeer *peer,
                                      GError **error);
    BerthStreamHandle *(*console_open)(gpointer data, BerthObject *object,
                                       const BerthStreamQuery *query, BerthStreamPeer *peer,
                                       GError **error);
    void (*image_content)(gpointer data, BerthObject *image, const char *path, BerthAnswer answer,
                          gpointer user_data);
    gboolean (*admit)(gpointer data, const BerthObject *object, GError **error);
    const char *(*host_key)(gpointer data, GError **error);
    void (*metrics)(gpointer data, GString *text);
    char *(*unready)(gpointer data);
} BerthWorkloadOps;

G_END_DECLS
