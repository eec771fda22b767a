/* Numbers as octets in a file: little-endian, whatever the machine is. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_OCTETS_H
#define SEKISHO_OCTETS_H

#include <stddef.h>
#include <stdint.h>

/* The lowest `count` octets of value; compilers make one store of it. */
static inline void octets_put(unsigned char *to, size_t count, uint64_t value)
{
    for (size_t i = 0; i < count; i++) {
        to[i] = (unsigned char)(value >> (8 * i));
    }
}

static inline uint64_t octets_get(const unsigned char *from, size_t count)
{
    uint64_t value = 0;

    for (size_t i = 0; i < count; i++) {
        value |= (uint64_t)from[i] << (8 * i);
    }
    return value;
}

#endif
