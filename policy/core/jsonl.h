/* One JSON object on one line (RFC 8259), written into a buffer: whatever comes in, it is valid. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_JSONL_H
#define SEKISHO_JSONL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What does not fit is not written at all, and jsonl_end says so. Names are ours: ASCII without
 * quotes; NULL within a list. */
struct jsonl {
    char *to;
    size_t room, used;
    bool comma;   /* a comma goes before the next value */
    bool missing; /* something did not fit */
};

/* Opens the object. */
void jsonl_begin(struct jsonl *line, char *to, size_t room);
/* Closes it and writes a NUL. Returns the length, 0 if not all of it had room. */
size_t jsonl_end(struct jsonl *line);

/* An object or a list as a value: kind is { or [. */
void jsonl_open(struct jsonl *line, const char *name, char kind);
void jsonl_close(struct jsonl *line, char kind);

void jsonl_null(struct jsonl *line, const char *name);
void jsonl_bool(struct jsonl *line, const char *name, bool value);
void jsonl_number(struct jsonl *line, const char *name, int64_t value);
/* A word of ours; "" becomes null. */
void jsonl_word(struct jsonl *line, const char *name, const char *word);

/* A text from outside. One that is UTF-8 is written as it is, with \uNNNN for what steers a
 * terminal or the direction of writing; of any other each octet that is not printable ASCII, and "
 * and \, is written as the four characters \xNN, and *escaped is set. At most `most` octets are
 * written between the quotes, and no character is cut in two. Returns how many octets of the text
 * they are. */
size_t jsonl_text(struct jsonl *line, const char *name, const char *text, size_t size, size_t most,
                  bool *escaped);

/* Where in a text of UTF-8 the first character stands that steers a terminal or the direction of
 * writing, and which; or what is no UTF-8: *character is 0 then. size: there is none. */
size_t jsonl_steering(const char *text, size_t size, uint32_t *character, size_t *length);

/* size, or less where the text ends within a character (because somebody cut it there). */
size_t jsonl_whole(const char *text, size_t size);

#endif
