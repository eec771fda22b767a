/* The judgement: no relay-test form gets through, the checks keep order, nothing is allocated. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/decide.h"

#include <stdio.h>

#include "rows.h"

/* ---- rows ---- */

static const struct row company[] = {
    {TABLE_LOCAL_DOMAIN, 1, "example.jp|#0|ours"},
    {TABLE_LOCAL_DOMAIN, 2, "backup.example|#0|anyone"},
    {TABLE_OWN_NAME, 1, "mail.example.jp"},
    {TABLE_CLIENT_HOST, 1, "127.0.0.0/8|~"},
    {TABLE_CLIENT_HOST, 2, "198.51.100.0/24|~"},
    {TABLE_IP_RANGE, 1, "203.0.113.66|reject|everyone|~|~"},
    {TABLE_EXEMPTION, 1, "203.0.113.77|helo|~|~"},
    {TABLE_IDENTITY, 1, "*|#1|own|~"},
    {TABLE_RECEIVE_ONLY, 1, "postmaster"},
    {TABLE_RECEIVE_ONLY, 2, "abuse"},
    {TABLE_SPAM_TRAP, 1, "bait|#60"},
    {TABLE_CHECK_MODE, 1, "null-sender|observe"},
    {TABLE_SETTING, 1, "login_domain|example.jp"},
    {TABLE_NONE, 0, NULL},
};

/* The forms of relay-forms.tsv that a stranger may have: mail to us. */
static const char *const inbound[] = {"W03", "X02", "C08", "C11", "C13"};

/* What the placeholders of relay-forms.tsv stand for, longest first. */
static const struct {
    const char *name, *value;
} placeholders[] = {
    {"RELAYDOM", "backup.example"},
    {"HOST", "mail.example.jp"},
    {"EXT2", "third.example"},
    {"EXT", "far.example"},
    {"DOM", "example.jp"},
    {"dOm", "eXamPle.jP"},
    {"RND", "qk3v"},
    {"CLI", "tester.example"},
    {"L2", "hanako"},
    {"IP", "192.0.2.1"},
    {"L", "taro"},
    {"U", "victim"},
    {"X", "someone"},
};

/* ---- helpers ---- */

static const struct usage nothing;

static struct verdict judge(const struct policy *policy, enum post post, const char *client,
                            const char *helo, const char *login, const char *sender,
                            const char *recipient)
{
    struct facts facts = {
        .post = post,
        .listener_known = true,
        .client_name = text_from(""),
        .helo = text_from(helo),
        .host = text_from("mail.example.jp"),
        .login = text_from(login),
        .sender = text_from(sender),
        .recipient = text_from(recipient),
    };
    struct verdict verdict;

    facts.client_known = ip_parse(client, &facts.client);
    assert_true(ip_parse("192.0.2.1", &facts.listener));
    memset(&verdict, 0xff, sizeof verdict);
    decide(policy, &facts, &nothing, &verdict);
    return verdict;
}

static bool word_character(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-';
}

static void fill(const char *form, size_t size, char *to, size_t room)
{
    size_t used = 0;

    for (size_t at = 0; at < size;) {
        size_t p = 0;

        for (; p < COUNT_OF(placeholders); p++) {
            size_t length = strlen(placeholders[p].name);

            if (size - at >= length && strncmp(form + at, placeholders[p].name, length) == 0 &&
                (at == 0 || !word_character(form[at - 1])) &&
                (at + length == size || !word_character(form[at + length])))
                break;
        }
        if (p < COUNT_OF(placeholders)) {
            used += (size_t)snprintf(to + used, room - used, "%s", placeholders[p].value);
            at += strlen(placeholders[p].name);
        } else {
            to[used++] = form[at++];
        }
        assert_true(used + 32 < room);
    }
    to[used] = '\0';
}

/* The next <path> of a column, filled; NULL after the last. */
static const char *next_path(const char *column, char *to, size_t room)
{
    const char *start = strchr(column, '<'), *end = start != NULL ? strchr(start, '>') : NULL;

    if (end == NULL)
        return NULL;
    fill(start, (size_t)(end + 1 - start), to, room);
    return end + 1;
}

static bool listed_inbound(const char *id)
{
    for (size_t i = 0; i < COUNT_OF(inbound); i++) {
        if (strcmp(inbound[i], id) == 0)
            return true;
    }
    return false;
}

/* ---- tests ---- */

/* A form, from every sender, with every HELO: to the outside never, to us only if it is listed. */
static size_t check_form(const struct policy *policy, const char *id, const char *senders,
                         const char *recipients)
{
    static const char *const helos[] = {"tester.example", "mail.example.jp", "example.jp",
                                        "[192.0.2.1]",    "localhost",       ""};
    static const char *const clients[] = {"220.86.126.33", "2001:db8::77", "unknown"};
    char sender[512], recipient[512];
    size_t judged = 0, passed = 0;

    for (const char *s = senders; (s = next_path(s, sender, sizeof sender)) != NULL;) {
        for (const char *r = recipients; (r = next_path(r, recipient, sizeof recipient)) != NULL;) {
            for (size_t n = 0; n < COUNT_OF(helos) * COUNT_OF(clients); n++) {
                const char *helo = helos[n % COUNT_OF(helos)];
                const char *client = clients[n / COUNT_OF(helos)];
                struct verdict verdict =
                    judge(policy, POST_MILTER, client, helo, "", sender, recipient);
                struct verdict door = judge(policy, POST_DOOR, client, helo, "", sender, recipient);

                judged++;
                passed += verdict.action == ACTION_PASS;
                if ((verdict.action == ACTION_PASS && !verdict.recipient_local) ||
                    (door.action == ACTION_PASS && !door.recipient_local) ||
                    verdict.kind != KIND_STRANGER)
                    fail_msg("%s: %s could send from %s to %s", id, client, sender, recipient);
                if (strstr(recipient, "far.example") != NULL && door.action == ACTION_PASS)
                    fail_msg("%s: the door lets %s to %s", id, client, recipient);
            }
        }
    }
    if (judged == 0)
        fail_msg("%s holds no form", id);
    if ((passed > 0) != listed_inbound(id))
        fail_msg("%s: %zu of %zu sessions passed", id, passed, judged);
    return judged;
}

static void test_relay_forms(void **state)
{
    struct policy *policy = rows_policy(company, ROWS_NOW);
    const char *folder = getenv("SEKISHO_CASES");
    char path[4096], line[2048];
    size_t forms = 0;
    FILE *file;

    (void)state;
    if (folder == NULL)
        fail_msg("SEKISHO_CASES names no folder");
    snprintf(path, sizeof path, "%s/relay-forms.tsv", folder);
    file = fopen(path, "r");
    if (file == NULL)
        fail_msg("%s cannot be read", path);
    while (fgets(line, sizeof line, file) != NULL) {
        char *columns[5] = {line}, *at = line;
        size_t count = 1;

        if (line[0] == '#' || line[0] == '\n')
            continue;
        for (; count < 5 && (at = strchr(at, '\t')) != NULL; count++) {
            *at++ = '\0';
            columns[count] = at;
        }
        assert_int_equal(count, 5);
        check_form(policy, columns[0], columns[3], columns[4]);
        forms++;
    }
    fclose(file);
    assert_true(forms > 40);
    policy_free(policy);
}

/* All is wrong with this session; with one check after another switched off the next speaks. */
static void test_order(void **state)
{
    static const struct {
        enum check off;
        enum reason reason;
    } steps[] = {
        {CHECK_NONE, REASON_CLIENT_LISTED},   {CHECK_LISTED, REASON_SENDER_SPOOFED},
        {CHECK_SENDER, REASON_HELO_OUR_NAME}, {CHECK_HELO, REASON_SPAM_TRAP},
        {CHECK_TRAP, REASON_PASS_LOCAL},
    };
    struct row rows[COUNT_OF(company) + COUNT_OF(steps)];
    size_t count = COUNT_OF(company) - 1;
    char cells[COUNT_OF(steps)][32];

    (void)state;
    memcpy(rows, company, sizeof company);
    for (size_t i = 0; i < COUNT_OF(steps); i++) {
        struct policy *policy;
        struct verdict verdict;

        if (steps[i].off != CHECK_NONE) {
            snprintf(cells[i], sizeof cells[i], "%s|off", check_name(steps[i].off));
            rows[count++] = (struct row){TABLE_CHECK_MODE, (int64_t)(10 + i), cells[i]};
        }
        rows[count] = (struct row){TABLE_NONE, 0, NULL};
        policy = rows_policy(rows, ROWS_NOW);
        verdict = judge(policy, POST_MILTER, "203.0.113.66", "example.jp", "", "<taro@example.jp>",
                        "<bait@example.jp>");
        assert_string_equal(reason_row(verdict.reason)->name, reason_row(steps[i].reason)->name);
        assert_int_equal(verdict.action, reason_row(steps[i].reason)->action);
        /* what was asked, what was off, and nothing after the one that spoke */
        for (unsigned check = 0; check < CHECK_COUNT; check++) {
            enum vote vote = verdict.trail[check].vote;

            if (verdict.check != CHECK_NONE && check > verdict.check)
                assert_int_equal(vote, VOTE_NOT_ASKED);
            else if (check == verdict.check)
                assert_int_equal(vote, VOTE_REFUSE);
            else
                assert_true(vote == VOTE_NO_OPINION || vote == VOTE_OFF);
        }
        verdict = judge(policy, POST_MILTER, "203.0.113.66", "example.jp", "", "<taro@example.jp>",
                        "<bait%far.example@example.jp>");
        assert_int_equal(verdict.reason, REASON_ADDRESS_ROUTED);
        verdict = judge(policy, POST_DOOR, "203.0.113.66", "example.jp", "", "<taro@example.jp>",
                        "<bait@far.example>");
        assert_int_equal(verdict.reason, REASON_RELAY_DENIED);
        assert_int_equal(verdict.trail[CHECK_LISTED].vote, VOTE_NOT_ASKED);
        policy_free(policy);
    }
}

static void test_trail(void **state)
{
    struct policy *policy = rows_policy(company, ROWS_NOW);
    struct verdict verdict = judge(policy, POST_MILTER, "203.0.113.77", "mail.example.jp", "",
                                   "<someone@far.example>", "<taro@example.jp>");

    (void)state;
    assert_int_equal(verdict.reason, REASON_PASS_LOCAL);
    assert_int_equal(verdict.check, CHECK_NONE);
    assert_int_equal(verdict.trail[CHECK_HELO].vote, VOTE_EXEMPT);
    assert_int_equal(verdict.trail[CHECK_HELO].reason, REASON_HELO_OUR_NAME);
    assert_int_equal(verdict.trail[CHECK_HELO].rule.table, TABLE_OWN_NAME);
    assert_int_equal(verdict.trail[CHECK_HELO].exemption.table, TABLE_EXEMPTION);
    assert_false(verdict.observed);
    verdict = judge(policy, POST_MILTER, "192.0.2.9", "a", "taro", "<>", "<victim@far.example>");
    assert_int_equal(verdict.reason, REASON_PASS_IDENTITY);
    assert_int_equal(verdict.kind, KIND_LOGIN);
    assert_int_equal(verdict.trail[CHECK_NULL_SENDER].vote, VOTE_OBSERVED);
    assert_int_equal(verdict.observed_reason, REASON_SENDER_NULL);
    /* a login on a client host is a login */
    verdict = judge(policy, POST_MILTER, "198.51.100.1", "a", "postmaster", "<x@far.example>",
                    "<victim@far.example>");
    assert_int_equal(verdict.kind, KIND_LOGIN);
    assert_int_equal(verdict.reason, REASON_IDENTITY_RECEIVE_ONLY);
    verdict = judge(policy, POST_MILTER, "198.51.100.1", "a", "", "<x@far.example>",
                    "<victim@far.example>");
    assert_int_equal(verdict.kind, KIND_CLIENT_HOST);
    assert_int_equal(verdict.reason, REASON_PASS_CLIENT_HOST);
    policy_free(policy);
}

/* A login too long to be looked up is nobody's, not the first 320 bytes of somebody's. */
static void test_long_login(void **state)
{
    char login[500], cells[sizeof login + 16];
    struct row rows[] = {
        {TABLE_IDENTITY, 1, cells}, {TABLE_IDENTITY, 2, "*|#1|any|~"}, {TABLE_NONE, 0, NULL}};
    struct policy *policy;

    (void)state;
    memset(login, 'x', sizeof login);
    login[ADDRESS_PATH_MOST] = '\0';
    snprintf(cells, sizeof cells, "%s|#1|any|~", login);
    policy = rows_policy(rows, ROWS_NOW);
    for (size_t size = ADDRESS_PATH_MOST; size < sizeof login; size += 100) {
        struct verdict verdict;

        memset(login, 'x', sizeof login);
        login[size] = '\0';
        verdict = judge(policy, POST_MILTER, "203.0.113.9", "a", login, "<a@far.example>",
                        "<victim@far.example>");
        assert_int_equal(verdict.reason, size == ADDRESS_PATH_MOST ? REASON_PASS_IDENTITY
                                                                   : REASON_IDENTITY_UNKNOWN);
    }
    policy_free(policy);
}

static void test_outside_the_order(void **state)
{
    struct verdict verdict;

    (void)state;
    for (unsigned i = 0; i < REASON_COUNT; i++) {
        memset(&verdict, 0xff, sizeof verdict);
        decide_nothing((enum reason)i, &verdict);
        assert_int_equal(verdict.action, reason_row((enum reason)i)->action);
        assert_int_equal(verdict.reason, i);
        assert_int_equal(verdict.check, CHECK_NONE);
        assert_int_equal(verdict.rule.table, TABLE_NONE);
        assert_int_equal(verdict.trail[CHECK_RELAY].vote, VOTE_NOT_ASKED);
    }
}

/* Whatever bytes a stranger sends: no recipient that is not ours gets through. */
static void test_noise(void **state)
{
    static const char pieces[] = "@@@%!\"\\<>:,.[] +-=aAbB1\x01\x7f\xff\xe3\x81\x82";
    static const char *const words[] = {"example.jp", "far.example", "postmaster",
                                        "prvs=a=",    "[192.0.2.1]", "IPv6:::1"};
    struct policy *policy = rows_policy(company, ROWS_NOW);
    unsigned long random = 7;

    (void)state;
    for (int round = 0; round < 100000; round++) {
        char text[2][64];
        struct verdict verdict;

        for (int i = 0; i < 2; i++) {
            size_t used = 0;

            while (used < 40) {
                random = (random * 1103515245 + 12345) & 0x7fffffff;
                if (random >> 8 & 1) {
                    used += (size_t)snprintf(text[i] + used, sizeof text[i] - used, "%s",
                                             words[(random >> 12) % COUNT_OF(words)]);
                } else {
                    text[i][used++] = pieces[(random >> 12) % (sizeof pieces - 1)];
                }
                if ((random >> 20) % 6 == 0)
                    break;
            }
            text[i][used] = '\0';
        }
        verdict = judge(policy, POST_MILTER, "220.86.126.33", text[0], "", text[0], text[1]);
        if (verdict.action != ACTION_PASS)
            continue;
        struct address address;
        address_parse(text[1], strlen(text[1]), &address);
        if (!verdict.recipient_local || address.kind != ADDRESS_MAILBOX || address.routed ||
            strstr(address.domain, "far") != NULL)
            fail_msg("%s could be had", text[1]);
    }
    policy_free(policy);
}

/* Offered by the address sanitizer; without it there is nobody to count. */
int __sanitizer_install_malloc_and_free_hooks(void (*)(const volatile void *, size_t),
                                              void (*)(const volatile void *))
    __attribute__((weak));

static size_t allocations;
static bool counting;

static void count_malloc(const volatile void *block, size_t size)
{
    (void)block;
    (void)size;
    allocations += counting;
}

static void count_free(const volatile void *block)
{
    (void)block;
}

static void test_allocates_nothing(void **state)
{
    static const char *const recipients[] = {"<taro@example.jp>", "<victim@far.example>",
                                             "<bait@example.jp>", "<a%b@example.jp>", "<@@>"};
    static const char *const logins[] = {"", "taro", "postmaster", "taro@example.jp"};
    struct policy *policy;
    void *volatile block;

    (void)state;
    if (__sanitizer_install_malloc_and_free_hooks == NULL ||
        __sanitizer_install_malloc_and_free_hooks(count_malloc, count_free) == 0)
        skip();
    policy = rows_policy(company, ROWS_NOW);
    counting = true;
    block = malloc(1);
    free(block);
    assert_int_equal(allocations, 1); /* the counter counts */
    for (size_t i = 0; i < COUNT_OF(recipients); i++) {
        for (size_t l = 0; l < COUNT_OF(logins); l++) {
            judge(policy, POST_MILTER, "203.0.113.9", "mail.example.jp", logins[l],
                  "<taro@example.jp>", recipients[i]);
            judge(policy, POST_MILTER, "198.51.100.9", "a", logins[l], "<>", recipients[i]);
        }
    }
    counting = false;
    assert_int_equal(allocations, 1);
    policy_free(policy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_relay_forms),
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_trail),
        cmocka_unit_test(test_outside_the_order),
        cmocka_unit_test(test_long_login),
        cmocka_unit_test(test_noise),
        cmocka_unit_test(test_allocates_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
