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

/* Sendmail makes one recipient of equal mailboxes, and of all that its tables lead to the same one;
 * refuses the filter one of them, nobody gets the mail. So the second of equal mailboxes has the
 * verdict of the first, and what leads to where a pass was given has that. Zeroed = no message. A
 * few entries are made at MAIL. Room for a further recipient is made when the one before is
 * remembered, so that no verdict is given that could not be remembered. */
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

/* A keyed hash of what the MTA says a recipient has come to (mailer, host, user); 0 when it does
 * not say, or has refused it (mailer error). Each may be NULL. */
uint64_t message_resolved(const char *mailer, const char *host, const char *user);

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
/* The pass that a recipient of ours has had that has come to the same; fills as message_recall.
 * resolved 0 has none. */
bool message_recall_pass(const struct message *message, uint64_t resolved, struct verdict *verdict,
                         uint64_t *number);
/* Remembers it. False when there is no room for another recipient, or no memory (full). */
bool message_remember(struct message *message, uint64_t mailbox, uint64_t resolved,
                      const struct verdict *verdict, uint64_t number);

/* Keeps a charge, so that it can be given back; those of one key and bucket are kept as one. What
 * finds no room stays charged. */
void message_charge(struct message *message, const struct charge *charge);

/* Copies the numbers of its decisions, from the *from-th entry on, up to room; moves *from. Returns
 * how many; 0 at the end. */
size_t message_numbers(const struct message *message, size_t *from, uint64_t *numbers, size_t room);

#endif
