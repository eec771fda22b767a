/* Result codes, and the one bounded sentence that goes with a failure. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_STATUS_H
#define SEKISHO_STATUS_H

#include <stddef.h>

/* What a call that can fail answers. */
enum status {
    STATUS_OK,    /* done */
    STATUS_BAD,   /* the input is wrong: the user mends it; why says how */
    STATUS_BUSY,  /* not now: the same call may succeed in a moment */
    STATUS_BROKEN /* the machine failed: memory, disk, permission */
};

/* One sentence for a person, always ended by NUL, cut at its end if too long. */
struct why {
    char text[256];
};

/* Writes the sentence (printf format) into why; why may be NULL. Control bytes and bytes that are
 * not ASCII are written as \xNN, so the sentence may quote anything. Returns status, so that a
 * failing function can say `return why_set(why, STATUS_BAD, ...)`. */
enum status why_set(struct why *why, enum status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Copies size bytes of text into to[room] as printable ASCII: everything but 0x20..0x7e, and the
 * characters " and \, becomes \xNN. At most keep bytes of text are shown; if text is longer,
 * "..." and its length in brackets follow. Always ends with NUL; never cuts an escape in two.
 * room of keep * 4 + 32 is enough for all of it. Returns the length written. */
size_t printable_copy(char *to, size_t room, const char *text, size_t size, size_t keep);

/* Reads back what printable_copy wrote of a whole text, into to[room]. What it would not have
 * written stays as it is: \t, \x41, \xAB. Always ends with NUL. Returns the length of the text;
 * room or more: it does not fit, and to is worth nothing. */
size_t printable_read(char *to, size_t room, const char *shown);

/* Copies a text that printable_copy has written whole into to[room]. Of one that has no room the
 * beginning is kept, and behind it ~ and twelve digits of a hash of all of it, so that texts that
 * begin alike are not taken for each other: by chance, that is; whoever may choose them can bring
 * it about. An escape is not cut in two. room is 18 at least, and to may be text. Returns the
 * length written. */
size_t printable_shorten(char *to, size_t room, const char *text);

#endif
