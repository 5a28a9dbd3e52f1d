/* Devices: enough of the class and model, whole or in thousandths, with their IOMMU groups free. */
#include "sched/place.h"
#include "sched/rules.h"

static gboolean
asked(const BerthAsk *ask)
{
    return ask->request->n_devices > 0;
}

static gboolean
admits(const BerthAsk *ask, guint32 host, BerthRefusal *refusal)
{
    BerthDeviceSet sets[BERTH_PLACE_DEVICES_MAX];
    if (berth_place_devices(ask, host, sets) > 0) {
        return TRUE;
    }
    for (guint need = 0; refusal != NULL && need < ask->request->n_devices; need++) {
        const BerthDeviceNeed *wanted = &ask->request->devices[need];
        guint have = berth_place_count_slots(ask, host, need);
        if (have < wanted->count) {
            return berth_refuse(refusal, wanted->kind, wanted->count, have);
        }
    }
    return berth_refuse(refusal, "devices", berth_place_device_count(ask), 0);
}

const BerthRule berth_rule_device = {
    .code = "device",
    .doc = "Enough devices of each class and model are free, whole or in thousandths.",
    .reach = BERTH_REACH_LOAD,
    .remedy = BERTH_REMEDY_DROP,
    .asked = asked,
    .admits = admits,
    .placed = TRUE,
};
