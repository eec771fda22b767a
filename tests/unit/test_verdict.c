/* The reasons and names that people see: complete, unique, and codes that fit together. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/verdict.h"

#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

/* ---- rows ---- */

/* Every reason there is: once published, a name is never changed. */
static const struct {
    const char *name;
    enum action action;
} reasons[] = {
    {"address-malformed", ACTION_REFUSE},
    {"address-routed", ACTION_REFUSE},
    {"client-blocked", ACTION_REFUSE},
    {"identity-blocked", ACTION_REFUSE},
    {"client-listed", ACTION_REFUSE},
    {"client-deferred", ACTION_DEFER},
    {"identity-receive-only", ACTION_REFUSE},
    {"identity-unknown", ACTION_REFUSE},
    {"identity-may-not-send", ACTION_REFUSE},
    {"identity-wrong-host", ACTION_REFUSE},
    {"sender-not-yours", ACTION_REFUSE},
    {"sender-spoofed", ACTION_REFUSE},
    {"sender-null", ACTION_REFUSE},
    {"helo-our-name", ACTION_REFUSE},
    {"relay-denied", ACTION_REFUSE},
    {"relay-suspended", ACTION_REFUSE},
    {"spam-trap", ACTION_REFUSE},
    {"gateway-suspected", ACTION_REFUSE},
    {"rate-client", ACTION_DEFER},
    {"rate-identity", ACTION_DEFER},
    {"rate-sender", ACTION_DEFER},
    {"rate-everyone", ACTION_DEFER},
    {"rate-login-window", ACTION_DEFER},
    {"no-policy", ACTION_DEFER},
    {"no-record", ACTION_DEFER},
    {"too-many-recipients", ACTION_DEFER},
    {"internal-error", ACTION_DEFER},
    {"pass-local", ACTION_PASS},
    {"pass-identity", ACTION_PASS},
    {"pass-client-host", ACTION_PASS},
    {"pass-login-window", ACTION_PASS},
    {"pass-submission", ACTION_PASS},
};

/* In the order of judgement. */
static const char *const checks[] = {
    "address", "block", "listed", "identity", "sender", "null-sender",
    "helo",    "relay", "trap",   "gateway",  "rate",
};

static const char *const tables[] = {
    "local_domain", "own_name",        "client_host",   "ip_range",     "exemption",
    "identity",     "identity_sender", "identity_host", "receive_only", "spam_trap",
    "rate_limit",   "check_mode",      "setting",
};

/* ---- helpers ---- */

static void check_ascii(const char *name, const char *text)
{
    for (const char *at = text; *at != '\0'; at++) {
        if ((unsigned char)*at < 0x20 || (unsigned char)*at > 0x7e)
            fail_msg("%s: a byte that is not printable ASCII in: %s", name, text);
    }
}

static bool digits_and_dots(const char *text, const char *form)
{
    for (; *text != '\0' && *form != '\0'; text++, form++) {
        if (*form == '9' ? !isdigit((unsigned char)*text) : *form != *text)
            return false;
    }
    return *text == *form;
}

/* ---- tests ---- */

static void test_reasons_are_these(void **state)
{
    (void)state;
    assert_int_equal(COUNT_OF(reasons), REASON_COUNT - 1);
    for (size_t i = 0; i < COUNT_OF(reasons); i++) {
        const struct reason_row *row = reason_row((enum reason)(i + 1));

        assert_string_equal(row->name, reasons[i].name);
        if (row->action != reasons[i].action)
            fail_msg("%s: action %d", row->name, row->action);
        assert_int_equal(reason_named(reasons[i].name), i + 1);
        for (size_t n = 0; n < i; n++)
            assert_string_not_equal(reasons[i].name, reasons[n].name);
    }
    assert_int_equal(reason_named("none"), REASON_NONE);
    assert_int_equal(reason_named(""), REASON_NONE);
    assert_int_equal(reason_named("relay-denie"), REASON_NONE);
    assert_int_equal(reason_named("Relay-denied"), REASON_NONE);
    assert_ptr_equal(reason_row(REASON_COUNT), reason_row(REASON_NONE));
    assert_int_not_equal(reason_row(REASON_NONE)->action, ACTION_PASS);
}

static void test_codes(void **state)
{
    (void)state;
    for (unsigned i = 0; i < REASON_COUNT; i++) {
        const struct reason_row *row = reason_row((enum reason)i);

        check_ascii(row->name, row->name);
        check_ascii(row->name, row->reply);
        check_ascii(row->name, row->cause);
        check_ascii(row->name, row->remedy);
        assert_true(row->cause[0] != '\0');
        if (row->action == ACTION_PASS) {
            assert_string_equal(row->code, "");
            assert_string_equal(row->enhanced, "");
            assert_string_equal(row->reply, "");
            continue;
        }
        if (!digits_and_dots(row->code, "999") || !digits_and_dots(row->enhanced, "9.9.9"))
            fail_msg("%s: %s %s", row->name, row->code, row->enhanced);
        if (row->code[0] != row->enhanced[0])
            fail_msg("%s: code %s and enhanced code %s", row->name, row->code, row->enhanced);
        if (row->code[0] != (row->action == ACTION_REFUSE ? '5' : '4'))
            fail_msg("%s: code %s for its action", row->name, row->code);
        assert_string_not_equal(row->code, "421"); /* would close the connection */
        assert_true(row->reply[0] != '\0' && strlen(row->reply) <= 100);
        assert_true(i == REASON_NONE || row->remedy[0] != '\0');
        /* RFC 5321: a text that begins with a dash would look like a continuation */
        assert_true(isalpha((unsigned char)row->reply[0]));
    }
    /* The reply to a trap must not tell that there is one. */
    assert_null(strstr(reason_row(REASON_SPAM_TRAP)->reply, "trap"));
}

static void test_names(void **state)
{
    (void)state;
    assert_int_equal(COUNT_OF(checks), CHECK_COUNT);
    for (size_t i = 0; i < COUNT_OF(checks); i++) {
        assert_string_equal(check_name((enum check)i), checks[i]);
        assert_int_equal(check_named(checks[i]), i);
    }
    assert_string_equal(check_name(CHECK_NONE), "");
    assert_int_equal(check_named(""), CHECK_NONE);
    assert_int_equal(check_named("Relay"), CHECK_NONE);
    assert_int_equal(COUNT_OF(tables), TABLE_COUNT - 1);
    for (size_t i = 0; i < COUNT_OF(tables); i++)
        assert_string_equal(table_name((enum table)(i + 1)), tables[i]);
    assert_string_equal(table_name(TABLE_NONE), "");
    assert_string_equal(table_name(TABLE_COUNT), "");
    assert_string_equal(action_name(ACTION_PASS), "accept");
    assert_string_equal(action_name(ACTION_REFUSE), "reject");
    assert_string_equal(action_name(ACTION_DEFER), "tempfail");
    assert_string_equal(kind_name(KIND_STRANGER), "stranger");
    assert_string_equal(kind_name(KIND_CLIENT_HOST), "client-host");
    assert_string_equal(kind_name(KIND_LOGIN), "login");
    assert_string_equal(kind_name(KIND_WINDOW), "login-window");
    assert_string_equal(kind_name(KIND_SUBMISSION), "submission");
}

/* Every name leads back to what it names, and nothing else does. */
static void test_names_lead_back(void **state)
{
    enum action action = ACTION_DEFER;
    enum sender_kind kind = KIND_WINDOW;
    enum counts counts = COUNTS_REFUSALS;

    (void)state;
    for (int i = TABLE_NONE; i < TABLE_COUNT; i++) {
        assert_int_equal(table_named(table_name((enum table)i)), i);
    }
    for (int i = 0; i < SUBJECT_COUNT; i++) {
        assert_int_equal(subject_named(subject_name((enum subject)i)), i);
    }
    for (int i = ACTION_PASS; i <= ACTION_DEFER; i++) {
        assert_true(action_named(action_name((enum action)i), &action));
        assert_int_equal(action, i);
    }
    for (int i = KIND_STRANGER; i <= KIND_SUBMISSION; i++) {
        assert_true(kind_named(kind_name((enum sender_kind)i), &kind));
        assert_int_equal(kind, i);
    }
    for (int i = COUNTS_MESSAGES; i <= COUNTS_REFUSALS; i++) {
        assert_true(counts_named(counts_name((enum counts)i), &counts));
        assert_int_equal(counts, i);
    }
    assert_int_equal(table_named("sqlite_master"), TABLE_NONE);
    assert_int_equal(subject_named(""), SUBJECT_COUNT);
    assert_false(action_named("Accept", &action));
    assert_false(kind_named("", &kind));
    assert_false(counts_named("message", &counts));
    assert_int_equal(action, ACTION_DEFER);
    assert_int_equal(kind, KIND_SUBMISSION);
    assert_int_equal(counts, COUNTS_REFUSALS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reasons_are_these),
        cmocka_unit_test(test_codes),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_names_lead_back),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
