/* What the book's files share: the book, its lock, its clock, and how a record is written. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_BOOK_OWN_H
#define SEKISHO_BOOK_OWN_H

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "core/blocklist.h"
#include "core/decision.h"
#include "core/gateway.h"
#include "core/ledger.h"
#include "live/hash.h"
#include "live/journal.h"
#include "live/sequence.h"
#include "live/windows.h"

/* The count of a login's messages to traps: no rule of rate_limit has it. */
#define TRAP_GROUP UINT64_C(0x7472617073)

enum {
    TRAP_SECONDS = 86400, /* a login's second message to a trap within so long blocks it, */
    TRAP_ALLOWED = 1      /* the first does not */
};

struct book {
    pthread_mutex_t lock;
    struct hash_key *_Atomic hash_key; /* changed under the lock. Whoever has read the pointer may
                                          use it without: what comes in its place leaves it where
                                          it is */
    struct sequence *sequence;
    struct ledger *ledger;
    struct blocklist *blocks;
    struct windows *windows;
    struct gateway *gateway;
    struct journal *journal;               /* NULL: nothing can be recorded yet */
    bool rehearsal;                        /* nothing is recorded, as if it had been */
    int64_t offset;                        /* ledger's clock less steady clock */
    unsigned char record[DECISION_RECORD]; /* the one that is written now; not on the stack: what a
                                              thread of libmilter has used of it is given back at
                                              its end and comes again page by page */
};

static inline void book_lock(struct book *book)
{
    pthread_mutex_lock(&book->lock);
}

static inline void book_unlock(struct book *book)
{
    pthread_mutex_unlock(&book->lock);
}

/* The ledger's clock at a moment. */
static inline int64_t book_time(const struct book *book, struct moment now)
{
    int64_t time = now.steady + book->offset;

    return time > 0 ? time : 0;
}

static inline struct text text_from(const char *text)
{
    return (struct text){text, strlen(text)};
}

/* Under the lock. False: nothing can be recorded now. */
static inline bool book_append(struct book *book, const struct decision *decision, bool urgent,
                               uint64_t *record)
{
    struct why why;
    size_t size;

    *record = 0;
    if (book->rehearsal) {
        return true;
    }
    return book->journal != NULL && journal_ready(book->journal, urgent) &&
           (size = decision_write(decision, book->record)) > 0 &&
           journal_append(book->journal, book->record, size, urgent, record, &why) == STATUS_OK;
}

#endif
