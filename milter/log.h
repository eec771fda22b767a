/* The log: one line a decision, every field escaped, to syslog or standard error. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_LOG_H
#define SEKISHO_LOG_H

#include <stdbool.h>
#include <stddef.h>

#include "live/engine.h"

/* Lines go to syslog (facility mail), or with to_stderr to standard error. */
void log_open(bool to_stderr);

/* One sentence; the form keeper_tell has. */
void log_sentence(void *context, int priority, const char *sentence);

/* One decision. session and queue may be ""; where is "milter" or "door". mta_refused: the MTA itself has
 * refused this recipient. */
void log_decision(const char *where, const char *session, const char *queue,
                  const struct facts *facts, const struct judged *judged, bool mta_refused);

/* The end of a message: what joins a session's decisions with the queue id. */
void log_message(const char *session, const char *queue, const char *end, size_t accepted,
                 size_t refused, const char *reason, uint64_t number);

#endif
