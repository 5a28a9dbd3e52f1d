/* Figures of the process in the text format of Prometheus. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* Appends "# HELP", "# TYPE" and one sample. @labels: (nullable): "kind=\"Pod\"". */
void berth_metrics_add(GString *text, const char *name, const char *type, const char *help,
                       double value);
void berth_metrics_head(GString *text, const char *name, const char *type, const char *help);
/* One sample of a head that was written; @label_value is escaped. */
void berth_metrics_sample(GString *text, const char *name, const char *label,
                          const char *label_value, double value);
/* CPU seconds, resident bytes, threads and descriptors of this process. */
void berth_metrics_process(GString *text);

G_END_DECLS
