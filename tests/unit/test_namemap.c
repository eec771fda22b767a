/* Names: the map against one that looks at every entry. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/namemap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

/* ---- rows ---- */

/* Names that sort closely; bytes above 0x7f come last, not first. */
static const char *const names[] = {
    "",
    "*",
    "a",
    "a.example",
    "a@",
    "ab",
    "abuse",
    "abuse@example.jp",
    "b",
    "b.example",
    "postmaster",
    "postmastes",
    "\xc3\xa4",
    "z",
    "zz",
    "\x01",
    /* alike in their first seven, eight and nine octets, which a search reads as a number */
    "samefor",
    "samefor7",
    "samefor8",
    "samefor8\x01",
    "samefor89",
    "samefor8\xff",
    "samefor8samefor8",
    "samefor8samefor9",
};

/* ---- tests ---- */

static void test_none(void **state)
{
    struct namemap map;

    (void)state;
    namemap_build(&map, NULL, 0);
    assert_int_equal(namemap_find(&map, "a").count, 0);
    assert_int_equal(namemap_find(&map, "").count, 0);
}

static void test_against_hand(void **state)
{
    unsigned long random = 1;

    (void)state;
    for (int round = 0; round < 2000; round++) {
        struct namemap_entry entries[40];
        size_t count, given[COUNT_OF(names)] = {0};
        struct namemap map;

        random = (random * 1103515245 + 12345) & 0x7fffffff;
        count = random % COUNT_OF(entries);
        for (size_t i = 0; i < count; i++) {
            size_t name;

            random = (random * 1103515245 + 12345) & 0x7fffffff;
            name = (random >> 8) % COUNT_OF(names);
            entries[i] = (struct namemap_entry){
                .key = names[name], .payload = (uint32_t)(1000 + i), .order = (uint32_t)i};
            given[name]++;
        }
        namemap_build(&map, entries, count);
        for (size_t n = 0; n < COUNT_OF(names); n++) {
            struct namemap_span span = namemap_find(&map, names[n]);

            assert_int_equal(span.count, given[n]);
            for (size_t i = 0; i < span.count; i++) {
                assert_string_equal(span.entries[i].key, names[n]);
                assert_int_equal(span.entries[i].payload, span.entries[i].order + 1000);
                if (i > 0)
                    assert_true(span.entries[i - 1].order < span.entries[i].order);
            }
        }
        assert_int_equal(namemap_find(&map, "ABUSE").count, 0);
        assert_int_equal(namemap_find(&map, "abuse@example.j").count, 0);
        assert_int_equal(namemap_find(&map, "abuse@example.jpx").count, 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_none),
        cmocka_unit_test(test_against_hand),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
