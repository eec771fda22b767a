/* The permit door: answers the MTA whether this client may relay, from memory, in one thread. */
/* SPDX-License-Identifier: BSD-2-Clause */
#define _GNU_SOURCE /* accept4: accept is libmilter's, see interpose.c */
#include "permit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "core/reply.h"
#include "core/xtext.h"
#include "live/moment.h"
#include "log.h"

enum { LEAVE_MS = 100 };

struct client {
    int socket;
    char *in; /* PERMIT_REQUEST_MOST octets while a request is under way, else NULL */
    size_t in_size;
    char out[PERMIT_ANSWER_MOST];
    size_t out_size, out_sent;
    int64_t since; /* steady: when the request began, or when the last one was answered */
};

struct permit {
    struct engine *engine;
    pthread_t thread;
    int listener, wake[2];
    atomic_bool stopping;
    size_t count;
    struct client client[PERMIT_CLIENTS_MOST];
    struct pollfd poll[PERMIT_CLIENTS_MOST + 2];
};

/* -- requests ------------------------------------------------------------------------------- */

/* The parts of a request; all borrow from it. */
struct request {
    struct text client, client_name, helo, login, sender, recipient, server, queue, instance;
};

/* Postfix hands addresses over without brackets and with their quotes taken off: put both back, so
 * that a local part is read as one (RFC 5321 4.1.2). Returns to. */
static struct text requote(struct text bare, char *to, size_t room)
{
    size_t local = bare.size, used = 0;

    while (local > 0 && bare.bytes[local - 1] != '@') {
        local--;
    }
    size_t local_size = local > 0 ? local - 1 : bare.size;
    bool plain = local_size > 0;
    for (size_t i = 0; i < local_size; i++) {
        unsigned char c = (unsigned char)bare.bytes[i];
        plain = plain && c > 0x20 && c != 0x7f && strchr("()<>[]:;@\\,\"", c) == NULL;
    }
    if (bare.size == 0 || bare.size * 2 + 8 > room) {
        return bare; /* nothing, or longer than any path may be: malformed as it is */
    }
    to[used++] = '<';
    if (!plain) {
        to[used++] = '"';
    }
    for (size_t i = 0; i < bare.size; i++) {
        if (i == local_size && !plain) {
            to[used++] = '"';
        }
        if (i < local_size && !plain && (bare.bytes[i] == '"' || bare.bytes[i] == '\\')) {
            to[used++] = '\\';
        }
        to[used++] = bare.bytes[i];
    }
    if (!plain && local_size == bare.size) {
        to[used++] = '"';
    }
    to[used++] = '>';
    to[used] = '\0';
    return (struct text){to, used};
}

static bool client_of(const struct text *text, struct ip *ip)
{
    char copy[64];

    if (text->size >= sizeof copy || memchr(text->bytes, '\0', text->size) != NULL) {
        return false;
    }
    memcpy(copy, text->bytes, text->size);
    copy[text->size] = '\0';
    return ip_parse(copy, ip);
}

/* Judges; the words are OK, or the whole refusal. */
static void judge(struct engine *engine, const struct request *request, bool not_for_mta,
                  char *words, size_t room)
{
    struct facts facts;
    struct judged judged;
    struct reply reply;
    char queue[160], session[160];

    memset(&facts, 0, sizeof facts);
    facts.post = POST_DOOR;
    facts.not_for_mta = not_for_mta;
    facts.client_known = client_of(&request->client, &facts.client);
    facts.listener_known = client_of(&request->server, &facts.listener);
    facts.client_name = request->client_name;
    facts.host = (struct text){"", 0};
    facts.helo = request->helo;
    facts.login = request->login;
    facts.sender = request->sender;
    facts.recipient = request->recipient;
    printable_copy(queue, sizeof queue, request->queue.bytes, request->queue.size, 32);
    printable_copy(session, sizeof session, request->instance.bytes, request->instance.size, 32);
    struct question question = {&facts, session, queue, REFUSED_BY_NOBODY, 0};
    engine_rcpt(engine, NULL, &question, &judged);
    if (judged.verdict.action == ACTION_PASS) {
        snprintf(words, room, "OK");
        return;
    }
    log_decision("door", session, queue, &facts, &judged, false);
    reply_make(&judged.verdict, judged.number, judged.help_url, &reply);
    snprintf(words, room, "%s %s %s", reply.code, reply.enhanced, reply.text);
}

static size_t answer_postfix(struct engine *engine, const char *request, size_t size,
                             char answer[PERMIT_ANSWER_MOST])
{
    struct request parts;
    struct text bare_sender = {"", 0}, bare_recipient = {"", 0};
    char sender[2048], recipient[2048], words[PERMIT_ANSWER_MOST - 16];
    const struct {
        const char *name;
        struct text *text;
    } wanted[] = {
        {"client_address", &parts.client}, {"client_name", &parts.client_name},
        {"helo_name", &parts.helo},        {"sasl_username", &parts.login},
        {"sender", &bare_sender},          {"recipient", &bare_recipient},
        {"server_address", &parts.server}, {"queue_id", &parts.queue},
        {"instance", &parts.instance},
    };

    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        *wanted[i].text = (struct text){"", 0};
    }
    for (const char *line = request, *end; line < request + size; line = end + 1) {
        end = memchr(line, '\n', (size_t)(request + size - line));
        end = end != NULL ? end : request + size;
        const char *equals = memchr(line, '=', (size_t)(end - line));
        if (equals == NULL) {
            continue;
        }
        size_t name_size = (size_t)(equals - line);
        for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
            if (strlen(wanted[i].name) == name_size &&
                memcmp(wanted[i].name, line, name_size) == 0) {
                *wanted[i].text = (struct text){equals + 1, (size_t)(end - equals - 1)};
            }
        }
    }
    if (bare_recipient.size == 0) {
        snprintf(words, sizeof words, "DUNNO");
    } else {
        parts.sender = requote(bare_sender, sender, sizeof sender);
        parts.recipient = requote(bare_recipient, recipient, sizeof recipient);
        /* permit_auth_destination stands before us: only what Postfix must send on is asked */
        judge(engine, &parts, true, words, sizeof words);
    }
    return (size_t)snprintf(answer, PERMIT_ANSWER_MOST, "action=%s\n\n", words);
}

/* Sendmail writes a blank between any two words of a key, also where the rule has none. */
static struct text without_blanks(const char *from, const char *end)
{
    while (from < end && *from == ' ') {
        from++;
    }
    while (end > from && end[-1] == ' ') {
        end--;
    }
    return (struct text){from, (size_t)(end - from)};
}

/* OK or the whole refusal as the map's answer. Sendmail takes it apart into words and would lose
 * blanks beside : [ and the like, so what the client is to read, code and text, is one quoted word.
 */
static void say_to_map(char *words, char *whole, size_t room)
{
    if (strcmp(words, "OK") == 0) {
        snprintf(whole, room, "OK yes");
        return;
    }
    size_t code = strcspn(words, " ");
    size_t both = code + 1 + strcspn(words + code + 1, " ");
    for (char *at = words; *at != '\0'; at++) {
        *at = *at == '"' || *at == '\\' ? '\'' : *at;
    }
    snprintf(whole, room, "OK %.*s \"%.*s%s\"", (int)both, words, (int)code, words, words + both);
}

/* `NAME KEY` with KEY = client|login|sender|recipient. */
static size_t answer_socket_map(struct engine *engine, const char *request, size_t size,
                                char answer[PERMIT_ANSWER_MOST])
{
    struct request parts;
    struct text *fields[] = {&parts.client, &parts.login, &parts.sender, &parts.recipient};
    char login[PERMIT_REQUEST_MOST], words[PERMIT_ANSWER_MOST - 64], whole[PERMIT_ANSWER_MOST - 32];
    const char *key = memchr(request, ' ', size);
    const char *end = request + size;
    size_t bars = 0;

    memset(&parts, 0, sizeof parts);
    parts.client_name = parts.helo = parts.server = parts.queue = parts.instance =
        (struct text){"", 0};
    for (const char *at = key; key != NULL && at < end; at++) {
        bars += *at == '|';
    }
    if (key == NULL) {
        snprintf(whole, sizeof whole, "PERM the key must be client|login|sender|recipient");
    } else if (bars != 3) {
        struct judged judged;
        struct reply reply;
        struct facts facts;
        memset(&facts, 0, sizeof facts);
        facts.helo = facts.login = facts.sender = (struct text){"", 0};
        facts.recipient = (struct text){key + 1, (size_t)(end - key - 1)};
        engine_trouble(engine, REASON_ADDRESS_MALFORMED, &judged);
        log_decision("door", "", "", &facts, &judged, false);
        reply_make(&judged.verdict, judged.number, judged.help_url, &reply);
        snprintf(words, sizeof words, "%s %s %s", reply.code, reply.enhanced, reply.text);
        say_to_map(words, whole, sizeof whole);
    } else {
        const char *from = key + 1;
        for (size_t i = 0; i < 4; i++) {
            const char *bar = i < 3 ? memchr(from, '|', (size_t)(end - from)) : end;
            *fields[i] = without_blanks(from, bar);
            from = bar + 1;
        }
        /* {auth_authen} is xtext in Sendmail, and nobody else asks a socket map */
        parts.login = (struct text){
            login, xtext_read(parts.login.bytes, parts.login.size, login, sizeof login)};
        /* Local_check_rcpt asks about what Sendmail does not call its own only */
        judge(engine, &parts, true, words, sizeof words);
        say_to_map(words, whole, sizeof whole);
    }
    return (size_t)snprintf(answer, PERMIT_ANSWER_MOST, "%zu:%s,", strlen(whole), whole);
}

size_t permit_answer(struct engine *engine, enum permit_protocol protocol, const char *request,
                     size_t size, char answer[PERMIT_ANSWER_MOST])
{
    return protocol == PERMIT_POSTFIX ? answer_postfix(engine, request, size, answer)
                                      : answer_socket_map(engine, request, size, answer);
}

static size_t frame_netstring(const char *buffer, size_t size, size_t *from, size_t *length)
{
    size_t digits = 0, number = 0;

    while (digits < size && buffer[digits] >= '0' && buffer[digits] <= '9') {
        number = number * 10 + (size_t)(buffer[digits++] - '0');
        if (digits > 5) {
            return (size_t)-1;
        }
    }
    if (digits == size) {
        return 0;
    }
    if (buffer[digits] != ':' || number + digits + 2 > PERMIT_REQUEST_MOST) {
        return (size_t)-1;
    }
    if (size < digits + 1 + number + 1) {
        return 0;
    }
    if (buffer[digits + 1 + number] != ',') {
        return (size_t)-1;
    }
    *from = digits + 1;
    *length = number;
    return digits + 1 + number + 1;
}

size_t permit_frame(const char *buffer, size_t size, enum permit_protocol *protocol, size_t *from,
                    size_t *length)
{
    if (size == 0) {
        return 0;
    }
    if (buffer[0] >= '0' && buffer[0] <= '9') {
        *protocol = PERMIT_SOCKET_MAP;
        return frame_netstring(buffer, size, from, length);
    }
    *protocol = PERMIT_POSTFIX;
    if (buffer[0] < 'a' || buffer[0] > 'z') {
        return (size_t)-1;
    }
    for (size_t i = 1; i < size; i++) {
        if (buffer[i] == '\n' && buffer[i - 1] == '\n') {
            *from = 0;
            *length = i;
            return i + 1;
        }
    }
    return size < PERMIT_REQUEST_MOST ? 0 : (size_t)-1;
}

/* -- connections ---------------------------------------------------------------------------- */

static void client_close(struct permit *permit, size_t n)
{
    close(permit->client[n].socket);
    free(permit->client[n].in);
    permit->client[n] = permit->client[--permit->count];
}

/* Sends what waits; false when the connection is over. */
static bool client_send(struct client *client)
{
    while (client->out_sent < client->out_size) {
        ssize_t wrote = send(client->socket, client->out + client->out_sent,
                             client->out_size - client->out_sent, MSG_NOSIGNAL);
        if (wrote < 0) {
            return errno == EAGAIN || errno == EINTR;
        }
        client->out_sent += (size_t)wrote;
    }
    client->out_size = client->out_sent = 0;
    return true;
}

/* Answers the requests that are whole, one after the other, as far as their answers can be sent. */
static bool client_serve(struct permit *permit, struct client *client)
{
    enum permit_protocol protocol = PERMIT_POSTFIX;
    size_t from = 0, length = 0, taken;

    while (client->out_size == 0 &&
           (taken = permit_frame(client->in, client->in_size, &protocol, &from, &length)) != 0) {
        if (taken == (size_t)-1) {
            log_sentence(NULL, LOG_WARNING,
                         "permit door: a request that is neither Postfix policy "
                         "delegation nor a socket map, or too long; connection ended");
            return false;
        }
        client->out_size =
            permit_answer(permit->engine, protocol, client->in + from, length, client->out);
        client->in_size -= taken;
        memmove(client->in, client->in + taken, client->in_size);
        client->since = moment_now().steady;
        if (!client_send(client)) {
            return false;
        }
    }
    if (client->in_size == 0) {
        free(client->in);
        client->in = NULL;
    }
    return true;
}

static bool client_read(struct permit *permit, struct client *client)
{
    if (client->in == NULL) {
        client->in = malloc(PERMIT_REQUEST_MOST);
        client->in_size = 0;
        client->since = moment_now().steady;
        if (client->in == NULL) {
            return false;
        }
    }
    ssize_t size = recv(client->socket, client->in + client->in_size,
                        PERMIT_REQUEST_MOST - client->in_size, 0);
    if (size < 0 && (errno == EAGAIN || errno == EINTR)) {
        return true;
    }
    if (size <= 0) {
        return false;
    }
    client->in_size += (size_t)size;
    return client_serve(permit, client);
}

/* Room for one more: the connection that has been idle longest gives way; none that is being
 * served. */
static bool make_room(struct permit *permit)
{
    size_t oldest = permit->count;

    if (permit->count < PERMIT_CLIENTS_MOST) {
        return true;
    }
    for (size_t i = 0; i < permit->count; i++) {
        const struct client *client = &permit->client[i];
        if (client->in == NULL && client->out_size == 0 &&
            (oldest == permit->count || client->since < permit->client[oldest].since)) {
            oldest = i;
        }
    }
    if (oldest == permit->count) {
        return false;
    }
    client_close(permit, oldest);
    return true;
}

static void accept_clients(struct permit *permit)
{
    int socket;

    while ((socket = accept4(permit->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (!make_room(permit)) {
            close(socket); /* all are being served; the MTA says 451 */
            continue;
        }
        struct client *client = &permit->client[permit->count++];
        memset(client, 0, sizeof *client);
        client->socket = socket;
        client->since = moment_now().steady;
    }
    if (errno == EMFILE || errno == ENFILE || errno == ENOMEM) {
        poll(NULL, 0, 50); /* nothing helps but waiting: do not spin */
    }
}

static void end_slow_clients(struct permit *permit)
{
    int64_t now = moment_now().steady;

    for (size_t i = permit->count; i-- > 0;) {
        const struct client *client = &permit->client[i];
        if ((client->in != NULL || client->out_size > 0) &&
            now - client->since > PERMIT_PATIENCE_MS) {
            client_close(permit, i);
        }
    }
}

static void *serve(void *argument)
{
    struct permit *permit = argument;

    prctl(PR_SET_NAME, "permit");
    for (int64_t leave = INT64_MAX; moment_now().steady < leave;) {
        size_t count = permit->count;
        /* at the end nobody is let in any more, but who has just come in gets an answer */
        bool ending = atomic_load(&permit->stopping);
        if (ending && leave == INT64_MAX) {
            leave = moment_now().steady + LEAVE_MS;
        }
        permit->poll[0] = (struct pollfd){ending ? -1 : permit->wake[0], POLLIN, 0};
        permit->poll[1] = (struct pollfd){ending ? -1 : permit->listener, POLLIN, 0};
        for (size_t i = 0; i < count; i++) {
            short events = permit->client[i].out_size > 0 ? POLLOUT : POLLIN;
            permit->poll[i + 2] = (struct pollfd){permit->client[i].socket, events, 0};
        }
        if (poll(permit->poll, (nfds_t)(count + 2), ending ? 10 : 1000) < 0 && errno != EINTR) {
            struct timespec pause_time = {0, 100000000};
            log_sentence(NULL, LOG_ERR, "permit door: poll failed; trying again");
            nanosleep(&pause_time, NULL);
            continue;
        }
        /* Backwards: closing one puts the last into its place. */
        for (size_t i = count; i-- > 0;) {
            struct client *client = &permit->client[i];
            short events = permit->poll[i + 2].revents;
            bool open = true;
            if ((events & POLLOUT) != 0) {
                open = client_send(client) &&
                       (client->out_size > 0 || client->in == NULL || client_serve(permit, client));
            } else if (events != 0) {
                open = client_read(permit, client);
            }
            if (!open) {
                client_close(permit, i);
            }
        }
        if (!ending && permit->poll[1].revents != 0) {
            accept_clients(permit);
        }
        end_slow_clients(permit);
    }
    return NULL;
}

enum status permit_start(struct engine *engine, int listener, struct permit **started,
                         struct why *why)
{
    struct permit *permit = calloc(1, sizeof *permit);
    int code;

    *started = NULL;
    if (permit == NULL || pipe(permit->wake) != 0) {
        free(permit);
        return why_set(why, STATUS_BROKEN, "no memory for the permit door");
    }
    permit->engine = engine;
    permit->listener = listener;
    fcntl(listener, F_SETFL, O_NONBLOCK);
    for (int i = 0; i < 2; i++) {
        fcntl(permit->wake[i], F_SETFD, FD_CLOEXEC);
    }
    code = pthread_create(&permit->thread, NULL, serve, permit);
    if (code != 0) {
        close(permit->wake[0]);
        close(permit->wake[1]);
        free(permit);
        return why_set(why, STATUS_BROKEN, "the permit door's thread cannot be made: %s",
                       strerror(code));
    }
    *started = permit;
    return STATUS_OK;
}

void permit_stop(struct permit *permit)
{
    if (permit == NULL) {
        return;
    }
    atomic_store(&permit->stopping, true);
    ssize_t wrote = write(permit->wake[1], "", 1);
    (void)wrote;
    pthread_join(permit->thread, NULL);
    while (permit->count > 0) {
        client_close(permit, permit->count - 1);
    }
    close(permit->wake[0]);
    close(permit->wake[1]);
    close(permit->listener);
    free(permit);
}
