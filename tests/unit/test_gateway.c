/* The gateway check: whose a name is, how many there are in an hour, and what the book does about
 * it. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/gateway.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/organisation.h"
#include "desk.h"
#include "store/statedb_block.h"

/* -- names ----------------------------------------------------------------------------------- */

static const struct {
    const char *helo, *organisation;
} names[] = {
    {"pc5.far.example", "far.example"},
    {"FAR.Example.", "far.example"},
    {"a.b.c.co.jp", "c.co.jp"},
    {"co.jp", "co.jp"},
    {"pc5", "pc5"},
    {"pc5.local", "pc5.local"},
    {"a.pc5.local", "pc5.local"},
    {"[192.168.1.5]", "192.168.1.5"},
    {"192.168.1.5", "192.168.1.5"},
    {"b\xc3\xbc"
     "cher.example",
     "xn--bcher-kva.example"},
    {"two words", "two words"},
    {"", ""},
    {"[", ""},
};

static void whose_a_name_is(void **state)
{
    char organisation[ADDRESS_DOMAIN_ROOM], longest[2000];

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        organisation_of_helo(names[i].helo, strlen(names[i].helo), organisation);
        assert_string_equal(organisation, names[i].organisation);
    }
    memset(longest, 'a', sizeof longest);
    organisation_of_helo(longest, sizeof longest, organisation);
    assert_int_equal(strlen(organisation), ADDRESS_DOMAIN_ROOM - 1);
    organisation_of_helo("a\0b", 3, organisation);
    assert_string_equal(organisation, "a");
}

/* -- counting -------------------------------------------------------------------------------- */

#define HASH(n) ((uint64_t)(n) << 32 | 7)
#define HOUR_MS INT64_C(3600000)

static void different_names_of_an_hour(void **state)
{
    struct gateway *gateway = gateway_new(10);
    struct gateway_seen seen = {0, 0};

    (void)state;
    assert_non_null(gateway);
    for (unsigned i = 1; i <= 30; i++) {
        seen = gateway_note(gateway, 1, HASH(i), HASH(i % 3 + 1), 60000 * i);
        assert_int_equal(seen.helos, i);
        assert_int_equal(seen.senders, i < 3 ? i : 3);
    }
    /* no HELO, no sender: nothing more */
    seen = gateway_note(gateway, 1, 0, 0, 60000 * 30);
    assert_int_equal(seen.helos, 30);
    assert_int_equal(seen.senders, 3);
    /* another client has seen nothing of it */
    assert_int_equal(gateway_note(gateway, 2, HASH(1), 0, 60000 * 30).helos, 1);
    /* the first name is an hour old; the second will be a minute later, unless it is said again */
    assert_int_equal(gateway_note(gateway, 1, HASH(30), 0, 60000 + HOUR_MS - 1000).helos, 30);
    assert_int_equal(gateway_note(gateway, 1, HASH(2), 0, 60000 + HOUR_MS).helos, 29);
    assert_int_equal(gateway_note(gateway, 1, 0, 0, 120000 + HOUR_MS).helos, 29);
    assert_int_equal(gateway_note(gateway, 1, 0, 0, 180000 + HOUR_MS).helos, 28);
    gateway_forget(gateway, 1);
    gateway_forget(gateway, 3);
    seen = gateway_note(gateway, 1, HASH(1), 0, 180000 + HOUR_MS);
    assert_int_equal(seen.helos, 1);
    assert_int_equal(seen.senders, 0);
    gateway_free(gateway);
    gateway_free(NULL);
}

static void bounded(void **state)
{
    struct gateway *gateway = gateway_new(100);
    struct gateway_seen seen = {0, 0};

    (void)state;
    for (unsigned i = 1; i <= 1000; i++) {
        seen = gateway_note(gateway, 1, HASH(i), HASH(i), 1000 * i);
    }
    assert_int_equal(seen.helos, GATEWAY_NAMES);
    assert_int_equal(seen.senders, GATEWAY_NAMES);
    /* the names that are kept are the last ones */
    assert_int_equal(gateway_note(gateway, 1, 0, 0, 940000 + HOUR_MS).helos, 60);
    /* more clients than room: the one that was quiet for longest goes */
    for (unsigned i = 2; i <= 100; i++) {
        gateway_note(gateway, i, HASH(i), 0, 2000000 + 1000 * i);
        gateway_note(gateway, i, HASH(i + 1), 0, 2000000 + 1000 * i);
    }
    gateway_note(gateway, 1, HASH(5), 0, 2200000);
    gateway_note(gateway, 101, HASH(5), 0, 2200000);
    assert_int_equal(gateway_note(gateway, 3, 0, 0, 2200000).helos, 2);
    assert_int_equal(gateway_note(gateway, 2, HASH(1), 0, 2200000).helos, 1);
    gateway_free(gateway);
}

/* -- the book -------------------------------------------------------------------------------- */

static const struct row enforced[] = {
    {TABLE_LOCAL_DOMAIN, 1, "example.jp|#0|ours"}, {TABLE_CLIENT_HOST, 1, "127.0.0.1|~"},
    {TABLE_CLIENT_HOST, 2, "192.0.2.0/24|~"},      {TABLE_CHECK_MODE, 1, "gateway|enforce"},
    {TABLE_SETTING, 1, "gateway_names|#5"},        {TABLE_NONE, 0, NULL},
};

static const struct row observed[] = {
    {TABLE_LOCAL_DOMAIN, 1, "example.jp|#0|ours"},
    {TABLE_CLIENT_HOST, 2, "192.0.2.0/24|~"},
    {TABLE_CHECK_MODE, 1, "gateway|observe"},
    {TABLE_SETTING, 1, "gateway_names|#5"},
    {TABLE_NONE, 0, NULL},
};

/* One recipient; %u in helo and sender becomes n. */
static struct judged send_one(struct desk *desk, enum post post, const char *client,
                              const char *helo, const char *sender, unsigned n,
                              const char *recipient)
{
    char names_of[2][100];
    struct facts facts = {
        .post = post,
        .client_name = {"", 0},
        .host = {"mail.example.jp", 15},
        .login = {"", 0},
        .recipient = {recipient, strlen(recipient)},
    };
    struct question question = {&facts, "session", "", REFUSED_BY_NOBODY, 0};
    struct hold hold = {desk->policy, 1, NULL};
    struct message message;
    struct judged judged;

    for (int i = 0; i < 2; i++) {
        const char *text = i == 0 ? helo : sender, *mark = strchr(text, '%');
        int before = mark != NULL ? (int)(mark - text) : (int)strlen(text);
        snprintf(names_of[i], sizeof names_of[i], "%.*s", before, text);
        if (mark != NULL) {
            snprintf(names_of[i] + before, sizeof names_of[i] - (size_t)before, "%u%s", n,
                     mark + 1);
        }
    }
    facts.helo = (struct text){names_of[0], strlen(names_of[0])};
    facts.sender = (struct text){names_of[1], strlen(names_of[1])};
    facts.client_known = ip_parse(client, &facts.client);
    memset(&message, 0, sizeof message);
    assert_int_equal(message_begin(&message, facts.sender.bytes, facts.sender.size, 10), STATUS_OK);
    book_judge(desk->book, &hold, &question, post == POST_MILTER ? &message : NULL, desk->now,
               &judged);
    book_end(desk->book, &message, OUTCOME_ACCEPTED, "QUEUE", desk->now);
    message_end(&message);
    return judged;
}

#define OUT "<friend@elsewhere.example>"

/* Ten messages of each, the policy allows five names: is it called a gateway? */
static const struct {
    const char *what, *client, *helo, *sender, *recipient;
    bool suspected;
} behind[] = {
    {"a NAT", "192.0.2.7", "pc%", "<someone@s%.example>", OUT, true},
    {"a NAT of address literals", "192.0.2.7", "[192.168.1.%]", "<a@s%.example>", OUT, true},
    {"one relay of ours with many senders", "192.0.2.7", "gw.example.jp", "<a@s%.example>", OUT,
     false},
    {"its many machines of one organisation", "192.0.2.7", "pc%.example.jp", "<a@s%.example>", OUT,
     false},
    {"our staff behind a NAT", "192.0.2.7", "pc%", "<user%@example.jp>", OUT, false},
    {"their hosts, one organisation", "192.0.2.7", "pc%", "<a@host%.far.example>", OUT, false},
    {"bounces", "192.0.2.7", "pc%", "<>", OUT, false},
    {"mail to us", "192.0.2.7", "pc%", "<someone@s%.example>", "<taro@example.jp>", false},
    {"this machine", "127.0.0.1", "pc%", "<someone@s%.example>", OUT, false},
};

static void who_is_suspected(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof behind / sizeof behind[0]; i++) {
        struct desk desk;
        bool suspected = false;
        desk_open(&desk, enforced);
        for (unsigned n = 1; n <= 10 && !suspected; n++) {
            struct judged judged = send_one(&desk, POST_MILTER, behind[i].client, behind[i].helo,
                                            behind[i].sender, n, behind[i].recipient);
            suspected = judged.verdict.reason == REASON_GATEWAY_SUSPECTED;
            if (suspected && n != 6) {
                fail_msg("%s: suspected at %u names, not at 6", behind[i].what, n);
            }
        }
        if (suspected != behind[i].suspected) {
            fail_msg("%s: expected %d, got %d", behind[i].what, behind[i].suspected, suspected);
        }
        desk_close(&desk);
    }
}

#define NAT "192.0.2.7", "pc%", "<someone@s%.example>"

static bool copy_block(void *context, const struct block *block)
{
    *(struct block *)context = *block;
    return true;
}

static void enforced_it_suspends(void **state)
{
    struct desk desk;
    struct block block;
    struct statedb *db = NULL;
    struct why why = {""};

    (void)state;
    desk_open(&desk, enforced);
    for (unsigned n = 1; n <= 5; n++) {
        assert_int_equal(send_one(&desk, POST_MILTER, NAT, n, OUT).verdict.action, ACTION_PASS);
    }
    struct judged judged = send_one(&desk, POST_MILTER, NAT, 6, OUT);
    assert_int_equal(judged.verdict.reason, REASON_GATEWAY_SUSPECTED);
    assert_int_equal(judged.verdict.rule.table, TABLE_CLIENT_HOST);
    assert_int_equal(judged.verdict.rule.row, 2);
    assert_string_equal(judged.blocked, "relay:192.0.2.7");
    /* at both doors, also for a name that is known; mail to us goes on, others are not concerned */
    assert_int_equal(send_one(&desk, POST_MILTER, NAT, 1, OUT).verdict.reason,
                     REASON_RELAY_SUSPENDED);
    assert_int_equal(send_one(&desk, POST_DOOR, NAT, 1, OUT).verdict.reason,
                     REASON_RELAY_SUSPENDED);
    assert_int_equal(send_one(&desk, POST_MILTER, NAT, 7, "<taro@example.jp>").verdict.reason,
                     REASON_PASS_LOCAL);
    assert_int_equal(
        send_one(&desk, POST_MILTER, "192.0.2.8", "pc8", "<a@s8.example>", 0, OUT).verdict.reason,
        REASON_PASS_CLIENT_HOST);
    /* the row, and why */
    assert_int_equal(recorder_step(desk.recorder, desk.policy, desk.now, &why), STATUS_OK);
    assert_int_equal(statedb_open(desk.state, STATEDB_READ, 1000, &db, NULL, &why), STATUS_OK);
    memset(&block, 0, sizeof block);
    assert_int_equal(statedb_blocks(db, copy_block, &block, &why), STATUS_OK);
    statedb_close(db);
    assert_string_equal(block.subject, "relay:192.0.2.7");
    assert_int_equal(block.reason, REASON_GATEWAY_SUSPECTED);
    assert_int_equal(block.until - block.since, 86400000);
    assert_int_equal(block.number, judged.number);
    assert_string_equal(block.note,
                        "6 HELO names and 6 sender domains of different organisations in an hour");
    /* killed and started again: still suspended */
    recorder_close(desk.recorder);
    book_free(desk.book);
    open_book(&desk);
    assert_int_equal(recorder_step(desk.recorder, desk.policy, desk.now, &why), STATUS_OK);
    assert_int_equal(send_one(&desk, POST_DOOR, NAT, 1, OUT).verdict.reason,
                     REASON_RELAY_SUSPENDED);
    desk_close(&desk);
}

/* Lifted, it counts from nothing; and the next suspension is twice as long. */
static void lifted(void **state)
{
    struct desk desk;
    struct block block;
    struct why why = {""};

    (void)state;
    desk_open(&desk, enforced);
    for (unsigned n = 1; n <= 6; n++) {
        send_one(&desk, POST_MILTER, NAT, n, OUT);
    }
    assert_int_equal(book_block_key(desk.book, desk.policy, "relay:192.0.2.7", &block, &why),
                     STATUS_OK);
    assert_true(book_lift(desk.book, block.key));
    for (unsigned n = 1; n <= 5; n++) {
        assert_int_equal(send_one(&desk, POST_MILTER, NAT, n, OUT).verdict.action, ACTION_PASS);
    }
    assert_string_equal(send_one(&desk, POST_MILTER, NAT, 6, OUT).blocked, "relay:192.0.2.7");
    desk_close(&desk);
}

static void observed_it_only_says(void **state)
{
    struct desk desk;
    struct block block;
    struct statedb *db = NULL;
    struct why why = {""};

    (void)state;
    desk_open(&desk, observed);
    for (unsigned n = 1; n <= 10; n++) {
        struct judged judged = send_one(&desk, POST_MILTER, NAT, n, OUT);
        assert_int_equal(judged.verdict.reason, REASON_PASS_CLIENT_HOST);
        assert_int_equal(judged.verdict.observed, n > 5);
        assert_int_equal(judged.verdict.observed_reason,
                         n > 5 ? REASON_GATEWAY_SUSPECTED : REASON_NONE);
        assert_string_equal(judged.blocked, "");
    }
    assert_int_equal(recorder_step(desk.recorder, desk.policy, desk.now, &why), STATUS_OK);
    assert_int_equal(statedb_open(desk.state, STATEDB_READ, 1000, &db, NULL, &why), STATUS_OK);
    memset(&block, 0, sizeof block);
    assert_int_equal(statedb_blocks(db, copy_block, &block, &why), STATUS_OK);
    statedb_close(db);
    assert_string_equal(block.subject, "");
    desk_close(&desk);
}

/* An hour later the names of the hour before do not count. */
static void an_hour_later(void **state)
{
    struct desk desk;

    (void)state;
    desk_open(&desk, enforced);
    for (unsigned n = 1; n <= 15; n++) {
        assert_int_equal(send_one(&desk, POST_MILTER, NAT, n, OUT).verdict.action, ACTION_PASS);
        if (n % 5 == 0) {
            desk.now.wall += HOUR_MS;
            desk.now.steady += HOUR_MS;
        }
    }
    desk_close(&desk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whose_a_name_is),
        cmocka_unit_test(different_names_of_an_hour),
        cmocka_unit_test(bounded),
        cmocka_unit_test(who_is_suspected),
        cmocka_unit_test(enforced_it_suspends),
        cmocka_unit_test(lifted),
        cmocka_unit_test(observed_it_only_says),
        cmocka_unit_test(an_hour_later),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
