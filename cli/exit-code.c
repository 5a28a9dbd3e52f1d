/* Exit codes by what a script can do about it. Pure. */
#include "cli/exit-code.h"

#include "base/error.h"

const BerthExitDoc berth_exit_docs[] = {
    {"0", "It was done."},
    {"1", "It failed in a way the other codes do not tell."},
    {"2", "The command line or the document is wrong; nothing was done."},
    {"3", "The named thing does not exist."},
    {"4", "Refused: no permission, no capacity, a quota."},
    {"5", "The daemon or a host cannot be reached; try again later."},
    {"6", "Conflict: the name is taken, or somebody changed it meanwhile."},
    {"7", "It did not happen in time; it may still happen."},
    {"125", "run, exec: Berth failed before the command could start."},
    {"126", "run, exec: the command cannot be executed."},
    {"127", "run, exec: the command was not found."},
    {"128+N", "run, exec: the command was ended by signal N; otherwise its own exit code."},
    {NULL, NULL},
};

/** Returns: the exit code that tells of @error. */
BerthExitCode
berth_exit_code_of(const GError *error)
{
    switch (berth_error_code_of(error)) {
    case BERTH_ERROR_INVALID:
        return BERTH_EXIT_USAGE;
    case BERTH_ERROR_NOT_FOUND:
        return BERTH_EXIT_NOT_FOUND;
    case BERTH_ERROR_DENIED:
    case BERTH_ERROR_EXHAUSTED:
        return BERTH_EXIT_REFUSED;
    case BERTH_ERROR_UNAVAILABLE:
        return BERTH_EXIT_UNREACHABLE;
    case BERTH_ERROR_EXISTS:
    case BERTH_ERROR_CONFLICT:
        return BERTH_EXIT_CONFLICT;
    case BERTH_ERROR_TIMEOUT:
        return BERTH_EXIT_TIMEOUT;
    default:
        return BERTH_EXIT_FAILED;
    }
}
