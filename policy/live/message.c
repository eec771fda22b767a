/* What one message remembers: the verdicts its recipients have had, what it was charged. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "live/message.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct message_entry {
    uint64_t mailbox, number;
    int64_t row, observed_row;
    unsigned char table, observed_table, action, reason, observed_reason, check, kind, flags;
};

enum { FLAG_LOCAL = 1, FLAG_OBSERVED = 2 };
enum { HELD_FIRST = 4 }; /* most messages have fewer recipients */

static unsigned char hash_key[crypto_shorthash_KEYBYTES];

void message_hash_start(void)
{
    if (sodium_init() < 0) {
        abort(); /* no source of randomness: nothing may go on */
    }
    randombytes_buf(hash_key, sizeof hash_key);
}

enum status message_begin(struct message *message, const char *sender, size_t size,
                          size_t recipients)
{
    message_end(message);
    size_t held = recipients < HELD_FIRST ? recipients : HELD_FIRST;
    message->entries = malloc((held + 1) * sizeof *message->entries);
    message->start = malloc(sizeof *message->start);
    if (message->entries == NULL || message->start == NULL) {
        message_end(message);
        return STATUS_BROKEN;
    }
    address_parse(sender, size, &message->start->sender);
    message->start->charges = 0;
    message->held = held;
    message->room = recipients;
    return STATUS_OK;
}

/* Makes room for the next recipient, unless it is one too many anyway. */
static void grow(struct message *message)
{
    size_t held = message->held * 2 < message->room ? message->held * 2 : message->room;
    struct message_entry *entries;

    if (message->count < message->held || message->held == message->room) {
        return;
    }
    entries = realloc(message->entries, held * sizeof *entries);
    if (entries == NULL) {
        message->full = true;
        return;
    }
    message->entries = entries;
    message->held = held;
}

void message_end(struct message *message)
{
    free(message->start);
    free(message->entries);
    memset(message, 0, sizeof *message);
}

uint64_t message_mailbox(const struct address *address)
{
    char form[ADDRESS_FORM_ROOM];
    unsigned char hash[crypto_shorthash_BYTES];
    uint64_t mailbox;

    if (address->kind != ADDRESS_MAILBOX || address->routed) {
        return 0;
    }
    size_t local = address->local_size, domain = strlen(address->domain);
    memcpy(form, address->fold, local);
    form[local] = '@';
    memcpy(form + local + 1, address->domain, domain);
    crypto_shorthash(hash, (const unsigned char *)form, local + 1 + domain, hash_key);
    memcpy(&mailbox, hash, sizeof mailbox);
    return mailbox != 0 ? mailbox : 1;
}

static const struct message_entry *find(const struct message *message, uint64_t mailbox)
{
    for (size_t i = 0; mailbox != 0 && i < message->count; i++) {
        if (message->entries[i].mailbox == mailbox) {
            return &message->entries[i];
        }
    }
    return NULL;
}

bool message_knows(const struct message *message, uint64_t mailbox)
{
    return find(message, mailbox) != NULL;
}

bool message_recall(const struct message *message, uint64_t mailbox, struct verdict *verdict,
                    uint64_t *number)
{
    const struct message_entry *entry = find(message, mailbox);

    if (entry == NULL) {
        return false;
    }
    memset(verdict, 0, sizeof *verdict);
    verdict->action = (enum action)entry->action;
    verdict->reason = (enum reason)entry->reason;
    verdict->check = (enum check)entry->check;
    verdict->kind = (enum sender_kind)entry->kind;
    verdict->rule = (struct rule){(enum table)entry->table, entry->row};
    verdict->recipient_local = (entry->flags & FLAG_LOCAL) != 0;
    verdict->observed = (entry->flags & FLAG_OBSERVED) != 0;
    verdict->observed_reason = (enum reason)entry->observed_reason;
    verdict->observed_rule = (struct rule){(enum table)entry->observed_table, entry->observed_row};
    *number = entry->number;
    return true;
}

bool message_remember(struct message *message, uint64_t mailbox, const struct verdict *verdict,
                      uint64_t number)
{
    if (message->count >= message->held) {
        return false; /* one too many, or there was no memory */
    }
    message->entries[message->count++] = (struct message_entry){
        .mailbox = mailbox,
        .number = number,
        .row = verdict->rule.row,
        .observed_row = verdict->observed_rule.row,
        .table = (unsigned char)verdict->rule.table,
        .observed_table = (unsigned char)verdict->observed_rule.table,
        .action = (unsigned char)verdict->action,
        .reason = (unsigned char)verdict->reason,
        .observed_reason = (unsigned char)verdict->observed_reason,
        .check = (unsigned char)verdict->check,
        .kind = (unsigned char)verdict->kind,
        .flags = (unsigned char)((verdict->recipient_local ? FLAG_LOCAL : 0) |
                                 (verdict->observed ? FLAG_OBSERVED : 0)),
    };
    grow(message);
    return true;
}

void message_charge(struct message *message, const struct charge *charge)
{
    struct message_start *start = message->start;

    if (start == NULL) {
        return;
    }
    for (size_t i = start->charges; i-- > 0;) {
        int64_t width = ledger_width(charge->seconds);
        if (start->charge[i].hash == charge->hash &&
            start->charge[i].at / width == charge->at / width) {
            start->charge[i].amount += charge->amount;
            start->charge[i].at = charge->at;
            return;
        }
    }
    if (start->charges < MESSAGE_CHARGES) {
        start->charge[start->charges++] = *charge;
    }
}

size_t message_numbers(const struct message *message, size_t *from, uint64_t *numbers, size_t room)
{
    size_t count = 0;

    for (; *from < message->count && count < room; (*from)++) {
        if (message->entries[*from].number != 0) {
            numbers[count++] = message->entries[*from].number;
        }
    }
    return count;
}
