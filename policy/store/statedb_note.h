/* Notes in state.db: what is worth telling in the report. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_STATEDB_NOTE_H
#define SEKISHO_STATEDB_NOTE_H

#include <stdint.h>

#include "store/statedb.h"

/* A block began, a database was set aside: kind is one word, number the decision that it concerns
 * (0: none), wall Unix ms. Between begin and commit. */
enum status statedb_put_note(struct statedb *db, int64_t wall, const char *kind,
                             const char *subject, uint64_t number, const char *text,
                             struct why *why);

#endif
