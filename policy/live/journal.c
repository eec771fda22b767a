/* Records on disk before the answer: segments written in turn, read by the keeper, used again. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "live/journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sodium.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/octets.h"
#include "live/mapped.h"

/* A segment in use begins with
 *     checksum u64 | MAGIC u64 | VERSION u64 | sequence u64 | first u64 | before u64
 * sequence: the n-th use of a segment. first: number of its first record. before: number of the
 * last record of the segment before it; if fewer are found there, it is damaged. A header of zeros
 * is a segment not in use. The header is written together with the first record, by one pwrite.
 *
 * A record is, beginning at a multiple of 8,
 *     checksum u64 | number u64 | length u32 | sequence u32 (its low half) | octets | 0 to 7 zeros
 * Each checksum covers what follows it. Octets of an earlier use of the segment are never taken for
 * records: their numbers are lower and their sequence is another.
 *
 * A crash in any moment leaves records in order up to a torn one. Where the process died, only the
 * last of all can be torn. Where the machine died, sound records may stand behind it: then the
 * segment is spoiled, never written on, or else they could join the new ones. */
enum {
    HEADER = 48,
    RECORD_HEADER = 24,
    VERSION = 1,
    NEED = RECORD_HEADER + JOURNAL_RECORD, /* room for any record */
    CAPACITY = JOURNAL_SEGMENT - HEADER,
    AHEAD_MOST = 8,     /* empty segments */
    PAGED_MOST = 2,     /* of these, with all pages in memory: what a second takes at full speed */
    PAGES = 128 * 1024, /* octets that get their pages at once: others wait for the address space */
    PACE = 16,          /* calls of journal_extend until a segment that was taken is forgotten */
    LOOK = 128 * 1024,  /* octets read at once */
    PAGE = 4096,
    NAME_ROOM = 40,
    SENTENCE = 1024
};
#define MAGIC UINT64_C(0x6c6e72756f6a6b73) /* "skjournl" */

_Static_assert(JOURNAL_RECORD % 8 == 0, "a record and its zeros fit NEED");
_Static_assert(CAPACITY > NEED + JOURNAL_SPARE, "an empty segment is room enough");
_Static_assert(LOOK >= NEED, "a record is read at once");

struct segment {
    uint64_t name;
    /* -1 = closed. Whose it is: the reader's until it is in the list of the empty, then the
     * writer's until another is behind it in the queue, then the reader's again */
    int file;
    unsigned char *map; /* NULL = none. Written by the writer; only the reader makes and ends it */
    bool plain;         /* the writer's: its file was cut short, records are written by pwrite */
    uint64_t sequence, first;
    bool spoiled;          /* lost records: is linked as NAME.damaged and not written again */
    _Atomic uint64_t last; /* first - 1 = none */
    atomic_size_t end;     /* octets that are written for good */
    struct segment *_Atomic next;
    size_t synced; /* the reader's: `end` as it was synced last */

    /* while the journal is opened */
    uint64_t before, beyond; /* highest number of a record that was not reached; 0 = none */
    bool unreadable;
};

struct journal {
    char *path;
    int folder;
    void (*trouble)(void *context, const char *sentence);
    void *context;

    pthread_mutex_t lock;  /* guards the list of the empty, for no longer than a pointer's move */
    struct segment *empty; /* linked by next */
    atomic_size_t empties; /* in that list, and fresh */

    /* The used are a queue: the writer adds behind tail, the reader takes from start.next, never
     * the tail. */
    struct segment start;    /* none */
    struct segment *tail;    /* the writer's */
    struct segment *fresh;   /* the writer's: out of the empty, its first write has failed so far */
    uint64_t sequence;       /* the writer's: highest ever used */
    atomic_bool turn;        /* the next record begins a segment */
    atomic_size_t remaining; /* octets behind the tail's end that may be written */
    unsigned char line[HEADER + NEED]; /* the writer's: what is written next */

    atomic_size_t waiting, most, segments, taken; /* taken: since journal_extend looked */
    atomic_int wake;
    atomic_bool unsynced; /* the last journal_sync failed: a copy would not say so, pwrite may */
    _Atomic uint64_t last;

    /* the reader's */
    uint64_t released, name; /* name: highest ever given to a file */
    unsigned pace;
    struct segment *reading; /* where a cursor was last */
    unsigned char *look;     /* octets of the segment used as look_sequence, from look_at on */
    uint64_t look_sequence;
    size_t look_at, look_size;
    unsigned fast; /* calls of journal_extend until the pages of the empty are let go */
};

/* -- octets ------------------------------------------------------------------------------------ */

static uint64_t checksum(const unsigned char *bytes, size_t size)
{
    /* Not a secret: it finds damage, not an enemy, who could write the file as a whole. */
    static const unsigned char key[crypto_shorthash_KEYBYTES] = "sekisho journal";
    unsigned char sum[crypto_shorthash_BYTES];

    crypto_shorthash(sum, bytes, size, key);
    return octets_get(sum, 8);
}

/* Octets that a record of that length takes. */
static size_t stride(size_t length)
{
    return RECORD_HEADER + (length + 7) / 8 * 8;
}

static void put_header(unsigned char *to, uint64_t sequence, uint64_t first, uint64_t before)
{
    octets_put(to + 8, 8, MAGIC);
    octets_put(to + 16, 8, VERSION);
    octets_put(to + 24, 8, sequence);
    octets_put(to + 32, 8, first);
    octets_put(to + 40, 8, before);
    octets_put(to, 8, checksum(to + 8, HEADER - 8));
}

static void put_record(unsigned char *to, uint64_t number, uint64_t sequence, const void *bytes,
                       size_t size)
{
    octets_put(to + 8, 8, number);
    octets_put(to + 16, 4, size);
    octets_put(to + 20, 4, (uint32_t)sequence);
    memcpy(to + RECORD_HEADER, bytes, size);
    memset(to + RECORD_HEADER + size, 0, stride(size) - RECORD_HEADER - size);
    octets_put(to, 8, checksum(to + 8, RECORD_HEADER - 8 + size));
}

static uint64_t record_number(const unsigned char *at)
{
    return octets_get(at + 8, 8);
}

/* The length that a record's header tells; 0 if `left` octets cannot hold it. */
static size_t record_length(const unsigned char *at, size_t left)
{
    if (left < RECORD_HEADER) {
        return 0;
    }
    size_t length = octets_get(at + 16, 4);
    return length >= 1 && length <= JOURNAL_RECORD && stride(length) <= left ? length : 0;
}

static bool record_sound(const unsigned char *at, size_t length, uint64_t sequence)
{
    return octets_get(at + 20, 4) == (uint32_t)sequence &&
           octets_get(at, 8) == checksum(at + 8, RECORD_HEADER - 8 + length);
}

static bool all_zero(const unsigned char *bytes, size_t size)
{
    return size == 0 || (bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0);
}

/* -- files ------------------------------------------------------------------------------------- */

static void name_of(char to[NAME_ROOM], uint64_t name, const char *ending)
{
    snprintf(to, NAME_ROOM, "%016" PRIu64 ".%s", name, ending);
}

/* Whole, or not at all as far as the caller is concerned. */
static enum status write_at(const struct journal *journal, const struct segment *segment,
                            const void *bytes, size_t size, size_t at, struct why *why)
{
    ssize_t written = 0;

    do {
        written = pwrite(segment->file, bytes, size, (off_t)at);
    } while (written < 0 && errno == EINTR);
    if (written < 0 || (size_t)written != size) {
        return why_set(why, STATUS_BROKEN, "%s: cannot write a record: %s", journal->path,
                       written < 0 ? strerror(errno) : "only a part of it was written");
    }
    return STATUS_OK;
}

static bool open_file(const struct journal *journal, struct segment *segment)
{
    char name[NAME_ROOM];

    if (segment->file < 0) {
        name_of(name, segment->name, "journal");
        segment->file = openat(journal->folder, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC);
    }
    return segment->file >= 0;
}

/* So that a record is a copy and no system call: whoever has made one may be interrupted at its
 * end, and the writer would hold up all others. Where it cannot be, nothing is lost but that. */
static void map_file(struct segment *segment)
{
    if (segment->map == NULL) {
        void *map =
            mmap(NULL, JOURNAL_SEGMENT, PROT_READ | PROT_WRITE, MAP_SHARED, segment->file, 0);
        segment->map = map != MAP_FAILED ? map : NULL;
    }
}

static void close_file(struct segment *segment)
{
    if (segment->map != NULL) {
        munmap(segment->map, JOURNAL_SEGMENT);
        segment->map = NULL;
    }
    if (segment->file >= 0) {
        close(segment->file);
        segment->file = -1;
    }
}

static struct segment *segment_new(uint64_t name)
{
    struct segment *segment = calloc(1, sizeof *segment);

    if (segment != NULL) {
        segment->name = name;
        segment->file = -1;
    }
    return segment;
}

static void segment_free(struct segment *segment)
{
    if (segment != NULL) {
        close_file(segment);
        free(segment);
    }
}

/* Its file is open. */
static void push_empty(struct journal *journal, struct segment *segment)
{
    map_file(segment);
    pthread_mutex_lock(&journal->lock);
    atomic_store(&segment->next, journal->empty);
    journal->empty = segment;
    atomic_fetch_add(&journal->empties, 1);
    pthread_mutex_unlock(&journal->lock);
}

/* An empty segment, if more than `keep` are counted; it stays counted until it is used or gone. */
static struct segment *pop_empty(struct journal *journal, size_t keep)
{
    struct segment *segment = NULL;

    pthread_mutex_lock(&journal->lock);
    if (atomic_load(&journal->empties) > keep && journal->empty != NULL) {
        segment = journal->empty;
        journal->empty = atomic_load(&segment->next);
        atomic_store(&segment->next, NULL);
    }
    pthread_mutex_unlock(&journal->lock);
    return segment;
}

static void remove_file(struct journal *journal, struct segment *segment)
{
    char name[NAME_ROOM];

    name_of(name, segment->name, "journal");
    unlinkat(journal->folder, name, 0);
    segment_free(segment);
    atomic_fetch_sub(&journal->segments, 1);
}

/* Takes a segment out of use, its header first; nothing of what stood there is kept. */
static bool blank(struct journal *journal, struct segment *segment)
{
    static const unsigned char zeros[16 * PAGE];
    bool done = open_file(journal, segment) &&
                write_at(journal, segment, zeros, HEADER, 0, NULL) == STATUS_OK;

    for (size_t at = HEADER; done && at < JOURNAL_SEGMENT; at += sizeof zeros) {
        size_t size = JOURNAL_SEGMENT - at < sizeof zeros ? JOURNAL_SEGMENT - at : sizeof zeros;
        done = write_at(journal, segment, zeros, size, at, NULL) == STATUS_OK;
    }
    return done;
}

/* -- the writer -------------------------------------------------------------------------------- */

bool journal_ready(const struct journal *journal, bool urgent)
{
    size_t remaining = atomic_load(&journal->remaining);
    size_t empties = atomic_load(&journal->empties);

    if (urgent) {
        return remaining >= NEED || empties > 0;
    }
    return remaining + empties * CAPACITY >= NEED + JOURNAL_SPARE &&
           atomic_load(&journal->waiting) < atomic_load(&journal->most);
}

/* Before the reader can see the record: it may release what it has read. */
static void count_record(struct journal *journal, struct segment *segment, uint64_t number)
{
    atomic_store(&segment->last, number);
    atomic_store(&journal->last, number);
    atomic_fetch_add(&journal->waiting, 1);
}

/* As a copy into the mapped file or, where its page cannot be had, by pwrite, which says why or
 * mends it: a file that was cut short grows again, and if not as a whole, by pwrite from now on.
 * Linux has one page for both, and fdatasync brings it to the disk. */
static enum status write_line(struct journal *journal, size_t size, size_t at, struct why *why)
{
    struct segment *tail = journal->tail;

    if (tail->map == NULL || tail->plain || atomic_load(&journal->unsynced)) {
        return write_at(journal, tail, journal->line, size, at, why);
    }
    if (mapped_copy(tail->map + at, journal->line, size)) {
        return STATUS_OK;
    }
    enum status status = write_at(journal, tail, journal->line, size, at, why);
    tail->plain = status == STATUS_OK && posix_fallocate(tail->file, 0, JOURNAL_SEGMENT) != 0;
    return status;
}

/* In the segment that is written now. */
static enum status append_here(struct journal *journal, uint64_t number, const void *bytes,
                               size_t size, struct why *why)
{
    struct segment *tail = journal->tail;
    size_t end = atomic_load(&tail->end);

    put_record(journal->line, number, tail->sequence, bytes, size);
    if (write_line(journal, stride(size), end, why) != STATUS_OK) {
        return STATUS_BROKEN;
    }
    count_record(journal, tail, number);
    atomic_store(&tail->end, end + stride(size));
    atomic_fetch_sub(&journal->remaining, stride(size));
    return STATUS_OK;
}

/* As the first of another segment. */
static enum status append_fresh(struct journal *journal, uint64_t number, const void *bytes,
                                size_t size, struct why *why)
{
    struct segment *tail = journal->tail, *fresh = journal->fresh;
    bool alone = tail == &journal->start;
    uint64_t sequence = (alone ? journal->sequence : tail->sequence) + 1;

    if (fresh == NULL) {
        fresh = pop_empty(journal, 0);
    }
    if (fresh == NULL) {
        return why_set(why, STATUS_BUSY, "%s: no segment is empty", journal->path);
    }
    put_header(journal->line, sequence, number, alone ? number - 1 : atomic_load(&tail->last));
    put_record(journal->line + HEADER, number, sequence, bytes, size);
    journal->fresh = fresh;
    if (write_at(journal, fresh, journal->line, HEADER + stride(size), 0, why) != STATUS_OK) {
        return STATUS_BROKEN;
    }
    journal->fresh = NULL;
    journal->sequence = sequence;
    fresh->sequence = sequence;
    fresh->first = number;
    fresh->spoiled = false;
    fresh->plain = false;
    count_record(journal, fresh, number);
    atomic_store(&fresh->end, HEADER + stride(size));
    atomic_store(&tail->next, fresh);
    journal->tail = fresh;
    atomic_store(&journal->remaining, CAPACITY - stride(size));
    atomic_fetch_sub(&journal->empties, 1);
    atomic_fetch_add(&journal->taken, 1);
    int wake = atomic_load(&journal->wake);
    if (wake >= 0) {
        ssize_t wrote = write(wake, "", 1);
        (void)wrote; /* a full pipe wakes as well */
    }
    return STATUS_OK;
}

enum status journal_append(struct journal *journal, const void *bytes, size_t size, bool urgent,
                           uint64_t *record, struct why *why)
{
    uint64_t number = atomic_load(&journal->last) + 1;
    enum status status = STATUS_OK;

    if (size < 1 || size > JOURNAL_RECORD) {
        return why_set(why, STATUS_BROKEN, "%s: a record of %zu octets cannot be", journal->path,
                       size);
    }
    if (!journal_ready(journal, urgent)) {
        return why_set(why, STATUS_BUSY, "%s: no room for a record: %zu wait to be read",
                       journal->path, atomic_load(&journal->waiting));
    }
    bool fits = stride(size) <= atomic_load(&journal->remaining);
    bool turn = atomic_load(&journal->turn);
    bool fresh = !fits || (turn && atomic_load(&journal->empties) > 0);
    if (fresh) {
        status = append_fresh(journal, number, bytes, size, why);
        atomic_store(&journal->turn, turn && status != STATUS_OK);
    } else {
        status = append_here(journal, number, bytes, size, why);
    }
    if (status == STATUS_OK) {
        *record = number;
    }
    return status;
}

void journal_turn(struct journal *journal)
{
    atomic_store(&journal->turn, true);
}

/* -- the reader -------------------------------------------------------------------------------- */

/* `size` octets at `at` that are written for good, or NULL; kept until the next call. */
static const unsigned char *look_at(struct journal *journal, struct segment *segment, size_t at,
                                    size_t size, size_t end)
{
    if (journal->look_sequence != segment->sequence || at < journal->look_at ||
        at + size > journal->look_at + journal->look_size) {
        size_t want = end - at < LOOK ? end - at : LOOK;

        journal->look_size = 0;
        errno = 0;
        if (want < size || !open_file(journal, segment)) {
            return NULL;
        }
        ssize_t got = pread(segment->file, journal->look, want, (off_t)at);
        if (got < 0 || (size_t)got < size) {
            return NULL;
        }
        journal->look_sequence = segment->sequence;
        journal->look_at = at;
        journal->look_size = (size_t)got;
    }
    return journal->look + (at - journal->look_at);
}

/* The segment where the cursor stands or, where that is gone, the next; NULL if there is none. */
static struct segment *find_segment(struct journal *journal, const struct journal_cursor *cursor)
{
    struct segment *segment = journal->reading;

    if (segment == NULL || cursor->segment < segment->sequence) {
        segment = atomic_load(&journal->start.next);
    }
    while (segment != NULL) {
        struct segment *next = atomic_load(&segment->next);

        if (segment->sequence >= cursor->segment &&
            (next == NULL || next->first > cursor->record)) {
            break;
        }
        segment = next;
    }
    return segment;
}

enum status journal_read(struct journal *journal, struct journal_cursor *cursor,
                         unsigned char bytes[JOURNAL_RECORD], size_t *size, uint64_t *record,
                         struct why *why)
{
    struct segment *segment = find_segment(journal, cursor);

    while (segment != NULL) {
        /* first whether there is a next one: then the end is the last there will be */
        struct segment *next = atomic_load(&segment->next);
        size_t end = atomic_load(&segment->end), length = 0;
        const unsigned char *at = NULL;

        if (cursor->segment != segment->sequence) {
            cursor->segment = segment->sequence;
            cursor->offset = HEADER;
        }
        journal->reading = segment;
        if (cursor->offset >= end) {
            segment = next;
            continue;
        }
        at = look_at(journal, segment, cursor->offset, RECORD_HEADER, end);
        if (at != NULL) {
            length = record_length(at, end - cursor->offset);
        }
        if (length > 0) {
            at = look_at(journal, segment, cursor->offset, stride(length), end);
        }
        /* where a length cannot be, the place behind what was written is the next that is known */
        cursor->offset = length > 0 ? cursor->offset + stride(length) : end;
        if (at == NULL || length == 0 || !record_sound(at, length, segment->sequence)) {
            return why_set(why, STATUS_BROKEN,
                           "%s/%016" PRIu64 ".journal: a record from %" PRIu64
                           " on cannot be read%s%s",
                           journal->path, segment->name,
                           cursor->record > segment->first ? cursor->record : segment->first,
                           at == NULL && errno != 0 ? ": " : "",
                           at == NULL && errno != 0 ? strerror(errno) : "");
        }
        if (record_number(at) >= cursor->record) {
            *record = record_number(at);
            *size = length;
            memcpy(bytes, at + RECORD_HEADER, length);
            cursor->record = *record + 1;
            return STATUS_OK;
        }
    }
    return why_set(why, STATUS_BUSY, "%s: no other record yet", journal->path);
}

static bool is_cut(const struct segment *segment)
{
    struct stat stat;

    return !segment->spoiled && fstat(segment->file, &stat) == 0 && stat.st_size < JOURNAL_SEGMENT;
}

static enum status sync_segment(struct journal *journal, struct segment *segment, struct why *why)
{
    size_t end = atomic_load(&segment->end);
    bool cut = false;

    if (segment->synced == end) {
        return STATUS_OK;
    }
    if (open_file(journal, segment) && is_cut(segment)) {
        /* a copy into the page where the file ends says nothing, and what stands behind its end is
         * lost when that page is brought to the disk: it grows before, and gets no other record */
        cut = true;
        posix_fallocate(segment->file, 0, JOURNAL_SEGMENT);
        atomic_store(&journal->turn, true);
    }
    if (segment->file < 0 || fdatasync(segment->file) != 0) {
        return why_set(why, STATUS_BROKEN, "%s: cannot bring records to the disk: %s",
                       journal->path, strerror(errno));
    }
    segment->synced = end;
    if (cut) {
        return why_set(why, STATUS_BROKEN,
                       "%s/%016" PRIu64 ".journal: somebody has cut it short; records of it may be "
                       "lost for state.db and the counts",
                       journal->path, segment->name);
    }
    return STATUS_OK;
}

enum status journal_sync(struct journal *journal, struct why *why)
{
    struct segment *segment = atomic_load(&journal->start.next);
    enum status status = STATUS_OK;

    while (segment != NULL) {
        struct segment *next = atomic_load(&segment->next);
        struct why own;

        if (sync_segment(journal, segment, status == STATUS_OK ? why : &own) != STATUS_OK) {
            status = STATUS_BROKEN;
        }
        if (next != NULL && segment != journal->reading) {
            close_file(segment); /* many may wait: each would hold a descriptor and memory */
        }
        segment = next;
    }
    atomic_store(&journal->unsynced, status != STATUS_OK);
    return status;
}

/* How many segments shall be empty. */
static size_t wanted(const struct journal *journal)
{
    const struct segment *segment = atomic_load(&journal->start.next);
    size_t behind = 0, ahead = (journal->pace + PACE - 1) / PACE;
    size_t waiting = atomic_load(&journal->waiting), most = atomic_load(&journal->most);
    uint64_t octets = 0, records = 0;

    for (; segment != NULL; segment = atomic_load(&segment->next)) {
        behind += atomic_load(&segment->next) != NULL;
        octets += atomic_load(&segment->end);
        records += atomic_load(&segment->last) + 1 - segment->first;
    }
    ahead = ahead > 1 ? ahead : 0; /* one that is taken now and then is made anew in time */
    ahead = 1 + (ahead > behind ? ahead : behind);
    ahead = ahead < AHEAD_MOST ? ahead : AHEAD_MOST;
    if (records > 0 && ahead > 1) {
        /* no more than the records need that may come yet, if they are as long as the others */
        uint64_t average = octets / records + 1, room = most > waiting ? most - waiting : 0;
        uint64_t need = room < UINT64_MAX / average ? 1 + room * average / CAPACITY : UINT64_MAX;

        ahead = need < ahead ? (size_t)need : ahead;
    }
    return ahead;
}

static void trim(struct journal *journal, size_t keep)
{
    struct segment *segment = NULL;

    while ((segment = pop_empty(journal, keep)) != NULL) {
        atomic_fetch_sub(&journal->empties, 1);
        remove_file(journal, segment);
    }
}

/* One more empty segment; an error's number, or 0. */
static int make_segment(struct journal *journal)
{
    char made[NAME_ROOM], name[NAME_ROOM];
    struct segment *segment = segment_new(journal->name + 1);
    int error = ENOMEM;

    if (segment == NULL) {
        return error;
    }
    name_of(made, segment->name, "new");
    name_of(name, segment->name, "journal");
    segment->file =
        openat(journal->folder, made, O_RDWR | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0640);
    if (segment->file < 0) {
        error = errno;
        goto out;
    }
    error = posix_fallocate(segment->file, 0, JOURNAL_SEGMENT);
    if (error == 0 &&
        (fsync(segment->file) != 0 || renameat(journal->folder, made, journal->folder, name) != 0 ||
         fsync(journal->folder) != 0)) {
        error = errno;
    }
    if (error != 0) {
        unlinkat(journal->folder, made, 0);
        unlinkat(journal->folder, name, 0);
        goto out;
    }
    journal->name++;
    atomic_fetch_add(&journal->segments, 1);
    push_empty(journal, segment);
    segment = NULL;
out:
    segment_free(segment);
    return error;
}

static void populate(unsigned char *map)
{
    for (size_t at = 0; at < JOURNAL_SEGMENT; at += PAGES) {
        madvise(map + at, PAGES, MADV_POPULATE_WRITE);
    }
}

/* Where segments are taken fast, the next ones get their pages before the writer comes to them: the
 * first touch of each costs more than a record. The other empty ones let theirs go: they would
 * count as this process's memory. */
static void prepare_pages(struct journal *journal)
{
    unsigned char *map[AHEAD_MOST];
    size_t paged = journal->fast > 0 ? PAGED_MOST : 0, count = 0;

    pthread_mutex_lock(&journal->lock);
    for (struct segment *segment = journal->empty; segment != NULL && count < AHEAD_MOST;
         segment = atomic_load(&segment->next)) {
        map[count++] = segment->map;
    }
    pthread_mutex_unlock(&journal->lock);
    /* the writer may have taken one meanwhile: it does not mind, and only we take it away again */
    for (size_t i = 0; i < count; i++) {
        if (map[i] != NULL && i < paged) {
            populate(map[i]);
        } else if (map[i] != NULL) {
            madvise(map[i], JOURNAL_SEGMENT, MADV_DONTNEED);
        }
    }
}

static int extend(struct journal *journal)
{
    size_t taken = atomic_exchange(&journal->taken, 0), ahead = 0;
    bool fast = journal->fast > 0;
    int error = 0;

    /* fast: one more while the last one is not forgotten */
    journal->fast -= fast;
    journal->fast = taken > 1 || (taken > 0 && journal->pace > 0) ? PACE : journal->fast;
    taken = taken < AHEAD_MOST ? taken : AHEAD_MOST;
    journal->pace -= journal->pace > 0;
    journal->pace = taken * PACE > journal->pace ? (unsigned)taken * PACE : journal->pace;
    ahead = wanted(journal);
    while (error == 0 && atomic_load(&journal->empties) < ahead) {
        error = make_segment(journal);
    }
    trim(journal, ahead);
    if (fast || journal->fast > 0) {
        prepare_pages(journal);
    }
    return error;
}

enum status journal_extend(struct journal *journal, struct why *why)
{
    int error = extend(journal);

    if (error != 0) {
        return why_set(why, STATUS_BROKEN,
                       "%s: cannot make room for records: %s; free some space or records cannot "
                       "be written soon",
                       journal->path, strerror(error));
    }
    return STATUS_OK;
}

void journal_release(struct journal *journal, uint64_t record)
{
    uint64_t last = atomic_load(&journal->last), gone = 0;
    struct segment *segment = atomic_load(&journal->start.next);

    record = record < last ? record : last;
    for (; segment != NULL && segment->first <= record; segment = atomic_load(&segment->next)) {
        uint64_t from = segment->first, to = atomic_load(&segment->last);

        from = from > journal->released ? from : journal->released + 1;
        to = to < record ? to : record;
        gone += to >= from ? to - from + 1 : 0;
    }
    journal->released = record > journal->released ? record : journal->released;
    atomic_fetch_sub(&journal->waiting, (size_t)gone);

    while ((segment = atomic_load(&journal->start.next)) != NULL &&
           atomic_load(&segment->next) != NULL && atomic_load(&segment->last) <= record) {
        atomic_store(&journal->start.next, atomic_load(&segment->next));
        if (journal->reading == segment) {
            journal->reading = NULL;
        }
        segment->synced = 0;
        /* what is used no more must not be found again; NAME.damaged keeps the octets */
        if (segment->spoiled || !blank(journal, segment)) {
            remove_file(journal, segment);
        } else {
            push_empty(journal, segment);
        }
    }
    trim(journal, wanted(journal));
}

/* -- opening ----------------------------------------------------------------------------------- */

static void tell(const struct journal *journal, const char *sentence)
{
    if (journal->trouble != NULL) {
        journal->trouble(journal->context, sentence);
    }
}

/* The highest number of a sound record from `at` on that is above `above`; 0 = none. Texts from
 * outside stand here too and may look like a record: a number that the segment cannot have reached
 * is none. */
static uint64_t highest_beyond(const struct segment *segment, const unsigned char *bytes, size_t at,
                               uint64_t above)
{
    const uint64_t most = segment->first + JOURNAL_SEGMENT / stride(1);
    uint64_t highest = 0;
    size_t end = JOURNAL_SEGMENT;

    while (end >= at + PAGE && all_zero(bytes + end - PAGE, PAGE)) {
        end -= PAGE;
    }
    for (; at < end && at + RECORD_HEADER <= JOURNAL_SEGMENT; at += 8) {
        uint64_t number = record_number(bytes + at);

        if (number > above && number > highest && number < most) {
            size_t length = record_length(bytes + at, JOURNAL_SEGMENT - at);

            if (length > 0 && record_sound(bytes + at, length, segment->sequence)) {
                highest = number;
            }
        }
    }
    return highest;
}

/* Finds the records of a segment in use. */
static void scan(struct segment *segment, const unsigned char *bytes)
{
    uint64_t next = segment->first;
    size_t at = HEADER, length = 0;

    while ((length = record_length(bytes + at, JOURNAL_SEGMENT - at)) > 0 &&
           record_number(bytes + at) == next &&
           record_sound(bytes + at, length, segment->sequence)) {
        at += stride(length);
        next++;
    }
    atomic_store(&segment->last, next - 1);
    atomic_store(&segment->end, at);
    segment->beyond = highest_beyond(segment, bytes, at, next);
}

/* A file that says nothing that can be understood is moved aside. */
static void set_aside(struct journal *journal, struct segment *segment, const char *what)
{
    char name[NAME_ROOM], aside[NAME_ROOM], sentence[SENTENCE];

    name_of(name, segment->name, "journal");
    name_of(aside, segment->name, "journal.damaged");
    bool moved = renameat(journal->folder, name, journal->folder, aside) == 0;
    snprintf(sentence, sizeof sentence,
             "%s/%s: %s; its records are lost for state.db and the counts%s%s", journal->path, name,
             what, moved ? "; the file is kept as " : "; it cannot be renamed: ",
             moved ? aside : strerror(errno));
    tell(journal, sentence);
}

/* Keeps the octets of a segment that lost the records up to `until`; tells it once. */
static void spoil(struct journal *journal, struct segment *segment, uint64_t until)
{
    char name[NAME_ROOM], aside[NAME_ROOM], lost[96], sentence[SENTENCE];
    struct stat own, other;
    uint64_t last = atomic_load(&segment->last);

    segment->spoiled = true;
    name_of(name, segment->name, "journal");
    name_of(aside, segment->name, "journal.damaged");
    if (fstatat(journal->folder, name, &own, AT_SYMLINK_NOFOLLOW) == 0 &&
        fstatat(journal->folder, aside, &other, AT_SYMLINK_NOFOLLOW) == 0 &&
        own.st_dev == other.st_dev && own.st_ino == other.st_ino) {
        return;
    }
    bool kept = linkat(journal->folder, name, journal->folder, aside, 0) == 0;
    int error = errno;
    if (until > last) {
        snprintf(lost, sizeof lost, "records %" PRIu64 " to %" PRIu64, last + 1, until);
    } else {
        snprintf(lost, sizeof lost, "any record after %" PRIu64, last);
    }
    snprintf(sentence, sizeof sentence,
             "%s/%s: damaged; %s of it are lost for state.db and the counts%s%s", journal->path,
             name, lost, kept ? "; the file is kept as " : "; it cannot be kept: ",
             kept ? aside : strerror(error));
    tell(journal, sentence);
}

/* Makes an unused segment ready to be written; gives it up if that cannot be. */
static enum status use_again(struct journal *journal, struct segment *segment, struct why *why)
{
    char name[NAME_ROOM];

    if (blank(journal, segment) && posix_fallocate(segment->file, 0, JOURNAL_SEGMENT) == 0) {
        push_empty(journal, segment);
        return STATUS_OK;
    }
    name_of(name, segment->name, "journal");
    remove_file(journal, segment);
    if (faccessat(journal->folder, name, F_OK, 0) == 0) {
        return why_set(why, STATUS_BROKEN, "%s/%s: cannot be written or removed", journal->path,
                       name);
    }
    return STATUS_OK;
}

/* Reads one file. *used is NULL afterwards if it holds no segment in use. highest is raised to the
 * highest number of a record that is lost. */
static enum status load(struct journal *journal, uint64_t name_number, unsigned char *bytes,
                        struct segment **used, uint64_t *highest, struct why *why)
{
    struct segment *segment = segment_new(name_number);
    struct stat stat;
    size_t size = 0;
    enum status status = STATUS_OK;

    *used = NULL;
    if (segment == NULL) {
        return why_set(why, STATUS_BROKEN, "%s: out of memory", journal->path);
    }
    if (!open_file(journal, segment) || fstat(segment->file, &stat) != 0 ||
        !S_ISREG(stat.st_mode)) {
        char sentence[SENTENCE];

        snprintf(sentence, sizeof sentence,
                 "%s/%016" PRIu64 ".journal: cannot be opened, its records are not read: %s",
                 journal->path, name_number,
                 segment->file < 0 ? strerror(errno) : "it is not a file");
        tell(journal, sentence);
        segment_free(segment);
        return STATUS_OK;
    }
    memset(bytes, 0, JOURNAL_SEGMENT);
    while (size < JOURNAL_SEGMENT) {
        ssize_t got = pread(segment->file, bytes + size, JOURNAL_SEGMENT - size, (off_t)size);

        if (got <= 0) {
            segment->unreadable = got < 0;
            break;
        }
        size += (size_t)got;
    }
    if (!segment->unreadable && all_zero(bytes, HEADER)) {
        atomic_fetch_add(&journal->segments, 1);
        return use_again(journal, segment, why);
    }
    segment->sequence = octets_get(bytes + 24, 8);
    segment->first = octets_get(bytes + 32, 8);
    segment->before = octets_get(bytes + 40, 8);
    if (octets_get(bytes, 8) != checksum(bytes + 8, HEADER - 8) ||
        octets_get(bytes + 8, 8) != MAGIC || octets_get(bytes + 16, 8) != VERSION ||
        segment->first == 0 || segment->sequence == 0) {
        uint64_t lost = 0;

        segment->sequence = octets_get(bytes + HEADER + 20, 4);
        segment->first = record_number(bytes + HEADER);
        if (segment->first != 0) {
            scan(segment, bytes);
            lost = atomic_load(&segment->last);
            lost = segment->beyond > lost ? segment->beyond : lost;
            *highest = lost >= segment->first && lost > *highest ? lost : *highest;
        }
        set_aside(journal, segment, "damaged at its beginning, or of another version of sekisho");
        segment_free(segment);
        return STATUS_OK;
    }
    scan(segment, bytes);
    atomic_fetch_add(&journal->segments, 1);
    close_file(segment);
    segment->spoiled = stat.st_nlink > 1; /* as NAME.damaged, since an earlier opening */
    *used = segment;
    return status;
}

static int by_sequence(const void *a, const void *b)
{
    const struct segment *const *left = a, *const *right = b;

    return ((*left)->sequence > (*right)->sequence) - ((*left)->sequence < (*right)->sequence);
}

/* The number in a name of 16 digits and this ending; 0 = another name. */
static uint64_t name_number(const char *name, const char *ending)
{
    if (strspn(name, "0123456789") != 16 || name[16] != '.' || strcmp(name + 17, ending) != 0) {
        return 0;
    }
    return strtoull(name, NULL, 10);
}

/* Reads all files: a list, in the order of use. */
static enum status load_all(struct journal *journal, struct segment ***list, size_t *count,
                            uint64_t *highest, struct why *why)
{
    unsigned char *bytes = malloc(JOURNAL_SEGMENT);
    uint64_t *names = NULL;
    size_t files = 0, room = 0;
    DIR *folder = NULL;
    int copy = openat(journal->folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    enum status status = STATUS_BROKEN;

    *count = 0;
    if (copy < 0 || (folder = fdopendir(copy)) == NULL) {
        why_set(why, status, "%s: cannot be read: %s", journal->path, strerror(errno));
        goto out;
    }
    copy = -1;
    for (const struct dirent *entry = NULL; (entry = readdir(folder)) != NULL;) {
        uint64_t number = name_number(entry->d_name, "journal");
        uint64_t aside = name_number(entry->d_name, "journal.damaged");

        if (name_number(entry->d_name, "new") != 0) {
            unlinkat(journal->folder, entry->d_name, 0);
        }
        journal->name = number > journal->name ? number : journal->name;
        journal->name = aside > journal->name ? aside : journal->name;
        if (number != 0 && files == room) {
            uint64_t *more = realloc(names, (room * 2 + 16) * sizeof *names);

            if (more == NULL) {
                goto memory;
            }
            names = more;
            room = room * 2 + 16;
        }
        if (number != 0) {
            names[files++] = number;
        }
    }
    *list = calloc(files + 1, sizeof **list);
    if (bytes == NULL || *list == NULL) {
        goto memory;
    }
    for (size_t i = 0; i < files; i++) {
        if (load(journal, names[i], bytes, &(*list)[*count], highest, why) != STATUS_OK) {
            goto out;
        }
        *count += (*list)[*count] != NULL;
    }
    qsort(*list, *count, sizeof **list, by_sequence);
    status = STATUS_OK;
    goto out;
memory:
    why_set(why, status, "%s: out of memory", journal->path);
out:
    if (folder != NULL) {
        closedir(folder);
    }
    if (copy >= 0) {
        close(copy);
    }
    free(names);
    free(bytes);
    return status;
}

/* Puts the segments in use, in order, behind start; judges which have lost records. Takes what it
 * can out of the list. */
static enum status line_up(struct journal *journal, struct segment **list, size_t count,
                           uint64_t *highest, struct why *why)
{
    size_t waiting = 0;

    for (size_t i = 0; i < count; i++) {
        struct segment *segment = list[i], *next = i + 1 < count ? list[i + 1] : NULL;
        struct segment *tail = journal->tail;
        uint64_t last = atomic_load(&segment->last);
        bool follows = next != NULL && next->sequence == segment->sequence + 1;
        uint64_t until = follows ? next->before : segment->beyond;

        list[i] = NULL;
        journal->sequence = segment->sequence;
        *highest = last > *highest ? last : *highest;
        *highest = segment->beyond > *highest ? segment->beyond : *highest;
        if (tail != &journal->start &&
            (segment->sequence == tail->sequence || segment->first <= atomic_load(&tail->last))) {
            set_aside(journal, segment, "not in order with the others");
            segment_free(segment);
            atomic_fetch_sub(&journal->segments, 1);
            continue;
        }
        if (until > last || (segment->unreadable && !follows)) {
            spoil(journal, segment, until);
        } else if (last < segment->first && !segment->spoiled) {
            /* its first record was torn: never answered */
            enum status status = use_again(journal, segment, why);

            if (status != STATUS_OK) {
                return status;
            }
            continue;
        }
        atomic_store(&tail->next, segment);
        journal->tail = segment;
        waiting += (size_t)(last + 1 - segment->first);
    }
    atomic_store(&journal->waiting, waiting);
    return STATUS_OK;
}

/* May the tail be written on? What a crash left behind its last record does no harm: where another
 * sound record stands there, the tail is spoiled. */
static bool go_on(const struct journal *journal)
{
    struct segment *tail = journal->tail;

    /* numbers of a segment ascend by one: after a leap another one is begun */
    if (tail == &journal->start || tail->spoiled ||
        atomic_load(&tail->last) != atomic_load(&journal->last) || !open_file(journal, tail) ||
        posix_fallocate(tail->file, 0, JOURNAL_SEGMENT) != 0) {
        return false;
    }
    map_file(tail);
    return true;
}

enum status journal_open(const char *folder, size_t records_most, uint64_t after,
                         void (*trouble)(void *context, const char *sentence), void *context,
                         struct journal **journal, struct why *why)
{
    struct journal *made = calloc(1, sizeof *made);
    struct segment **list = NULL;
    size_t count = 0;
    uint64_t highest = 0;
    struct why sentence;
    int error = 0;
    enum status status = STATUS_BROKEN;

    *journal = NULL;
    if (made == NULL || pthread_mutex_init(&made->lock, NULL) != 0) {
        free(made);
        return why_set(why, status, "%s: out of memory", folder);
    }
    made->folder = -1;
    made->start.file = -1;
    made->tail = &made->start;
    made->trouble = trouble;
    made->context = context;
    atomic_store(&made->most, records_most);
    atomic_store(&made->wake, -1);
    mapped_begin();
    made->path = strdup(folder);
    made->look = malloc(LOOK);
    if (made->path == NULL || made->look == NULL) {
        why_set(why, status, "%s: out of memory", folder);
        goto out;
    }
    if (mkdir(folder, 0750) != 0 && errno != EEXIST) {
        why_set(why, status, "%s: cannot be made: %s", folder, strerror(errno));
        goto out;
    }
    made->folder = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (made->folder < 0 || faccessat(made->folder, ".", R_OK | W_OK | X_OK, AT_EACCESS) != 0) {
        why_set(why, status, "%s: cannot be used: %s", folder, strerror(errno));
        goto out;
    }
    if (load_all(made, &list, &count, &highest, why) != STATUS_OK ||
        line_up(made, list, count, &highest, why) != STATUS_OK) {
        goto out;
    }
    atomic_store(&made->last, highest > after ? highest : after);
    made->released = atomic_load(&made->start.next) != NULL
                         ? atomic_load(&made->start.next)->first - 1
                         : atomic_load(&made->last);
    if (go_on(made)) {
        atomic_store(&made->remaining, JOURNAL_SEGMENT - atomic_load(&made->tail->end));
    }
    error = extend(made);
    if (error == ENOSPC || error == EDQUOT) {
        why_set(&sentence, STATUS_BROKEN, "%s: cannot make room for records: %s; free some space",
                folder, strerror(error));
        tell(made, sentence.text);
    } else if (error != 0) {
        why_set(why, status, "%s: cannot be written: %s", folder, strerror(error));
        goto out;
    }
    made->trouble = NULL;
    *journal = made;
    made = NULL;
    status = STATUS_OK;
out:
    for (size_t i = 0; list != NULL && i < count; i++) {
        segment_free(list[i]);
    }
    free(list);
    journal_close(made);
    return status;
}

void journal_close(struct journal *journal)
{
    if (journal == NULL) {
        return;
    }
    for (int i = 0; i < 2; i++) {
        struct segment *segment = i == 0 ? atomic_load(&journal->start.next) : journal->empty;

        while (segment != NULL) {
            struct segment *next = atomic_load(&segment->next);

            segment_free(segment);
            segment = next;
        }
    }
    segment_free(journal->fresh);
    if (journal->folder >= 0) {
        close(journal->folder);
    }
    pthread_mutex_destroy(&journal->lock);
    free(journal->look);
    free(journal->path);
    free(journal);
}

void journal_limit(struct journal *journal, size_t records_most)
{
    atomic_store(&journal->most, records_most);
}

void journal_wake(struct journal *journal, int file)
{
    atomic_store(&journal->wake, file);
}

size_t journal_waiting(const struct journal *journal)
{
    return atomic_load(&journal->waiting);
}

uint64_t journal_last(const struct journal *journal)
{
    return atomic_load(&journal->last);
}

size_t journal_size(const struct journal *journal)
{
    return atomic_load(&journal->segments) * JOURNAL_SEGMENT;
}
