/* A host: one libvirt connection target and everything Berth may ask of it.
 *
 * Two layers. A *driver* (host-libvirt, the simulated host's client, the faulty decorator) is a table
 * of blocking functions that run on worker threads: one `perform` for all verbs, so that a decorator
 * wraps them all at once and a simulated host can carry them over a socket. BerthHostRunner
 * (host-runner.h) is the asynchronous face that controllers use: slots, deadlines, stuck calls.
 *
 * Every verb may be repeated: what is already so answers success (define of the same domain, start of
 * a running one, destroy of a stopped one, undefine or delete of an absent one). */
#pragma once

#include "drivers/channel.h"

#include <gio/gio.h>

G_BEGIN_DECLS

/* ---- what a host has ------------------------------------------------------------------------- */

typedef struct {
    guint id;
    guint64 memory_kib;
    guint *cpus; /* owned; host CPU numbers */
    guint cpu_count;
    struct {
        guint size_kib;
        guint64 count;
    } huge_pages[4];
    guint huge_page_kinds;
} BerthCell;

typedef struct {
    char address[16]; /* "0000:01:00.0" */
    char vendor_id[8], product_id[8], class_id[12];
    char *vendor, *product; /* owned; may be NULL */
    int iommu_group;        /* -1: none */
    int numa_cell;          /* -1: unknown */
} BerthPciDevice;

typedef struct {
    char *name;                  /* owned */
    char *bridge;                /* owned; NULL for none */
    char *forward;               /* owned; "nat", "route", "bridge", …; NULL for isolated */
    char *cidr;                  /* owned; "192.168.122.1/24" of the host's side; NULL for none */
    char *dhcp_start, *dhcp_end; /* owned; NULL for no DHCP */
    gboolean active;
} BerthHostNetwork;

typedef struct {
    char *name, *target; /* owned */
    gboolean active;
    guint64 capacity_bytes, available_bytes;
} BerthHostPool;

/* All strings owned; "" is never used for unknown, NULL is. */
typedef struct {
    char *hostname, *uuid, *arch, *cpu_model, *cpu_vendor;
    char *libvirt_version, *hypervisor_version; /* "9.0.0", "7.2.0" */
    guint cpus, sockets, cores, threads, mhz;
    guint64 tsc_khz; /* 0: unknown */
    guint64 memory_kib;
    gboolean claims_kvm; /* libvirt says so; acceleration is proved by a boot, not read */
    char **machine_types;
    /* CPU models that guests can have here, and features of the fullest one; NULL: not known */
    char **kvm_models, **kvm_features, **tcg_models, **tcg_features;
    GPtrArray *cells;    /* of BerthCell* */
    GPtrArray *devices;  /* of BerthPciDevice* */
    GPtrArray *networks; /* of BerthHostNetwork* */
    GPtrArray *pools;    /* of BerthHostPool* */
} BerthInventory;

BerthInventory *berth_inventory_new(void);
void berth_inventory_free(BerthInventory *inventory);
void berth_cell_free(BerthCell *cell);
void berth_pci_device_free(BerthPciDevice *device);
void berth_host_network_free(BerthHostNetwork *network);
void berth_host_pool_free(BerthHostPool *pool);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthCell, berth_cell_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthPciDevice, berth_pci_device_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthHostNetwork, berth_host_network_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthHostPool, berth_host_pool_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthInventory, berth_inventory_free)

/* ---- what runs there ------------------------------------------------------------------------- */

typedef enum {
    BERTH_DOMAIN_SHUTOFF,
    BERTH_DOMAIN_RUNNING,
    BERTH_DOMAIN_PAUSED,
    BERTH_DOMAIN_SHUTTING_DOWN,
    BERTH_DOMAIN_CRASHED,
    BERTH_DOMAIN_SUSPENDED, /* pmsuspended */
    BERTH_DOMAIN_MIGRATING, /* paused for a migration: never resume by itself (failures.md 3.3) */
} BerthDomainState;

/* Why a domain is off, as far as libvirt tells; decides about `power` and restart policy. */
typedef enum {
    BERTH_STOP_UNKNOWN,
    BERTH_STOP_SHUTDOWN,  /* clean power-off from inside, or asked of ACPI */
    BERTH_STOP_DESTROYED, /* virDomainDestroy by somebody */
    BERTH_STOP_CRASHED,
    BERTH_STOP_FAILED, /* could not be started */
    BERTH_STOP_MIGRATED,
    BERTH_STOP_SAVED,
} BerthStopReason;

/* The mark that Berth puts into <metadata>; all strings owned. Absent in foreign domains. */
typedef struct {
    char *fleet, *uid, *kind, *project, *name; /* kind: "Pod" or "VM" */
    gint64 generation;
    char *spec;   /* the object's spec as JSON (secrets only as references) */
    char *labels; /* JSON object */
    guint format; /* version of this element: 1 */
} BerthDomainMark;

typedef struct {
    char *uuid, *name, *title; /* owned; title may be NULL */
    int id;                    /* libvirt's number; -1 when off */
    BerthDomainState state;
    BerthStopReason stop_reason;
    gboolean persistent, autostart;
    guint vcpus, vcpus_max;
    guint64 memory_kib, memory_max_kib;
    guint64 cpu_time_ns, rss_kib; /* 0: unknown */
    char *machine;                /* owned; NULL unknown */
    BerthDomainMark *mark;        /* owned; NULL: foreign */
} BerthDomain;

void berth_domain_free(BerthDomain *domain);
void berth_domain_mark_free(BerthDomainMark *mark);
BerthDomainMark *berth_domain_mark_copy(const BerthDomainMark *mark);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthDomain, berth_domain_free)
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthDomainMark, berth_domain_mark_free)

/* ---- what Berth wants there ------------------------------------------------------------------ */

typedef enum { BERTH_PROFILE_Q35, BERTH_PROFILE_MICROVM } BerthProfile;

typedef struct {
    const char *pool, *volume; /* a volume of a libvirt pool */
    const char *serial;        /* what the guest finds the disk by; at most 20 characters */
    const char *format;        /* "raw" or "qcow2"; always said, never probed */
    gboolean read_only, cdrom;
} BerthDiskPlan;

typedef struct {
    const char *network; /* libvirt network, or NULL */
    const char *bridge;  /* existing bridge, or NULL */
    const char *mac;
} BerthNicPlan;

/**
 * BerthDomainPlan: the typed model that domain-xml.c turns into XML; the only way to make XML.
 * All strings are borrowed and must outlive the call; user text in them is data (escaped once, there).
 */
typedef struct {
    const char *uuid, *name, *title;
    BerthProfile profile;
    gboolean kvm; /* FALSE: TCG */
    guint vcpus;
    guint64 memory_mib;
    const char *cpu_model;    /* that the guest sees; NULL: the most that its host can show */
    const char *cpu_features; /* that it must have, "aes,avx2"; NULL: none in particular */
    const char *cpuset; /* host CPUs that it may use, as libvirt writes them: "0-3,8"; NULL: all */
    const char *pins;   /* host CPU of each vCPU, "4,5,6"; NULL: each may use all of cpuset */
    const char *emulator_cpuset; /* where the rest of QEMU runs; NULL: as cpuset */
    const char *nodeset;         /* NUMA nodes that its memory comes from; NULL: any */
    gboolean interleave;         /* evenly from those of nodeset; FALSE: from nowhere else */
    guint huge_pages_kib;        /* its memory is pages of this size; 0: ordinary ones */
    const char *host_devices;    /* addresses of the host's PCI devices that are its own,
                                 "0000:41:00.0,0000:42:00.0"; NULL: none */
    /* Direct kernel boot, as volumes of a pool; NULL kernel: boot from the first disk. */
    const char *kernel_pool, *kernel_volume, *initrd_volume, *cmdline;
    const BerthDiskPlan *disks;
    gsize disk_count;
    const BerthNicPlan *nics;
    gsize nic_count;
    gboolean link;  /* the guest link's virtio-serial port, name BERTH_LINK_PORT */
    gboolean agent; /* org.qemu.guest_agent.0 */
    gboolean autostart;
    const BerthDomainMark *mark;
} BerthDomainPlan;

#define BERTH_LINK_PORT "berth.link.0"
#define BERTH_METADATA_URI "https://berth.example/domain/1"

/* ---- verbs ----------------------------------------------------------------------------------- */

typedef enum {
    BERTH_HOST_INVENTORY,     /* -> inventory */
    BERTH_HOST_DOMAIN_LIST,   /* -> domains: all of the host, foreign ones too */
    BERTH_HOST_DOMAIN_GET,    /* uuid -> domains[0]; NOT_FOUND */
    BERTH_HOST_DOMAIN_DEFINE, /* plan; INVALID, EXISTS (name or uuid of a domain that is not ours) */
    BERTH_HOST_DOMAIN_START,  /* uuid; NOT_FOUND, EXHAUSTED */
    BERTH_HOST_DOMAIN_SHUTDOWN, /* uuid: asks the guest, does not wait */
    BERTH_HOST_DOMAIN_REBOOT,   /* uuid */
    BERTH_HOST_DOMAIN_RESET,    /* uuid */
    BERTH_HOST_DOMAIN_DESTROY,  /* uuid: off at once */
    BERTH_HOST_DOMAIN_SUSPEND,  /* uuid: pauses the vCPUs */
    BERTH_HOST_DOMAIN_RESUME,   /* uuid */
    BERTH_HOST_DOMAIN_UNDEFINE, /* uuid: also nvram and managed save */
    BERTH_HOST_DOMAIN_XML,      /* uuid -> text */
    BERTH_HOST_POOL_ENSURE,     /* pool, path: a dir pool, defined, built, active, autostarted */
    BERTH_HOST_VOLUME_LIST,     /* pool -> volumes */
    BERTH_HOST_VOLUME_CREATE,   /* pool, volume, format, size, backing; EXISTS when it differs */
    BERTH_HOST_VOLUME_UPLOAD, /* pool, volume, path, size: a local file's bytes into a new volume */
    BERTH_HOST_VOLUME_DELETE, /* pool, volume */
    BERTH_HOST_NETWORK_ENSURE, /* network: start it when inactive; NOT_FOUND */
    BERTH_HOST_DHCP_RESERVE,   /* network, mac, ip, name */
    BERTH_HOST_DHCP_RELEASE,   /* network, mac, ip */
    BERTH_HOST_VERBS
} BerthHostVerb;

/* One call. A plain value: strings borrowed for the call's duration. Unused fields are zero. */
typedef struct {
    BerthHostVerb verb;
    const char *uuid;            /* domain */
    const BerthDomainPlan *plan; /* DEFINE */
    const char *pool, *volume;
    const char *path;    /* POOL_ENSURE: target folder; VOLUME_UPLOAD: local file */
    const char *format;  /* VOLUME_CREATE: "raw" or "qcow2" */
    const char *backing; /* VOLUME_CREATE: volume of the same pool, or NULL */
    const char *backing_format;
    guint64 size; /* bytes: capacity, or bytes to upload */
    const char *network, *mac, *ip, *name;
    /* VOLUME_UPLOAD: told now and then on the worker thread; may be NULL. */
    void (*progress)(guint64 done, guint64 total, gpointer user_data);
    gpointer progress_data;
} BerthHostCall;

typedef struct {
    char *name; /* owned */
    guint64 capacity, allocation;
} BerthVolume;

void berth_volume_free(BerthVolume *volume);

/* What came back; the callee fills in what its verb gives, the caller clears it. */
typedef struct {
    BerthInventory *inventory; /* owned */
    GPtrArray *domains;        /* owned, of BerthDomain* */
    GPtrArray *volumes;        /* owned, of BerthVolume* */
    char *text;                /* owned */
} BerthHostReply;

void berth_host_reply_clear(BerthHostReply *reply);
G_DEFINE_AUTO_CLEANUP_CLEAR_FUNC(BerthHostReply, berth_host_reply_clear)

const char *berth_host_verb_name(BerthHostVerb verb);
BerthHostCall *berth_host_call_copy(const BerthHostCall *call);
void berth_host_call_free(BerthHostCall *call);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthHostCall, berth_host_call_free)

/* ---- the driver's face ----------------------------------------------------------------------- */

typedef enum {
    BERTH_DOMAIN_EVENT_DEFINED,
    BERTH_DOMAIN_EVENT_UNDEFINED,
    BERTH_DOMAIN_EVENT_STARTED,
    BERTH_DOMAIN_EVENT_STOPPED,
    BERTH_DOMAIN_EVENT_OTHER, /* anything else: look again */
} BerthDomainEvent;

/**
 * BerthHostWatch: told on the main loop, never from inside a call of this header.
 * @closed: the connection is gone (keepalive, end of stream); perform() answers UNAVAILABLE until
 *     connect() succeeds again
 * @domain_event: a hint; the truth is the next DOMAIN_LIST or DOMAIN_GET. @reason is for STOPPED
 * @inventory_event: a hint that INVENTORY has another answer: a network came, went, started or stopped
 */
typedef struct {
    void (*closed)(const char *why, gpointer user_data);
    void (*domain_event)(const char *uuid, BerthDomainEvent event, BerthStopReason reason,
                         gpointer user_data);
    void (*inventory_event)(gpointer user_data);
} BerthHostWatch;

typedef struct BerthHost BerthHost;

/**
 * BerthHostOps:
 * @connect: (re)opens the connections; blocks; worker thread. UNAVAILABLE, DENIED, INVALID
 * @perform: does one call; blocks, perhaps for ever; worker threads, several at once
 * @channel_open: main loop; does not block: an error comes later through watch->closed. @port is
 *     BERTH_LINK_PORT, or NULL for the serial console. @force takes it from another opener
 * @abandon: main loop; gives up the present connections without waiting for calls stuck in them;
 *     those return whenever they return. connect() must follow
 * @free: main loop; ends the connections; calls still in flight keep what they need alive
 * @begin: (nullable): for a driver that needs no threads; main loop, instead of connect (@call NULL) and
 *     perform. Does the call in its own time and answers once, never from inside this function; @call stays
 *     until then
 */
typedef void (*BerthHostAnswer)(gboolean done, gpointer user_data);
typedef struct {
    gboolean (*connect)(BerthHost *host, GError **error);
    gboolean (*perform)(BerthHost *host, const BerthHostCall *call, BerthHostReply *reply,
                        GError **error);
    BerthChannel *(*channel_open)(BerthHost *host, const char *uuid, const char *port,
                                  gboolean force, const BerthChannelWatch *watch,
                                  gpointer user_data);
    void (*abandon)(BerthHost *host);
    void (*free)(BerthHost *host);
    void (*begin)(BerthHost *host, const BerthHostCall *call, BerthHostReply *reply, GError **error,
                  BerthHostAnswer answer, gpointer user_data);
} BerthHostOps;

struct BerthHost {
    const BerthHostOps *ops;
};

/* ---- drivers --------------------------------------------------------------------------------- */

/**
 * BerthHostOptions: how a driver is made; strings borrowed during the call.
 * @uri: as in the Host's spec, already validated and rebuilt by the daemon
 * @fleet: the fleet id: only marks that carry it count as Berth's own
 * @data: for the factory; borrowed, outlives the host; NULL unless the factory says otherwise
 */
typedef struct {
    const char *uri;
    const char *fleet;
    gpointer data;
} BerthHostOptions;

typedef BerthHost *(*BerthHostFactory)(const BerthHostOptions *options, const BerthHostWatch *watch,
                                       gpointer user_data, GError **error);

/* qemu:…, through libvirt (host-libvirt.c). */
BerthHost *berth_host_libvirt_new(const BerthHostOptions *options, const BerthHostWatch *watch,
                                  gpointer user_data, GError **error);

G_END_DECLS
