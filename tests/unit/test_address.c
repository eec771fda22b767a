/* Envelope addresses: one reading or none, and never two. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/address.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cases.h"

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

#define L63 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

enum { PLAIN = 0, ROUTED = 1, BAD = 2, NULL_SENDER = 4, LITERAL = 8 };

/* ---- rows ---- */

static const struct {
    const char *raw;
    int is;
    const char *local, *domain; /* NULL: "" */
} rows[] = {
    /* every shape of recipient a relay test tries; far.example is the third party, 192.0.2.1 and
     * mx.local.example are the host, local.example is its domain */
    {"<u@far.example>", PLAIN, "u", "far.example"},
    {"<u@[192.0.2.1]>", LITERAL, "u", "[192.0.2.1]"},
    {"<u%far.example@[192.0.2.1]>", ROUTED | LITERAL, "u%far.example", "[192.0.2.1]"},
    {"<u%far.example@mx.local.example>", ROUTED, "u%far.example", "mx.local.example"},
    {"<u%far.example@local.example>", ROUTED, "u%far.example", "local.example"},
    {"<u%far.example%b.example@local.example>", ROUTED, "u%far.example%b.example", "local.example"},
    {"<u%far.example>", ROUTED, "u%far.example", ""},
    {"<\"u@far.example\">", ROUTED, "u@far.example", ""},
    {"<\"u%far.example\">", ROUTED, "u%far.example", ""},
    {"<u@far.example@[192.0.2.1]>", ROUTED | BAD, NULL, NULL},
    {"<u@far.example@mx.local.example>", ROUTED | BAD, NULL, NULL},
    {"u@far.example@mx.local.example", ROUTED | BAD, NULL, NULL},
    {"<\"u@far.example\"@[192.0.2.1]>", ROUTED | LITERAL, "u@far.example", "[192.0.2.1]"},
    {"<\"u@far.example\"@local.example>", ROUTED, "u@far.example", "local.example"},
    {"<\"u\\@far.example\"@local.example>", ROUTED, "u@far.example", "local.example"},
    {"<\"u\\%far.example\"@local.example>", ROUTED, "u%far.example", "local.example"},
    {"<@[192.0.2.1]:u@far.example>", ROUTED, "u", "far.example"},
    {"<@[IPv6:2001:db8::1]:u@far.example>", ROUTED, "u", "far.example"},
    {"<@mx.local.example:u@far.example>", ROUTED, "u", "far.example"},
    {"@mx.local.example:u@far.example", ROUTED, "u", "far.example"},
    {"<@a.example,@b.example:u@local.example>", ROUTED, "u", "local.example"},
    {"<@a.example,@[192.0.2.1]:u@local.example>", ROUTED, "u", "local.example"},
    {"<@local.example:u>", ROUTED, "u", ""},
    {"<@u@far.example>", ROUTED | BAD, NULL, NULL},
    {"<far.example!u>", ROUTED, "far.example!u", ""},
    {"<far.example!u@[192.0.2.1]>", ROUTED | LITERAL, "far.example!u", "[192.0.2.1]"},
    {"<far.example!u@mx.local.example>", ROUTED, "far.example!u", "mx.local.example"},
    {"<\"far.example!u\"@local.example>", ROUTED, "far.example!u", "local.example"},
    {"<a/../b@local.example>", PLAIN, "a/../b", "local.example"},
    {"<IMCEASMTP-u+40far.example@local.example>", PLAIN, "IMCEASMTP-u+40far.example",
     "local.example"},
    {"<u@LoCal.eXample>", PLAIN, "u", "local.example"},
    {"<u@local.example> AUTH=<u@local.example>", ROUTED | BAD, NULL, NULL},

    /* source routes that are none */
    {"<@a.example>", BAD, NULL, NULL},
    {"<@a.example:>", ROUTED | BAD, NULL, NULL},
    {"<@a.example:@b.example>", ROUTED | BAD, NULL, NULL},
    {"<@a.example:@b.example:u@c.example>", ROUTED | BAD, NULL, NULL},
    {"<@a.example,b.example:u@c.example>", ROUTED | BAD, NULL, NULL},
    {"<@a.example,:u@c.example>", ROUTED | BAD, NULL, NULL},
    {"<@a.example,,@b.example:u@c.example>", ROUTED | BAD, NULL, NULL},
    {"<@:u@c.example>", ROUTED | BAD, NULL, NULL},
    {"<@a..example:u@c.example>", ROUTED | BAD, NULL, NULL},
    {"<@[192.0.2.1:u@c.example>", ROUTED | BAD, NULL, NULL},
    {"<@a.example: u@c.example>", ROUTED | BAD, NULL, NULL},

    /* null and nothing */
    {"", NULL_SENDER, NULL, NULL},
    {"<>", NULL_SENDER, NULL, NULL},
    {"< >", BAD, NULL, NULL},
    {"<\"\">", BAD, NULL, NULL},
    {"<\"\"@a.example>", PLAIN, "", "a.example"},
    {"<>>", BAD, NULL, NULL},
    {"<<>>", BAD, NULL, NULL},
    {">", BAD, NULL, NULL},
    {"@", BAD, NULL, NULL},

    /* local parts */
    {"a@b.example", PLAIN, "a", "b.example"},
    {"<..@b.example>", PLAIN, "..", "b.example"},
    {"<a b@c.example>", BAD, NULL, NULL},
    {"<\"a b\"@c.example>", PLAIN, "a b", "c.example"},
    {"<\"a>b\"@c.example>", PLAIN, "a>b", "c.example"},
    {"<\"a\"b@c.example>", BAD, NULL, NULL},
    {"<\"a\".\"b\"@c.example>", BAD, NULL, NULL},
    {"<\"a@b.example>", BAD, NULL, NULL},
    {"<\"a\\\"@b.example>", BAD, NULL, NULL},
    {"<a@b.example\\>", BAD, NULL, NULL},
    {"<\"a\\\"@b@c.example>", BAD, NULL, NULL}, /* all of it inside quotes that do not end */
    {"<a,b@c.example>", BAD, NULL, NULL},
    {"<a,b.example>", BAD, NULL, NULL},
    {"<\"a\"b.example>", BAD, NULL, NULL},
    {"<a b.example>", BAD, NULL, NULL},
    {"<a;b@c.example>", BAD, NULL, NULL},
    {"<a[b]@c.example>", BAD, NULL, NULL},
    {"<a)@c.example>", BAD, NULL, NULL},
    {"<\"\\\xc3\xa9\"@c.example>", BAD, NULL, NULL}, /* no quoted pair outside ASCII */
    {"<" L63 L63 "@c.example>", PLAIN, L63 L63, "c.example"},

    /* UTF-8 */
    {"<\xc3\xa9@c.example>", PLAIN, "\xc3\xa9", "c.example"},
    {"<e\xcc\x81@c.example>", PLAIN, "e\xcc\x81", "c.example"}, /* not composed: as it came */
    {"<\xf4\x8f\xbf\xbf@c.example>", PLAIN, "\xf4\x8f\xbf\xbf", "c.example"},
    {"<\xc0\xaf@c.example>", BAD, NULL, NULL}, /* overlong */
    {"<\xc1\xbf@c.example>", BAD, NULL, NULL},
    {"<\xe0\x9f\xbf@c.example>", BAD, NULL, NULL},
    {"<\xf0\x8f\xbf\xbf@c.example>", BAD, NULL, NULL},
    {"<\xed\xa0\x80@c.example>", BAD, NULL, NULL}, /* surrogates */
    {"<\xed\xbf\xbf@c.example>", BAD, NULL, NULL},
    {"<\xf4\x90\x80\x80@c.example>", BAD, NULL, NULL}, /* over U+10FFFF */
    {"<\xf5\x80\x80\x80@c.example>", BAD, NULL, NULL},
    {"<\xe3\x81@c.example>", BAD, NULL, NULL}, /* truncated */
    {"<a\x80@c.example>", BAD, NULL, NULL},
    {"<a\xff@c.example>", BAD, NULL, NULL},
    {"a\xe3\x81", BAD, NULL, NULL},
    {"<a\xc2\x85@c.example>", BAD, NULL, NULL}, /* U+0085, a C1 control */
    {"<a\x7f@c.example>", BAD, NULL, NULL},
    {"<\"a\tb\"@c.example>", BAD, NULL, NULL},
    {"<\"a\\\tb\"@c.example>", BAD, NULL, NULL},

    /* domains */
    {"<a@b>", PLAIN, "a", "b"},
    {"<a@b.>", PLAIN, "a", "b"},
    {"<a@b..>", BAD, NULL, NULL},
    {"<a@.>", BAD, NULL, NULL},
    {"<a@.b>", BAD, NULL, NULL},
    {"<a@b..c>", BAD, NULL, NULL},
    {"<a@b-.c>", BAD, NULL, NULL},
    {"<a@b.c->", BAD, NULL, NULL},
    {"<a@b.-c.>", BAD, NULL, NULL},
    {"<a@_b_.c_d>", PLAIN, "a", "_b_.c_d"},
    {"<a@b_c.example>", PLAIN, "a", "b_c.example"},
    {"<a@b%c.example>", BAD, NULL, NULL},
    {"<a@b c>", BAD, NULL, NULL},
    {"<a@\"b\">", BAD, NULL, NULL},
    {"<a@b,c>", BAD, NULL, NULL},
    {"<a@b:25>", BAD, NULL, NULL},
    {"<a@" L63 ".example>", PLAIN, "a", L63 ".example"},
    {"<a@" L63 "a.example>", BAD, NULL, NULL},
    {"<a@" L63 "." L63 "." L63 "." L63 ">", PLAIN, "a", L63 "." L63 "." L63 "." L63},
    {"<a@" L63 "." L63 "." L63 "." L63 ".>", PLAIN, "a", L63 "." L63 "." L63 "." L63},
    {"<a@" L63 "." L63 "." L63 "." L63 ".a>", BAD, NULL, NULL},

    /* U-labels */
    {"<a@b\xc3\xbc"
     "cher.example>",
     PLAIN, "a", "xn--bcher-kva.example"},
    {"<a@bu\xcc\x88"
     "cher.example>",
     PLAIN, "a", "xn--bcher-kva.example"}, /* decomposed */
    {"<a@B\xc3\x9c"
     "CHER.Example.>",
     PLAIN, "a", "xn--bcher-kva.example"},
    {"<a@fa\xc3\x9f.example>", PLAIN, "a", "xn--fa-hia.example"}, /* not fass: nontransitional */
    {"<a@\xe4\xbe\x8b\xe3\x81\x88.\xe3\x83\x86\xe3\x82\xb9\xe3\x83\x88>", PLAIN, "a",
     "xn--r8jz45g.xn--zckzah"},
    {"<a@\xe4\xbe\x8b\xe3\x81\x88\xe3\x80\x82\xe3\x83\x86\xe3\x82\xb9\xe3\x83\x88>", PLAIN, "a",
     "xn--r8jz45g.xn--zckzah"},                         /* an ideographic full stop is a dot */
    {"<a@\xe4\xbe\x8b\xe3\x80\x82.>", BAD, NULL, NULL}, /* two of them at the end */
    {"<a@\xef\xbd\x8c\xef\xbd\x8f.example>", PLAIN, "a", "lo.example"}, /* wide letters */
    {"<a@b\xef\xbc\xa0"
     "c.example>",
     BAD, NULL, NULL}, /* a wide @ */
    {"<a@b\xef\xbc\x85"
     "c.example>",
     BAD, NULL, NULL}, /* a wide % */
    {"<a@b\xe3\x80\x80"
     "c.example>",
     BAD, NULL, NULL},                         /* a wide space */
    {"<a@\xc2\xad.example>", BAD, NULL, NULL}, /* nothing but a soft hyphen */
    {"<a@-\xc3\xbc.example>", BAD, NULL, NULL},
    {"<a@b\xe9.example>", BAD, NULL, NULL},
    {"<@\xc3\xbc.example:a@b.example>", ROUTED, "a", "b.example"},

    /* address literals */
    {"<a@[IPv6:2001:DB8::A]>", LITERAL, "a", "[IPv6:2001:db8::a]"},
    {"<a@[IPV6:::1]>", LITERAL, "a", "[IPv6:::1]"},
    {"<a@[IPv6:::]>", LITERAL, "a", "[IPv6:::]"},
    {"<a@[IPv6:::ffff:192.0.2.1]>", LITERAL, "a", "[192.0.2.1]"},
    {"<a@[IPv6:::192.0.2.1]>", LITERAL, "a", "[IPv6:::c000:201]"},
    {"<a@[IPv6:fe80::1%eth0]>", BAD, NULL, NULL},
    {"<a@[IPv6:1::2::3]>", BAD, NULL, NULL},
    {"<a@[IPv6:]>", BAD, NULL, NULL},
    {"<a@[]>", BAD, NULL, NULL},
    {"<a@[>", BAD, NULL, NULL},
    {"<a@]>", BAD, NULL, NULL},
    {"<a@[192.0.2.256]>", BAD, NULL, NULL},
    {"<a@[192.0.2]>", BAD, NULL, NULL},
    {"<a@[192.0.2.1].>", BAD, NULL, NULL},
    {"<a@[192.0.2.1].example>", BAD, NULL, NULL},
    {"<a@[ 192.0.2.1]>", BAD, NULL, NULL},
    {"<a@[[192.0.2.1]]>", BAD, NULL, NULL},
    {"<a@192.0.2.1>", PLAIN, "a", "192.0.2.1"},
};

static const struct {
    const char *text;
    const char *folded; /* NULL: no domain */
} domains[] = {
    {"Local.Example.", "local.example"},
    {"localhost", "localhost"},
    {"_", "_"},
    {"0", "0"},
    {"b\xc3\xbc"
     "cher.example",
     "xn--bcher-kva.example"},
    {"", NULL},
    {".", NULL},
    {"..", NULL},
    {"a b", NULL},
    {"[192.0.2.1]", NULL},
    {"[IPv6:::1]", NULL},
    {"a@b.example", NULL},
    {"<a.example>", NULL},
    {"a.example\r\n", NULL},
    {"*.example", NULL},
    {"-", NULL},
};

static const struct {
    const char *fold, *rest;
} batv[] = {
    {"prvs=0123abcdef=a", "a"},
    {"prvs=0=a", "a"},
    {"prvs=0=a=b", "a=b"},
    {"prvs=0=prvs=1=a", "prvs=1=a"},
    {"prvs=0=", "prvs=0="},
    {"prvs==a", "prvs==a"},
    {"prvs=0", "prvs=0"},
    {"prvs=", "prvs="},
    {"prvs=a b=c", "prvs=a b=c"},
    {"xprvs=0=a", "xprvs=0=a"},
    {"prvs", "prvs"},
    {"", ""},
};

/* ---- helpers ---- */

static void parse(const char *text, size_t size, struct address *address)
{
    char *copy = exact_copy(text, size);

    memset(address, 0x5a, sizeof *address);
    address_parse(copy, size, address);
    free(copy);
}

static bool has_control(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return true;
    }
    return false;
}

/* What holds for every answer. */
static void check_answer(const char *about, const struct address *address)
{
    size_t local = strlen(address->local), domain = strlen(address->domain);
    struct address again;
    char text[1 + ADDRESS_DOMAIN_ROOM] = "x@";

    if (has_control(address->local, local) || has_control(address->domain, domain))
        fail_msg("%s: a control byte comes through", about);
    if (local != address->local_size || strlen(address->fold) != local)
        fail_msg("%s: lengths differ", about);
    if (address->kind != ADDRESS_MAILBOX && (local > 0 || domain > 0 || address->literal))
        fail_msg("%s: no mailbox, but parts of one", about);
    if (address->literal != (address->domain[0] == '['))
        fail_msg("%s: literal or not?", about);
    if (address->out_of_memory)
        fail_msg("%s: out of memory", about);
    if (domain == 0 || domain + 2 >= sizeof text)
        return;
    memcpy(text + 2, address->domain, domain + 1);
    parse(text, domain + 2, &again);
    if (again.kind != ADDRESS_MAILBOX || strcmp(again.domain, address->domain) != 0)
        fail_msg("%s: domain %s is another when read again", about, address->domain);
}

static const char *or_empty(const char *text)
{
    return text != NULL ? text : "";
}

/* ---- tests ---- */

static void test_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        const char *raw = rows[i].raw;
        enum address_kind kind = (rows[i].is & BAD) != 0           ? ADDRESS_MALFORMED
                                 : (rows[i].is & NULL_SENDER) != 0 ? ADDRESS_NULL
                                                                   : ADDRESS_MAILBOX;
        struct address address;

        parse(raw, strlen(raw), &address);
        check_answer(raw, &address);
        if (address.kind != kind)
            fail_msg("%s: kind %d", raw, (int)address.kind);
        if (address.routed != ((rows[i].is & ROUTED) != 0))
            fail_msg("%s: routed %d", raw, address.routed);
        if (address.literal != ((rows[i].is & LITERAL) != 0))
            fail_msg("%s: literal %d", raw, address.literal);
        if (strcmp(address.local, or_empty(rows[i].local)) != 0 ||
            strcmp(address.domain, or_empty(rows[i].domain)) != 0)
            fail_msg("%s: %s at %s", raw, address.local, address.domain);
    }
}

/* NUL and length, which a row cannot show. */
static void test_sizes(void **state)
{
    static const char nul[] = "<admin@local.example\0@far.example>";
    char path[ADDRESS_PATH_MOST + 4];
    struct address address;

    (void)state;
    parse(nul, sizeof nul - 1, &address);
    assert_int_equal(address.kind, ADDRESS_MALFORMED);
    assert_true(address.routed);
    parse("\0", 1, &address);
    assert_int_equal(address.kind, ADDRESS_MALFORMED);
    parse("<\"a\0b\"@c>", 10, &address);
    assert_int_equal(address.kind, ADDRESS_MALFORMED);
    parse("<\xc3\xa9@\xc3\xa9\0>", 8, &address);
    assert_int_equal(address.kind, ADDRESS_MALFORMED);

    memset(path, 'A', sizeof path);
    path[0] = '<';
    path[ADDRESS_PATH_MOST + 1] = '>';
    parse(path, ADDRESS_PATH_MOST + 2, &address);
    assert_int_equal(address.kind, ADDRESS_MAILBOX);
    assert_int_equal(address.local_size, ADDRESS_PATH_MOST);
    assert_int_equal(address.local[0], 'A');
    assert_int_equal(address.fold[ADDRESS_PATH_MOST - 1], 'a');
    path[ADDRESS_PATH_MOST + 1] = 'A';
    path[ADDRESS_PATH_MOST + 2] = '>';
    parse(path, ADDRESS_PATH_MOST + 3, &address);
    assert_int_equal(address.kind, ADDRESS_MALFORMED);
}

static void test_domains(void **state)
{
    char long_name[2000];
    char to[ADDRESS_DOMAIN_ROOM];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(domains); i++) {
        char *copy = exact_copy(domains[i].text, strlen(domains[i].text));
        bool is = domain_fold(copy, strlen(domains[i].text), to);

        free(copy);
        if (is != (domains[i].folded != NULL) || strcmp(to, or_empty(domains[i].folded)) != 0)
            fail_msg("%s becomes %s", domains[i].text, to);
    }
    memset(long_name, 'a', sizeof long_name);
    assert_false(domain_fold(long_name, sizeof long_name, to));
    for (size_t i = 0; i < sizeof long_name; i++)
        long_name[i] = "\xc3\xa9"[i % 2];
    assert_false(domain_fold(long_name, sizeof long_name, to));
    assert_false(domain_fold(long_name, 320, to));
    errno = ENOMEM; /* of another name before: a judgement asks at its end */
    assert_true(domain_fold("\xe4\xbe\x8b\xe3\x81\x88.jp", 9, to));
    assert_int_equal(errno, ENOMEM);
    errno = 0;
    assert_false(domain_fold("a\0.b", 4, to));
    assert_false(domain_fold("\xc3\xa9\0.b", 5, to));
}

static void test_folding(void **state)
{
    char to[6];

    (void)state;
    for (size_t i = 0; i < COUNT_OF(batv); i++) {
        if (strcmp(address_without_batv(batv[i].fold), batv[i].rest) != 0)
            fail_msg("%s becomes %s", batv[i].fold, address_without_batv(batv[i].fold));
    }
    ascii_fold("A@Z[\xc3\x89", to, sizeof to);
    assert_string_equal(to, "a@z[\xc3");
    ascii_fold("AZaz", to, 3);
    assert_string_equal(to, "az");
    ascii_fold("", to, sizeof to);
    assert_string_equal(to, "");
    to[0] = 'x';
    ascii_fold("a", to, 0);
    assert_int_equal(to[0], 'x');
    ascii_fold("a", to, 1);
    assert_string_equal(to, "");
}

static bool member_is_true(const json_t *one, const char *member)
{
    return json_is_true(json_object_get(one, member));
}

static void check_case(const json_t *one, const struct address *address)
{
    const char *about = case_text(one, "raw");
    const char *fold = case_text(one, "fold_local"), *same = case_text(one, "same_as");

    if (address->kind != ADDRESS_MAILBOX)
        fail_msg("%s: kind %d", about, (int)address->kind);
    if (strcmp(address->local, case_text(one, "local")) != 0 ||
        strcmp(address->domain, case_text(one, "domain")) != 0)
        fail_msg("%s: %s at %s", about, address->local, address->domain);
    if (fold != NULL && strcmp(address->fold, fold) != 0)
        fail_msg("%s: compared as %s", about, address->fold);
    if (address->literal != member_is_true(one, "literal"))
        fail_msg("%s: literal %d", about, address->literal);
    if (member_is_true(one, "relay_hack") && !address->routed)
        fail_msg("%s: not routed", about);
    if (json_is_false(json_object_get(one, "receive_only")) &&
        strcmp(address->fold, "postmaster") == 0)
        fail_msg("%s: taken for postmaster", about);
    if (same != NULL) {
        struct address other;

        parse(same, strlen(same), &other);
        if (strcmp(other.fold, address->fold) != 0 || strcmp(other.domain, address->domain) != 0)
            fail_msg("%s is not the same as %s", about, same);
    }
}

static void test_shared_cases(void **state)
{
    json_t *cases, *one, *root = cases_load("addresses.json", &cases);
    size_t i, valid = 0, invalid = 0;

    (void)state;
    json_array_foreach(cases, i, one)
    {
        const char *verdict = case_text(one, "verdict");
        const char *about = or_empty(case_text(one, "why"));
        struct address address;
        size_t size;
        char *bytes = case_bytes(one, &size);

        parse(bytes, size, &address);
        free(bytes);
        check_answer(about, &address);
        if (strcmp(verdict, "invalid") == 0) {
            if (address.kind != ADDRESS_MALFORMED)
                fail_msg("%s: must be refused", about);
            invalid++;
        } else if (member_is_true(one, "null_sender")) {
            if (address.kind != ADDRESS_NULL)
                fail_msg("%s: must be the null sender", about);
        } else if (strcmp(verdict, "valid") == 0 || address.kind != ADDRESS_MALFORMED) {
            check_case(one, &address);
            valid++;
        }
    }
    json_decref(root);
    assert_true(valid > 0 && invalid > 0);
}

static void test_hostile_strings(void **state)
{
    json_t *cases, *one, *root = cases_load("hostile-strings.json", &cases);
    size_t i;

    (void)state;
    json_array_foreach(cases, i, one)
    {
        struct address address;
        char domain[ADDRESS_DOMAIN_ROOM];
        size_t size;
        char *bytes = case_bytes(one, &size);

        if (size != (size_t)json_integer_value(json_object_get(one, "len")))
            fail_msg("%s has %zu bytes", case_text(one, "id"), size);
        parse(bytes, size, &address);
        check_answer(case_text(one, "id"), &address);
        if (address.kind != ADDRESS_MALFORMED && has_control(bytes, size))
            fail_msg("%s: a control byte is let in", case_text(one, "id"));
        domain_fold(bytes, size, domain);
        if (has_control(domain, strlen(domain)))
            fail_msg("%s: a control byte in a domain", case_text(one, "id"));
        free(bytes);
    }
    json_decref(root);
}

static uint32_t random_state = 2463534242u;

static uint32_t random_below(uint32_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state % limit;
}

/* Pieces put together at random. */
static void test_mutations(void **state)
{
    static const char *const pieces[] = {
        "a",           "B",
        "@",           "<",
        ">",           "\"",
        "\\",          ".",
        "-",           ",",
        ":",           "[",
        "]",           " ",
        "%",           "!",
        "\xc3\xa9",    "\xe3\x80\x82",
        "\xc3",        "\x80",
        "\n",          "xn--",
        "example",     "[192.0.2.1]",
        "[IPv6:::1]",  "@a.example:",
        "\"q\"",       "\xef\xbc\xa0",
        "prvs=1=",     "_",
        "a@b.example",
    };
    int mailboxes = 0, routed = 0;

    (void)state;
    for (int round = 0; round < 200000; round++) {
        char text[128] = "";
        size_t size = 0;
        struct address address;
        bool bracket = random_below(2) == 0;

        if (bracket)
            text[size++] = '<';
        for (uint32_t n = random_below(7); n > 0; n--) {
            const char *piece = pieces[random_below(COUNT_OF(pieces))];

            memcpy(text + size, piece, strlen(piece));
            size += strlen(piece);
        }
        if (bracket)
            text[size++] = '>';
        text[size] = '\0';
        parse(text, size, &address);
        check_answer(text, &address);
        if (address.kind != ADDRESS_MAILBOX)
            continue;
        mailboxes++;
        routed += address.routed;
        if (!address.routed && strpbrk(address.local, "%!@") != NULL)
            fail_msg("%s: not routed", text);
    }
    assert_true(mailboxes > 5000 && routed > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),         cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_domains),      cmocka_unit_test(test_folding),
        cmocka_unit_test(test_shared_cases), cmocka_unit_test(test_hostile_strings),
        cmocka_unit_test(test_mutations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
