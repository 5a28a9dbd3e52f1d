/* The simulator's subcommand that runs the machine reassignment challenge. */
#pragma once

int berth_sim_reassign(int argc, char **argv);
