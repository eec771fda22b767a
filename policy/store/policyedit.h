/* Rows of a list into one table of policy.db: all of them in one transaction, or none. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_POLICYEDIT_H
#define SEKISHO_POLICYEDIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"
#include "core/verdict.h"
#include "store/policydb.h"

/* An open transaction on the file; others may read meanwhile. */
struct policyedit;

/* The columns a list may fill, in the table's order, note last; ended by NULL. */
enum { POLICYEDIT_COLUMNS = 12 };
void policyedit_columns(enum table table, const char *columns[POLICYEDIT_COLUMNS]);

/* One cell; text NULL: not given, so the column has its default. Otherwise size octets. */
struct policyedit_cell {
    const char *text;
    size_t size;
};

/* Takes the lock for writing and begins. replace: the list is the whole table, of ip_range the
 * whole source (NULL: the administrator's own rows). STATUS_BAD: no policy of ours, or one that a
 * trigger of somebody's would change besides. STATUS_BUSY: another program has had the lock for
 * wait_ms. STATUS_BROKEN: memory, permission, disk. */
enum status policyedit_begin(const char *path, enum table table, bool replace, const char *source,
                             int wait_ms, struct policyedit **edit, struct why *why);
/* Undoes what was not committed. NULL is allowed. */
void policyedit_close(struct policyedit *edit);

enum policyedit_did {
    POLICYEDIT_ADDED,
    POLICYEDIT_CHANGED, /* replace: a row of before has the list's values now, and its id */
    POLICYEDIT_KEPT,    /* such a row was there before the list */
    POLICYEDIT_REPEATED /* the list has it already */
};

/* Takes one row, line (above 0) is where it stands in the list. A note that is not given leaves
 * the note of a row that is there. STATUS_BAD: a CHECK refuses it, or another row of that key has
 * other values; why is the sentence, beginning with the column. The edit may go on, so that all bad
 * rows can be named, but must not be committed. Any other status: the edit is undone. */
enum status policyedit_row(struct policyedit *edit, const struct policyedit_cell *cells,
                           uint32_t line, enum policyedit_did *did, struct why *why);
/* replace: removes the rows that the list does not have. */
enum status policyedit_sweep(struct policyedit *edit, size_t *removed, struct why *why);
/* The line of the list that a row of the table is from; 0: none. */
uint32_t policyedit_line(const struct policyedit *edit, int64_t row);
/* The policy as it would be; the edit's. */
struct policydb *policyedit_policy(struct policyedit *edit);
/* STATUS_BUSY: somebody has read for longer than wait_ms. All or nothing, also in a power cut. */
enum status policyedit_commit(struct policyedit *edit, struct why *why);

#endif
