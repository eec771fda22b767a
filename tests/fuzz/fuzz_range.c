/* Range texts: what is taken means what it says, and is written back as it was. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include <arpa/inet.h>

#include "core/range.h"
#include "fuzz.h"

enum { RANGES_MOST = 64 };

/* -- a second reading, as plain as can be --------------------------------------------------- */

static bool plain_number(const char *text, size_t size, unsigned most, unsigned *number)
{
    *number = 0;
    if (size == 0 || size > 3 || (size > 1 && text[0] == '0')) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        *number = *number * 10 + (unsigned)(text[i] - '0');
    }
    return *number <= most;
}

static bool plain_ipv4(const char *text, size_t size, uint32_t *ip)
{
    *ip = 0;
    for (int octet = 0; octet < 4; octet++) {
        const char *dot = octet < 3 ? memchr(text, '.', size) : text + size;
        unsigned number;
        if (dot == NULL || !plain_number(text, (size_t)(dot - text), 255, &number)) {
            return false;
        }
        *ip = *ip << 8 | number;
        size -= (size_t)(dot - text) + (octet < 3 ? 1 : 0);
        text = dot + 1;
    }
    return true;
}

/* An IPv4 range text, to its ends. */
static bool plain_range(const char *text, size_t size, uint32_t *first, uint32_t *last)
{
    const char *dash = memchr(text, '-', size), *slash = memchr(text, '/', size);
    unsigned length;

    if (dash != NULL) {
        return plain_ipv4(text, (size_t)(dash - text), first) &&
               plain_ipv4(dash + 1, (size_t)(text + size - dash - 1), last) && *first <= *last;
    }
    if (slash != NULL) {
        if (!plain_ipv4(text, (size_t)(slash - text), first) ||
            !plain_number(slash + 1, (size_t)(text + size - slash - 1), 32, &length)) {
            return false;
        }
        uint64_t addresses = UINT64_C(1) << (32 - length);
        *last = (uint32_t)(*first + addresses - 1);
        return *first % addresses == 0;
    }
    *last = 0;
    bool good = plain_ipv4(text, size, first);
    *last = *first;
    return good;
}

static uint32_t tail(const struct ip *ip)
{
    return (uint32_t)ip->byte[12] << 24 | (uint32_t)ip->byte[13] << 16 |
           (uint32_t)ip->byte[14] << 8 | ip->byte[15];
}

static bool only(const char *text, size_t size, const char *of)
{
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '\0' || strchr(of, text[i]) == NULL) {
            return false;
        }
    }
    return true;
}

/* One address of an accepted IPv6 text, read by the C library. */
static struct ip library_ip(const char *text, size_t size)
{
    char copy[64];
    struct ip ip;

    MUST(size < sizeof copy);
    memcpy(copy, text, size);
    copy[size] = '\0';
    memset(&ip, 0, sizeof ip);
    ip.byte[10] = ip.byte[11] = 0xff;
    if (strchr(copy, ':') != NULL) {
        MUST(inet_pton(AF_INET6, copy, ip.byte) == 1);
    } else {
        MUST(inet_pton(AF_INET, copy, ip.byte + 12) == 1);
    }
    return ip;
}

/* -- what must hold ------------------------------------------------------------------------- */

static void check_ip(const struct ip *ip)
{
    char text[IP_TEXT], library[INET6_ADDRSTRLEN];
    static const unsigned char zero[12];
    struct ip again;

    ip_text(ip, text);
    MUST(ip_parse(text, &again) && ip_compare(ip, &again) == 0);
    if (ip_is_ipv4(ip)) {
        MUST(inet_ntop(AF_INET, ip->byte + 12, library, sizeof library) != NULL);
        MUST(strcmp(text, library) == 0);
    } else if (memcmp(ip->byte, zero, sizeof zero) != 0) { /* else the library may write dots */
        MUST(inet_ntop(AF_INET6, ip->byte, library, sizeof library) != NULL);
        MUST(strcmp(text, library) == 0);
    }
}

static void check_accepted(const char *text, size_t size, const struct range *range)
{
    static const struct ip last_mapped = {
        {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};
    const char *dash = memchr(text, '-', size), *slash = memchr(text, '/', size);
    const char *mark = dash != NULL ? dash : slash != NULL ? slash : text + size;
    struct ip first = library_ip(text, (size_t)(mark - text));
    char written[RANGE_TEXT], again_written[RANGE_TEXT];
    struct range again;
    struct why why;

    MUST(only(text, size, "0123456789abcdefABCDEF:./-"));
    for (size_t i = 0; i + 1 < size; i++) {
        bool begins = i == 0 || strchr("./-", text[i - 1]) != NULL;
        bool hex = memchr(text, ':', size) != NULL && (i == 0 || strchr("-", text[i - 1]) != NULL);
        MUST(!(begins && !hex && text[i] == '0' && text[i + 1] >= '0' && text[i + 1] <= '9'));
    }
    MUST(ip_compare(&range->first, &range->last) <= 0);
    /* IPv6 blocks around ::ffff:0:0/96 that begin at :: and end with it have its last address */
    MUST(ip_is_ipv4(&range->first) == ip_is_ipv4(&range->last) ||
         (slash != NULL && ip_compare(&range->last, &last_mapped) == 0));
    MUST(ip_compare(&range->first, &first) == 0);
    if (dash != NULL) {
        struct ip last = library_ip(dash + 1, (size_t)(text + size - dash - 1));
        MUST(ip_compare(&range->last, &last) == 0);
    } else if (slash != NULL) {
        unsigned length;
        MUST(plain_number(slash + 1, (size_t)(text + size - slash - 1), 128, &length));
        length += memchr(text, ':', size) == NULL ? 96 : 0;
        for (unsigned bit = 0; bit < 128; bit++) {
            unsigned shift = 7 - bit % 8;
            unsigned a = range->first.byte[bit / 8] >> shift & 1;
            unsigned b = range->last.byte[bit / 8] >> shift & 1;
            MUST(bit < length ? a == b : a == 0 && b == 1);
        }
    } else {
        MUST(ip_compare(&range->last, &first) == 0);
    }
    range_text(range, written);
    MUST(strlen(written) < RANGE_TEXT && is_sentence(written));
    MUST(range_parse(written, strlen(written), &again, &why) == STATUS_OK);
    MUST(ip_compare(&again.first, &range->first) == 0);
    MUST(ip_compare(&again.last, &range->last) == 0);
    range_text(&again, again_written);
    MUST(strcmp(written, again_written) == 0);
    MUST(range_holds(range, &range->first));
    check_ip(&range->first);
    check_ip(&range->last);
    static const struct ip zero;
    struct ip width = range_width(range);
    MUST((ip_compare(&width, &zero) == 0) == (ip_compare(&range->first, &range->last) == 0));
}

/* One text, with nothing behind it. Whether it was taken. */
static bool check_text(const char *bytes, size_t size, struct range *range)
{
    char *text = exact_copy(bytes, size, false);
    struct why why = {""};
    uint32_t first = 0, last = 0;
    enum status status = range_parse(text, size, range, &why);

    MUST(status == STATUS_OK || status == STATUS_BAD);
    MUST(range_parse(text, size, range, NULL) == status);
    if (only(text, size, "0123456789./-")) {
        bool good = size > 0 && plain_range(text, size, &first, &last);
        MUST(good == (status == STATUS_OK));
        if (good) {
            MUST(ip_is_ipv4(&range->first) && ip_is_ipv4(&range->last));
            MUST(tail(&range->first) == first && tail(&range->last) == last);
        }
    }
    if (status == STATUS_OK) {
        check_accepted(text, size, range);
    } else {
        MUST(is_sentence(why.text));
    }
    free(text);
    return status == STATUS_OK;
}

/* A client address as an MTA writes it. */
static void check_client(const char *bytes, size_t size)
{
    char *text = exact_copy(bytes, size, true);
    struct ip ip;

    if (ip_parse(text, &ip)) {
        check_ip(&ip);
    }
    free(text);
}

/* All together count at least as much as each, and at most as much as the sum. */
static void check_count(struct range *ranges, size_t count)
{
    uint64_t sum4 = 0, sum6 = 0, most4 = 0, most6 = 0, all4, all6;

    for (size_t i = 0; i < count; i++) {
        struct range one = ranges[i];
        uint64_t ipv4, ipv6;
        ranges_count_public(&one, 1, &ipv4, &ipv6);
        MUST(ip_is_ipv4(&one.first) ? ipv6 == 0 : ipv4 == 0);
        MUST(ipv4 <= (UINT64_C(1) << 32) && ipv6 <= (UINT64_C(1) << 48));
        if (ip_is_ipv4(&one.first)) {
            MUST(ipv4 <= (uint64_t)tail(&one.last) - tail(&one.first) + 1);
        }
        sum4 += ipv4;
        sum6 += ipv6;
        most4 = ipv4 > most4 ? ipv4 : most4;
        most6 = ipv6 > most6 ? ipv6 : most6;
    }
    ranges_count_public(ranges, count, &all4, &all6);
    MUST(all4 >= most4 && all4 <= sum4 && all6 >= most6 && all6 <= sum6);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    struct range ranges[RANGES_MOST];
    size_t count = 0, start = 0;

    check_text(text, size, &ranges[0]);
    check_client(text, size);
    for (size_t i = 0; i <= size && count < RANGES_MOST; i++) {
        if (i == size || text[i] == '\n') {
            count += check_text(text + start, i - start, &ranges[count]);
            start = i + 1;
        }
    }
    check_count(ranges, count);
    return 0;
}
