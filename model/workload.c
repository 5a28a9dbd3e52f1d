/* The tables that Pod and VM share, and the rules across their fields. */
#include "model/workload.h"

#include <string.h>

#include "base/error.h"
#include "model/kinds.h"
#include "model/workload-check.h"

const char *const berth_profile_names[] = {"q35", "microvm", NULL};
const char *const berth_numa_names[] = {"any", "one", "two", "prefer-one", NULL};
const char *const berth_run_names[] = {"Always", "Manual", "Once", NULL};
const char *const berth_restart_names[] = {"Always", "OnFailure", "Never", NULL};
const char *const berth_phase_names[] = {"Pending",  "Preparing", "Starting",  "Running",
                                         "Stopping", "Stopped",   "Succeeded", "Failed",
                                         "Unknown",  "Deleting",  NULL};

const char *
berth_phase_name(BerthPhase phase)
{
    return berth_phase_names[phase];
}

/* ---- spec ---- */

#define PROFILE_MICROVM 1 /* index into berth_profile_names */

static const BerthField toleration_fields[] = {
    BERTH_FIELD(BerthTolerationSpec, key, STRING, .required = TRUE, .minimum = 1, .maximum = 317,
                .doc = "Key of the taint that is tolerated."),
    BERTH_FIELD(BerthTolerationSpec, value, STRING,
                .doc = "Value the taint must have; without it any."),
};
static const BerthSchema toleration_schema =
    BERTH_SCHEMA("Toleration", BerthTolerationSpec, toleration_fields,
                 "A taint of hosts that the workload may be placed in spite of.");

static const char *const scope_names[] = {"host", "rack", "zone", NULL};

#define WEIGHT(owner)                                                                              \
    BERTH_FIELD(owner, weight, INT, .minimum = 0, .maximum = 100,                                  \
                .mutability = BERTH_MUTABLE_NEXT_BOOT,                                             \
                .doc = "0: it must hold; 1 to 100: it is wanted, so much.")

static const char *const relation_names[] = {"together", "apart", NULL};
static const BerthField relation_fields[] = {
    BERTH_FIELD(BerthRelationSpec, kind, STRING, .required = TRUE, .choices = relation_names,
                .doc = "Whether it is to be near or not."),
    BERTH_FIELD(BerthRelationSpec, to, STRING, .required = TRUE, .minimum = 1, .maximum = 80,
                .doc = "Name of a workload of the project, or group=NAME."),
    BERTH_FIELD(BerthRelationSpec, within, STRING, .choices = scope_names, .fallback_text = "host",
                .doc = "What counts as one place."),
    WEIGHT(BerthRelationSpec),
};
static const BerthSchema relation_schema = BERTH_SCHEMA(
    "Relation", BerthRelationSpec, relation_fields, "Nearness to another workload, or to a group.");

static const char *const operator_names[] = {"In",      "NotIn", "Exists", "Absent",
                                             "Greater", "Less",  NULL};
static const BerthField host_rule_fields[] = {
    BERTH_FIELD(BerthHostRuleSpec, key, STRING, .required = TRUE, .minimum = 1, .maximum = 317,
                .doc = "Key of a label of hosts."),
    BERTH_FIELD(BerthHostRuleSpec, operator, STRING, .choices = operator_names,
                .fallback_text = "In", .doc = "How the label's value is compared."),
    BERTH_FIELD(BerthHostRuleSpec, values, STRINGS, .maximum = 64,
                .doc = "In, NotIn: any number; Greater, Less: one whole number; else none."),
    WEIGHT(BerthHostRuleSpec),
};
static const BerthSchema host_rule_schema = BERTH_SCHEMA(
    "HostRule", BerthHostRuleSpec, host_rule_fields, "What the labels of its host must say.");

static const BerthField placement_fields[] = {
    BERTH_FIELD(BerthPlacementSpec, host, STRING, .format = BERTH_FORMAT_NAME,
                .mutability = BERTH_MUTABLE_NEXT_BOOT, .doc = "The one host it may run on."),
    BERTH_FIELD(BerthPlacementSpec, host_labels, MAP, .mutability = BERTH_MUTABLE_NEXT_BOOT,
                .doc = "Labels that its host must have."),
    BERTH_FIELD(BerthPlacementSpec, tolerations, OBJECTS, .schema = &toleration_schema,
                .maximum = 16, .mutability = BERTH_MUTABLE_NEXT_BOOT,
                .doc = "Taints of hosts that do not keep it away."),
    BERTH_FIELD(BerthPlacementSpec, affinity, STRINGS, .format = BERTH_FORMAT_NAME,
                .mutability = BERTH_MUTABLE_NEXT_BOOT,
                .doc = "Names of workloads of the project that it must share a host with; while "
                       "they are nowhere, any will do."),
    BERTH_FIELD(BerthPlacementSpec, anti_affinity, STRINGS, .mutability = BERTH_MUTABLE_NEXT_BOOT,
                .doc = "Names of workloads, or group=NAME, that it must not share a host with."),
    BERTH_FIELD(BerthPlacementSpec, group, STRING, .format = BERTH_FORMAT_NAME,
                .mutability = BERTH_MUTABLE_NEVER,
                .doc = "Group that it is a member of, for spread, anti_affinity and relations."),
    BERTH_FIELD(BerthPlacementSpec, group_size, INT, .minimum = 0, .maximum = 1000,
                .mutability = BERTH_MUTABLE_NEXT_BOOT,
                .doc =
                    "So many members of the group are placed together or not at all; 0: each for "
                    "itself."),
    BERTH_FIELD(BerthPlacementSpec, spread, STRING, .choices = scope_names,
                .mutability = BERTH_MUTABLE_NEXT_BOOT,
                .doc = "Spreads the members of the group evenly over hosts, racks or zones."),
    BERTH_FIELD(BerthPlacementSpec, max_skew, INT, .fallback = 1, .minimum = 1, .maximum = 1000,
                .mutability = BERTH_MUTABLE_NEXT_BOOT,
                .doc = "By how many members a place may exceed the emptiest one."),
    BERTH_FIELD(BerthPlacementSpec, spread_weight, INT, .minimum = 0, .maximum = 100,
                .mutability = BERTH_MUTABLE_NEXT_BOOT,
                .doc = "0: the spread must hold; 1 to 100: it is wanted, so much."),
    BERTH_FIELD(BerthPlacementSpec, relations, OBJECTS, .schema = &relation_schema, .maximum = 16,
                .mutability = BERTH_MUTABLE_NEXT_BOOT,
                .doc = "Nearness to others beyond affinity and anti_affinity."),
    BERTH_FIELD(BerthPlacementSpec, host_rules, OBJECTS, .schema = &host_rule_schema, .maximum = 16,
                .mutability = BERTH_MUTABLE_NEXT_BOOT,
                .doc = "Rules about its host's labels beyond host_labels."),
};
const BerthSchema berth_placement_schema = BERTH_SCHEMA(
    "Placement", BerthPlacementSpec, placement_fields, "Rules for the choice of a host.");

static const BerthField device_fields[] = {
    BERTH_FIELD(BerthDeviceSpec, class, STRING, .required = TRUE, .format = BERTH_FORMAT_NAME,
                .doc = "Class, as Hosts name it in spec.devices."),
    BERTH_FIELD(BerthDeviceSpec, count, INT, .fallback = 1, .minimum = 1,
                .maximum = BERTH_WORKLOAD_DEVICES_MAX, .doc = "How many."),
};
const BerthSchema berth_device_schema =
    BERTH_SCHEMA("DeviceSpec", BerthDeviceSpec, device_fields, "Devices of one class.");

static const BerthField nic_fields[] = {
    BERTH_FIELD(BerthNic, network, STRING, .format = BERTH_FORMAT_NAME, .fallback_text = "default",
                .doc = "Name of the Network that the card is in."),
    BERTH_FIELD(BerthNic, ip, STRING, .format = BERTH_FORMAT_IP,
                .doc = "Fixed address out of the Network's range; without it one is assigned."),
    BERTH_FIELD(BerthNic, mac, STRING, .format = BERTH_FORMAT_MAC,
                .doc = "Fixed MAC address; without it one is made from the uid."),
};
const BerthSchema berth_nic_schema =
    BERTH_SCHEMA("Nic", BerthNic, nic_fields, "A network card of the guest.");

/* ---- status ---- */

static const BerthField condition_fields[] = {
    BERTH_FIELD(BerthCondition, type, STRING, .required = TRUE, .doc = "What the claim is about."),
    BERTH_FIELD(BerthCondition, value, BOOL, .doc = "Whether it holds."),
    BERTH_FIELD(BerthCondition, reason, STRING, .doc = "Stable code of the reason."),
    BERTH_FIELD(BerthCondition, message, STRING, .maximum = 65536, .doc = "The reason for people."),
    BERTH_FIELD(BerthCondition, since, STRING, .format = BERTH_FORMAT_TIME,
                .doc = "When it last changed."),
};
const BerthSchema berth_condition_schema = BERTH_SCHEMA(
    "Condition", BerthCondition, condition_fields, "A claim about the object, true or false.");

static const BerthField reason_fields[] = {
    BERTH_FIELD(BerthReason, code, STRING, .doc = "Stable code."),
    BERTH_FIELD(BerthReason, message, STRING, .maximum = 65536, .doc = "One line for people."),
    BERTH_FIELD(BerthReason, hint, STRING, .maximum = 65536, .doc = "What to do about it."),
};
const BerthSchema berth_reason_schema =
    BERTH_SCHEMA("Reason", BerthReason, reason_fields, "Why the object is in its phase.");

static const BerthField vessel_fields[] = {
    BERTH_FIELD(BerthVessel, host, STRING, .doc = "Host the domain is on."),
    BERTH_FIELD(BerthVessel, uuid, STRING, .doc = "UUID of the domain in libvirt."),
    BERTH_FIELD(BerthVessel, name, STRING, .doc = "Name of the domain in libvirt."),
    BERTH_FIELD(BerthVessel, incarnation, INT,
                .doc = "Counts the domains made or started for the workload."),
};
static const BerthSchema vessel_schema = BERTH_SCHEMA(
    "Vessel", BerthVessel, vessel_fields, "The libvirt domain that carries the workload now.");

static const BerthField nic_status_fields[] = {
    BERTH_FIELD(BerthNicStatus, network, STRING, .doc = "Name of the Network."),
    BERTH_FIELD(BerthNicStatus, mac, STRING, .doc = "MAC address of the card."),
    BERTH_FIELD(BerthNicStatus, ip, STRING, .doc = "Address assigned or seen."),
};
static const BerthSchema nic_status_schema =
    BERTH_SCHEMA("NicStatus", BerthNicStatus, nic_status_fields, "A network card as it is.");

static const BerthField container_fields[] = {
    BERTH_FIELD(BerthContainerStatus, name, STRING, .doc = "Name of the container."),
    BERTH_FIELD(BerthContainerStatus, image, STRING, .doc = "Image it was started from."),
    BERTH_FIELD(BerthContainerStatus, digest, STRING, .doc = "Digest of that image."),
    BERTH_FIELD(BerthContainerStatus, state, STRING, .doc = "Waiting, Running or Exited."),
    BERTH_FIELD(BerthContainerStatus, exit_code, INT, .doc = "How it last ended."),
    BERTH_FIELD(BerthContainerStatus, restarts, INT, .doc = "How often it was started again."),
    BERTH_FIELD(BerthContainerStatus, oom, BOOL,
                .doc = "Whether it last ended for want of memory."),
    BERTH_FIELD(BerthContainerStatus, started, STRING, .doc = "When it was last started."),
    BERTH_FIELD(BerthContainerStatus, finished, STRING, .doc = "When it last ended."),
};
static const BerthSchema container_schema = BERTH_SCHEMA(
    "ContainerStatus", BerthContainerStatus, container_fields, "A container of a pod as it is.");

static const BerthField victim_fields[] = {
    BERTH_FIELD(BerthVictim, kind, STRING, .doc = "Pod or VM."),
    BERTH_FIELD(BerthVictim, project, STRING, .doc = "Its project."),
    BERTH_FIELD(BerthVictim, name, STRING, .doc = "Its name."),
    BERTH_FIELD(BerthVictim, uid, STRING, .doc = "Its uid."),
    BERTH_FIELD(BerthVictim, vcpus, INT, .doc = "vCPUs that it gives back."),
    BERTH_FIELD(BerthVictim, memory_mib, INT, .unit = "MiB", .doc = "Memory that it gives back."),
    BERTH_FIELD(BerthVictim, holding, JSON,
                .doc = "All that it held of its host when this was decided, in the scheduler's "
                       "terms: stays charged until the place is taken."),
};
static const BerthSchema victim_schema =
    BERTH_SCHEMA("Victim", BerthVictim, victim_fields,
                 "A preemptible workload of lower priority that is stopped and waits again.");

static const BerthField preempting_fields[] = {
    BERTH_FIELD(BerthPreempting, host, STRING, .doc = "Host where room is made."),
    BERTH_FIELD(BerthPreempting, victims, OBJECTS, .schema = &victim_schema,
                .doc = "Who is stopped there for it."),
    BERTH_FIELD(BerthPreempting, with, STRINGS,
                .doc = "Members of its group that get their places together with it, by uid: each "
                       "has such a record, and all wait for the victims of all."),
    BERTH_FIELD(BerthPreempting, rest, JSON,
                .doc = "What it needs beside what its victims give back, of its host (holding) and "
                       "of its project's quota (claim): kept until the place is taken."),
};
const BerthSchema berth_preempting_schema =
    BERTH_SCHEMA("Preempting", BerthPreempting, preempting_fields,
                 "Room that is being made and kept for the workload.");

#define STATUS(member, kind, ...) BERTH_FIELD(BerthWorkloadStatus, member, kind, __VA_ARGS__)

static const BerthField status_fields[] = {
    STATUS(phase, ENUM, .choices = berth_phase_names, .doc = "Where in its life the workload is."),
    STATUS(host, STRING, .doc = "Host it is placed on."),
    STATUS(domain, OBJECT, .schema = &vessel_schema, .doc = "Its domain in libvirt."),
    STATUS(reason, OBJECT, .schema = &berth_reason_schema, .doc = "Why it is in this phase."),
    STATUS(preempting, OBJECT, .schema = &berth_preempting_schema,
           .doc = "Who is stopped so that it gets a place; only until it has it."),
    STATUS(actor, STRING,
           .doc =
               "Who last changed its power: user, guest (from inside) or external (by libvirt)."),
    STATUS(restarts, INT, .doc = "How often it was started again."),
    STATUS(observed_generation, INT, .doc = "The generation of spec that this status is about."),
    STATUS(started, STRING, .doc = "When it last came to Running."),
    STATUS(used_memory_mib, INT, .unit = "MiB",
           .doc = "Memory charged to its host: the guest's and what QEMU needs."),
    STATUS(networks, OBJECTS, .schema = &nic_status_schema, .doc = "Its network cards."),
    STATUS(containers, OBJECTS, .schema = &container_schema, .doc = "Its containers, if a pod."),
    STATUS(conditions, OBJECTS, .schema = &berth_condition_schema, .doc = "Claims about it."),
    STATUS(disks, JSON, .doc = "Volumes that were made for it."),
    STATUS(placement, JSON, .doc = "Why it is on this host: the parts of the score."),
    STATUS(timing, JSON, .doc = "Milliseconds that each phase of its last start took."),
};
const BerthSchema berth_workload_status_schema =
    BERTH_SCHEMA("WorkloadStatus", BerthWorkloadStatus, status_fields,
                 "What was seen of the workload, written by Berth alone.");

/** Returns: the part of @object's spec that every workload has; borrowed. */
const BerthWorkload *
berth_workload_of(const BerthObject *object)
{
    g_return_val_if_fail(object->kind->workload, NULL);
    G_STATIC_ASSERT(offsetof(BerthPodSpec, workload) == 0);
    G_STATIC_ASSERT(offsetof(BerthVmSpec, workload) == 0);
    return object->spec_data;
}

/** Returns: the status of @object, a workload; borrowed, all defaults when none was recorded. */
const BerthWorkloadStatus *
berth_workload_status_of(const BerthObject *object)
{
    g_return_val_if_fail(object->kind->workload, NULL);
    return object->status_data;
}

static gboolean
check_anti_affinity(const BerthObject *object, const BerthPlacementSpec *placement, GError **error)
{
    for (gsize i = 0; placement->anti_affinity != NULL && placement->anti_affinity[i] != NULL;
         i++) {
        const char *entry = placement->anti_affinity[i];
        const char *name = g_str_has_prefix(entry, "group=") ? entry + strlen("group=") : entry;
        g_autoptr(GError) problem = NULL;
        g_autofree char *place = g_strdup_printf("/spec/placement/anti_affinity/%zu", i);
        if (!berth_name_check(name, &problem)) {
            berth_error_set_at(error, BERTH_ERROR_INVALID, place, "write NAME or group=NAME", "%s",
                               problem->message);
            return FALSE;
        }
        if (placement->affinity != NULL &&
            g_strv_contains((const char *const *)placement->affinity, entry)) {
            berth_error_set_at(error, BERTH_ERROR_INVALID, place, NULL,
                               "\"%s\" is in affinity too; both can't hold", entry);
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean
check_relations(const BerthPlacementSpec *placement, GError **error)
{
    for (guint i = 0; placement->relations != NULL && i < placement->relations->len; i++) {
        const BerthRelationSpec *relation = placement->relations->pdata[i];
        gboolean group = g_str_has_prefix(relation->to, "group=");
        g_autoptr(GError) problem = NULL;
        if (!berth_name_check(relation->to + (group ? strlen("group=") : 0), &problem)) {
            g_autofree char *place = g_strdup_printf("/spec/placement/relations/%u/to", i);
            berth_error_set_at(error, BERTH_ERROR_INVALID, place, "write NAME or group=NAME", "%s",
                               problem->message);
            return FALSE;
        }
    }
    return TRUE;
}

/* What is wrong with the values of @rule; NULL: nothing. */
static const char *
find_fault(const BerthHostRuleSpec *rule)
{
    guint count = rule->values == NULL ? 0 : g_strv_length(rule->values);
    gint64 number;
    if (g_str_equal(rule->operator, "Exists") || g_str_equal(rule->operator, "Absent")) {
        return count > 0 ? "Exists and Absent take no values" : NULL;
    }
    if (g_str_equal(rule->operator, "In") || g_str_equal(rule->operator, "NotIn")) {
        return count == 0 ? "In and NotIn need a value" : NULL;
    }
    return count == 1 && g_ascii_string_to_signed(rule->values[0], 10, G_MININT64, G_MAXINT64,
                                                  &number, NULL)
               ? NULL
               : "Greater and Less need one whole number";
}

static gboolean
check_host_rules(const BerthPlacementSpec *placement, GError **error)
{
    for (guint i = 0; placement->host_rules != NULL && i < placement->host_rules->len; i++) {
        const char *fault = find_fault(placement->host_rules->pdata[i]);
        if (fault != NULL) {
            g_autofree char *place = g_strdup_printf("/spec/placement/host_rules/%u/values", i);
            berth_error_set_at(error, BERTH_ERROR_INVALID, place, NULL, "%s", fault);
            return FALSE;
        }
    }
    return TRUE;
}

static gboolean
check_huge_pages(const BerthWorkload *workload, GError **error)
{
    gint64 kib = workload->huge_pages_kib;
    const char *fault = NULL;
    if (kib != 0 && (kib < 64 || (kib & (kib - 1)) != 0)) {
        fault = "no processor has pages of this size";
    } else if (kib != 0 && workload->memory_mib * 1024 % kib != 0) {
        fault = "memory_mib is not a whole number of these pages";
    }
    if (fault != NULL) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, "/spec/huge_pages_kib",
                           "usual are 2048 and 1048576", "%s", fault);
    }
    return fault == NULL;
}

static gboolean
check_devices(const BerthWorkload *workload, GError **error)
{
    g_autoptr(GHashTable) classes = g_hash_table_new(g_str_hash, g_str_equal);
    gint64 total = 0;
    for (guint i = 0; workload->devices != NULL && i < workload->devices->len; i++) {
        const BerthDeviceSpec *device = workload->devices->pdata[i];
        total += device->count;
        if (!g_hash_table_add(classes, device->class)) {
            g_autofree char *place = g_strdup_printf("/spec/devices/%u/class", i);
            berth_error_set_at(error, BERTH_ERROR_INVALID, place, "raise its count",
                               "\"%s\" is there twice", device->class);
            return FALSE;
        }
    }
    if (total > BERTH_WORKLOAD_DEVICES_MAX) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, "/spec/devices", NULL,
                           "%" G_GINT64_FORMAT " devices are more than the %d that fit", total,
                           BERTH_WORKLOAD_DEVICES_MAX);
        return FALSE;
    }
    if (total > 0 && workload->profile == PROFILE_MICROVM) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, "/spec/devices", "use the profile q35",
                           "a microvm has no PCI slots");
        return FALSE;
    }
    return TRUE;
}

/* Rules that hold for Pods and VMs. Errors: INVALID with the pointer. */
gboolean
berth_workload_check(const BerthObject *object, GError **error)
{
    const BerthPlacementSpec *placement = &berth_workload_of(object)->placement;
    if (placement->spread != NULL && placement->group == NULL) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, "/spec/placement/spread",
                           "set placement.group", "spread needs a group to spread");
        return FALSE;
    }
    if (placement->group_size > 0 && placement->group == NULL) {
        berth_error_set_at(error, BERTH_ERROR_INVALID, "/spec/placement/group_size",
                           "set placement.group", "a size needs a group");
        return FALSE;
    }
    return check_huge_pages(berth_workload_of(object), error) &&
           check_devices(berth_workload_of(object), error) &&
           check_anti_affinity(object, placement, error) && check_relations(placement, error) &&
           check_host_rules(placement, error);
}

/* Whether the names of @items (structs whose first member is their name) differ. */
gboolean
berth_workload_check_unique(const GPtrArray *items, const char *pointer, GError **error)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_str_hash, g_str_equal);
    for (guint i = 0; items != NULL && i < items->len; i++) {
        char *name = *(char **)items->pdata[i];
        if (!g_hash_table_add(seen, name)) {
            g_autofree char *place = g_strdup_printf("%s/%u/name", pointer, i);
            berth_error_set_at(error, BERTH_ERROR_INVALID, place, NULL,
                               "\"%s\" is there twice; names must differ", name);
            return FALSE;
        }
    }
    return TRUE;
}
