/* What one message remembers: the verdicts its recipients have had, what it was charged. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_MESSAGE_H
#define SEKISHO_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/address.h"
#include "core/decision.h"
#include "core/ledger.h"
#include "core/status.h"
#include "core/verdict.h"

struct message_entry;

enum { MESSAGE_CHARGES = 48 }; /* counts of one message that can be given back */

/* What is needed from MAIL on. */
struct message_start {
    struct address sender;
    struct charge charge[MESSAGE_CHARGES];
    size_t charges;
};

/* Sendmail merges equal mailboxes of one message (4-mta.md 4.2): the second must have the verdict
 * of the first. Zeroed = no message. A few entries are made at MAIL. Room for a further recipient
 * is made when the one before is remembered, so that no verdict is given that could not be
 * remembered.
 */
struct message {
    struct message_entry *entries;
    size_t count; /* recipients remembered */
    size_t room;  /* at most so many */
    size_t held;  /* entries there is memory for */
    bool full;    /* memory ran out: nothing more will be remembered. A recipient that is not known
                     already must be answered 451 */
    bool trapped; /* the remaining recipients and the message itself are refused */
    uint64_t trap_number; /* the decision that said so */
    struct rule trap_rule;
    bool charged[DIRECTION_COUNT]; /* the message counts have it already, by direction */
    struct message_start *start;   /* NULL = no message */
};

/* Begins a message of at most `recipients` recipients from this sender (as typed at MAIL); ends an
 * earlier one. STATUS_BROKEN: no memory. */
enum status message_begin(struct message *message, const char *sender, size_t size,
                          size_t recipients);
/* Forgets and frees all; may be called at any time, any number of times. */
void message_end(struct message *message);

/* A keyed hash of the mailbox as it is compared (SipHash-2-4, libsodium), 0 for what is none or
 * carries a route. The key is made once in message_hash_start. */
void message_hash_start(void);
uint64_t message_mailbox(const struct address *address);

/* The verdict this mailbox has had: fills verdict (without trail) and number; false when it had
 * none. */
bool message_recall(const struct message *message, uint64_t mailbox, struct verdict *verdict,
                    uint64_t *number);
/* Has this mailbox had a verdict? */
bool message_knows(const struct message *message, uint64_t mailbox);
/* Remembers it. False when there is no room for another recipient, or no memory (full). */
bool message_remember(struct message *message, uint64_t mailbox, const struct verdict *verdict,
                      uint64_t number);

/* Keeps a charge, so that it can be given back; those of one key and bucket are kept as one. What
 * finds no room stays charged. */
void message_charge(struct message *message, const struct charge *charge);

/* Copies the numbers of its decisions, from the *from-th entry on, up to room; moves *from. Returns
 * how many; 0 at the end. */
size_t message_numbers(const struct message *message, size_t *from, uint64_t *numbers, size_t room);

#endif
