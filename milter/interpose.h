/* What libmilter calls of the C library, where the daemon defines it in the library's place. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_INTERPOSE_H
#define SEKISHO_INTERPOSE_H

#include <stdbool.h>

/* Whoever links interpose.c gets, for the whole program:
 *
 * sigwait() never returns. libmilter has a thread that waits for SIGHUP, SIGTERM and SIGINT and
 * ends the filter at each of them, SIGHUP too; whether it or the main thread gets one would be the
 * kernel's choice.
 *
 * accept() gives close-on-exec descriptors, and none while connections are refused.
 *
 * poll(), read() and close() on what accept() gave read ahead: libmilter asks the kernel four times
 * for each packet of the MTA (is there something, the five octets of its head, is there more, the
 * rest), and the MTA writes many at once. A read takes what has come, up to a kilobyte, and the
 * next ones are served from that, with poll() saying so; an octet read ahead belongs to the
 * connection, whichever thread asks, until close(). Of all other descriptors they are the C
 * library's. */

/* Whether accept() refuses: it then fails with EINTR every ten milliseconds, which libmilter does
 * not count as a failure, and who connects waits in the backlog, for the next process where the
 * socket outlives this one (fd:N). smfi_stop cannot do that: it leaves running sessions unanswered.
 * Any thread may call it. */
void interpose_refuse(bool refuse);

#endif
