/* FleetMark: the fleet's identity, hidden. The uid of its one object is what marks domains and pools as
 * this fleet's; it lies in the store so that a restored backup knows its guests again. */
#include "model/kinds.h"

static const BerthField spec_fields[] = {
    BERTH_FIELD(BerthFleetMarkSpec, made_by, STRING, .doc = "Version that made the fleet."),
};
static const BerthSchema spec_schema =
    BERTH_SCHEMA("FleetMarkSpec", BerthFleetMarkSpec, spec_fields, "Who made the fleet.");

const BerthKind berth_kind_fleet_mark = {
    .name = "FleetMark",
    .plural = "fleetmarks",
    .scope = BERTH_SCOPE_FLEET,
    .read_only = TRUE,
    .hidden = TRUE,
    .spec = &spec_schema,
    .columns = (const BerthColumn[]){{NULL}},
    .doc = "The identity of the fleet.",
};
