/* The verbs on pools and volumes. Workers only; may block. Start at berth_virt_volume_upload(). */
#include "drivers/host-libvirt-private.h"

#include "base/fd.h"
#include "drivers/capabilities-xml.h"
#include "drivers/xml.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* What libvirt sends as one message of a stream. */
#define UPLOAD_CHUNK (256 * 1024 - 256)
#define PROGRESS_INTERVAL_US (200 * 1000)

/* ---- pools ----------------------------------------------------------------------------------- */

static virStoragePoolPtr
find_pool(virConnectPtr connection, const char *name, GError **error)
{
    virStoragePoolPtr pool = virStoragePoolLookupByName(connection, name != NULL ? name : "");
    if (pool == NULL) {
        if (berth_virt_last_code() == VIR_ERR_NO_STORAGE_POOL) {
            berth_error_set(error, BERTH_ERROR_NOT_FOUND,
                            "there is no storage pool '%s': run 'berth host prepare'", name);
        } else {
            berth_virt_error(error, "can't look for storage pool '%s'", name);
        }
    }
    return pool;
}

static virStoragePoolPtr
define_pool(virConnectPtr connection, const char *name, const char *path, GError **error)
{
    g_autoptr(BerthXml) document = xmlNewDoc((const xmlChar *)"1.0");
    xmlNode *root = xmlNewDocNode(document, NULL, (const xmlChar *)"pool", NULL);
    xmlDocSetRootElement(document, root);
    berth_xml_set(root, "type", "dir");
    berth_xml_add(root, "name", name);
    berth_xml_add(berth_xml_add(root, "target", NULL), "path", path);
    g_autofree char *xml = berth_xml_format(root);
    g_autoptr(BerthVirPool) pool = virStoragePoolDefineXML(connection, xml, 0);
    if (pool == NULL || virStoragePoolBuild(pool, 0) < 0) {
        berth_virt_error(error, "can't make storage pool '%s' in '%s'", name, path);
        if (pool != NULL) {
            virStoragePoolUndefine(pool);
        }
        return NULL;
    }
    return g_steal_pointer(&pool);
}

static gboolean
check_pool_path(virStoragePoolPtr pool, const char *path, GError **error)
{
    char *xml = virStoragePoolGetXMLDesc(pool, 0);
    if (xml == NULL) {
        berth_virt_error(error, "can't read storage pool '%s'", virStoragePoolGetName(pool));
        return FALSE;
    }
    g_autofree char *target = berth_host_pool_parse_target(xml, NULL);
    free(xml);
    if (g_strcmp0(target, path) != 0) {
        berth_error_set(error, BERTH_ERROR_EXISTS,
                        "storage pool '%s' exists in '%s', not in '%s': choose another name",
                        virStoragePoolGetName(pool), target != NULL ? target : "another place",
                        path);
        return FALSE;
    }
    return TRUE;
}

gboolean
berth_virt_pool_ensure(BerthVirtLine *line, const BerthHostCall *call, BerthHostReply *reply,
                       GError **error)
{
    g_autoptr(GError) problem = NULL;
    g_autoptr(BerthVirPool) pool = find_pool(line->connection, call->pool, &problem);
    if (g_error_matches(problem, BERTH_ERROR, BERTH_ERROR_NOT_FOUND)) {
        g_clear_error(&problem);
        pool = define_pool(line->connection, call->pool, call->path, &problem);
    } else if (pool != NULL && !check_pool_path(pool, call->path, error)) {
        return FALSE;
    }
    if (pool == NULL) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return FALSE;
    }
    if (virStoragePoolIsActive(pool) != 1 &&
        virStoragePoolCreate(pool, VIR_STORAGE_POOL_CREATE_WITH_BUILD) < 0 &&
        virStoragePoolIsActive(pool) != 1) {
        berth_virt_error(error, "can't start storage pool '%s'", call->pool);
        return FALSE;
    }
    if (virStoragePoolSetAutostart(pool, 1) < 0) {
        berth_virt_error(error, "can't set autostart of storage pool '%s'", call->pool);
        return FALSE;
    }
    return TRUE;
}

/* ---- volumes --------------------------------------------------------------------------------- */

static virStorageVolPtr
find_volume(virStoragePoolPtr pool, const char *name, GError **error)
{
    virStorageVolPtr volume = virStorageVolLookupByName(pool, name != NULL ? name : "");
    if (volume == NULL) {
        if (berth_virt_last_code() == VIR_ERR_NO_STORAGE_VOL) {
            berth_error_set(error, BERTH_ERROR_NOT_FOUND, "there is no volume '%s' in pool '%s'",
                            name, virStoragePoolGetName(pool));
        } else {
            berth_virt_error(error, "can't look for volume '%s'", name);
        }
    }
    return volume;
}

/* Returns: (transfer full): the volume's path on the host; NOT_FOUND. */
char *
berth_virt_volume_path(virConnectPtr connection, const char *pool_name, const char *name,
                       GError **error)
{
    g_autoptr(BerthVirPool) pool = find_pool(connection, pool_name, error);
    g_autoptr(BerthVirVolume) volume = pool != NULL ? find_volume(pool, name, error) : NULL;
    if (volume == NULL) {
        return NULL;
    }
    char *path = virStorageVolGetPath(volume);
    if (path == NULL) {
        berth_virt_error(error, "can't find the path of volume '%s'", name);
    }
    char *copy = g_strdup(path);
    free(path);
    return copy;
}

gboolean
berth_virt_volume_list(BerthVirtLine *line, const BerthHostCall *call, BerthHostReply *reply,
                       GError **error)
{
    g_autoptr(BerthVirPool) pool = find_pool(line->connection, call->pool, error);
    if (pool == NULL) {
        return FALSE;
    }
    virStoragePoolRefresh(pool,
                          0); /* refused while something is uploaded; the list is good then too */
    virStorageVolPtr *volumes = NULL;
    int count = virStoragePoolListAllVolumes(pool, &volumes, 0);
    if (count < 0) {
        berth_virt_error(error, "can't list the volumes of pool '%s'", call->pool);
        return FALSE;
    }
    reply->volumes = g_ptr_array_new_full((guint)count, (GDestroyNotify)berth_volume_free);
    for (int i = 0; i < count; i++) {
        virStorageVolInfo info;
        if (virStorageVolGetInfo(volumes[i], &info) == 0) {
            BerthVolume *volume = g_new(BerthVolume, 1);
            *volume = (BerthVolume){
                .name = g_strdup(virStorageVolGetName(volumes[i])),
                .capacity = info.capacity,
                .allocation = info.allocation,
            };
            g_ptr_array_add(reply->volumes, volume);
        }
        virStorageVolFree(volumes[i]);
    }
    free(volumes);
    return TRUE;
}

typedef struct {
    const char *name, *format, *backing_path, *backing_format;
    guint64 capacity;
} VolumePlan;

static char *
format_volume(const VolumePlan *plan)
{
    g_autoptr(BerthXml) document = xmlNewDoc((const xmlChar *)"1.0");
    xmlNode *root = xmlNewDocNode(document, NULL, (const xmlChar *)"volume", NULL);
    xmlDocSetRootElement(document, root);
    g_autofree char *capacity = g_strdup_printf("%" G_GUINT64_FORMAT, plan->capacity);
    berth_xml_add(root, "name", plan->name);
    berth_xml_add(root, "capacity", capacity);
    berth_xml_add(root, "allocation", "0");
    berth_xml_set(berth_xml_add(berth_xml_add(root, "target", NULL), "format", NULL), "type",
                  plan->format);
    if (plan->backing_path != NULL) {
        xmlNode *backing = berth_xml_add(root, "backingStore", NULL);
        berth_xml_add(backing, "path", plan->backing_path);
        berth_xml_set(berth_xml_add(backing, "format", NULL), "type", plan->backing_format);
    }
    return berth_xml_format(root);
}

static gboolean
is_disk_format(const char *format)
{
    return g_strcmp0(format, "raw") == 0 || g_strcmp0(format, "qcow2") == 0;
}

static gboolean
check_same(virStorageVolPtr volume, const BerthHostCall *call, GError **error)
{
    virStorageVolInfo info;
    if (virStorageVolGetInfo(volume, &info) < 0) {
        berth_virt_error(error, "can't read volume '%s'", call->volume);
        return FALSE;
    }
    char *xml = virStorageVolGetXMLDesc(volume, 0);
    g_autoptr(BerthXml) document = xml != NULL ? berth_xml_parse(xml, "volume", NULL) : NULL;
    free(xml);
    const xmlNode *format =
        document != NULL ? berth_xml_find(xmlDocGetRootElement(document), "target/format") : NULL;
    if (info.capacity != call->size || !berth_xml_attribute_is(format, "type", call->format)) {
        berth_error_set(error, BERTH_ERROR_EXISTS,
                        "volume '%s' exists in pool '%s' with another size or format", call->volume,
                        call->pool);
        return FALSE;
    }
    return TRUE;
}

static virStorageVolPtr
create_volume(virStoragePoolPtr pool, const VolumePlan *plan, GError **error)
{
    g_autofree char *xml = format_volume(plan);
    virStorageVolPtr volume = virStorageVolCreateXML(pool, xml, 0);
    if (volume == NULL) {
        berth_virt_error(error, "can't make volume '%s' in pool '%s'", plan->name,
                         virStoragePoolGetName(pool));
    }
    return volume;
}

gboolean
berth_virt_volume_create(BerthVirtLine *line, const BerthHostCall *call, BerthHostReply *reply,
                         GError **error)
{
    if (!is_disk_format(call->format) ||
        (call->backing != NULL && !is_disk_format(call->backing_format))) {
        berth_error_set(error, BERTH_ERROR_INVALID,
                        "volume '%s': the formats of a volume and its backing are raw or qcow2",
                        call->volume);
        return FALSE;
    }
    g_autoptr(BerthVirPool) pool = find_pool(line->connection, call->pool, error);
    if (pool == NULL) {
        return FALSE;
    }
    g_autoptr(BerthVirVolume) existing = virStorageVolLookupByName(pool, call->volume);
    if (existing != NULL) {
        return check_same(existing, call, error);
    }
    g_autofree char *backing = NULL;
    if (call->backing != NULL) {
        backing = berth_virt_volume_path(line->connection, call->pool, call->backing, error);
        if (backing == NULL) {
            return FALSE;
        }
    }
    const VolumePlan plan = {call->volume, call->format, backing, call->backing_format, call->size};
    g_autoptr(BerthVirVolume) volume = create_volume(pool, &plan, error);
    return volume != NULL;
}

gboolean
berth_virt_volume_delete(BerthVirtLine *line, const BerthHostCall *call, BerthHostReply *reply,
                         GError **error)
{
    g_autoptr(BerthVirPool) pool = find_pool(line->connection, call->pool, error);
    if (pool == NULL) {
        return FALSE;
    }
    g_autoptr(GError) problem = NULL;
    g_autoptr(BerthVirVolume) volume = find_volume(pool, call->volume, &problem);
    if (g_error_matches(problem, BERTH_ERROR, BERTH_ERROR_NOT_FOUND)) {
        return TRUE;
    }
    if (volume == NULL) {
        g_propagate_error(error, g_steal_pointer(&problem));
        return FALSE;
    }
    if (virStorageVolDelete(volume, 0) < 0 && berth_virt_last_code() != VIR_ERR_NO_STORAGE_VOL) {
        berth_virt_error(error, "can't delete volume '%s'", call->volume);
        return FALSE;
    }
    return TRUE;
}

/* ---- upload ---------------------------------------------------------------------------------- */

static gboolean
send_all(virStreamPtr stream, const char *data, gsize size, GError **error)
{
    for (gsize sent = 0; sent < size;) {
        int part = virStreamSend(stream, data + sent, size - sent);
        if (part < 0) {
            berth_virt_error(error, "the upload broke");
            return FALSE;
        }
        sent += (gsize)part;
    }
    return TRUE;
}

static void
tell_progress(const BerthHostCall *call, guint64 done, gint64 *next_us)
{
    gint64 now_us = g_get_monotonic_time();
    if (call->progress != NULL && (now_us >= *next_us || done == call->size)) {
        call->progress(done, call->size, call->progress_data);
        *next_us = now_us + PROGRESS_INTERVAL_US;
    }
}

/* Sends exactly @call->size bytes, or fails. */
static gboolean
send_file(virStreamPtr stream, int fd, const BerthHostCall *call, GError **error)
{
    g_autofree char *buffer = g_malloc(UPLOAD_CHUNK);
    gint64 next_us = 0;
    guint64 done = 0;
    while (done < call->size) {
        gssize got = read(fd, buffer, MIN(UPLOAD_CHUNK, call->size - done));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            berth_error_set_errno(error, errno, "can't read '%s'", call->path);
            return FALSE;
        }
        if (got == 0) {
            berth_error_set(error, BERTH_ERROR_CORRUPT,
                            "'%s' ends after %" G_GUINT64_FORMAT " of %" G_GUINT64_FORMAT " bytes",
                            call->path, done, call->size);
            return FALSE;
        }
        if (!send_all(stream, buffer, (gsize)got, error)) {
            return FALSE;
        }
        done += (guint64)got;
        tell_progress(call, done, &next_us);
    }
    return TRUE;
}

static gboolean
upload_into(virConnectPtr connection, virStorageVolPtr volume, int fd, const BerthHostCall *call,
            GError **error)
{
    virStreamPtr stream = virStreamNew(connection, 0);
    if (stream == NULL || virStorageVolUpload(volume, stream, 0, call->size, 0) < 0) {
        berth_virt_error(error, "can't upload to volume '%s'", call->volume);
        if (stream != NULL) {
            virStreamFree(stream);
        }
        return FALSE;
    }
    gboolean done = send_file(stream, fd, call, error);
    if (!done) {
        virStreamAbort(stream);
    } else if (virStreamFinish(stream) < 0) {
        berth_virt_error(error, "can't finish the upload to volume '%s'", call->volume);
        done = FALSE;
    }
    virStreamFree(stream);
    return done;
}

/* By the size of the file: the capacity of a qcow2 file is that of the disk in it, as soon as libvirt has
 * looked into the file, which it does when the pool is refreshed. */
static gboolean
check_uploaded(virStorageVolPtr volume, const BerthHostCall *call, GError **error)
{
    virStorageVolInfo info;
    if (virStorageVolGetInfoFlags(volume, &info, VIR_STORAGE_VOL_GET_PHYSICAL) < 0) {
        berth_virt_error(error, "can't check volume '%s'", call->volume);
        return FALSE;
    }
    guint64 size = info.allocation;
    if (size != call->size) {
        berth_error_set(error, BERTH_ERROR_CORRUPT,
                        "volume '%s' has %" G_GUINT64_FORMAT
                        " bytes after the upload, not %" G_GUINT64_FORMAT,
                        call->volume, size, call->size);
        return FALSE;
    }
    return TRUE;
}

static gboolean
open_source(const BerthHostCall *call, BerthFd *fd, GError **error)
{
    struct stat status;
    *fd = open(call->path, O_RDONLY | O_CLOEXEC);
    if (*fd < 0 || fstat(*fd, &status) < 0) {
        berth_error_set_errno(error, errno, "can't open '%s'", call->path);
        return FALSE;
    }
    if (!S_ISREG(status.st_mode) || (guint64)status.st_size != call->size) {
        berth_error_set(error, BERTH_ERROR_CORRUPT,
                        "'%s' has %" G_GINT64_FORMAT " bytes, not %" G_GUINT64_FORMAT, call->path,
                        (gint64)status.st_size, call->size);
        return FALSE;
    }
    return TRUE;
}

/* An upload that breaks leaves nothing: what it made is deleted again. A volume that was there is
 * written once more, since nobody can tell how far an earlier attempt came. */
gboolean
berth_virt_volume_upload(BerthVirtLine *line, const BerthHostCall *call, BerthHostReply *reply,
                         GError **error)
{
    g_auto(BerthFd) fd = -1;
    if (!open_source(call, &fd, error)) {
        return FALSE;
    }
    g_autoptr(BerthVirPool) pool = find_pool(line->connection, call->pool, error);
    if (pool == NULL) {
        return FALSE;
    }
    g_autoptr(BerthVirVolume) volume = virStorageVolLookupByName(pool, call->volume);
    if (volume == NULL) {
        const VolumePlan plan = {.name = call->volume, .format = "raw", .capacity = call->size};
        volume = create_volume(pool, &plan, error);
        if (volume == NULL) {
            return FALSE;
        }
    }
    if (upload_into(line->connection, volume, fd, call, error) &&
        check_uploaded(volume, call, error)) {
        return TRUE;
    }
    virStorageVolDelete(volume, 0);
    return FALSE;
}
