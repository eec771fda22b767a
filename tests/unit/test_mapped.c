/* A copy into a mapped file: octets, or false where a page cannot be had; no other SIGBUS is lost.
 */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "live/mapped.h"

#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

enum { PAGES = 4, THREADS = 4, ROUNDS = 500 };

static int file; /* the one that was mapped last */

/* `there` pages of a file in a mapping of PAGES. */
static unsigned char *map_pages(size_t there)
{
    char path[] = "/tmp/mapped.XXXXXX";
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    file = mkstemp(path);
    assert_true(file >= 0);
    unlink(path);
    assert_int_equal(ftruncate(file, (off_t)(there * page)), 0);
    void *map = mmap(NULL, PAGES * page, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    assert_true(map != MAP_FAILED);
    return map;
}

static void unmap_pages(unsigned char *map)
{
    assert_int_equal(munmap(map, PAGES * (size_t)sysconf(_SC_PAGESIZE)), 0);
    close(file);
}

static void test_copies(void **state)
{
    unsigned char *map = map_pages(2);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    (void)state;
    mapped_begin();
    assert_true(mapped_copy(map, "first", 6));
    assert_string_equal((char *)map, "first");
    for (int i = 0; i < 3; i++) {
        assert_false(mapped_copy(map + 2 * page, "none", 5));
        assert_false(mapped_copy(map + 2 * page - 2, "half", 5));
        assert_true(mapped_copy(map + page, "second", 7));
        assert_string_equal((char *)map + page, "second");
    }
    assert_true(mapped_copy(map + 2 * page, "", 0));
    unmap_pages(map);
}

static void *copy_often(void *argument)
{
    unsigned char *map = argument;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t wrong = 0;

    for (int i = 0; i < ROUNDS; i++) {
        wrong += mapped_copy(map + page, &i, sizeof i);
        wrong += !mapped_copy(map, &i, sizeof i) || memcmp(map, &i, sizeof i) != 0;
    }
    return (void *)wrong;
}

/* Each thread goes back to its own copy. */
static void test_threads(void **state)
{
    unsigned char *map[THREADS];
    pthread_t thread[THREADS];
    int file_of[THREADS];

    (void)state;
    mapped_begin();
    for (int i = 0; i < THREADS; i++) {
        map[i] = map_pages(1);
        file_of[i] = file;
        assert_int_equal(pthread_create(&thread[i], NULL, copy_often, map[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *wrong = NULL;
        assert_int_equal(pthread_join(thread[i], &wrong), 0);
        assert_true(wrong == NULL);
        file = file_of[i];
        unmap_pages(map[i]);
    }
}

/* How a process ends that did this. */
static int end_of(void (*deed)(unsigned char *map))
{
    unsigned char *map = map_pages(1);
    int status = 0;
    pid_t child = fork();

    assert_true(child >= 0);
    if (child == 0) {
        struct rlimit none = {0, 0};
        setrlimit(RLIMIT_CORE, &none);
        signal(SIGBUS, SIG_DFL); /* the tests' own */
        mapped_begin();
        mapped_begin();
        alarm(20);
        deed(map);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    unmap_pages(map);
    return status;
}

static void touch_outside(unsigned char *map)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    (void)mapped_copy(map + page, "x", 1); /* which is over */
    *(volatile unsigned char *)(map + page) = 1;
}

static void touch_after_success(unsigned char *map)
{
    if (mapped_copy(map, "x", 1) && ftruncate(file, 0) == 0) {
        *(volatile unsigned char *)map = 1;
    }
}

static void copy_from_outside(unsigned char *map)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);

    (void)mapped_copy(map, map + page, 1);
}

static void ask_to_end(unsigned char *map)
{
    (void)map;
    raise(SIGBUS);
}

static void fail_in_copy(unsigned char *map)
{
    _exit(mapped_copy(map + (size_t)sysconf(_SC_PAGESIZE), "x", 1) ? 1 : 7);
}

static void test_others(void **state)
{
    static void (*const deeds[])(unsigned char *) = {touch_outside, touch_after_success,
                                                     copy_from_outside, ask_to_end};

    (void)state;
    for (size_t i = 0; i < sizeof deeds / sizeof deeds[0]; i++) {
        int status = end_of(deeds[i]);
        assert_true(WIFSIGNALED(status));
        assert_int_equal(WTERMSIG(status), SIGBUS);
    }
    int status = end_of(fail_in_copy);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 7);
}

static sigjmp_buf elsewhere;

static void *volatile handed_address;

static void other_handler(int number, siginfo_t *info, void *context)
{
    (void)number;
    (void)context;
    handed_address = info->si_addr;
    siglongjmp(elsewhere, 1);
}

/* Whoever had the signal before still gets what is not ours, and hears where it was. */
static void test_handed_on(void **state)
{
    unsigned char *map = map_pages(1);
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    struct sigaction action = {.sa_sigaction = other_handler, .sa_flags = SA_SIGINFO};
    volatile bool went = false;

    (void)state;
    assert_int_equal(sigaction(SIGBUS, &action, NULL), 0);
    mapped_begin();
    if (sigsetjmp(elsewhere, 1) == 0) {
        *(volatile unsigned char *)(map + page) = 1;
    } else {
        went = true;
    }
    assert_true(went);
    assert_ptr_equal(handed_address, map + page);
    mapped_begin(); /* and takes it again */
    assert_false(mapped_copy(map + page, "x", 1));
    unmap_pages(map);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_others),
        cmocka_unit_test(test_handed_on),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
