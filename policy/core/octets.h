/* Numbers as octets in a file: little-endian, whatever the machine is. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_OCTETS_H
#define SEKISHO_OCTETS_H

#include <stddef.h>
#include <stdint.h>

/* The lowest `count` octets of value: 1, 2, 4 or 8. Where count is known, one store. */
static inline void octets_put(unsigned char *to, size_t count, uint64_t value)
{
    if (count == 8) {
        to[7] = (unsigned char)(value >> 56);
        to[6] = (unsigned char)(value >> 48);
        to[5] = (unsigned char)(value >> 40);
        to[4] = (unsigned char)(value >> 32);
    }
    if (count >= 4) {
        to[3] = (unsigned char)(value >> 24);
        to[2] = (unsigned char)(value >> 16);
    }
    if (count >= 2) {
        to[1] = (unsigned char)(value >> 8);
    }
    to[0] = (unsigned char)value;
}

static inline uint64_t octets_get(const unsigned char *from, size_t count)
{
    uint64_t value = from[0];

    if (count >= 2) {
        value |= (uint64_t)from[1] << 8;
    }
    if (count >= 4) {
        value |= (uint64_t)from[2] << 16 | (uint64_t)from[3] << 24;
    }
    if (count == 8) {
        value |= (uint64_t)from[4] << 32 | (uint64_t)from[5] << 40 | (uint64_t)from[6] << 48 |
                 (uint64_t)from[7] << 56;
    }
    return value;
}

#endif
