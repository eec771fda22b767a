/* Ranges: one reading or a sentence, and what a reading holds. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/range.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cases.h"

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

/* ---- rows ---- */

static const struct {
    const char *text;
    const char *canonical; /* NULL: refused */
    const char *says;      /* part of the sentence */
} texts[] = {
    {"192.0.2.1", "192.0.2.1", NULL},
    {"192.0.2.0/24", "192.0.2.0/24", NULL},
    {"192.0.2.0-192.0.2.255", "192.0.2.0/24", NULL},
    {"192.0.2.1-192.0.2.255", "192.0.2.1-192.0.2.255", NULL},
    {"192.0.2.7-192.0.2.7", "192.0.2.7", NULL},
    {"192.0.2.7/32", "192.0.2.7", NULL},
    {"0.0.0.0-255.255.255.255", "0.0.0.0/0", NULL},
    {"2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1", NULL},
    {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1", NULL},
    {"1:0:0:2:0:0:0:3", "1:0:0:2::3", NULL},
    {"0:0:0:0:0:0:0:0/0", "::/0", NULL},
    {"::/80", "::/80", NULL}, /* ends where the IPv4-mapped addresses end, and is IPv6 */
    {"::-::fffe:ffff:ffff", "::-::fffe:ffff:ffff", NULL},
    {"::192.0.2.1", "::c000:201", NULL},
    {"1:2:3:4:5::1.2.3.4", "1:2:3:4:5:0:102:304", NULL},
    {"::ffff:192.0.2.1", "192.0.2.1", NULL},
    {"::FFFF:c000:0200/120", "192.0.2.0/24", NULL},
    {"::ffff:0:0/96", "0.0.0.0/0", NULL},
    {"::ffff:192.0.2.1-192.0.2.9", "192.0.2.1-192.0.2.9", NULL},
    {"::ffff:0:0/95", NULL, "write the IPv4 block"},
    {"::-::ffff:1.2.3.4", NULL, "mixes"},
    {"1:2:3:4:5:6:7::8", NULL, "is not an address"},
    {"1:2:3:4:5:6:7:1.2.3.4", NULL, "is not an address"},
    {"1.2.3.4::", NULL, "is not an address"},
    {":::", NULL, "is not an address"},
    {"", NULL, "empty"},
    {"-", NULL, "- lacks an address"},
    {"/24", NULL, "/24 lacks an address"},
    {"192.0.2.77/24", NULL, "192.0.2.77/24 begins inside a block: that block is 192.0.2.0/24"},
    {"128.0.0.1/0", NULL, "that block is 0.0.0.0/0"},
    {"2001:db8::1/64", NULL, "that block is 2001:db8::/64"},
    {"::ffff:192.0.2.1/120", NULL, "that block is 192.0.2.0/24"},
    {"220.86.126.9-220.86.126.1", NULL, "220.86.126.9-220.86.126.1 ends before it begins"},
    {"192.0.2.1-2001:db8::1", NULL, "mixes IPv4 and IPv6"},
    {"192.0.2.0/24-192.0.3.0/24", NULL, "both a slash and a dash"},
    {"10.0.0.0/255.0.0.0", NULL, "netmask"},
    {"10.0.0.0/33", NULL, "0 to 32"},
    {"10.0.0.0/", NULL, "0 to 32"},
    {"2001:db8::/129", NULL, "0 to 128"},
    {"010.0.0.1", NULL, "leading zero"},
    {"192.0.2.1-192.0.2.010", NULL, "leading zero"},
    {"fe80::1%eth0", NULL, "zone"},
    {"192.0.2.1 ", NULL, "white space"},
    {"192.0.2.1\n", NULL, "192.0.2.1\\x0a has white space"},
    {"\xef\xbc\x91.2.3.4", NULL, "\\xef\\xbc\\x91.2.3.4 is not"},
};

static const struct {
    const char *text;
    const char *canonical; /* NULL: no address */
} clients[] = {
    {"192.0.2.1", "192.0.2.1"},
    {"[192.0.2.1]", "192.0.2.1"},
    {"::ffff:192.0.2.1", "192.0.2.1"},
    {"[::ffff:192.0.2.1]", "192.0.2.1"},
    {"IPv6:::ffff:192.0.2.1", "192.0.2.1"},
    {"2001:DB8::1", "2001:db8::1"},
    {"[2001:db8::1]", "2001:db8::1"},
    {"IPv6:2001:db8::1", "2001:db8::1"},
    {"ipv6:2001:db8::1", "2001:db8::1"},
    {"[IPv6:2001:db8::1]", "2001:db8::1"},
    {"fe80::1%eth0", "fe80::1"},
    {"[IPv6:fe80::1%eth0.7]", "fe80::1"},
    {"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
    {"", NULL},
    {"[]", NULL},
    {"[", NULL},
    {"unknown", NULL},
    {"IPv6:", NULL},
    {"IPv6:192.0.2.1", NULL},
    {"IPv6:IPv6:::1", NULL},
    {"IPv6:[::1]", NULL},
    {"[[::1]]", NULL},
    {"[192.0.2.1", NULL},
    {"192.0.2.1]", NULL},
    {"192.0.2.1%eth0", NULL},
    {"::ffff:192.0.2.1%eth0", NULL},
    {"fe80::1%", NULL},
    {"fe80::1%a b", NULL},
    {"%eth0", NULL},
    {"192.0.2.01", NULL},
    {" 192.0.2.1", NULL},
    {"192.0.2.0/24", NULL},
    {"192.0.2.1-192.0.2.9", NULL},
};

static const struct {
    const char *text;
    bool loopback, ipv4;
} kinds[] = {
    {"127.0.0.0", true, true},
    {"127.255.255.255", true, true},
    {"126.255.255.255", false, true},
    {"128.0.0.0", false, true},
    {"::1", true, false},
    {"::", false, false},
    {"::2", false, false},
    {"::ffff:127.0.0.1", true, true},
    {"::127.0.0.1", false, false},
    {"7f00::1", false, false},
    {"::fffe:127.0.0.1", false, false},
    {"1::ffff:127.0.0.1", false, false},
};

static const struct {
    const char *ranges[5];
    uint64_t ipv4, ipv6_48;
} counts[] = {
    {{NULL}, 0, 0},
    {{"192.0.2.1"}, 1, 0},
    {{"192.0.2.0/24"}, 256, 0},
    {{"192.0.2.0/24", "192.0.2.128/25", "192.0.2.0/24"}, 256, 0},
    {{"192.0.2.128-192.0.3.127", "192.0.2.0/24"}, 384, 0},
    {{"192.0.2.1-192.0.2.3", "192.0.2.4", "192.0.2.6"}, 5, 0},
    {{"10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "169.254.0.0/16"}, 0, 0},
    {{"127.0.0.0/8", "::1", "fc00::/7", "fe80::/10"}, 0, 0},
    {{"9.255.255.255-11.0.0.0"}, 2, 0},
    {{"100.63.255.255-100.128.0.0"}, 2, 0},
    {{"126.255.255.255-128.0.0.0"}, 2, 0},
    {{"169.253.255.255-169.255.0.0"}, 2, 0},
    {{"172.15.255.255-172.32.0.0"}, 2, 0},
    {{"192.167.255.255-192.169.0.0"}, 2, 0},
    {{"0.0.0.0/0"}, 4294967296 - 2 * 16777216 - 1048576 - 2 * 65536 - 4194304, 0},
    {{"2001:db8::1"}, 0, 1},
    {{"2001:db8::1", "2001:db8::2", "2001:db8:0:ffff::/64"}, 0, 1},
    {{"2001:db8::/48", "2001:db8:1::/48"}, 0, 2},
    {{"2001:db8:0:ffff:ffff:ffff:ffff:ffff-2001:db8:1::"}, 0, 2},
    {{"2001:db8::/32", "2001:db8:5::/48", "192.0.2.1"}, 1, 65536},
    {{"fbff:ffff:ffff::-fe00::"}, 0, 2},
    {{"fe7f:ffff:ffff::-fec0::"}, 0, 2},
    {{"::1", "::"}, 0, 1},
    {{"::1", "::1"}, 0, 0},
    {{"::/127"}, 0, 1},
    {{"::/80", "192.0.2.1"}, 1, 1},
    {{"::/0"}, 0, 281474976710656 - 2199023255552 - 274877906944},
    {{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "255.255.255.255"}, 1, 1},
};

/* Where the mutations start. */
static const char *const seeds[] = {
    "192.0.2.1",
    "10.0.0.0/8",
    "0.0.0.0/0",
    "192.0.2.1-192.0.2.9",
    "255.255.255.254/31",
    "2001:db8::1",
    "2001:db8::/32",
    "::/0",
    "::1-::ffff",
    "::ffff:192.0.2.0/120",
    "::9:192.0.2.1",
    "1:2:3:4:5:6:7:8",
    "1:2:3:4:5:6:7::",
    "fe80::1%eth0",
    "128.0.0.0/1",
    "ffff::/16",
    "::/80",
};

/* ---- helpers ---- */

static enum status parse(const char *text, size_t size, struct range *range, struct why *why)
{
    char *copy = exact_copy(text, size);
    enum status status = range_parse(copy, size, range, why);

    free(copy);
    return status;
}

static struct range range_of(const char *text)
{
    struct range range;
    struct why why;

    if (parse(text, strlen(text), &range, &why) != STATUS_OK)
        fail_msg("%s", why.text);
    return range;
}

static struct ip ip_of(const char *text)
{
    struct ip ip;

    if (!ip_parse(text, &ip))
        fail_msg("%s is not an address", text);
    return ip;
}

static bool same(const struct range *a, const struct range *b)
{
    return ip_compare(&a->first, &b->first) == 0 && ip_compare(&a->last, &b->last) == 0;
}

/* The number of addresses in decimal, by hand: width + 1 has up to 129 bits. */
static void count_text(const struct range *range, char text[48])
{
    struct ip width = range_width(range);
    unsigned char digit[40] = {0}; /* the lowest first */
    size_t length = COUNT_OF(digit), at = 0;

    for (int i = 0; i < 16; i++) {
        unsigned carry = width.byte[i];

        for (size_t d = 0; d < COUNT_OF(digit); d++) {
            carry += digit[d] * 256u;
            digit[d] = (unsigned char)(carry % 10);
            carry /= 10;
        }
    }
    for (size_t d = 0; d < COUNT_OF(digit) && ++digit[d] == 10; d++)
        digit[d] = 0;
    while (length > 1 && digit[length - 1] == 0)
        length--;
    while (length > 0)
        text[at++] = (char)('0' + digit[--length]);
    text[at] = '\0';
}

static void check_round_trip(const struct range *range)
{
    char text[RANGE_TEXT];
    struct range again;
    struct why why;

    range_text(range, text);
    if (parse(text, strlen(text), &again, &why) != STATUS_OK)
        fail_msg("own text refused: %s", why.text);
    if (!same(range, &again))
        fail_msg("%s is another range when read again", text);
}

/* ---- tests ---- */

static void test_texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        const char *text = texts[i].text;
        struct why why = {""};
        struct range range;
        char canonical[RANGE_TEXT];
        enum status status = parse(text, strlen(text), &range, &why);

        if (status != (texts[i].canonical != NULL ? STATUS_OK : STATUS_BAD))
            fail_msg("%s: status %d %s", text, status, why.text);
        if (status == STATUS_OK) {
            range_text(&range, canonical);
            if (strcmp(canonical, texts[i].canonical) != 0)
                fail_msg("%s becomes %s", text, canonical);
            check_round_trip(&range);
        } else if (strstr(why.text, texts[i].says) == NULL) {
            fail_msg("%s: %s", text, why.text);
        }
        assert_int_equal(parse(text, strlen(text), &range, NULL), status);
    }
}

static void test_clients(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(clients); i++) {
        char text[IP_TEXT] = "nothing";
        char *copy = exact_copy(clients[i].text, strlen(clients[i].text) + 1);
        struct ip ip;

        if (ip_parse(copy, &ip))
            ip_text(&ip, text);
        free(copy);
        if (strcmp(text, clients[i].canonical != NULL ? clients[i].canonical : "nothing") != 0)
            fail_msg("client %s is read as %s", clients[i].text, text);
    }
}

static void test_kinds(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        struct ip ip = ip_of(kinds[i].text);

        if (ip_is_loopback(&ip) != kinds[i].loopback || ip_is_ipv4(&ip) != kinds[i].ipv4)
            fail_msg("%s is taken for another kind", kinds[i].text);
    }
}

/* A case that was taken: its ends, its members, its count. */
static void check_taken(const json_t *one, const struct range *range)
{
    const char *text = case_text(one, "text");
    struct range expected;
    char count[48];
    size_t i;
    json_t *member;

    expected.first = ip_of(case_text(one, "first"));
    expected.last = ip_of(case_text(one, "last"));
    if (!same(range, &expected))
        fail_msg("%s: not the range it means", text);
    if (ip_is_ipv4(&range->first) != (json_integer_value(json_object_get(one, "family")) == 4))
        fail_msg("%s: not its family", text);
    json_array_foreach(json_object_get(one, "in"), i, member)
    {
        struct ip ip = ip_of(json_string_value(member));

        if (!range_holds(range, &ip))
            fail_msg("%s does not hold %s", text, json_string_value(member));
    }
    json_array_foreach(json_object_get(one, "out"), i, member)
    {
        struct ip ip = ip_of(json_string_value(member));

        if (range_holds(range, &ip))
            fail_msg("%s holds %s", text, json_string_value(member));
    }
    count_text(range, count);
    if (strcmp(count, case_text(one, "count")) != 0)
        fail_msg("%s counts %s", text, count);
    check_round_trip(range);
}

static void check_member(const json_t *one)
{
    struct range range = range_of(case_text(one, "range"));
    bool expected = json_is_true(json_object_get(one, "match"));
    struct ip ip;
    bool holds = ip_parse(case_text(one, "client"), &ip) && range_holds(&range, &ip);

    if (holds != expected)
        fail_msg("client %s and %s", case_text(one, "client"), case_text(one, "range"));
}

static void test_shared_cases(void **state)
{
    json_t *cases, *one, *root = cases_load("ranges.json", &cases);
    size_t i, members = 0, valid = 0, invalid = 0;

    (void)state;
    json_array_foreach(cases, i, one)
    {
        const char *verdict = case_text(one, "verdict");
        struct range range;
        struct why why = {""};
        enum status status;
        size_t size;
        char *bytes;

        if (json_is_true(json_object_get(one, "membership"))) {
            check_member(one);
            members++;
            continue;
        }
        bytes = case_bytes(one, &size);
        status = range_parse(bytes, size, &range, &why);
        if (strcmp(verdict, "valid") == 0) {
            if (status != STATUS_OK)
                fail_msg("must be taken: %s", why.text);
            valid++;
        } else if (strcmp(verdict, "invalid") == 0) {
            if (status != STATUS_BAD)
                fail_msg("must be refused: %s", case_text(one, "text"));
            invalid++;
        }
        if (status == STATUS_OK)
            check_taken(one, &range);
        else if (strlen(why.text) < 10 || (size > 0 && size < 90 && bytes[0] > ' ' &&
                                           why.text[0] != bytes[0] && why.text[0] != '\\'))
            fail_msg("no sentence that begins with the text: %s", why.text);
        free(bytes);
    }
    json_decref(root);
    assert_true(members > 0 && valid > 0 && invalid > 0);
}

static void test_counts(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        struct range ranges[COUNT_OF(counts[0].ranges)];
        uint64_t ipv4, ipv6_48;
        size_t count = 0;

        while (count < COUNT_OF(ranges) && counts[i].ranges[count] != NULL) {
            ranges[count] = range_of(counts[i].ranges[count]);
            count++;
        }
        ranges_count_public(ranges, count, &ipv4, &ipv6_48);
        if (ipv4 != counts[i].ipv4 || ipv6_48 != counts[i].ipv6_48)
            fail_msg("row %zu (%s): %llu %llu", i, counts[i].ranges[0], (unsigned long long)ipv4,
                     (unsigned long long)ipv6_48);
        for (size_t j = 1; j < count; j++)
            assert_true(ip_compare(&ranges[j - 1].first, &ranges[j].first) <= 0);
    }
    ranges_count_public(NULL, 0, &(uint64_t){0}, &(uint64_t){0});
}

static uint32_t random_state = 2463534242u;

static uint32_t random_below(uint32_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 17;
    random_state ^= random_state << 5;
    return random_state % limit;
}

/* Random ranges around the end of 10.0.0.0/8, against a ticked list. */
static void test_counts_by_ticking(void **state)
{
    enum { BASE = 0x0affff00, SIZE = 512, MOST = 12 };

    (void)state;
    for (int round = 0; round < 2000; round++) {
        struct range ranges[MOST];
        bool ticked[SIZE] = {false};
        size_t count = random_below(MOST + 1);
        uint64_t expected = 0, ipv4, ipv6_48;

        for (size_t i = 0; i < count; i++) {
            uint32_t first = random_below(SIZE);
            uint32_t last = first + random_below(SIZE - first < 40 ? SIZE - first : 40);
            uint32_t ends[2] = {htonl(BASE + first), htonl(BASE + last)};

            ranges[i].first = ip_from_ipv4((const unsigned char *)&ends[0]);
            ranges[i].last = ip_from_ipv4((const unsigned char *)&ends[1]);
            for (uint32_t at = first; at <= last; at++)
                ticked[at] = true;
        }
        for (uint32_t at = 0x0b000000 - BASE; at < SIZE; at++)
            expected += ticked[at];
        ranges_count_public(ranges, count, &ipv4, &ipv6_48);
        assert_true(ipv4 == expected && ipv6_48 == 0);
    }
}

/* ---- random mutations, against another reading of the same words ---- */

static bool other_address(const char *text, struct ip *ip, bool *colon)
{
    unsigned char byte[16];

    *colon = strchr(text, ':') != NULL;
    if (inet_pton(*colon ? AF_INET6 : AF_INET, text, byte) != 1)
        return false;
    *ip = *colon ? ip_from_ipv6(byte) : ip_from_ipv4(byte);
    return true;
}

static void set_bit(struct ip *ip, int bit)
{
    unsigned char mask = (unsigned char)(0x80 >> bit % 8);

    ip->byte[bit / 8] = (unsigned char)(ip->byte[bit / 8] | mask);
}

static bool other_range(const char *text, size_t size, struct range *range)
{
    char copy[128];
    char *split, *end;
    bool colon, colon2;
    long length;

    if (size >= sizeof copy || memchr(text, '\0', size) != NULL)
        return false;
    memcpy(copy, text, size);
    copy[size] = '\0';
    split = strpbrk(copy, "/-");
    if (split == NULL) {
        if (!other_address(copy, &range->first, &colon))
            return false;
        range->last = range->first;
        return true;
    }
    if (*split == '-') {
        *split = '\0';
        return other_address(copy, &range->first, &colon) &&
               other_address(split + 1, &range->last, &colon2) &&
               ip_is_ipv4(&range->first) == ip_is_ipv4(&range->last) &&
               ip_compare(&range->first, &range->last) <= 0;
    }
    *split = '\0';
    if (!other_address(copy, &range->first, &colon) || strspn(split + 1, "0123456789") == 0 ||
        (split[1] == '0' && split[2] != '\0'))
        return false;
    length = strtol(split + 1, &end, 10);
    if (*end != '\0' || length > (colon ? 128 : 32))
        return false;
    if (colon && length < 96 && ip_is_ipv4(&range->first))
        return false;
    range->last = range->first;
    for (int bit = (int)(colon ? length : length + 96); bit < 128; bit++) {
        if ((range->first.byte[bit / 8] & 0x80 >> bit % 8) != 0)
            return false;
        set_bit(&range->last, bit);
    }
    return true;
}

static size_t mutate(char *text, size_t room)
{
    static const char alphabet[] = "0123456789abcdefF:./-% \n\0x[]";
    const char *seed = seeds[random_below(COUNT_OF(seeds))];
    size_t size = strlen(seed);

    memcpy(text, seed, size);
    for (uint32_t n = random_below(5); n > 0; n--) {
        size_t at = random_below((uint32_t)size + 1);
        char c = alphabet[random_below(sizeof alphabet - 1)];

        switch (random_below(4)) {
        case 0: /* insert */
            if (size < room) {
                memmove(text + at + 1, text + at, size - at);
                text[at] = c;
                size++;
            }
            break;
        case 1: /* remove */
            if (at < size) {
                memmove(text + at, text + at + 1, size - at - 1);
                size--;
            }
            break;
        case 2: /* replace */
            if (at < size)
                text[at] = c;
            break;
        default: /* once more from the middle on */
            if (size * 2 - at <= room) {
                memcpy(text + size, text + at, size - at);
                size += size - at;
            }
            break;
        }
    }
    return size;
}

static void test_mutations(void **state)
{
    char text[1000];
    int taken = 0;

    (void)state;
    for (int round = 0; round < 200000; round++) {
        size_t size = mutate(text, sizeof text);
        struct range range, other;
        struct why why = {""};
        enum status status = parse(text, size, &range, &why);

        assert_true(status == STATUS_OK || status == STATUS_BAD);
        if ((status == STATUS_OK) != other_range(text, size, &other))
            fail_msg("two readings of %.*s: %s", (int)size, text, why.text);
        if (status == STATUS_BAD) {
            assert_true(strlen(why.text) >= 10);
            continue;
        }
        taken++;
        if (!same(&range, &other))
            fail_msg("two meanings of %.*s", (int)size, text);
        assert_true(ip_compare(&range.first, &range.last) <= 0);
        assert_true(range_holds(&range, &range.first));
        check_round_trip(&range);
    }
    assert_true(taken > 20000);
}

static void test_long_texts(void **state)
{
    static const char units[][8] = {"1", ":", "::", "1:", "1.", "/", "-", "1.2.3/", "\n", "\xff"};

    (void)state;
    for (size_t i = 0; i < COUNT_OF(units); i++) {
        char text[1001];
        struct range range;
        struct why why = {""};
        struct ip ip;

        for (size_t at = 0; at < 1000; at++)
            text[at] = units[i][at % strlen(units[i])];
        text[1000] = '\0';
        assert_int_equal(parse(text, 1000, &range, &why), STATUS_BAD);
        assert_true(strlen(why.text) > 10);
        assert_false(ip_parse(text, &ip));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts),     cmocka_unit_test(test_clients),
        cmocka_unit_test(test_kinds),     cmocka_unit_test(test_shared_cases),
        cmocka_unit_test(test_counts),    cmocka_unit_test(test_counts_by_ticking),
        cmocka_unit_test(test_mutations), cmocka_unit_test(test_long_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
