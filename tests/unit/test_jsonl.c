/* One line of JSON: whatever comes in, it is valid, whole and within its room. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/jsonl.h"

#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "core/decision_json.h"

enum { ALL = 1000 };

static const struct {
    const char *about;
    const char *text;
    size_t size, most;
    const char *expected;
    bool escaped;
} texts[] = {
    {"plain", "hello", 5, ALL, "hello", false},
    {"quote and backslash", "\"\\", 2, ALL, "\\\"\\\\", false},
    {"control octets", "\x01\t\n\x1f", 4, ALL, "\\u0001\\u0009\\u000a\\u001f", false},
    {"NUL", "a\0b", 3, ALL, "a\\u0000b", false},
    {"DEL and C1", "\x7f\xc2\x80\xc2\x9b\xc2\x9f\xc2\xa0", 9, ALL,
     "\\u007f\\u0080\\u009b\\u009f\xc2\xa0", false},
    {"line ends of Unicode", "\xe2\x80\xa8\xe2\x80\xa9", 6, ALL, "\\u2028\\u2029", false},
    {"direction", "\xe2\x80\x8e\xe2\x80\xae\xe2\x81\xa6\xd8\x9c", 11, ALL,
     "\\u200e\\u202e\\u2066\\u061c", false},
    {"Japanese", "\xe5\xa4\xaa\xe9\x83\x8e", 6, ALL, "\xe5\xa4\xaa\xe9\x83\x8e", false},
    {"the last character", "\xf4\x8f\xbf\xbf", 4, ALL, "\xf4\x8f\xbf\xbf", false},
    {"behind the last", "\xf4\x90\x80\x80", 4, ALL, "\\\\xf4\\\\x90\\\\x80\\\\x80", true},
    {"a surrogate", "\xed\xa0\x80", 3, ALL, "\\\\xed\\\\xa0\\\\x80", true},
    {"around the surrogates", "\xed\x9f\xbf\xee\x80\x80", 6, ALL, "\xed\x9f\xbf\xee\x80\x80",
     false},
    {"overlong /", "\xc0\xaf", 2, ALL, "\\\\xc0\\\\xaf", true},
    {"overlong, of three", "\xe0\x9f\xbf", 3, ALL, "\\\\xe0\\\\x9f\\\\xbf", true},
    {"overlong, of four", "\xf0\x8f\xbf\xbf", 4, ALL, "\\\\xf0\\\\x8f\\\\xbf\\\\xbf", true},
    {"cut", "a\xe5\xa4", 3, ALL, "a\\\\xe5\\\\xa4", true},
    {"no character goes on there", "\xe5\x41\x41", 3, ALL, "\\\\xe5AA", true},
    {"a middle alone", "\x80", 1, ALL, "\\\\x80", true},
    {"no octet of UTF-8", "\xff", 1, ALL, "\\\\xff", true},
    {"Latin-1 with a quote and a line end", "\"\xe9\n\\", 4, ALL, "\\\\x22\\\\xe9\\\\x0a\\\\x5c",
     true},
    {"as much as may be", "hello", 5, 5, "hello", false},
    {"more", "hello", 5, 4, "hell", false},
    {"an escape is not cut in two", "ab\x01", 3, 7, "ab", false},
    {"nor a character", "a\xe5\xa4\xaa", 4, 3, "a", false},
    {"nor an octet's escape", "\xff\xff", 2, 9, "\\\\xff", true},
    {"nothing may be", "a", 1, 0, "", false},
};

static void test_texts(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        char to[256], expected[256];
        struct jsonl line;
        bool escaped;

        jsonl_begin(&line, to, sizeof to);
        size_t taken =
            jsonl_text(&line, "t", texts[i].text, texts[i].size, texts[i].most, &escaped);
        size_t size = jsonl_end(&line);
        snprintf(expected, sizeof expected, "{\"t\":\"%s\"}", texts[i].expected);
        if (size != strlen(expected) || memcmp(to, expected, size + 1) != 0)
            fail_msg("%s: %s", texts[i].about, to);
        if (escaped != texts[i].escaped)
            fail_msg("%s: escaped %d", texts[i].about, escaped);
        if ((taken == texts[i].size) != (texts[i].most == ALL || texts[i].most == texts[i].size))
            fail_msg("%s: took %zu", texts[i].about, taken);
        json_t *read = json_loadb(to, size, JSON_ALLOW_NUL, NULL);
        if (read == NULL)
            fail_msg("%s: not JSON: %s", texts[i].about, to);
        json_t *value = json_object_get(read, "t");
        if (!escaped && (json_string_length(value) != taken ||
                         memcmp(json_string_value(value), texts[i].text, taken) != 0))
            fail_msg("%s: another text came back", texts[i].about);
        json_decref(read);
    }
}

/* Every text of one or two octets, and of three that begin as a character does. */
static void test_all_short_texts(void **state)
{
    char to[64];
    bool escaped;

    (void)state;
    for (unsigned n = 0; n < 256 * 256 + 64 * 256 * 3; n++) {
        static const char third[] = {'\x80', '\xbf', 'a'};
        unsigned char text[3] = {(unsigned char)(n >> 8), (unsigned char)n, 0};
        size_t size = 2;
        struct jsonl line;
        if (n >= 256 * 256) {
            unsigned of_three = n - 256 * 256;
            text[0] = (unsigned char)(0xc0 + of_three / (256 * 3));
            text[1] = (unsigned char)(of_three / 3);
            text[2] = (unsigned char)third[of_three % 3];
            size = 3;
        }
        jsonl_begin(&line, to, sizeof to);
        jsonl_text(&line, "t", (const char *)text, size, ALL, &escaped);
        size_t length = jsonl_end(&line);
        json_t *read = json_loadb(to, length, JSON_ALLOW_NUL, NULL);
        json_t *plain = json_stringn((const char *)text, size);
        if (read == NULL)
            fail_msg("%u: not JSON: %s", n, to);
        if (escaped != (plain == NULL))
            fail_msg("%u: escaped %d", n, escaped);
        if (plain != NULL && !json_equal(plain, json_object_get(read, "t")))
            fail_msg("%u: another text came back", n);
        json_decref(plain);
        json_decref(read);
    }
}

static const struct {
    const char *about;
    const char *text;
    size_t expected;
} wholes[] = {
    {"nothing", "", 0},
    {"plain", "ab", 2},
    {"whole", "a\xe5\xa4\xaa", 4},
    {"one octet of three", "a\xe5", 1},
    {"two of three", "a\xe5\xa4", 1},
    {"three of four", "\xf0\x9f\x98", 0},
    {"four of four", "\xf0\x9f\x98\x80", 4},
    {"no UTF-8 anyway", "a\x80\x80\x80\x80", 5},
};

static void test_whole(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof wholes / sizeof wholes[0]; i++)
        if (jsonl_whole(wholes[i].text, strlen(wholes[i].text)) != wholes[i].expected)
            fail_msg("%s", wholes[i].about);
}

static size_t write_all(char *to, size_t room)
{
    struct jsonl line;
    bool escaped;

    jsonl_begin(&line, to, room);
    jsonl_open(&line, "list", '[');
    jsonl_word(&line, NULL, "a");
    jsonl_word(&line, NULL, "b");
    jsonl_close(&line, '[');
    jsonl_open(&line, "empty", '{');
    jsonl_close(&line, '{');
    jsonl_null(&line, "null");
    jsonl_word(&line, "word", "");
    jsonl_bool(&line, "yes", true);
    jsonl_bool(&line, "no", false);
    jsonl_number(&line, "least", INT64_MIN);
    jsonl_text(&line, "text", "\x01\xff", 2, ALL, &escaped);
    return jsonl_end(&line);
}

/* In each room that is too small there is nothing, rather than a part. */
static void test_rooms(void **state)
{
    static const char expected[] =
        "{\"list\":[\"a\",\"b\"],\"empty\":{},\"null\":null,\"word\":null,\"yes\":true,"
        "\"no\":false,\"least\":-9223372036854775808,\"text\":\"\\\\x01\\\\xff\"}";

    (void)state;
    for (size_t room = 0; room <= sizeof expected; room++) {
        char *to = malloc(room + 1);
        assert_non_null(to);
        memset(to, '#', room + 1);
        size_t size = write_all(to, room);
        assert_int_equal(size, room >= sizeof expected ? sizeof expected - 1 : 0);
        assert_int_equal(to[room], '#'); /* nothing behind the room */
        if (room > 0)
            assert_string_equal(to, size > 0 ? expected : "");
        free(to);
    }
}

/* The longest that is kept has room, each of its texts whole. */
static void test_longest_decision(void **state)
{
    static char to[DECISION_JSON];
    char most[DECISION_TEXT], ours[DECISION_ROW_TEXT];
    struct text row = {ours, sizeof ours}, id = {most, DECISION_ID};
    struct kept_text kept = {{most, sizeof most}, UINT32_MAX};
    struct decision decision;
    struct jsonl line;

    (void)state;
    memset(most, '\x01', sizeof most);
    memset(ours, '\x01', sizeof ours);
    memset(&decision, 0, sizeof decision);
    decision.number = decision.generation = INT64_MAX;
    decision.client_known = decision.listener_known = decision.blocks = true;
    memset(&decision.client, 0xaa, sizeof decision.client);
    decision.listener = decision.client;
    decision.client_name = decision.helo = decision.host = decision.login = decision.sender =
        decision.recipient = kept;
    decision.row_text = decision.observed_row_text = row;
    decision.session = decision.queue = id;
    decision.block_subject = (struct text){ours, DECISION_SUBJECT};
    decision.subject[SUBJECT_CLIENT] = decision.block_subject;
    decision.verdict.reason = REASON_IDENTITY_RECEIVE_ONLY;
    decision.verdict.rule = decision.verdict.observed_rule =
        (struct rule){TABLE_IDENTITY_SENDER, INT64_MAX};
    decision.verdict.observed = true;
    decision.verdict.observed_reason = REASON_IDENTITY_RECEIVE_ONLY;
    decision.verdict.limit = (struct limit_seen){
        .rule = decision.verdict.rule, .count = INT64_MAX, .allowed = INT64_MAX, .wait = INT64_MAX};
    jsonl_begin(&line, to, sizeof to);
    decision_json(&line, &decision, "2026-11-24 03:00:00.000", "accepted", DECISION_JSON_TEXT);
    size_t size = jsonl_end(&line);
    assert_true(size > 6 * DECISION_JSON_TEXT);
    json_t *read = json_loadb(to, size, JSON_ALLOW_NUL, NULL);
    assert_non_null(read);
    static const char *const names[] = {"client_name", "helo", "host", "login", "from", "to"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        assert_int_equal(json_string_length(json_object_get(read, names[i])), DECISION_TEXT);
        assert_int_equal(
            json_integer_value(json_object_get(json_object_get(read, "lengths"), names[i])),
            UINT32_MAX);
    }
    assert_int_equal(json_array_size(json_object_get(read, "escaped")), 0);
    json_decref(read);
}

/* A text that was cut within a character is UTF-8 all the same. */
static void test_cut_character(void **state)
{
    char to[2048];
    struct decision decision;
    struct jsonl line;

    (void)state;
    memset(&decision, 0, sizeof decision);
    decision.helo = (struct kept_text){{"a\xe5\xa4", 3}, 900};
    decision.login = (struct kept_text){{"a\xe5\xa4", 3}, 3};
    jsonl_begin(&line, to, sizeof to);
    decision_json(&line, &decision, "", "", DECISION_JSON_TEXT);
    assert_true(jsonl_end(&line) > 0);
    assert_non_null(strstr(to, "\"helo\":\"a\","));
    assert_non_null(strstr(to, "\"lengths\":{\"helo\":900}"));
    assert_non_null(strstr(to, "\"login\":\"a\\\\xe5\\\\xa4\","));
    assert_non_null(strstr(to, "\"escaped\":[\"login\"]"));
    assert_non_null(strstr(to, "{\"number\":null,"));
}

static void where_it_steers(void **state)
{
    static const struct {
        const char *text;
        size_t at, length;
        uint32_t character;
    } cases[] = {
        {"", 0, 0, 0},
        {"\xe5\xa4\xaa\xe9\x83\x8e'\"\\", 9, 0, 0},
        {"ab\xe2\x80\xae"
         "c",
         2, 3, 0x202e},
        {"\xc2\x9b", 0, 2, 0x9b},
        {"a\nb", 1, 1, '\n'},
        {"a\xff"
         "b",
         1, 1, 0},
        {"a\xe5\xa4", 1, 1, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint32_t character = 0;
        size_t length = 0, size = strlen(cases[i].text);
        size_t at = jsonl_steering(cases[i].text, size, &character, &length);
        if (at != cases[i].at || (at < size || size == 0 ? length != cases[i].length : false) ||
            (at < size && character != cases[i].character)) {
            fail_msg("row %zu: at %zu, %zu octets, %x", i, at, length, (unsigned)character);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_it_steers),      cmocka_unit_test(test_texts),
        cmocka_unit_test(test_all_short_texts), cmocka_unit_test(test_whole),
        cmocka_unit_test(test_rooms),           cmocka_unit_test(test_longest_decision),
        cmocka_unit_test(test_cut_character),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
