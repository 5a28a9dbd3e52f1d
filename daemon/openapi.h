/* The OpenAPI 3.1 document, made from the route table and the kinds' schema tables. */
#pragma once

#include "daemon/routes.h"

/* berth_routes_openapi() is declared in routes.h. */
