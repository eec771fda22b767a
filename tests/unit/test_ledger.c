/* Counts over time: the ledger beside a model that keeps every event. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/ledger.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "memory.h"

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

enum {
    ROOM = 300, /* of a round of the snapshot */
    DISK = 4000
};
#define START INT64_C(1000000000)
#define YEAR INT64_C(31536000000)

/* ---- chance ---- */

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static int64_t random_to(uint64_t *state, int64_t most)
{
    return (int64_t)(random_next(state) % ((uint64_t)most + 1));
}

static uint64_t mixed(uint64_t number)
{
    number ^= number >> 30;
    number *= UINT64_C(0xbf58476d1ce4e5b9);
    number ^= number >> 27;
    number *= UINT64_C(0x94d049bb133111eb);
    return number ^ number >> 31;
}

static int64_t width_of(uint32_t seconds)
{
    int64_t parts = LEDGER_BUCKETS - 1;

    return (int64_t)seconds * 1000 / parts + ((int64_t)seconds * 1000 % parts != 0);
}

/* ---- the model ---- */

struct event {
    int64_t at;
    uint32_t amount; /* what is left of it */
    uint32_t erased; /* what a reset took: may still be given back, to no effect */
};

struct track {
    struct event *events;
    size_t count, room;
};

/* What was done, to be done again. */
struct op {
    enum { CHARGE, REFUND, RESET } kind;
    size_t key;
    uint32_t amount;
    int64_t at;
    uint64_t record;
};

struct shape {
    const char *name;
    size_t keys, keys_most, groups;
    uint32_t seconds[4]; /* of the groups in turn */
    int steps;
    int64_t step;    /* ms between two steps, at most */
    int64_t late;    /* a charge may be of so many ms before */
    uint32_t amount; /* of a charge, at most */
    int hot;         /* out of 100 steps so many concern one of the first 20 keys */
    bool resets;
    bool all_kept; /* nothing is forgotten, so nothing may be counted too long */
};

struct world {
    const struct shape *shape;
    uint64_t seed, random;
    int64_t now;
    struct ledger *ledger;
    struct track *tracks;
    struct op *ops;
    size_t op_count, op_room;
    uint64_t record;
    /* the snapshot: what was copied from the ledger, by place */
    struct ledger_row disk[DISK], disk_floor[LEDGER_GROUPS + 1];
    bool on_disk[DISK], floor_on_disk[LEDGER_GROUPS + 1];
    size_t cursor;
    uint64_t round_began, needed_after; /* records up to it may be gone */
};

static struct ledger_key key_of(const struct world *world, size_t key)
{
    size_t group = key % world->shape->groups;

    return (struct ledger_key){.hash = mixed(key + 1),
                               .group = mixed(group + 1000000),
                               .seconds = world->shape->seconds[group % 4]};
}

static uint64_t exact(const struct track *track, int64_t since)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < track->count; i++) {
        if (track->events[i].at >= since)
            sum += track->events[i].amount;
    }
    return sum;
}

static void check_key(const struct world *world, size_t key, const char *when)
{
    struct ledger_key wanted = key_of(world, key);
    const struct track *track = &world->tracks[key];
    uint64_t count = ledger_count(world->ledger, &wanted, world->now);
    uint64_t least = exact(track, world->now - (int64_t)wanted.seconds * 1000);
    int64_t longest = LEDGER_BUCKETS * width_of(wanted.seconds);

    if (count < least)
        fail_msg("%s, seed %llu, %s: key %zu at %lld has %llu, of which %llu are counted",
                 world->shape->name, (unsigned long long)world->seed, when, key,
                 (long long)world->now, (unsigned long long)least, (unsigned long long)count);
    if (world->shape->all_kept && count > exact(track, world->now - longest + 1))
        fail_msg("%s, seed %llu, %s: key %zu at %lld: %llu are counted, which is too many",
                 world->shape->name, (unsigned long long)world->seed, when, key,
                 (long long)world->now, (unsigned long long)count);
}

static void check_wait(const struct world *world, size_t key)
{
    struct ledger_key wanted = key_of(world, key);
    uint64_t count = ledger_count(world->ledger, &wanted, world->now);
    uint64_t mosts[] = {0, 1, count / 2, count > 0 ? count - 1 : 0, count};

    for (size_t i = 0; i < COUNT_OF(mosts); i++) {
        int64_t wait = ledger_wait(world->ledger, &wanted, mosts[i], world->now);
        bool passes = ledger_count(world->ledger, &wanted, world->now + wait) <= mosts[i];
        bool before =
            wait > 0 && ledger_count(world->ledger, &wanted, world->now + wait - 1) <= mosts[i];

        if (wait < 0 || !passes || before)
            fail_msg("%s, seed %llu: key %zu with %llu waits %lld ms for %llu", world->shape->name,
                     (unsigned long long)world->seed, key, (unsigned long long)count,
                     (long long)wait, (unsigned long long)mosts[i]);
    }
}

static void op_run(struct ledger *ledger, const struct world *world, const struct op *op,
                   int64_t now)
{
    struct ledger_key key = key_of(world, op->key);

    switch (op->kind) {
    case CHARGE:
        ledger_charge(ledger, &key, "client:192.0.2.1", 1000, op->amount, op->at, now, op->record);
        break;
    case REFUND:
        ledger_refund(ledger, &key, op->amount, op->at, now, op->record);
        break;
    case RESET:
        ledger_reset(ledger, &key, "client:192.0.2.1", now, op->record);
        break;
    }
}

static void op_add(struct world *world, struct op op)
{
    if (world->op_count == world->op_room) {
        world->op_room = world->op_room > 0 ? 2 * world->op_room : 1024;
        world->ops = realloc(world->ops, world->op_room * sizeof *world->ops);
        assert_non_null(world->ops);
    }
    op.record = world->record;
    world->ops[world->op_count++] = op;
    op_run(world->ledger, world, &op, world->now);
}

static void do_charge(struct world *world, size_t key)
{
    struct track *track = &world->tracks[key];
    int64_t late = world->shape->late > 0 ? random_to(&world->random, world->shape->late) : 0;
    struct event event = {.at = world->now - late,
                          .amount =
                              1 + (uint32_t)random_to(&world->random, world->shape->amount - 1)};

    if (track->count == track->room) {
        track->room = track->room > 0 ? 2 * track->room : 4;
        track->events = realloc(track->events, track->room * sizeof *track->events);
        assert_non_null(track->events);
    }
    track->events[track->count++] = event;
    op_add(world, (struct op){.kind = CHARGE, .key = key, .amount = event.amount, .at = event.at});
}

static void do_refund(struct world *world, size_t key)
{
    struct track *track = &world->tracks[key];
    struct event *event;
    uint32_t amount;

    if (track->count == 0)
        return;
    event = &track->events[track->count - 1 -
                           random_next(&world->random) % (track->count < 8 ? track->count : 8)];
    amount = event->amount + event->erased;
    op_add(world, (struct op){.kind = REFUND, .key = key, .amount = amount, .at = event->at});
    event->amount = event->erased = 0;
}

static void do_reset(struct world *world, size_t key)
{
    struct track *track = &world->tracks[key];

    for (size_t i = 0; i < track->count; i++) {
        track->events[i].erased += track->events[i].amount;
        track->events[i].amount = 0;
    }
    op_add(world, (struct op){.kind = RESET, .key = key, .at = world->now});
    world->now++; /* what is charged within the same millisecond cannot be given back */
}

/* One record: one to three changes. */
static void step(struct world *world)
{
    const struct shape *shape = world->shape;
    int changes = 1 + (int)random_to(&world->random, 2);
    bool hot = random_to(&world->random, 99) < shape->hot;
    size_t key = random_next(&world->random) % (hot ? 20 : shape->keys);

    world->now += random_to(&world->random, shape->step);
    if (random_to(&world->random, 4999) == 0)
        world->now += random_to(&world->random, shape->seconds[0] * INT64_C(1500));
    world->record++;
    for (int i = 0; i < changes; i++) {
        int64_t what = random_to(&world->random, 99);

        if (shape->resets && what == 0)
            do_reset(world, key);
        else if (what < 30 && !(shape->all_kept && shape->late > 0))
            do_refund(world, key);
        else
            do_charge(world, key);
        if (random_to(&world->random, 1) == 0)
            key = random_next(&world->random) % shape->keys;
    }
    check_key(world, key, "after a change");
}

static void check_all(const struct world *world, const char *when)
{
    for (size_t key = 0; key < world->shape->keys; key++)
        check_key(world, key, when);
}

static struct world *world_new(const struct shape *shape, uint64_t seed)
{
    struct world *world = calloc(1, sizeof *world);

    assert_non_null(world);
    world->shape = shape;
    world->seed = seed;
    world->random = mixed(seed) | 1;
    world->now = START;
    world->tracks = calloc(shape->keys, sizeof *world->tracks);
    assert_non_null(world->tracks);
    world->ledger = ledger_new(shape->keys_most, seed);
    assert_non_null(world->ledger);
    return world;
}

static void world_free(struct world *world)
{
    for (size_t i = 0; i < world->shape->keys; i++)
        free(world->tracks[i].events);
    free(world->tracks);
    free(world->ops);
    ledger_free(world->ledger);
    free(world);
}

/* ---- random times ---- */

static const struct shape random_shapes[] = {
    {"all kept", 900, 1000, 4, {1, 60, 3600, 86400}, 20000, 700, 0, 3, 50, true, true},
    {"all kept, late", 900, 1000, 1, {60, 60, 60, 60}, 20000, 300, 70000, 3, 50, false, true},
    {"one second", 300, 1000, 1, {1, 1, 1, 1}, 20000, 20, 0, 3, 90, true, true},
    {"crowded", 20000, 1000, 3, {60, 3600, 3600, 60}, 60000, 40, 0, 1, 40, true, false},
    {"crowded, many",
     20000,
     1000,
     3,
     {3600, 600, 86400, 60},
     60000,
     90,
     5000,
     50,
     20,
     false,
     false},
    {"crowded groups", 20000, 1000, 400, {60, 3600, 7, 86400}, 60000, 40, 0, 2, 30, true, false},
    {"crowded groups, short", 5000, 1000, 300, {10, 10, 3, 60}, 60000, 8, 0, 2, 30, true, false},
    {"slow", 3000, 1000, 2, {600, 3600, 600, 3600}, 30000, 5000, 0, 5, 60, true, false},
};

static void test_random(void **state)
{
    (void)state;
    for (size_t s = 0; s < COUNT_OF(random_shapes); s++) {
        for (uint64_t seed = 1; seed <= 3; seed++) {
            struct world *world = world_new(&random_shapes[s], seed);

            for (int i = 0; i < world->shape->steps; i++) {
                step(world);
                if (i % 1000 == 999)
                    check_all(world, "looking at all");
                if (i % 100 == 99 && world->shape->groups < LEDGER_GROUPS)
                    check_wait(world, random_next(&world->random) % world->shape->keys);
            }
            assert_true(ledger_keys(world->ledger) <= 1000);
            for (int i = 0; i < 20; i++) {
                world->now += world->shape->seconds[0] * INT64_C(100);
                check_all(world, "while it gets old");
            }
            world->now += 2 * YEAR;
            for (size_t key = 0; key < world->shape->keys; key++) {
                struct ledger_key wanted = key_of(world, key);

                assert_int_equal(ledger_count(world->ledger, &wanted, world->now), 0);
                assert_int_equal(ledger_wait(world->ledger, &wanted, 0, world->now), 0);
            }
            world_free(world);
        }
    }
}

/* ---- a limit is kept ---- */

static const struct {
    uint32_t seconds;
    uint64_t allowed;
    int64_t pause; /* between two that ask, at most */
} limits[] = {{1, 1, 300},        {1, 10, 50},        {60, 5, 4000}, {60, 100, 200},
              {3600, 50, 100000}, {86400, 3, 900000}, {7, 20, 3},    {31536000, 2, 900000000},
              {11, 30, 91},       {600, 1, 60000},    {13, 1000, 2}, {2, 7, 1}};

static void test_limit(void **state)
{
    enum { PASSED_MOST = 40000 };
    int64_t *passed = calloc(PASSED_MOST, sizeof *passed);

    (void)state;
    assert_non_null(passed);
    for (size_t i = 0; i < COUNT_OF(limits); i++) {
        struct ledger *ledger = ledger_new(1000, i);
        struct ledger_key key = {mixed(i), 1, limits[i].seconds};
        uint64_t random = mixed(i + 77), allowed = limits[i].allowed;
        int64_t now = START;
        size_t count = 0;

        assert_non_null(ledger);
        for (int ask = 0; ask < 40000 && count < PASSED_MOST; ask++) {
            if (ask >= 2 * (int)allowed) { /* first a burst within one millisecond */
                now += random_to(&random, limits[i].pause);
                if (random_to(&random, 999) == 0)
                    now += (int64_t)limits[i].seconds * 1000 + random_to(&random, 2000);
            }
            if (ledger_count(ledger, &key, now) + 1 <= allowed) {
                assert_int_equal(ledger_wait(ledger, &key, allowed - 1, now), 0);
                ledger_charge(ledger, &key, "x", allowed, 1, now, now, 0);
                passed[count++] = now;
            } else if (ask >= 2 * (int)allowed &&
                       random_to(&random, 9) == 0) { /* comes again when it is told to */
                int64_t wait = ledger_wait(ledger, &key, allowed - 1, now);

                assert_true(wait > 0 && wait <= LEDGER_BUCKETS * width_of(limits[i].seconds));
                assert_true(ledger_count(ledger, &key, now + wait - 1) + 1 > allowed);
                now += wait;
                assert_true(ledger_count(ledger, &key, now) + 1 <= allowed);
            }
            if (ask == 2 * (int)allowed - 1)
                assert_int_equal(count, allowed);
        }
        assert_true(count > 3 * allowed);
        for (size_t p = 0; p + allowed < count; p++) {
            if (passed[p + allowed] - passed[p] <= (int64_t)limits[i].seconds * 1000)
                fail_msg("row %zu: more than %llu passed from %lld to %lld", i,
                         (unsigned long long)allowed, (long long)passed[p],
                         (long long)passed[p + allowed]);
        }
        ledger_free(ledger);
    }
    free(passed);
}

/* ---- small ones ---- */

static void test_rows(void **state)
{
    /* seconds 11: a bucket is 1000 ms wide */
    static const struct {
        const char *name;
        struct {
            char kind; /* c charge, r refund, 0 reset, ? the count is so many, k so many keys */
            int64_t at, now;
            uint64_t amount;
        } steps[6];
    } rows[] = {
        {"counted for 11 s to the last", {{'c', 1999, 1999, 1}, {'?', 0, 12999, 1}}},
        {"and a bucket longer", {{'c', 1000, 1000, 1}, {'?', 0, 12999, 1}, {'?', 0, 13000, 0}}},
        {"a late one", {{'c', 1500, 9000, 2}, {'?', 0, 12999, 2}, {'?', 0, 13000, 0}}},
        {"too late", {{'c', 1500, 13000, 2}, {'?', 0, 13000, 0}, {'k', 0, 0, 0}}},
        {"too late, known", {{'c', 13000, 13000, 1}, {'c', 1500, 13000, 2}, {'?', 0, 13000, 1}}},
        {"of the future is of now", {{'c', 99000, 5000, 2}, {'?', 0, 5000, 2}, {'?', 0, 17000, 0}}},
        {"before all time", {{'c', -5, -5, 2}, {'?', 0, -7, 2}, {'?', 0, 12000, 0}}},
        {"given back", {{'c', 5000, 5000, 3}, {'r', 5000, 9000, 2}, {'?', 0, 9000, 1}}},
        {"more than there is",
         {{'c', 5000, 5000, 3}, {'c', 7000, 7000, 1}, {'r', 5000, 9000, 5}, {'?', 0, 9000, 1}}},
        {"of its own bucket", {{'c', 5000, 5000, 3}, {'r', 6000, 9000, 2}, {'?', 0, 9000, 3}}},
        {"too old to be given back",
         {{'c', 5000, 5000, 3}, {'c', 17000, 17000, 2}, {'r', 5000, 17000, 2}, {'?', 0, 17000, 2}}},
        {"nothing to be given back", {{'r', 5000, 5000, 3}, {'?', 0, 5000, 0}}},
        {"reset", {{'c', 5000, 5000, 3}, {'0', 0, 6000, 0}, {'?', 0, 6000, 0}}},
        {"a reset key has nothing to give back",
         {{'c', 5000, 5000, 3},
          {'0', 0, 5000, 0},
          {'c', 5001, 5001, 2},
          {'r', 5000, 5002, 3},
          {'?', 0, 5002, 2}}},
        {"what came after a reset is given back",
         {{'0', 0, 5000, 0}, {'c', 5001, 5001, 2}, {'r', 5001, 5002, 1}, {'?', 0, 5002, 1}}},
        {"a full count stays full",
         {{'c', 5000, 5000, UINT32_MAX},
          {'c', 5000, 5000, 5},
          {'?', 0, 5000, UINT32_MAX},
          {'r', 5000, 5000, 5},
          {'?', 0, 5000, UINT32_MAX}}},
        {"buckets are added in 64 bits",
         {{'c', 5000, 5000, UINT32_MAX},
          {'c', 6000, 6000, UINT32_MAX},
          {'?', 0, 6000, UINT64_C(2) * UINT32_MAX}}},
        {"a hundred years",
         {{'c', 5000, 5000, 3}, {'c', 100 * YEAR, 100 * YEAR, 1}, {'?', 0, 100 * YEAR, 1}}},
        {"the end of time",
         {{'c', INT64_MAX, INT64_MAX, 3}, {'?', 0, INT64_MAX, 3}, {'r', 0, INT64_MAX, 3}}},
    };
    struct ledger_key key = {0, 0, 11};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct ledger *ledger = ledger_new(1000, i);

        assert_non_null(ledger);
        for (size_t s = 0; s < COUNT_OF(rows[i].steps) && rows[i].steps[s].kind != '\0'; s++) {
            int64_t at = rows[i].steps[s].at, now = rows[i].steps[s].now;
            uint64_t amount = rows[i].steps[s].amount;

            switch (rows[i].steps[s].kind) {
            case 'c':
                ledger_charge(ledger, &key, "x", 10, (uint32_t)amount, at, now, 0);
                break;
            case 'r':
                ledger_refund(ledger, &key, (uint32_t)amount, at, now, 0);
                break;
            case '0':
                ledger_reset(ledger, &key, NULL, now, 0);
                break;
            case 'k':
                assert_int_equal(ledger_keys(ledger), amount);
                break;
            default:
                if (ledger_count(ledger, &key, now) != amount)
                    fail_msg("%s: step %zu: %llu", rows[i].name, s,
                             (unsigned long long)ledger_count(ledger, &key, now));
            }
        }
        ledger_free(ledger);
    }
}

/* ---- who is forgotten ---- */

static void test_flood(void **state)
{
    /* ten million keys of one event each, 20,000 in every hour, through a table of 1000: a key that
     * is near its limit of 100 all the time stays, and nothing is inherited by it */
    struct ledger *ledger = ledger_new(1000, 4711);
    struct ledger_key near = {mixed(5), 9, 3600}, stranger = {mixed(6), 9, 3600};
    int64_t now = START;
    enum { EVERY = 222, KEYS = 10000000, KEPT = 512 };
    int64_t last[KEPT] = {0};
    size_t charged = 0;
    uint64_t highest = 0;

    (void)state;
    assert_non_null(ledger);
    for (; charged < 90; charged++) {
        ledger_charge(ledger, &near, "near", 100, 1, now, now, 0);
        last[charged % KEPT] = now;
        now += 40;
    }
    for (uint64_t i = 0; i < KEYS; i++) {
        struct ledger_key key = {mixed(i + 1000), 9, 3600};

        now += 180;
        ledger_charge(ledger, &key, "flood", 100, 1, now, now, 0);
        if (i % EVERY == 0) {
            uint64_t count, least = 0, most = 0;

            ledger_charge(ledger, &near, "near", 100, 1, now, now, 0);
            last[charged++ % KEPT] = now;
            for (size_t k = 0; k < KEPT; k++) {
                least += last[k] > 0 && now - last[k] <= 3600000;
                most += last[k] > 0 && now - last[k] < LEDGER_BUCKETS * width_of(3600);
            }
            count = ledger_count(ledger, &near, now);
            if (count < least || count > most)
                fail_msg("key %llu: %llu counted, from %llu to %llu are true",
                         (unsigned long long)i, (unsigned long long)count,
                         (unsigned long long)least, (unsigned long long)most);
            count = ledger_count(ledger, &stranger, now);
            highest = count > highest ? count : highest;
        }
    }
    /* who was never seen is taken to have some, but far from what the limit allows */
    if (highest < 1 || highest > 60)
        fail_msg("a stranger was taken to have %llu", (unsigned long long)highest);
    /* all that has run out goes first: none of these raises anything */
    now += 2 * 3600000;
    for (uint64_t i = 0; i < 1000; i++) {
        struct ledger_key key = {mixed(i + 500), 9, 3600};

        ledger_reset(ledger, &key, "nothing", now, 0);
    }
    assert_int_equal(ledger_keys(ledger), 1000);
    assert_int_equal(ledger_count(ledger, &stranger, now), 0);
    ledger_free(ledger);
}

/* A key that has run out goes before one that counts, whatever their order. */
static void test_run_out_first(void **state)
{
    struct ledger *ledger = ledger_new(1000, 1);
    struct ledger_key stranger = {mixed(1), 9, 60};

    (void)state;
    for (uint64_t i = 0; i < 1000; i++) {
        struct ledger_key key = {mixed(i + 10), 9, 60};
        int64_t at = i % 4 == 0 ? START : START + 100000;

        ledger_charge(ledger, &key, "x", 100, 1, at, at, 0);
    }
    /* among any 16 neighbours there are four that have run out */
    for (uint64_t i = 0; i < 100; i++) {
        struct ledger_key key = {mixed(i + 5000), 9, 60};

        ledger_charge(ledger, &key, "x", 100, 1, START + 100000, START + 100000, 0);
        assert_int_equal(ledger_count(ledger, &stranger, START + 100000), 0);
    }
    ledger_free(ledger);
}

/* The shared floor of other groups concerns nobody who has one of his own. */
static void test_groups(void **state)
{
    struct ledger *ledger = ledger_new(1000, 1);
    struct ledger_key mine = {mixed(1), 2, 60}, other = {mixed(2), 1, 60};

    (void)state;
    for (uint64_t i = 0; i < 2000; i++) {
        struct ledger_key key = {mixed(i + 10), 1, 60};

        ledger_charge(ledger, &key, "x", 100, 7, START, START, 0);
    }
    assert_true(ledger_count(ledger, &other, START) >= 7);
    assert_int_equal(ledger_count(ledger, &mine, START), 0);
    ledger_free(ledger);
}

/* ---- snapshot and journal ---- */

static size_t copy_rows(struct world *world)
{
    struct ledger_row rows[ROOM];
    size_t count;

    if (world->cursor == 0)
        world->round_began = world->record;
    count = ledger_changed(world->ledger, rows, ROOM, &world->cursor);
    assert_true(count <= ROOM);
    for (size_t i = 0; i < count; i++) {
        if (rows[i].place < 0) {
            assert_true(rows[i].place >= -1 - LEDGER_GROUPS && rows[i].hash == 0);
            world->disk_floor[-1 - rows[i].place] = rows[i];
            world->floor_on_disk[-1 - rows[i].place] = true;
        } else {
            assert_true(rows[i].place < DISK);
            world->disk[rows[i].place] = rows[i];
            world->on_disk[rows[i].place] = rows[i].hash != 0;
        }
    }
    if (count == 0) {
        world->needed_after = world->round_began;
        world->cursor = 0;
    }
    return count;
}

/* Falls down and comes up with what is on disk and in the journal, which may reach further back. */
static void crash(struct world *world, size_t keys_most, bool further)
{
    struct ledger *before = world->ledger;
    uint64_t from = world->needed_after;
    size_t i = world->op_count;

    if (further && random_to(&world->random, 1) == 0)
        from = (uint64_t)random_to(&world->random, (int64_t)from);
    world->ledger = ledger_new(keys_most, random_next(&world->random));
    assert_non_null(world->ledger);
    for (size_t f = LEDGER_GROUPS + 1; f-- > 0;) {
        if (world->floor_on_disk[f])
            assert_true(ledger_restore(world->ledger, &world->disk_floor[f], world->now));
    }
    for (size_t p = 0; p < DISK; p++) {
        if (world->on_disk[p])
            assert_true(ledger_restore(world->ledger, &world->disk[p], world->now));
    }
    while (i > 0 && world->ops[i - 1].record > from)
        i--;
    for (; i < world->op_count; i++)
        op_run(world->ledger, world, &world->ops[i], world->now);
    if (world->shape->all_kept) {
        for (size_t key = 0; key < world->shape->keys; key++) {
            struct ledger_key wanted = key_of(world, key);

            if (ledger_count(world->ledger, &wanted, world->now) !=
                ledger_count(before, &wanted, world->now))
                fail_msg("%s, seed %llu, record %llu from %llu: key %zu has %llu, had %llu",
                         world->shape->name, (unsigned long long)world->seed,
                         (unsigned long long)world->record, (unsigned long long)from, key,
                         (unsigned long long)ledger_count(world->ledger, &wanted, world->now),
                         (unsigned long long)ledger_count(before, &wanted, world->now));
        }
    }
    check_all(world, "after a crash");
    ledger_free(before);
    world->cursor = 0;
}

static const struct shape crash_shapes[] = {
    {"crash, all kept", 900, 1000, 4, {600, 60, 3600, 86400}, 15000, 700, 0, 3, 50, false, true},
    {"crash, crowded", 5000, 1300, 3, {60, 3600, 3600, 60}, 30000, 60, 0, 4, 40, true, false},
    {"crash, groups", 5000, 1300, 300, {60, 3600, 7, 600}, 30000, 60, 0, 9, 40, true, false},
    {"crash, few", 1500, 1300, 1, {600, 0, 0, 0}, 30000, 300, 0, 20, 20, true, false},
};

static void test_crashes(void **state)
{
    (void)state;
    for (size_t s = 0; s < COUNT_OF(crash_shapes); s++) {
        for (uint64_t seed = 1; seed <= 4; seed++) {
            struct world *world = world_new(&crash_shapes[s], seed * 31);

            for (int i = 0; i < world->shape->steps; i++) {
                step(world);
                if (random_to(&world->random, 149) == 0)
                    copy_rows(world);
                if (random_to(&world->random, 1499) == 0)
                    crash(world, random_to(&world->random, 1) == 0 ? 1000 : 1300, true);
                if (random_to(&world->random, 9999) == 0) { /* a new state.db */
                    memset(world->on_disk, 0, sizeof world->on_disk);
                    memset(world->floor_on_disk, 0, sizeof world->floor_on_disk);
                    ledger_touch(world->ledger);
                    world->cursor = 0;
                    while (copy_rows(world) > 0)
                        continue;
                }
            }
            world_free(world);
        }
    }
}

/* A round ends and says all; the next says nothing; what is restored needs not be written. */
static void test_rounds(void **state)
{
    static const struct shape shape = {.name = "rounds",
                                       .keys = 3000,
                                       .keys_most = 2000,
                                       .groups = 2,
                                       .seconds = {60, 60, 60, 60},
                                       .step = 1,
                                       .amount = 2};
    struct world *world = world_new(&shape, 3);
    struct ledger_row rows[ROOM];
    size_t cursor = 0, calls = 0, kept = 0;

    (void)state;
    for (int i = 0; i < 5000; i++)
        step(world);
    assert_int_equal(ledger_keys(world->ledger), 2000);
    while (copy_rows(world) > 0)
        assert_true(++calls < 20);
    assert_int_equal(ledger_changed(world->ledger, rows, ROOM, &cursor), 0);
    for (int kind = CHARGE; kind <= RESET; kind++) { /* each of them is a change */
        struct op op = {.key = shape.keys, .amount = 1, .at = world->now};

        op.kind = CHARGE;
        op_run(world->ledger, world, &op, world->now);
        while (copy_rows(world) > 0)
            continue;
        op.kind = kind;
        op_run(world->ledger, world, &op, world->now);
        cursor = 0;
        assert_int_equal(ledger_changed(world->ledger, rows, ROOM, &cursor), 1);
        assert_int_equal(ledger_changed(world->ledger, rows, ROOM, &cursor), 0);
    }
    step(world);
    cursor = 0;
    assert_in_range(ledger_changed(world->ledger, rows, ROOM, &cursor), 1, 8);
    assert_int_equal(ledger_changed(world->ledger, rows, ROOM, &cursor), 0);
    ledger_touch(world->ledger);
    while (copy_rows(world) > 0)
        continue;
    /* with as many places nothing moves */
    crash(world, 2000, false);
    world->needed_after = world->record;
    while (copy_rows(world) > 0)
        continue;
    crash(world, 2000, false);
    cursor = 0;
    while ((kept = ledger_changed(world->ledger, rows, ROOM, &cursor)) > 0) {
        for (size_t i = 0; i < kept; i++)
            assert_int_equal(rows[i].place, INT64_MIN); /* none */
    }
    /* with fewer, the places that are no more are said to be empty */
    crash(world, 1000, false);
    while (copy_rows(world) > 0)
        continue;
    for (size_t p = 0; p < DISK; p++)
        kept += world->on_disk[p];
    assert_int_equal(kept, 1000);
    crash(world, 1000, false);
    assert_int_equal(ledger_keys(world->ledger), 1000);
    world_free(world);
}

/* Rows that cannot be, and rows that say strange things. */
static void test_restore(void **state)
{
    static const struct {
        const char *name;
        struct ledger_row row;
        bool taken;
        uint64_t count; /* at START, and */
        uint64_t later; /* 12 s after */
    } rows[] = {
        {"good", {.hash = 7, .seconds = 11, .bucket = 1000000, .count = {4, 2}}, true, 6, 0},
        {"older", {.hash = 7, .seconds = 11, .bucket = 999990, .count = {4, 2}}, true, 6, 0},
        {"too old", {.hash = 7, .seconds = 11, .bucket = 999900, .count = {4, 2}}, true, 0, 0},
        {"of the future",
         {.hash = 7, .seconds = 11, .bucket = INT64_MAX, .count = {4, 2}},
         true,
         6,
         0},
        {"no hash", {.seconds = 11, .bucket = 1000000, .count = {4}}, false, 0, 0},
        {"no time", {.hash = 7, .bucket = 1000000, .count = {4}}, false, 0, 0},
        {"too long", {.hash = 7, .seconds = 31536001, .bucket = 1, .count = {4}}, false, 0, 0},
        {"negative", {.hash = 7, .seconds = 11, .bucket = -1, .count = {4}}, false, 0, 0},
        {"record",
         {.hash = 7, .seconds = 11, .bucket = 1000000, .record = UINT64_MAX, .count = {4}},
         false,
         0,
         0},
        {"place", {.place = INT64_MIN, .seconds = 11, .bucket = 1, .count = {4}}, false, 0, 0},
        {"floor",
         {.place = -1, .group = 3, .seconds = 11, .bucket = 1000000, .count = {4}},
         true,
         4,
         0},
        {"another's floor",
         {.place = -1, .group = 4, .seconds = 11, .bucket = 1000000, .count = {4}},
         true,
         0,
         0},
        {"shared floor",
         {.place = -257, .seconds = 22, .bucket = 500000, .count = {4}},
         true,
         4,
         0},
        {"no floor", {.place = -258, .seconds = 11, .bucket = 1, .count = {4}}, false, 0, 0},
        {"full",
         {.hash = 7, .seconds = 11, .bucket = 1000000, .count = {UINT32_MAX, UINT32_MAX}},
         true,
         UINT64_C(2) * UINT32_MAX,
         0},
    };
    struct ledger_key key = {7, 3, 11};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct ledger *ledger = ledger_new(1000, i);
        struct ledger_row row = rows[i].row;

        memset(row.subject, 'x', sizeof row.subject); /* no NUL */
        if (ledger_restore(ledger, &row, START) != rows[i].taken ||
            ledger_count(ledger, &key, START) != rows[i].count ||
            ledger_count(ledger, &key, START + 13000) != rows[i].later)
            fail_msg("%s: %llu, then %llu", rows[i].name,
                     (unsigned long long)ledger_count(ledger, &key, START),
                     (unsigned long long)ledger_count(ledger, &key, START + 13000));
        ledger_free(ledger);
    }
}

/* Two rows of one key; floors that are there twice; a subject that is cut. */
static void test_restore_twice(void **state)
{
    struct ledger *ledger = ledger_new(1000, 1);
    struct ledger_key key = {7, 3, 11}, stranger = {8, 4, 11};
    struct ledger_row row = {
        .place = 0, .hash = 7, .group = 3, .record = 20, .seconds = 11, .bucket = 1000000};
    struct ledger_row rows[ROOM];
    size_t cursor = 0;

    (void)state;
    row.count[0] = 5;
    assert_true(ledger_restore(ledger, &row, START));
    row.place = 1;
    row.record = 10;
    row.count[0] = 9;
    assert_true(ledger_restore(ledger, &row, START));
    assert_int_equal(ledger_count(ledger, &key, START), 5);
    row.record = 30;
    row.count[0] = 2;
    row.count[3] = 4;
    assert_true(ledger_restore(ledger, &row, START));
    assert_int_equal(ledger_count(ledger, &key, START), 6);
    row.count[0] = 3;
    row.count[3] = 1;
    assert_true(ledger_restore(ledger, &row, START));
    assert_int_equal(ledger_count(ledger, &key, START), 6);
    assert_int_equal(ledger_count(ledger, &key, START + 9000), 3);
    assert_int_equal(ledger_keys(ledger), 1);
    /* records that the row has seen, and others: several changes by one */
    ledger_charge(ledger, &key, "x", 9, 1, START, START, 30);
    ledger_refund(ledger, &key, 1, START, START, 29);
    ledger_reset(ledger, &key, "x", START, 30);
    assert_int_equal(ledger_count(ledger, &key, START), 6);
    ledger_charge(ledger, &key, "x", 9, 1, START, START, 31);
    ledger_charge(ledger, &key, "x", 9, 1, START, START, 31);
    ledger_charge(ledger, &key, "x", 9, 1, START, START, 0);
    assert_int_equal(ledger_count(ledger, &key, START), 9);
    ledger_charge(ledger, &key, "x", 9, 1, START, START, 30);
    assert_int_equal(ledger_count(ledger, &key, START), 9);
    /* the second place is empty now */
    assert_int_equal(ledger_changed(ledger, rows, ROOM, &cursor), 2);
    assert_int_equal(rows[0].place, 0);
    assert_int_equal(rows[0].record, 31);
    assert_int_equal(rows[1].place, 1);
    assert_int_equal(rows[1].hash, 0);
    assert_int_equal(ledger_changed(ledger, rows, ROOM, &cursor), 0);

    row = (struct ledger_row){.place = -2, .group = 4, .seconds = 11, .bucket = 1000000};
    row.count[2] = 6;
    assert_true(ledger_restore(ledger, &row, START));
    row.place = -1;
    row.count[0] = 1;
    assert_true(ledger_restore(ledger, &row, START));
    assert_int_equal(ledger_count(ledger, &stranger, START), 7);
    row.group = 5;
    row.place = -2;
    row.count[1] = 10;
    assert_true(ledger_restore(ledger, &row, START));
    assert_int_equal(ledger_count(ledger, &stranger, START), 7);
    stranger.group = 5;
    assert_int_equal(ledger_count(ledger, &stranger, START), 17);

    ledger_charge(ledger, &stranger, "client:2001:db8:1111:2222:3333:4444:5555:6666:and so on", 9,
                  1, START, START, 0);
    cursor = 0;
    assert_true(ledger_changed(ledger, rows, ROOM, &cursor) >= 1);
    assert_string_equal(rows[cursor > 0 ? 2 : 0].subject,
                        "client:2001:db8:1111:2222:3333:444~62171cdf0d48");
    ledger_free(ledger);
}

/* ---- memory ---- */

static void test_allocations(void **state)
{
    struct ledger *ledger = NULL;
    struct ledger_key stranger = {mixed(1), 9, 60};
    long n = 0;

    (void)state;
    while (ledger == NULL && n < 20) {
        allocations = 0;
        fail_at = ++n;
        ledger = ledger_new(10000, 1);
    }
    assert_true(n > 4);
    assert_non_null(ledger);
    /* no more: the table stays as it is and forgets */
    fail_at = 1;
    fail_more = true;
    for (uint64_t i = 0; i < 6000; i++) {
        struct ledger_key key = {mixed(i + 10), 9, 60};

        ledger_charge(ledger, &key, "x", 10, 3, START, START, 0);
    }
    assert_int_equal(ledger_keys(ledger), 4096);
    assert_true(ledger_count(ledger, &stranger, START) >= 3);
    for (uint64_t i = 0; i < 6000; i++) {
        struct ledger_key key = {mixed(i + 10), 9, 60};

        assert_true(ledger_count(ledger, &key, START) >= 3);
    }
    /* and grows when there is some again */
    fail_at = 0;
    for (uint64_t i = 0; i < 20000; i++) {
        struct ledger_key key = {mixed(i + 10), 9, 60};

        ledger_charge(ledger, &key, "x", 10, 3, START, START, 0);
    }
    assert_int_equal(ledger_keys(ledger), 10000);
    ledger_free(ledger);
    ledger_free(NULL);
}

static void test_size(void **state)
{
    struct ledger *ledger = ledger_new(1000000, 1);

    (void)state;
    assert_non_null(ledger);
    assert_in_range(ledger_size(ledger), 1, 10 << 20);
    for (uint64_t i = 0; i < 1000500; i++) {
        struct ledger_key key = {mixed(i + 10), 9, 60};

        ledger_charge(ledger, &key, "x", 10, 1, START, START, 0);
    }
    assert_int_equal(ledger_keys(ledger), 1000000);
    assert_in_range(ledger_size(ledger), 140000000, 170000000);
    ledger_free(ledger);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),          cmocka_unit_test(test_limit),
        cmocka_unit_test(test_random),        cmocka_unit_test(test_flood),
        cmocka_unit_test(test_run_out_first), cmocka_unit_test(test_groups),
        cmocka_unit_test(test_restore),       cmocka_unit_test(test_restore_twice),
        cmocka_unit_test(test_rounds),        cmocka_unit_test(test_crashes),
        cmocka_unit_test(test_allocations),   cmocka_unit_test(test_size),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
