/* The login windows that are open: in memory, and in state.db for the time after a restart. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_WINDOWS_H
#define SEKISHO_WINDOWS_H

#include <stdbool.h>
#include <stdint.h>

#include "core/facts.h"
#include "core/policy.h"
#include "core/windowlist.h"
#include "store/statedb_request.h"

/* A bounded list with a lock of its own. `clock` is the ledger's, as in book.h. */
struct windows;

struct windows *windows_new(void);
void windows_free(struct windows *windows);

/* Has the client an open window? Writes whose it is. Any thread; allocates nothing. */
bool windows_find(struct windows *windows, const struct ip *client, int64_t clock,
                  char login[WINDOW_LOGIN]);

/* -- the keeper ------------------------------------------------------------------------------ */

/* Takes up what state.db has from before a restart. What cannot be read stays closed. */
void windows_restore(struct windows *windows, struct statedb *state, int64_t clock);
/* Forgets what is over, here and there. */
enum status windows_step(struct windows *windows, struct statedb *state, int64_t clock,
                         struct why *why);

/* Is this a request for here (window-open, window-close)? */
bool windows_verb(const char *verb);
/* Does what the tool asks: subject is the client, note the login, seconds how long (0: as long as
 * the setting says). request->done tells whether, why in a sentence what was done or why not. A
 * request that has waited for longer than a moment is not done: the login is not of now. */
void windows_obey(struct windows *windows, struct statedb *state, const struct policy *policy,
                  int64_t clock, struct moment now, struct statedb_request *request,
                  struct why *why);

#endif
