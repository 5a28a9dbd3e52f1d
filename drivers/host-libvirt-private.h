/* What the files of the libvirt driver share. Nobody else includes this. */
#pragma once

#include "base/error.h"
#include "drivers/host.h"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>

G_BEGIN_DECLS

typedef struct BerthVirtHost BerthVirtHost;
typedef struct BerthVirtLane BerthVirtLane;

/* What is registered on a connection: each holds a reference to it and has to go before it. */
typedef struct {
    virConnectCloseFunc closed; /* NULL: none */
    int domains, networks;      /* libvirt's numbers of the registrations; -1: none */
} BerthVirtCallbacks;

#define BERTH_VIRT_NO_CALLBACKS ((BerthVirtCallbacks){.domains = -1, .networks = -1})

/* A connection that one call has for itself: libvirt's client library before 10.3 may crash when two threads call
 * on one connection (CVE-2024-4418). */
typedef struct {
    virConnectPtr connection; /* owned unless it is the session's control */
    const char *fleet;        /* borrowed from the session */
    gint64 used_us;
} BerthVirtLine;

/* The connections of one successful connect(). Counted: a call keeps the session it began with, so that
 * abandoning it frees nothing under a call that is stuck. Any thread. */
typedef struct {
    gint refs;
    guint64 epoch;         /* which connect() this is, so that late callbacks are told apart */
    char *uri;             /* owned */
    char *fleet;           /* owned */
    virConnectPtr control; /* events come here; also a line */
    BerthVirtCallbacks callbacks; /* on control */
    GMutex lines_lock;
    GQueue lines; /* of BerthVirtLine, owned: idle, the last used first; guarded by lines_lock */
    gboolean is_closed; /* guarded by the host's lock */
} BerthVirtSession;

struct BerthVirtHost {
    BerthHost base; /* first: handed out as BerthHost* */
    gint refs;
    char *uri, *fleet;    /* owned */
    BerthHostWatch watch; /* main loop */
    gpointer user_data;   /* main loop */
    gboolean is_freed; /* main loop: the owner is gone, callbacks still on their way are dropped */
    GMutex lock;
    guint64 epoch;             /* guarded by lock */
    BerthVirtSession *session; /* owned; guarded by lock; NULL: not connected */
    /* Main loop; owned; NULL: opened by the next channel. Consoles have a connection of their own: a
     * person who pastes to a guest that does not read must not hold up the guest links. */
    BerthVirtLane *links, *consoles;
};

BerthVirtHost *berth_virt_host_ref(BerthVirtHost *host);
void berth_virt_host_unref(BerthVirtHost *host);
BerthVirtSession *berth_virt_session_ref(BerthVirtSession *session);
void berth_virt_session_unref(BerthVirtSession *session);

virConnectPtr berth_virt_open(const char *uri, GError **error);
void berth_virt_close(virConnectPtr connection, BerthVirtCallbacks callbacks);
void berth_virt_error_take(virErrorPtr reason, GError **error, const char *format, ...)
    G_GNUC_PRINTF(3, 4);
/* Sets @error from libvirt's last error of this thread: "<what was tried>: <libvirt's text>". A macro,
 * because an argument such as virDomainGetName() would make libvirt forget the error. */
#define berth_virt_error(error, ...)                                                               \
    G_STMT_START {                                                                                 \
        virErrorPtr reason_ = virSaveLastError();                                                  \
        berth_virt_error_take(reason_, error, __VA_ARGS__);                                        \
    }                                                                                              \
    G_STMT_END
int berth_virt_last_code(void);
void berth_virt_explain_tls(const char *uri, GError **error);

typedef gboolean (*BerthVirtVerb)(BerthVirtLine *line, const BerthHostCall *call,
                                  BerthHostReply *reply, GError **error);

/* Domains */
virDomainPtr berth_virt_own_domain(virConnectPtr connection, const char *fleet, const char *uuid,
                                   GError **error);
BerthStopReason berth_virt_stop_reason(int state_reason);
gboolean berth_virt_domain_list(BerthVirtLine *, const BerthHostCall *, BerthHostReply *,
                                GError **);
gboolean berth_virt_domain_get(BerthVirtLine *, const BerthHostCall *, BerthHostReply *, GError **);
gboolean berth_virt_domain_xml(BerthVirtLine *, const BerthHostCall *, BerthHostReply *, GError **);
gboolean berth_virt_define(BerthVirtLine *, const BerthHostCall *, BerthHostReply *, GError **);
gboolean berth_virt_undefine(BerthVirtLine *, const BerthHostCall *, BerthHostReply *, GError **);
gboolean berth_virt_start(BerthVirtLine *, const BerthHostCall *, BerthHostReply *, GError **);
gboolean berth_virt_shutdown(BerthVirtLine *, const BerthHostCall *, BerthHostReply *, GError **);
gboolean berth_virt_reboot(BerthVirtLine *, const BerthHostCall *, BerthHostReply *, GError **);
gboolean berth_virt_reset(BerthVirtLine *, const BerthHostCall *, BerthHostReply *, GError **);
gboolean berth_virt_destroy(BerthVirtLine *, const BerthHostCall *, BerthHostReply *, GError **);
gboolean berth_virt_suspend(BerthVirtLine *, const BerthHostCall *, BerthHostReply *, GError **);
gboolean berth_virt_resume(BerthVirtLine *, const BerthHostCall *, BerthHostReply *, GError **);

/* Pools and volumes */
char *berth_virt_volume_path(virConnectPtr connection, const char *pool, const char *volume,
                             GError **error);
gboolean berth_virt_pool_ensure(BerthVirtLine *, const BerthHostCall *, BerthHostReply *,
                                GError **);
gboolean berth_virt_volume_list(BerthVirtLine *, const BerthHostCall *, BerthHostReply *,
                                GError **);
gboolean berth_virt_volume_create(BerthVirtLine *, const BerthHostCall *, BerthHostReply *,
                                  GError **);
gboolean berth_virt_volume_upload(BerthVirtLine *, const BerthHostCall *, BerthHostReply *,
                                  GError **);
gboolean berth_virt_volume_delete(BerthVirtLine *, const BerthHostCall *, BerthHostReply *,
                                  GError **);

/* Networks */
gboolean berth_virt_network_ensure(BerthVirtLine *, const BerthHostCall *, BerthHostReply *,
                                   GError **);
gboolean berth_virt_dhcp_reserve(BerthVirtLine *, const BerthHostCall *, BerthHostReply *,
                                 GError **);
gboolean berth_virt_dhcp_release(BerthVirtLine *, const BerthHostCall *, BerthHostReply *,
                                 GError **);

/* Inventory */
gboolean berth_virt_inventory(BerthVirtLine *, const BerthHostCall *, BerthHostReply *, GError **);

/* Streams; main loop */
BerthChannel *berth_virt_channel_open(BerthHost *host, const char *uuid, const char *port,
                                      gboolean force, const BerthChannelWatch *watch,
                                      gpointer user_data);
void berth_virt_lanes_close(BerthVirtHost *host, const GError *why);

/* libvirt's handles free themselves; the macros want typedefs of the structs. */
typedef struct _virDomain BerthVirDomain;
typedef struct _virStoragePool BerthVirPool;
typedef struct _virStorageVol BerthVirVolume;
typedef struct _virNetwork BerthVirNetwork;
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthVirDomain, virDomainFree)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthVirPool, virStoragePoolFree)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthVirVolume, virStorageVolFree)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthVirNetwork, virNetworkFree)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthVirtSession, berth_virt_session_unref)

G_END_DECLS
