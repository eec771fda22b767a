/* One bounded sentence: nothing of the input reaches a log unescaped. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/status.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    const char *about;
    const char *text;
    size_t size, keep, room;
    const char *expected;
} copies[] = {
    {"plain", "hello", 5, 10, 72, "hello"},
    {"nothing", "", 0, 10, 72, ""},
    {"as long as is kept", "hello", 5, 5, 52, "hello"},
    {"one more than is kept", "hello!", 6, 5, 52, "hello...(6)"},
    {"keep nothing", "hello", 5, 0, 32, "...(5)"},
    {"control bytes", "a\nb\x7f\x1b", 5, 10, 72, "a\\x0ab\\x7f\\x1b"},
    {"NUL", "a\0b", 3, 10, 72, "a\\x00b"},
    {"not ASCII", "caf\xc3\xa9", 5, 10, 72, "caf\\xc3\\xa9"},
    {"quote and backslash", "\"\\", 2, 10, 72, "\\x22\\x5c"},
    {"edges of the printable", " ~", 2, 10, 72, " ~"},
    {"an escape is not cut in two", "ab\n", 3, 10, 6, "ab"},
    {"an escape that just fits", "ab\n", 3, 10, 7, "ab\\x0a"},
    {"the tail goes before the text", "abcdefgh", 8, 6, 10, "abc...(8)"},
    {"no room for the tail", "abcdefgh", 8, 6, 5, "abcd"},
    {"room for NUL only", "abc", 3, 10, 1, ""},
};

static void test_printable_copy(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof copies / sizeof copies[0]; i++) {
        char *to = malloc(copies[i].room);
        size_t length;

        assert_non_null(to);
        length = printable_copy(to, copies[i].room, copies[i].text, copies[i].size, copies[i].keep);
        if (strcmp(to, copies[i].expected) != 0 || length != strlen(to))
            fail_msg("%s: %s (%zu)", copies[i].about, to, length);
        free(to);
    }
}

static void test_room_is_enough(void **state)
{
    enum { KEEP = 256 };
    char text[KEEP + 1], to[KEEP * 4 + 32];

    (void)state;
    memset(text, '\xff', sizeof text);
    assert_int_equal(printable_copy(to, sizeof to, text, KEEP, KEEP), KEEP * 4);
    assert_int_equal(printable_copy(to, sizeof to, text, KEEP + 1, KEEP), KEEP * 4 + 8);
    assert_string_equal(to + KEEP * 4, "...(257)");
    to[0] = 'x';
    assert_int_equal(printable_copy(to, 0, text, 1, 1), 0);
    assert_int_equal(to[0], 'x');
}

static const struct {
    const char *shown, *text;
} readings[] = {
    {"taro", "taro"},
    {"", ""},
    {"corp\\x5ctaro", "corp\\taro"},
    {"\\xe5\\xa4\\xaa", "\xe5\xa4\xaa"},
    {"a\\x0ab\\x22", "a\nb\""},
    {"\\x5cx41", "\\x41"}, /* once, not twice */
    {"corp\\taro", "corp\\taro"},
    {"a\\x41\\xAB\\x0\\x", "a\\x41\\xAB\\x0\\x"},
    {"a\\x00b", "a\\x00b"},
    {"a\\xe", "a\\xe"},
};

static void test_printable_read(void **state)
{
    char to[32], every[256], shown[4 * sizeof every + 32], back[sizeof every];

    (void)state;
    for (size_t i = 0; i < sizeof readings / sizeof readings[0]; i++) {
        size_t length = printable_read(to, sizeof to, readings[i].shown);
        if (strcmp(to, readings[i].text) != 0 || length != strlen(to)) {
            fail_msg("%s: %s (%zu)", readings[i].shown, to, length);
        }
    }
    for (size_t i = 0; i < sizeof every - 1; i++) {
        every[i] = (char)(i + 1);
    }
    printable_copy(shown, sizeof shown, every, sizeof every - 1, sizeof every);
    assert_int_equal(printable_read(back, sizeof back, shown), sizeof back - 1);
    assert_memory_equal(back, every, sizeof back - 1);
    assert_int_equal(printable_read(back, sizeof back - 1, shown), sizeof back - 1);
    assert_int_equal(strlen(back), sizeof back - 2);
}

static const struct {
    size_t room;
    const char *text, *short_text;
} shortenings[] = {
    {18, "", ""},
    {18, "taro", "taro"},
    {18, "12345678901234567", "12345678901234567"},
    {18, "123456789012345678", "1234~72ca4c27695d"},
    {20, "a\\xe5\\xb1\\xb1\\xe7\\x94", "a\\xe5~1e055680f87b"},
    {20, "a\\xe5\\xb1\\xb1\\xe7\\x95", "a\\xe5~21155680f86b"},
    {20, "ab\\xe5\\xb1\\xb1\\xe7\\x95", "ab\\xe5~45617d58d3b7"},
    {20, "abc\\xe5\\xb1\\xb1\\xe7\\x95", "abc~e6578ced8356"}, /* an escape is whole or not there */
    {19, "\\xe5\\xb1\\xb1\\xe7\\x95", "\\xe5~9606e4846189"},
};

static void test_printable_shorten(void **state)
{
    char to[32];

    (void)state;
    for (size_t i = 0; i < sizeof shortenings / sizeof shortenings[0]; i++) {
        for (int same = 0; same < 2; same++) {
            snprintf(to, sizeof to, "%s", same == 1 ? shortenings[i].text : "");
            size_t length =
                printable_shorten(to, shortenings[i].room, same == 1 ? to : shortenings[i].text);
            if (strcmp(to, shortenings[i].short_text) != 0 || length != strlen(to)) {
                fail_msg("%s: %s (%zu)", shortenings[i].text, to, length);
            }
        }
    }
}

static void test_why_set(void **state)
{
    struct why why;
    char big[3000];

    (void)state;
    assert_int_equal(why_set(NULL, STATUS_BUSY, "%s", "x"), STATUS_BUSY);
    assert_int_equal(why_set(&why, STATUS_BAD, "row %d: %s", 17, "a\r\n\"\\\xc3\xa9%n"),
                     STATUS_BAD);
    assert_string_equal(why.text, "row 17: a\\x0d\\x0a\"\\\\xc3\\xa9%n");
    /* A caller puts words before what it was told. */
    assert_int_equal(why_set(&why, STATUS_BROKEN, "ip_range: %s", why.text), STATUS_BROKEN);
    assert_string_equal(why.text, "ip_range: row 17: a\\x0d\\x0a\"\\\\xc3\\xa9%n");

    memset(big, 'a', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    why_set(&why, STATUS_BAD, "%s", big);
    assert_int_equal(strlen(why.text), 255);
    /* 255 = 63 * 4 + 3: the 64th escape does not fit. */
    memset(big, '\n', sizeof big - 1);
    why_set(&why, STATUS_BAD, "%s", big);
    assert_int_equal(strlen(why.text), 252);
    assert_string_equal(why.text + 248, "\\x0a");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_printable_copy), cmocka_unit_test(test_room_is_enough),
        cmocka_unit_test(test_printable_read), cmocka_unit_test(test_printable_shorten),
        cmocka_unit_test(test_why_set),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
