/* Login windows: open until their time, one a client, bounded; and the book that judges by them. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/windowlist.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "desk.h"
#include "store/statedb_request.h"
#include "store/statedb_window.h"

/* -- the list -------------------------------------------------------------------------------- */

static struct window window_of(unsigned n, const char *login, int64_t until)
{
    struct window window = {.until_steady = until};
    char text[32];

    snprintf(text, sizeof text, "203.0.%u.%u", n / 256, n % 256);
    assert_true(ip_parse(text, &window.client));
    snprintf(window.login, sizeof window.login, "%s", login);
    return window;
}

static void open_until_its_time(void **state)
{
    struct windowlist *list = windowlist_new(10);
    struct window window = window_of(7, "taro", 1000), other = window_of(8, "taro", 1000);

    (void)state;
    assert_non_null(list);
    assert_null(windowlist_find(list, &window.client, 0));
    assert_true(windowlist_put(list, &window));
    assert_non_null(windowlist_find(list, &window.client, 999));
    assert_null(windowlist_find(list, &window.client, 1000));
    assert_null(windowlist_find(list, &other.client, 0));
    /* the latest login is who sits there */
    window = window_of(7, "hanako", 2000);
    assert_true(windowlist_put(list, &window));
    assert_int_equal(windowlist_count(list), 1);
    assert_string_equal(windowlist_find(list, &window.client, 1500)->login, "hanako");
    assert_true(windowlist_remove(list, &window.client));
    assert_false(windowlist_remove(list, &window.client));
    assert_null(windowlist_find(list, &window.client, 0));
    windowlist_free(list);
    windowlist_free(NULL);
}

/* Against a plain array, in an order that is none. */
static void as_an_array_would(void **state)
{
    enum { CLIENTS = 300, STEPS = 20000 };
    static int64_t until[CLIENTS];
    struct windowlist *list = windowlist_new(CLIENTS);
    uint32_t chance = 12345;

    (void)state;
    for (int64_t now = 1; now < STEPS; now++) {
        chance = chance * 1664525 + 1013904223;
        unsigned n = (chance >> 8) % CLIENTS;
        struct window window = window_of(n, "taro", now + (chance >> 20) % 500);
        if (chance >> 30 == 0) {
            assert_int_equal(windowlist_remove(list, &window.client), until[n] != 0);
            until[n] = 0;
        } else if (chance >> 30 == 1) {
            size_t gone = 0;
            for (unsigned i = 0; i < CLIENTS; i++) {
                gone += until[i] != 0 && until[i] <= now;
                until[i] = until[i] <= now ? 0 : until[i];
            }
            assert_int_equal(windowlist_sweep(list, now), gone);
        } else {
            assert_true(windowlist_put(list, &window));
            until[n] = window.until_steady;
        }
        for (unsigned i = n; i < n + 3; i++) {
            struct window asked = window_of(i % CLIENTS, "", 0);
            assert_int_equal(windowlist_find(list, &asked.client, now) != NULL,
                             until[i % CLIENTS] > now);
        }
    }
    windowlist_free(list);
}

static void full(void **state)
{
    struct windowlist *list = windowlist_new(100);
    struct window window;

    (void)state;
    for (unsigned i = 0; i < 101; i++) {
        window = window_of(i, "taro", 5000 - 10 * ((i + 50) % 101));
        assert_true(windowlist_put(list, &window));
    }
    assert_int_equal(windowlist_count(list), 100);
    window = window_of(50, "", 0); /* would have ended first */
    assert_null(windowlist_find(list, &window.client, 0));
    window = window_of(49, "", 0);
    assert_non_null(windowlist_find(list, &window.client, 0));
    window = window_of(100, "", 0);
    assert_non_null(windowlist_find(list, &window.client, 0));
    windowlist_free(list);
}

/* -- the book -------------------------------------------------------------------------------- */

static const struct row rows[] = {
    {TABLE_LOCAL_DOMAIN, 1, "example.jp|#0|ours"},
    {TABLE_CLIENT_HOST, 1, "192.0.2.0/28|~"},
    {TABLE_IP_RANGE, 1, "203.0.113.66|reject|strangers|~|~"},
    {TABLE_IDENTITY, 1, "*|#1|own|~"},
    {TABLE_IDENTITY, 2, "closed|#0|own|~"},
    {TABLE_IDENTITY_HOST, 1, "desk|192.0.2.99|~"},
    {TABLE_RECEIVE_ONLY, 1, "postmaster"},
    {TABLE_SPAM_TRAP, 1, "trap@example.jp|#600"},
    {TABLE_RATE_LIMIT, 1, "window|login-window|*|recipients|out|#3|#3600|tempfail|#600"},
    {TABLE_SETTING, 1, "login_domain|example.jp"},
    {TABLE_SETTING, 2, "login_window_seconds|#60"},
    {TABLE_NONE, 0, NULL},
};

static void pass_time(struct desk *desk, int64_t ms)
{
    desk->now.wall += ms;
    desk->now.steady += ms;
}

static struct judged judge(struct desk *desk, enum post post, const char *client, const char *login,
                           const char *sender, const char *recipient)
{
    struct facts facts = desk_facts(post, client, login, sender, recipient);
    struct question question = {&facts, "session", "", REFUSED_BY_NOBODY, 0};
    struct hold hold = {desk->policy, 1, NULL};
    struct message message;
    struct judged judged;

    memset(&message, 0, sizeof message);
    assert_int_equal(message_begin(&message, sender, strlen(sender), 10), STATUS_OK);
    book_judge(desk->book, &hold, &question, post == POST_MILTER ? &message : NULL, desk->now,
               &judged);
    book_end(desk->book, &message, OUTCOME_ACCEPTED, "QUEUE", desk->now);
    message_end(&message);
    return judged;
}

static enum reason relay(struct desk *desk, enum post post)
{
    return judge(desk, post, "203.0.113.9", "", "<taro@example.jp>", "<friend@far.example>")
        .verdict.reason;
}

/* What the tool asks, through state.db, and what it is told. */
static bool ask(struct desk *desk, const char *verb, const char *client, const char *login,
                int64_t seconds, int64_t late, char answer[256])
{
    struct statedb_request request;
    struct statedb *db = NULL;
    struct why why = {""};

    assert_int_equal(recorder_step(desk->recorder, desk->policy, desk->now, &why), STATUS_OK);
    memset(&request, 0, sizeof request);
    snprintf(request.verb, sizeof request.verb, "%s", verb);
    snprintf(request.subject, sizeof request.subject, "%s", client);
    snprintf(request.note, sizeof request.note, "%s", login);
    request.seconds = seconds;
    assert_int_equal(statedb_open(desk->state, STATEDB_TOOL, 1000, &db, NULL, &why), STATUS_OK);
    assert_int_equal(statedb_ask(db, &request, desk->now.wall - late, &why), STATUS_OK);
    if (recorder_step(desk->recorder, desk->policy, desk->now, &why) != STATUS_OK) {
        fail_msg("%s", why.text);
    }
    assert_int_equal(statedb_answer(db, &request, &why), STATUS_OK);
    assert_true(request.answered);
    statedb_close(db);
    snprintf(answer, 256, "%s", request.answer);
    return request.done;
}

static bool open_window(struct desk *desk)
{
    char answer[256];
    return ask(desk, "window-open", "203.0.113.9", "taro", 0, 0, answer);
}

static bool count_window(void *context, const struct window *window)
{
    (void)window;
    ++*(size_t *)context;
    return true;
}

static size_t rows_in_state(struct desk *desk)
{
    struct statedb *db = NULL;
    struct why why = {""};
    size_t count = 0;

    assert_int_equal(statedb_open(desk->state, STATEDB_READ, 1000, &db, NULL, &why), STATUS_OK);
    assert_int_equal(statedb_windows(db, count_window, &count, &why), STATUS_OK);
    statedb_close(db);
    return count;
}

static void relays_for_its_seconds(void **state)
{
    struct desk desk;
    struct why why;

    (void)state;
    desk_open(&desk, rows);
    assert_int_equal(relay(&desk, POST_DOOR), REASON_RELAY_DENIED);
    assert_true(open_window(&desk));
    assert_int_equal(rows_in_state(&desk), 1);
    pass_time(&desk, 59999);
    assert_int_equal(relay(&desk, POST_DOOR), REASON_PASS_LOGIN_WINDOW);
    struct judged judged =
        judge(&desk, POST_MILTER, "203.0.113.9", "", "<taro@example.jp>", "<friend@far.example>");
    assert_int_equal(judged.verdict.reason, REASON_PASS_LOGIN_WINDOW);
    assert_int_equal(judged.verdict.kind, KIND_WINDOW);
    assert_string_equal(judged.window, "taro");
    /* another client, another sender; a real login wins */
    assert_int_equal(
        judge(&desk, POST_DOOR, "203.0.113.10", "", "<taro@example.jp>", "<friend@far.example>")
            .verdict.reason,
        REASON_RELAY_DENIED);
    assert_int_equal(
        judge(&desk, POST_MILTER, "203.0.113.9", "", "<hanako@example.jp>", "<friend@far.example>")
            .verdict.reason,
        REASON_SENDER_NOT_YOURS);
    assert_int_equal(judge(&desk, POST_MILTER, "203.0.113.9", "hanako", "<hanako@example.jp>",
                           "<friend@far.example>")
                         .verdict.reason,
                     REASON_PASS_IDENTITY);
    pass_time(&desk, 1);
    assert_int_equal(relay(&desk, POST_DOOR), REASON_RELAY_DENIED);
    assert_int_equal(relay(&desk, POST_MILTER), REASON_SENDER_SPOOFED);
    assert_int_equal(recorder_step(desk.recorder, desk.policy, desk.now, &why), STATUS_OK);
    assert_int_equal(rows_in_state(&desk), 0);
    desk_close(&desk);
}

static void its_own_limit(void **state)
{
    struct desk desk;

    (void)state;
    desk_open(&desk, rows);
    assert_true(open_window(&desk));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(relay(&desk, POST_MILTER), REASON_PASS_LOGIN_WINDOW);
    }
    struct judged judged =
        judge(&desk, POST_MILTER, "203.0.113.9", "", "<taro@example.jp>", "<friend@far.example>");
    assert_int_equal(judged.verdict.reason, REASON_RATE_LOGIN_WINDOW);
    assert_int_equal(judged.verdict.action, ACTION_DEFER);
    assert_int_equal(judged.verdict.limit.subject, SUBJECT_WINDOW);
    /* another window of the same client has no other budget; a login has nothing to do with it */
    assert_true(open_window(&desk));
    assert_int_equal(relay(&desk, POST_MILTER), REASON_RATE_LOGIN_WINDOW);
    assert_int_equal(judge(&desk, POST_MILTER, "203.0.113.9", "taro", "<taro@example.jp>",
                           "<friend@far.example>")
                         .verdict.reason,
                     REASON_PASS_IDENTITY);
    /* a reset of the client is one of its windows */
    struct why why;
    size_t counts = 0;
    assert_int_equal(
        book_reset(desk.book, desk.policy, "client:203.0.113.9", desk.now, &counts, &why),
        STATUS_OK);
    assert_int_equal(relay(&desk, POST_MILTER), REASON_PASS_LOGIN_WINDOW);
    desk_close(&desk);
}

/* Each after one that is open: the earlier window must not matter. */
static const struct {
    const char *client, *login;
    int64_t seconds, late;
    bool done;
    const char *answer;
} asked[] = {
    {"203.0.113.9", "taro", 0, 0, true, "203.0.113.9: may relay as taro for 60 seconds"},
    {"203.0.113.9", "taro", 30, 5000, true, "203.0.113.9: may relay as taro for 30 seconds"},
    {"2001:DB8::9", "taro", 0, 0, true, "2001:db8::9: may relay as taro for 60 seconds"},
    {"203.0.113.9", "taro", 61, 0, false, "61 seconds: a login window is open for at most 60"},
    {"203.0.113.9", "taro", 0, 11000, false, "the request has waited too long"},
    {"203.0.113.9", "taro", 0, -11000, false, "the request has waited too long"},
    {"localhost", "taro", 0, 0, false, "localhost: not an IP address"},
    {"127.0.0.1", "taro", 0, 0, false, "127.0.0.1 is this machine"},
    {"::ffff:127.0.0.9", "taro", 0, 0, false, "::ffff:127.0.0.9 is this machine"},
    {"203.0.113.9", "", 0, 0, false, "no login"},
    {"203.0.113.9", "closed", 0, 0, false,
     "closed from 203.0.113.9: no window (identity-may-not-send)"},
    {"203.0.113.9", "postmaster", 0, 0, false,
     "postmaster from 203.0.113.9: no window (identity-receive-only)"},
    {"203.0.113.9", "desk", 0, 0, false, "desk from 203.0.113.9: no window (identity-wrong-host)"},
    {"203.0.113.66", "taro", 0, 0, false, "203.0.113.66: an ip_range row"},
    {"192.0.2.5", "taro", 0, 0, true, "192.0.2.5: a client host, it needs no window"},
};

static void what_is_opened(void **state)
{
    struct desk desk;
    char answer[256];

    (void)state;
    desk_open(&desk, rows);
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
        bool done = ask(&desk, "window-open", asked[i].client, asked[i].login, asked[i].seconds,
                        asked[i].late, answer);
        if (strncmp(answer, asked[i].answer, strlen(asked[i].answer)) != 0 ||
            done != asked[i].done) {
            fail_msg("%s %s: expected %d %s, got %d %s", asked[i].client, asked[i].login,
                     asked[i].done, asked[i].answer, done, answer);
        }
    }
    assert_int_equal(rows_in_state(&desk), 2);
    desk_close(&desk);
}

/* A policy without the setting, and one without a limit. */
static void off(void **state)
{
    struct row changed[sizeof rows / sizeof rows[0]];
    struct desk desk;
    char answer[256];

    (void)state;
    memcpy(changed, rows, sizeof rows);
    changed[10] = rows[11];
    desk_open(&desk, rows);
    assert_true(open_window(&desk));
    assert_int_equal(relay(&desk, POST_DOOR), REASON_PASS_LOGIN_WINDOW);
    /* switched off: what is open is closed at once */
    policy_free(desk.policy);
    desk.policy = rows_policy(changed, ROWS_NOW);
    assert_int_equal(relay(&desk, POST_DOOR), REASON_RELAY_DENIED);
    assert_false(ask(&desk, "window-open", "203.0.113.9", "taro", 0, 0, answer));
    assert_string_equal(answer, "login windows are off: the setting login_window_seconds is 0");
    memcpy(changed, rows, sizeof rows);
    changed[8] = (struct row){TABLE_OWN_NAME, 1, "mail.example.jp"};
    policy_free(desk.policy);
    desk.policy = rows_policy(changed, ROWS_NOW);
    assert_false(ask(&desk, "window-open", "203.0.113.10", "taro", 0, 0, answer));
    assert_non_null(strstr(answer, "no rate_limit row with the subject login-window"));
    assert_non_null(strstr(answer, "a window without a limit is not opened"));
    /* a row that is not asked is none */
    memcpy(changed, rows, sizeof rows);
    changed[4] = (struct row){TABLE_EXEMPTION, 1, "203.0.113.10|rate|~|~"};
    policy_free(desk.policy);
    desk.policy = rows_policy(changed, ROWS_NOW);
    assert_false(ask(&desk, "window-open", "203.0.113.10", "taro", 0, 0, answer));
    assert_non_null(strstr(answer, "an exemption spares it"));
    assert_true(ask(&desk, "window-open", "203.0.113.11", "taro", 0, 0, answer));
    changed[4] = (struct row){TABLE_CHECK_MODE, 1, "rate|observe"};
    policy_free(desk.policy);
    desk.policy = rows_policy(changed, ROWS_NOW);
    assert_false(ask(&desk, "window-open", "203.0.113.11", "taro", 0, 0, answer));
    assert_string_equal(answer,
                        "the check rate is not enforced: a window without a limit is not opened");
    desk_close(&desk);
}

static void closed_and_restarted(void **state)
{
    struct desk desk;
    char answer[256];

    (void)state;
    desk_open(&desk, rows);
    assert_true(open_window(&desk));
    /* killed and started again within its seconds */
    recorder_close(desk.recorder);
    book_free(desk.book);
    pass_time(&desk, 30000);
    open_book(&desk);
    assert_int_equal(relay(&desk, POST_DOOR), REASON_PASS_LOGIN_WINDOW);
    pass_time(&desk, 30000);
    assert_int_equal(relay(&desk, POST_DOOR), REASON_RELAY_DENIED);
    assert_true(open_window(&desk));
    assert_true(ask(&desk, "window-close", "203.0.113.9", "", 0, 0, answer));
    assert_string_equal(answer, "203.0.113.9: closed");
    assert_false(ask(&desk, "window-close", "203.0.113.9", "", 0, 0, answer));
    assert_string_equal(answer, "203.0.113.9: had no open window");
    assert_int_equal(relay(&desk, POST_DOOR), REASON_RELAY_DENIED);
    recorder_close(desk.recorder);
    book_free(desk.book);
    open_book(&desk);
    assert_int_equal(relay(&desk, POST_DOOR), REASON_RELAY_DENIED);
    desk_close(&desk);
}

/* A login that writes to traps is blocked at the second message, and its window with it; a block on
 * the client takes the window's right to relay. */
static void blocks(void **state)
{
    struct desk desk;
    struct block block;
    struct why why;

    (void)state;
    desk_open(&desk, rows);
    assert_true(open_window(&desk));
    memset(&block, 0, sizeof block);
    block.until = block.until_steady = INT64_MAX;
    assert_int_equal(book_block_key(desk.book, desk.policy, "relay:203.0.113.9", &block, &why),
                     STATUS_OK);
    assert_true(book_block(desk.book, &block, true));
    assert_int_equal(relay(&desk, POST_DOOR), REASON_RELAY_SUSPENDED);
    assert_true(book_lift(desk.book, block.key));
    assert_int_equal(book_block_key(desk.book, desk.policy, "client:203.0.113.9", &block, &why),
                     STATUS_OK);
    assert_true(book_block(desk.book, &block, true));
    assert_int_equal(relay(&desk, POST_MILTER), REASON_RELAY_SUSPENDED);
    assert_true(book_lift(desk.book, block.key));
    assert_int_equal(relay(&desk, POST_DOOR), REASON_PASS_LOGIN_WINDOW);
    for (int i = 0; i < 2; i++) {
        struct judged judged =
            judge(&desk, POST_MILTER, "203.0.113.9", "", "<taro@example.jp>", "<trap@example.jp>");
        assert_int_equal(judged.verdict.reason, REASON_SPAM_TRAP);
        assert_string_equal(judged.blocked, i == 0 ? "" : "relay:203.0.113.9");
    }
    assert_int_equal(relay(&desk, POST_MILTER), REASON_RELAY_SUSPENDED);
    desk_close(&desk);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(open_until_its_time),
        cmocka_unit_test(as_an_array_would),
        cmocka_unit_test(full),
        cmocka_unit_test(relays_for_its_seconds),
        cmocka_unit_test(its_own_limit),
        cmocka_unit_test(what_is_opened),
        cmocka_unit_test(off),
        cmocka_unit_test(closed_and_restarted),
        cmocka_unit_test(blocks),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
