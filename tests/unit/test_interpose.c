/* What libmilter finds in place of accept, poll, read and close: the same octets by fewer calls. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "interpose.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "memory.h"

#include <cmocka.h>

int __poll_chk(struct pollfd *asked, nfds_t count, int milliseconds, size_t room);
ssize_t __read_chk(int file, void *to, size_t size, size_t room);

struct pair {
    int mta, ours;
};

static int listener(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int file = socket(AF_UNIX, SOCK_STREAM, 0);

    /* of the abstract name space, by a name the kernel chooses */
    assert_true(file >= 0);
    assert_int_equal(bind(file, (const struct sockaddr *)&address, sizeof(sa_family_t)), 0);
    assert_int_equal(listen(file, 8), 0);
    return file;
}

static struct pair connect_to(int door)
{
    struct sockaddr_un address;
    socklen_t size = sizeof address;
    int file = socket(AF_UNIX, SOCK_STREAM, 0);
    struct pair pair = {fcntl(file, F_DUPFD, 100), -1}; /* low numbers are for our end */

    close(file);
    assert_int_equal(getsockname(door, (struct sockaddr *)&address, &size), 0);
    assert_int_equal(connect(pair.mta, (const struct sockaddr *)&address, size), 0);
    pair.ours = accept(door, NULL, NULL);
    assert_true(pair.ours >= 0);
    return pair;
}

static void say(const struct pair *pair, const char *words)
{
    assert_int_equal(write(pair->mta, words, strlen(words)), (ssize_t)strlen(words));
}

/* Octets that the kernel still holds. */
static int in_kernel(int file)
{
    int count = -1;

    assert_int_equal(ioctl(file, FIONREAD, &count), 0);
    return count;
}

static short asks(int file, int milliseconds)
{
    struct pollfd asked = {file, POLLIN, 0};
    int ready = poll(&asked, 1, milliseconds);

    assert_true(ready >= 0);
    return ready > 0 ? asked.revents : 0;
}

static void reads(int file, const char *words)
{
    char got[256] = "";

    assert_int_equal(read(file, got, strlen(words)), (ssize_t)strlen(words));
    assert_string_equal(got, words);
}

static int64_t milliseconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void test_reads_ahead(void **state)
{
    int door = listener();
    struct pair pair = connect_to(door);

    (void)state;
    assert_int_equal(asks(pair.ours, 0), 0);
    say(&pair, "headbodyHEADBODY");
    assert_int_equal(asks(pair.ours, 1000), POLLIN);
    assert_int_equal(asks(pair.ours, 1000), POLLIN); /* as often as one likes */
    reads(pair.ours, "head");
    assert_int_equal(in_kernel(pair.ours), 0); /* one read has brought it all */
    assert_int_equal(asks(pair.ours, 0), POLLIN);
    reads(pair.ours, "body");
    say(&pair, "more");
    reads(pair.ours, "HEADBODY");
    assert_int_equal(in_kernel(pair.ours), 4);
    reads(pair.ours, "more");
    assert_int_equal(asks(pair.ours, 0), 0);
    int64_t since = milliseconds();
    assert_int_equal(asks(pair.ours, 50), 0); /* waits as it should */
    assert_true(milliseconds() - since >= 49);
    close(pair.mta);
    assert_true((asks(pair.ours, 1000) & POLLIN) != 0);
    assert_int_equal(read(pair.ours, (char[1]){0}, 1), 0);
    close(pair.ours);
    close(door);
}

static void test_words_before_the_end(void **state)
{
    int door = listener();
    struct pair pair = connect_to(door);

    (void)state;
    say(&pair, "abcdef");
    close(pair.mta);
    assert_true((asks(pair.ours, 1000) & POLLIN) != 0);
    reads(pair.ours, "abc");
    assert_true((asks(pair.ours, 0) & POLLIN) != 0);
    reads(pair.ours, "def");
    assert_int_equal(read(pair.ours, (char[1]){0}, 1), 0);
    close(pair.ours);
    close(door);
}

/* Who does not ask first is not read ahead for: his next poll() may be another one than ours. */
static void test_only_for_who_polls(void **state)
{
    int door = listener();
    struct pair pair = connect_to(door);

    (void)state;
    say(&pair, "abcdef");
    reads(pair.ours, "abc");
    assert_int_equal(in_kernel(pair.ours), 3);
    reads(pair.ours, "def");
    close(pair.mta);
    close(pair.ours);
    close(door);
}

static void test_only_what_was_accepted(void **state)
{
    int files[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, files), 0);
    assert_int_equal(write(files[0], "abcdef", 6), 6);
    assert_int_equal(asks(files[1], 1000), POLLIN);
    reads(files[1], "abc");
    assert_int_equal(in_kernel(files[1]), 3);
    close(files[0]);
    close(files[1]);
    assert_int_equal(close(files[1]), -1);
    assert_int_equal(errno, EBADF);
    assert_int_equal(read(-1, files, 1), -1);
    assert_int_equal(errno, EBADF);
}

static void test_accepted_ones_close_on_exec(void **state)
{
    int door = listener();
    struct pair pair = connect_to(door);

    (void)state;
    assert_true((fcntl(pair.ours, F_GETFD) & FD_CLOEXEC) != 0);
    close(pair.mta);
    close(pair.ours);
    close(door);
}

/* What a connection leaves behind is not read by the next one, nor by a file of its number. */
static void test_a_number_used_again(void **state)
{
    int door = listener();
    struct pair first = connect_to(door);
    int before = first.ours;

    (void)state;
    say(&first, "leftover");
    assert_int_equal(asks(first.ours, 1000), POLLIN);
    reads(first.ours, "left");
    close(first.mta);
    assert_int_equal(close(first.ours), 0);

    int file = open("/dev/null", O_RDONLY);
    assert_int_equal(file, before);
    assert_int_equal(read(file, (char[8]){0}, 8), 0);
    close(file);

    struct pair second = connect_to(door);
    assert_int_equal(second.ours, before);
    assert_int_equal(asks(second.ours, 0), 0);
    say(&second, "unread");
    assert_int_equal(asks(second.ours, 1000), POLLIN);
    close(second.ours);

    struct pair third = connect_to(door);
    assert_int_equal(third.ours, before);
    assert_int_equal(asks(third.ours, 0), 0);
    say(&third, "news");
    assert_int_equal(asks(third.ours, 1000), POLLIN);
    reads(third.ours, "news");
    close(second.mta);
    close(third.mta);
    close(third.ours);
    close(door);
}

static void test_several(void **state)
{
    int door = listener();
    struct pair ahead = connect_to(door), quiet = connect_to(door), fresh = connect_to(door);

    (void)state;
    say(&ahead, "abcdef");
    assert_int_equal(asks(ahead.ours, 1000), POLLIN);
    reads(ahead.ours, "abc");
    struct pollfd asked[3] = {
        {ahead.ours, POLLIN, 0}, {quiet.ours, POLLIN, 0}, {fresh.ours, POLLIN, 0}};
    int64_t since = milliseconds();
    assert_int_equal(poll(asked, 3, 5000), 1); /* does not wait: the kernel knows of nothing */
    assert_true(milliseconds() - since < 4000);
    assert_int_equal(asked[0].revents, POLLIN);
    assert_int_equal(asked[1].revents, 0);
    say(&fresh, "now");
    assert_int_equal(poll(asked, 3, 5000), 2);
    assert_int_equal(asked[0].revents, POLLIN);
    assert_int_equal(asked[1].revents, 0);
    assert_int_equal(asked[2].revents, POLLIN);
    reads(ahead.ours, "def");
    reads(fresh.ours, "now");
    assert_int_equal(poll(asked, 3, 0), 0);
    assert_int_equal(poll(NULL, 0, 0), 0);
    for (int i = 0; i < 3; i++) {
        close((const int[]){ahead.mta, quiet.mta, fresh.mta}[i]);
        close(asked[i].fd);
    }
    close(door);
}

static void test_without_memory(void **state)
{
    int door = listener();
    struct pair pair = connect_to(door);

    (void)state;
    say(&pair, "abcdef");
    assert_int_equal(asks(pair.ours, 1000), POLLIN);
    allocations = 0;
    fail_at = 1;
    reads(pair.ours, "abc");
    fail_at = 0;
    assert_int_equal(in_kernel(pair.ours), 3);
    reads(pair.ours, "def");
    close(pair.mta);
    close(pair.ours);
    close(door);
}

static void test_checked_calls(void **state)
{
    int door = listener();
    struct pair pair = connect_to(door);
    struct pollfd asked = {pair.ours, POLLIN, 0};
    char got[4] = "";

    (void)state;
    say(&pair, "abcdef");
    assert_int_equal(__poll_chk(&asked, 1, 1000, sizeof asked), 1);
    assert_int_equal(__read_chk(pair.ours, got, 3, sizeof got), 3);
    assert_string_equal(got, "abc");
    assert_int_equal(in_kernel(pair.ours), 0);
    assert_int_equal(__poll_chk(&asked, 1, 0, sizeof asked), 1);
    assert_int_equal(__read_chk(pair.ours, got, 3, sizeof got), 3);
    assert_string_equal(got, "def");
    close(pair.mta);
    close(pair.ours);
    close(door);
}

static void test_refused(void **state)
{
    int door = listener();
    struct sockaddr_un address;
    socklen_t size = sizeof address;
    int mta = socket(AF_UNIX, SOCK_STREAM, 0);

    (void)state;
    assert_int_equal(getsockname(door, (struct sockaddr *)&address, &size), 0);
    assert_int_equal(connect(mta, (const struct sockaddr *)&address, size), 0);
    interpose_refuse(true);
    assert_int_equal(accept(door, NULL, NULL), -1);
    assert_int_equal(errno, EINTR);
    interpose_refuse(false);
    int ours = accept(door, NULL, NULL); /* it has waited */
    assert_true(ours >= 0);
    close(mta);
    close(ours);
    close(door);
}

/* -- any words in any pieces, by threads that take turns --------------------------------------- */

enum { STREAM = 300000, PIECE = 3000 };

static unsigned char octet(size_t at)
{
    return (unsigned char)(at * 7 + at / 251);
}

static size_t chance(uint64_t *seed, size_t below)
{
    *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407U;
    return (size_t)(*seed >> 33) % below;
}

static void *talk(void *argument)
{
    unsigned char piece[PIECE];
    uint64_t seed = 1;

    for (size_t at = 0; at < STREAM;) {
        size_t size = chance(&seed, chance(&seed, 4) == 0 ? PIECE : 40) + 1;
        size = size < STREAM - at ? size : STREAM - at;
        for (size_t i = 0; i < size; i++) {
            piece[i] = octet(at + i);
        }
        if (write(*(const int *)argument, piece, size) != (ssize_t)size) {
            break;
        }
        at += size;
    }
    return NULL;
}

struct listening {
    int file;
    size_t at, until;
    uint64_t seed;
    bool wrong;
};

static void *hear(void *argument)
{
    struct listening *listening = argument;
    unsigned char piece[PIECE];

    while (!listening->wrong && listening->at < listening->until) {
        size_t size = chance(&listening->seed, chance(&listening->seed, 4) == 0 ? PIECE : 40) + 1;
        size_t left = listening->until - listening->at;
        struct pollfd asked = {listening->file, POLLIN, 0};

        if (chance(&listening->seed, 8) > 0 && poll(&asked, 1, 10000) != 1) {
            listening->wrong = true;
        }
        ssize_t got = read(listening->file, piece, size < left ? size : left);
        listening->wrong = listening->wrong || got <= 0;
        for (ssize_t i = 0; i < got; i++) {
            listening->wrong = listening->wrong || piece[i] != octet(listening->at + (size_t)i);
        }
        listening->at += got > 0 ? (size_t)got : 0;
    }
    return NULL;
}

static void test_any_pieces(void **state)
{
    int door = listener();
    struct pair pair = connect_to(door);
    struct listening listening = {pair.ours, 0, 0, 2, false};
    pthread_t talker, hearer;

    (void)state;
    assert_int_equal(pthread_create(&talker, NULL, talk, &pair.mta), 0);
    while (listening.at < STREAM) {
        size_t part = chance(&listening.seed, 5000) + 1;
        listening.until = listening.at + part < STREAM ? listening.at + part : STREAM;
        assert_int_equal(pthread_create(&hearer, NULL, hear, &listening), 0);
        pthread_join(hearer, NULL);
        assert_false(listening.wrong);
    }
    pthread_join(talker, NULL);
    assert_int_equal(asks(pair.ours, 0), 0);
    close(pair.mta);
    close(pair.ours);
    close(door);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_reads_ahead),
        cmocka_unit_test(test_words_before_the_end),
        cmocka_unit_test(test_only_for_who_polls),
        cmocka_unit_test(test_only_what_was_accepted),
        cmocka_unit_test(test_accepted_ones_close_on_exec),
        cmocka_unit_test(test_a_number_used_again),
        cmocka_unit_test(test_several),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_checked_calls),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_any_pieces),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
