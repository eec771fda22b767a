/* A decision as JSON: the same members in the daemon's log and in what the tool prints. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_DECISION_JSON_H
#define SEKISHO_DECISION_JSON_H

#include <stddef.h>

#include "core/decision.h"
#include "core/jsonl.h"

enum {
    DECISION_JSON = 40960,                  /* room for all that is kept of a decision, with NUL */
    DECISION_JSON_TEXT = 6 * DECISION_TEXT, /* octets that a kept text becomes at the most */
    DECISION_JSON_OURS = 6 * DECISION_ROW_TEXT /* and a text of our own making */
};

/* Adds the members. at: the time, as people read it. outcome: "" while it is open. Of each text
 * from outside at most `most` octets are written (DECISION_JSON_TEXT: all); "lengths" tells how
 * long those are that are not whole, "escaped" names those that were not UTF-8. What is not known
 * is null. */
void decision_json(struct jsonl *line, const struct decision *decision, const char *at,
                   const char *outcome, size_t most);

const char *outcome_name(enum outcome outcome); /* "" while it is open */

#endif
