/* accept, poll, read, close and sigwait as libmilter is to find them. */
/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE /* accept4, RTLD_NEXT */
#include "interpose.h"

#include <dlfcn.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { DESCRIPTORS = 65536, ROOM = 1000 };

/* Octets that were read ahead; there is none without octets. */
struct ahead {
    size_t begin, end;
    char bytes[ROOM];
};

/* A connection that accept() gave. One thread at a time serves it, and libmilter's lock lies
 * between two of them; the atomics are for whoever closes it or polls many. */
static struct connection {
    atomic_bool ours;
    atomic_bool polled; /* poll() has said that there is something, and nothing was read since: so
                         * who reads is one who polls first, and asking again is idle */
    struct ahead *_Atomic ahead;
} connections[DESCRIPTORS]; /* by descriptor */

static atomic_bool refusing;

/* The definition that ours stands before; *found remembers it. */
static void *c_librarys(const char *name, void *_Atomic *found)
{
    void *symbol = atomic_load_explicit(found, memory_order_acquire);

    if (symbol == NULL) {
        if ((symbol = dlsym(RTLD_NEXT, name)) == NULL) {
            abort();
        }
        atomic_store_explicit(found, symbol, memory_order_release);
    }
    return symbol;
}

static int kernel_poll(struct pollfd *asked, nfds_t count, int milliseconds)
{
    static void *_Atomic found;
    void *symbol = c_librarys("poll", &found);
    int (*function)(struct pollfd *, nfds_t, int);

    memcpy(&function, &symbol, sizeof function); /* ISO C has no cast for it */
    return function(asked, count, milliseconds);
}

static ssize_t kernel_read(int file, void *to, size_t size)
{
    static void *_Atomic found;
    void *symbol = c_librarys("read", &found);
    ssize_t (*function)(int, void *, size_t);

    memcpy(&function, &symbol, sizeof function);
    return function(file, to, size);
}

static int kernel_close(int file)
{
    static void *_Atomic found;
    void *symbol = c_librarys("close", &found);
    int (*function)(int);

    memcpy(&function, &symbol, sizeof function);
    return function(file);
}

void interpose_refuse(bool refuse)
{
    atomic_store(&refusing, refuse);
}

int sigwait(const sigset_t *restrict signals, int *restrict number)
{
    (void)signals;
    (void)number;
    for (;;) {
        pause();
    }
}

static struct connection *connection_of(int file)
{
    return file >= 0 && file < DESCRIPTORS && atomic_load(&connections[file].ours)
               ? &connections[file]
               : NULL;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic" /* glibc's prototype has a union of all addresses */
int accept(int listener, struct sockaddr *restrict address, socklen_t *restrict size)
{
    if (atomic_load(&refusing)) {
        struct timespec pause_time = {0, 10000000};
        nanosleep(&pause_time, NULL);
        errno = EINTR;
        return -1;
    }
    int file = accept4(listener, address, size, SOCK_CLOEXEC);
    if (file >= 0 && file < DESCRIPTORS) {
        atomic_store(&connections[file].ours, true);
    }
    return file;
}
#pragma GCC diagnostic pop

int close(int file)
{
    struct connection *connection = connection_of(file);

    if (connection != NULL) {
        atomic_store(&connection->ours, false);
        atomic_store(&connection->polled, false);
        free(atomic_exchange(&connection->ahead, NULL));
    }
    return kernel_close(file);
}

/* Is there something to read, without asking the kernel? */
static bool is_ready(struct pollfd *asked)
{
    const struct connection *connection =
        (asked->events & POLLIN) != 0 ? connection_of(asked->fd) : NULL;

    return connection != NULL &&
           (atomic_load(&connection->polled) || atomic_load(&connection->ahead) != NULL);
}

int poll(struct pollfd *asked, nfds_t count, int milliseconds)
{
    int ready, more = 0;

    if (count == 1) {
        if (is_ready(asked)) {
            asked->revents = POLLIN;
            return 1;
        }
        ready = kernel_poll(asked, count, milliseconds);
        struct connection *connection = connection_of(asked->fd);
        if (ready == 1 && asked->revents == POLLIN && connection != NULL) {
            atomic_store(&connection->polled, true);
        }
        return ready;
    }
    for (nfds_t i = 0; i < count; i++) {
        more += is_ready(&asked[i]);
    }
    ready = kernel_poll(asked, count, more > 0 ? 0 : milliseconds);
    for (nfds_t i = 0; more > 0 && ready >= 0 && i < count; i++) {
        if (asked[i].revents == 0 && is_ready(&asked[i])) {
            asked[i].revents = POLLIN;
            ready++;
        }
    }
    return ready;
}

/* Gives what was read ahead, as much as is wanted. */
static ssize_t take(struct connection *connection, struct ahead *ahead, void *to, size_t size)
{
    size_t given = ahead->end - ahead->begin < size ? ahead->end - ahead->begin : size;

    memcpy(to, ahead->bytes + ahead->begin, given);
    ahead->begin += given;
    if (ahead->begin == ahead->end) {
        atomic_store(&connection->ahead, NULL);
        free(ahead);
    }
    return (ssize_t)given;
}

ssize_t read(int file, void *to, size_t size)
{
    struct connection *connection = connection_of(file);
    struct ahead *ahead;

    if (connection == NULL || size == 0) {
        return kernel_read(file, to, size);
    }
    if ((ahead = atomic_load(&connection->ahead)) != NULL) {
        return take(connection, ahead, to, size);
    }
    if (!atomic_exchange(&connection->polled, false) || size >= ROOM ||
        (ahead = malloc(sizeof *ahead)) == NULL) {
        return kernel_read(file, to, size);
    }
    ssize_t came = kernel_read(file, ahead->bytes, ROOM);
    if (came <= 0) {
        int kept = errno;
        free(ahead);
        errno = kept;
        return came;
    }
    ahead->begin = 0;
    ahead->end = (size_t)came;
    atomic_store(&connection->ahead, ahead);
    return take(connection, ahead, to, size);
}

/* What poll() and read() become where libmilter is compiled with checks (_FORTIFY_SOURCE) that do
 * not end in the compiler. */
int __poll_chk(struct pollfd *asked, nfds_t count, int milliseconds, size_t room);
int __poll_chk(struct pollfd *asked, nfds_t count, int milliseconds, size_t room)
{
    if (room / sizeof *asked < count) {
        abort();
    }
    return poll(asked, count, milliseconds);
}

ssize_t __read_chk(int file, void *to, size_t size, size_t room);
ssize_t __read_chk(int file, void *to, size_t size, size_t room)
{
    if (room < size) {
        abort();
    }
    return read(file, to, size);
}
