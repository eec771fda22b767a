/* A session for which memory runs out: 451 for who is new, nobody loses a verdict. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "session.h"

#include <ftw.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

enum { RECIPIENTS = 20 };

/* ---- rows ---- */

/* The growth of a message's entries that finds no memory, and how many recipients are judged. */
static const struct {
    int growth, judged;
} rows[] = {{1, 4}, {2, 8}, {3, 16}, {0, RECIPIENTS}};

/* ---- an allocator that fails: in this thread, since the keeper's needs memory too ---- */

void *__real_realloc(void *block, size_t size);
void *__wrap_realloc(void *block, size_t size);

static _Thread_local int fail_at; /* the realloc that fails, 0 = none */
static _Thread_local int growth;

void *__wrap_realloc(void *block, size_t size)
{
    growth++;
    return growth == fail_at ? NULL : __real_realloc(block, size);
}

/* ---- helpers ---- */

static char folder[] = "/tmp/sekisho-session-XXXXXX";

static void tell_nobody(void *context, int priority, const char *sentence)
{
    (void)context;
    (void)priority;
    (void)sentence;
}

static int remove_one(const char *path, const struct stat *seen, int type, struct FTW *at)
{
    (void)seen;
    (void)type;
    (void)at;
    return remove(path);
}

/* An engine without a policy: each recipient is judged (451 no-policy) and remembered. */
static int open_engine(void **state)
{
    char policy[64], database[64];
    struct engine *engine = NULL;
    struct why why;

    assert_non_null(mkdtemp(folder));
    snprintf(policy, sizeof policy, "%s/policy.db", folder);
    snprintf(database, sizeof database, "%s/state.db", folder);
    assert_int_equal(engine_open(policy, database, tell_nobody, NULL, &engine, &why), STATUS_OK);
    *state = engine;
    return 0;
}

static int close_engine(void **state)
{
    engine_close(*state);
    return nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

/* Says RCPT as the callback does; false: 451, not judged. */
static bool say_recipient(struct session *session, struct engine *engine, int n, bool *repeated)
{
    struct facts facts;
    struct judged judged;
    char recipient[32];

    snprintf(recipient, sizeof recipient, "<r%d@example.jp>", n);
    session_facts(session, recipient, &facts);
    if (!session_whole(session)) {
        return false;
    }
    struct question question = {&facts, session->id, session->queue, REFUSED_BY_NOBODY, 0};
    engine_rcpt(engine, &session->message, &question, &judged);
    assert_int_equal(judged.verdict.reason, REASON_NO_POLICY);
    *repeated = judged.repeated;
    return true;
}

/* ---- tests ---- */

static void test_no_memory_for_a_recipient(void **state)
{
    struct engine *engine = *state;
    struct sockaddr_in client = {.sin_family = AF_INET, .sin_port = 25};
    bool repeated = false;

    client.sin_addr.s_addr = htonl(0xc0000201);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct session *session = session_new();
        assert_non_null(session);
        session_connect(session, engine, "far.example", (const struct sockaddr *)&client, "mx", "",
                        "");
        session_helo(session, "far.example");
        session_mail(session, engine, "<a@far.example>", "", "");
        growth = 0;
        fail_at = rows[i].growth;
        for (int n = 0; n < RECIPIENTS; n++) {
            bool judged = say_recipient(session, engine, n, &repeated);
            if (judged != (n < rows[i].judged) || (judged && repeated)) {
                fail_msg("growth %d: recipient %d", rows[i].growth, n);
            }
        }
        /* in any order afterwards: the known have their verdict again, the others 451 */
        for (int n = RECIPIENTS; n-- > 0;) {
            bool judged = say_recipient(session, engine, n, &repeated);
            if (judged != (n < rows[i].judged) || (judged && !repeated)) {
                fail_msg("growth %d: recipient %d again", rows[i].growth, n);
            }
        }
        fail_at = 0;
        /* the next message is another matter */
        session_mail(session, engine, "<a@far.example>", "", "");
        for (int n = 0; n < RECIPIENTS; n++) {
            assert_true(say_recipient(session, engine, n, &repeated));
            assert_false(repeated);
        }
        session_free(session, engine);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_memory_for_a_recipient),
    };

    return cmocka_run_group_tests(tests, open_engine, close_engine);
}
