/* The sha256 of a stream of bytes. */
#pragma once

#include "images/reference.h"

#include <glib.h>

G_BEGIN_DECLS

/* Used by one thread. */
typedef struct BerthSha256 BerthSha256;

BerthSha256 *berth_sha256_new(void);
void berth_sha256_update(BerthSha256 *sum, const void *data, gsize size);
void berth_sha256_reset(BerthSha256 *sum);
void berth_sha256_peek(const BerthSha256 *sum, BerthDigest *digest);
void berth_sha256_free(BerthSha256 *sum);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthSha256, berth_sha256_free)

G_END_DECLS
