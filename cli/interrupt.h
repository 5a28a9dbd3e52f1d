/* ^C and kill: noted by a signal handler, looked at where something waits. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

void berth_interrupt_install(void);
gboolean berth_interrupted(void);
int berth_interrupt_signal(void);
void berth_interrupt_clear(void);

/* While signals are forwarded they are taken from this descriptor and do not interrupt. -1: an error. */
int berth_interrupt_forward_begin(void);
void berth_interrupt_forward_end(int fd);

G_END_DECLS
