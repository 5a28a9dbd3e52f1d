/* The bare side of `berth-bench logs`: a domain like the pod's, whose PID 1 does nothing but write to the
 * port, read through virDomainOpenChannel by nothing but a loop. What libvirt's channel can carry here.
 *
 * Main loop. Start reading at bench_channel_run(). */
#include "tests/bench/bench.h"

#include "base/error.h"
#include "drivers/libvirt-events.h"
#include "drivers/xml.h"

#include <libvirt/libvirt.h>
#include <libvirt/virterror.h>
#include <string.h>
#include <sys/stat.h>

#define PORT "berth.link.0"
#define CHUNK (64 * 1024)

struct BenchChannel {
    char *uri, *xml; /* owned */
};

void
bench_channel_free(BenchChannel *channel)
{
    if (channel == NULL) {
        return;
    }
    g_free(channel->uri);
    g_free(channel->xml);
    g_free(channel);
}

static void
set_virt_error(GError **error, const char *what)
{
    berth_error_set(error, BERTH_ERROR_UNAVAILABLE, "%s: %s", what, virGetLastErrorMessage());
}

/* ---- its initramfs ---- */

static void
append_padded(GByteArray *archive, const void *data, gsize size)
{
    static const guint8 zeros[4];
    g_byte_array_append(archive, data, (guint)size);
    g_byte_array_append(archive, zeros, (guint)(-archive->len & 3));
}

/* One entry of a cpio archive in the "newc" form, see Documentation/driver-api/early-userspace. */
static void
append_entry(GByteArray *archive, const char *name, guint mode, const void *data, gsize size)
{
    g_autofree char *head =
        g_strdup_printf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s", 1, mode, 0,
                        0, 1, 0, (guint)size, 0, 0, 0, 0, (guint)strlen(name) + 1, 0, name);
    append_padded(archive, head, strlen(head) + 1);
    append_padded(archive, data, size);
}

/* The pod's initramfs with another /init behind it: the kernel takes the last one. */
static char *
make_initramfs(BenchRig *rig, GError **error)
{
    g_autofree char *os = g_build_filename(rig->build, "guest-os", "initramfs", NULL);
    g_autofree char *program = g_build_filename(rig->build, "berth-bench-flood", NULL);
    g_autofree char *target = g_build_filename(rig->folder, "flood.initramfs", NULL);
    g_autofree char *text = NULL, *init = NULL;
    gsize size, init_size;
    if (!g_file_get_contents(os, &text, &size, error) ||
        !g_file_get_contents(program, &init, &init_size, error)) {
        return NULL;
    }
    g_autoptr(GByteArray) archive = g_byte_array_new();
    append_padded(archive, text, size);
    append_entry(archive, "init", S_IFREG | 0755, init, init_size);
    append_entry(archive, "TRAILER!!!", 0, NULL, 0);
    if (!g_file_set_contents_full(target, (const char *)archive->data, archive->len,
                                  G_FILE_SET_CONTENTS_NONE, 0644, error)) {
        return NULL;
    }
    return g_steal_pointer(&target);
}

/* ---- its domain ---- */

static void
replace_child(xmlNode *parent, const char *name, const char *text)
{
    xmlNode *old = berth_xml_find(parent, name);
    if (old != NULL) {
        xmlUnlinkNode(old);
        xmlFreeNode(old);
    }
    if (text != NULL) {
        berth_xml_add(parent, name, text);
    }
}

/* The pod's domain under another name, which is not Berth's. */
static char *
rewrite(const char *pod, const char *initramfs, GError **error)
{
    g_autoptr(BerthXml) xml = berth_xml_parse(pod, "domain", error);
    if (xml == NULL) {
        return NULL;
    }
    xmlNode *domain = xmlDocGetRootElement(xml), *devices = berth_xml_find(domain, "devices");
    g_autofree char *uuid = g_uuid_string_random();
    replace_child(domain, "name", "berth-bench-flood");
    replace_child(domain, "uuid", uuid);
    replace_child(domain, "title", NULL);
    replace_child(domain, "metadata", NULL);
    replace_child(berth_xml_find(domain, "os"), "initrd", initramfs);
    xmlNode *channel = devices != NULL ? berth_xml_child(devices, "channel") : NULL;
    if (channel != NULL) {
        replace_child(channel, "source", NULL); /* libvirt makes a path for each domain */
    }
    return berth_xml_format(domain);
}

/**
 * bench_channel_new:
 * @uri: of the host that runs the pod
 * @uuid: of the pod's domain
 *
 * Learns how the pod's domain is made; the pod may go afterwards. Returns: (transfer full).
 */
BenchChannel *
bench_channel_new(BenchRig *rig, const char *uri, const char *uuid, GError **error)
{
    berth_libvirt_events_register();
    g_autofree char *initramfs = make_initramfs(rig, error);
    if (initramfs == NULL) {
        return NULL;
    }
    g_autoptr(BenchChannel) channel = g_new0(BenchChannel, 1);
    channel->uri = g_strdup(uri);
    virConnectPtr connection = virConnectOpen(uri);
    virDomainPtr pod = connection != NULL ? virDomainLookupByUUIDString(connection, uuid) : NULL;
    char *text = pod != NULL ? virDomainGetXMLDesc(pod, VIR_DOMAIN_XML_INACTIVE) : NULL;
    if (text == NULL) {
        set_virt_error(error, "can't read the pod's domain");
    } else {
        channel->xml = rewrite(text, initramfs, error);
    }
    free(text);
    if (pod != NULL) {
        virDomainFree(pod);
    }
    if (connection != NULL) {
        virConnectClose(connection);
    }
    return channel->xml != NULL ? g_steal_pointer(&channel) : NULL;
}

/* ---- one flood ---- */

typedef struct {
    guint64 wanted, came;
    gint64 first_us, last_us; /* of the bytes */
    gboolean broken, late;
} Flood;

static void
on_readable(virStreamPtr stream, int events, void *user_data)
{
    Flood *flood = user_data;
    static char data[CHUNK];
    int got = 0;
    while (flood->came < flood->wanted && (got = virStreamRecv(stream, data, sizeof data)) > 0) {
        flood->last_us = g_get_monotonic_time();
        flood->first_us = flood->first_us == 0 ? flood->last_us : flood->first_us;
        flood->came += (guint64)got;
    }
    flood->broken = flood->came < flood->wanted && got != -2;
}

static gboolean
on_late(gpointer user_data)
{
    ((Flood *)user_data)->late = TRUE;
    return G_SOURCE_CONTINUE;
}

static void
receive(virDomainPtr domain, virStreamPtr stream, Flood *flood)
{
    if (virDomainOpenChannel(domain, PORT, stream, 0) < 0 ||
        virStreamEventAddCallback(stream, VIR_STREAM_EVENT_READABLE, on_readable, flood, NULL) <
            0) {
        flood->broken = TRUE;
        return;
    }
    guint timer = g_timeout_add_seconds(BENCH_FLOOD_S, on_late, flood);
    while (flood->came < flood->wanted && !flood->broken && !flood->late && !bench_is_over()) {
        g_main_context_iteration(NULL, TRUE);
    }
    g_source_remove(timer);
    virStreamEventRemoveCallback(stream);
    virStreamAbort(stream);
}

/** Boots the domain and takes @bytes from its port. Returns: MB/s from the first of them; 0 with @error.
 * The connection is opened anew: between rounds nobody would answer libvirtd's keepalive. */
double
bench_channel_run(BenchChannel *channel, guint64 bytes, GError **error)
{
    Flood flood = {.wanted = bytes};
    virConnectPtr connection = virConnectOpen(channel->uri);
    virDomainPtr domain = connection == NULL ? NULL
                                             : virDomainCreateXML(connection, channel->xml,
                                                                  VIR_DOMAIN_START_AUTODESTROY);
    virStreamPtr stream = domain != NULL ? virStreamNew(connection, VIR_STREAM_NONBLOCK) : NULL;
    if (stream != NULL) {
        receive(domain, stream, &flood);
    }
    if (domain == NULL || stream == NULL || flood.broken) {
        set_virt_error(error, "the bare channel broke");
    } else if (flood.came < bytes) {
        berth_error_set(error, BERTH_ERROR_TIMEOUT,
                        "the bare channel carried %" G_GUINT64_FORMAT " bytes in %d s", flood.came,
                        BENCH_FLOOD_S);
    }
    if (stream != NULL) {
        virStreamFree(stream);
    }
    if (domain != NULL) {
        virDomainDestroy(domain);
        virDomainFree(domain);
    }
    if (connection != NULL) {
        virConnectClose(connection);
    }
    return flood.came < bytes ? 0 : (double)bytes / (double)(flood.last_us - flood.first_us);
}
