/* The world of the simulated hosts: machines with domains, pools and networks, and who looks at them. */
#pragma once

#include "drivers/host.h"
#include "tests/simhost/guest.h"

G_BEGIN_DECLS

/* A machine's size; machines called h1, h2, … take the given sizes in turn. */
typedef struct {
    guint vcpus, cells, gpus;
    guint64 memory_mib;
    guint huge_pages; /* of 2 MiB, in each cell */
} SimSize;

typedef struct {
    GArray *sizes; /* of SimSize; never empty */
    guint64 pool_mib;
    guint boot_ms;
} SimSettings;

typedef struct SimMachine SimMachine;

typedef struct SimPeer SimPeer;

/* How a machine talks to a client: over a socket (simhost.c), or within one process (tests/simulation). */
typedef struct {
    void (*event)(SimPeer *peer, const char *uuid, BerthDomainEvent event, BerthStopReason reason);
    void (*data)(SimPeer *peer, guint32 channel, const guint8 *data, gsize size);
    void (*closed)(SimPeer *peer, guint32 channel, const GError *error);
    gsize (*queued)(SimPeer *peer); /* bytes that the client has not taken */
} SimPeerOps;

/* A client's connection: one machine as one fleet. */
struct SimPeer {
    const SimPeerOps *ops;
    SimMachine *machine; /* borrowed; NULL before "hello" */
    char *fleet;         /* owned */
    GHashTable *openers; /* channel number -> SimOpener*, owned */
};

typedef struct SimDomain SimDomain;

/* A channel that a peer has open, or had until the domain ended it. */
typedef struct {
    SimPeer *peer; /* borrowed, outlives it */
    guint32 number;
    SimDomain *domain; /* NULL: ended */
    gboolean is_console;
} SimOpener;

struct SimDomain {
    SimMachine *machine;       /* borrowed */
    BerthHostCall *definition; /* owned; its plan is the domain's */
    BerthDomainState state;
    BerthStopReason stop_reason;
    int id;
    guint later;               /* source: what happens to it next by itself */
    SimGuest *guest;           /* owned; NULL: off, or no guest of ours inside */
    SimOpener *link, *console; /* borrowed; NULL: not open */
};

typedef struct {
    char *name, *format; /* owned */
    guint64 capacity, written;
} SimVolume;

typedef struct {
    char *name, *target; /* owned */
    GHashTable *volumes; /* name -> SimVolume* */
} SimPool;

typedef struct {
    char *mac, *ip; /* owned */
} SimReservation;

typedef struct {
    char *name;
    gboolean is_active;
    GPtrArray *reservations; /* of SimReservation* */
} SimNetwork;

struct SimMachine {
    char *name, *uuid; /* owned */
    SimSize size;
    const SimSettings *settings; /* borrowed */
    GHashTable *domains;         /* uuid -> SimDomain* */
    GHashTable *pools;           /* name -> SimPool* */
    GHashTable *networks;        /* name -> SimNetwork* */
    GPtrArray *peers;            /* of SimPeer*, borrowed */
    int next_id;
};

SimMachine *sim_machine_new(const char *name, const SimSettings *settings);
void sim_machine_free(SimMachine *machine);
gboolean sim_machine_perform(SimPeer *peer, const BerthHostCall *call, BerthHostReply *reply,
                             GError **error);
gboolean sim_machine_upload_chunk(SimPeer *peer, const char *pool, const char *volume, guint64 size,
                                  GError **error);

/* domain.c */
SimDomain *sim_domain_find_own(SimPeer *peer, const char *uuid, GError **error);
gboolean sim_domain_define(SimPeer *peer, const BerthHostCall *call, GError **error);
void sim_domain_start(SimDomain *domain);
void sim_domain_stop(SimDomain *domain, BerthStopReason reason);
void sim_domain_restart(SimDomain *domain);
void sim_domain_press_button(SimDomain *domain);
void sim_domain_free(SimDomain *domain);
BerthDomain *sim_domain_describe(const SimDomain *domain);
char *sim_domain_xml(const SimDomain *domain, GError **error);
void sim_domain_tell(const SimDomain *domain, BerthDomainEvent event, BerthStopReason reason);
gboolean sim_domain_is_active(const SimDomain *domain);

/* Channels; domain.c */
gboolean sim_opener_open(SimOpener *opener, const char *uuid, gboolean force, GError **error);
void sim_opener_receive(SimOpener *opener, const guint8 *data, gsize size);
void sim_opener_detach(SimOpener *opener);
void sim_opener_free(gpointer opener);

G_END_DECLS
