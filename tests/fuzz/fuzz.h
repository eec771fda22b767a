/* What the fuzzers share: a condition that must hold, or the program ends where it did not. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_FUZZ_H
#define SEKISHO_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

/* Not assert: it must work in release builds as well. */
#define MUST(condition)                                                                            \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);         \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* Printable ASCII and something at all. */
static inline bool is_sentence(const char *text)
{
    for (const char *at = text; *at != '\0'; at++) {
        if (*at < 0x20 || *at > 0x7e) {
            return false;
        }
    }
    return text[0] != '\0';
}

/* A copy that ends exactly where the text ends, so that the sanitizer sees a read behind it;
 * with a NUL behind it if `ended`. */
static inline char *exact_copy(const void *text, size_t size, bool ended)
{
    char *copy = malloc(size + (ended ? 1 : 0) + (size == 0 && !ended ? 1 : 0));
    MUST(copy != NULL);
    if (size > 0) {
        memcpy(copy, text, size);
    }
    if (ended) {
        copy[size] = '\0';
    }
    return copy;
}

#endif
