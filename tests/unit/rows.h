/* Policies out of rows written as text, for the tests that need one. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_ROWS_H
#define SEKISHO_ROWS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/policy_build.h"
#include "core/policy_seal.h"

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

/* 2026-11-24 03:00:00 UTC, the time of most tests. */
#define ROWS_NOW (INT64_C(1795489200) * 1000)

/* A row: its cells divided by |, each a text, ~ for NULL, #7 for an integer, ! for a blob. A table
 * of 0 ends a list. */
struct row {
    enum table table;
    int64_t id;
    const char *cells;
};

static inline enum status row_add(struct policy_build *build, enum table table, int64_t id,
                                  const char *text, struct why *why)
{
    struct cell cells[12];
    char copy[2048];
    size_t count = 0;
    char *at = copy;

    assert_true(strlen(text) < sizeof copy);
    memcpy(copy, text, strlen(text) + 1);
    memset(cells, 0, sizeof cells);
    while (at != NULL && count < COUNT_OF(cells)) {
        struct cell *cell = &cells[count++];
        char *end = strchr(at, '|');
        if (end != NULL)
            *end++ = '\0';
        cell->text = "";
        if (strcmp(at, "~") == 0) {
            cell->type = CELL_NULL;
        } else if (at[0] == '#') {
            cell->type = CELL_INTEGER;
            cell->integer = strtoll(at + 1, NULL, 10);
        } else if (strcmp(at, "!") == 0) {
            cell->type = CELL_OTHER;
        } else {
            cell->type = CELL_TEXT;
            cell->text = at;
            cell->size = strlen(at);
        }
        at = end;
    }
    return policy_build_row(build, table, id, cells, why);
}

/* The build of all rows of a list; each of them is taken, or the test fails. */
static inline struct policy_build *rows_build(const struct row *rows)
{
    struct policy_build *build = policy_build_new();
    struct why why = {""};

    assert_non_null(build);
    for (; rows->table != TABLE_NONE; rows++) {
        if (row_add(build, rows->table, rows->id, rows->cells, &why) != STATUS_OK)
            fail_msg("%s", why.text);
    }
    return build;
}

/* A policy of the rows at a time (Unix milliseconds); it is sealed, or the test fails. */
static inline struct policy *rows_policy(const struct row *rows, int64_t now)
{
    struct policy_build *build = rows_build(rows);
    struct policy *policy = NULL;
    struct why why = {""};

    if (policy_seal(build, now, &policy, &why) != STATUS_OK)
        fail_msg("%s", why.text);
    policy_build_free(build);
    return policy;
}

static inline struct text text_from(const char *text)
{
    return (struct text){text, strlen(text)};
}

#endif
