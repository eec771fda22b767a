/* What has happened in a span, summed up from state.db. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_FIGURES_H
#define SEKISHO_FIGURES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/facts.h"
#include "core/status.h"
#include "core/verdict.h"

/* One moment of state.db, read only, beside a daemon that runs: all sums agree with each other.
 * SQLite sorts what does not fit into a few megabytes in a temporary file. */
struct figures;

/* wait_ms: how long to wait for a lock. Every function: STATUS_BUSY: locked, or not there;
 * STATUS_BAD: damaged, or no state.db of this version; STATUS_BROKEN: memory, disk, permission. */
enum status figures_open(const char *path, int wait_ms, struct figures **figures, struct why *why);
void figures_close(struct figures *figures);

/* A span is since <= at < until, wall clock, Unix ms. False from a function that is given a row:
 * enough, no more rows. Texts are borrowed for the call. */

/* Decisions that are alike but for who and when. Those of one row of policy.db follow each other,
 * in the order of table's name and id; those of none come first. */
struct figures_group {
    struct rule rule; /* the row that spoke; TABLE_NONE also: of a table that is not ours */
    enum reason reason;
    enum action action;
    bool local;         /* the recipients are ours */
    const char *moment; /* 2026-11-24 03, or 2026-11-24 where days are asked for */
    uint64_t count;
    uint64_t observed; /* of these: a check that is only observed would have answered otherwise */
};
enum status figures_groups(struct figures *figures, int64_t since, int64_t until, bool days,
                           bool (*take)(void *context, const struct figures_group *), void *context,
                           struct why *why);

/* Whose most there is of. */
enum figures_whose {
    FIGURES_CLIENTS, /* refused and deferred, by client */
    FIGURES_LOGINS,  /* let through, by login as it was given */
    FIGURES_FORGED,  /* sender-spoofed, by sender as typed */
    FIGURES_WHOSE_COUNT
};
struct figures_top {
    struct text name;
    uint64_t count;     /* by this they are ordered, the most first */
    uint64_t out;       /* LOGINS: of these to recipients that are not ours */
    uint64_t refused;   /* LOGINS: refused and deferred beside */
    uint64_t number;    /* the last of them: its number, */
    enum reason reason; /* why it was answered so, */
    struct text client; /* and from where it came */
};
enum status figures_top(struct figures *figures, enum figures_whose whose, int64_t since,
                        int64_t until, size_t most,
                        bool (*take)(void *context, const struct figures_top *), void *context,
                        struct why *why);

/* Recipients that were let through in SMTP sessions and whose message was not refused or given up
 * after that, in the order of their numbers. */
struct figures_pass {
    uint64_t number;
    int64_t at; /* Unix ms */
    enum sender_kind kind;
    bool local, client_known;
    struct ip client;
    struct text login, recipient, queue;
};
enum status figures_passes(struct figures *figures, int64_t since, int64_t until,
                           bool (*take)(void *context, const struct figures_pass *), void *context,
                           struct why *why);

/* Notes with an id above `above`, from `since` on, in the order of their ids. */
struct figures_note {
    int64_t id, at;
    const char *kind, *subject, *sentence;
    uint64_t number;
};
enum status figures_notes(struct figures *figures, int64_t above, int64_t since,
                          bool (*take)(void *context, const struct figures_note *), void *context,
                          struct why *why);
/* The highest id a note has; 0 = there is none. */
enum status figures_last_note(struct figures *figures, int64_t *id, struct why *why);

#endif
