/* Requests in state.db: the tool asks, the daemon answers. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_STATEDB_REQUEST_H
#define SEKISHO_STATEDB_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "core/blocklist.h"
#include "store/statedb.h"

struct statedb_request {
    int64_t id;
    char verb[16]; /* lift, add, reset, sync, window-open, window-close */
    char subject[BLOCK_SUBJECT];
    int64_t seconds; /* of add; 0 = until lifted */
    char note[BLOCK_NOTE];
    int64_t at;          /* when it was put, wall clock, Unix ms; 0 = not known. Read only */
    bool answered, done; /* done: it was done; otherwise answer says why not */
    char answer[256];
};
/* Puts a request (the tool; own transaction); its id is written to request->id. */
enum status statedb_ask(struct statedb *db, struct statedb_request *request, int64_t wall,
                        struct why *why);
/* Reads the answer; request->answered is false while there is none. A request that is gone
 * (somebody deleted it, the file is another now) is answered with that, not done. */
enum status statedb_answer(struct statedb *db, struct statedb_request *request, struct why *why);
/* Takes a request back that nobody has answered (the tool gives up). */
enum status statedb_take_back(struct statedb *db, int64_t id, struct why *why);
/* The oldest request without answer; *found false if there is none. */
enum status statedb_next_request(struct statedb *db, struct statedb_request *request, bool *found,
                                 struct why *why);
/* The first request above this id that the daemon has done and that took back what was counted or
 * blocked (lift, reset); `at` is when it was done, never before it was put: the daemon reads its
 * clock before its requests. *found false if there is none. */
enum status statedb_next_lift(struct statedb *db, int64_t above, struct statedb_request *request,
                              bool *found, struct why *why);
/* Writes the answer: between begin and commit. */
enum status statedb_put_answer(struct statedb *db, const struct statedb_request *request,
                               int64_t wall, struct why *why);

#endif
