/* What the verbs of the tool share: the options in front, exit codes, the policy, output. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_CTL_H
#define SEKISHO_CTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/facts.h"
#include "core/policy.h"
#include "core/status.h"
#include "core/verdict.h"
#include "store/policydb.h"

enum ctl_exit {
    CTL_YES = 0,        /* yes, done */
    CTL_NO = 1,         /* no, a finding */
    CTL_USAGE = 2,      /* wrong words, or a file that cannot be read or made */
    CTL_INVALID = 3,    /* the policy would not load */
    CTL_UNREACHABLE = 4 /* the daemon or its state cannot be reached */
};

struct ctl {
    const char *policy, *state;
    bool json;
    struct moment now; /* read once, in main.c */
};

/* A verb: argv[0] is its name. */
typedef int ctl_verb(const struct ctl *ctl, int argc, char **argv);

ctl_verb verb_init, verb_check, verb_explain, verb_prove, verb_status;

/* -- output --------------------------------------------------------------------------------- */

/* Says a sentence on standard error, or in JSON on standard output. Returns code. */
int ctl_fail(const struct ctl *ctl, int code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Prints the answer (NULL: says that there was no memory for it) and gives it up. */
void ctl_print(json_t *answer);

/* The text as printable ASCII, other bytes as \xNN; unlike printable_copy it keeps quotes, as the
 * eye wants them. Cut to fit. Returns to. */
const char *ctl_plain(const char *text, char *to, size_t room);
/* The text as it is, or as ctl_plain has it where it is not UTF-8. */
json_t *ctl_json_text(const char *text);
/* {"table", "row", "text"}, or null for what is built in. */
json_t *ctl_json_rule(const struct policy *policy, struct rule rule);

enum { CTL_TIME = 32 };
/* Reads 2026-11-24 03:00:00 or 2026-11-24T03:00:00Z (UTC) as Unix milliseconds. */
bool ctl_time_read(const char *text, int64_t *wall);
/* Writes it as 2026-11-24 03:00:00. Returns to. */
const char *ctl_time_text(int64_t wall, char to[CTL_TIME]);

/* -- the policy ----------------------------------------------------------------------------- */

enum { CTL_WAIT_MS = 5000 }; /* for an editor's lock */

/* The policy as the daemon would have it at a moment; db may be read again. */
struct ctl_policy {
    struct policydb *db;
    struct policy *policy;
};

/* Reads and seals, without the proof; why as policydb_open, policydb_read and policy_seal say. */
enum status ctl_policy_open(const char *path, int64_t wall, struct ctl_policy *opened,
                            struct why *why);
void ctl_policy_close(struct ctl_policy *opened);
/* CTL_YES, CTL_INVALID for STATUS_BAD, CTL_UNREACHABLE for the rest. */
int ctl_exit_of(enum status status);

/* -- edits ---------------------------------------------------------------------------------- */

enum { CTL_SQL = 1600 };

/* One line for the sqlite3 shell, and what it would do. */
struct ctl_edit {
    char sql[CTL_SQL];
    const char *caution; /* what the administrator must know before he pastes it */
    bool tried;          /* after was judged with the row in place; false: the line changes a row
                            that is there, which is not tried in memory */
    struct verdict after;
};

/* The smallest edit that would change this verdict on these facts. STATUS_BAD: there is none; why
 * is "" or says why the obvious one would not do. */
enum status ctl_edit_find(const struct ctl_policy *opened, const struct facts *facts,
                          const struct verdict *verdict, struct ctl_edit *edit, struct why *why);

#endif
