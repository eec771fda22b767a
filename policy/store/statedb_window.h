/* Login windows in state.db, so that they outlive a restart. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_STATEDB_WINDOW_H
#define SEKISHO_STATEDB_WINDOW_H

#include <stdbool.h>
#include <stdint.h>

#include "core/windowlist.h"
#include "store/statedb.h"

/* -- writing: between begin and commit -------------------------------------------------------- */

/* One a client, the last counts. */
enum status statedb_put_window(struct statedb *db, const struct window *window, struct why *why);
enum status statedb_drop_window(struct statedb *db, const struct ip *client, struct why *why);
/* Removes those that end at `steady` or before, and those without until_steady. */
enum status statedb_drop_windows(struct statedb *db, int64_t steady, struct why *why);

/* -- reading --------------------------------------------------------------------------------- */

/* Until take says false: enough. until_steady is STATEDB_BY_WALL in a row that the daemon has not
 * made. */
enum status statedb_windows(struct statedb *db, bool (*take)(void *context, const struct window *),
                            void *context, struct why *why);

#endif
