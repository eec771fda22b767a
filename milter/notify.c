/* Tells a service manager (systemd, or who speaks like it) what has become of the daemon. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

enum { SEND_SECONDS = 3 };

/* A positive number with nothing around it; 0 for anything else. */
static uint64_t number_of(const char *text)
{
    char *end = NULL;

    if (text[0] < '0' || text[0] > '9') {
        return 0;
    }
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    return errno == 0 && *end == '\0' ? number : 0;
}

/* Is the watchdog meant for this process, and how many ms does it wait? */
static enum status read_watchdog(struct notify *notify, struct why *why)
{
    const char *wait = getenv("WATCHDOG_USEC"), *pid = getenv("WATCHDOG_PID");

    if (wait == NULL || (pid != NULL && number_of(pid) != (uint64_t)getpid())) {
        return STATUS_OK;
    }
    uint64_t microseconds = number_of(wait);
    if (microseconds < 1000 || microseconds > INT64_MAX) {
        return why_set(why, STATUS_BAD,
                       "WATCHDOG_USEC %.40s: must be a number of microseconds, 1000 or more", wait);
    }
    notify->watchdog_ms = (int64_t)(microseconds / 1000);
    return STATUS_OK;
}

enum status notify_open(struct notify *notify, struct why *why)
{
    const char *name = getenv("NOTIFY_SOCKET");
    struct timeval patience = {SEND_SECONDS, 0};

    memset(notify, 0, sizeof *notify);
    notify->socket = -1;
    if (name == NULL || name[0] == '\0') {
        return STATUS_OK;
    }
    size_t size = strlen(name);
    if ((name[0] != '/' && name[0] != '@') || size < 2 || size >= sizeof notify->address.sun_path) {
        return why_set(why, STATUS_BAD,
                       "NOTIFY_SOCKET %.120s: must be a path from the root, or @ and a name, of at "
                       "most %zu octets",
                       name, sizeof notify->address.sun_path - 1);
    }
    if (read_watchdog(notify, why) != STATUS_OK) {
        return STATUS_BAD;
    }
    notify->address.sun_family = AF_UNIX;
    memcpy(notify->address.sun_path, name, size);
    /* a path ends with NUL; an abstract name begins with one, and all of it is the name */
    notify->size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size + (name[0] == '/'));
    if (name[0] == '@') {
        notify->address.sun_path[0] = '\0';
    }
    notify->socket = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (notify->socket < 0) {
        return why_set(why, STATUS_BROKEN, "no socket to notify the service manager: %s",
                       strerror(errno));
    }
    setsockopt(notify->socket, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    return STATUS_OK;
}

bool notify_send(const struct notify *notify, const char *lines)
{
    size_t size = strlen(lines);
    ssize_t sent;

    do {
        sent = sendto(notify->socket, lines, size, MSG_NOSIGNAL,
                      (const struct sockaddr *)&notify->address, notify->size);
    } while (sent < 0 && errno == EINTR);
    return sent == (ssize_t)size;
}

void notify_close(struct notify *notify)
{
    if (notify->socket >= 0) {
        close(notify->socket);
        notify->socket = -1;
    }
}
