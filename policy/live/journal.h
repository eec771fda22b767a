/* Records on disk before the answer: segments written in turn, read by the keeper, used again. */
/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef SEKISHO_JOURNAL_H
#define SEKISHO_JOURNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/status.h"

/* A folder of preallocated files (posix_fallocate) of JOURNAL_SEGMENT octets. Each record stands
 * there as {checksum, number, length, octets}, in the mapped file before journal_append returns: it
 * survives the end of the process, and after journal_sync that of the machine. A record that is
 * torn or damaged ends its segment. Record numbers ascend by one, from 1; they leap after `after`
 * and after damage only. */
struct journal;

enum {
    JOURNAL_SEGMENT = 4 * 1024 * 1024,
    JOURNAL_RECORD = 9216, /* octets of the longest record */
    /* octets that only urgent records may use, so that the end of a message can be told when there
     * is no room for another decision */
    JOURNAL_SPARE = 256 * 1024
};

/* Opens the folder (made if it is not there, 0750), finds the records that are in it; all of them
 * wait. One process at a time (the caller's lock). records_most: how many may wait for
 * journal_release. after: no record number up to this one is given again. trouble (may be NULL) is
 * told, during this call only, of each segment that lost records, once, and of a disk that has no
 * space for a segment; what is damaged is kept beside as NAME.damaged and never removed.
 * STATUS_BROKEN: the folder cannot be read or written, or memory. A full disk is none: the journal
 * is open and not ready until journal_extend finds space. */
enum status journal_open(const char *folder, size_t records_most, uint64_t after,
                         void (*trouble)(void *context, const char *sentence), void *context,
                         struct journal **journal, struct why *why);
/* Closes; nothing is lost. NULL is allowed. */
void journal_close(struct journal *journal);
/* Any thread. */
void journal_limit(struct journal *journal, size_t records_most);
/* From here on an octet is written to this file (a pipe that does not block; -1: none) whenever a
 * segment is taken, so that journal_extend can be called before the next one is. Any thread. */
void journal_wake(struct journal *journal, int file);

/* -- the writer: one thread at a time (the book's lock) --------------------------------------- */

/* Is there room for a record of any size? An urgent one may use JOURNAL_SPARE, and may wait beyond
 * records_most. What was ready stays so until the next append (the reader takes no room away). */
bool journal_ready(const struct journal *journal, bool urgent);
/* Writes a record and tells its number. size is 1 to JOURNAL_RECORD. STATUS_BUSY: not ready.
 * STATUS_BROKEN: the disk; what may have been written of it is not read again, and the next record
 * gets its number and place. Neither allocates nor syncs. */
enum status journal_append(struct journal *journal, const void *bytes, size_t size, bool urgent,
                           uint64_t *record, struct why *why);

/* The next record begins another segment if one is empty, so that those before it, which fill no
 * segment, can be let go one day. */
void journal_turn(struct journal *journal);

/* -- the reader: one thread (the keeper), beside the writer ----------------------------------- */

/* Where a reader stands; zeroed = at the oldest record that is there. {N} = at record N, or the
 * next that there is. */
struct journal_cursor {
    uint64_t record; /* the lowest to be read next; 0 = the oldest */
    uint64_t segment;
    size_t offset;
};
/* The next record, copied into bytes, and its number: after a gap it is not the cursor's, but
 * higher. STATUS_BUSY: there is no other yet. STATUS_BROKEN: it cannot be read; the cursor stands
 * behind it afterwards. Only one cursor at a time is fast. */
enum status journal_read(struct journal *journal, struct journal_cursor *cursor,
                         unsigned char bytes[JOURNAL_RECORD], size_t *size, uint64_t *record,
                         struct why *why);
/* Brings what was written to the disk (fdatasync), each segment as far as it can be. STATUS_BROKEN:
 * not all of it; or a file was cut short by somebody, which is mended and told once. */
enum status journal_sync(struct journal *journal, struct why *why);
/* Prepares segments ahead of the writer, so that it never waits for one: one, or as many as it took
 * lately or as wait for the reader, 8 at most. To be called every second and after a release; costs
 * nothing when nothing is to be done. STATUS_BROKEN: no space for another; the writer goes on in
 * those that are there. */
enum status journal_extend(struct journal *journal, struct why *why);
/* Records up to this one are needed no more: segments that hold no other (never the one that is
 * written) are filled with zeros and used again, those that are more than journal_extend wants are
 * removed. */
void journal_release(struct journal *journal, uint64_t record);

/* Records that were written and not released; the highest number that is not given any more (the
 * last one written, or `after`); octets of all segments on disk. Any thread. */
size_t journal_waiting(const struct journal *journal);
uint64_t journal_last(const struct journal *journal);
size_t journal_size(const struct journal *journal);

#endif
