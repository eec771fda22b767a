/* The permit door: every request has one well-formed answer, and no stranger is let through. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <ftw.h>
#include <sqlite3.h>
#include <syslog.h>
#include <unistd.h>

#include "core/address.h"
#include "fuzz.h"
#include "log.h"
#include "permit.h"
#include "store/policydb.h"

enum { FRAMES_MOST = 64 };

static char folder[256];
static struct engine *engine;

/* -- one small policy ----------------------------------------------------------------------- */

/* example.jp and all below it are ours, mx.example.org is our name; 192.0.2.0/25 without
 * 192.0.2.64/28, loopback and 2001:db8:1::/48 may relay; alice may log in, bob may no longer send,
 * there is no row *. */
static const char rows[] =
    "DELETE FROM identity;"
    "UPDATE local_domain SET subdomains = 1;"
    "INSERT INTO client_host(range) VALUES ('192.0.2.0/25'), ('2001:db8:1::/48');"
    "INSERT INTO identity(name, may_send, senders) VALUES ('alice', 1, 'own'), ('bob', 0, 'own');"
    "INSERT INTO ip_range(range, verdict, applies_to) VALUES ('198.51.100.0/24', 'reject', "
    "'everyone'), ('192.0.2.64/28', 'tempfail', 'strangers');"
    "UPDATE setting SET value = 'https://example.jp/help' WHERE name = 'help_url';";

static int remove_one(const char *path, const struct stat *seen, int kind, struct FTW *ftw)
{
    (void)seen;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static void leave(void)
{
    engine_close(engine);
    engine = NULL;
    nftw(folder, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void quiet(void *context, int priority, const char *sentence)
{
    (void)context;
    (void)priority;
    MUST(is_sentence(sentence));
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const char *const domains[] = {"example.jp", NULL};
    struct policydb_start start = {domains, "mx.example.org"};
    const char *base = getenv("TMPDIR"), hello[] = "client_address=192.0.2.9\nrecipient=a@b.test\n";
    char policy[300], state[300], answer[PERMIT_ANSWER_MOST];
    sqlite3 *db = NULL;
    struct why why;

    (void)argc;
    (void)argv;
    snprintf(folder, sizeof folder, "%s/sekisho-fuzz-XXXXXX", base != NULL ? base : "/tmp");
    MUST(mkdtemp(folder) != NULL);
    snprintf(policy, sizeof policy, "%s/policy.db", folder);
    snprintf(state, sizeof state, "%s/state", folder);
    MUST(policydb_create(policy, &start, &why) == STATUS_OK);
    MUST(sqlite3_open(policy, &db) == SQLITE_OK);
    MUST(sqlite3_exec(db, rows, NULL, NULL, NULL) == SQLITE_OK);
    sqlite3_close(db);
    log_open(false, false);
    setlogmask(LOG_MASK(LOG_EMERG)); /* lines are made and go nowhere */
    MUST(engine_open(policy, state, quiet, NULL, &engine, &why) == STATUS_OK);
    atexit(leave);
    permit_answer(engine, PERMIT_POSTFIX, hello, sizeof hello - 1, answer);
    MUST(strcmp(answer, "action=OK\n\n") == 0); /* the policy is in force */
    return 0;
}

/* -- a second reading of the request -------------------------------------------------------- */

/* What was asked, with the brackets of an address taken off; by value, ended by NUL behind size. */
struct asked {
    char *client, *server, *login, *recipient;
    size_t client_size, server_size, login_size, recipient_size;
};

static void take(char **to, size_t *to_size, const char *from, size_t size)
{
    free(*to);
    *to = exact_copy(from, size, true);
    *to_size = size;
}

static void read_postfix(const char *request, size_t size, struct asked *asked)
{
    size_t start = 0;

    for (size_t i = 0; i <= size; i++) {
        if (i < size && request[i] != '\n') {
            continue;
        }
        const char *line = request + start;
        size_t length = i - start;
        start = i + 1;
        if (length >= 15 && memcmp(line, "client_address=", 15) == 0) {
            take(&asked->client, &asked->client_size, line + 15, length - 15);
        } else if (length >= 15 && memcmp(line, "server_address=", 15) == 0) {
            take(&asked->server, &asked->server_size, line + 15, length - 15);
        } else if (length >= 14 && memcmp(line, "sasl_username=", 14) == 0) {
            take(&asked->login, &asked->login_size, line + 14, length - 14);
        } else if (length >= 10 && memcmp(line, "recipient=", 10) == 0) {
            take(&asked->recipient, &asked->recipient_size, line + 10, length - 10);
        }
    }
}

/* +XX in a login is an octet, unless any + is something else or the octet is NUL. */
static void read_xtext(struct asked *asked)
{
    char *login = asked->login, *read = exact_copy(login, asked->login_size, true), *to = read;

    for (size_t i = 0; i < asked->login_size; i++) {
        char hex[3] = "";
        if (login[i] == '+' && i + 2 < asked->login_size) {
            memcpy(hex, login + i + 1, 2);
        }
        if (login[i] == '\0' ||
            (login[i] == '+' && (strspn(hex, "0123456789ABCDEF") != 2 || strcmp(hex, "00") == 0))) {
            free(read);
            return;
        }
        *to++ = hex[0] != '\0' ? (char)strtol(hex, NULL, 16) : login[i];
        i += hex[0] != '\0' ? 2 : 0;
    }
    take(&asked->login, &asked->login_size, read, (size_t)(to - read));
    free(read);
}

/* False: not NAME client|login|sender|recipient. */
static bool read_socket_map(const char *request, size_t size, struct asked *asked)
{
    const char *space = memchr(request, ' ', size), *end = request + size, *bar[4];
    size_t bars = 0;

    if (space == NULL) {
        return false;
    }
    for (const char *at = space; at < end; at++) {
        if (*at == '|') {
            if (bars == 3) {
                return false;
            }
            bar[bars++] = at;
        }
    }
    if (bars != 3) {
        return false;
    }
    take(&asked->client, &asked->client_size, space + 1, (size_t)(bar[0] - space - 1));
    take(&asked->login, &asked->login_size, bar[0] + 1, (size_t)(bar[1] - bar[0] - 1));
    read_xtext(asked);
    const char *from = bar[2] + 1;
    size_t rest = (size_t)(end - from);
    if (rest >= 2 && from[0] == '<' && from[rest - 1] == '>') {
        from++;
        rest -= 2;
    }
    take(&asked->recipient, &asked->recipient_size, from, rest);
    return true;
}

static bool one_address(const char *text, size_t size, struct ip *ip)
{
    return strlen(text) == size && ip_parse(text, ip);
}

static bool may_relay(const struct asked *asked)
{
    struct ip ip;

    if (!one_address(asked->client, asked->client_size, &ip)) {
        return false;
    }
    return ip_is_ipv4(&ip) ? ip.byte[12] == 127 || (memcmp(ip.byte + 12, "\xc0\x00\x02", 3) == 0 &&
                                                    ip.byte[15] < 128 && ip.byte[15] >> 4 != 4)
                           : ip_is_loopback(&ip) || memcmp(ip.byte, "\x20\x01\x0d\xb8\0\1", 6) == 0;
}

/* alice, also with our domain. */
static bool is_alice(const char *login, size_t size)
{
    char fold[256], domain[ADDRESS_DOMAIN_ROOM];

    if (size >= sizeof fold || strlen(login) != size) {
        return false;
    }
    ascii_fold(login, fold, sizeof fold);
    return strcmp(fold, "alice") == 0 ||
           (strncmp(fold, "alice@", 6) == 0 && domain_fold(fold + 6, size - 6, domain) &&
            strcmp(domain, "example.jp") == 0);
}

static bool ends_with(const char *text, const char *end)
{
    size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

/* May the recipient be a mailbox of ours? By its last @ alone, and no sign of a route before it. */
static bool may_be_ours(const struct asked *asked)
{
    const char *at = NULL, *text = asked->recipient;
    char domain[ADDRESS_DOMAIN_ROOM];
    struct ip ip, server;

    for (size_t i = 0; i < asked->recipient_size; i++) {
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f) {
            return false;
        }
        if (text[i] == '@') {
            at = text + i;
        }
    }
    size_t local = at != NULL ? (size_t)(at - text) : asked->recipient_size;
    if (memchr(text, '%', local) != NULL || memchr(text, '!', local) != NULL ||
        memchr(text, '@', local) != NULL) {
        return false;
    }
    if (at == NULL) {
        return true;
    }
    if (at[1] == '[') {
        return ip_parse(at + 1, &ip) && one_address(asked->server, asked->server_size, &server) &&
               ip_compare(&ip, &server) == 0;
    }
    /* domain_fold has its own fuzzer */
    return domain_fold(at + 1, strlen(at + 1), domain) &&
           (strcmp(domain, "example.jp") == 0 || ends_with(domain, ".example.jp") ||
            strcmp(domain, "mx.example.org") == 0);
}

/* -- what must hold ------------------------------------------------------------------------- */

/* 550 5.7.1 and words. */
static bool is_refusal(const char *words)
{
    return (words[0] == '4' || words[0] == '5') && strspn(words, "0123456789") == 3 &&
           words[3] == ' ' && words[4] == words[0] && words[5] == '.' &&
           strspn(words + 4, "0123456789.") >= 5 && strchr(words + 4, ' ') != NULL &&
           strstr(words, "[sekisho ") != NULL;
}

static void check_answer(enum permit_protocol protocol, const char *request, size_t size)
{
    char answer[PERMIT_ANSWER_MOST], *copy = exact_copy(request, size, false);
    struct asked asked;
    bool passed, named = true;
    size_t said;

    memset(&asked, 0, sizeof asked);
    take(&asked.client, &asked.client_size, "", 0);
    take(&asked.server, &asked.server_size, "", 0);
    take(&asked.login, &asked.login_size, "", 0);
    take(&asked.recipient, &asked.recipient_size, "", 0);
    memset(answer, 'x', sizeof answer);
    said = permit_answer(engine, protocol, copy, size, answer);
    free(copy);
    MUST(said > 0 && said < sizeof answer && strlen(answer) == said);
    if (protocol == PERMIT_POSTFIX) {
        MUST(said > 9 && strncmp(answer, "action=", 7) == 0 && ends_with(answer, "\n\n"));
        answer[said - 2] = '\0';
        const char *words = answer + 7;
        MUST(is_sentence(words));
        read_postfix(request, size, &asked);
        passed = strcmp(words, "OK") == 0;
        MUST((strcmp(words, "DUNNO") == 0) == (asked.recipient_size == 0));
        MUST(passed || strcmp(words, "DUNNO") == 0 || is_refusal(words));
    } else {
        char *end = NULL;
        unsigned long length = strtoul(answer, &end, 10);
        MUST(answer[0] >= '1' && answer[0] <= '9' && *end == ':');
        MUST((size_t)(end - answer) + 1 + length + 1 == said && answer[said - 1] == ',');
        answer[said - 1] = '\0';
        const char *words = end + 1;
        MUST(is_sentence(words));
        named = read_socket_map(request, size, &asked);
        passed = strcmp(words, "OK yes") == 0;
        if (memchr(request, ' ', size) == NULL) {
            MUST(strncmp(words, "PERM ", 5) == 0);
        } else {
            MUST(passed || (strncmp(words, "OK ", 3) == 0 && is_refusal(words + 3)));
            /* what is not four fields is not read as four */
            MUST(named || strstr(words, "[sekisho address-malformed") != NULL);
        }
    }
    if (passed) {
        MUST(named && asked.recipient_size > 0);
        if (asked.login_size > 0) {
            MUST(is_alice(asked.login, asked.login_size));
        } else if (!may_relay(&asked)) {
            /* Postfix asks only for what it would send on */
            MUST(protocol == PERMIT_SOCKET_MAP && may_be_ours(&asked));
        }
    }
    free(asked.client);
    free(asked.server);
    free(asked.login);
    free(asked.recipient);
}

/* Frames the first n octets, with nothing behind them. */
static size_t frame(const char *buffer, size_t n, enum permit_protocol *protocol, size_t *from,
                    size_t *length)
{
    char *copy = exact_copy(buffer, n, false);
    size_t taken = permit_frame(copy, n, protocol, from, length);

    free(copy);
    return taken;
}

/* A request arrives piece by piece: until it is whole nothing is taken, then always the same. */
static void check_pieces(const char *buffer, size_t size, size_t taken,
                         enum permit_protocol protocol, size_t from, size_t length)
{
    for (size_t n = 0; n <= size; n += n < 40 || n + 2 > taken ? 1 : 1 + n / 8) {
        enum permit_protocol other = PERMIT_POSTFIX;
        size_t other_from = 0, other_length = 0;
        size_t got = frame(buffer, n, &other, &other_from, &other_length);
        MUST(got == (n < taken ? 0 : taken));
        if (got != 0) {
            MUST(other == protocol && other_from == from && other_length == length);
        }
        if (n > taken + 8) {
            break;
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *buffer = (const char *)data;
    enum permit_protocol protocol = PERMIT_POSTFIX;
    size_t from = 0, length = 0, taken;

    size = size < PERMIT_REQUEST_MOST ? size : PERMIT_REQUEST_MOST;
    for (int frames = 0; frames < FRAMES_MOST; frames++) {
        taken = frame(buffer, size, &protocol, &from, &length);
        if (taken == 0 || taken == (size_t)-1) {
            break;
        }
        MUST(taken <= size && from <= taken && length <= taken - from);
        if (protocol == PERMIT_SOCKET_MAP) {
            size_t number = 0, at = 0;
            for (; buffer[at] != ':'; at++) {
                MUST(at < 6 && buffer[at] >= '0' && buffer[at] <= '9');
                number = number * 10 + (size_t)(buffer[at] - '0');
            }
            MUST(from == at + 1 && length == number && buffer[from + length] == ',' &&
                 taken == from + length + 1);
        } else {
            MUST(from == 0 && taken == length + 1 && buffer[taken - 1] == '\n' &&
                 buffer[taken - 2] == '\n');
        }
        check_pieces(buffer, size, taken, protocol, from, length);
        check_answer(protocol, buffer + from, length);
        buffer += taken;
        size -= taken;
    }
    return 0;
}
