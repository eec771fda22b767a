/* The whole policy as SQL: the same text for the same rows, and the same rows from the text. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_POLICYDUMP_H
#define SEKISHO_POLICYDUMP_H

#include <stdbool.h>
#include <stddef.h>

#include "core/status.h"
#include "store/policydb.h"

/* Writes the tables of a policy with their indices, all rows with their ids in ascending order, one
 * a line, and the ids that were given last; one transaction, whose COMMIT is the last line.
 * Printable text of UTF-8 throughout. *others counts what stands in the file besides and is left
 * out (tables, views and triggers of somebody's own). put: false, and the dump ends with
 * STATUS_BROKEN. STATUS_BAD: the file's text of a table is more than that table. */
enum status policydump(struct policydb *db,
                       bool (*put)(void *context, const char *text, size_t size), void *context,
                       size_t *others, struct why *why);

#endif
