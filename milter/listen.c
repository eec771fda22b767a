/* Sockets to listen at: what a SPEC means, who may have it, and taking it without stealing. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "listen.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static bool parse_number(const char *text, size_t size, long most, long *number)
{
    if (size == 0 || size > 9) {
        return false;
    }
    *number = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        *number = *number * 10 + (text[i] - '0');
    }
    return *number <= most;
}

enum status listen_parse(const char *option, const char *text, struct listen_spec *spec,
                         struct why *why)
{
    const char *rest = strchr(text, ':');
    long number = 0;

    memset(spec, 0, sizeof *spec);
    spec->fd = spec->lock = -1;
    if (rest != NULL && (strncmp(text, "unix:", 5) == 0 || strncmp(text, "local:", 6) == 0)) {
        rest++;
        if (rest[0] == '\0' || strlen(rest) >= sizeof spec->path) {
            return why_set(why, STATUS_BAD, "%s %s: a path of 1 to %zu octets must follow", option,
                           text, sizeof spec->path - 1);
        }
        spec->kind = LISTEN_UNIX;
        memcpy(spec->path, rest, strlen(rest) + 1);
        return STATUS_OK;
    }
    if (rest != NULL && (strncmp(text, "inet:", 5) == 0 || strncmp(text, "inet6:", 6) == 0)) {
        bool six = text[4] == '6';
        const char *at = strchr(++rest, '@');
        if (at == NULL || !parse_number(rest, (size_t)(at - rest), 65535, &number) || number == 0) {
            return why_set(why, STATUS_BAD, "%s %s: write inet:PORT@127.0.0.1 or inet6:PORT@::1",
                           option, text);
        }
        if (strcmp(at + 1, six ? "::1" : "127.0.0.1") != 0) {
            return why_set(why, STATUS_BAD,
                           "%s %s: only loopback (127.0.0.1, ::1) is allowed: whoever reaches this "
                           "socket can speak for the MTA",
                           option, text);
        }
        spec->kind = six ? LISTEN_INET6 : LISTEN_INET;
        spec->port = (uint16_t)number;
        return STATUS_OK;
    }
    if (strncmp(text, "fd:", 3) == 0 && parse_number(text + 3, strlen(text + 3), 65535, &number)) {
        spec->kind = LISTEN_FD;
        spec->fd = (int)number;
        return STATUS_OK;
    }
    return why_set(why, STATUS_BAD,
                   "%s %s: write unix:PATH, inet:PORT@127.0.0.1, inet6:PORT@::1 or fd:N", option,
                   text);
}

static enum status claim_path(struct listen_spec *spec, struct why *why)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    char lock_path[sizeof spec->path + 8];
    struct stat seen;
    enum status status = STATUS_BAD;
    int lock, probe = -1;

    snprintf(lock_path, sizeof lock_path, "%s.lock", spec->path);
    lock = open(lock_path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (lock < 0) {
        return why_set(why, STATUS_BROKEN, "%s: cannot be made: %s%s", lock_path, strerror(errno),
                       errno == ENOENT ? "; make its folder first" : "");
    }
    if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
        why_set(why, status, "%s: another sekisho-milter is listening there", spec->path);
        goto out;
    }
    if (lstat(spec->path, &seen) == 0) {
        if (!S_ISSOCK(seen.st_mode)) {
            why_set(why, status, "%s: is in the way and not a socket; it was left as it is",
                    spec->path);
            goto out;
        }
        probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        memcpy(address.sun_path, spec->path, strlen(spec->path) + 1);
        if (probe < 0 || connect(probe, (const struct sockaddr *)&address, sizeof address) == 0 ||
            errno != ECONNREFUSED) {
            why_set(why, status, "%s: another program is listening there", spec->path);
            goto out;
        }
        unlink(spec->path); /* nobody is behind it: left by a killed process */
    }
    spec->lock = lock;
    lock = -1;
    status = STATUS_OK;
out:
    if (probe >= 0) {
        close(probe);
    }
    if (lock >= 0) {
        close(lock);
    }
    return status;
}

enum status listen_claim(struct listen_spec *spec, struct why *why)
{
    int type = 0;
    socklen_t size = sizeof type;

    switch (spec->kind) {
    case LISTEN_UNIX:
        return claim_path(spec, why);
    case LISTEN_FD:
        if (getsockopt(spec->fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM) {
            return why_set(why, STATUS_BAD, "fd:%d: is not an open stream socket", spec->fd);
        }
        return STATUS_OK;
    case LISTEN_INET:
    case LISTEN_INET6:
        break;
    }
    return STATUS_OK;
}

bool listen_address(const struct listen_spec *spec, struct sockaddr_storage *address,
                    socklen_t *size)
{
    struct sockaddr_un local = {.sun_family = AF_UNIX};
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(spec->port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(spec->port)};

    memset(address, 0, sizeof *address);
    switch (spec->kind) {
    case LISTEN_UNIX:
        memcpy(local.sun_path, spec->path, sizeof local.sun_path);
        memcpy(address, &local, sizeof local);
        *size = sizeof local;
        return true;
    case LISTEN_INET:
        in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        memcpy(address, &in, sizeof in);
        *size = sizeof in;
        return true;
    case LISTEN_INET6:
        in6.sin6_addr = in6addr_loopback;
        memcpy(address, &in6, sizeof in6);
        *size = sizeof in6;
        return true;
    case LISTEN_FD:
        break;
    }
    *size = sizeof *address;
    return getsockname(spec->fd, (struct sockaddr *)address, size) == 0;
}

int listen_open(const struct listen_spec *spec, int backlog, struct why *why)
{
    struct sockaddr_storage address;
    socklen_t size = 0;
    int on = 1, file = spec->fd;

    if (spec->kind != LISTEN_FD && listen_address(spec, &address, &size)) {
        file = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (file >= 0 && address.ss_family != AF_UNIX) {
            setsockopt(file, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
        }
        if (file >= 0 && bind(file, (const struct sockaddr *)&address, size) != 0) {
            int kept = errno;
            close(file);
            file = -1;
            errno = kept;
        }
    }
    if (file < 0 || listen(file, backlog) != 0) {
        if (spec->kind == LISTEN_UNIX) {
            why_set(why, STATUS_BROKEN, "cannot listen at unix:%s: %s", spec->path,
                    strerror(errno));
        } else if (spec->kind == LISTEN_FD) {
            why_set(why, STATUS_BROKEN, "cannot listen at fd:%d: %s", spec->fd, strerror(errno));
        } else {
            why_set(why, STATUS_BROKEN, "cannot listen at the loopback port %u: %s", spec->port,
                    strerror(errno));
        }
        if (file >= 0 && spec->kind != LISTEN_FD) {
            close(file);
        }
        return -1;
    }
    return file;
}

void listen_wake(const struct listen_spec *spec, int times)
{
    struct sockaddr_storage address;
    socklen_t size = 0;

    for (int i = 0; i < times && listen_address(spec, &address, &size); i++) {
        int nudge = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (nudge >= 0) {
            int code = connect(nudge, (const struct sockaddr *)&address, size);
            (void)code; /* nobody there: nobody to wake */
            close(nudge);
        }
    }
}

enum status listen_guard(const struct listen_spec *spec, struct why *why)
{
    if (spec->kind == LISTEN_UNIX && chmod(spec->path, 0660) != 0) {
        return why_set(why, STATUS_BROKEN, "unix:%s: cannot be made 0660: %s", spec->path,
                       strerror(errno));
    }
    return STATUS_OK;
}

void listen_leave(const struct listen_spec *spec)
{
    if (spec->kind == LISTEN_UNIX && spec->lock >= 0) {
        unlink(spec->path);
    }
}
