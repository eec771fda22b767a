/* The permit door: answers the MTA whether this client may relay, from memory, in one thread. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_PERMIT_H
#define SEKISHO_PERMIT_H

#include <stddef.h>

#include "core/status.h"
#include "live/engine.h"

/* Speaks two protocols, told apart by the first octet of a connection:
 *   Postfix policy delegation (SMTPD_POLICY_README), asked behind permit_auth_destination, so what
 * the tables call local is still relaying for a stranger: attributes name=value, an empty line;
 * answered `action=OK`, `action=550 5.7.1 ...`, `action=451 4.3.0 ...`, or DUNNO where no recipient
 * is named; Sendmail socket map: netstrings `NAME KEY`, KEY being client|login|sender|recipient
 * (any other number of | is refused, so no field can reach into the next), asked about what
 * Sendmail does not call its own; answered `OK yes`, or `OK 550 5.7.1 "550 ..."`. Input is bounded:
 * a request longer than PERMIT_REQUEST_MOST, or not finished within PERMIT_PATIENCE_MS, ends its
 * connection. */
enum { PERMIT_CLIENTS_MOST = 1000, PERMIT_REQUEST_MOST = 16384, PERMIT_PATIENCE_MS = 10000 };

struct permit;

/* Takes a listening socket over and starts the thread. */
enum status permit_start(struct engine *engine, int listener, struct permit **permit,
                         struct why *why);
/* Ends the thread and all connections; NULL is allowed. */
void permit_stop(struct permit *permit);

/* One whole request of either protocol in request[0..size) to its answer; exposed for the tests. */
enum permit_protocol { PERMIT_POSTFIX, PERMIT_SOCKET_MAP };
enum { PERMIT_ANSWER_MOST = 1024 };
size_t permit_answer(struct engine *engine, enum permit_protocol protocol, const char *request,
                     size_t size, char answer[PERMIT_ANSWER_MOST]);

/* How many octets of buffer are the first whole request (without framing: *from, *length), 0 when
 * more must come, (size_t)-1 when no request can begin like this. */
size_t permit_frame(const char *buffer, size_t size, enum permit_protocol *protocol, size_t *from,
                    size_t *length);

#endif
