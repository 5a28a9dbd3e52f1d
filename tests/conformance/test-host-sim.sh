#!/bin/sh
# The host conformance suite against simulated hosts.
exec "$(dirname "$0")/run-host" sim
