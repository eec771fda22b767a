/* Making a policy: each bad row has its sentence; what no single row shows is seen at sealing. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/policy.h"

#include <stdio.h>

#include "rows.h"

#define TEN "xxxxxxxxxx"
#define HUNDRED TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN

/* ---- rows ---- */

/* One row and the sentence it is refused with; NULL: it is taken. */
static const struct {
    struct row row;
    const char *sentence;
} intake[] = {
    {{TABLE_LOCAL_DOMAIN, 1, "example.jp|#0|ours"}, NULL},
    {{TABLE_LOCAL_DOMAIN, 1, "EXAMPLE.jp.|#1|anyone"}, NULL},
    {{TABLE_LOCAL_DOMAIN, 1, "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e.example|#0|ours"}, NULL},
    {{TABLE_LOCAL_DOMAIN, 1, "~|#0|ours"}, "local_domain 1: domain is missing"},
    {{TABLE_LOCAL_DOMAIN, 1, "!|#0|ours"}, "local_domain 1: domain is not a text"},
    {{TABLE_LOCAL_DOMAIN, 1, "|#0|ours"}, "local_domain 1: domain is not a domain name"},
    {{TABLE_LOCAL_DOMAIN, 1, "a..b|#0|ours"}, "local_domain 1: domain a..b is not a domain name"},
    {{TABLE_LOCAL_DOMAIN, 1, "@a.jp|#0|ours"}, "local_domain 1: domain @a.jp is not a domain name"},
    {{TABLE_LOCAL_DOMAIN, 1, "*.a.jp|#0|ours"},
     "local_domain 1: domain *.a.jp is not a domain name"},
    {{TABLE_LOCAL_DOMAIN, 1, "a.jp\n|#0|ours"},
     "local_domain 1: domain a.jp\\x0a holds a control character"},
    {{TABLE_LOCAL_DOMAIN, 1, "a.jp|#2|ours"},
     "local_domain 1: subdomains is not a whole number from 0 to 1"},
    {{TABLE_LOCAL_DOMAIN, 1, "a.jp|1|ours"},
     "local_domain 1: subdomains is not a whole number from 0 to 1"},
    {{TABLE_LOCAL_DOMAIN, 1, "a.jp|#0|Ours"},
     "local_domain 1: mail_from Ours is not one of ours, anyone"},
    {{TABLE_OWN_NAME, 3, "mail.example.jp"}, NULL},
    {{TABLE_OWN_NAME, 3, "[192.0.2.1]"}, "own_name 3: name [192.0.2.1] is not a domain name"},
    {{TABLE_CLIENT_HOST, 2, "192.0.2.0/24|~"}, NULL},
    {{TABLE_CLIENT_HOST, 2, "192.0.2.1/24|~"},
     "client_host 2: 192.0.2.1/24 begins inside a block: that block is 192.0.2.0/24"},
    {{TABLE_CLIENT_HOST, 2, "64:ff9b::/96|~"}, "client_host 2: range reaches into 64:ff9b::/96"},
    {{TABLE_CLIENT_HOST, 2, "64:ff9b::c000:201|~"},
     "client_host 2: range reaches into 64:ff9b::/96"},
    {{TABLE_CLIENT_HOST, 2, "64::/16|~"}, "client_host 2: range reaches into 64:ff9b::/96"},
    {{TABLE_CLIENT_HOST, 2, "64:ff9b:1::/48|~"}, NULL},
    {{TABLE_CLIENT_HOST, 2, "#1|~"}, "client_host 2: range is not a text"},
    {{TABLE_CLIENT_HOST, 2, "192.0.2.1|2026-11-24T03:00:00Z"}, NULL},
    {{TABLE_CLIENT_HOST, 2, "192.0.2.1|2024-02-29 00:00:00"}, NULL},
    {{TABLE_CLIENT_HOST, 2, "192.0.2.1|2000-02-29 00:00:00"}, NULL},
    {{TABLE_CLIENT_HOST, 2, "192.0.2.1|1900-02-29 00:00:00"},
     "client_host 2: expires 1900-02-29 00:00:00 is not a UTC time like 2026-11-24 03:00:00"},
    {{TABLE_CLIENT_HOST, 2, "192.0.2.1|2026-11-24 24:00:00"},
     "client_host 2: expires 2026-11-24 24:00:00 is not a UTC time like 2026-11-24 03:00:00"},
    {{TABLE_CLIENT_HOST, 2, "192.0.2.1|2026-11-24 03:00:60"},
     "client_host 2: expires 2026-11-24 03:00:60 is not a UTC time like 2026-11-24 03:00:00"},
    {{TABLE_CLIENT_HOST, 2, "192.0.2.1|2026-11-24T03:00:00"},
     "client_host 2: expires 2026-11-24T03:00:00 is not a UTC time like 2026-11-24 03:00:00"},
    {{TABLE_CLIENT_HOST, 2, "192.0.2.1|2026-11-24 03:00:00Z"},
     "client_host 2: expires 2026-11-24 03:00:00Z is not a UTC time like 2026-11-24 03:00:00"},
    {{TABLE_CLIENT_HOST, 2, "192.0.2.1|"},
     "client_host 2: expires is not a UTC time like 2026-11-24 03:00:00"},
    {{TABLE_CLIENT_HOST, 2, "192.0.2.1|#1795489200"}, "client_host 2: expires is not a text"},
    {{TABLE_IP_RANGE, 17, "220.86.126.1-220.86.126.255|reject|everyone|~|~"}, NULL},
    {{TABLE_IP_RANGE, 17, "220.86.126.9-220.86.126.1|reject|strangers|~|~"},
     "ip_range 17: 220.86.126.9-220.86.126.1 ends before it begins"},
    {{TABLE_IP_RANGE, 17, "2001:db8::9-2001:db8::1|reject|strangers|~|~"},
     "ip_range 17: 2001:db8::9-2001:db8::1 ends before it begins"},
    {{TABLE_IP_RANGE, 17, "192.0.2.1|deny|strangers|~|~"},
     "ip_range 17: verdict deny is not one of accept, tempfail, reject"},
    {{TABLE_IP_RANGE, 17, "192.0.2.1|reject|all|~|~"},
     "ip_range 17: applies_to all is not one of strangers, everyone"},
    {{TABLE_IP_RANGE, 17, "192.0.2.1|reject|everyone|!|~"}, "ip_range 17: source is not a text"},
    {{TABLE_EXEMPTION, 4, "192.0.2.1|helo|~|~"}, NULL},
    {{TABLE_EXEMPTION, 4, "192.0.2.1|sender|@example.jp|~"}, NULL},
    {{TABLE_EXEMPTION, 4, "192.0.2.1|relay|~|~"},
     "exemption 4: check relay is not one of block, listed, sender, helo, trap, rate"},
    {{TABLE_EXEMPTION, 4, "192.0.2.1|identity|~|~"},
     "exemption 4: check identity is not one of block, listed, sender, helo, trap, rate"},
    {{TABLE_EXEMPTION, 4, "192.0.2.1|address|~|~"},
     "exemption 4: check address is not one of block, listed, sender, helo, trap, rate"},
    {{TABLE_EXEMPTION, 4, "192.0.2.1|sender|news|~"}, "exemption 4: sender news is not an address"},
    {{TABLE_EXEMPTION, 4, "192.0.2.1|sender||~"}, "exemption 4: sender is not an address"},
    {{TABLE_EXEMPTION, 4, "192.0.2.1|sender|<a@b.jp>|~"},
     "exemption 4: sender <a@b.jp> is not an address"},
    {{TABLE_IDENTITY, 5, "*|#1|own|~"}, NULL},
    {{TABLE_IDENTITY, 5, "|#1|own|~"}, "identity 5: name is empty"},
    {{TABLE_IDENTITY, 5, "taro|~|own|~"}, "identity 5: may_send is not a whole number from 0 to 1"},
    {{TABLE_IDENTITY, 5, "taro|#-1|own|~"},
     "identity 5: may_send is not a whole number from 0 to 1"},
    {{TABLE_IDENTITY, 5, "taro|#1|all|~"},
     "identity 5: senders all is not one of any, own, listed"},
    {{TABLE_IDENTITY, 5, HUNDRED HUNDRED HUNDRED TEN TEN TEN "|#1|own|~"},
     "identity 5: name xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...(330) is too long"},
    {{TABLE_IDENTITY_SENDER, 6, "taro|@|~"},
     "identity_sender 6: sender @ is not @ and a domain name"},
    {{TABLE_IDENTITY_SENDER, 6, "taro|a%b@example.jp|~"},
     "identity_sender 6: sender a%b@example.jp is not an address"},
    {{TABLE_IDENTITY_SENDER, 6, "taro|taro|~"}, "identity_sender 6: sender taro is not an address"},
    {{TABLE_IDENTITY_HOST, 6, "taro|example.jp|~"},
     "identity_host 6: example.jp is not an address"},
    {{TABLE_RECEIVE_ONLY, 7, "postmaster"}, NULL},
    {{TABLE_RECEIVE_ONLY, 7, "@example.jp"},
     "receive_only 7: address @example.jp is not an address"},
    {{TABLE_SPAM_TRAP, 8, "bait|#0"},
     "spam_trap 8: block_for is not a whole number from 1 to 31536000"},
    {{TABLE_RATE_LIMIT, 9, "n|client|*|messages|out|#5|#60|tempfail|#60"}, NULL},
    {{TABLE_RATE_LIMIT, 9, "n|client|*|messages|out|~|#60|block|#60"}, NULL},
    {{TABLE_RATE_LIMIT, 9, "|client|*|messages|out|#5|#60|tempfail|#60"},
     "rate_limit 9: name is empty"},
    {{TABLE_RATE_LIMIT, 9, "n|client|taro|messages|out|#5|#60|tempfail|#60"},
     "rate_limit 9: taro is not an address"},
    {{TABLE_RATE_LIMIT, 9, "n|sender|taro|messages|out|#5|#60|tempfail|#60"},
     "rate_limit 9: who taro is not an address"},
    {{TABLE_RATE_LIMIT, 9, "n|everyone|taro|messages|out|#5|#60|tempfail|#60"},
     "rate_limit 9: who taro is not * (a limit on everyone has no other)"},
    {{TABLE_RATE_LIMIT, 9, "n|client|*|messages|out|#-1|#60|tempfail|#60"},
     "rate_limit 9: allowed is not a whole number from 0 to 1000000000"},
    {{TABLE_RATE_LIMIT, 9, "n|client|*|messages|out|#5|#0|tempfail|#60"},
     "rate_limit 9: seconds is not a whole number from 1 to 31536000"},
    {{TABLE_RATE_LIMIT, 9, "n|sender|*|messages|out|#5|#60|block|#60"},
     "rate_limit 9: then block is only for client and identity"},
    {{TABLE_RATE_LIMIT, 9, "n|login-window|192.0.2.0/24|messages|out|#5|#60|tempfail|#60"}, NULL},
    {{TABLE_RATE_LIMIT, 9, "n|login-window|taro|messages|out|#5|#60|tempfail|#60"},
     "rate_limit 9: taro is not an address"},
    {{TABLE_RATE_LIMIT, 9, "n|login-window|*|messages|out|#5|#60|block|#60"},
     "rate_limit 9: then block is only for client and identity"},
    {{TABLE_RATE_LIMIT, 9, "n|client|*|refusals|any|#5|#60|reject|#60"},
     "rate_limit 9: counts refusals goes only with then block"},
    {{TABLE_CHECK_MODE, 2, "helo|observe"}, NULL},
    {{TABLE_CHECK_MODE, 2, "relay|enforce"}, NULL},
    {{TABLE_CHECK_MODE, 2, "relay|off"},
     "check_mode 2: mode of address and relay is always enforce"},
    {{TABLE_CHECK_MODE, 2, "address|observe"},
     "check_mode 2: mode of address and relay is always enforce"},
    {{TABLE_CHECK_MODE, 2, "hello|off"}, "check_mode 2: check hello is not the name of a check"},
    {{TABLE_CHECK_MODE, 2, "helo|on"}, "check_mode 2: mode on is not one of enforce, observe, off"},
    {{TABLE_SETTING, 3, "mode|observe"}, NULL},
    {{TABLE_SETTING, 3, "mode|off"}, "setting 3: mode off is not one of enforce, observe"},
    {{TABLE_SETTING, 3, "relay|yes"}, "setting 3: name relay is not the name of a setting"},
    {{TABLE_SETTING, 3, "retention|30"}, NULL},
    {{TABLE_SETTING, 3, "retention|#30"}, NULL},
    {{TABLE_SETTING, 3, "retention|030"},
     "setting 3: retention 030 is not a whole number from 1 to 3650"},
    {{TABLE_SETTING, 3, "retention|30 days"},
     "setting 3: retention 30 days is not a whole number from 1 to 3650"},
    {{TABLE_SETTING, 3, "retention|0"},
     "setting 3: retention 0 is not a whole number from 1 to 3650"},
    {{TABLE_SETTING, 3, "retention|99999999999999999999"},
     "setting 3: retention 99999999999999999999 is not a whole number from 1 to 3650"},
    {{TABLE_SETTING, 3, "login_domain|@a"}, "setting 3: login_domain @a is not a domain name"},
    {{TABLE_SETTING, 3, "login_domain|"}, NULL},
    {{TABLE_SETTING, 3, "recipient_delimiter|-"}, NULL},
    {{TABLE_SETTING, 3, "recipient_delimiter|"}, NULL},
    {{TABLE_SETTING, 3, "recipient_delimiter|+-"},
     "setting 3: recipient_delimiter +- is not one sign such as + or -"},
    {{TABLE_SETTING, 3, "recipient_delimiter|a"},
     "setting 3: recipient_delimiter a is not one sign such as + or -"},
    {{TABLE_SETTING, 3, "recipient_delimiter|@"},
     "setting 3: recipient_delimiter @ is not one sign such as + or -"},
    {{TABLE_SETTING, 3, "mode|~"}, "setting 3: value is missing"},
    {{TABLE_IP_RANGE, 0, "192.0.2.1|reject|everyone|~|~"},
     "ip_range 0: id is not a number above 0 and above those before it"},
    {{TABLE_IP_RANGE, -1, "192.0.2.1|reject|everyone|~|~"},
     "ip_range -1: id is not a number above 0 and above those before it"},
    {{TABLE_IP_RANGE, INT64_MAX, "192.0.2.1|reject|everyone|~|~"}, NULL},
};

/* Rows that are good one by one, and the sentence of the sealing; NULL: it seals. */
static const struct {
    struct row rows[5];
    const char *sentence;
} sealing[] = {
    {{{TABLE_LOCAL_DOMAIN, 1, "a.jp|#0|ours"}, {TABLE_LOCAL_DOMAIN, 4, "A.JP.|#1|anyone"}},
     "local_domain 4: a.jp stands in row 1 already"},
    {{{TABLE_OWN_NAME, 1, "m.a.jp"}, {TABLE_OWN_NAME, 2, "M.A.JP"}},
     "own_name 2: m.a.jp stands in row 1 already"},
    {{{TABLE_IDENTITY, 1, "Taro|#0|own|~"}, {TABLE_IDENTITY, 2, "tARO|#1|any|~"}},
     "identity 2: taro stands in row 1 already"},
    {{{TABLE_IDENTITY, 1, "t@a.jp|#0|own|~"}, {TABLE_IDENTITY, 2, "t@A.JP.|#1|any|~"}},
     "identity 2: t@a.jp stands in row 1 already"},
    {{{TABLE_RECEIVE_ONLY, 1, "Abuse"}, {TABLE_RECEIVE_ONLY, 2, "abuse"}},
     "receive_only 2: abuse stands in row 1 already"},
    {{{TABLE_SPAM_TRAP, 1, "bait@a.jp|#60"}, {TABLE_SPAM_TRAP, 2, "BAIT@a.jp.|#60"}},
     "spam_trap 2: bait@a.jp stands in row 1 already"},
    {{{TABLE_RECEIVE_ONLY, 3, "abuse"}, {TABLE_SPAM_TRAP, 2, "Abuse@a.jp|#60"}},
     "spam_trap 2: abuse@a.jp is receive-only (receive_only 3) and must never be refused"},
    {{{TABLE_RECEIVE_ONLY, 3, "abuse@a.jp"}, {TABLE_SPAM_TRAP, 2, "abuse|#60"}},
     "spam_trap 2: abuse is receive-only (receive_only 3) and must never be refused"},
    {{{TABLE_RECEIVE_ONLY, 3, "abuse"}, {TABLE_SPAM_TRAP, 2, "abuse|#60"}},
     "spam_trap 2: abuse is receive-only (receive_only 3) and must never be refused"},
    {{{TABLE_RECEIVE_ONLY, 3, "abuse@a.jp"}, {TABLE_SPAM_TRAP, 2, "abuse@b.jp|#60"}}, NULL},
    {{{TABLE_RECEIVE_ONLY, 3, "abuse"}, {TABLE_SPAM_TRAP, 2, "abuse2@b.jp|#60"}}, NULL},
    /* client hosts: public addresses are counted once, private ones not at all */
    {{{TABLE_CLIENT_HOST, 1, "10.0.0.0/8|~"}, {TABLE_CLIENT_HOST, 2, "fd00::/8|~"}}, NULL},
    {{{TABLE_CLIENT_HOST, 1, "198.50.0.0/16|~"}}, NULL},
    {{{TABLE_CLIENT_HOST, 1, "198.50.0.0/16|~"}, {TABLE_CLIENT_HOST, 2, "198.50.7.0/24|~"}}, NULL},
    {{{TABLE_CLIENT_HOST, 1, "198.50.0.0/16|~"}, {TABLE_CLIENT_HOST, 2, "198.51.0.0|~"}},
     "client_host 1: with 198.50.0.0/16 all client hosts together hold 65537 public IPv4 "
     "addresses; the setting client_host_most allows 65536"},
    {{{TABLE_CLIENT_HOST, 1, "198.50.0.0/16|2026-11-24 03:00:00"},
      {TABLE_CLIENT_HOST, 2, "198.51.0.0|~"}},
     NULL},
    {{{TABLE_CLIENT_HOST, 1, "198.50.0.0/16|2026-11-24 03:00:01"},
      {TABLE_CLIENT_HOST, 2, "198.51.0.0|~"}},
     "client_host 1: with 198.50.0.0/16 all client hosts together hold 65537 public IPv4 "
     "addresses; the setting client_host_most allows 65536"},
    {{{TABLE_CLIENT_HOST, 7, "0.0.0.0/0|~"}},
     "client_host 7: with 0.0.0.0/0 all client hosts together hold 4256038912 public IPv4 "
     "addresses; the setting client_host_most allows 65536"},
    {{{TABLE_CLIENT_HOST, 1, "2001:db8::/48|~"}}, NULL},
    {{{TABLE_CLIENT_HOST, 1, "2001:db8::1|~"}, {TABLE_CLIENT_HOST, 2, "2001:db8:1::1|~"}},
     "client_host 1: with 2001:db8::1 all client hosts together hold 2 public IPv6 networks of "
     "/48; the setting client_host_most_ipv6 allows 1"},
    {{{TABLE_CLIENT_HOST, 1, "192.0.2.1|~"}, {TABLE_SETTING, 1, "client_host_most|0"}},
     "client_host 1: with 192.0.2.1 all client hosts together hold 1 public IPv4 addresses; the "
     "setting client_host_most allows 0"},
    {{{TABLE_CLIENT_HOST, 1, "127.0.0.0/8|~"}, {TABLE_SETTING, 1, "client_host_most|0"}}, NULL},
};

static const struct row told[] = {
    {TABLE_LOCAL_DOMAIN, 1, "example.jp|#0|ours"},
    {TABLE_LOCAL_DOMAIN, 3, "\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e.example|#1|anyone"},
    {TABLE_OWN_NAME, 2, "mail.example.jp"},
    {TABLE_CLIENT_HOST, 5, "::ffff:192.0.2.0/120|~"},
    {TABLE_IP_RANGE, 16, "2001:DB8::/32|accept|everyone|~|~"},
    {TABLE_IP_RANGE, 17, "220.86.126.1-220.86.126.255|reject|strangers|~|~"},
    {TABLE_IP_RANGE, 18, "220.86.0.0/16|tempfail|strangers|list|~"},
    {TABLE_EXEMPTION, 6, "192.0.2.1|helo|~|~"},
    {TABLE_EXEMPTION, 7, "192.0.2.1|sender|@Example.jp|~"},
    {TABLE_IDENTITY, 8, "T\xc3\xa4ro|#1|listed|~"},
    {TABLE_IDENTITY_SENDER, 9, "taro|Sales@Example.jp|~"},
    {TABLE_IDENTITY_HOST, 10, "taro|192.0.2.0/24|~"},
    {TABLE_RECEIVE_ONLY, 11, "PostMaster"},
    {TABLE_SPAM_TRAP, 12, "bait|#60"},
    {TABLE_NONE, 0, NULL},
};

static const struct {
    struct rule rule;
    const char *text;
} retold[] = {
    {{TABLE_NONE, 0}, "built in"},
    {{TABLE_LOCAL_DOMAIN, 1}, "local_domain 1 (example.jp, mail_from ours)"},
    {{TABLE_LOCAL_DOMAIN, 3},
     "local_domain 3 (xn--wgv71a119e.example and subdomains, mail_from anyone)"},
    {{TABLE_OWN_NAME, 2}, "own_name 2 (mail.example.jp)"},
    {{TABLE_CLIENT_HOST, 5}, "client_host 5 (192.0.2.0/24)"},
    {{TABLE_IP_RANGE, 16}, "ip_range 16 (2001:db8::/32 accept for everyone)"},
    {{TABLE_IP_RANGE, 17}, "ip_range 17 (220.86.126.1-220.86.126.255 reject for strangers)"},
    {{TABLE_IP_RANGE, 18}, "ip_range 18 (220.86.0.0/16 tempfail for strangers, imported)"},
    {{TABLE_IP_RANGE, 19}, "ip_range 19"},
    {{TABLE_EXEMPTION, 6}, "exemption 6 (192.0.2.1, check helo, sender any)"},
    {{TABLE_EXEMPTION, 7}, "exemption 7 (192.0.2.1, check sender, sender @example.jp)"},
    {{TABLE_IDENTITY, 8}, "identity 8 (t\\xc3\\xa4ro, may_send 1, senders listed)"},
    {{TABLE_IDENTITY_SENDER, 9}, "identity_sender 9 (taro as sales@example.jp)"},
    {{TABLE_IDENTITY_HOST, 10}, "identity_host 10 (taro from 192.0.2.0/24)"},
    {{TABLE_RECEIVE_ONLY, 11}, "receive_only 11 (postmaster)"},
    {{TABLE_SPAM_TRAP, 12}, "spam_trap 12 (bait)"},
    {{TABLE_SPAM_TRAP, 1}, "spam_trap 1"},
};

static const struct row expiring[] = {
    {TABLE_CLIENT_HOST, 1, "192.0.2.1|2026-11-24 03:00:10"},
    {TABLE_IP_RANGE, 1, "203.0.113.0/24|reject|strangers|~|2026-11-24 03:00:20"},
    {TABLE_IP_RANGE, 2, "2001:db8::/32|reject|strangers|~|2026-11-24T03:00:30Z"},
    {TABLE_EXEMPTION, 1, "192.0.2.1|helo|~|2026-11-24 03:00:40"},
    {TABLE_IDENTITY, 1, "taro|#1|own|2026-11-24 03:00:50"},
    {TABLE_IDENTITY_SENDER, 1, "taro|@a.jp|2026-11-24 03:01:00"},
    {TABLE_IDENTITY_HOST, 1, "taro|192.0.2.1|2026-11-24 03:01:10"},
    {TABLE_IDENTITY_HOST, 2, "taro|192.0.2.2|1969-01-01 00:00:00"},
    {TABLE_IDENTITY_HOST, 3, "taro|192.0.2.3|9999-12-31 23:59:59"},
    {TABLE_NONE, 0, NULL},
};

/* ---- tests ---- */

static void test_intake(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(intake); i++) {
        struct policy_build *build = policy_build_new();
        struct why why = {""};
        enum status status =
            row_add(build, intake[i].row.table, intake[i].row.id, intake[i].row.cells, &why);

        if (intake[i].sentence == NULL) {
            if (status != STATUS_OK)
                fail_msg("%s: %s", intake[i].row.cells, why.text);
        } else if (status != STATUS_BAD) {
            fail_msg("%s: status %d", intake[i].row.cells, status);
        } else if (strncmp(why.text, intake[i].sentence, strlen(intake[i].sentence)) != 0) {
            fail_msg("%s: %s", intake[i].row.cells, why.text);
        }
        policy_build_free(build);
    }
}

/* A NUL in a text is a control character like the others. */
static void test_nul(void **state)
{
    struct policy_build *build = policy_build_new();
    struct cell cells[4] = {{CELL_TEXT, 0, "ta\0ro", 5},
                            {CELL_INTEGER, 1, "", 0},
                            {CELL_TEXT, 0, "own", 3},
                            {CELL_NULL, 0, "", 0}};
    struct why why = {""};

    (void)state;
    assert_int_equal(policy_build_row(build, TABLE_IDENTITY, 1, cells, &why), STATUS_BAD);
    assert_string_equal(why.text, "identity 1: name ta\\x00ro holds a control character");
    cells[0] = (struct cell){CELL_TEXT, 0, "taro", 4};
    cells[2] = (struct cell){CELL_TEXT, 0, "own\0x", 5};
    assert_int_equal(policy_build_row(build, TABLE_IDENTITY, 2, cells, &why), STATUS_BAD);
    policy_build_free(build);
}

static void test_ids_ascend(void **state)
{
    struct policy_build *build = policy_build_new();
    struct why why = {""};

    (void)state;
    assert_int_equal(row_add(build, TABLE_OWN_NAME, 5, "a.jp", &why), STATUS_OK);
    assert_int_equal(row_add(build, TABLE_OWN_NAME, 5, "b.jp", &why), STATUS_BAD);
    assert_int_equal(row_add(build, TABLE_OWN_NAME, 4, "c.jp", &why), STATUS_BAD);
    assert_int_equal(row_add(build, TABLE_RECEIVE_ONLY, 1, "a", &why), STATUS_OK);
    assert_int_equal(row_add(build, TABLE_NONE, 1, "a", &why), STATUS_BROKEN);
    assert_int_equal(row_add(build, TABLE_COUNT, 1, "a", &why), STATUS_BROKEN);
    policy_build_free(build);
    policy_build_free(NULL);
}

static void test_twice(void **state)
{
    struct policy_build *build = policy_build_new();
    struct why why = {""};

    (void)state;
    assert_int_equal(row_add(build, TABLE_CHECK_MODE, 1, "helo|off", &why), STATUS_OK);
    assert_int_equal(row_add(build, TABLE_CHECK_MODE, 2, "helo|enforce", &why), STATUS_BAD);
    assert_string_equal(why.text, "check_mode 2: check helo has a mode already");
    assert_int_equal(row_add(build, TABLE_SETTING, 1, "retention|5", &why), STATUS_OK);
    assert_int_equal(row_add(build, TABLE_SETTING, 2, "retention|6", &why), STATUS_BAD);
    assert_string_equal(why.text, "setting 2: name retention is set already");
    policy_build_free(build);
}

static void test_sealing(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(sealing); i++) {
        struct policy_build *build = rows_build(sealing[i].rows);
        struct policy *policy = NULL;
        struct why why = {""};
        enum status status = policy_seal(build, ROWS_NOW, &policy, &why);

        if (sealing[i].sentence == NULL) {
            if (status != STATUS_OK)
                fail_msg("row %zu: %s", i, why.text);
        } else {
            assert_null(policy);
            assert_int_equal(status, STATUS_BAD);
            assert_string_equal(why.text, sealing[i].sentence);
        }
        policy_free(policy);
        policy_build_free(build);
    }
}

static void test_columns(void **state)
{
    (void)state;
    assert_null(policy_columns(TABLE_NONE));
    assert_null(policy_columns(TABLE_COUNT));
    for (unsigned t = TABLE_NONE + 1; t < TABLE_COUNT; t++) {
        const char *const *columns = policy_columns((enum table)t);

        assert_non_null(columns);
        assert_non_null(columns[0]);
        for (; *columns != NULL; columns++) {
            assert_string_not_equal(*columns, "id");
            assert_string_not_equal(*columns, "note");
        }
    }
}

static void test_retold(void **state)
{
    struct policy *policy = rows_policy(told, ROWS_NOW);
    char text[RULE_TEXT];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(retold); i++)
        assert_string_equal(policy_rule_text(policy, retold[i].rule, text), retold[i].text);
    assert_int_equal(policy_row_count(policy), COUNT_OF(told) - 1);
    assert_true(policy_size(policy) > 0);
    policy_free(policy);
    policy_free(NULL);
}

/* A sealed policy outlives its build; its rows can be sealed for many moments, none be added. */
static void test_reseal(void **state)
{
    struct policy_build *build = rows_build(expiring);
    struct policy *policy = NULL, *next = NULL;
    struct ip client, listed, listed6;
    struct why why = {""};
    int64_t now = ROWS_NOW;
    int expiries = 0;

    (void)state;
    assert_true(ip_parse("192.0.2.1", &client) && ip_parse("203.0.113.9", &listed) &&
                ip_parse("2001:db8::9", &listed6));
    assert_int_equal(policy_seal(build, now, &policy, &why), STATUS_OK);
    assert_int_equal(row_add(build, TABLE_OWN_NAME, 1, "a.jp", &why), STATUS_BROKEN);
    policy_build_free(build);
    /* each next expiry ends one row, to the millisecond */
    while (policy_next_expiry(policy) < ROWS_NOW + 600000) {
        int64_t at = policy_next_expiry(policy);

        assert_true(at == ROWS_NOW + (expiries + 1) * 10000);
        for (int64_t when = at - 1; when <= at; when++) {
            int64_t passed = when - ROWS_NOW;

            assert_int_equal(policy_reseal(policy, when, &next, &why), STATUS_OK);
            assert_true(policy_sealed_at(next) == when);
            assert_int_equal(policy_client_host(next, &client, NULL), passed < 10000);
            assert_int_equal(policy_listed(next, &listed, false, NULL) == LISTING_REJECT,
                             passed < 20000);
            assert_int_equal(policy_listed(next, &listed6, false, NULL) == LISTING_REJECT,
                             passed < 30000);
            struct address sender;
            struct text login = text_from("taro");
            struct identity identity = policy_identity(next, &login), any = identity;
            address_parse("x@a.jp", 6, &sender);
            assert_int_equal(policy_exempt(next, CHECK_HELO, &client, &sender, NULL),
                             passed < 40000);
            assert_int_equal(identity.known, passed < 50000);
            any.known = true;
            assert_int_equal(policy_identity_sender(next, &login, &any, &sender, NULL),
                             passed < 60000);
            assert_int_equal(policy_identity_host(next, &login, &any, true, &client, NULL),
                             passed < 70000);
            if (when == at) {
                policy_free(policy);
                policy = next;
            } else {
                policy_free(next);
            }
        }
        expiries++;
    }
    assert_int_equal(expiries, 7);
    assert_true(policy_next_expiry(policy) == INT64_C(253402300799) * 1000);
    /* and back: rows that had gone out of force are in force again */
    assert_int_equal(policy_reseal(policy, ROWS_NOW, &next, &why), STATUS_OK);
    assert_true(policy_client_host(next, &client, NULL));
    policy_free(policy);
    policy_free(next);
    /* nothing expires */
    policy = rows_policy(told, ROWS_NOW);
    assert_true(policy_next_expiry(policy) == INT64_MAX);
    policy_free(policy);
}

static void test_modes(void **state)
{
    static const struct row rows[] = {{TABLE_CHECK_MODE, 3, "helo|observe"},
                                      {TABLE_CHECK_MODE, 4, "sender|off"},
                                      {TABLE_CHECK_MODE, 5, "relay|enforce"},
                                      {TABLE_SETTING, 9, "mode|observe"},
                                      {TABLE_NONE, 0, NULL}};
    static const struct {
        enum check check;
        enum check_mode mode;
        struct rule rule;
    } expected[] = {
        {CHECK_HELO, MODE_OBSERVE, {TABLE_CHECK_MODE, 3}},
        {CHECK_SENDER, MODE_OFF, {TABLE_CHECK_MODE, 4}},
        {CHECK_RELAY, MODE_ENFORCE, {TABLE_CHECK_MODE, 5}},
        {CHECK_ADDRESS, MODE_ENFORCE, {TABLE_NONE, 0}},
        {CHECK_IDENTITY, MODE_OBSERVE, {TABLE_SETTING, 9}},
        {CHECK_RATE, MODE_OBSERVE, {TABLE_SETTING, 9}},
    };
    static const struct row none[] = {{TABLE_NONE, 0, NULL}};
    struct policy *policy = rows_policy(rows, ROWS_NOW);
    struct rule rule;

    (void)state;
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        assert_int_equal(policy_check_mode(policy, expected[i].check, &rule), expected[i].mode);
        assert_int_equal(rule.table, expected[i].rule.table);
        assert_true(rule.row == expected[i].rule.row);
    }
    policy_free(policy);
    policy = rows_policy(none, ROWS_NOW);
    for (unsigned check = 0; check < CHECK_COUNT; check++)
        assert_int_equal(policy_check_mode(policy, (enum check)check, NULL), MODE_ENFORCE);
    assert_true(policy_number(policy, SETTING_RECIPIENTS_MOST) == 1000);
    assert_true(policy_number(policy, SETTING_CLIENT_HOST_MOST) == 65536);
    assert_true(policy_number(policy, SETTING_LOGIN_WINDOW_SECONDS) == 0);
    assert_string_equal(policy_text(policy, SETTING_RECIPIENT_DELIMITER), "+");
    assert_string_equal(policy_text(policy, SETTING_LOGIN_REALM), "");
    policy_free(policy);
}

static void test_accounts(void **state)
{
    static const struct row rows[] = {{TABLE_LOCAL_DOMAIN, 1, "example.jp|#0|ours"},
                                      {TABLE_IDENTITY, 1, "*|#1|own|~"},
                                      {TABLE_IDENTITY, 2, "Taro|#1|own|~"},
                                      {TABLE_IDENTITY, 3, "h@example.net|#1|own|~"},
                                      {TABLE_IDENTITY_SENDER, 1, "taro|@news.example.jp|~"},
                                      {TABLE_RECEIVE_ONLY, 1, "abuse"},
                                      {TABLE_SETTING, 1, "login_domain|login.example"},
                                      {TABLE_NONE, 0, NULL}};
    static const char *const accounts[] = {"someone@login.example", "taro@login.example",
                                           "h@example.net", "someone@news.example.jp",
                                           "abuse@example.jp"};
    struct policy *policy = rows_policy(rows, ROWS_NOW);
    char account[ADDRESS_PATH_MOST + 1];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(accounts); i++) {
        assert_true(policy_account(policy, i, account));
        assert_string_equal(account, accounts[i]);
    }
    assert_false(policy_account(policy, COUNT_OF(accounts), account));
    policy_free(policy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_intake),     cmocka_unit_test(test_nul),
        cmocka_unit_test(test_ids_ascend), cmocka_unit_test(test_twice),
        cmocka_unit_test(test_sealing),    cmocka_unit_test(test_columns),
        cmocka_unit_test(test_retold),     cmocka_unit_test(test_reseal),
        cmocka_unit_test(test_modes),      cmocka_unit_test(test_accounts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
