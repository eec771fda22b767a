/* xtext (RFC 3461 4): how Sendmail hands over a login, read back into what was said. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/xtext.h"

#include <string.h>

static int digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* The octet at text[i], and at *next where the one after it is; -1 when it is none. */
static int octet(const char *text, size_t size, size_t i, size_t *next)
{
    *next = i + 1;
    if (text[i] != '+') {
        return (unsigned char)text[i];
    }
    if (size - i < 3 || digit(text[i + 1]) < 0 || digit(text[i + 2]) < 0) {
        return -1;
    }
    *next = i + 3;
    return digit(text[i + 1]) * 16 + digit(text[i + 2]);
}

size_t xtext_read(const char *text, size_t size, char *to, size_t room)
{
    size_t used = 0;

    for (size_t i = 0; i < size;) {
        int c = octet(text, size, i, &i);
        if (c <= 0) {
            used = size < room ? size : room;
            memcpy(to, text, used);
            return used;
        }
        if (used < room) {
            to[used++] = (char)c;
        }
    }
    return used;
}
