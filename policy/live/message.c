/* What one message remembers: the verdicts its recipients have had, what it was charged. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "live/message.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct message_entry {
    uint64_t mailbox, number;
    uint64_t resolved; /* of a pass for a recipient of ours, else 0 */
    int64_t row, observed_row;
    unsigned char table, observed_table, action, reason, observed_reason, check, kind, flags;
};

enum { FLAG_LOCAL = 1, FLAG_OBSERVED = 2 };
enum { HELD_FIRST = 4 };       /* most messages have fewer recipients */
enum { RESOLVED_ROOM = 1024 }; /* mailer, host and user; no path is longer than 256 */

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

/* Never 0. */
static uint64_t hash_of(const char *text, size_t size)
{
    unsigned char bytes[crypto_shorthash_BYTES];
    uint64_t hash;

    crypto_shorthash(bytes, (const unsigned char *)text, (unsigned long long)size, hash_key);
    memcpy(&hash, bytes, sizeof hash);
    return hash != 0 ? hash : 1;
}

uint64_t message_resolved(const char *mailer, const char *host, const char *user)
{
    const char *part[] = {mailer, host != NULL ? host : "", user};
    char form[RESOLVED_ROOM];
    size_t used = 0;

    if (mailer == NULL || user == NULL || strcmp(mailer, "error") == 0) {
        return 0;
    }
    for (size_t i = 0; i < sizeof part / sizeof part[0]; i++) {
        size_t size = strlen(part[i]) + 1; /* the NUL parts them */
        if (size > sizeof form - used) {
            return 0;
        }
        memcpy(form + used, part[i], size);
        used += size;
    }
    return hash_of(form, used);
}

uint64_t message_mailbox(const struct address *address)
{
    char form[ADDRESS_FORM_ROOM];

    if (address->kind != ADDRESS_MAILBOX || address->routed) {
        return 0;
    }
    size_t local = address->local_size, domain = strlen(address->domain);
    memcpy(form, address->fold, local);
    form[local] = '@';
    memcpy(form + local + 1, address->domain, domain);
    return hash_of(form, local + 1 + domain);
}

static void fill(const struct message_entry *entry, struct verdict *verdict, uint64_t *number)
{
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

    if (entry != NULL) {
        fill(entry, verdict, number);
    }
    return entry != NULL;
}

bool message_recall_pass(const struct message *message, uint64_t resolved, struct verdict *verdict,
                         uint64_t *number)
{
    for (size_t i = 0; i < message->count && resolved != 0; i++) {
        if (message->entries[i].resolved == resolved) {
            fill(&message->entries[i], verdict, number);
            return true;
        }
    }
    return false;
}

bool message_remember(struct message *message, uint64_t mailbox, uint64_t resolved,
                      const struct verdict *verdict, uint64_t number)
{
    bool passed = verdict->action == ACTION_PASS && verdict->recipient_local;

    if (message->count >= message->held) {
        return false; /* one too many, or there was no memory */
    }
    message->entries[message->count++] = (struct message_entry){
        .mailbox = mailbox,
        .resolved = passed ? resolved : 0,
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
