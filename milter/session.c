/* What one SMTP session has said so far; makes no assumption about the order of callbacks. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "session.h"

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "core/xtext.h"
#include "live/moment.h"

/* The number in hexadecimal, at the end of digits[16]. */
static const char *hexadecimal(uint64_t number, char digits[17])
{
    char *at = digits + 16;

    *at = '\0';
    do {
        *--at = "0123456789abcdef"[number & 15];
        number >>= 4;
    } while (number != 0);
    return at;
}

struct session *session_new(void)
{
    static atomic_uint_fast64_t counter;
    struct session *session = calloc(1, sizeof *session);
    char digits[17];

    if (session != NULL) {
        /* seconds and a counter: enough to find one session in a day's log */
        const char *text = hexadecimal((uint64_t)(moment_now().wall / 1000), digits);
        size_t size = strlen(text), room = sizeof session->id - 1;
        memcpy(session->id, text, size);
        session->id[size++] = '-';
        text = hexadecimal(atomic_fetch_add(&counter, 1), digits);
        memcpy(session->id + size, text, strnlen(text, room - size));
    }
    return session;
}

void session_free(struct session *session, struct engine *engine)
{
    if (session != NULL) {
        session_end_message(session, engine, OUTCOME_ABORTED);
        free(session->client_name.bytes);
        free(session->helo.bytes);
        free(session->host.bytes);
        free(session->login.bytes);
        free(session->sender.bytes);
        free(session);
    }
}

/* False when memory runs out. */
static bool keep(struct session_text *kept, const char *text)
{
    free(kept->bytes);
    *kept = (struct session_text){NULL, 0};
    if (text == NULL || text[0] == '\0') {
        return true;
    }
    size_t size = strnlen(text, SESSION_TEXT_MOST);
    kept->bytes = malloc(size + 1);
    if (kept->bytes == NULL) {
        return false;
    }
    memcpy(kept->bytes, text, size);
    kept->bytes[size] = '\0';
    kept->size = size;
    return true;
}

/* Sendmail says taro+2Btag of who has logged in as taro+tag. */
static bool keep_login(struct session *session, const char *login)
{
    char read[SESSION_TEXT_MOST + 1];

    if (login == NULL || !session->sendmail) {
        return keep(&session->login, login);
    }
    read[xtext_read(login, strlen(login), read, SESSION_TEXT_MOST)] = '\0';
    return keep(&session->login, read);
}

/* Where the client comes from. Postfix's pickup says localhost, 127.0.0.1, port 0; `sendmail -bs`
 * says localhost without an address: neither is an SMTP client, and a refusal would keep the
 * message in the queue for ever. A client without an address whose name is not localhost (a proxy
 * that would not tell) is a stranger like any other. */
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

/* The address the client has reached. Sendmail's {daemon_addr} may be 0.0.0.0, which is none. */
static bool keep_listener(struct session *session, const char *address)
{
    static const struct ip none = {{0}};
    static const struct ip none4 = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0, 0, 0}};

    session->listener_known = address != NULL && ip_parse(address, &session->listener) &&
                              ip_compare(&session->listener, &none) != 0 &&
                              ip_compare(&session->listener, &none4) != 0;
    return session->listener_known;
}

/* Sendmail's v is its version alone ("8.17.1.9"), Postfix's begins with its name. */
void session_mta(struct session *session, const char *version)
{
    session->sendmail = version != NULL && version[0] >= '0' && version[0] <= '9';
}

void session_connect(struct session *session, struct engine *engine, const char *client_name,
                     const struct sockaddr *client, const char *host, const char *daemon_address,
                     const char *interface_address)
{
    session_end_message(session, engine, OUTCOME_ABORTED);
    session->connected = true;
    session->client_broken =
        !keep(&session->client_name, client_name) || !keep(&session->host, host);
    session->helo_broken = session->message_broken = false;
    keep(&session->helo, NULL);
    keep(&session->login, NULL);
    keep_client(session, client_name, client);
    if (!keep_listener(session, daemon_address)) {
        keep_listener(session, interface_address);
    }
}

void session_helo(struct session *session, const char *helo)
{
    session->helo_broken = !keep(&session->helo, helo);
}

void session_mail(struct session *session, struct engine *engine, const char *sender,
                  const char *login, const char *queue)
{
    session_end_message(session, engine, OUTCOME_ABORTED);
    bool kept = keep(&session->sender, sender);
    kept = keep_login(session, login) && kept;
    struct text typed = {session->sender.bytes != NULL ? session->sender.bytes : "",
                         session->sender.size};
    session->message_broken =
        !engine_message(engine, &session->message, typed.bytes, typed.size) || !kept;
    session_queue(session, queue);
    session->has_mail = true;
}

bool session_whole(const struct session *session)
{
    return session->connected && session->has_mail && !session->client_broken &&
           !session->helo_broken && !session->message_broken && !session->recipient_broken;
}

void session_queue(struct session *session, const char *queue)
{
    if (queue != NULL && queue[0] != '\0') {
        printable_copy(session->queue, sizeof session->queue, queue, strlen(queue), 32);
    }
}

void session_end_message(struct session *session, struct engine *engine, enum outcome outcome)
{
    engine_over(engine, &session->message, outcome, session->queue);
    session->has_mail = false;
    session->queue[0] = '\0';
    session->accepted = session->refused = 0;
}

static struct text text_of(const struct session_text *kept)
{
    return (struct text){kept->bytes != NULL ? kept->bytes : "", kept->size};
}

/* Memory has run out for the verdicts of this message: has this recipient one? Then it must have
 * the same again. */
static bool is_known(const struct session *session, const struct facts *facts)
{
    struct address address;

    address_parse(facts->recipient.bytes, facts->recipient.size, &address);
    return message_knows(&session->message, message_mailbox(&address));
}

void session_facts(struct session *session, const char *recipient, struct facts *facts)
{
    memset(facts, 0, sizeof *facts);
    facts->post = POST_MILTER;
    facts->client_known = session->client_known;
    /* who logs in is not the MTA's own command line, whatever a proxy says of its port */
    facts->submission = session->submission && session->login.size == 0;
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
    session->recipient_broken = session->message.full && !is_known(session, facts);
}
