/* Addresses and routes through rtnetlink; cards are found by their MAC. Every request is acknowledged by
 * the kernel at once, so nothing here waits. */
#include "guest/net.h"

#include "guest/file.h"
#include "guest/mount.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

typedef struct {
    struct nlmsghdr head;
    char body[256];
} Request;

typedef struct {
    int family;
    unsigned size, prefix;
    uint8_t bytes[16];
} Address;

static void
add_attribute(Request *request, unsigned short type, const void *data, size_t size)
{
    struct rtattr *attribute =
        (struct rtattr *)((char *)request + NLMSG_ALIGN(request->head.nlmsg_len));
    attribute->rta_type = type;
    attribute->rta_len = (unsigned short)RTA_LENGTH(size);
    memcpy(RTA_DATA(attribute), data, size);
    request->head.nlmsg_len =
        (uint32_t)(NLMSG_ALIGN(request->head.nlmsg_len) + RTA_ALIGN(attribute->rta_len));
}

static void
begin(Request *request, unsigned short type, unsigned short flags, const void *body, size_t size)
{
    memset(request, 0, sizeof *request);
    request->head.nlmsg_len = (uint32_t)NLMSG_LENGTH(size);
    request->head.nlmsg_type = type;
    request->head.nlmsg_flags = (unsigned short)(NLM_F_REQUEST | NLM_F_ACK | flags);
    memcpy(NLMSG_DATA(&request->head), body, size);
}

static int
perform(const Request *request)
{
    struct {
        struct nlmsghdr head;
        struct nlmsgerr error;
        char rest[512];
    } answer = {0};
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0) {
        return -errno;
    }
    int result = 0;
    if (send(fd, request, request->head.nlmsg_len, 0) < 0 ||
        recv(fd, &answer, sizeof answer, 0) < 0) {
        result = -errno;
    } else if (answer.head.nlmsg_type == NLMSG_ERROR) {
        result = answer.error.error;
    }
    close(fd);
    return result == -EEXIST ? 0 : result;
}

static int
set_up(int index)
{
    Request request;
    struct ifinfomsg link = {.ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
    begin(&request, RTM_NEWLINK, 0, &link, sizeof link);
    return perform(&request);
}

/** Returns: 0 or -errno. */
int
net_bring_up_loopback(void)
{
    return set_up(1);
}

static int
parse_address(const char *text, Address *address)
{
    char plain[64];
    const char *slash = strchr(text, '/');
    size_t length = slash == NULL ? strlen(text) : (size_t)(slash - text);
    if (length >= sizeof plain) {
        return -EINVAL;
    }
    memcpy(plain, text, length);
    plain[length] = '\0';
    bool is_v6 = strchr(plain, ':') != NULL;
    address->family = is_v6 ? AF_INET6 : AF_INET;
    address->size = is_v6 ? 16 : 4;
    address->prefix = slash == NULL ? address->size * 8 : (unsigned)strtoul(slash + 1, NULL, 10);
    return inet_pton(address->family, plain, address->bytes) == 1 &&
                   address->prefix <= address->size * 8
               ? 0
               : -EINVAL;
}

static int
add_address(int index, const Address *address)
{
    Request request;
    struct ifaddrmsg body = {
        .ifa_family = (uint8_t)address->family,
        .ifa_prefixlen = (uint8_t)address->prefix,
        .ifa_flags = IFA_F_NODAD, /* the daemon gave it to nobody else */
        .ifa_index = (uint32_t)index,
    };
    begin(&request, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &body, sizeof body);
    add_attribute(&request, IFA_LOCAL, address->bytes, address->size);
    add_attribute(&request, IFA_ADDRESS, address->bytes, address->size);
    return perform(&request);
}

static int
add_default_route(int index, const Address *gateway)
{
    Request request;
    struct rtmsg body = {
        .rtm_family = (uint8_t)gateway->family,
        .rtm_table = RT_TABLE_MAIN,
        .rtm_protocol = RTPROT_STATIC,
        .rtm_scope = RT_SCOPE_UNIVERSE,
        .rtm_type = RTN_UNICAST,
    };
    begin(&request, RTM_NEWROUTE, NLM_F_CREATE, &body, sizeof body);
    add_attribute(&request, RTA_GATEWAY, gateway->bytes, gateway->size);
    add_attribute(&request, RTA_OIF, &index, sizeof index);
    return perform(&request);
}

static int
find_card(const char *mac)
{
    DIR *dir = opendir("/sys/class/net");
    struct dirent *entry;
    int index = -ENODEV;
    while (dir != NULL && index < 0 && (entry = readdir(dir)) != NULL) {
        char path[320], address[64];
        snprintf(path, sizeof path, "/sys/class/net/%s/address", entry->d_name);
        if (entry->d_name[0] == '.' || file_read(AT_FDCWD, path, address, sizeof address) <= 0) {
            continue;
        }
        address[strcspn(address, "\n")] = '\0';
        if (strcasecmp(address, mac) == 0) {
            index = (int)if_nametoindex(entry->d_name);
        }
    }
    if (dir != NULL) {
        closedir(dir);
    }
    return index;
}

static int
configure_card(const BerthPodNic *nic)
{
    Address address, gateway;
    int index = find_card(nic->mac);
    int result = index < 0 ? index : set_up(index);
    if (result == 0 && nic->address[0] != '\0') {
        result = parse_address(nic->address, &address);
        result = result == 0 ? add_address(index, &address) : result;
    }
    if (result == 0 && nic->gateway[0] != '\0') {
        result = parse_address(nic->gateway, &gateway);
        result = result == 0 ? add_default_route(index, &gateway) : result;
    }
    return result;
}

static int
write_resolver(const BerthPod *pod)
{
    char text[8 * 64 + 8 * 256 + 64] = "";
    size_t used = 0;
    for (unsigned i = 0; i < pod->dns_count; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used, "nameserver %s\n", pod->dns[i]);
    }
    for (unsigned i = 0; i < pod->search_count; i++) {
        used += (size_t)snprintf(text + used, sizeof text - used, "%s %s%s", i == 0 ? "search" : "",
                                 pod->search[i], i + 1 == pod->search_count ? "\n" : "");
    }
    return file_write(RUN_FOLDER "/etc/resolv.conf", text);
}

static int
write_hosts(const BerthPod *pod)
{
    char own[256] = "";
    size_t length = strcspn(pod->nics[0].address, "/");
    if (pod->nic_count > 0 && length > 0) {
        snprintf(own, sizeof own, "%.*s\t%s\n", (int)length, pod->nics[0].address, pod->hostname);
    } else {
        snprintf(own, sizeof own, "127.0.1.1\t%s\n", pod->hostname);
    }
    const char *more = pod->hosts == NULL ? "" : pod->hosts;
    size_t size = sizeof own + strlen(more) + 128;
    char *text = malloc(size);
    if (text == NULL) {
        return -ENOMEM;
    }
    snprintf(text, size, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost\n%s%s", own, more);
    int result = file_write(RUN_FOLDER "/etc/hosts", text);
    free(text);
    return result;
}

/** Sets host name, cards and names. Returns: 0, or -errno with a line in @text. */
int
net_configure(const BerthPod *pod, char *text, size_t size)
{
    char line[80];
    snprintf(line, sizeof line, "%s\n", pod->hostname);
    sethostname(pod->hostname, strlen(pod->hostname));
    int result = file_write(RUN_FOLDER "/etc/hostname", line);
    result = result == 0 ? write_resolver(pod) : result;
    result = result == 0 ? write_hosts(pod) : result;
    if (result < 0) {
        snprintf(text, size, "can't write the pod's names: %s", strerror(-result));
    }
    for (unsigned i = 0; i < pod->nic_count && result == 0; i++) {
        result = configure_card(&pod->nics[i]);
        if (result < 0) {
            snprintf(text, size, "card %s with address '%s' and gateway '%s': %s", pod->nics[i].mac,
                     pod->nics[i].address, pod->nics[i].gateway, strerror(-result));
        }
    }
    return result;
}
