/* What one message remembers: the verdicts its recipients have had, and whether it met a trap. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_MESSAGE_H
#define SEKISHO_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/address.h"
#include "core/status.h"
#include "core/verdict.h"

struct message_entry;

/* Sendmail merges equal mailboxes of one message (4-mta.md 4.2): the second must have the verdict
 * of the first. Zeroed = no message. Entries are made at MAIL, so that RCPT allocates nothing. */
struct message {
    struct message_entry *entries;
    size_t count, room;
    bool trapped;         /* the remaining recipients and the message itself are refused */
    uint64_t trap_number; /* the decision that said so */
    struct rule trap_rule;
};

/* Begins a message of at most `recipients` recipients; ends an earlier one. */
enum status message_begin(struct message *message, size_t recipients);
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
/* Remembers it. False when there is no room for another recipient. */
bool message_remember(struct message *message, uint64_t mailbox, const struct verdict *verdict,
                      uint64_t number);

#endif
