/* Names of images as people write them, and sha256 digests. */
#pragma once

#include <glib.h>

G_BEGIN_DECLS

/* The longest reference and repository name that is read. */
#define BERTH_REFERENCE_MAX 512
#define BERTH_REPOSITORY_MAX 255

/* A parsed sha256; the only form of a digest that may become a part of a path. */
typedef struct {
    char hex[65]; /* 64 lower-case hex digits and a NUL */
} BerthDigest;

typedef struct {
    char *registry;   /* owned; "docker.io", "localhost:5000", "[::1]:5000" */
    char *repository; /* owned; "library/busybox" */
    char *tag;        /* owned; NULL when there is none (then there is a digest) */
    gboolean has_digest;
    BerthDigest digest; /* when has_digest */
} BerthReference;

gboolean berth_digest_parse(const char *text, gsize size, BerthDigest *digest, GError **error);
char *berth_digest_format(const BerthDigest *digest);
void berth_digest_of_bytes(const void *data, gsize size, BerthDigest *digest);
gboolean berth_digest_equal(const BerthDigest *a, const BerthDigest *b);

BerthReference *berth_reference_parse(const char *text, GError **error);
char *berth_reference_format(const BerthReference *reference);
char *berth_reference_format_familiar(const BerthReference *reference);
void berth_reference_free(BerthReference *reference);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(BerthReference, berth_reference_free)

G_END_DECLS
