/* Help texts, the man page and the completion script, all from the command tables. */
#pragma once

#include "cli/command.h"

G_BEGIN_DECLS

char *berth_help_overview(void);
char *berth_help_group(const char *word);
char *berth_help_command(const BerthCommand *command);
char *berth_help_usage(const BerthCommand *command);
char *berth_help_man(void);
char *berth_help_completion(void);

char *berth_help_wrap(const char *text);

G_END_DECLS
