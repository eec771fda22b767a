/* Result codes, and the one bounded sentence that goes with a failure. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/status.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

enum {
    ESCAPE_LENGTH = 4, /* \xNN */
    HASH_LENGTH = 13   /* ~ and twelve digits */
};

static bool is_printable(unsigned char byte)
{
    return byte >= 0x20 && byte <= 0x7e;
}

static bool is_plain(unsigned char byte)
{
    return is_printable(byte) && byte != '"' && byte != '\\';
}

/* Writes one byte, as it is or escaped, whole or not at all. Returns the length written. */
static size_t put_byte(char *to, size_t room, unsigned char byte, bool escape)
{
    static const char digits[] = "0123456789abcdef";

    if (!escape) {
        if (room < 1) {
            return 0;
        }
        to[0] = (char)byte;
        return 1;
    }
    if (room < ESCAPE_LENGTH) {
        return 0;
    }
    to[0] = '\\';
    to[1] = 'x';
    to[2] = digits[byte >> 4];
    to[3] = digits[byte & 15];
    return ESCAPE_LENGTH;
}

enum status why_set(struct why *why, enum status status, const char *format, ...)
{
    /* Apart from why->text, so that a caller may put words around the sentence it holds. */
    char raw[1024] = "";
    va_list arguments;
    size_t length = 0;

    if (why == NULL) {
        return status;
    }
    va_start(arguments, format);
    if (vsnprintf(raw, sizeof raw, format, arguments) < 0) {
        snprintf(raw, sizeof raw, "(the reason cannot be written)");
    }
    va_end(arguments);

    for (const char *from = raw; *from != '\0'; from++) {
        unsigned char byte = (unsigned char)*from;
        size_t used =
            put_byte(why->text + length, sizeof why->text - 1 - length, byte, !is_printable(byte));

        if (used == 0) {
            break;
        }
        length += used;
    }
    why->text[length] = '\0';
    return status;
}

/* How many of the octets at the beginning are plain: eight at a time, then one by one. */
static size_t plain_octets(const char *text, size_t size)
{
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones * 0x80;
    size_t at = 0;

    for (; size - at >= 8; at += 8) {
        uint64_t eight, quote, slash, del;
        memcpy(&eight, text + at, 8);
        quote = eight ^ ones * '"';
        slash = eight ^ ones * '\\';
        del = eight ^ ones * 0x7f;
        /* the highest bit of an octet: it is above 0x7e, below 0x20, or one of the two; where one
         * is found, the borrow may find its neighbour too: then they are looked at one by one */
        if (((eight | (eight - ones * 0x20) | (quote - ones) | (slash - ones) | (del - ones)) &
             highs) != 0) {
            break;
        }
    }
    while (at < size && is_plain((unsigned char)text[at])) {
        at++;
    }
    return at;
}

size_t printable_copy(char *to, size_t room, const char *text, size_t size, size_t keep)
{
    char tail[32] = "";
    size_t tail_length = 0;
    size_t length = 0;

    if (room == 0) {
        return 0;
    }
    if (size > keep) {
        snprintf(tail, sizeof tail, "...(%zu)", size);
        tail_length = strlen(tail);
        if (tail_length >= room) {
            tail_length = 0;
        }
        size = keep;
    }
    size_t most = room - 1 - tail_length;
    for (size_t i = 0; i < size;) {
        size_t begin = i, end = size - i < most - length ? size : i + (most - length);

        i += plain_octets(text + begin, end - begin);
        memcpy(to + length, text + begin, i - begin);
        length += i - begin;
        if (i == size || is_plain((unsigned char)text[i])) {
            break; /* the end of the text, or of the room */
        }
        size_t used = put_byte(to + length, most - length, (unsigned char)text[i++], true);
        if (used == 0) {
            break;
        }
        length += used;
    }
    memcpy(to + length, tail, tail_length);
    length += tail_length;
    to[length] = '\0';
    return length;
}

static int digit_of(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The byte that an escape at text stands for; -1: none does. NUL is no byte of a text. */
static int escaped_byte(const char *text)
{
    int high, low;

    if (text[0] != '\\' || text[1] != 'x' || (high = digit_of(text[2])) < 0 ||
        (low = digit_of(text[3])) < 0) {
        return -1;
    }
    int byte = high * 16 + low;
    return byte == 0 || is_plain((unsigned char)byte) ? -1 : byte;
}

size_t printable_read(char *to, size_t room, const char *shown)
{
    size_t length = 0;

    while (*shown != '\0') {
        int byte = escaped_byte(shown);
        if (length + 1 < room) {
            to[length] = byte >= 0 ? (char)byte : *shown;
        }
        length++;
        shown += byte >= 0 ? ESCAPE_LENGTH : 1;
    }
    if (room > 0) {
        to[length < room ? length : room - 1] = '\0';
    }
    return length;
}

size_t printable_shorten(char *to, size_t room, const char *text)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */
    size_t size = strlen(text), kept = room - 1 - HASH_LENGTH;

    if (size < room) {
        memmove(to, text, size + 1);
        return size;
    }
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ (unsigned char)text[i]) * UINT64_C(1099511628211);
    }
    hash ^= hash >> 48;
    for (size_t i = 1; i < ESCAPE_LENGTH; i++) {
        if (text[kept - i] == '\\') {
            kept -= i;
            break;
        }
    }
    memmove(to, text, kept);
    to[kept] = '~';
    for (size_t i = 1; i < HASH_LENGTH; i++) {
        to[kept + i] = digits[hash >> (4 * (i - 1)) & 15];
    }
    to[kept + HASH_LENGTH] = '\0';
    return kept + HASH_LENGTH;
}
