/* Ledger, blocks and journal under one lock: ask, judge, charge, record; then answer. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_BOOK_H
#define SEKISHO_BOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/blocklist.h"
#include "core/decision.h"
#include "core/ledger.h"
#include "core/policy_limit.h"
#include "live/journal.h"
#include "live/message.h"
#include "live/sequence.h"
#include "live/slot.h"
#include "live/windows.h"

struct book;

/* Who has refused this recipient already, before we were asked. */
enum refused_by { REFUSED_BY_NOBODY, REFUSED_BY_MTA, REFUSED_BY_DOOR };

/* One recipient, as milter or door bring it. */
struct question {
    const struct facts *facts;
    const char *session, *queue; /* "" = unknown */
    enum refused_by refused;
    uint64_t resolved; /* by what the MTA merges recipients (message_resolved); 0 = it does not */
};

/* How one recipient was judged. */
struct judged {
    struct verdict verdict;
    uint64_t number;            /* the decision number; 0 when none can be given */
    uint64_t generation;        /* of the policy that judged; 0 = none */
    bool repeated;              /* an equal mailbox of this message has had this answer already */
    char blocked[SUBJECT_TEXT]; /* whom this decision has blocked; "" = nobody */
    char help_url[208];         /* "" when none is set */
    char window[WINDOW_LOGIN];  /* of KIND_WINDOW: whose login window the client has */
};

/* No journal yet: what needs a permission is deferred. NULL when memory runs out. sequence must
 * outlive it. */
struct book *book_new(struct sequence *sequence, size_t keys_most);
void book_free(struct book *book);

/* -- the SMTP path: any thread, allocates nothing (but as ledger.h and decide.h say) ----------- */

/* Judges one recipient by the policy held (policy NULL: none is in force), counts and records it.
 * message is NULL at the permit door.
 *
 * What passes is charged to the limits that ask for it, until the message is over (book_end). A
 * refusal is charged to limits on refusals when it is ours of address, sender, helo, relay or trap,
 * or the MTA's own: but not what a stranger with the null sender meets at the MTA or a trap (the
 * bounces of mail that somebody forged in our name), not what a block or a limit has said, and
 * nothing that a client or a login meets while blocked, at the door or before the check block. A
 * permission that cannot be recorded is not given; a refusal is, without a number. Where the check
 * rate is only observed, all counts are of a second kind, which never blocks anybody. What the door
 * has refused is neither recorded nor counted again, what it permits is recorded by the milter.
 *
 * A stranger whose client has a login window is judged as its login; nobody's, where the setting
 * login_window_seconds is 0. */
void book_judge(struct book *book, const struct hold *hold, const struct question *question,
                struct message *message, struct moment now, struct judged *judged);

/* Judges by the policy held as book_judge would if nothing were counted, waiting for the lock as it
 * does; counts and records nothing: whoever asks wants to know whether there is an answer. */
void book_probe(struct book *book, const struct hold *hold, const struct facts *facts,
                struct verdict *verdict);

/* Records an answer outside the judgement (REASON_INTERNAL_ERROR). */
void book_trouble(struct book *book, enum reason reason, struct moment now, struct judged *judged);

/* The message is over: what it was charged stays charged (OUTCOME_ACCEPTED) or is given back, and
 * its decisions get queue id and outcome. May be called any number of times, then message_end. */
void book_end(struct book *book, struct message *message, enum outcome outcome, const char *queue,
              struct moment now);

/* -- the keeper ------------------------------------------------------------------------------ */

/* The ledger's clock: goes on where `ledger` was at `wall` before a reboot (same_boot false: by
 * the wall clock, never backwards), or with the steady clock. Before anything is restored. */
void book_set_clock(struct book *book, bool same_boot, int64_t steady_offset, int64_t ledger,
                    int64_t wall, struct moment now);
/* Ledger time less steady time; and the ledger's time at a moment. */
int64_t book_clock_offset(struct book *book);
int64_t book_clock(struct book *book, struct moment now);
/* The key of all hashes, 16 octets: made once, kept beside the state. STATUS_BROKEN: no memory. */
enum status book_set_key(struct book *book, const unsigned char key[16], struct why *why);

/* Room for so many keys, before anything is counted or put back. STATUS_BROKEN: no memory; it has
 * the room it had. */
enum status book_keys(struct book *book, size_t keys_most, struct why *why);
/* Puts back a row of the snapshot (ledger_restore), before the records. */
void book_restore_counter(struct book *book, const struct ledger_row *row, struct moment now);
/* Puts back what a record says, oldest first. A block in a record up to blocks_record is in the
 * list (or was lifted) already. */
void book_restore_record(struct book *book, const struct decision *record, uint64_t number,
                         uint64_t blocks_record, struct moment now);
/* From here on decisions are recorded, and permissions given. The journal stays the caller's. */
void book_attach(struct book *book, struct journal *journal);

/* Writes a record that says nothing, behind which all others can be let go (journal_turn); its
 * number, 0 if it cannot be. */
uint64_t book_turn(struct book *book, struct moment now);

/* As ledger_changed; and as ledger_touch and blocklist_touch together. */
size_t book_counters(struct book *book, struct ledger_row *rows, size_t room, size_t *cursor);
void book_touch(struct book *book);

/* Blocks that state.db has not seen; those whose memory is over (rows). */
size_t book_blocks(struct book *book, struct block *blocks, size_t room);
size_t book_sweep(struct book *book, struct moment now, int64_t *rows, size_t room);
void book_block_written(struct book *book, uint64_t key, int64_t row);
/* Neither could be brought there: they are told again. */
void book_blocks_again(struct book *book, const struct block *blocks, size_t count);
void book_sweep_again(struct book *book, const int64_t *rows, size_t count);
/* The n-th of all blocks; false after the last. */
bool book_block_at(struct book *book, size_t n, struct block *block);
/* The block of that key, in force or remembered. */
bool book_block_find(struct book *book, uint64_t key, struct block *block);

/* A block as the administrator sees it, by the subject's text: where its network or login lies now.
 * False: the subject says nothing under this policy. Fills key and canonical text. */
enum status book_block_key(struct book *book, const struct policy *policy, const char *subject,
                           struct block *block, struct why *why);
/* Puts one in force, or takes it away (false: there was none). changed: state.db is to be told. */
bool book_block(struct book *book, const struct block *block, bool changed);
bool book_lift(struct book *book, uint64_t key);

/* The login windows, which have a lock of their own; their clock is book_clock. */
struct windows *book_windows(struct book *book);

/* Sets the counts of a subject to nothing; of a client those of its login windows too. STATUS_BUSY:
 * cannot be recorded now. */
enum status book_reset(struct book *book, const struct policy *policy, const char *subject,
                       struct moment now, size_t *counts, struct why *why);

#endif
