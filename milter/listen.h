/* Sockets to listen at: what a SPEC means, who may have it, and taking it without stealing. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_LISTEN_H
#define SEKISHO_LISTEN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "core/status.h"

/* unix:PATH, inet:PORT@127.0.0.1, inet6:PORT@::1 (loopback only) or fd:N, as libmilter takes it. */
struct listen_spec {
    enum { LISTEN_UNIX, LISTEN_INET, LISTEN_INET6, LISTEN_FD } kind;
    char path[108]; /* of LISTEN_UNIX */
    uint16_t port;
    int fd;
    int lock; /* the held lock file of a unix socket, -1 = none; kept for the life of the process */
};

/* Reads a SPEC. option ("--socket") begins the sentence of a STATUS_BAD. */
enum status listen_parse(const char *option, const char *text, struct listen_spec *spec,
                         struct why *why);

/* Makes sure that nobody else has the place: locks PATH.lock and looks whether something answers or
 * a file of another kind is in the way; takes a dead socket away. STATUS_BAD: it is taken. */
enum status listen_claim(struct listen_spec *spec, struct why *why);

/* Opens the listening socket of a claimed spec; -1 and why on failure. */
int listen_open(const struct listen_spec *spec, int backlog, struct why *why);

/* The socket file of a unix spec for owner and group only, 0660. STATUS_BROKEN: cannot be. */
enum status listen_guard(const struct listen_spec *spec, struct why *why);

/* Where to connect to reach it; false for a descriptor that is nothing of the kind. */
bool listen_address(const struct listen_spec *spec, struct sockaddr_storage *address,
                    socklen_t *size);

/* Connects `times` times and hangs up at once: whoever waits for a connection there wakes. */
void listen_wake(const struct listen_spec *spec, int times);

/* Takes the socket file of a unix spec away again. */
void listen_leave(const struct listen_spec *spec);

#endif
