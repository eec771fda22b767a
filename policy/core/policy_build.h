/* Making a policy: rows go in one by one (then policy_seal.h). */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_POLICY_BUILD_H
#define SEKISHO_POLICY_BUILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"
#include "core/verdict.h"

/* One cell of a row as the database holds it. */
enum cell_type { CELL_NULL, CELL_INTEGER, CELL_TEXT, CELL_OTHER };

struct cell {
    enum cell_type type;
    int64_t integer;  /* of CELL_INTEGER */
    const char *text; /* of CELL_TEXT: size bytes and a NUL */
    size_t size;
};

/* The columns of a table in the order in which policy_build_row expects the cells (note is not
 * among them; id comes apart), or NULL for a table that does not exist. Ended by NULL. */
const char *const *policy_columns(enum table table);

struct policy_build;

/* NULL when memory runs out. */
struct policy_build *policy_build_new(void);
void policy_build_free(struct policy_build *build);

/* Takes one row; the rows of one table come in ascending order of id. STATUS_BAD: the row is wrong
 * and was not taken; why is a sentence that begins with table and row ("ip_range 17:
 * 220.86.126.9-220.86.126.1 ends before it begins"). The build may go on, so that all bad rows can
 * be named, but must not be sealed then. STATUS_BROKEN: memory. */
enum status policy_build_row(struct policy_build *build, enum table table, int64_t row,
                             const struct cell *cells, struct why *why);

#endif
