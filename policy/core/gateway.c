/* How many unrelated names each client host has shown in the last hour. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/gateway.h"

#include <stdlib.h>
#include <string.h>

/* A name as 32 bits of its hash and the second it was last seen in. Two names that share 32 bits
 * count as one: never too many. */
struct name {
    uint32_t hash, second;
};

struct client {
    unsigned counts[2];
    struct name names[2][GATEWAY_NAMES];
};

struct gateway {
    size_t most, used;
    uint64_t *keys; /* of each client; apart, so that looking for one reads little */
    uint32_t *last; /* the second it was last heard of */
    struct client *clients;
};

struct gateway *gateway_new(size_t clients)
{
    struct gateway *gateway = calloc(1, sizeof *gateway);

    if (gateway != NULL) {
        gateway->most = clients > 0 ? clients : 1;
        /* as large as they will ever be: pages nobody has touched cost nothing */
        gateway->keys = calloc(gateway->most, sizeof *gateway->keys);
        gateway->last = calloc(gateway->most, sizeof *gateway->last);
        gateway->clients = calloc(gateway->most, sizeof *gateway->clients);
        if (gateway->keys == NULL || gateway->last == NULL || gateway->clients == NULL) {
            gateway_free(gateway);
            gateway = NULL;
        }
    }
    return gateway;
}

void gateway_free(struct gateway *gateway)
{
    if (gateway != NULL) {
        free(gateway->keys);
        free(gateway->last);
        free(gateway->clients);
        free(gateway);
    }
}

static size_t place_of(const struct gateway *gateway, uint64_t client)
{
    size_t place = 0;

    while (place < gateway->used && gateway->keys[place] != client) {
        place++;
    }
    return place;
}

/* A place for a client that is not there. */
static size_t new_place(struct gateway *gateway)
{
    size_t quiet = 0;

    if (gateway->used < gateway->most) {
        return gateway->used++;
    }
    for (size_t i = 1; i < gateway->used; i++) {
        quiet = gateway->last[i] < gateway->last[quiet] ? i : quiet;
    }
    return quiet;
}

/* Takes up a name, forgets those that are older than an hour, and counts the others. When there are
 * too many to keep, the new one takes the place of the oldest: the count stays what it was. */
static unsigned note_name(struct name *names, unsigned *count, uint64_t hash, uint32_t now)
{
    uint32_t name = (uint32_t)(hash >> 32);
    unsigned kept = 0, oldest = 0;
    int found = hash == 0;

    for (unsigned i = 0; i < *count; i++) {
        if (now - names[i].second >= GATEWAY_SECONDS) {
            continue;
        }
        names[kept] = names[i];
        if (hash != 0 && names[kept].hash == name) {
            names[kept].second = now;
            found = 1;
        }
        oldest = names[kept].second < names[oldest].second ? kept : oldest;
        kept++;
    }
    if (!found) {
        unsigned place = kept < GATEWAY_NAMES ? kept++ : oldest;
        names[place] = (struct name){name, now};
    }
    *count = kept;
    return kept;
}

struct gateway_seen gateway_note(struct gateway *gateway, uint64_t client, uint64_t helo,
                                 uint64_t sender, int64_t now)
{
    uint32_t second = (uint32_t)(now > 0 ? now / 1000 : 0);
    size_t place = place_of(gateway, client);
    struct gateway_seen seen;

    if (place == gateway->used) {
        place = new_place(gateway);
        gateway->keys[place] = client;
        memset(gateway->clients[place].counts, 0, sizeof gateway->clients[place].counts);
    }
    struct client *entry = &gateway->clients[place];
    gateway->last[place] = second;
    seen.helos = note_name(entry->names[0], &entry->counts[0], helo, second);
    seen.senders = note_name(entry->names[1], &entry->counts[1], sender, second);
    return seen;
}

void gateway_forget(struct gateway *gateway, uint64_t client)
{
    size_t place = place_of(gateway, client);

    if (place < gateway->used) {
        memset(gateway->clients[place].counts, 0, sizeof gateway->clients[place].counts);
    }
}
