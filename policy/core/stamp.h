/* A moment of the wall clock as people read and write it: UTC, 2026-11-24 03:00:00. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_STAMP_H
#define SEKISHO_STAMP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    STAMP_SECONDS = 19, /* octets of 2026-11-24 03:00:00 */
    STAMP_TEXT = 24     /* room for 2026-11-24 03:00:00.123, with NUL */
};

/* Writes Unix milliseconds as 2026-11-24 03:00:00.123; ends at the seconds where fraction is false.
 * Before the year 0 and after 9999: the first and the last moment that can be written. Returns the
 * length. */
size_t stamp_write(int64_t wall, bool fraction, char text[STAMP_TEXT]);

/* Reads 2026-11-24 03:00:00, 2026-11-24T03:00:00Z or 2026-11-24 03:00:00.123 to Unix milliseconds;
 * false for anything else. */
bool stamp_read(const char *text, size_t size, int64_t *wall);

#endif
