/* One JSON object on one line (RFC 8259), written into a buffer: whatever comes in, it is valid. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/jsonl.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { PIECE = 16 }; /* the longest that one character becomes, with NUL */

static void put(struct jsonl *line, const char *text, size_t size)
{
    /* one octet stays for the NUL */
    if (line->missing || line->room - line->used <= size) {
        line->missing = true;
        return;
    }
    memcpy(line->to + line->used, text, size);
    line->used += size;
}

static void put_sign(struct jsonl *line, char sign)
{
    put(line, &sign, 1);
}

static void put_name(struct jsonl *line, const char *name)
{
    if (line->comma) {
        put_sign(line, ',');
    }
    line->comma = true;
    if (name != NULL) {
        put_sign(line, '"');
        put(line, name, strlen(name));
        put(line, "\":", 2);
    }
}

void jsonl_begin(struct jsonl *line, char *to, size_t room)
{
    *line = (struct jsonl){.to = to, .room = room, .missing = room == 0};
    put_sign(line, '{');
}

size_t jsonl_end(struct jsonl *line)
{
    put_sign(line, '}');
    if (line->room > 0) {
        line->used = line->missing ? 0 : line->used;
        line->to[line->used] = '\0';
    }
    return line->used;
}

void jsonl_open(struct jsonl *line, const char *name, char kind)
{
    put_name(line, name);
    put_sign(line, kind);
    line->comma = false;
}

void jsonl_close(struct jsonl *line, char kind)
{
    put_sign(line, kind == '{' ? '}' : ']');
    line->comma = true;
}

void jsonl_null(struct jsonl *line, const char *name)
{
    put_name(line, name);
    put(line, "null", 4);
}

void jsonl_bool(struct jsonl *line, const char *name, bool value)
{
    put_name(line, name);
    put(line, value ? "true" : "false", value ? 4 : 5);
}

void jsonl_number(struct jsonl *line, const char *name, int64_t value)
{
    char digits[24];

    put_name(line, name);
    put(line, digits, (size_t)snprintf(digits, sizeof digits, "%" PRId64, value));
}

void jsonl_word(struct jsonl *line, const char *name, const char *word)
{
    if (word[0] == '\0') {
        jsonl_null(line, name);
        return;
    }
    put_name(line, name);
    put_sign(line, '"');
    put(line, word, strlen(word));
    put_sign(line, '"');
}

/* -- texts from outside --------------------------------------------------------------------- */

/* How many octets a character has that begins with this one; 0: none does. */
static size_t length_of(unsigned char first)
{
    return first < 0x80   ? 1
           : first < 0xc2 ? 0
           : first < 0xe0 ? 2
           : first < 0xf0 ? 3
           : first < 0xf5 ? 4
                          : 0;
}

/* The character of RFC 3629 at text, and its length; 0: there is none. */
static size_t take(const unsigned char *text, size_t size, uint32_t *character)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = length_of(text[0]);

    if (length == 0 || length > size) {
        return 0;
    }
    *character = length == 1 ? text[0] : text[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80) {
            return 0;
        }
        *character = *character << 6 | (text[i] & 0x3f);
    }
    bool surrogate = *character >= 0xd800 && *character <= 0xdfff;
    return *character < least[length] || surrogate || *character > 0x10ffff ? 0 : length;
}

static bool is_utf8(const unsigned char *text, size_t size)
{
    uint32_t character;

    for (size_t at = 0, length; at < size; at += length) {
        length = take(text + at, size - at, &character);
        if (length == 0) {
            return false;
        }
    }
    return true;
}

/* Would a terminal act on it, or an editor show the rest elsewhere than it stands? */
static bool steers(uint32_t character)
{
    return character < 0x20 || (character >= 0x7f && character <= 0x9f) || character == 0x61c ||
           character == 0x200e || character == 0x200f ||
           (character >= 0x2028 && character <= 0x202e) ||
           (character >= 0x2066 && character <= 0x2069);
}

/* What one character of UTF-8 becomes. */
static size_t piece_of(const unsigned char *text, size_t length, uint32_t character,
                       char piece[PIECE])
{
    if (steers(character)) {
        return (size_t)snprintf(piece, PIECE, "\\u%04" PRIx32, character);
    }
    if (character == '"' || character == '\\') {
        piece[0] = '\\';
        piece[1] = (char)character;
        return 2;
    }
    memcpy(piece, text, length);
    return length;
}

/* What one octet of anything else becomes. */
static size_t piece_of_octet(unsigned char octet, char piece[PIECE])
{
    if (octet < 0x20 || octet > 0x7e || octet == '"' || octet == '\\') {
        return (size_t)snprintf(piece, PIECE, "\\\\x%02x", octet);
    }
    piece[0] = (char)octet;
    return 1;
}

size_t jsonl_text(struct jsonl *line, const char *name, const char *text, size_t size, size_t most,
                  bool *escaped)
{
    const unsigned char *from = (const unsigned char *)text;
    bool utf8 = is_utf8(from, size);
    size_t at = 0, written = 0;

    put_name(line, name);
    put_sign(line, '"');
    while (at < size) {
        char piece[PIECE];
        uint32_t character = 0;
        size_t length = utf8 ? take(from + at, size - at, &character) : 1;
        size_t becomes =
            utf8 ? piece_of(from + at, length, character, piece) : piece_of_octet(from[at], piece);
        if (written + becomes > most) {
            break;
        }
        put(line, piece, becomes);
        written += becomes;
        at += length;
    }
    put_sign(line, '"');
    *escaped = !utf8;
    return at;
}

size_t jsonl_steering(const char *text, size_t size, uint32_t *character, size_t *length)
{
    const unsigned char *from = (const unsigned char *)text;
    size_t at = 0;

    for (*length = 0; at < size; at += *length) {
        *character = 0;
        *length = take(from + at, size - at, character);
        if (*length == 0 || steers(*character)) {
            *character = *length > 0 ? *character : 0;
            *length = *length > 0 ? *length : 1;
            return at;
        }
    }
    return size;
}

size_t jsonl_whole(const char *text, size_t size)
{
    for (size_t back = 1; back <= 3 && back <= size; back++) {
        unsigned char octet = (unsigned char)text[size - back];
        if ((octet & 0xc0) != 0x80) {
            return length_of(octet) > back ? size - back : size;
        }
    }
    return size;
}
