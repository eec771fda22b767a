/* What one SMTP session has said so far; makes no assumption about the order of callbacks. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "session.h"

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "live/moment.h"

struct session *session_new(void)
{
    static atomic_uint_fast64_t counter;
    struct session *session = calloc(1, sizeof *session);

    if (session != NULL) {
        /* seconds and a counter: enough to find one session in a day's log */
        snprintf(session->id, sizeof session->id, "%llx-%llx",
                 (unsigned long long)(moment_now().wall / 1000),
                 (unsigned long long)atomic_fetch_add(&counter, 1));
    }
    return session;
}

void session_free(struct session *session)
{
    if (session != NULL) {
        session_end_message(session);
        free(session->client_name.bytes);
        free(session->helo.bytes);
        free(session->host.bytes);
        free(session->login.bytes);
        free(session->sender.bytes);
        free(session);
    }
}

static void keep(struct session *session, struct session_text *kept, const char *text)
{
    free(kept->bytes);
    *kept = (struct session_text){NULL, 0};
    if (text == NULL || text[0] == '\0') {
        return;
    }
    size_t size = strnlen(text, SESSION_TEXT_MOST);
    kept->bytes = malloc(size + 1);
    if (kept->bytes == NULL) {
        session->broken = true;
        return;
    }
    memcpy(kept->bytes, text, size);
    kept->bytes[size] = '\0';
    kept->size = size;
}

/* Where the client comes from. Postfix's pickup says localhost, 127.0.0.1, port 0; `sendmail -bs`
 * says localhost without an address: neither is an SMTP client, and a refusal would keep the
 * message in the queue for ever. A client without an address whose name is not localhost (a proxy that
 * would not tell) is a stranger like any other. */
static void keep_client(struct session *session, const char *name, const struct sockaddr *client)
{
    bool local_name = name != NULL && strcasecmp(name, "localhost") == 0;
    in_port_t port = 0;

    session->client_known = session->submission = false;
    if (client == NULL) {
        session->submission = local_name;
    } else if (client->sa_family == AF_INET) {
        struct sockaddr_in in;
        memcpy(&in, client, sizeof in);
        unsigned char byte[4];
        memcpy(byte, &in.sin_addr, sizeof byte);
        session->client = ip_from_ipv4(byte);
        session->client_known = true;
        port = in.sin_port;
    } else if (client->sa_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, client, sizeof in6);
        session->client = ip_from_ipv6(in6.sin6_addr.s6_addr);
        session->client_known = true;
        port = in6.sin6_port;
    }
    if (session->client_known && port == 0 && local_name && ip_is_loopback(&session->client)) {
        session->submission = true;
    }
}

void session_connect(struct session *session, const char *client_name,
                     const struct sockaddr *client, const char *host, const char *listener)
{
    session_end_message(session);
    keep(session, &session->client_name, client_name);
    keep(session, &session->host, host);
    keep(session, &session->helo, NULL);
    keep(session, &session->login, NULL);
    keep_client(session, client_name, client);
    session->listener_known = listener != NULL && ip_parse(listener, &session->listener);
}

void session_helo(struct session *session, const char *helo)
{
    keep(session, &session->helo, helo);
}

void session_mail(struct session *session, struct engine *engine, const char *sender,
                  const char *login, const char *queue)
{
    session_end_message(session);
    session->broken = false;
    keep(session, &session->sender, sender);
    keep(session, &session->login, login);
    session_queue(session, queue);
    if (!engine_message(engine, &session->message)) {
        session->broken = true;
    }
    session->has_mail = true;
}

void session_queue(struct session *session, const char *queue)
{
    if (queue != NULL && queue[0] != '\0') {
        printable_copy(session->queue, sizeof session->queue, queue, strlen(queue), 32);
    }
}

void session_end_message(struct session *session)
{
    message_end(&session->message);
    session->has_mail = false;
    session->queue[0] = '\0';
    session->accepted = session->refused = 0;
}

static struct text text_of(const struct session_text *kept)
{
    return (struct text){kept->bytes != NULL ? kept->bytes : "", kept->size};
}

void session_facts(const struct session *session, const char *recipient, struct facts *facts)
{
    memset(facts, 0, sizeof *facts);
    facts->post = POST_MILTER;
    facts->client_known = session->client_known;
    facts->submission = session->submission;
    facts->client = session->client;
    facts->listener_known = session->listener_known;
    facts->listener = session->listener;
    facts->client_name = text_of(&session->client_name);
    facts->helo = text_of(&session->helo);
    facts->host = text_of(&session->host);
    facts->login = text_of(&session->login);
    facts->sender = text_of(&session->sender);
    facts->recipient = (struct text){recipient != NULL ? recipient : "", 0};
    facts->recipient.size = strnlen(facts->recipient.bytes, SESSION_TEXT_MOST);
}
