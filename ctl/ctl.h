/* What the verbs of the tool share: the options in front, exit codes, the policy, output. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_CTL_H
#define SEKISHO_CTL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/decision_json.h"
#include "core/facts.h"
#include "core/policy.h"
#include "core/status.h"
#include "core/verdict.h"
#include "store/policydb.h"
#include "store/statedb_decision.h"
#include "store/statedb_request.h"

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

ctl_verb verb_init, verb_check, verb_explain, verb_prove, verb_status, verb_log, verb_block,
    verb_usage, verb_window, verb_replay, verb_report, verb_import, verb_export;

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

/* Reads 90s, 30m, 24h or 7d as seconds: 1 to a year. */
bool ctl_span_read(const char *text, int64_t *seconds);
enum { CTL_SPAN = 48 };
/* Writes it as 2d 3h, 59m 12s: the two largest units. Returns to. */
const char *ctl_span_text(int64_t seconds, char to[CTL_SPAN]);
/* Reads a span back from now, or a time. */
bool ctl_since_read(const struct ctl *ctl, const char *text, int64_t *wall);
/* Reads 4821 or #4821; above 0. */
bool ctl_number_read(const char *text, uint64_t *number);

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

/* -- the state ------------------------------------------------------------------------------ */

enum { CTL_PATH = 4096 };
/* The name of a file in the state's directory; false: too long. */
bool ctl_beside_state(const struct ctl *ctl, const char *name, char path[CTL_PATH]);

enum ctl_daemon { CTL_DAEMON_RUNS, CTL_DAEMON_NONE, CTL_DAEMON_UNKNOWN };
/* The daemon holds the lock for as long as it lives. why: of CTL_DAEMON_UNKNOWN. */
enum ctl_daemon ctl_daemon_look(const struct ctl *ctl, struct why *why);

/* Sleeps; a signal wakes it. */
void ctl_pause(int milliseconds);

enum ctl_asked {
    CTL_ASKED_ANSWERED, /* request->done and answer say it */
    CTL_ASKED_NO_DAEMON,
    CTL_ASKED_SILENT, /* no answer in CTL_WAIT_MS: the request was taken back */
    CTL_ASKED_FAILED  /* why */
};
/* Puts a request and waits for the answer of a daemon that runs. leave: put it also when none runs,
 * for the next one to do. */
enum ctl_asked ctl_ask(const struct ctl *ctl, struct statedb *db, struct statedb_request *request,
                       bool leave, struct why *why);
/* Opens the state, asks, and prints what came of it. Returns how the tool ends. leave as above. */
int ctl_ask_print(const struct ctl *ctl, struct statedb_request *request, bool leave);

/* Everything that is kept of a decision (core/decision_json.h), as a line or to put into an answer.
 * The line's length; 0, NULL: no room, no memory. */
size_t ctl_decision_line(const struct statedb_decision *stored, char to[DECISION_JSON]);
json_t *ctl_json_decision(const struct statedb_decision *stored);

/* explain NUMBER: retells a recorded decision. */
int ctl_explain_number(const struct ctl *ctl, uint64_t number);

/* -- edits ---------------------------------------------------------------------------------- */

enum { CTL_SQL = 1600 };

/* One line for the sqlite3 shell, or a command, and what it would do. */
struct ctl_edit {
    char sql[CTL_SQL];
    bool command;        /* sql is a line for the shell of the system */
    const char *caution; /* what the administrator must know before he pastes it */
    bool tried;          /* after was judged with the row in place; false: the line changes a row
                            that is there, which is not tried in memory */
    struct verdict after;
};

struct counted;
/* The smallest edit that would change this verdict on these facts and counts. STATUS_BAD: there is
 * none; why is "" or says why the obvious one would not do. */
enum status ctl_edit_find(const struct ctl_policy *opened, const struct facts *facts,
                          const struct counted *counted, const struct verdict *verdict,
                          struct ctl_edit *edit, struct why *why);

#endif
