/* What the tests of images/ share: scratch folders, the corpora, making small archives. */
#pragma once

#include "images/blobs.h"
#include "images/manifest.h"
#include "images/tar.h"
#include "tests/folder.h"

#include <glib.h>

G_BEGIN_DECLS

/* A new folder below the system's temporary one; to be removed with folder_remove(). */
char *scratch_folder(void);

/* The unpacked oci-hostile corpus, in a scratch folder that goes at exit; NULL: skipped, test ends. */
const char *scratch_corpus(void);

/* Runs a program; fails the test when it does not exit with 0. Returns its standard output. */
char *scratch_run(const char *const *argv);
gboolean scratch_program_missing(const char *program);

/* An archive of entries: path, type, content or link. */
void scratch_tar_add(GByteArray *tar, BerthTarType type, const char *path, const char *content);
void scratch_tar_end(GByteArray *tar);
GBytes *scratch_gzip(const void *data, gsize size);

/* Every name, inode and time of change below a folder, as one text. */
char *scratch_witness(const char *folder);

/* Puts a blob into the cache; unpinned again. */
BerthDescriptor *scratch_blob(BerthBlobs *blobs, const void *data, gsize size,
                              const char *media_type);

void scratch_assert_error(const GError *error, int code, const char *part);

G_END_DECLS
