/* The table of BerthCapacity, for the kinds that have one; for model/ alone. */
#pragma once

#include "model/schema.h"

extern const BerthSchema berth_capacity_schema;
