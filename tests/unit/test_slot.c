/* The policy in force: held while it is used, freed when the last one lets go. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "live/slot.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "rows.h"

enum { READERS = 4, REPLACEMENTS = 300 };

/* ---- rows ---- */

static const struct row small[] = {
    {TABLE_LOCAL_DOMAIN, 1, "example.jp|#0|ours"},
    {TABLE_IP_RANGE, 1, "203.0.113.0/24|reject|strangers|~|~"},
    {TABLE_NONE, 0, NULL},
};

/* ---- tests ---- */

static void test_empty(void **state)
{
    struct slot *slot = slot_new();
    struct hold hold;

    (void)state;
    assert_non_null(slot);
    hold = slot_acquire(slot);
    assert_null(hold.policy);
    assert_true(hold.generation == 0);
    slot_release(slot, hold);
    slot_free(slot);
    slot_free(NULL);
}

static void test_held_over_replacement(void **state)
{
    struct slot *slot = slot_new();
    struct hold first, again, second;
    uint64_t generation = 0;

    (void)state;
    assert_int_equal(slot_replace(slot, rows_policy(small, 1000), &generation), STATUS_OK);
    assert_true(generation == 1);
    first = slot_acquire(slot);
    again = slot_acquire(slot);
    assert_ptr_equal(first.policy, again.policy);
    assert_int_equal(slot_replace(slot, rows_policy(small, 2000), &generation), STATUS_OK);
    assert_true(generation == 2);
    second = slot_acquire(slot);
    assert_true(second.generation == 2);
    assert_true(policy_sealed_at(second.policy) == 2000);
    /* the old one lives on for those who hold it: with a sanitizer a freed one is seen here */
    slot_release(slot, again);
    assert_true(policy_sealed_at(first.policy) == 1000);
    assert_true(first.generation == 1);
    slot_release(slot, first);
    slot_release(slot, second);
    second = slot_acquire(slot);
    assert_true(policy_sealed_at(second.policy) == 2000);
    slot_release(slot, second);
    slot_free(slot);
}

struct readers {
    struct slot *slot;
    atomic_bool stop;
    atomic_ulong looks;
};

static void *read_on(void *context)
{
    struct readers *readers = context;
    uint64_t last = 0;
    struct ip client;
    bool fine = ip_parse("203.0.113.9", &client);

    while (fine && !atomic_load(&readers->stop)) {
        struct hold hold = slot_acquire(readers->slot);
        struct rule rule;

        fine = hold.generation >= last &&
               (int64_t)hold.generation == policy_sealed_at(hold.policy) &&
               policy_listed(hold.policy, &client, false, &rule) == LISTING_REJECT;
        last = hold.generation;
        slot_release(readers->slot, hold);
        atomic_fetch_add(&readers->looks, 1);
    }
    return fine ? readers : NULL;
}

static void test_threads(void **state)
{
    struct readers readers = {slot_new(), false, 0};
    pthread_t threads[READERS];
    uint64_t generation;

    (void)state;
    assert_int_equal(slot_replace(readers.slot, rows_policy(small, 1), &generation), STATUS_OK);
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_on, &readers), 0);
    for (int64_t i = 2; i <= REPLACEMENTS; i++) {
        unsigned long looks = atomic_load(&readers.looks);

        assert_int_equal(slot_replace(readers.slot, rows_policy(small, i), &generation), STATUS_OK);
        assert_true(generation == (uint64_t)i);
        while (i % 50 == 0 && atomic_load(&readers.looks) < looks + READERS) {
        }
    }
    atomic_store(&readers.stop, true);
    for (int i = 0; i < READERS; i++) {
        void *answer = NULL;

        pthread_join(threads[i], &answer);
        assert_ptr_equal(answer, &readers);
    }
    slot_free(readers.slot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_held_over_replacement),
        cmocka_unit_test(test_threads),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
