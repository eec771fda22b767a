/* What one message remembers: equal mailboxes have one verdict, all of it. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "live/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

/* ---- rows ---- */

static const struct {
    const char *a, *b;
    bool equal;
} pairs[] = {
    {"<taro@example.jp>", "taro@example.jp", true},
    {"<taro@example.jp>", "<TARO@Example.JP.>", true},
    {"<taro@example.jp>", "<\"ta\\ro\"@example.jp>", true},
    {"<taro>", "<Taro>", true},
    {"<a@[192.0.2.1]>", "<a@[IPv6:::ffff:192.0.2.1]>", true},
    {"<a@xn--wgv71a119e.example>", "<a@\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e.example>", true},
    {"<taro@example.jp>", "<taro@example.jpx>", false},
    {"<taro@example.jp>", "<taro@sub.example.jp>", false},
    {"<taro@example.jp>", "<taro+x@example.jp>", false},
    {"<taro@example.jp>", "<taro>", false},
    {"<taro@example.jp>", "<taro%far.example@example.jp>", false},
    /* the MTA may follow the route: another destination */
    {"<taro@example.jp>", "<@far.example:taro@example.jp>", false},
};

static const char *const no_mailboxes[] = {"",    "<>", "<taro@>", "<a@b@c>", "taro @example.jp",
                                           "\xff"};

/* ---- helpers ---- */

static uint64_t mailbox_of(const char *text)
{
    struct address address;

    address_parse(text, strlen(text), &address);
    return message_mailbox(&address);
}

/* ---- tests ---- */

static void test_pairs(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(pairs); i++) {
        assert_true(mailbox_of(pairs[i].a) != 0);
        if ((mailbox_of(pairs[i].a) == mailbox_of(pairs[i].b)) != pairs[i].equal)
            fail_msg("%s and %s are taken for %s", pairs[i].a, pairs[i].b,
                     pairs[i].equal ? "two" : "one");
    }
    for (size_t i = 0; i < COUNT_OF(no_mailboxes); i++)
        assert_true(mailbox_of(no_mailboxes[i]) == 0);
}

static void test_key_is_random(void **state)
{
    uint64_t before = mailbox_of("<taro@example.jp>");

    (void)state;
    message_hash_start();
    assert_true(mailbox_of("<taro@example.jp>") != before);
}

static void test_all_comes_back(void **state)
{
    struct message message = {0};
    struct verdict verdict, back;
    uint64_t number = 0;

    (void)state;
    assert_int_equal(message_begin(&message, "<a@far.example>", 15, 3), STATUS_OK);
    memset(&verdict, 0, sizeof verdict);
    verdict.action = ACTION_DEFER;
    verdict.reason = REASON_CLIENT_DEFERRED;
    verdict.check = CHECK_LISTED;
    verdict.rule = (struct rule){TABLE_IP_RANGE, INT64_MAX};
    verdict.kind = KIND_SUBMISSION;
    verdict.recipient_local = true;
    verdict.observed = true;
    verdict.observed_reason = REASON_PASS_SUBMISSION;
    verdict.observed_rule = (struct rule){TABLE_SETTING, 7};
    assert_false(message_recall(&message, 42, &back, &number));
    assert_true(message_remember(&message, 42, &verdict, UINT64_MAX));
    memset(&back, 0xff, sizeof back);
    assert_true(message_recall(&message, 42, &back, &number));
    assert_true(number == UINT64_MAX);
    assert_int_equal(back.action, verdict.action);
    assert_int_equal(back.reason, verdict.reason);
    assert_int_equal(back.check, verdict.check);
    assert_int_equal(back.kind, verdict.kind);
    assert_int_equal(back.rule.table, verdict.rule.table);
    assert_true(back.rule.row == verdict.rule.row);
    assert_true(back.recipient_local && back.observed);
    assert_int_equal(back.observed_reason, verdict.observed_reason);
    assert_int_equal(back.observed_rule.table, verdict.observed_rule.table);
    assert_true(back.observed_rule.row == 7);
    for (unsigned i = 0; i < CHECK_COUNT; i++)
        assert_int_equal(back.trail[i].vote, VOTE_NOT_ASKED);
    /* the first of two speaks */
    verdict.recipient_local = verdict.observed = false;
    verdict.action = ACTION_PASS;
    assert_true(message_remember(&message, 42, &verdict, 1));
    assert_true(message_recall(&message, 42, &back, &number));
    assert_int_equal(back.action, ACTION_DEFER);
    assert_true(message_remember(&message, 43, &verdict, 2));
    assert_true(message_recall(&message, 43, &back, &number));
    assert_false(back.recipient_local || back.observed);
    message_end(&message);
}

static void test_room(void **state)
{
    struct message message = {0};
    struct verdict verdict, back;
    uint64_t number;

    (void)state;
    memset(&verdict, 0, sizeof verdict);
    assert_false(message_remember(&message, 1, &verdict, 1)); /* zeroed: no message */
    assert_false(message_recall(&message, 1, &back, &number));
    assert_int_equal(message_begin(&message, "<a@far.example>", 15, 2), STATUS_OK);
    assert_true(message_remember(&message, 0, &verdict, 1)); /* no mailbox takes room, too */
    assert_true(message_remember(&message, 2, &verdict, 2));
    assert_false(message_remember(&message, 3, &verdict, 3));
    assert_false(message_recall(&message, 3, &back, &number));
    assert_false(message_recall(&message, 0, &back, &number)); /* but is never equal to another */
    assert_true(message_recall(&message, 2, &back, &number));
    message.trapped = true;
    message.trap_number = 9;
    assert_int_equal(message_begin(&message, "<a@far.example>", 15, 2), STATUS_OK);
    assert_false(message.trapped);
    assert_int_equal(message.count, 0);
    assert_false(message_recall(&message, 2, &back, &number));
    message_end(&message);
    message_end(&message);
    assert_null(message.entries);
    assert_int_equal(message_begin(&message, "<a@far.example>", 15, 0), STATUS_OK);
    assert_false(message_remember(&message, 1, &verdict, 1));
    message_end(&message);
}

/* Far more than the first entries: each still has its own. */
static void test_many(void **state)
{
    struct message message = {0};
    struct verdict verdict, back;
    uint64_t number;

    (void)state;
    memset(&verdict, 0, sizeof verdict);
    assert_int_equal(message_begin(&message, "", 0, 999), STATUS_OK);
    for (uint64_t i = 1; i <= 999; i++) {
        verdict.rule.row = (int64_t)i * 3;
        assert_false(message_knows(&message, i));
        assert_true(message_remember(&message, i, &verdict, i + 7));
        assert_true(message.held <= 999);
    }
    assert_false(message_remember(&message, 1000, &verdict, 1));
    assert_false(message.full);
    for (uint64_t i = 1; i <= 999; i++) {
        assert_true(message_knows(&message, i));
        assert_true(message_recall(&message, i, &back, &number));
        assert_true(number == i + 7 && back.rule.row == (int64_t)i * 3);
    }
    message_end(&message);
}

/* Memory runs out: that is seen before a verdict is lost, and nothing that was remembered is. */
static void test_no_memory(void **state)
{
    (void)state;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    skip(); /* they end the program where memory ends */
#else
    enum { MOST = 1 << 22 };
    struct message message = {0};
    struct verdict verdict;
    struct rlimit before, nothing;

    memset(&verdict, 0, sizeof verdict);
    assert_int_equal(message_begin(&message, "", 0, MOST), STATUS_OK);
    assert_int_equal(getrlimit(RLIMIT_AS, &before), 0);
    nothing = before;
    nothing.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_AS, &nothing), 0);
    uint64_t given = 0;
    while (given < MOST && !message.full && message_remember(&message, given + 1, &verdict, 1)) {
        given++;
    }
    bool more = message_remember(&message, given + 1, &verdict, 1);
    assert_int_equal(setrlimit(RLIMIT_AS, &before), 0);
    assert_true(message.full && given > 0 && given < MOST);
    assert_false(more);
    assert_true(message_knows(&message, 1) && message_knows(&message, given));
    assert_false(message_knows(&message, given + 1));
    message_end(&message);
    assert_false(message.full);
#endif
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs),          cmocka_unit_test(test_key_is_random),
        cmocka_unit_test(test_all_comes_back), cmocka_unit_test(test_room),
        cmocka_unit_test(test_many),           cmocka_unit_test(test_no_memory),
    };

    message_hash_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
