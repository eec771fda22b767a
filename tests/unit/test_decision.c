/* A decision as octets: what was written is read, and nothing else is. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/decision.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

enum { LONG_TEXT = 70000, TEXTS = 18 };

/* ---- rows ---- */

/* Texts are of so many octets, numbers begin at `number` and every field has another one, enums are
 * `step` values from their first (the last when that is beyond it). */
static const struct {
    const char *name;
    enum record_kind kind;
    size_t text;
    uint64_t number;
    unsigned step;
    bool flag;
    size_t numbers, charges;
} rows[] = {
    {"empty", RECORD_DECISION, 0, 0, 0, false, 0, 0},
    {"short", RECORD_DECISION, 1, 1, 1, true, 0, 1},
    {"usual", RECORD_DECISION, 24, 1795489200000, 2, false, 0, 4},
    {"id just kept", RECORD_DECISION, DECISION_ID, 256, 3, true, 0, 5},
    {"row just kept", RECORD_DECISION, DECISION_ROW_TEXT, 65536, 4, false, 0, 6},
    {"one below", RECORD_DECISION, DECISION_TEXT - 1, 77, 5, true, 0, 7},
    {"just kept", RECORD_DECISION, DECISION_TEXT, 78, 6, true, 0, 8},
    {"one above", RECORD_DECISION, DECISION_TEXT + 1, 79, 7, false, 0, 9},
    {"long", RECORD_DECISION, LONG_TEXT, UINT64_MAX - 1000, 1000, true, 0, DECISION_CHARGES},
    {"end of nothing", RECORD_END, 0, 0, 0, false, 0, 0},
    {"end", RECORD_END, 11, 4242, 1, false, 3, 2},
    {"longest end", RECORD_END, LONG_TEXT, UINT64_MAX - 1000, 1000, true, DECISION_NUMBERS,
     DECISION_CHARGES},
    {"reset of nothing", RECORD_RESET, 0, 0, 0, false, 0, 0},
    {"reset", RECORD_RESET, 17, INT64_MAX, 2, false, 0, 3},
    {"longest reset", RECORD_RESET, LONG_TEXT, UINT64_MAX - 1000, 1000, true, 0, DECISION_CHARGES},
};

/* What decision_write must refuse. */
static void too_many_charges(struct decision *d)
{
    d->charges = DECISION_CHARGES + 1;
}
static void too_many_numbers(struct decision *d)
{
    d->kind = RECORD_END;
    d->numbers = DECISION_NUMBERS + 1;
}
static void no_kind(struct decision *d)
{
    d->kind = (enum record_kind)(RECORD_RESET + 1);
}
static void no_reason(struct decision *d)
{
    d->verdict.reason = REASON_COUNT;
}
static void no_post(struct decision *d)
{
    d->post = (enum post)(POST_DOOR + 1);
}
static void no_table(struct decision *d)
{
    d->verdict.observed_rule.table = TABLE_COUNT;
}
static void no_outcome(struct decision *d)
{
    d->kind = RECORD_END;
    d->outcome = (enum outcome)(OUTCOME_ABORTED + 1);
}

static const struct {
    const char *name;
    void (*spoil)(struct decision *);
} unwritable[] = {
    {"too many charges", too_many_charges},
    {"too many numbers", too_many_numbers},
    {"no kind", no_kind},
    {"no reason", no_reason},
    {"no post", no_post},
    {"no table", no_table},
    {"no outcome", no_outcome},
};

static const struct {
    uint32_t seconds;
    unsigned char subject;
    bool fine;
} charge_rows[] = {
    {1, SUBJECT_CLIENT, true},
    {31536000, SUBJECT_EVERYONE, true},
    {0, SUBJECT_CLIENT, false},
    {31536001, SUBJECT_CLIENT, false},
    {UINT32_MAX, SUBJECT_CLIENT, false},
    {60, SUBJECT_COUNT, false},
    {60, 255, false},
};

/* How a text comes that was read and is written once more. */
static const struct {
    size_t size;
    uint32_t whole, read_whole;
} kept_rows[] = {
    {0, 0, 0},
    {0, 5, 0}, /* nothing was cut off a short text */
    {10, 0, 10},
    {10, 9, 10},
    {DECISION_TEXT, 0, DECISION_TEXT},
    {DECISION_TEXT, LONG_TEXT, LONG_TEXT},
    {DECISION_TEXT, UINT32_MAX, UINT32_MAX},
    {LONG_TEXT, 0, LONG_TEXT},
    {LONG_TEXT, LONG_TEXT, LONG_TEXT},
};

/* ---- helpers ---- */

static char texts[TEXTS][LONG_TEXT + 1]; /* each another, with NUL and every other octet */
static struct charge charges[DECISION_CHARGES + 1];
static uint64_t numbers[DECISION_NUMBERS + 1];
static struct decision_room room;

static unsigned step_of(unsigned step, unsigned last)
{
    return step < last ? step : last;
}

static struct decision make(size_t row)
{
    struct decision d;
    uint64_t n = rows[row].number;
    unsigned step = rows[row].step;
    size_t size = rows[row].text;
    int text = 0;

    memset(&d, 0, sizeof d);
    for (int i = 0; i < TEXTS; i++)
        for (size_t k = 0; k < LONG_TEXT; k++)
            texts[i][k] = (char)(unsigned char)(k * 7 + (size_t)i * 31);
    for (size_t i = 0; i < COUNT_OF(charges); i++)
        charges[i] = (struct charge){n + i,
                                     n + 2 * i,
                                     (int64_t)(n + 3 * i),
                                     n + 4 * i,
                                     (uint32_t)i + 1,
                                     (uint32_t)(n + i),
                                     (unsigned char)(i % SUBJECT_COUNT)};
    for (size_t i = 0; i < COUNT_OF(numbers); i++)
        numbers[i] = n + i;
#define NEXT_TEXT ((struct text){texts[text++], size})
    d.kind = rows[row].kind;
    d.wall = (int64_t)(n + 1);
    d.steady = (int64_t)(n + 2);
    d.number = n + 3;
    d.generation = n + 4;
    d.post = (enum post)step_of(step, POST_DOOR);
    d.client_known = rows[row].flag;
    d.listener_known = !rows[row].flag;
    d.submission = rows[row].flag;
    d.not_for_mta = !rows[row].flag;
    d.mta_refused = rows[row].flag;
    memset(&d.client, (int)step + 1, sizeof d.client);
    memset(&d.listener, (int)step + 2, sizeof d.listener);
    d.client_name.text = NEXT_TEXT;
    d.helo.text = NEXT_TEXT;
    d.host.text = NEXT_TEXT;
    d.login.text = NEXT_TEXT;
    d.sender.text = NEXT_TEXT;
    d.recipient.text = NEXT_TEXT;
    d.session = NEXT_TEXT;
    d.row_text = NEXT_TEXT;
    d.observed_row_text = NEXT_TEXT;
    for (int i = 0; i < SUBJECT_COUNT; i++)
        d.subject[i] = NEXT_TEXT;
    d.verdict.action = (enum action)step_of(step, ACTION_DEFER);
    d.verdict.reason = (enum reason)step_of(step, REASON_COUNT - 1);
    d.verdict.check = (enum check)step_of(step, CHECK_NONE);
    d.verdict.rule = (struct rule){(enum table)step_of(step, TABLE_COUNT - 1), (int64_t)(n + 5)};
    d.verdict.kind = (enum sender_kind)step_of(step, KIND_SUBMISSION);
    d.verdict.recipient_local = rows[row].flag;
    d.verdict.observed = !rows[row].flag;
    d.verdict.observed_reason = (enum reason)step_of(step + 1, REASON_COUNT - 1);
    d.verdict.observed_rule =
        (struct rule){(enum table)step_of(step + 1, TABLE_COUNT - 1), (int64_t)(n + 6)};
    d.verdict.limit =
        (struct limit_seen){{(enum table)step_of(step + 2, TABLE_COUNT - 1), (int64_t)(n + 7)},
                            (enum subject)step_of(step, SUBJECT_COUNT - 1),
                            (enum counts)step_of(step, COUNTS_REFUSALS),
                            n + 8,
                            n + 9,
                            (int64_t)(n + 10),
                            (int64_t)(n + 11)};
    memset(d.verdict.trail, 0xff, sizeof d.verdict.trail); /* is not kept */
    d.blocks = rows[row].flag;
    d.block_until_steady = (int64_t)(n + 12);
    d.block_until = (int64_t)(n + 13);
    d.block_strikes = (unsigned)(n + 14);
    d.block_subject = NEXT_TEXT;
    d.outcome = (enum outcome)step_of(step, OUTCOME_ABORTED);
    d.queue = NEXT_TEXT;
    d.lifted = NEXT_TEXT;
    d.numbers = rows[row].numbers;
    d.number_list = numbers;
    d.charges = rows[row].charges;
    d.charge_list = charges;
    assert_true(text <= TEXTS);
    return d;
}

static void same_text(struct text read, struct text given, size_t most)
{
    assert_int_equal(read.size, given.size < most ? given.size : most);
    assert_non_null(read.bytes);
    assert_memory_equal(read.bytes, given.bytes, read.size);
    assert_int_equal(read.bytes[read.size], '\0');
}

static void same_kept(struct kept_text read, struct kept_text given)
{
    same_text(read.text, given.text, DECISION_TEXT);
    assert_int_equal(read.whole, given.text.size);
}

static void is_empty(struct text read)
{
    assert_non_null(read.bytes);
    assert_int_equal(read.size, 0);
}

static void same_rule(struct rule read, struct rule given)
{
    assert_int_equal(read.table, given.table);
    assert_true(read.row == given.row);
}

static void same_decision_part(const struct decision *r, const struct decision *d)
{
    static const struct trail_step no_trail[CHECK_COUNT];

    assert_true(r->number == d->number && r->generation == d->generation);
    assert_int_equal(r->post, d->post);
    assert_int_equal(r->client_known, d->client_known);
    assert_int_equal(r->listener_known, d->listener_known);
    assert_int_equal(r->submission, d->submission);
    assert_int_equal(r->not_for_mta, d->not_for_mta);
    assert_int_equal(r->mta_refused, d->mta_refused);
    assert_memory_equal(&r->client, &d->client, sizeof r->client);
    assert_memory_equal(&r->listener, &d->listener, sizeof r->listener);
    same_kept(r->client_name, d->client_name);
    same_kept(r->helo, d->helo);
    same_kept(r->host, d->host);
    same_kept(r->login, d->login);
    same_kept(r->sender, d->sender);
    same_kept(r->recipient, d->recipient);
    same_text(r->session, d->session, DECISION_ID);
    same_text(r->row_text, d->row_text, DECISION_ROW_TEXT);
    same_text(r->observed_row_text, d->observed_row_text, DECISION_ROW_TEXT);
    for (int i = 0; i < SUBJECT_COUNT; i++)
        same_text(r->subject[i], d->subject[i], DECISION_SUBJECT);
    assert_int_equal(r->verdict.action, d->verdict.action);
    assert_int_equal(r->verdict.reason, d->verdict.reason);
    assert_int_equal(r->verdict.check, d->verdict.check);
    same_rule(r->verdict.rule, d->verdict.rule);
    assert_int_equal(r->verdict.kind, d->verdict.kind);
    assert_int_equal(r->verdict.recipient_local, d->verdict.recipient_local);
    assert_int_equal(r->verdict.observed, d->verdict.observed);
    assert_int_equal(r->verdict.observed_reason, d->verdict.observed_reason);
    same_rule(r->verdict.observed_rule, d->verdict.observed_rule);
    same_rule(r->verdict.limit.rule, d->verdict.limit.rule);
    assert_int_equal(r->verdict.limit.subject, d->verdict.limit.subject);
    assert_int_equal(r->verdict.limit.counts, d->verdict.limit.counts);
    assert_true(r->verdict.limit.count == d->verdict.limit.count);
    assert_true(r->verdict.limit.allowed == d->verdict.limit.allowed);
    assert_true(r->verdict.limit.seconds == d->verdict.limit.seconds);
    assert_true(r->verdict.limit.wait == d->verdict.limit.wait);
    assert_memory_equal(r->verdict.trail, no_trail, sizeof no_trail);
    assert_int_equal(r->blocks, d->blocks);
    assert_true(r->block_until_steady == d->block_until_steady);
    assert_true(r->block_until == d->block_until);
    assert_true(r->block_strikes == d->block_strikes);
    same_text(r->block_subject, d->block_subject, DECISION_SUBJECT);
}

static void no_decision_part(const struct decision *r)
{
    assert_true(r->number == 0 && r->generation == 0 && !r->client_known && !r->blocks);
    is_empty(r->client_name.text);
    is_empty(r->helo.text);
    is_empty(r->host.text);
    is_empty(r->login.text);
    is_empty(r->sender.text);
    is_empty(r->recipient.text);
    is_empty(r->session);
    is_empty(r->row_text);
    is_empty(r->observed_row_text);
    for (int i = 0; i < SUBJECT_COUNT; i++)
        is_empty(r->subject[i]);
    is_empty(r->block_subject);
}

static void same(const struct decision *r, const struct decision *d)
{
    assert_int_equal(r->kind, d->kind);
    assert_true(r->wall == d->wall && r->steady == d->steady);
    if (d->kind == RECORD_DECISION)
        same_decision_part(r, d);
    else
        no_decision_part(r);
    if (d->kind == RECORD_END) {
        assert_int_equal(r->outcome, d->outcome);
        assert_int_equal(r->numbers, d->numbers);
        for (size_t i = 0; i < d->numbers; i++)
            assert_true(r->number_list[i] == d->number_list[i]);
    } else {
        assert_int_equal(r->outcome, OUTCOME_OPEN);
        assert_int_equal(r->numbers, 0);
    }
    if (d->kind == RECORD_DECISION || d->kind == RECORD_END)
        same_text(r->queue, d->queue, DECISION_ID);
    else
        is_empty(r->queue);
    if (d->kind == RECORD_RESET)
        same_text(r->lifted, d->lifted, DECISION_SUBJECT);
    else
        is_empty(r->lifted);
    assert_int_equal(r->charges, d->charges);
    for (size_t i = 0; i < r->charges; i++) {
        const struct charge *a = &r->charge_list[i], *b = &d->charge_list[i];

        assert_true(a->hash == b->hash && a->group == b->group && a->at == b->at &&
                    a->allowed == b->allowed && a->seconds == b->seconds &&
                    a->amount == b->amount && a->subject == b->subject);
    }
}

/* Reads from a block of its own, so that a sanitizer sees a step beyond it. */
static enum status read_apart(const unsigned char *bytes, size_t size, struct decision *decision,
                              unsigned char **block)
{
    *block = malloc(size > 0 ? size : 1);
    assert_non_null(*block);
    memcpy(*block, bytes, size);
    return decision_read(*block, size, &room, decision);
}

/* ---- tests ---- */

static void test_round_trip(void **state)
{
    (void)state;
    for (size_t row = 0; row < COUNT_OF(rows); row++) {
        struct decision d = make(row), r;
        unsigned char record[DECISION_RECORD], again[DECISION_RECORD], *block;
        size_t size = decision_write(&d, record);

        print_message("%s: %zu octets\n", rows[row].name, size);
        assert_in_range(size, 1, DECISION_RECORD);
        assert_int_equal(read_apart(record, size, &r, &block), STATUS_OK);
        same(&r, &d);
        /* and once more: a text that was cut keeps the length it had */
        assert_int_equal(decision_write(&r, again), size);
        assert_memory_equal(again, record, size);
        free(block);
    }
}

/* Each value of each enum, one at a time. */
static void test_enums(void **state)
{
    (void)state;
    for (unsigned i = 0; i < REASON_COUNT; i++) {
        struct decision d = make(2), r;
        unsigned char record[DECISION_RECORD], *block;

        d.verdict.reason = (enum reason)i;
        d.verdict.check = (enum check)(i % (CHECK_NONE + 1));
        d.verdict.rule.table = (enum table)(i % TABLE_COUNT);
        d.verdict.kind = (enum sender_kind)(i % (KIND_SUBMISSION + 1));
        d.verdict.limit.subject = (enum subject)(i % SUBJECT_COUNT);
        d.verdict.limit.counts = (enum counts)(i % (COUNTS_REFUSALS + 1));
        d.verdict.action = (enum action)(i % (ACTION_DEFER + 1));
        assert_int_equal(read_apart(record, decision_write(&d, record), &r, &block), STATUS_OK);
        same(&r, &d);
        free(block);
    }
}

static void test_kept(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(kept_rows); i++) {
        struct decision d = make(0), r;
        unsigned char record[DECISION_RECORD], *block;

        d.helo = (struct kept_text){{texts[0], kept_rows[i].size}, kept_rows[i].whole};
        assert_int_equal(read_apart(record, decision_write(&d, record), &r, &block), STATUS_OK);
        assert_true(r.helo.whole == kept_rows[i].read_whole);
        same_text(r.helo.text, d.helo.text, DECISION_TEXT);
        free(block);
    }
}

static void test_unwritable(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(unwritable); i++) {
        struct decision d = make(2);
        unsigned char record[DECISION_RECORD];

        unwritable[i].spoil(&d);
        print_message("%s\n", unwritable[i].name);
        assert_int_equal(decision_write(&d, record), 0);
    }
    for (size_t i = 0; i < COUNT_OF(charge_rows); i++) {
        struct decision d = make(2);
        unsigned char record[DECISION_RECORD];

        charges[2].seconds = charge_rows[i].seconds;
        charges[2].subject = charge_rows[i].subject;
        assert_int_equal(decision_write(&d, record) != 0, charge_rows[i].fine);
    }
}

static void test_truncated(void **state)
{
    (void)state;
    for (size_t row = 0; row < COUNT_OF(rows); row++) {
        struct decision d = make(row), r;
        unsigned char record[DECISION_RECORD + 1], *block;
        size_t size = decision_write(&d, record);

        for (size_t cut = 0; cut < size; cut++) {
            assert_int_equal(read_apart(record, cut, &r, &block), STATUS_BAD);
            free(block);
        }
        record[size] = 0;
        assert_int_equal(read_apart(record, size + 1, &r, &block), STATUS_BAD);
        free(block);
    }
}

/* Whatever was read from damaged octets is a decision that can be written. */
static void test_flipped(void **state)
{
    static const unsigned char flips[] = {0x01, 0x80, 0xff};
    size_t bad = 0, fine = 0;

    (void)state;
    for (size_t row = 0; row < COUNT_OF(rows); row++) {
        struct decision d = make(row), r;
        unsigned char record[DECISION_RECORD], again[DECISION_RECORD], *block;
        size_t size = decision_write(&d, record);

        for (size_t at = 0; at < size; at++) {
            for (size_t i = 0; i < COUNT_OF(flips); i++) {
                record[at] ^= flips[i];
                if (read_apart(record, size, &r, &block) == STATUS_OK) {
                    assert_int_equal(decision_write(&r, again), size);
                    assert_memory_equal(again, record, size);
                    fine++;
                } else {
                    is_empty(r.helo.text);
                    assert_int_equal(r.charges, 0);
                    bad++;
                }
                free(block);
                record[at] ^= flips[i];
            }
        }
    }
    assert_true(bad > 1000 && fine > 1000);
}

/* Octets of chance behind a sound beginning. */
static void test_noise(void **state)
{
    uint64_t chance = 88172645463325252;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        struct decision r;
        unsigned char record[512], *block;
        size_t size = 2 + (size_t)round % (sizeof record - 2);

        for (size_t i = 0; i < size; i++) {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            record[i] = (unsigned char)(chance >> 24) & (round % 2 == 0 ? 0xff : 0x03);
        }
        record[0] = 1;
        record[1] &= 3;
        read_apart(record, size, &r, &block);
        free(block);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_enums),
        cmocka_unit_test(test_kept),       cmocka_unit_test(test_unwritable),
        cmocka_unit_test(test_truncated),  cmocka_unit_test(test_flipped),
        cmocka_unit_test(test_noise),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
