/* Tells a service manager (systemd, or who speaks like it) what has become of the daemon. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_NOTIFY_H
#define SEKISHO_NOTIFY_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "core/status.h"

/* sd_notify(3) without its library: a datagram to the unix socket that NOTIFY_SOCKET names, by path
 * or, behind @, in the abstract name space. */
struct notify {
    int socket; /* -1: nobody wants to know */
    struct sockaddr_un address;
    socklen_t size;
    int64_t watchdog_ms; /* so often at the least WATCHDOG=1 must come; 0 = never */
};

/* Reads the environment: NOTIFY_SOCKET, and WATCHDOG_USEC if WATCHDOG_PID is ours or absent.
 * STATUS_BAD: they are there and make no sense. */
enum status notify_open(struct notify *notify, struct why *why);
/* Sends lines NAME=VALUE; waits a few seconds at the most. False when it could not be sent. */
bool notify_send(const struct notify *notify, const char *lines);
void notify_close(struct notify *notify);

#endif
