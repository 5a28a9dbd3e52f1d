/* Text from guests, images and servers, made harmless for a terminal. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

gboolean berth_escape_is_unsafe(gunichar c);
char *berth_escape_text(const char *text);
char *berth_escape_lines(const char *text);
char *berth_escape_json(const char *json);
gsize berth_escape_width(const char *text);

G_END_DECLS
