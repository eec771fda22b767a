/* The recorded decisions in their order, each with the message it belonged to. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_CTL_COURSE_H
#define SEKISHO_CTL_COURSE_H

#include "ctl.h"
#include "store/statedb_log.h"

/* Read in pieces, each in a read transaction of its own, so that a daemon that writes is not kept
 * from emptying its -wal. state.db does not say which recipients were one message; this is what can
 * be told: the same session, sender and end, and one queue id. Where the mail server gave none (it
 * does with the first recipient that passes) a recipient follows one that was let through. So a
 * message that was refused whole is taken for as many as it has recipients: too many messages,
 * never too few. At the permit door the session is the message. Of what stands more than
 * COURSE_AHEAD decisions apart it is not seen that it belongs together. */
struct course;

enum {
    COURSE_AHEAD = 2048,
    COURSE_MESSAGES = 2 * COURSE_AHEAD /* so many are begun and not over, at most */
};

struct course_step {
    struct statedb_decision stored;
    bool fits;        /* what was asked for */
    unsigned message; /* below COURSE_MESSAGES; told again of another one when this one is over */
    bool last;        /* of its message */
    bool let_through; /* a recipient of this message so far was let through, by us and the MTA */
};

/* The decisions from a wall time on (Unix ms), and before asked->until (not 0); those that `asked`
 * asks for, since its `since`, are marked. db and asked must outlive it. */
enum status course_open(struct statedb *db, const struct statedb_filter *asked, int64_t from,
                        struct course **course, struct why *why);
void course_close(struct course *course);
/* The next one, of use until the next call; NULL after the last. */
enum status course_next(struct course *course, const struct course_step **step, struct why *why);

#endif
