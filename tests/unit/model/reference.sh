#!/bin/sh
# docs/reference/kinds.md is what the tables say.
if ./kinds-reference | diff -u "$TOP_SRCDIR/docs/reference/kinds.md" -; then
    exit 0
fi
echo "the reference is old: run make update-reference and review the difference" >&2
exit 1
