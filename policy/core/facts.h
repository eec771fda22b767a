/* What is known of one recipient when it is judged, and of those who are asked. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_FACTS_H
#define SEKISHO_FACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/address.h"
#include "core/range.h"

/* The two clocks, read once a call in live/moment.c: wall is Unix time in milliseconds, steady is
 * milliseconds of CLOCK_BOOTTIME. */
struct moment {
    int64_t wall;
    int64_t steady;
};

/* Who asks. */
enum post {
    POST_MILTER, /* every check, as check_mode says */
    POST_DOOR /* the permit door: address, identity, a block on the relay right, relay; enforced */
};

/* A text that came over the wire: size bytes, not necessarily UTF-8, also ended by NUL. */
struct text {
    const char *bytes; /* "" when unknown, never NULL */
    size_t size;
};

/* All of it is borrowed for one call. */
struct facts {
    enum post post;
    bool client_known; /* false: the MTA could not say from where ("unknown") */
    bool submission;   /* non-SMTP: the MTA's own command line, never refused */
    struct ip client;  /* of use if client_known */
    bool not_for_mta;  /* the MTA has said already that the recipient is none of its own: only a
                          right to relay can let it pass */
    bool listener_known;
    struct ip listener; /* the address of ours that the client has reached */
    struct text
        client_name; /* reverse DNS as the MTA found it: belongs to the client, proves nothing */
    struct text helo;
    struct text host;  /* the MTA's own name, {j} */
    struct text login; /* {auth_authen}; empty = none */
    bool window; /* login is that of the client's login window: nobody has authenticated here */
    struct text sender;    /* as typed at MAIL FROM */
    struct text recipient; /* as typed at RCPT TO */
    /* The two taken apart already, or NULL: then the judgement does it. */
    const struct address *sender_address, *recipient_address;
};

#endif
