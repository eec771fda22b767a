/* The journal: what was answered OK is found again, in order, whatever happens; nothing else is. */
/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE /* unshare, FALLOC_FL_PUNCH_HOLE */
#include "live/journal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

enum {
    HEADER = 48,        /* of a segment */
    RECORD_HEADER = 24, /* of a record */
    MANY = 1000000,
    SPAWNED_ROUNDS = 20,
    THREAD_RECORDS = 30000
};

/* ---- rows ---- */

static const struct {
    size_t size;
    bool fine;
} size_rows[] = {
    {1, true},
    {7, true},
    {8, true},
    {9, true},
    {661, true},
    {JOURNAL_RECORD - 1, true},
    {JOURNAL_RECORD, true},
    {0, false},
    {JOURNAL_RECORD + 1, false},
    {SIZE_MAX, false},
};

/* `written` records, opened again with `after`: the next one's number. */
static const struct {
    size_t written;
    uint64_t after, next;
} after_rows[] = {
    {0, 0, 1}, {0, 41, 42}, {3, 0, 4}, {3, 2, 4}, {3, 3, 4}, {3, 4, 5}, {3, 1000000, 1000001},
};

/* One octet is changed in a journal of three segments with records of LONG octets, `each` in a
 * segment. at: in the segment, or in the record `record` of it (1 = the first). */
enum {
    LONG = 9000,
    EACH = (JOURNAL_SEGMENT - HEADER) / (RECORD_HEADER + LONG),
    RECORDS = EACH * 5 / 2
};
static const struct {
    const char *name;
    int segment, record; /* segment 0 to 2; record 0 = the segment's header */
    size_t at;
    bool told;
    uint64_t first_lost, last_lost, next;
} damage_rows[] = {
    {"magic", 1, 0, 9, true, EACH + 1, 2 * EACH, RECORDS + 1},
    {"first", 1, 0, 32, true, EACH + 1, 2 * EACH, RECORDS + 1},
    {"checksum of the header", 0, 0, 0, true, 1, EACH, RECORDS + 1},
    {"header of the last", 2, 0, 24, true, 2 * EACH + 1, RECORDS, RECORDS + 1},
    {"number", 0, 100, 8, true, 100, EACH, RECORDS + 1},
    {"length", 0, 100, 17, true, 100, EACH, RECORDS + 1},
    {"sequence", 1, 2, 20, true, EACH + 2, 2 * EACH, RECORDS + 1},
    {"checksum", 1, 1, 3, true, EACH + 1, 2 * EACH, RECORDS + 1},
    {"payload", 1, EACH, RECORD_HEADER + LONG - 1, true, 2 * EACH, 2 * EACH, RECORDS + 1},
    {"payload in the last", 2, 10, RECORD_HEADER, true, 2 * EACH + 10, RECORDS, RECORDS + 1},
    {"first of the last", 2, 1, RECORD_HEADER, true, 2 * EACH + 1, RECORDS, RECORDS + 1},
    /* this is what a torn record looks like: it was never answered */
    {"the very last", 2, RECORDS - 2 * EACH, RECORD_HEADER, false, RECORDS, RECORDS, RECORDS},
};

/* ---- helpers ---- */

static char folder[64];
static char told[2048];
static int tellings;
static struct why why;

static void tell(void *context, const char *sentence)
{
    (void)context;
    tellings++;
    snprintf(told, sizeof told, "%s", sentence);
}

static void empty_folder(const char *path)
{
    DIR *open_folder = opendir(path);

    if (open_folder != NULL) {
        for (struct dirent *entry; (entry = readdir(open_folder)) != NULL;)
            unlinkat(dirfd(open_folder), entry->d_name, 0);
        closedir(open_folder);
    }
}

static int place_make(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/journal.XXXXXX");
    tellings = 0;
    return mkdtemp(folder) == NULL;
}

static int place_remove(void **state)
{
    (void)state;
    empty_folder(folder);
    return rmdir(folder);
}

static struct journal *open_journal(size_t most, uint64_t after)
{
    struct journal *journal = NULL;

    why.text[0] = '\0';
    if (journal_open(folder, most, after, tell, NULL, &journal, &why) != STATUS_OK)
        print_message("%s\n", why.text);
    assert_non_null(journal);
    return journal;
}

/* What the record of that number says; salt: which try of writing it. */
static void fill(unsigned char *bytes, size_t size, uint64_t number, unsigned salt)
{
    for (size_t i = 0; i < size; i++)
        bytes[i] = (unsigned char)(number * 31 + i * 7 + salt + (number >> 8));
}

static size_t size_of(uint64_t number)
{
    return 1 + (size_t)(number * UINT64_C(2654435761) >> 5) % 1500;
}

static enum status append(struct journal *journal, size_t size, unsigned salt, bool urgent)
{
    unsigned char bytes[JOURNAL_RECORD];
    uint64_t next = journal_last(journal) + 1, number = 0;

    fill(bytes, size, next, salt);
    enum status status = journal_append(journal, bytes, size, urgent, &number, &why);
    if (status == STATUS_OK)
        assert_true(number == next);
    return status;
}

static bool is(const unsigned char *bytes, size_t size, uint64_t number, unsigned salt)
{
    unsigned char wanted[JOURNAL_RECORD];

    fill(wanted, size, number, salt);
    return memcmp(bytes, wanted, size) == 0;
}

/* The next record must be this one; size 0 = any. */
static void expect(struct journal *journal, struct journal_cursor *cursor, uint64_t number,
                   size_t size, unsigned salt)
{
    unsigned char bytes[JOURNAL_RECORD];
    size_t got = 0;
    uint64_t record = 0;
    enum status status = journal_read(journal, cursor, bytes, &got, &record, &why);

    if (status != STATUS_OK || record != number)
        print_message("record %llu: %s\n", (unsigned long long)number,
                      status != STATUS_OK ? why.text : "another one");
    assert_int_equal(status, STATUS_OK);
    assert_true(record == number);
    assert_true(size == 0 || got == size);
    assert_true(is(bytes, got, number, salt));
}

static void expect_end(struct journal *journal, struct journal_cursor *cursor)
{
    unsigned char bytes[JOURNAL_RECORD];
    size_t got;
    uint64_t record;

    assert_int_equal(journal_read(journal, cursor, bytes, &got, &record, &why), STATUS_BUSY);
}

static void path_of(char path[128], int name, const char *ending)
{
    snprintf(path, 128, "%s/%016d.journal%s", folder, name, ending);
}

static bool is_there(int name, const char *ending)
{
    char path[128];

    path_of(path, name, ending);
    return access(path, F_OK) == 0;
}

static size_t files(void)
{
    size_t count = 0;
    DIR *open_folder = opendir(folder);

    for (struct dirent *entry; (entry = readdir(open_folder)) != NULL;)
        count += entry->d_name[0] != '.';
    closedir(open_folder);
    return count;
}

static void flip(int name, const char *ending, size_t at)
{
    char path[128];
    unsigned char octet;

    path_of(path, name, ending);
    int file = open(path, O_RDWR);
    assert_true(file >= 0);
    assert_int_equal(pread(file, &octet, 1, (off_t)at), 1);
    octet ^= 0x40;
    assert_int_equal(pwrite(file, &octet, 1, (off_t)at), 1);
    close(file);
}

static uint64_t sum_of(int name, const char *ending)
{
    static unsigned char bytes[JOURNAL_SEGMENT];
    uint64_t sum = 14695981039346656037U;
    char path[128];

    path_of(path, name, ending);
    int file = open(path, O_RDONLY);
    assert_true(file >= 0);
    ssize_t got = read(file, bytes, sizeof bytes);
    close(file);
    for (ssize_t i = 0; i < got; i++)
        sum = (sum ^ bytes[i]) * 1099511628211U;
    return sum;
}

/* ---- tests ---- */

static void test_sizes(void **state)
{
    struct journal *journal = open_journal(MANY, 0);
    struct journal_cursor cursor = {0, 0, 0}, middle = {3, 0, 0};
    unsigned char bytes[JOURNAL_RECORD];
    uint64_t number = 0;
    size_t fine = 0;

    (void)state;
    expect_end(journal, &cursor);
    assert_true(journal_last(journal) == 0);
    for (size_t i = 0; i < COUNT_OF(size_rows); i++) {
        if (size_rows[i].fine) {
            assert_int_equal(append(journal, size_rows[i].size, 0, false), STATUS_OK);
            assert_true(journal_last(journal) == ++fine);
            assert_int_equal(journal_waiting(journal), fine);
            expect(journal, &cursor, fine, size_rows[i].size, 0);
            expect_end(journal, &cursor);
        } else {
            assert_int_not_equal(
                journal_append(journal, bytes, size_rows[i].size, false, &number, &why), STATUS_OK);
        }
    }
    expect(journal, &middle, 3, 8, 0);
    assert_int_equal(journal_sync(journal, &why), STATUS_OK);
    journal_release(journal, 2);
    assert_int_equal(journal_waiting(journal), fine - 2);
    journal_release(journal, 1); /* says nothing new */
    assert_int_equal(journal_waiting(journal), fine - 2);
    journal_release(journal, UINT64_MAX);
    assert_int_equal(journal_waiting(journal), 0);
    journal_close(journal);
    journal_close(NULL);

    journal = open_journal(MANY, 0);
    memset(&cursor, 0, sizeof cursor);
    assert_int_equal(journal_waiting(journal), fine);
    for (size_t i = 0; i < fine; i++)
        expect(journal, &cursor, i + 1, size_rows[i].size, 0);
    expect_end(journal, &cursor);
    assert_int_equal(tellings, 0);
    journal_close(journal);
}

static void test_after(void **state)
{
    (void)state;
    for (size_t row = 0; row < COUNT_OF(after_rows); row++) {
        struct journal_cursor cursor = {0, 0, 0};
        struct journal *journal = open_journal(MANY, 0);

        for (size_t i = 0; i < after_rows[row].written; i++)
            assert_int_equal(append(journal, 100, 0, false), STATUS_OK);
        journal_close(journal);
        /* twice: what a leap leaves behind is no damage */
        for (uint64_t i = 0; i < 3; i++) {
            journal = open_journal(MANY, after_rows[row].after);
            assert_true(journal_last(journal) + 1 == after_rows[row].next + i);
            assert_int_equal(append(journal, 100, 0, false), STATUS_OK);
            assert_int_equal(journal_waiting(journal), after_rows[row].written + i + 1);
            journal_close(journal);
        }
        journal = open_journal(MANY, 0);
        for (size_t i = 0; i < after_rows[row].written; i++)
            expect(journal, &cursor, i + 1, 100, 0);
        for (uint64_t i = 0; i < 3; i++)
            expect(journal, &cursor, after_rows[row].next + i, 100, 0);
        expect_end(journal, &cursor);
        assert_int_equal(tellings, 0);
        journal_release(journal, after_rows[row].next);
        assert_int_equal(journal_waiting(journal), 2);
        journal_close(journal);
        empty_folder(folder);
    }
}

/* The last of three records is cut at each of its octets: in a shorter file, and in zeros. */
static void test_truncated(void **state)
{
    enum { SIZE = 13, STRIDE = RECORD_HEADER + 16, LAST = HEADER + 2 * STRIDE };
    char path[128];

    (void)state;
    for (size_t cut = 0; cut < RECORD_HEADER + SIZE; cut++) {
        struct journal_cursor cursor = {0, 0, 0};
        struct journal *journal = open_journal(MANY, 0);

        for (int i = 0; i < 4; i++)
            assert_int_equal(append(journal, SIZE, 0, false), STATUS_OK);
        journal_close(journal);
        path_of(path, 1, "");
        assert_int_equal(truncate(path, LAST + (off_t)cut), 0);
        if (cut % 2 == 0)
            assert_int_equal(truncate(path, JOURNAL_SEGMENT), 0);
        journal = open_journal(MANY, 0);
        expect(journal, &cursor, 1, SIZE, 0);
        expect(journal, &cursor, 2, SIZE, 0);
        expect_end(journal, &cursor);
        assert_int_equal(journal_waiting(journal), 2);
        assert_int_equal(append(journal, SIZE, 77, false), STATUS_OK);
        expect(journal, &cursor, 3, SIZE, 77);
        journal_close(journal);
        journal = open_journal(MANY, 0);
        memset(&cursor, 0, sizeof cursor);
        expect(journal, &cursor, 1, SIZE, 0);
        expect(journal, &cursor, 2, SIZE, 0);
        expect(journal, &cursor, 3, SIZE, 77);
        expect_end(journal, &cursor);
        journal_close(journal);
        assert_int_equal(tellings, 0);
        empty_folder(folder);
    }
}

/* A crash of the machine lost record 3 and kept 4: the new 3 must not bring the old 4 back. */
static void test_no_ghost(void **state)
{
    struct journal_cursor cursor = {0, 0, 0};
    struct journal *journal = open_journal(MANY, 0);

    (void)state;
    for (int i = 0; i < 4; i++)
        assert_int_equal(append(journal, 16, 0, false), STATUS_OK);
    journal_close(journal);
    flip(1, "", HEADER + 2 * 40 + 30);
    journal = open_journal(MANY, 0);
    assert_int_equal(tellings, 1);
    assert_true(journal_last(journal) == 4);
    assert_int_equal(append(journal, 16, 5, false), STATUS_OK);
    journal_close(journal);
    journal = open_journal(MANY, 0);
    expect(journal, &cursor, 1, 16, 0);
    expect(journal, &cursor, 2, 16, 0);
    expect(journal, &cursor, 5, 16, 5);
    expect_end(journal, &cursor);
    assert_int_equal(tellings, 1);
    journal_close(journal);
}

/* Record 3 is a copy of record 1, sound in itself: it is not the third. */
static void test_out_of_order(void **state)
{
    struct journal_cursor cursor = {0, 0, 0};
    struct journal *journal = open_journal(MANY, 0);
    unsigned char octets[40];
    char path[128];

    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(append(journal, 16, 0, false), STATUS_OK);
    journal_close(journal);
    path_of(path, 1, "");
    int file = open(path, O_RDWR);
    assert_int_equal(pread(file, octets, sizeof octets, HEADER), sizeof octets);
    assert_int_equal(pwrite(file, octets, sizeof octets, HEADER + 2 * 40), sizeof octets);
    close(file);
    journal = open_journal(MANY, 0);
    expect(journal, &cursor, 1, 16, 0);
    expect(journal, &cursor, 2, 16, 0);
    expect_end(journal, &cursor);
    assert_true(journal_last(journal) == 2);
    journal_close(journal);
}

/* A second record whose checksum is right. */
static void test_sound(void **state)
{
    static const struct {
        size_t size;
        unsigned char number, sequence;
        size_t waiting;
    } sound_rows[] = {
        {JOURNAL_RECORD, 2, 1, 2},     /* as it should be */
        {JOURNAL_RECORD + 8, 2, 1, 1}, /* longer than any */
        {0, 2, 1, 1},
        {JOURNAL_RECORD, 2, 2, 1}, /* of another use of the segment */
        {JOURNAL_RECORD, 1, 1, 1}, /* out of order */
    };
    static const unsigned char key[crypto_shorthash_KEYBYTES] = "sekisho journal";
    static unsigned char record[RECORD_HEADER + JOURNAL_RECORD + 8];
    struct journal *journal = open_journal(MANY, 0);
    char path[128];

    (void)state;
    assert_int_equal(append(journal, 16, 0, false), STATUS_OK);
    journal_close(journal);
    path_of(path, 1, "");
    for (size_t i = 0; i < COUNT_OF(sound_rows); i++) {
        size_t size = sound_rows[i].size;

        record[8] = sound_rows[i].number;
        record[16] = (unsigned char)size;
        record[17] = (unsigned char)(size >> 8);
        record[20] = sound_rows[i].sequence;
        crypto_shorthash(record, record + 8, RECORD_HEADER - 8 + size, key);
        int file = open(path, O_RDWR);
        assert_int_equal(pwrite(file, record, sizeof record, HEADER + 40), sizeof record);
        close(file);
        journal = open_journal(MANY, 0);
        assert_int_equal(journal_waiting(journal), sound_rows[i].waiting);
        journal_close(journal);
    }
}

/* What was released is not found again, but for what shares a segment with the last. */
static void test_released(void **state)
{
    struct journal_cursor cursor = {0, 0, 0};
    struct journal *journal = open_journal(MANY, 0);

    (void)state;
    for (int i = 0; i < RECORDS; i++) {
        assert_int_equal(journal_extend(journal, &why), STATUS_OK);
        assert_int_equal(append(journal, LONG, 0, false), STATUS_OK);
    }
    journal_release(journal, RECORDS);
    journal_close(journal);
    journal = open_journal(MANY, 0);
    assert_int_equal(journal_waiting(journal), RECORDS - 2 * EACH);
    for (uint64_t i = 2 * EACH + 1; i <= RECORDS; i++)
        expect(journal, &cursor, i, LONG, 0);
    expect_end(journal, &cursor);
    journal_close(journal);
}

/* Octets of the files that are not 0. */
static size_t octets_left(void)
{
    size_t left = 0;

    for (int name = 1; name < 100; name++) {
        char path[128];

        path_of(path, name, "");
        FILE *file = fopen(path, "r");
        for (int byte; file != NULL && (byte = fgetc(file)) != EOF;) {
            left += byte != 0;
        }
        if (file != NULL) {
            fclose(file);
        }
    }
    return left;
}

/* Few records fill no segment: after a turn they can go all the same, and nothing is left of them
 * in the segment that is used again. */
static void test_turn(void **state)
{
    struct journal *journal = open_journal(MANY, 0);

    (void)state;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(append(journal, LONG, 0, false), STATUS_OK);
    }
    journal_release(journal, journal_last(journal));
    assert_int_equal(journal_extend(journal, &why), STATUS_OK);
    assert_true(octets_left() > 90 * LONG);
    journal_turn(journal);
    assert_int_equal(append(journal, 8, 0, false), STATUS_OK);
    journal_release(journal, 100);
    assert_int_equal(files(), 2);
    assert_true(octets_left() < 200);
    journal_close(journal);
    journal = open_journal(MANY, 0);
    struct journal_cursor cursor = {0, 0, 0};
    expect(journal, &cursor, 101, 8, 0);
    expect_end(journal, &cursor);
    journal_close(journal);
}

static void test_damage(void **state)
{
    (void)state;
    for (size_t row = 0; row < COUNT_OF(damage_rows); row++) {
        struct journal_cursor cursor = {0, 0, 0};
        struct journal *journal = open_journal(MANY, 0);
        int name = damage_rows[row].segment + 1;
        size_t at = damage_rows[row].at;
        uint64_t sum, first = damage_rows[row].first_lost, last = damage_rows[row].last_lost;

        print_message("%s\n", damage_rows[row].name);
        tellings = 0;
        for (int i = 0; i < RECORDS; i++) {
            assert_int_equal(journal_extend(journal, &why), STATUS_OK);
            assert_int_equal(append(journal, LONG, 0, false), STATUS_OK);
        }
        journal_close(journal);
        if (damage_rows[row].record > 0)
            at += HEADER + (size_t)(damage_rows[row].record - 1) * (RECORD_HEADER + LONG);
        /* names are in the order in which segments were made, use may be in another */
        for (int i = 1; i <= 12 && damage_rows[row].segment >= 0; i++) {
            unsigned char header[HEADER] = {0};
            char path[128];

            path_of(path, i, "");
            int file = open(path, O_RDONLY);
            if (file >= 0) {
                assert_int_equal(pread(file, header, HEADER, 0), HEADER);
                close(file);
                if (header[24] == damage_rows[row].segment + 1)
                    name = i;
            }
        }
        flip(name, "", at);
        sum = sum_of(name, "");

        journal = open_journal(MANY, 0);
        assert_int_equal(tellings, damage_rows[row].told);
        assert_int_equal(is_there(name, ".damaged"), damage_rows[row].told);
        if (damage_rows[row].told)
            assert_non_null(strstr(told, ".journal.damaged"));
        assert_int_equal(journal_waiting(journal), RECORDS - (last - first + 1));
        assert_true(journal_last(journal) + 1 == damage_rows[row].next);
        for (uint64_t i = 1; i <= RECORDS; i++)
            if (i < first || i > last)
                expect(journal, &cursor, i, LONG, 0);
        expect_end(journal, &cursor);
        assert_int_equal(append(journal, LONG, 9, false), STATUS_OK);
        expect(journal, &cursor, damage_rows[row].next, LONG, 9);
        journal_close(journal);

        /* told once; and what was kept stays as it was, whatever is written afterwards */
        journal = open_journal(MANY, 0);
        assert_int_equal(tellings, damage_rows[row].told);
        for (int i = 0; i < 3 * EACH; i++) {
            journal_release(journal, journal_last(journal));
            assert_int_equal(journal_extend(journal, &why), STATUS_OK);
            assert_int_equal(append(journal, LONG, 0, false), STATUS_OK);
        }
        journal_close(journal);
        if (damage_rows[row].told)
            assert_true(sum_of(name, ".damaged") == sum);
        journal = open_journal(MANY, 0);
        assert_int_equal(tellings, damage_rows[row].told);
        journal_close(journal);
        empty_folder(folder);
    }
}

/* A record goes bad while the journal is open. */
static void test_damage_while_open(void **state)
{
    struct journal *journal = open_journal(MANY, 0);
    struct journal_cursor cursor = {0, 0, 0};
    unsigned char bytes[JOURNAL_RECORD];
    size_t size;
    uint64_t record;

    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(append(journal, 16, 0, false), STATUS_OK);
    flip(1, "", HEADER + 40 + 30);
    expect(journal, &cursor, 1, 16, 0);
    assert_int_equal(journal_read(journal, &cursor, bytes, &size, &record, &why), STATUS_BROKEN);
    assert_non_null(strstr(why.text, "record from 2 on"));
    expect(journal, &cursor, 3, 16, 0);
    assert_int_equal(append(journal, 16, 0, false), STATUS_OK);
    expect(journal, &cursor, 4, 16, 0);
    flip(1, "", HEADER + 4 * 40 + 18); /* the length of the next one, */
    assert_int_equal(append(journal, 16, 0, false), STATUS_OK);
    flip(1, "", HEADER + 4 * 40 + 18); /* once it is there */
    assert_int_equal(journal_read(journal, &cursor, bytes, &size, &record, &why), STATUS_BROKEN);
    expect_end(journal, &cursor);
    assert_int_equal(append(journal, 16, 0, false), STATUS_OK);
    expect(journal, &cursor, 6, 16, 0);
    journal_close(journal);
}

/* Segments are used again and again, records of all lengths, opened again in between. */
static void test_rounds(void **state)
{
    struct journal *journal = open_journal(MANY, 0);
    struct journal_cursor cursor = {0, 0, 0};
    uint64_t written = 0, read = 0;
    size_t octets = 0, largest = 0;

    (void)state;
    for (int round = 0; octets < 12 * (size_t)JOURNAL_SEGMENT; round++) {
        for (int i = 0; i < 300; i++) {
            assert_int_equal(append(journal, size_of(written + 1), 0, i % 3 == 0), STATUS_OK);
            octets += size_of(++written);
        }
        while (read < written - 50) {
            read++;
            expect(journal, &cursor, read, size_of(read), 0);
        }
        journal_release(journal, read);
        assert_int_equal(journal_waiting(journal), 50);
        assert_int_equal(journal_extend(journal, &why), STATUS_OK);
        largest = journal_size(journal) > largest ? journal_size(journal) : largest;
        assert_int_equal(journal_size(journal), files() * JOURNAL_SEGMENT);
        if (round % 20 == 19) {
            unsigned char bytes[JOURNAL_RECORD];
            size_t size;
            uint64_t record = 0;

            journal_close(journal);
            journal = open_journal(MANY, 0);
            memset(&cursor, 0, sizeof cursor);
            /* what shares a segment with a record that waited is there again */
            assert_int_equal(journal_read(journal, &cursor, bytes, &size, &record, &why),
                             STATUS_OK);
            assert_true(record <= read + 1);
            for (record++; record <= written; record++)
                expect(journal, &cursor, record, size_of(record), 0);
            expect_end(journal, &cursor);
            journal_release(journal, read);
            assert_int_equal(journal_waiting(journal), 50);
            cursor = (struct journal_cursor){read + 1, 0, 0};
        }
    }
    assert_int_equal(tellings, 0);
    assert_in_range(largest, 2 * JOURNAL_SEGMENT, 4 * JOURNAL_SEGMENT);
    journal_close(journal);
}

static void test_limits(void **state)
{
    struct journal *journal = open_journal(3, 0);
    size_t ordinary = 0, urgent = 0;

    (void)state;
    for (int i = 0; i < 3; i++) {
        assert_true(journal_ready(journal, false));
        assert_int_equal(append(journal, 10, 0, false), STATUS_OK);
    }
    assert_false(journal_ready(journal, false));
    assert_int_equal(append(journal, 10, 0, false), STATUS_BUSY);
    assert_true(journal_ready(journal, true));
    assert_int_equal(append(journal, 10, 0, true), STATUS_OK);
    journal_release(journal, 1);
    assert_false(journal_ready(journal, false));
    journal_release(journal, 2);
    assert_true(journal_ready(journal, false));
    assert_int_equal(append(journal, 10, 0, false), STATUS_OK);
    assert_false(journal_ready(journal, false));
    journal_limit(journal, MANY);
    /* nobody extends: one segment, and the spare in it for the urgent */
    while (journal_ready(journal, false)) {
        assert_int_equal(append(journal, JOURNAL_RECORD, 0, false), STATUS_OK);
        ordinary++;
    }
    assert_int_equal(append(journal, 10, 0, false), STATUS_BUSY);
    while (journal_ready(journal, true)) {
        assert_int_equal(append(journal, JOURNAL_RECORD, 0, true), STATUS_OK);
        urgent++;
    }
    assert_int_equal(append(journal, 10, 0, true), STATUS_BUSY);
    assert_in_range(ordinary, 420, 430);
    assert_in_range(urgent, JOURNAL_SPARE / (JOURNAL_RECORD + RECORD_HEADER) - 1,
                    JOURNAL_SPARE / JOURNAL_RECORD + 1);
    assert_int_equal(journal_extend(journal, &why), STATUS_OK);
    assert_true(journal_ready(journal, false));
    assert_int_equal(journal_size(journal), 2 * JOURNAL_SEGMENT);
    /* far behind: more ahead, but never more than the records need */
    for (int i = 0; i < 12 * EACH; i++) {
        assert_int_equal(journal_extend(journal, &why), STATUS_OK);
        assert_int_equal(append(journal, LONG, 0, false), STATUS_OK);
    }
    assert_in_range(journal_size(journal), 17 * JOURNAL_SEGMENT, 22 * JOURNAL_SEGMENT);
    journal_limit(journal, journal_waiting(journal) + EACH / 2);
    assert_int_equal(journal_extend(journal, &why), STATUS_OK);
    assert_in_range(journal_size(journal), 13 * JOURNAL_SEGMENT, 15 * JOURNAL_SEGMENT);
    /* all read: back to little, after a while */
    journal_release(journal, journal_last(journal));
    for (int i = 0; i < 200; i++)
        assert_int_equal(journal_extend(journal, &why), STATUS_OK);
    assert_int_equal(journal_size(journal), 2 * JOURNAL_SEGMENT);
    assert_int_equal(files(), 2);
    journal_close(journal);
}

/* -- killed under load -- */

struct shared {
    _Atomic uint64_t answered, released;
};

static void write_until_killed(struct shared *shared)
{
    struct journal *journal = NULL;
    unsigned char bytes[JOURNAL_RECORD];

    if (journal_open(folder, MANY, 0, NULL, NULL, &journal, &why) != STATUS_OK)
        _exit(1);
    for (unsigned i = 1;; i++) {
        uint64_t next = journal_last(journal) + 1, number = 0;

        fill(bytes, size_of(next), next, 0);
        if (journal_append(journal, bytes, size_of(next), i % 7 == 0, &number, &why) != STATUS_OK ||
            number != next)
            _exit(2);
        atomic_store(&shared->answered, number);
        if (i % 512 == 0) {
            if (number > 200) {
                atomic_store(&shared->released, number - 200);
                journal_release(journal, number - 200);
            }
            if (journal_extend(journal, &why) != STATUS_OK)
                _exit(3);
        }
    }
}

static void test_killed(void **state)
{
    struct shared *shared =
        mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    uint64_t most = 0;

    (void)state;
    assert_ptr_not_equal(shared, MAP_FAILED);
    for (int round = 0; round < SPAWNED_ROUNDS; round++) {
        struct journal_cursor cursor = {0, 0, 0};
        struct timespec nap = {0, 1000 * (500 + round * 4321 % 40000)};
        uint64_t before = atomic_load(&shared->answered), record = 0;
        unsigned char bytes[JOURNAL_RECORD];
        size_t size;
        int ended;
        pid_t child = fork();

        assert_true(child >= 0);
        if (child == 0)
            write_until_killed(shared);
        for (int i = 0; i < 5000 && atomic_load(&shared->answered) == before; i++)
            nanosleep(&(struct timespec){0, 1000000}, NULL);
        nanosleep(&nap, NULL);
        kill(child, SIGKILL);
        assert_int_equal(waitpid(child, &ended, 0), child);
        assert_true(WIFSIGNALED(ended));
        assert_true(atomic_load(&shared->answered) > before);

        struct journal *journal = open_journal(MANY, 0);
        assert_int_equal(tellings, 0);
        assert_int_equal(journal_read(journal, &cursor, bytes, &size, &record, &why), STATUS_OK);
        assert_true(record <= atomic_load(&shared->released) + 1);
        assert_true(size == size_of(record) && is(bytes, size, record, 0));
        for (record++; record <= journal_last(journal); record++)
            expect(journal, &cursor, record, size_of(record), 0);
        expect_end(journal, &cursor);
        assert_in_range(journal_last(journal), atomic_load(&shared->answered),
                        atomic_load(&shared->answered) + 1);
        atomic_store(&shared->answered, journal_last(journal));
        most = journal_last(journal);
        journal_close(journal);
    }
    print_message("%llu records\n", (unsigned long long)most);
    munmap(shared, sizeof *shared);
}

/* -- a full disk of our own -- */

static void fill_disk(const char *path)
{
    static const char zeros[65536];
    size_t piece = sizeof zeros;
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);

    assert_true(file >= 0);
    while (piece >= 512)
        if (write(file, zeros, piece) < 0)
            piece /= 2;
    close(file);
}

static void test_full(void **state)
{
    struct journal_cursor cursor = {0, 0, 0};
    struct journal *journal;
    char filler[96], path[128];
    uint64_t written = 0;

    (void)state;
    assert_int_equal(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    assert_int_equal(mount("tmpfs", folder, "tmpfs", 0, "size=6m"), 0);
    snprintf(filler, sizeof filler, "%s/filler", folder);

    /* no space for any segment: open, not ready, ready once there is space */
    fill_disk(filler);
    journal = open_journal(MANY, 0);
    assert_int_equal(tellings, 1);
    assert_false(journal_ready(journal, true));
    assert_int_equal(append(journal, 10, 0, true), STATUS_BUSY);
    assert_int_equal(journal_extend(journal, &why), STATUS_BROKEN);
    assert_non_null(strstr(why.text, "No space left"));
    assert_int_equal(files(), 1);
    unlink(filler);
    assert_int_equal(journal_extend(journal, &why), STATUS_OK);

    /* one segment, no space for another: to its end, and all of it is found */
    while (append(journal, size_of(written + 1), 0, false) == STATUS_OK) {
        written++;
        if (written == 10)
            assert_int_equal(journal_extend(journal, &why), STATUS_BROKEN);
    }
    while (append(journal, size_of(written + 1), 0, true) == STATUS_OK)
        written++;
    assert_true(written > 2000);
    fill_disk(filler);
    for (uint64_t i = 1; i <= written; i++)
        expect(journal, &cursor, i, size_of(i), 0);
    journal_close(journal);
    tellings = 0;
    journal = open_journal(MANY, 0);
    assert_int_equal(tellings, 1);
    assert_int_equal(journal_waiting(journal), written);
    journal_close(journal);
    empty_folder(folder);

    /* space that was promised is taken away: a hole in the segment, and the disk full */
    tellings = 0;
    written = 0;
    journal = open_journal(MANY, 0);
    path_of(path, 1, "");
    for (int round = 0; round < 6; round++) {
        int file = open(path, O_RDWR);

        if (round % 2 == 0)
            for (int i = 0; i < round * 5; i++, written++)
                assert_int_equal(append(journal, 5000, 0, false), STATUS_OK);
        assert_int_equal(fallocate(file, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                   round == 0 ? 0 : HEADER + (off_t)written * 5024,
                                   JOURNAL_SEGMENT),
                         0);
        close(file);
        fill_disk(filler);
        while (append(journal, 5000, (unsigned)round + 1, false) == STATUS_OK)
            written++; /* what ends in a page that is there still fits, but it must be found */
        assert_int_equal(append(journal, 5000, 99, true), STATUS_BROKEN);
        assert_non_null(strstr(why.text, "cannot write"));
        assert_true(journal_last(journal) == written);
        unlink(filler);
        assert_int_equal(append(journal, 5000, 0, false), STATUS_OK);
        written++;
        if (round == 3) {
            journal_close(journal);
            journal = open_journal(MANY, 0);
        }
    }
    assert_int_equal(tellings, 1); /* of no space for a second segment, in round 3 */
    assert_non_null(strstr(told, "cannot make room"));
    journal_close(journal);
    journal = open_journal(MANY, 0);
    memset(&cursor, 0, sizeof cursor);
    assert_int_equal(journal_waiting(journal), written);
    for (uint64_t i = 1; i <= written; i++)
        expect(journal, &cursor, i, 5000, 0);
    expect_end(journal, &cursor);
    journal_close(journal);
    assert_int_equal(umount(folder), 0);
}

static struct rlimit file_limit;

static int limit_keep(void **state)
{
    signal(SIGXFSZ, SIG_IGN);
    return getrlimit(RLIMIT_FSIZE, &file_limit) != 0 || place_make(state) != 0;
}

static int limit_back(void **state)
{
    return setrlimit(RLIMIT_FSIZE, &file_limit) != 0 || place_remove(state) != 0;
}

/* A record is a copy into the mapped file: no system call writes it, where one could be refused. A
 * file that is cut short under the writer grows again, and what cannot is said. */
static void test_cut(void **state)
{
    struct journal *journal = open_journal(MANY, 0);
    struct journal_cursor cursor = {0, 0, 0};
    struct rlimit none = {0, file_limit.rlim_max};
    struct stat stat_of;
    char path[128];
    uint64_t written = 1;

    (void)state;
    path_of(path, 1, "");
    assert_int_equal(append(journal, 5000, 0, false), STATUS_OK); /* with the segment's header */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    for (; written < 4; written++)
        assert_int_equal(append(journal, 5000, 0, false), STATUS_OK);
    assert_int_equal(truncate(path, HEADER + 4 * 5024), 0);
    assert_int_equal(append(journal, 5000, 1, false), STATUS_BROKEN);
    assert_non_null(strstr(why.text, "cannot write a record: File too large"));
    assert_true(journal_last(journal) == written);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &file_limit), 0);
    assert_int_equal(append(journal, 5000, 0, false), STATUS_OK);
    assert_int_equal(stat(path, &stat_of), 0);
    assert_int_equal(stat_of.st_size, JOURNAL_SEGMENT);
    for (written++; written < 10; written++)
        assert_int_equal(append(journal, 16, 0, false), STATUS_OK);
    for (int i = 0; i < 2; i++) {
        for (uint64_t n = 1; n <= written; n++)
            expect(journal, &cursor, n, n < 6 ? 5000 : 16, 0);
        expect_end(journal, &cursor);
        journal_close(journal);
        journal = open_journal(MANY, 0);
        memset(&cursor, 0, sizeof cursor);
    }
    assert_int_equal(tellings, 0);
    assert_int_equal(journal_waiting(journal), written);
    journal_close(journal);
}

/* It cannot grow as a whole: then by each record. */
static void test_cut_and_short(void **state)
{
    struct journal *journal = open_journal(MANY, 0);
    struct journal_cursor cursor = {0, 0, 0};
    struct rlimit some = {JOURNAL_SEGMENT / 2, file_limit.rlim_max};
    char path[128];

    (void)state;
    path_of(path, 1, "");
    for (int i = 0; i < 4; i++)
        assert_int_equal(append(journal, 5000, 0, false), STATUS_OK);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &some), 0);
    assert_int_equal(truncate(path, HEADER + 4 * 5024), 0);
    assert_int_equal(append(journal, 5000, 0, false), STATUS_OK);
    for (int i = 5; i < 300; i++)
        assert_int_equal(append(journal, 16, 0, false), STATUS_OK);
    for (uint64_t n = 1; n <= 300; n++)
        expect(journal, &cursor, n, n < 6 ? 5000 : 16, 0);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &file_limit), 0);
    journal_close(journal);
    journal = open_journal(MANY, 0);
    assert_int_equal(journal_waiting(journal), 300);
    journal_close(journal);
}

/* Cut within a page a copy says nothing: journal_sync does, and what comes next is safe. */
static void test_cut_in_page(void **state)
{
    struct journal *journal = open_journal(MANY, 0);
    struct journal_cursor cursor = {0, 0, 0};
    struct stat stat_of;
    char path[128];

    (void)state;
    path_of(path, 1, "");
    for (int i = 0; i < 2; i++)
        assert_int_equal(append(journal, 16, 0, false), STATUS_OK);
    assert_int_equal(journal_extend(journal, &why), STATUS_OK);
    assert_int_equal(journal_sync(journal, &why), STATUS_OK);
    assert_int_equal(truncate(path, HEADER + 2 * 40), 0);
    for (int i = 2; i < 7; i++)
        assert_int_equal(append(journal, 16, 0, false), STATUS_OK);
    assert_int_equal(journal_sync(journal, &why), STATUS_BROKEN);
    assert_non_null(strstr(why.text, "somebody has cut it short"));
    for (int i = 7; i < 12; i++)
        assert_int_equal(append(journal, 16, 0, false), STATUS_OK);
    assert_int_equal(journal_sync(journal, &why), STATUS_OK);
    assert_int_equal(stat(path, &stat_of), 0);
    assert_int_equal(stat_of.st_size, JOURNAL_SEGMENT);
    journal_close(journal);
    journal = open_journal(MANY, 0);
    expect(journal, &cursor, 1, 16, 0);
    expect(journal, &cursor, 2, 16, 0);
    cursor.record = 8;
    for (uint64_t n = 8; n <= 12; n++)
        expect(journal, &cursor, n, 16, 0);
    expect_end(journal, &cursor);
    assert_true(journal_last(journal) == 12);
    journal_close(journal);
}

static bool disk_fails;
int __wrap_fdatasync(int file);
int __real_fdatasync(int file);

int __wrap_fdatasync(int file)
{
    if (disk_fails) {
        errno = EIO;
        return -1;
    }
    return __real_fdatasync(file);
}

/* While nothing can be brought to the disk a copy would go on as if nothing were: then pwrite is
 * asked, which may refuse (here by a limit, as a disk that went read-only would). */
static void test_unsynced(void **state)
{
    struct journal *journal = open_journal(MANY, 0);
    struct rlimit none = {0, file_limit.rlim_max};

    (void)state;
    for (int i = 0; i < 2; i++)
        assert_int_equal(append(journal, 16, 0, false), STATUS_OK);
    disk_fails = true;
    enum status status = journal_sync(journal, &why);
    disk_fails = false;
    assert_int_equal(status, STATUS_BROKEN);
    assert_non_null(strstr(why.text, "cannot bring records to the disk: Input/output error"));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &none), 0);
    assert_int_equal(append(journal, 16, 0, false), STATUS_BROKEN);
    assert_int_equal(journal_sync(journal, &why), STATUS_OK);
    assert_int_equal(append(journal, 16, 0, false), STATUS_OK);
    journal_close(journal);
}

/* Whoever prepares segments hears of each that is taken. */
static void test_wake(void **state)
{
    struct journal *journal = open_journal(MANY, 0);
    char octets[16];
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(fcntl(ends[0], F_SETFL, O_NONBLOCK), 0);
    assert_int_equal(append(journal, 16, 0, false), STATUS_OK);
    assert_int_equal(journal_extend(journal, &why), STATUS_OK);
    journal_wake(journal, ends[1]);
    assert_int_equal(append(journal, 16, 0, false), STATUS_OK);
    assert_int_equal(read(ends[0], octets, sizeof octets), -1);
    journal_turn(journal);
    for (int i = 0; i < 3; i++)
        assert_int_equal(append(journal, 16, 0, false), STATUS_OK);
    assert_int_equal(read(ends[0], octets, sizeof octets), 1);
    journal_wake(journal, -1);
    assert_int_equal(journal_extend(journal, &why), STATUS_OK);
    journal_turn(journal);
    assert_int_equal(append(journal, 16, 0, false), STATUS_OK);
    assert_int_equal(read(ends[0], octets, sizeof octets), -1);
    journal_close(journal);
    close(ends[0]);
    close(ends[1]);
}

/* Segments of which the pages are this process's memory. */
static int paged(void)
{
    FILE *smaps = fopen("/proc/self/smaps", "r");
    char line[512];
    bool ours = false;
    unsigned long from, to;
    int count = 0;
    long kib;

    assert_non_null(smaps);
    while (fgets(line, sizeof line, smaps) != NULL) {
        if (sscanf(line, "%lx-%lx", &from, &to) == 2)
            ours = strstr(line, folder) != NULL;
        else if (ours && sscanf(line, "Rss: %ld", &kib) == 1)
            count += kib > JOURNAL_SEGMENT / 1024 * 3 / 4; /* some may be taken back */
    }
    fclose(smaps);
    return count;
}

/* Where many records come, the pages of the next two segments are there before them; else none. */
static void test_pages(void **state)
{
    struct journal *journal = open_journal(MANY, 0);

    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(append(journal, 5000, 0, false), STATUS_OK);
    for (int i = 0; i < 20; i++)
        assert_int_equal(journal_extend(journal, &why), STATUS_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(paged(), 0); /* one is not fast */
        for (size_t size = 0; size < JOURNAL_SEGMENT; size += 5000)
            assert_int_equal(append(journal, 5000, 0, false), STATUS_OK);
        assert_int_equal(journal_sync(journal, &why), STATUS_OK); /* lets the first one go */
        assert_int_equal(journal_extend(journal, &why), STATUS_OK);
    }
    assert_int_equal(paged(), 2);
    for (int i = 0; i < 6; i++) {
        journal_turn(journal);
        assert_int_equal(append(journal, 5000, 0, false), STATUS_OK);
        assert_int_equal(journal_sync(journal, &why), STATUS_OK);
        assert_int_equal(journal_extend(journal, &why), STATUS_OK);
    }
    assert_int_equal(files(), 1 + 2 + 6 + 8);
    assert_int_equal(paged(), 3); /* the one that is written, and two of eight */
    for (int i = 0; i < 200; i++)
        assert_int_equal(journal_extend(journal, &why), STATUS_OK);
    assert_int_equal(paged(), 1);
    journal_close(journal);
}

/* -- a writer and a reader -- */

struct pair {
    struct journal *journal;
    atomic_bool failed;
};

static void *write_on(void *context)
{
    struct pair *pair = context;
    unsigned char bytes[JOURNAL_RECORD];
    struct why own;

    for (uint64_t next = 1; next <= THREAD_RECORDS && !atomic_load(&pair->failed);) {
        uint64_t number = 0;
        bool ready = journal_ready(pair->journal, false);

        fill(bytes, size_of(next), next, 0);
        enum status status =
            journal_append(pair->journal, bytes, size_of(next), false, &number, &own);
        if (status == STATUS_OK && number == next)
            next++;
        else if (status != STATUS_BUSY || ready)
            atomic_store(&pair->failed, true); /* what was ready stays so */
        else
            sched_yield();
    }
    return NULL;
}

static void test_threads(void **state)
{
    struct pair pair = {open_journal(5000, 0), false};
    struct journal_cursor cursor = {0, 0, 0};
    unsigned char bytes[JOURNAL_RECORD];
    pthread_t writer;
    uint64_t read = 0;
    time_t began = time(NULL);

    (void)state;
    assert_int_equal(pthread_create(&writer, NULL, write_on, &pair), 0);
    while (read < THREAD_RECORDS && !atomic_load(&pair.failed)) {
        size_t size;
        uint64_t record;
        enum status status = journal_read(pair.journal, &cursor, bytes, &size, &record, &why);

        if (status == STATUS_OK) {
            if (record != ++read || size != size_of(record) || !is(bytes, size, record, 0))
                atomic_store(&pair.failed, true);
        } else if (status == STATUS_BROKEN || time(NULL) > began + 60) {
            atomic_store(&pair.failed, true);
        }
        if (status == STATUS_BUSY || read % 1000 == 0) {
            journal_release(pair.journal, read);
            if (journal_waiting(pair.journal) > 6000)
                atomic_store(&pair.failed, true);
            if (journal_extend(pair.journal, &why) != STATUS_OK)
                atomic_store(&pair.failed, true);
        }
        if (read % 5000 == 0 && journal_sync(pair.journal, &why) != STATUS_OK)
            atomic_store(&pair.failed, true);
    }
    pthread_join(writer, NULL);
    assert_false(atomic_load(&pair.failed));
    journal_release(pair.journal, read);
    assert_int_equal(journal_waiting(pair.journal), 0);
    journal_close(pair.journal);
}

/* -- folders that cannot be -- */

static void test_folder(void **state)
{
    struct journal *journal = (struct journal *)&why;
    char path[128], deep[192];
    struct stat stat_of;

    (void)state;
    snprintf(deep, sizeof deep, "%s/none/journal", folder);
    assert_int_equal(journal_open(deep, 1, 0, tell, NULL, &journal, &why), STATUS_BROKEN);
    assert_null(journal);
    assert_non_null(strstr(why.text, "none/journal: cannot be made"));
    snprintf(deep, sizeof deep, "%s/journal", folder);
    assert_int_equal(journal_open(deep, 1, 0, tell, NULL, &journal, &why), STATUS_OK);
    journal_close(journal);
    assert_int_equal(stat(deep, &stat_of), 0);
    assert_int_equal(stat_of.st_mode & 0777, 0750);
    empty_folder(deep);
    rmdir(deep);
    /* what is no segment is left alone; a half-made one goes */
    snprintf(path, sizeof path, "%s/0000000000000009.new", folder);
    assert_int_equal(mknod(path, S_IFREG | 0600, 0), 0);
    snprintf(path, sizeof path, "%s/1.journal", folder);
    assert_int_equal(mknod(path, S_IFREG | 0600, 0), 0);
    path_of(path, 4, "");
    assert_int_equal(symlink("/etc/passwd", path), 0);
    journal_close(open_journal(1, 0));
    assert_int_equal(tellings, 1);
    assert_int_equal(files(), 3);
    assert_true(is_there(5, ""));
    /* a file in the folder's place */
    empty_folder(folder);
    rmdir(folder);
    assert_int_equal(mknod(folder, S_IFREG | 0600, 0), 0);
    assert_int_equal(journal_open(folder, 1, 0, tell, NULL, &journal, &why), STATUS_BROKEN);
    assert_null(journal);
    unlink(folder);
    assert_int_equal(mkdir(folder, 0700), 0);
}

#define IN_PLACE(test) cmocka_unit_test_setup_teardown(test, place_make, place_remove)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_PLACE(test_sizes),
        IN_PLACE(test_after),
        IN_PLACE(test_truncated),
        IN_PLACE(test_no_ghost),
        IN_PLACE(test_turn),
        IN_PLACE(test_damage),
        IN_PLACE(test_damage_while_open),
        IN_PLACE(test_out_of_order),
        IN_PLACE(test_sound),
        IN_PLACE(test_released),
        IN_PLACE(test_rounds),
        IN_PLACE(test_limits),
        IN_PLACE(test_killed),
        IN_PLACE(test_threads),
        IN_PLACE(test_folder),
        IN_PLACE(test_full),
        cmocka_unit_test_setup_teardown(test_cut, limit_keep, limit_back),
        cmocka_unit_test_setup_teardown(test_cut_and_short, limit_keep, limit_back),
        IN_PLACE(test_cut_in_page),
        cmocka_unit_test_setup_teardown(test_unsynced, limit_keep, limit_back),
        IN_PLACE(test_wake),
        IN_PLACE(test_pages),
    };

    umask(022);
    /* mounts of test_full are this process's own; needs root */
    if (unshare(CLONE_NEWNS) != 0) {
        perror("unshare: the tests run as root");
        return 1;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
