/* Times as people read and write them: every day of the calendar, and nothing else. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/stamp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

/* ---- rows ---- */

static const struct {
    const char *text;
    int64_t wall;
} times[] = {
    {"1970-01-01 00:00:00", 0},
    {"1970-01-01T00:00:01Z", 1000},
    {"2026-11-24 03:00:00", INT64_C(1795489200000)},
    {"2026-11-24 03:00:00.123", INT64_C(1795489200123)},
    {"2000-02-29 23:59:59.999", INT64_C(951868799999)},
    {"1969-12-31 23:59:59.999", -1},
    {"1900-02-28 00:00:00", INT64_C(-2203977600000)},
    {"0000-01-01 00:00:00", INT64_C(-62167219200000)},
    {"9999-12-31 23:59:59.999", INT64_C(253402300799999)},
};

static const char *const none[] = {
    "",
    "now",
    "2026-11-24",
    "2026-11-24 03:00",
    "2026-11-24 03:00:00Z",
    "2026-11-24T03:00:00",
    "2026-11-24T03:00:00.123",
    "2026-11-24 03:00:00.12",
    "2026-11-24 03:00:00.1234",
    "2026-11-24 03:00:00,123",
    "2026-11-24 03:00:00.12x",
    "2026-11-24 03:00:60",
    "2026-11-24 03:60:00",
    "2026-11-24 24:00:00",
    "2026-11-31 03:00:00",
    "2026-02-29 03:00:00",
    "1900-02-29 03:00:00",
    "2026-00-24 03:00:00",
    "2026-13-24 03:00:00",
    "2026-11-00 03:00:00",
    "2026/11/24 03:00:00",
    "+026-11-24 03:00:00",
    "2026-11-24 03.00:00",
    "2026-11-24 03:00.00",
    " 026-11-24 03:00:00",
};

/* ---- tests ---- */

static void test_times(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(times); i++) {
        int64_t wall = 7;
        char text[STAMP_TEXT];

        if (!stamp_read(times[i].text, strlen(times[i].text), &wall) || wall != times[i].wall) {
            fail_msg("%s: %lld", times[i].text, (long long)wall);
        }
        assert_int_equal(stamp_write(wall, true, text), STAMP_TEXT - 1);
        assert_memory_equal(text, times[i].text, 10);
        assert_memory_equal(text + 11, times[i].text + 11, 8);
        assert_int_equal(stamp_write(wall, false, text), STAMP_SECONDS);
        assert_int_equal(strlen(text), STAMP_SECONDS);
    }
}

static void test_no_times(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(none); i++) {
        int64_t wall = 7;

        if (stamp_read(none[i], strlen(none[i]), &wall)) {
            fail_msg("%s: %lld", none[i], (long long)wall);
        }
        assert_int_equal(wall, 7);
    }
}

/* Every day of 800 years as the C library has it, and back. */
static void test_every_day(void **state)
{
    (void)state;
    for (int64_t day = -150000; day < 150000; day++) {
        time_t second = day * 86400 + (day % 86400 + 86400) % 86400;
        int64_t wall = 0;
        char text[STAMP_TEXT], expected[64];
        struct tm tm;

        assert_non_null(gmtime_r(&second, &tm));
        snprintf(expected, sizeof expected, "%04d-%02d-%02d %02d:%02d:%02d", tm.tm_year + 1900,
                 tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
        stamp_write((int64_t)second * 1000, false, text);
        if (strcmp(text, expected) != 0) {
            fail_msg("%s, expected %s", text, expected);
        }
        assert_true(stamp_read(text, strlen(text), &wall));
        assert_true(wall == (int64_t)second * 1000);
    }
}

static void test_beyond(void **state)
{
    char text[STAMP_TEXT];

    (void)state;
    stamp_write(INT64_MAX, true, text);
    assert_string_equal(text, "9999-12-31 23:59:59.999");
    stamp_write(INT64_MIN, true, text);
    assert_string_equal(text, "0000-01-01 00:00:00.000");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_no_times),
        cmocka_unit_test(test_every_day),
        cmocka_unit_test(test_beyond),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
