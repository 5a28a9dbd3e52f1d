/* The interactive shell: `berth # `. */
#pragma once

#include "cli/command.h"

G_BEGIN_DECLS

int berth_shell_run(const BerthArgs *globals);
void berth_shell_quit(void);

G_END_DECLS
