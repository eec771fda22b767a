/* The permit door's end: who has come in is answered, nobody comes in any more, it does not wait.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "permit.h"

static const char question[] = "request=smtpd_access_policy\n\n";
static const char dunno[] = "action=DUNNO\n\n"; /* needs no engine */
static struct sockaddr_un place = {.sun_family = AF_UNIX};

static int come_in(void)
{
    struct timeval patience = {5, 0};
    int client = socket(AF_UNIX, SOCK_STREAM, 0);

    assert_true(client >= 0);
    setsockopt(client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    assert_int_equal(connect(client, (const struct sockaddr *)&place, sizeof place), 0);
    return client;
}

static bool answered(int client)
{
    char answer[sizeof dunno] = "";

    return send(client, question, sizeof question - 1, MSG_NOSIGNAL) == sizeof question - 1 &&
           recv(client, answer, sizeof answer - 1, MSG_WAITALL) == sizeof answer - 1 &&
           strcmp(answer, dunno) == 0;
}

static void *stop(void *permit)
{
    permit_stop(permit);
    return NULL;
}

static void test_end(void **state)
{
    struct timespec a_moment = {0, 10000000};
    char folder[] = "/tmp/sekisho-permit.XXXXXX";
    struct permit *permit = NULL;
    struct why why = {""};
    pthread_t thread;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(place.sun_path, sizeof place.sun_path, "%s/p", folder);
    int listener = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(listener, (const struct sockaddr *)&place, sizeof place), 0);
    assert_int_equal(listen(listener, 10), 0);
    int kept = dup(listener); /* as a service manager keeps it */
    assert_int_equal(permit_start(NULL, listener, &permit, &why), STATUS_OK);

    int before = come_in(), idle = come_in();
    assert_true(answered(before));
    assert_true(answered(idle));
    assert_int_equal(pthread_create(&thread, NULL, stop, permit), 0);
    nanosleep(&a_moment, NULL);
    assert_true(answered(before));
    int late = come_in(); /* waits for the next one */
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_false(answered(before));

    int next = accept(kept, NULL, NULL);
    assert_true(next >= 0);
    assert_int_equal(send(late, question, sizeof question - 1, 0), sizeof question - 1);
    char seen[sizeof question] = "";
    assert_int_equal(recv(next, seen, sizeof seen - 1, MSG_WAITALL), sizeof seen - 1);
    assert_string_equal(seen, question);

    int files[] = {before, idle, late, next, kept};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        close(files[i]);
    }
    unlink(place.sun_path);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_end)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
