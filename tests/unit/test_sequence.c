/* Decision numbers: none is given twice, whatever becomes of the file. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "live/sequence.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

enum { WALL_MS = 1795489200 }; /* in seconds; times 1000 below */

/* ---- rows ---- */

/* What may stand in the file that is no number of ours. */
static const char *const damages[] = {
    "",
    "\n",
    "0\n",
    "-5\n",
    "+5\n",
    " 5\n",
    "007\n",
    "5",
    "5\r\n",
    "5 \n",
    "5\n5\n",
    "0x10\n",
    "five\n",
    "1e6\n",
    "9223372036854775807\n",
    "18446744073709551617\n",
    "99999999999999999999999999999999\n",
};

/* ---- helpers ---- */

struct place {
    char folder[64], path[96], beside[112], damaged[112], copy[112];
};

static int place_make(void **state)
{
    struct place *place = calloc(1, sizeof *place);

    assert_non_null(place);
    snprintf(place->folder, sizeof place->folder, "/tmp/sequence.XXXXXX");
    assert_non_null(mkdtemp(place->folder));
    snprintf(place->path, sizeof place->path, "%s/sequence", place->folder);
    snprintf(place->beside, sizeof place->beside, "%s.new", place->path);
    snprintf(place->damaged, sizeof place->damaged, "%s.damaged", place->path);
    snprintf(place->copy, sizeof place->copy, "%s.copy", place->path);
    snprintf(place->copy, sizeof place->copy, "%s.copy", place->path);
    *state = place;
    return 0;
}

static int place_remove(void **state)
{
    struct place *place = *state;

    unlink(place->path);
    unlink(place->beside);
    rmdir(place->beside);
    unlink(place->damaged);
    unlink(place->copy);
    unlink(place->copy);
    rmdir(place->folder);
    free(place);
    return 0;
}

static void put(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static const int64_t wall = (int64_t)WALL_MS * 1000;

static enum status reserve(struct sequence *sequence, const struct place *place, struct why *why)
{
    return sequence_reserve(sequence, place->path, wall, why);
}

/* A process that begins, takes some numbers and dies. Returns the last. */
static uint64_t one_life(const struct place *place, int numbers, uint64_t above)
{
    struct sequence sequence = {0};
    struct why why;
    uint64_t last = above;

    assert_int_equal(reserve(&sequence, place, &why), STATUS_OK);
    for (int i = 0; i < numbers; i++) {
        uint64_t number = sequence_take(&sequence);

        if (number <= last)
            fail_msg("%llu after %llu", (unsigned long long)number, (unsigned long long)last);
        last = number;
    }
    return last;
}

/* ---- tests ---- */

static void test_nothing_reserved(void **state)
{
    struct sequence sequence = {0};

    (void)state;
    assert_false(sequence_ready(&sequence));
    assert_true(sequence_take(&sequence) == 0);
    assert_true(sequence_take(&sequence) == 0);
}

static void test_restarts(void **state)
{
    struct sequence sequence = {0};
    uint64_t last = 0;
    struct why why;

    assert_int_equal(reserve(&sequence, *state, &why), STATUS_OK);
    assert_string_equal(why.text, "");
    assert_true(sequence_ready(&sequence));
    assert_true(sequence_take(&sequence) == 1);
    assert_true(sequence_take(&sequence) == 2);
    last = 2;
    for (int i = 0; i < 5; i++)
        last = one_life(*state, 1000, last);
}

/* All of a block can be taken, and not one more; the next is reserved at its half. */
static void test_blocks(void **state)
{
    struct sequence sequence = {0};
    uint64_t last = 0, number, limit;
    struct why why;

    assert_int_equal(reserve(&sequence, *state, &why), STATUS_OK);
    limit = atomic_load(&sequence.limit);
    while (last < limit / 2 - 1)
        last = sequence_take(&sequence);
    assert_int_equal(reserve(&sequence, *state, &why), STATUS_OK);
    assert_true(atomic_load(&sequence.limit) == limit);
    last = sequence_take(&sequence);
    last = sequence_take(&sequence);
    assert_int_equal(reserve(&sequence, *state, &why), STATUS_OK);
    assert_true(atomic_load(&sequence.limit) > limit);
    while ((number = sequence_take(&sequence)) != 0) {
        assert_true(number == last + 1);
        last = number;
    }
    assert_true(last == atomic_load(&sequence.limit) - 1);
    assert_false(sequence_ready(&sequence));
    one_life(*state, 10, last);
}

static void test_damaged(void **state)
{
    const struct place *place = *state;

    for (size_t i = 0; i < COUNT_OF(damages); i++) {
        struct sequence sequence = {0};
        struct why why;

        put(place->path, damages[i]);
        assert_int_equal(reserve(&sequence, place, &why), STATUS_OK);
        if (strstr(why.text, "was damaged") == NULL)
            fail_msg("damage %zu: %s", i, why.text);
        assert_true(sequence_take(&sequence) >= (uint64_t)wall);
        assert_int_equal(access(place->damaged, F_OK), 0);
        /* and then it is whole again */
        one_life(place, 10, atomic_load(&sequence.limit) - 1);
    }
}

/* The disk is full when the damage is found: it must be found again, not forgotten. */
static void test_damaged_and_not_writable(void **state)
{
    const struct place *place = *state;
    struct sequence sequence = {0};
    struct why why;
    uint64_t last = one_life(place, 1000, 0);

    put(place->path, "");
    assert_int_equal(mkdir(place->beside, 0700), 0);
    assert_int_equal(reserve(&sequence, place, &why), STATUS_BROKEN);
    assert_true(sequence_take(&sequence) == 0);
    assert_int_equal(rmdir(place->beside), 0);
    one_life(place, 10, last);
}

/* Many restarts may have reserved beyond the clock when the file is damaged a second time. */
static void test_damaged_twice(void **state)
{
    const struct place *place = *state;
    uint64_t last = 0;

    put(place->path, "");
    for (int i = 0; i < 3; i++)
        last = one_life(place, 10, last);
    put(place->path, "");
    one_life(place, 10, last);
}

static void test_not_writable(void **state)
{
    const struct place *place = *state;
    struct sequence sequence = {0};
    struct why why;

    assert_int_equal(mkdir(place->beside, 0700), 0);
    assert_int_equal(reserve(&sequence, place, &why), STATUS_BROKEN);
    assert_non_null(strstr(why.text, "cannot reserve decision numbers"));
    assert_true(sequence_take(&sequence) == 0);
    /* what was reserved before stays usable to its end, and not beyond */
    assert_int_equal(rmdir(place->beside), 0);
    assert_int_equal(reserve(&sequence, place, &why), STATUS_OK);
    assert_int_equal(mkdir(place->beside, 0700), 0);
    while (sequence_take(&sequence) != 0) {
    }
    assert_int_equal(reserve(&sequence, place, &why), STATUS_BROKEN);
    assert_true(sequence_take(&sequence) == 0);
    assert_int_equal(rmdir(place->beside), 0);
    assert_int_equal(sequence_reserve(&sequence, "/nowhere/at/all/sequence", wall, &why),
                     STATUS_BROKEN);
}

/* A symbolic link, a folder: not ours to follow. */
static void test_not_a_file(void **state)
{
    const struct place *place = *state;
    struct sequence sequence = {0};
    struct why why;

    assert_int_equal(symlink("/dev/zero", place->path), 0);
    assert_int_equal(reserve(&sequence, place, &why), STATUS_BROKEN);
    assert_true(sequence_take(&sequence) == 0);
    assert_int_equal(unlink(place->path), 0);
    assert_int_equal(mkdir(place->path, 0700), 0);
    assert_int_equal(reserve(&sequence, place, &why), STATUS_BROKEN);
    assert_true(sequence_take(&sequence) == 0);
    assert_int_equal(rmdir(place->path), 0);
}

enum { TAKERS = 4, TAKEN_EACH = 100000 };

struct taker {
    pthread_t thread;
    struct sequence *sequence;
    uint64_t *numbers;
};

static void *take_many(void *context)
{
    struct taker *taker = context;

    for (int i = 0; i < TAKEN_EACH; i++)
        taker->numbers[i] = sequence_take(taker->sequence);
    return NULL;
}

static void test_threads(void **state)
{
    struct sequence sequence = {0};
    struct taker takers[TAKERS];
    unsigned char *seen = calloc(TAKERS * TAKEN_EACH + 1, 1);
    struct why why;

    assert_non_null(seen);
    assert_int_equal(reserve(&sequence, *state, &why), STATUS_OK);
    for (int t = 0; t < TAKERS; t++) {
        takers[t].sequence = &sequence;
        takers[t].numbers = calloc(TAKEN_EACH, sizeof(uint64_t));
        assert_non_null(takers[t].numbers);
        assert_int_equal(pthread_create(&takers[t].thread, NULL, take_many, &takers[t]), 0);
    }
    for (int t = 0; t < TAKERS; t++) {
        pthread_join(takers[t].thread, NULL);
        for (int i = 0; i < TAKEN_EACH; i++) {
            uint64_t number = takers[t].numbers[i];

            assert_true(number >= 1 && number <= TAKERS * TAKEN_EACH);
            assert_int_equal(seen[number]++, 0);
        }
        free(takers[t].numbers);
    }
    free(seen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_reserved),
        cmocka_unit_test_setup_teardown(test_restarts, place_make, place_remove),
        cmocka_unit_test_setup_teardown(test_blocks, place_make, place_remove),
        cmocka_unit_test_setup_teardown(test_damaged, place_make, place_remove),
        cmocka_unit_test_setup_teardown(test_damaged_and_not_writable, place_make, place_remove),
        cmocka_unit_test_setup_teardown(test_damaged_twice, place_make, place_remove),
        cmocka_unit_test_setup_teardown(test_not_writable, place_make, place_remove),
        cmocka_unit_test_setup_teardown(test_not_a_file, place_make, place_remove),
        cmocka_unit_test_setup_teardown(test_threads, place_make, place_remove),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
