/* xtext: what Sendmail encodes comes back; what is no xtext stays as it stands. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/xtext.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

static const struct {
    const char *text, *read;
    size_t room;
} rows[] = {
    {"", "", 64},
    {"taro", "taro", 64},
    {"taro@example.jp", "taro@example.jp", 64},
    {"taro+2Btag", "taro+tag", 64},
    {"taro+2Btag@example.jp", "taro+tag@example.jp", 64},
    {"a+3Db", "a=b", 64},
    {"+2B+2B", "++", 64},
    {"+2B41", "+41", 64}, /* read once, not twice */
    {"+E6+97+A5", "\xe6\x97\xa5", 64},
    {"a+20b", "a b", 64},
    {"a+7Cb", "a|b", 64},
    /* no xtext */
    {"taro+tag", "taro+tag", 64},
    {"taro+2Btag+x", "taro+2Btag+x", 64},
    {"taro+2btag", "taro+2btag", 64},
    {"taro+", "taro+", 64},
    {"taro+2", "taro+2", 64},
    {"taro+00x", "taro+00x", 64}, /* is not taro */
    {"+G0", "+G0", 64},
    {"+0:", "+0:", 64},
    /* too long */
    {"abcdef", "abc", 3},
    {"+41+42+43+44", "ABC", 3},
    {"abcdef+", "abc", 3},
    {"a+2Bb", "a+", 2},
    {"a", "", 0},
};

static void all_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        /* of its very size, so that a sanitizer sees a step too far */
        size_t size = strlen(rows[i].text);
        char *text = malloc(size + 1), *to = malloc(rows[i].room + 1);
        assert_non_null(text);
        assert_non_null(to);
        memcpy(text, rows[i].text, size);
        size_t read = xtext_read(text, size, to, rows[i].room);
        if (read != strlen(rows[i].read) || memcmp(to, rows[i].read, read) != 0)
            fail_msg("%s is read as %.*s", rows[i].text, (int)read, to);
        free(text);
        free(to);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(all_rows)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
