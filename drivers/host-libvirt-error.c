/* libvirt's errors as Berth's: the code by what the caller can do, libvirt's text kept. libvirt holds
 * the last error per thread. Any thread. */
#include "drivers/host-libvirt-private.h"

#include <string.h>

static BerthErrorCode
code_of(const virError *reason)
{
    switch ((virErrorNumber)reason->code) {
    case VIR_ERR_NO_DOMAIN:
    case VIR_ERR_NO_NETWORK:
    case VIR_ERR_NO_STORAGE_POOL:
    case VIR_ERR_NO_STORAGE_VOL:
    case VIR_ERR_NO_NODE_DEVICE:
        return BERTH_ERROR_NOT_FOUND;
    case VIR_ERR_DOM_EXIST:
    case VIR_ERR_NETWORK_EXIST:
    case VIR_ERR_STORAGE_VOL_EXIST:
        return BERTH_ERROR_EXISTS;
    case VIR_ERR_XML_ERROR:
    case VIR_ERR_XML_DETAIL:
    case VIR_ERR_XML_INVALID_SCHEMA:
    case VIR_ERR_INVALID_ARG:
    case VIR_ERR_CONFIG_UNSUPPORTED:
    case VIR_ERR_ARGUMENT_UNSUPPORTED:
    case VIR_ERR_NO_SUPPORT:
        return BERTH_ERROR_INVALID;
    case VIR_ERR_AUTH_FAILED:
    case VIR_ERR_AUTH_CANCELLED:
    case VIR_ERR_AUTH_UNAVAILABLE:
    case VIR_ERR_ACCESS_DENIED:
    case VIR_ERR_OPERATION_DENIED:
        return BERTH_ERROR_DENIED;
    case VIR_ERR_NO_MEMORY:
        return BERTH_ERROR_EXHAUSTED;
    case VIR_ERR_OPERATION_TIMEOUT:
    case VIR_ERR_AGENT_UNRESPONSIVE:
        return BERTH_ERROR_TIMEOUT;
    case VIR_ERR_NO_CONNECT:
    case VIR_ERR_INVALID_CONN:
    case VIR_ERR_RPC:
        return BERTH_ERROR_UNAVAILABLE;
    case VIR_ERR_OPERATION_INVALID:
    case VIR_ERR_RESOURCE_BUSY:
        return BERTH_ERROR_CONFLICT;
    default:
        return BERTH_ERROR_INTERNAL;
    }
}

/* Where libvirt has no code of its own, where the error comes from and what QEMU said decide. */
static BerthErrorCode
code_of_details(const virError *reason)
{
    BerthErrorCode code = code_of(reason);
    if (code != BERTH_ERROR_INTERNAL) {
        return code;
    }
    if (reason->domain == VIR_FROM_RPC || reason->domain == VIR_FROM_REMOTE) {
        return BERTH_ERROR_UNAVAILABLE;
    }
    const char *text = reason->message != NULL ? reason->message : "";
    if (strstr(text, "Cannot allocate memory") != NULL ||
        strstr(text, "No space left on device") != NULL) {
        return BERTH_ERROR_EXHAUSTED;
    }
    return code;
}

/* See berth_virt_error(). @reason: (transfer full) (nullable): from virSaveLastError(). */
void
berth_virt_error_take(virErrorPtr reason, GError **error, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    g_autofree char *what = g_strdup_vprintf(format, args);
    va_end(args);
    if (reason == NULL || reason->code == VIR_ERR_OK) {
        berth_error_set(error, BERTH_ERROR_INTERNAL, "%s: libvirt gives no reason", what);
    } else {
        g_autofree char *text = g_strdup(reason->message != NULL ? reason->message : "");
        g_strdelimit(g_strstrip(text), "\r\n", ' ');
        g_autofree char *shown = g_utf8_make_valid(text, -1);
        berth_error_set(error, code_of_details(reason), "%s: %s", what, shown);
    }
    virFreeError(reason);
}

/* Returns: libvirt's code of this thread's last error. */
int
berth_virt_last_code(void)
{
    return virGetLastErrorCode();
}
