/* The keeper's half of the book: what a start puts back, what state.db is told, resets. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_BOOK_KEEP_H
#define SEKISHO_BOOK_KEEP_H

#include "core/blocklist.h"
#include "core/ledger.h"
#include "live/book.h"
#include "live/journal.h"

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
