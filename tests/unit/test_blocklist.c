/* Who is blocked: put, found, lengthened, forgotten, bounded. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/blocklist.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "memory.h"

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])
#define DAY BLOCK_MEMORY_MS
#define EVER INT64_MAX

/* ---- helpers ---- */

static struct block block_of(uint64_t key, int64_t until, bool by_hand, unsigned strikes)
{
    struct block block = {.key = key,
                          .until = until,
                          .until_steady = until,
                          .by_hand = by_hand,
                          .strikes = strikes,
                          .subject = "client:192.0.2.1"};

    return block;
}

static bool put(struct blocklist *list, uint64_t key, int64_t until, bool by_hand)
{
    struct block block = block_of(key, until, by_hand, 1);

    return blocklist_put(list, &block, false);
}

/* ---- rows ---- */

static const struct {
    const char *name;
    int64_t until; /* of the block before; 0 = there was none */
    unsigned before;
    int64_t seconds, longest, steady;
    unsigned strikes;
    int64_t length;
} lengths[] = {
    {"the first", 0, 0, 600, 86400, 1000, 1, 600},
    {"the second, while it lasts", 5000, 1, 600, 86400, 1000, 2, 1200},
    {"the second, when it ends", 5000, 1, 600, 86400, 5000, 2, 1200},
    {"less than a day after", 5000, 1, 600, 86400, 5000 + DAY - 1, 2, 1200},
    {"a day after", 5000, 1, 600, 86400, 5000 + DAY, 1, 600},
    {"the third", 5000, 2, 600, 86400, 6000, 3, 2400},
    {"the eighth", 5000, 7, 600, 86400, 6000, 8, 76800},
    {"capped", 5000, 8, 600, 86400, 6000, 9, 86400},
    {"capped at once", 0, 0, 600, 300, 6000, 1, 300},
    {"just the longest", 5000, 1, 600, 1200, 6000, 2, 1200},
    {"one less", 5000, 1, 600, 1199, 6000, 2, 1199},
    {"many", 5000, UINT_MAX - 1, 1, EVER, 6000, UINT_MAX, EVER},
    {"too many", 5000, UINT_MAX, 600, 86400, 6000, UINT_MAX, 86400},
    {"odd", 5000, 1, EVER / 2 + 1, EVER, 6000, 2, EVER},
    {"nothing stays nothing", 5000, 40, 0, 86400, 6000, 41, 0},
    {"until lifted", EVER, 1, 600, 86400, 6000, 2, 1200},
    {"of a block that had no number", 5000, 0, 600, 86400, 6000, 1, 600},
};

static void test_lengths(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        struct blocklist *list = blocklist_new(10);
        struct block block = block_of(7, lengths[i].until, false, lengths[i].before);
        unsigned strikes = 0;
        int64_t length;

        assert_non_null(list);
        if (lengths[i].until != 0)
            assert_true(blocklist_put(list, &block, false));
        length = blocklist_length(list, 7, lengths[i].seconds, lengths[i].longest,
                                  lengths[i].steady, &strikes);
        if (length != lengths[i].length || strikes != lengths[i].strikes)
            fail_msg("%s: %lld seconds, strike %u", lengths[i].name, (long long)length, strikes);
        assert_int_equal(blocklist_length(list, 7, lengths[i].seconds, lengths[i].longest,
                                          lengths[i].steady, NULL),
                         length);
        /* another subject has no part in it */
        assert_int_equal(blocklist_length(list, 8, 1, 5, lengths[i].steady, &strikes), 1);
        assert_int_equal(strikes, 1);
        blocklist_free(list);
    }
}

/* What happens in turn, in a list of four. */
static void test_stories(void **state)
{
    static const struct {
        const char *name;
        struct {
            char kind; /* p put, h put by hand, r remove, s sweep at `value`, f found at `value`, n
                          not found, c so many are there; x: put that is refused */
            uint64_t key;
            int64_t value;
        } steps[12];
    } stories[] = {
        {"found while it lasts",
         {{'p', 1, 50}, {'f', 1, 0}, {'f', 1, 49}, {'n', 1, 50}, {'n', 2, 0}}},
        {"remembered for a day",
         {{'p', 1, 50}, {'s', 0, 50 + DAY - 1}, {'c', 0, 1}, {'s', 0, 50 + DAY}, {'c', 0, 0}}},
        {"until lifted", {{'h', 1, EVER}, {'s', 0, EVER - 1}, {'f', 1, EVER - 1}, {'c', 0, 1}}},
        {"removed", {{'p', 1, 50}, {'r', 1, 1}, {'n', 1, 0}, {'c', 0, 0}, {'r', 1, 0}}},
        {"replaced",
         {{'p', 1, 50}, {'p', 1, 90}, {'f', 1, 89}, {'p', 1, 20}, {'n', 1, 20}, {'c', 0, 1}}},
        {"the first to end makes room",
         {{'p', 1, 50},
          {'p', 2, 40},
          {'p', 3, 60},
          {'p', 4, 70},
          {'p', 5, 10},
          {'n', 2, 0},
          {'f', 5, 0},
          {'p', 6, 80},
          {'n', 5, 0},
          {'f', 1, 0},
          {'f', 6, 0},
          {'c', 0, 4}}},
        {"never one by hand",
         {{'h', 1, 5},
          {'p', 2, 40},
          {'h', 3, 1},
          {'p', 4, 70},
          {'p', 5, 90},
          {'n', 2, 0},
          {'f', 1, 0},
          {'f', 3, 0},
          {'h', 6, 9},
          {'n', 4, 0},
          {'f', 5, 0},
          {'c', 0, 4}}},
        {"full of those by hand",
         {{'h', 1, 5},
          {'h', 2, 40},
          {'h', 3, 1},
          {'h', 4, 70},
          {'x', 5, 90},
          {'n', 5, 0},
          {'f', 1, 0},
          {'f', 2, 0},
          {'f', 3, 0},
          {'f', 4, 0},
          {'h', 4, 80},
          {'f', 4, 79}}},
        {"what moves up keeps who it is",
         {{'h', 1, 50},
          {'p', 2, 40},
          {'p', 3, 90},
          {'h', 4, 70},
          {'r', 1, 1},
          {'p', 5, 60},
          {'p', 6, 60},
          {'n', 2, 0},
          {'f', 4, 69},
          {'f', 3, 89},
          {'f', 5, 0},
          {'f', 6, 0}}},
        {"no key", {{'x', 0, 50}, {'c', 0, 0}, {'n', 0, 0}}},
    };

    (void)state;
    for (size_t i = 0; i < COUNT_OF(stories); i++) {
        struct blocklist *list = blocklist_new(4);

        assert_non_null(list);
        for (size_t s = 0; s < COUNT_OF(stories[i].steps) && stories[i].steps[s].kind != '\0';
             s++) {
            uint64_t key = stories[i].steps[s].key;
            int64_t value = stories[i].steps[s].value, rows[4];
            const struct block *block = blocklist_find(list, key, value);
            bool good = true;

            switch (stories[i].steps[s].kind) {
            case 'p':
            case 'h':
                good = put(list, key, value, stories[i].steps[s].kind == 'h');
                break;
            case 'x':
                good = !put(list, key, value, false);
                break;
            case 'r':
                good = blocklist_remove(list, key) == (value == 1);
                break;
            case 's':
                good = blocklist_sweep(list, value, rows, 4) == 0;
                break;
            case 'f':
                good = block != NULL && block->key == key;
                break;
            case 'n':
                good = block == NULL;
                break;
            default:
                good = blocklist_count(list) == (size_t)value;
            }
            if (!good)
                fail_msg("%s: step %zu", stories[i].name, s);
        }
        blocklist_free(list);
    }
}

/* ---- what state.db is told ---- */

static void test_written(void **state)
{
    struct blocklist *list = blocklist_new(100);
    struct block copies[8], block = block_of(1, 50, false, 1);
    int64_t rows[8];
    struct { /* what is told, in any order */
        int64_t sum;
        size_t count;
    } told = {0, 0};

    (void)state;
    memset(block.subject, 's', sizeof block.subject); /* no NUL */
    memset(block.note, 'n', sizeof block.note);
    assert_true(blocklist_put(list, &block, true));
    assert_int_equal(strlen(blocklist_at(list, 0)->subject), BLOCK_SUBJECT - 1);
    assert_int_equal(strlen(blocklist_at(list, 0)->note), BLOCK_NOTE - 1);
    assert_null(blocklist_at(list, 1));
    for (uint64_t key = 2; key <= 10; key++) {
        block = block_of(key, 50 + (int64_t)key, false, 1);
        assert_true(blocklist_put(list, &block, key % 2 == 0));
    }
    /* 1, 2, 4, 6, 8, 10 */
    assert_int_equal(blocklist_changed(list, copies, 4), 4);
    for (size_t i = 0; i < 4; i++)
        blocklist_written(list, copies[i].key, 100 + (int64_t)copies[i].key);
    assert_int_equal(blocklist_changed(list, copies, 8), 2);
    blocklist_written(list, 8, 108);
    blocklist_written(list, 10, 110);
    assert_int_equal(blocklist_changed(list, copies, 8), 0);
    /* a new block of the same subject stands in the same row */
    block = block_of(2, 200, false, 2);
    assert_true(blocklist_put(list, &block, true));
    assert_int_equal(blocklist_changed(list, copies, 8), 1);
    assert_int_equal(copies[0].row, 102);
    assert_int_equal(copies[0].strikes, 2);
    blocklist_written(list, 2, 102);
    assert_int_equal(blocklist_sweep(list, 0, rows, 8), 0);
    /* rows that are to go: of one removed, of one that went while it was written, of one that was
     * written twice, and of those that are forgotten */
    assert_true(blocklist_remove(list, 4));
    blocklist_written(list, 77, 177);
    blocklist_written(list, 6, 206);
    for (;;) {
        size_t count = blocklist_sweep(list, 58 + DAY, rows, 2);

        assert_true(count <= 2);
        for (size_t i = 0; i < count; i++)
            told.sum += rows[i];
        told.count += count;
        if (count < 2)
            break;
    }
    /* told before: 104, 177, 106; forgotten now: 1, 3, 5 to 8, of which 1, 6 and 8 have rows */
    assert_int_equal(told.count, 6);
    assert_int_equal(told.sum, 104 + 177 + 106 + 101 + 206 + 108);
    assert_int_equal(blocklist_count(list), 3);
    /* state.db was lost */
    assert_true(blocklist_remove(list, 10));
    blocklist_touch(list);
    assert_int_equal(blocklist_sweep(list, 0, rows, 8), 0);
    assert_int_equal(blocklist_changed(list, copies, 8), 2);
    assert_int_equal(copies[0].row, 0);
    assert_int_equal(copies[1].row, 0);
    assert_int_equal(copies[0].key + copies[1].key, 11);
    blocklist_free(list);
}

/* A block that makes room is dropped from state.db too. */
static void test_pushed_out(void **state)
{
    struct blocklist *list = blocklist_new(1);
    struct block block = block_of(1, 50, false, 1);
    int64_t rows[2];

    (void)state;
    block.row = 9;
    assert_true(blocklist_put(list, &block, true));
    assert_true(put(list, 2, 40, false));
    assert_int_equal(blocklist_sweep(list, 0, rows, 2), 1);
    assert_int_equal(rows[0], 9);
    assert_int_equal(blocklist_changed(list, &block, 1), 0);
    /* a block that brings a row of its own sets the other free */
    block = block_of(2, 50, false, 1);
    block.row = 10;
    assert_true(blocklist_put(list, &block, false));
    block.row = 11;
    assert_true(blocklist_put(list, &block, false));
    assert_int_equal(blocklist_sweep(list, 0, rows, 2), 1);
    assert_int_equal(rows[0], 10);
    blocklist_free(list);
}

/* The last fills the place of one that goes: what is to be written of it goes along. */
static void test_moved(void **state)
{
    struct blocklist *list = blocklist_new(4);
    struct block block = block_of(1, 50, false, 1), copies[4];

    (void)state;
    for (block.key = 1; block.key <= 3; block.key++)
        assert_true(blocklist_put(list, &block, block.key == 3));
    assert_true(blocklist_remove(list, 1)); /* 3, 2 */
    assert_int_equal(blocklist_changed(list, copies, 4), 1);
    assert_int_equal(copies[0].key, 3);
    block.key = 3;
    assert_true(blocklist_put(list, &block, true));
    assert_true(put(list, 4, 60, false)); /* 3, 2, 4: the third place has nothing to write */
    assert_int_equal(blocklist_changed(list, copies, 4), 1);
    assert_int_equal(copies[0].key, 3);
    assert_int_equal(blocklist_changed(list, copies, 4), 0);
    blocklist_free(list);
}

/* ---- many, beside a plain array ---- */

static void test_many(void **state)
{
    enum { KEYS = 3000, MOST = 1000, STEPS = 40000 };
    struct blocklist *list = blocklist_new(MOST);
    int64_t *until = calloc(KEYS, sizeof *until); /* 0 = none */
    bool *by_hand = calloc(KEYS, sizeof *by_hand);
    uint64_t random = 0x9e3779b97f4a7c15u;
    size_t count = 0, pushed = 0;

    (void)state;
    assert_non_null(list);
    assert_non_null(until);
    assert_non_null(by_hand);
    for (int step = 0; step < STEPS; step++) {
        size_t key, first = KEYS;

        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        key = random % KEYS;
        if (random >> 60 < 11) {
            if (until[key] == 0 && count == MOST) {
                for (size_t k = 0; k < KEYS; k++) {
                    if (until[k] != 0 && !by_hand[k] && (first == KEYS || until[k] < until[first]))
                        first = k;
                }
                assert_true(first < KEYS);
                until[first] = 0;
                count--;
                pushed++;
            }
            count += until[key] == 0;
            until[key] = 1000 + (int64_t)step * 7919 % 100003; /* all different */
            by_hand[key] = random >> 32 & 1 && key % 8 == 0;
            assert_true(put(list, key + 1, until[key], by_hand[key]));
        } else {
            assert_int_equal(blocklist_remove(list, key + 1), until[key] != 0);
            count -= until[key] != 0;
            until[key] = 0;
        }
        assert_int_equal(blocklist_count(list), count);
        if (step % 500 == 0) {
            for (size_t k = 0; k < KEYS; k++) {
                const struct block *block = blocklist_find(list, k + 1, 0);

                if ((block != NULL) != (until[k] != 0) ||
                    (block != NULL && (block->key != k + 1 || block->until != until[k])))
                    fail_msg("step %d: key %zu", step, k);
            }
        }
    }
    assert_true(pushed > 100);
    free(until);
    free(by_hand);
    blocklist_free(list);
}

/* ---- memory ---- */

static void test_allocations(void **state)
{
    struct blocklist *list = NULL;
    struct block block = block_of(1, 50, false, 1);
    int64_t rows[4];
    long n = 0;

    (void)state;
    while (list == NULL && n < 20) {
        allocations = 0;
        fail_at = ++n;
        list = blocklist_new(1000);
    }
    assert_true(n > 6);
    assert_non_null(list);
    /* nothing to be had, nobody to make room */
    fail_at = 1;
    fail_more = true;
    assert_false(blocklist_put(list, &block, true));
    assert_null(blocklist_find(list, 1, 0));
    assert_int_equal(blocklist_changed(list, &block, 1), 0);
    fail_at = 0;
    for (uint64_t key = 1; key <= 256; key++)
        assert_true(put(list, key, (int64_t)key, key != 9));
    /* no more: the only automatic one makes room, then there is none */
    fail_at = 1;
    block = block_of(1000, 50, true, 1);
    assert_true(blocklist_put(list, &block, true));
    assert_null(blocklist_find(list, 9, 0));
    block.key = 1001;
    assert_false(blocklist_put(list, &block, true));
    assert_int_equal(blocklist_count(list), 256);
    /* a row that cannot be noted is not told, and no harm is done */
    blocklist_written(list, 5, 55);
    assert_true(blocklist_remove(list, 5));
    assert_int_equal(blocklist_sweep(list, 0, rows, 4), 0);
    fail_at = 0;
    block.key = 1001;
    assert_true(blocklist_put(list, &block, true));
    assert_int_equal(blocklist_count(list), 256);
    blocklist_free(list);
    blocklist_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lengths),     cmocka_unit_test(test_stories),
        cmocka_unit_test(test_written),     cmocka_unit_test(test_pushed_out),
        cmocka_unit_test(test_moved),       cmocka_unit_test(test_many),
        cmocka_unit_test(test_allocations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
