/* The narrowest range: the map against one that looks at every range. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/rangemap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

enum { ITEMS_MOST = 60, SEEDS = 3000 };

/* ---- rows ---- */

static const struct {
    const char *ranges[5]; /* a range, its strictness in front: "2 10.0.0.0/8"; NULL ends */
    const char *client;
    int winner; /* which of them, -1 nobody */
} cases[] = {
    {{NULL}, "10.0.0.1", -1},
    {{"1 10.0.0.0/8"}, "10.0.0.0", 0},
    {{"1 10.0.0.0/8"}, "10.255.255.255", 0},
    {{"1 10.0.0.0/8"}, "9.255.255.255", -1},
    {{"1 10.0.0.0/8"}, "11.0.0.0", -1},
    {{"1 0.0.0.0/0", "1 10.0.0.0/8", "1 10.1.0.0/16"}, "10.1.0.0", 2},
    {{"1 0.0.0.0/0", "1 10.0.0.0/8", "1 10.1.0.0/16"}, "10.2.0.0", 1},
    {{"1 0.0.0.0/0", "1 10.0.0.0/8", "1 10.1.0.0/16"}, "255.255.255.255", 0},
    {{"1 10.0.0.0-10.0.0.9", "1 10.0.0.5-10.0.0.15"}, "10.0.0.5", 0},
    {{"1 10.0.0.0-10.0.0.9", "1 10.0.0.5-10.0.0.15"}, "10.0.0.10", 1},
    {{"1 10.0.0.0-10.0.0.9", "1 10.0.0.5-10.0.0.14"}, "10.0.0.7", 0},
    {{"1 10.0.0.0-10.0.0.9", "2 10.0.0.5-10.0.0.14"}, "10.0.0.7", 1},
    {{"2 10.0.0.0-10.0.0.9", "3 10.0.0.5-10.0.0.15"}, "10.0.0.7", 0},
    {{"1 10.0.0.0/24", "3 10.0.0.0/24", "2 10.0.0.0/24"}, "10.0.0.7", 1},
    {{"1 255.255.255.255", "1 255.255.255.0/24"}, "255.255.255.255", 0},
    {{"1 0.0.0.0", "1 0.0.0.0/31"}, "0.0.0.0", 0},
    {{"1 ::/0", "1 ::/80"}, "192.0.2.1", -1},
    {{"1 ::/0", "1 ::/80"}, "::1", 1},
    {{"1 ::/0", "1 0.0.0.0/0"}, "192.0.2.1", 1},
    {{"1 ::/0", "1 0.0.0.0/0"}, "2001:db8::", 0},
    {{"1 ffff::/16", "1 ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
     "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
     1},
};

/* ---- helpers ---- */

static uint64_t random_next(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* An address near one of the edges where off-by-one faults live. */
static struct ip random_ip(uint64_t *state, bool ipv4)
{
    static const unsigned char high[] = {0x00, 0x0a, 0x7f, 0x80, 0xff};
    unsigned char byte[16];
    size_t size = ipv4 ? 4 : 16;
    uint64_t number = random_next(state);

    memset(byte, number & 1 ? 0 : 0xff, sizeof byte);
    byte[0] = high[random_next(state) % COUNT_OF(high)];
    byte[size - 2] = number & 2 ? byte[size - 2] : (unsigned char)(number >> 8 & 3);
    byte[size - 1] = (unsigned char)(number >> 16);
    return ipv4 ? ip_from_ipv4(byte) : ip_from_ipv6(byte);
}

static struct rangemap_item random_item(uint64_t *state, uint32_t i, bool ipv4)
{
    struct ip a = random_ip(state, ipv4), b = random_ip(state, ipv4);
    struct rangemap_item item = {.payload = i, .order = i};

    if (random_next(state) % 4 == 0)
        b = a;
    item.range.first = ip_compare(&a, &b) < 0 ? a : b;
    item.range.last = ip_compare(&a, &b) < 0 ? b : a;
    item.strictness = (unsigned char)(random_next(state) % 3);
    return item;
}

/* What the header promises, said without a map. */
static int64_t by_hand(const struct rangemap_item *items, size_t count, const struct ip *ip)
{
    const struct rangemap_item *best = NULL;

    for (size_t i = 0; i < count; i++) {
        struct ip width = range_width(&items[i].range), least;
        int difference;

        if (!range_holds(&items[i].range, ip) ||
            ip_is_ipv4(&items[i].range.first) != ip_is_ipv4(ip))
            continue;
        if (best == NULL) {
            best = &items[i];
            continue;
        }
        least = range_width(&best->range);
        difference = ip_compare(&width, &least);
        if (difference < 0 || (difference == 0 && items[i].strictness > best->strictness) ||
            (difference == 0 && items[i].strictness == best->strictness &&
             items[i].order < best->order))
            best = &items[i];
    }
    return best != NULL ? (int64_t)best->payload : RANGEMAP_NONE;
}

static struct ip beside(struct ip ip, int step)
{
    for (int i = 15; i >= 0; i--) {
        unsigned char before = ip.byte[i];

        ip.byte[i] = (unsigned char)(before + step);
        if (step > 0 ? before != 255 : before != 0)
            break;
    }
    return ip;
}

static void check_one(const struct rangemap *map, const struct rangemap_item *items, size_t count,
                      struct ip ip, uint64_t seed)
{
    char text[IP_TEXT];
    int64_t got = rangemap_find(map, &ip), expected = by_hand(items, count, &ip);

    if (got != expected) {
        ip_text(&ip, text);
        fail_msg("seed %llu, %zu ranges, %s: payload %lld, by hand %lld", (unsigned long long)seed,
                 count, text, (long long)got, (long long)expected);
    }
}

static void check_shape(const struct rangemap *map, size_t count4, size_t count6)
{
    assert_true(map->count4 <= 2 * count4 + 1);
    assert_true(map->count6 <= 2 * count6 + 1);
    for (size_t i = 1; i < map->count4; i++) {
        assert_true(map->first4[i - 1] < map->first4[i]);
        assert_int_not_equal(map->value4[i - 1], map->value4[i]);
    }
    for (size_t i = 1; i < map->count6; i++)
        assert_true(ip_compare(&map->first6[i - 1], &map->first6[i]) < 0);
}

/* ---- tests ---- */

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        struct rangemap_item items[COUNT_OF(cases[i].ranges)];
        struct rangemap map;
        size_t count = 0;
        struct ip ip;

        memset(items, 0, sizeof items);
        for (; count < COUNT_OF(items) && cases[i].ranges[count] != NULL; count++) {
            const char *text = cases[i].ranges[count];

            assert_int_equal(range_parse(text + 2, strlen(text + 2), &items[count].range, NULL),
                             STATUS_OK);
            items[count].payload = items[count].order = (uint32_t)count;
            items[count].strictness = (unsigned char)(text[0] - '0');
        }
        assert_int_equal(rangemap_build(&map, items, count), 0);
        assert_true(ip_parse(cases[i].client, &ip));
        if (rangemap_find(&map, &ip) != cases[i].winner)
            fail_msg("row %zu, %s: %lld", i, cases[i].client, (long long)rangemap_find(&map, &ip));
        rangemap_free(&map);
        assert_int_equal(rangemap_find(&map, &ip), RANGEMAP_NONE);
    }
}

static void test_against_hand(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct rangemap_item items[ITEMS_MOST], sorted[ITEMS_MOST];
        uint64_t random = seed * 0x9e3779b97f4a7c15u;
        size_t count = 1 + random_next(&random) % ITEMS_MOST, count4 = 0;
        struct rangemap map;

        for (size_t i = 0; i < count; i++) {
            bool ipv4 = random_next(&random) % 2 == 0;

            items[i] = random_item(&random, (uint32_t)i, ipv4);
            /* a range of IPv6 may not lie in the room of IPv4, but may hold it whole */
            if (ip_is_ipv4(&items[i].range.first) != ip_is_ipv4(&items[i].range.last))
                items[i].range.last = items[i].range.first;
            count4 += ip_is_ipv4(&items[i].range.first);
        }
        memcpy(sorted, items, sizeof *items * count);
        assert_int_equal(rangemap_build(&map, sorted, count), 0);
        check_shape(&map, count4, count - count4);
        for (size_t i = 0; i < count; i++) {
            check_one(&map, items, count, items[i].range.first, seed);
            check_one(&map, items, count, items[i].range.last, seed);
            check_one(&map, items, count, beside(items[i].range.first, -1), seed);
            check_one(&map, items, count, beside(items[i].range.last, 1), seed);
            check_one(&map, items, count, random_ip(&random, i % 2 == 0), seed);
        }
        rangemap_free(&map);
    }
}

/* So many that the map has an index: blocks with none, one, many of them, and both ends. */
static void test_large(void **state)
{
    enum { LARGE = 6000, LOOKS = 1000 };
    struct rangemap_item *items = calloc(LARGE, sizeof *items),
                         *sorted = calloc(LARGE, sizeof *items);
    uint64_t random = 4711;
    struct rangemap map;
    struct ip ip;

    (void)state;
    assert_true(items != NULL && sorted != NULL);
    for (uint32_t i = 0; i < LARGE; i++) {
        uint64_t number = random_next(&random);
        uint32_t first = (uint32_t)(number >> 20);
        uint32_t width =
            i % 100 == 0 ? UINT32_C(1) << 24 : (uint32_t)(number & (i % 2 == 0 ? 0x1fff : 0x3f));

        first = i % 2 == 0 ? first : UINT32_C(0x0a000000) + (first & 0xfffff);
        first = i == 0 ? 0 : i == 1 ? UINT32_MAX - width : first;
        uint32_t last = first < UINT32_MAX - width ? first + width : UINT32_MAX;
        items[i].range.first = ip_from_ipv4(
            (unsigned char[]){(unsigned char)(first >> 24), (unsigned char)(first >> 16),
                              (unsigned char)(first >> 8), (unsigned char)first});
        items[i].range.last =
            ip_from_ipv4((unsigned char[]){(unsigned char)(last >> 24), (unsigned char)(last >> 16),
                                           (unsigned char)(last >> 8), (unsigned char)last});
        items[i].payload = items[i].order = i;
    }
    memcpy(sorted, items, LARGE * sizeof *items);
    assert_int_equal(rangemap_build(&map, sorted, LARGE), 0);
    assert_non_null(map.index4);
    check_shape(&map, LARGE, 0);
    assert_true(ip_parse("0.0.0.0", &ip));
    check_one(&map, items, LARGE, ip, 0);
    assert_true(ip_parse("255.255.255.255", &ip));
    check_one(&map, items, LARGE, ip, 0);
    for (size_t i = 0; i < LOOKS; i++) {
        uint64_t number = random_next(&random);
        const struct rangemap_item *item = &items[number % LARGE];

        ip = i % 2 == 0 ? item->range.first : item->range.last;
        check_one(&map, items, LARGE, beside(ip, i % 3 == 0 ? 1 : i % 3 == 1 ? -1 : 0), i);
        /* the first and the last address of a block */
        ip.byte[14] = ip.byte[15] = i % 2 == 0 ? 0 : 0xff;
        check_one(&map, items, LARGE, ip, i);
    }
    rangemap_free(&map);
    assert_null(map.index4);
    free(items);
    free(sorted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),
        cmocka_unit_test(test_against_hand),
        cmocka_unit_test(test_large),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
