/* The cases that all implementations share, read from the folder $SEKISHO_CASES. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_CASES_H
#define SEKISHO_CASES_H

#include <jansson.h>
#include <stddef.h>

/* Reads a file of cases; the running test fails when it is missing, broken or holds no case. The
 * caller owns the root (json_decref); *cases is the array inside it. */
json_t *cases_load(const char *file, json_t **cases);

/* A member of a case as text; NULL when the case has none. Borrowed from the case. */
const char *case_text(const json_t *one, const char *member);

/* The input of a case: hex (repeat_to and prefix_hex are obeyed), raw_hex, raw or text. In memory
 * of exactly *size bytes (one where there are none), without a NUL behind, so that a reader that
 * goes too far is seen. The caller frees it. */
char *case_bytes(const json_t *one, size_t *size);

/* The same bytes in memory of exactly that size; the caller frees it. */
char *exact_copy(const char *text, size_t size);

#endif
