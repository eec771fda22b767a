/* Asks our own two doors, over their sockets as an MTA does, whether they answer. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "probe.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "live/moment.h"

enum {
    PACKET_MOST = 4096, /* more than the milter's answers to us can be */
    FULL_AGAIN = 20,    /* ms until a backlog that was full is tried again */
    MILTER_VERSION = 6,
    ALL_ACTIONS = 0x1ff,
    ALL_STEPS = 0x1fffff,
};

/* One connection of ours, and until when it may take. */
struct talk {
    const struct probe *probe;
    const char *door;
    int socket;
    int64_t until;
    struct why *why;
};

static enum status fail(const struct talk *talk, const char *what)
{
    return why_set(talk->why, STATUS_BROKEN, "%s %s", talk->door, what);
}

/* Waits for the socket; events 0: only so many ms. */
static enum status wait_for(const struct talk *talk, short events, int64_t most)
{
    struct pollfd fds[2] = {{talk->probe->wake, POLLIN, 0}, {talk->socket, events, 0}};

    for (;;) {
        int64_t left = talk->until - moment_now().steady;
        if (left <= 0) {
            return fail(talk, "does not answer in time");
        }
        int code = poll(fds, events != 0 ? 2 : 1, (int)(left < most ? left : most));
        if (fds[0].revents != 0) {
            return fail(talk, "was not asked to the end");
        }
        if (code > 0 || (code == 0 && events == 0)) {
            return STATUS_OK;
        }
    }
}

static enum status reach(struct talk *talk, const struct listen_spec *spec)
{
    struct sockaddr_storage address;
    socklen_t size = 0;
    enum status status = STATUS_OK;
    int code, trouble = 0;

    if (!listen_address(spec, &address, &size)) {
        return fail(talk, "has no address");
    }
    talk->socket = socket(address.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (talk->socket < 0) {
        return why_set(talk->why, STATUS_BROKEN, "%s cannot be asked: %s", talk->door,
                       strerror(errno));
    }
    /* a unix socket whose backlog is full says EAGAIN and cannot be waited for */
    while ((code = connect(talk->socket, (const struct sockaddr *)&address, size)) != 0 &&
           (errno == EAGAIN || errno == EINTR) && status == STATUS_OK) {
        status = wait_for(talk, 0, FULL_AGAIN);
    }
    if (status == STATUS_OK && code != 0 && errno == EINPROGRESS) {
        size = sizeof trouble;
        status = wait_for(talk, POLLOUT, talk->until);
        code = getsockopt(talk->socket, SOL_SOCKET, SO_ERROR, &trouble, &size);
        errno = trouble;
        code = trouble != 0 ? -1 : code;
    }
    if (status == STATUS_OK && code != 0) {
        status = why_set(talk->why, STATUS_BROKEN, "%s cannot be reached: %s", talk->door,
                         strerror(errno));
    }
    return status;
}

static enum status say(const struct talk *talk, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t sent = send(talk->socket, bytes, size, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            if (wait_for(talk, POLLOUT, talk->until) != STATUS_OK) {
                return STATUS_BROKEN;
            }
        } else if (sent < 0 && errno != EINTR) {
            return fail(talk, "has hung up");
        } else if (sent > 0) {
            bytes += sent;
            size -= (size_t)sent;
        }
    }
    return STATUS_OK;
}

static enum status hear(const struct talk *talk, char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t came = recv(talk->socket, bytes, size, 0);
        if (came == 0 || (came < 0 && errno != EAGAIN && errno != EINTR)) {
            return fail(talk, "has hung up");
        }
        if (came > 0) {
            bytes += came;
            size -= (size_t)came;
        } else if (wait_for(talk, POLLIN, talk->until) != STATUS_OK) {
            return STATUS_BROKEN;
        }
    }
    return STATUS_OK;
}

/* -- the milter ----------------------------------------------------------------------------- */

/* A packet: its size without these four octets, the command, the data. Adds one to the buffer. */
static size_t packet(char *to, char command, const void *data, size_t size)
{
    uint32_t length = htonl((uint32_t)(size + 1));

    memcpy(to, &length, sizeof length);
    to[sizeof length] = command;
    memcpy(to + sizeof length + 1, data, size);
    return sizeof length + 1 + size;
}

/* Reads one packet and wants it to begin with this code. */
static enum status hear_packet(const struct talk *talk, char code)
{
    char data[PACKET_MOST];
    uint32_t length = 0;
    enum status status = hear(talk, (char *)&length, sizeof length);

    length = ntohl(length);
    if (status == STATUS_OK && (length == 0 || length > sizeof data)) {
        return fail(talk, "answers with nonsense");
    }
    if (status == STATUS_OK) {
        status = hear(talk, data, length);
    }
    if (status == STATUS_OK && data[0] != code) {
        status = fail(talk, "gives another answer than expected");
    }
    return status;
}

enum status probe_milter(const struct probe *probe, int64_t until, struct why *why)
{
    static const char recipient[] = "<probe@probe.invalid>";
    struct talk talk = {probe, "the milter", -1, until, why};
    uint32_t offer[3] = {htonl(MILTER_VERSION), htonl(ALL_ACTIONS), htonl(ALL_STEPS)};
    char bytes[512], client[sizeof probe->name + 2];
    size_t size = packet(bytes, 'O', offer, sizeof offer);
    enum status status = reach(&talk, &probe->milter);

    if (status == STATUS_OK) {
        status = say(&talk, bytes, size);
    }
    if (status == STATUS_OK) {
        status = hear_packet(&talk, 'O');
    }
    /* a name, its NUL, and U: no address. None of connect and MAIL is answered (callbacks.c). */
    size_t name_size = strlen(probe->name) + 1;
    memcpy(client, probe->name, name_size);
    client[name_size] = 'U';
    size = packet(bytes, 'C', client, name_size + 1);
    size += packet(bytes + size, 'M', "<>", sizeof "<>");
    size += packet(bytes + size, 'R', recipient, sizeof recipient);
    if (status == STATUS_OK) {
        status = say(&talk, bytes, size);
    }
    if (status == STATUS_OK) {
        status = hear_packet(&talk, 't');
    }
    if (status == STATUS_OK) {
        status = say(&talk, bytes, packet(bytes, 'Q', "", 0));
    }
    if (talk.socket >= 0) {
        close(talk.socket);
    }
    return status;
}

/* -- the permit door ------------------------------------------------------------------------ */

enum status probe_permit(const struct probe *probe, int64_t until, struct why *why)
{
    static const char question[] = "request=smtpd_access_policy\n\n",
                      expected[] = "action=DUNNO\n\n";
    struct talk talk = {probe, "the permit door", -1, until, why};
    char answer[sizeof expected - 1];
    enum status status = reach(&talk, &probe->permit);

    if (status == STATUS_OK) {
        status = say(&talk, question, sizeof question - 1);
    }
    if (status == STATUS_OK) {
        status = hear(&talk, answer, sizeof answer);
    }
    if (status == STATUS_OK && memcmp(answer, expected, sizeof answer) != 0) {
        status = fail(&talk, "gives another answer than expected");
    }
    if (talk.socket >= 0) {
        close(talk.socket);
    }
    return status;
}
