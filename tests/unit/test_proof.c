/* The open-relay battery: closed policies hold, and every planted hole is found and named. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/proof.h"

#include <stdio.h>

#include "core/decide.h"
#include "rows.h"

/* ---- rows ---- */

static const struct row plain[] = {
    {TABLE_LOCAL_DOMAIN, 1, "example.jp|#1|ours"},
    {TABLE_LOCAL_DOMAIN, 2, "partner.example|#0|anyone"},
    {TABLE_OWN_NAME, 1, "mail.example.jp"},
    {TABLE_CLIENT_HOST, 1, "127.0.0.0/8|~"},
    {TABLE_CLIENT_HOST, 2, "198.51.100.0/24|~"},
    {TABLE_CLIENT_HOST, 3, "2001:db8:1::/48|~"},
    {TABLE_CLIENT_HOST, 4, "100.64.0.0/10|~"},
    {TABLE_IP_RANGE, 1, "0.0.0.0/0|accept|everyone|~|~"},
    {TABLE_EXEMPTION, 1, "0.0.0.0/0|sender|~|~"},
    {TABLE_EXEMPTION, 2, "0.0.0.0/0|helo|~|~"},
    {TABLE_EXEMPTION, 3, "::/0|listed|~|~"},
    {TABLE_IDENTITY, 1, "*|#1|any|~"},
    {TABLE_IDENTITY, 2, "taro|#1|own|~"},
    {TABLE_IDENTITY_SENDER, 1, "taro|@sales.example.jp|~"},
    {TABLE_RECEIVE_ONLY, 1, "postmaster"},
    {TABLE_CHECK_MODE, 1, "sender|off"},
    {TABLE_CHECK_MODE, 2, "helo|off"},
    {TABLE_SETTING, 1, "mode|observe"},
    {TABLE_NONE, 0, NULL},
};

static const struct row empty[] = {{TABLE_NONE, 0, NULL}};

/* One row that opens the relay, put into the plain policy. */
static const struct row holes[] = {
    {TABLE_LOCAL_DOMAIN, 9, "com|#1|ours"},
    {TABLE_LOCAL_DOMAIN, 9, "net|#1|anyone"},
    {TABLE_LOCAL_DOMAIN, 9, "ORG|#1|ours"},
    {TABLE_LOCAL_DOMAIN, 9, "jp|#1|ours"},
    {TABLE_LOCAL_DOMAIN, 9, "co.jp|#1|ours"},
    {TABLE_LOCAL_DOMAIN, 9, "ne.jp|#1|ours"},
    {TABLE_LOCAL_DOMAIN, 9, "co.uk|#1|ours"},
    {TABLE_LOCAL_DOMAIN, 9, "de|#1|ours"},
    {TABLE_LOCAL_DOMAIN, 9, "kr|#1|ours"},
    /* a top-level domain that no list in the code names */
    {TABLE_LOCAL_DOMAIN, 9, "fr|#1|ours"},
    {TABLE_LOCAL_DOMAIN, 9, "museum|#1|anyone"},
    {TABLE_LOCAL_DOMAIN, 9, "xn--p1ai|#1|ours"},
};

/* ---- helpers ---- */

struct count {
    size_t cases, held;
    bool forged_account, forged_host, ipv6, unknown;
};

static void count_case(void *context, const struct proof_case *one)
{
    struct count *count = context;

    count->cases++;
    count->held += one->held;
    count->forged_account = count->forged_account || strstr(one->sender, "taro@") != NULL;
    count->forged_host = count->forged_host || strcmp(one->helo, "mail.example.jp") == 0;
    count->ipv6 = count->ipv6 || strchr(one->client, ':') != NULL;
    count->unknown = count->unknown || strcmp(one->client, "unknown") == 0;
    assert_true(one->form != NULL && one->recipient[0] != '\0');
    assert_int_equal(one->held, one->verdict.action != ACTION_PASS);
}

/* ---- tests ---- */

static void test_closed(void **state)
{
    const struct row *const closed[] = {plain, empty};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(closed); i++) {
        struct policy *policy = rows_policy(closed[i], ROWS_NOW);
        struct count count = {0};
        struct why why = {""};
        size_t cases = 0;

        if (proof_run(policy, count_case, &count, &cases, &why) != STATUS_OK)
            fail_msg("%s", why.text);
        assert_true(cases > 100);
        assert_int_equal(count.cases, cases);
        assert_int_equal(count.held, cases);
        assert_int_equal(proof_run(policy, NULL, NULL, NULL, NULL), STATUS_OK);
        if (closed[i] == plain)
            assert_true(count.forged_account && count.forged_host && count.ipv6 && count.unknown);
        policy_free(policy);
    }
}

static void test_holes(void **state)
{
    size_t missed = 0;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(holes); i++) {
        struct policy_build *build = rows_build(plain);
        struct policy *policy = NULL;
        struct why why = {""};
        char named[64];
        enum status status = row_add(build, holes[i].table, holes[i].id, holes[i].cells, &why);

        /* whether the row, the sealing or the battery refuses it is all the same */
        snprintf(named, sizeof named, "%s %d", table_name(holes[i].table), (int)holes[i].id);
        if (status == STATUS_OK)
            status = policy_seal(build, ROWS_NOW, &policy, &why);
        if (status == STATUS_OK)
            status = proof_run(policy, NULL, NULL, NULL, &why);
        if (status != STATUS_BAD || strstr(why.text, named) == NULL) {
            print_message("%s: status %d, %s\n", holes[i].cells, status, why.text);
            missed++;
        }
        policy_free(policy);
        policy_build_free(build);
    }
    assert_int_equal(missed, 0);
}

/* Strangers are taken from just outside the client hosts, and never from inside. */
static void each_is_outside(void *context, const struct proof_case *one)
{
    const struct policy *policy = context;
    struct ip ip;

    if (ip_parse(one->client, &ip))
        assert_false(policy_client_host(policy, &ip, NULL));
}

static void test_outside(void **state)
{
    struct policy *policy = rows_policy(plain, ROWS_NOW);

    (void)state;
    assert_int_equal(proof_run(policy, each_is_outside, policy, NULL, NULL), STATUS_OK);
    policy_free(policy);
}

/* Many rows do not make the battery long. */
static void test_bounded(void **state)
{
    struct policy_build *build = policy_build_new();
    struct policy *policy = NULL;
    struct why why = {""};
    char cells[64];
    size_t cases = 0;

    (void)state;
    for (int i = 1; i <= 20000; i++) {
        snprintf(cells, sizeof cells, "d%d.example|#0|ours", i);
        assert_int_equal(row_add(build, TABLE_LOCAL_DOMAIN, i, cells, &why), STATUS_OK);
        snprintf(cells, sizeof cells, "user%d|#1|own|~", i);
        assert_int_equal(row_add(build, TABLE_IDENTITY, i, cells, &why), STATUS_OK);
        snprintf(cells, sizeof cells, "10.%d.%d.1|~", i / 250, i % 250);
        assert_int_equal(row_add(build, TABLE_CLIENT_HOST, i, cells, &why), STATUS_OK);
    }
    assert_int_equal(policy_seal(build, ROWS_NOW, &policy, &why), STATUS_OK);
    if (proof_run(policy, NULL, NULL, &cases, &why) != STATUS_OK)
        fail_msg("%s", why.text);
    assert_true(cases < 50000);
    policy_free(policy);
    policy_build_free(build);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_closed),
        cmocka_unit_test(test_holes),
        cmocka_unit_test(test_outside),
        cmocka_unit_test(test_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
