/* What one message remembers: equal mailboxes have one verdict, all of it. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "live/message.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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

/* What the MTA says two recipients have come to: do they become one? */
static const struct {
    const char *a[3], *b[3]; /* mailer, host, user */
    bool equal;
} resolved[] = {
    {{"local", "", "taro"}, {"local", "", "taro"}, true},
    {{"local", "", "taro"}, {"local", NULL, "taro"}, true},
    {{"relay", "hub", "taro@example.jp"}, {"relay", "hub", "taro@example.jp"}, true},
    {{"local", "", "taro"}, {"local", "", "hanako"}, false},
    {{"local", "", "taro"}, {"local", "", "taro+x"}, false},
    {{"local", "", "taro"}, {"local", "", "tar"}, false},
    {{"local", "", "taro"}, {"relay", "", "taro"}, false},
    {{"relay", "hub", "taro"}, {"relay", "hub2", "taro"}, false},
    {{"relay", "hub", "taro"}, {"relay", "", "hubtaro"}, false},
    {{"relay", "hub", "taro"}, {"relayhub", "", "taro"}, false},
    /* refused or not said: equal to nothing, and not to itself */
    {{"error", "5.1.1", "x"}, {"error", "5.1.1", "x"}, false},
    {{NULL, "", "taro"}, {NULL, "", "taro"}, false},
    {{"local", "", NULL}, {"local", "", NULL}, false},
};

/* The growth of the entries that finds no memory, and how many are remembered then. */
static const struct {
    int growth;
    uint64_t remembered;
} failures[] = {{1, 4}, {2, 8}, {3, 16}, {0, 20}};

/* ---- an allocator that fails ---- */

void *__real_realloc(void *block, size_t size);
void *__wrap_realloc(void *block, size_t size);

static int fail_at; /* the realloc that fails, 0 = none */
static int growth;

void *__wrap_realloc(void *block, size_t size)
{
    growth++;
    return growth == fail_at ? NULL : __real_realloc(block, size);
}

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

static void test_resolved(void **state)
{
    char user[2000];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(resolved); i++) {
        uint64_t a = message_resolved(resolved[i].a[0], resolved[i].a[1], resolved[i].a[2]);
        uint64_t b = message_resolved(resolved[i].b[0], resolved[i].b[1], resolved[i].b[2]);
        if ((a != 0 && a == b) != resolved[i].equal)
            fail_msg("row %zu is taken for %s", i, resolved[i].equal ? "two" : "one");
    }
    memset(user, 'x', sizeof user);
    user[sizeof user - 1] = '\0';
    assert_true(message_resolved("local", "", user) == 0); /* not cut: another may begin so */
}

/* Only what has passed and is ours is found again by what it came to. */
static const struct {
    enum action action;
    bool local;
    uint64_t remembered, asked;
    bool found;
} passes[] = {
    {ACTION_PASS, true, 7, 7, true},    {ACTION_PASS, false, 7, 7, false},
    {ACTION_REFUSE, true, 7, 7, false}, {ACTION_DEFER, true, 7, 7, false},
    {ACTION_PASS, true, 7, 8, false},   {ACTION_PASS, true, 0, 0, false},
};

static void test_passes(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(passes); i++) {
        struct message message = {0};
        struct verdict verdict, back;
        uint64_t number = 0;

        memset(&verdict, 0, sizeof verdict);
        verdict.action = passes[i].action;
        verdict.reason = REASON_PASS_LOCAL;
        verdict.rule = (struct rule){TABLE_LOCAL_DOMAIN, 3};
        verdict.recipient_local = passes[i].local;
        assert_int_equal(message_begin(&message, "<a@far.example>", 15, 3), STATUS_OK);
        assert_true(message_remember(&message, 42, passes[i].remembered, &verdict, 9));
        if (message_recall_pass(&message, passes[i].asked, &back, &number) != passes[i].found)
            fail_msg("row %zu is %sfound", i, passes[i].found ? "not " : "");
        if (passes[i].found) {
            assert_true(number == 9 && back.reason == REASON_PASS_LOCAL && back.recipient_local);
            assert_true(back.action == ACTION_PASS && back.rule.row == 3);
        }
        message_end(&message);
    }
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
    assert_true(message_remember(&message, 42, 0, &verdict, UINT64_MAX));
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
    assert_true(message_remember(&message, 42, 0, &verdict, 1));
    assert_true(message_recall(&message, 42, &back, &number));
    assert_int_equal(back.action, ACTION_DEFER);
    assert_true(message_remember(&message, 43, 0, &verdict, 2));
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
    assert_false(message_remember(&message, 1, 0, &verdict, 1)); /* zeroed: no message */
    assert_false(message_recall(&message, 1, &back, &number));
    assert_int_equal(message_begin(&message, "<a@far.example>", 15, 2), STATUS_OK);
    assert_true(message_remember(&message, 0, 0, &verdict, 1)); /* no mailbox takes room, too */
    assert_true(message_remember(&message, 2, 0, &verdict, 2));
    assert_false(message_remember(&message, 3, 0, &verdict, 3));
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
    assert_false(message_remember(&message, 1, 0, &verdict, 1));
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
        assert_true(message_remember(&message, i, 0, &verdict, i + 7));
        assert_true(message.held <= 999);
    }
    assert_false(message_remember(&message, 1000, 0, &verdict, 1));
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
    for (size_t i = 0; i < COUNT_OF(failures); i++) {
        struct message message = {0};
        struct verdict verdict;
        uint64_t given = 0;

        memset(&verdict, 0, sizeof verdict);
        assert_int_equal(message_begin(&message, "", 0, 20), STATUS_OK);
        growth = 0;
        fail_at = failures[i].growth;
        while (!message.full && message_remember(&message, given + 1, 0, &verdict, 1)) {
            given++;
        }
        fail_at = 0;
        if (given != failures[i].remembered || message.full != (failures[i].growth > 0)) {
            fail_msg("growth %d: %d are remembered", failures[i].growth, (int)given);
        }
        assert_false(message_remember(&message, given + 1, 0, &verdict, 1));
        assert_true(message_knows(&message, 1) && message_knows(&message, given));
        assert_false(message_knows(&message, given + 1));
        message_end(&message);
        assert_false(message.full);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pairs),          cmocka_unit_test(test_resolved),
        cmocka_unit_test(test_passes),         cmocka_unit_test(test_key_is_random),
        cmocka_unit_test(test_all_comes_back), cmocka_unit_test(test_room),
        cmocka_unit_test(test_many),           cmocka_unit_test(test_no_memory),
    };

    message_hash_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
