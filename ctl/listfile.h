/* A list as people keep it: entries on lines, or CSV with a header; row by row. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_LISTFILE_H
#define SEKISHO_LISTFILE_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"
#include "core/verdict.h"
#include "store/policyedit.h"

enum { LISTFILE_ROW = 65536 };                    /* octets of one row */
#define LISTFILE_MOST (INT64_C(1) << 30)          /* octets of a list */
#define LISTFILE_LINES (UINT32_MAX - UINT32_C(1)) /* lines of it */

struct listfile;

/* Opens the list for a table; "-" is standard input. What is no plain file is copied whole first,
 * so that a slow writer keeps nobody waiting. *stop (may be NULL): set by a signal, ends the
 * copying. STATUS_BAD: the list as a whole will not do (another encoding, a header with a column
 * that the table does not have). STATUS_BROKEN: it cannot be read, or a signal came. */
enum status listfile_open(const char *path, enum table table, const volatile sig_atomic_t *stop,
                          struct listfile **list, struct why *why);
void listfile_close(struct listfile *list);

/* NULL: no CSV. Otherwise which columns the header names. */
const bool *listfile_header(const struct listfile *list);

/* The next row: cells of policyedit_columns, borrowed until the next call; *line is where it
 * begins, 0 at the end. STATUS_BAD: this row is not one (why); go on with the next. STATUS_BROKEN:
 * reading failed. */
enum status listfile_next(struct listfile *list, struct policyedit_cell *cells, uint32_t *line,
                          struct why *why);

#endif
