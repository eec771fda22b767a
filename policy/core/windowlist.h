/* Login windows: which client may relay for a moment, and as whom. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_WINDOWLIST_H
#define SEKISHO_WINDOWLIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/range.h"

/* A window is open while steady < until_steady. Bounded: when the list is full, the window that
 * ends first makes room. */
enum { WINDOW_LOGIN = 200 };

struct windowlist; /* owns its memory; one caller at a time */

struct window {
    struct ip client;
    char login[WINDOW_LOGIN]; /* as the POP or IMAP server gave it */
    int64_t opened, until;    /* wall clock, Unix ms, for people */
    int64_t until_steady;     /* what counts */
};

struct windowlist *windowlist_new(size_t most);
void windowlist_free(struct windowlist *list);

/* The client's window if it is open, or NULL. Valid until the list is changed. */
const struct window *windowlist_find(const struct windowlist *list, const struct ip *client,
                                     int64_t steady);
/* Opens one, in place of any other of that client: the latest login is who sits there. False: no
 * memory. */
bool windowlist_put(struct windowlist *list, const struct window *window);
/* Closes the client's window; false if it had none. */
bool windowlist_remove(struct windowlist *list, const struct ip *client);
/* Forgets windows that are over; returns how many. */
size_t windowlist_sweep(struct windowlist *list, int64_t steady);
size_t windowlist_count(const struct windowlist *list);

#endif
