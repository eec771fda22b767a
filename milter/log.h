/* The log: one line a decision, as text or JSON; syslog is spoken to by a thread of its own. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_LOG_H
#define SEKISHO_LOG_H

#include <stdbool.h>
#include <stddef.h>

#include "live/engine.h"

/* Lines go to syslog (facility mail), or with to_stderr to standard error. json: each line is one
 * JSON object; there is no program's name before it on standard error. Either way a line is no
 * longer than 8000 octets, which a syslog of today takes whole, and holds no control character. */
void log_open(bool to_stderr, bool json);
/* From here on lines for syslog wait in a bounded ring for a thread, so that a syslog that has
 * stopped reading stops no mail; when the ring is full lines are lost, and their number is told.
 * The thread is not woken for each of many lines: one that follows another is some milliseconds
 * late. Signals must be blocked. Lines for standard error are written by whoever says them, as
 * before. */
void log_start(void);
/* Writes what waits, for a second at the most; afterwards lines are written at once again. Returns
 * false when the thread hangs in a write: then nothing more should be logged. */
bool log_stop(void);

/* One sentence; the form keeper_tell has. */
void log_sentence(void *context, int priority, const char *sentence);

/* One decision. session and queue may be ""; where is "milter" or "door". mta_refused: the MTA
 * itself has refused this recipient. */
void log_decision(const char *where, const char *session, const char *queue,
                  const struct facts *facts, const struct judged *judged, bool mta_refused);

/* The end of a message: what joins a session's decisions with the queue id. */
void log_message(const char *session, const char *queue, const char *how, size_t accepted,
                 size_t refused, const char *reason, uint64_t number);

#endif
