/* How many unrelated names each client host has shown in the last hour. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_GATEWAY_H
#define SEKISHO_GATEWAY_H

#include <stddef.h>
#include <stdint.h>

/* Bounded: so many names of each kind are kept of a client; and when there are more clients than
 * there is room for, the one that was quiet for longest is forgotten (about 1 KB a client). */
enum { GATEWAY_NAMES = 64, GATEWAY_SECONDS = 3600 };

struct gateway; /* owns its memory; one caller at a time */

/* Different names in the last hour, counted to GATEWAY_NAMES. */
struct gateway_seen {
    unsigned helos, senders;
};

struct gateway *gateway_new(size_t clients);
void gateway_free(struct gateway *gateway);

/* The client (a hash, not 0) has said this HELO and sent from this domain: hashes of their
 * organisations, 0 = none. `now` is steady milliseconds. Returns what it has shown, these too.
 * Allocates nothing. */
struct gateway_seen gateway_note(struct gateway *gateway, uint64_t client, uint64_t helo,
                                 uint64_t sender, int64_t now);
/* The client's names are forgotten: its hour begins anew. */
void gateway_forget(struct gateway *gateway, uint64_t client);

#endif
