/* One decision as it is remembered: written before the answer, retold for weeks. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_DECISION_H
#define SEKISHO_DECISION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/facts.h"
#include "core/status.h"
#include "core/verdict.h"

enum {
    DECISION_TEXT = 512,     /* of a text from outside so many octets are kept, */
    DECISION_ROW_TEXT = 400, /* of the row that spoke so many, */
    DECISION_SUBJECT = 352,  /* of a subject (printable: client:192.0.2.1 ...) so many, */
    DECISION_ID = 96,        /* of a session's or queue's id so many */
    DECISION_CHARGES = 64,   /* counts that one decision may change */
    DECISION_NUMBERS = 400,  /* decisions that one end record names; a longer message has several */
    DECISION_RECORD = 9216   /* octets of the longest record */
};

/* A text as it was kept: of a longer one the first DECISION_TEXT octets and the length it had. The
 * writer may give the whole text and leave `whole` at 0. */
struct kept_text {
    struct text text; /* borrowed */
    uint32_t whole;   /* octets it had */
};

/* A count that was changed. */
struct charge {
    uint64_t hash, group; /* as the ledger has them */
    int64_t at;           /* when, on the ledger's clock */
    uint64_t allowed;
    uint32_t seconds, amount; /* seconds: 1 to 31536000 */
    unsigned char subject;    /* enum subject */
};

enum record_kind {
    RECORD_DECISION, /* one recipient */
    RECORD_END,      /* a message ended: what became of its decisions, what is given back */
    RECORD_RESET     /* counts set to nothing */
};

enum outcome { OUTCOME_OPEN, OUTCOME_ACCEPTED, OUTCOME_REJECTED, OUTCOME_ABORTED };

/* Everything is borrowed: from the facts when it is written, from the buffer when it is read. What
 * does not belong to the record's kind is neither written nor looked at, and is 0 or "" when it is
 * read. A text that was read is ended by NUL. */
struct decision {
    enum record_kind kind;
    int64_t wall;   /* Unix ms */
    int64_t steady; /* the ledger's clock, ms */

    /* RECORD_DECISION */
    uint64_t number; /* 0: none could be given, a refusal all the same */
    uint64_t generation;
    enum post post;
    bool client_known, listener_known, submission, not_for_mta, mta_refused;
    struct ip client, listener;
    struct kept_text client_name, helo, host, login, sender, recipient;
    struct text session;  /* the daemon's own id of the SMTP session */
    struct text row_text; /* the row that spoke, as a person reads it, and */
    struct text observed_row_text;
    struct text
        subject[SUBJECT_COUNT]; /* whom the counts are of: client:192.0.2.1 ...; "" = none */
    struct verdict verdict;     /* without trail */
    /* a block that this decision made */
    bool blocks;
    int64_t block_until_steady, block_until; /* ledger's clock; wall clock */
    unsigned block_strikes;
    struct text block_subject;

    /* RECORD_END */
    enum outcome outcome;
    size_t numbers;
    const uint64_t *number_list; /* the decisions of this message, refusals too */

    struct text queue; /* RECORD_DECISION, RECORD_END: the MTA's queue id, "" while unknown */
    /* RECORD_DECISION: charged; RECORD_END: given back; RECORD_RESET: set to nothing */
    size_t charges;
    const struct charge *charge_list;
    /* RECORD_RESET */
    struct text lifted; /* the subject, as the administrator said it, canonical */
};

/* Zeroes it (a RECORD_DECISION) and fills in what the facts say, each text cut to `most` octets;
 * borrows from them. */
void decision_begin(struct decision *decision, const struct facts *facts, size_t most);

/* The facts that a decision was made from, as far as it has them: zeroes what it has not (whether
 * there was a login window, the addresses as they were parsed); borrows from it. */
void decision_facts(const struct decision *decision, struct facts *facts);
/* Where its texts are, but for `lifted`: for whoever keeps them longer than they are borrowed. */
enum { DECISION_TEXTS = 11 + SUBJECT_COUNT };
void decision_texts(struct decision *decision, struct text *texts[DECISION_TEXTS]);

/* Writes a record; returns its size, at most DECISION_RECORD; 0 if it cannot be written (more than
 * DECISION_CHARGES charges or DECISION_NUMBERS numbers, a value that is none of its enum's, a
 * charge with impossible seconds). Texts are cut as said above. What was written can be read. */
size_t decision_write(const struct decision *decision, unsigned char to[DECISION_RECORD]);

/* What kind of record that is, of one that can be read. */
enum record_kind decision_kind(const unsigned char *bytes, size_t size);
/* Room for the arrays of a decision that is read. */
struct decision_room {
    struct charge charge[DECISION_CHARGES];
    uint64_t number[DECISION_NUMBERS];
};
/* Reads a record; the decision borrows from bytes and room. STATUS_BAD: no record of this version,
 * or a damaged one; nothing outside bytes[0..size) is read. */
enum status decision_read(const unsigned char *bytes, size_t size, struct decision_room *room,
                          struct decision *decision);

#endif
