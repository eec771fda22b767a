/* IP addresses and ranges of them, from the text an administrator or an MTA writes. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/range.h"

#include <arpa/inet.h>
#include <libcidr.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

enum {
    ADDRESS_MOST = IP_TEXT - 1, /* the longest address text */
    ZONE_MOST = 64,
    CIDR_MARGIN = 8 /* libcidr reads up to so many bytes before the text it is given */
};

static const unsigned char mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* ---- single addresses ---- */

bool ip_is_ipv4(const struct ip *ip)
{
    return memcmp(ip->byte, mapped_prefix, sizeof mapped_prefix) == 0;
}

bool ip_is_loopback(const struct ip *ip)
{
    static const struct ip one = {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}};

    return ip_is_ipv4(ip) ? ip->byte[12] == 127 : ip_compare(ip, &one) == 0;
}

struct ip ip_from_ipv4(const unsigned char byte[4])
{
    struct ip ip;

    memcpy(ip.byte, mapped_prefix, sizeof mapped_prefix);
    memcpy(ip.byte + sizeof mapped_prefix, byte, 4);
    return ip;
}

struct ip ip_from_ipv6(const unsigned char byte[16])
{
    struct ip ip;

    memcpy(ip.byte, byte, sizeof ip.byte);
    return ip;
}

int ip_compare(const struct ip *a, const struct ip *b)
{
    return memcmp(a->byte, b->byte, sizeof a->byte);
}

/* ---- reading: the lexer decides, inet_pton only computes ---- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* A decimal number without sign or leading zero that is the whole text; -1 if it is not one. */
static int read_number(const char *text, size_t size, int most)
{
    int value = 0;

    if (size < 1 || size > 3 || (size > 1 && text[0] == '0')) {
        return -1;
    }
    for (size_t i = 0; i < size; i++) {
        if (!is_digit(text[i])) {
            return -1;
        }
        value = value * 10 + (text[i] - '0');
    }
    return value <= most ? value : -1;
}

static bool lex_ipv4(const char *text, size_t size)
{
    size_t at = 0;

    for (int octet = 0; octet < 4; octet++) {
        size_t digits = 0;

        if (octet > 0 && (at == size || text[at++] != '.')) {
            return false;
        }
        while (at + digits < size && digits < 4 && is_digit(text[at + digits])) {
            digits++;
        }
        if (read_number(text + at, digits, 255) < 0) {
            return false;
        }
        at += digits;
    }
    return at == size;
}

static bool lex_ipv6(const char *text, size_t size)
{
    size_t at = 0;
    int groups = 0;
    bool gap = false;

    while (at < size) {
        size_t digits = 0;

        if (text[at] == ':') {
            at++;
            if (at < size && text[at] == ':') {
                if (gap) {
                    return false;
                }
                gap = true;
                at++;
                if (at == size) {
                    break;
                }
            } else if (groups == 0) {
                return false;
            }
        } else if (at > 0) {
            return false;
        }
        while (at + digits < size && digits < 5 && is_hex(text[at + digits])) {
            digits++;
        }
        if (digits < 1 || digits > 4) {
            return false;
        }
        if (at + digits < size && text[at + digits] == '.') {
            if (!lex_ipv4(text + at, size - at)) {
                return false;
            }
            groups += 2;
            break;
        }
        groups++;
        at += digits;
    }
    return gap ? groups <= 7 : groups == 8;
}

/* An address that is the whole text. */
static bool read_address(const char *text, size_t size, struct ip *ip)
{
    char copy[IP_TEXT];
    unsigned char byte[16];
    bool colon;

    if (size < 2 || size > ADDRESS_MOST) {
        return false;
    }
    colon = memchr(text, ':', size) != NULL;
    if (colon ? !lex_ipv6(text, size) : !lex_ipv4(text, size)) {
        return false;
    }
    memcpy(copy, text, size);
    copy[size] = '\0';
    if (inet_pton(colon ? AF_INET6 : AF_INET, copy, byte) != 1) {
        return false;
    }
    *ip = colon ? ip_from_ipv6(byte) : ip_from_ipv4(byte);
    return true;
}

static bool is_zone(const char *text, size_t size)
{
    if (size < 1 || size > ZONE_MOST) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        bool letter = (text[i] >= 'a' && text[i] <= 'z') || (text[i] >= 'A' && text[i] <= 'Z');

        if (!letter && !is_digit(text[i]) &&
            (text[i] == '\0' || strchr("._-:@", text[i]) == NULL)) {
            return false;
        }
    }
    return true;
}

/* The tag of RFC 5321 4.1.3, in either case; not strncasecmp, which asks the locale. */
static size_t tag_length(const char *text, size_t size)
{
    static const char tag[] = "ipv6:";
    size_t length = sizeof tag - 1;

    if (size < length) {
        return 0;
    }
    for (size_t i = 0; i < length; i++) {
        char lower = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] + 'a' - 'A') : text[i];

        if (lower != tag[i]) {
            return 0;
        }
    }
    return length;
}

bool ip_parse(const char *text, struct ip *ip)
{
    size_t size = strlen(text);
    const char *zone;
    size_t tag;
    struct ip read;

    if (size >= 2 && text[0] == '[' && text[size - 1] == ']') {
        text++;
        size -= 2;
    }
    tag = tag_length(text, size);
    text += tag;
    size -= tag;
    if (tag > 0 && memchr(text, ':', size) == NULL) {
        return false;
    }
    zone = memchr(text, '%', size);
    if (zone != NULL) {
        if (!is_zone(zone + 1, size - (size_t)(zone - text) - 1)) {
            return false;
        }
        size = (size_t)(zone - text);
    }
    if (!read_address(text, size, &read)) {
        return false;
    }
    if (zone != NULL && ip_is_ipv4(&read)) {
        return false;
    }
    *ip = read;
    return true;
}

/* ---- writing ---- */

static char *put_decimal(char *to, unsigned value)
{
    if (value >= 100) {
        *to++ = (char)('0' + value / 100);
    }
    if (value >= 10) {
        *to++ = (char)('0' + value / 10 % 10);
    }
    *to++ = (char)('0' + value % 10);
    *to = '\0';
    return to;
}

static char *put_hex(char *to, unsigned value)
{
    static const char digits[] = "0123456789abcdef";

    for (int shift = 12; shift >= 0; shift -= 4) {
        if (shift == 0 || value >> shift != 0) {
            *to++ = digits[value >> shift & 15];
        }
    }
    *to = '\0';
    return to;
}

static char *put_ipv4(char *to, const unsigned char *byte)
{
    for (int i = 0; i < 4; i++) {
        if (i > 0) {
            *to++ = '.';
        }
        to = put_decimal(to, byte[i]);
    }
    return to;
}

static unsigned group_of(const struct ip *ip, int group)
{
    return (unsigned)ip->byte[group * 2] << 8 | ip->byte[group * 2 + 1];
}

/* RFC 5952; not inet_ntop, whose choice of the dotted form differs between systems. */
static char *put_ipv6(char *to, const struct ip *ip)
{
    int gap = 8;
    int gap_length = 1; /* RFC 5952 4.2.2: one group alone is not shortened */
    int run = 0;
    int group = 0;

    for (int i = 0; i < 8; i++) {
        run = group_of(ip, i) == 0 ? run + 1 : 0;
        if (run > gap_length) {
            gap_length = run;
            gap = i + 1 - run;
        }
    }
    while (group < 8) {
        if (group == gap) {
            *to++ = ':';
            *to++ = ':';
            *to = '\0';
            group += gap_length;
            continue;
        }
        if (group > 0 && group != gap + gap_length) {
            *to++ = ':';
        }
        to = put_hex(to, group_of(ip, group));
        group++;
    }
    return to;
}

static char *put_ip(char *to, const struct ip *ip)
{
    return ip_is_ipv4(ip) ? put_ipv4(to, ip->byte + 12) : put_ipv6(to, ip);
}

static void put_block(char *to, const struct ip *ip, unsigned length)
{
    to = put_ip(to, ip);
    *to++ = '/';
    put_decimal(to, length);
}

void ip_text(const struct ip *ip, char text[IP_TEXT])
{
    put_ip(text, ip);
}

/* The length of the block that the range is, counted over all 128 bits; -1 if it is no block. This
 * is bit work and not libcidr's, because writing must not fail for lack of memory. */
static int block_length(const struct range *range)
{
    int length = 0;

    while (length < 128) {
        unsigned differ = range->first.byte[length / 8] ^ range->last.byte[length / 8];

        if ((differ >> (7 - length % 8) & 1) != 0) {
            break;
        }
        length++;
    }
    for (int bit = length; bit < 128; bit++) {
        int shift = 7 - bit % 8;

        if ((range->first.byte[bit / 8] >> shift & 1) != 0 ||
            (range->last.byte[bit / 8] >> shift & 1) != 1) {
            return -1;
        }
    }
    return length;
}

void range_text(const struct range *range, char text[RANGE_TEXT])
{
    int length = block_length(range);
    int above = ip_is_ipv4(&range->first) ? 96 : 0;
    char *to;

    if (length == 128) {
        put_ip(text, &range->first);
    } else if (length >= above) {
        put_block(text, &range->first, (unsigned)(length - above));
    } else {
        to = put_ip(text, &range->first);
        *to++ = '-';
        put_ip(to, &range->last);
    }
}

/* ---- ranges ---- */

static enum status no_memory(struct why *why)
{
    return why_set(why, STATUS_BROKEN, "no memory for a block of addresses");
}

/* Refuses the text with a remark; block, if given, is what should have been written. */
static enum status refuse(const char *text, size_t size, struct why *why, const char *remark,
                          const char *block)
{
    char shown[160];

    if (why == NULL) {
        return STATUS_BAD;
    }
    if (size == 0) {
        return why_set(why, STATUS_BAD, "an empty text is no address, block or range");
    }
    printable_copy(shown, sizeof shown, text, size, 2 * ADDRESS_MOST + 1);
    return why_set(why, STATUS_BAD, "%s %s%s", shown, remark, block);
}

/* The remark for a text that is no address. */
static const char *address_remark(const char *text, size_t size)
{
    bool zero = false;

    if (size == 0) {
        return "lacks an address";
    }
    for (size_t i = 0; i < size; i++) {
        bool starts = i == 0 || text[i - 1] == '.';

        if (text[i] == ' ' || (text[i] >= '\t' && text[i] <= '\r')) {
            return "has white space in it";
        }
        if (text[i] == '%') {
            return "names a zone: a table holds none";
        }
        if (starts && text[i] == '0' && i + 1 < size && is_digit(text[i + 1])) {
            zero = true;
        }
    }
    if (zero) {
        return "has a number with a leading zero, which some read as octal";
    }
    return "is not an address, a block 192.0.2.0/24 or a range 192.0.2.1-192.0.2.9";
}

static bool from_cidr(const CIDR *cidr, bool ipv4, struct ip *ip)
{
    struct in_addr in = {0};
    struct in6_addr in6 = {0};
    unsigned char byte[4];

    if (ipv4) {
        if (cidr_to_inaddr(cidr, &in) == NULL) {
            return false;
        }
        memcpy(byte, &in.s_addr, sizeof byte);
        *ip = ip_from_ipv4(byte);
    } else {
        if (cidr_to_in6addr(cidr, &in6) == NULL) {
            return false;
        }
        *ip = ip_from_ipv6(in6.s6_addr);
    }
    return true;
}

/* First and last address of the block that holds ip. */
static enum status find_block(const struct ip *ip, int length, struct range *block, struct why *why)
{
    char room[CIDR_MARGIN + IP_TEXT + 4] = {0};
    bool ipv4 = ip_is_ipv4(ip);
    CIDR *cidr = NULL, *first = NULL, *last = NULL;
    enum status status = STATUS_BROKEN;

    put_block(room + CIDR_MARGIN, ip, (unsigned)length);
    cidr = cidr_from_str(room + CIDR_MARGIN);
    if (cidr == NULL) {
        no_memory(why);
        goto out;
    }
    if (cidr_get_pflen(cidr) != length || cidr_get_proto(cidr) != (ipv4 ? CIDR_IPV4 : CIDR_IPV6)) {
        why_set(why, STATUS_BROKEN, "libcidr misreads %s", room + CIDR_MARGIN);
        goto out;
    }
    first = cidr_addr_network(cidr);
    last = cidr_addr_broadcast(cidr);
    if (first == NULL || last == NULL || !from_cidr(first, ipv4, &block->first) ||
        !from_cidr(last, ipv4, &block->last)) {
        no_memory(why);
        goto out;
    }
    status = STATUS_OK;
out:
    cidr_free(last);
    cidr_free(first);
    cidr_free(cidr);
    return status;
}

static enum status parse_block(const char *text, size_t size, size_t slash, struct range *range,
                               struct why *why)
{
    const char *tail = text + slash + 1;
    size_t tail_size = size - slash - 1;
    struct range block;
    struct ip ip;
    char right[RANGE_TEXT];
    bool colon = memchr(text, ':', slash) != NULL;
    int length;
    enum status status;

    if (!read_address(text, slash, &ip)) {
        return refuse(text, size, why, address_remark(text, slash), "");
    }
    if (memchr(tail, '.', tail_size) != NULL) {
        return refuse(text, size, why, "has a netmask: write the length, as in 10.0.0.0/8", "");
    }
    length = read_number(tail, tail_size, colon ? 128 : 32);
    if (length < 0) {
        return refuse(text, size, why,
                      colon ? "needs a length from 0 to 128 after the slash"
                            : "needs a length from 0 to 32 after the slash",
                      "");
    }
    if (colon && ip_is_ipv4(&ip)) {
        if (length < 96) {
            return refuse(text, size, why, "is IPv4 written as IPv6: write the IPv4 block", "");
        }
        length -= 96;
    }
    status = find_block(&ip, length, &block, why);
    if (status != STATUS_OK) {
        return status;
    }
    if (ip_compare(&block.first, &ip) != 0) {
        put_block(right, &block.first, (unsigned)length);
        return refuse(text, size, why, "begins inside a block: that block is ", right);
    }
    *range = block;
    return STATUS_OK;
}

static enum status parse_ends(const char *text, size_t size, size_t dash, struct range *range,
                              struct why *why)
{
    const char *tail = text + dash + 1;
    size_t tail_size = size - dash - 1;
    struct range ends;

    if (!read_address(text, dash, &ends.first)) {
        return refuse(text, size, why, address_remark(text, dash), "");
    }
    if (!read_address(tail, tail_size, &ends.last)) {
        return refuse(text, size, why, address_remark(tail, tail_size), "");
    }
    if (ip_is_ipv4(&ends.first) != ip_is_ipv4(&ends.last)) {
        return refuse(text, size, why, "mixes IPv4 and IPv6", "");
    }
    if (ip_compare(&ends.first, &ends.last) > 0) {
        return refuse(text, size, why, "ends before it begins", "");
    }
    *range = ends;
    return STATUS_OK;
}

enum status range_parse(const char *text, size_t size, struct range *range, struct why *why)
{
    const char *dash, *slash;
    struct ip ip;

    if (size == 0) {
        return refuse(text, size, why, "", "");
    }
    dash = memchr(text, '-', size);
    slash = memchr(text, '/', size);
    if (dash != NULL && slash != NULL) {
        return refuse(text, size, why, "has both a slash and a dash: write a block or a range", "");
    }
    if (slash != NULL) {
        return parse_block(text, size, (size_t)(slash - text), range, why);
    }
    if (dash != NULL) {
        return parse_ends(text, size, (size_t)(dash - text), range, why);
    }
    if (!read_address(text, size, &ip)) {
        return refuse(text, size, why, address_remark(text, size), "");
    }
    range->first = ip;
    range->last = ip;
    return STATUS_OK;
}

/* The family is that of the first address: ::/80 ends where the mapped addresses end. */
bool range_holds(const struct range *range, const struct ip *ip)
{
    return ip_is_ipv4(&range->first) == ip_is_ipv4(ip) && ip_compare(&range->first, ip) <= 0 &&
           ip_compare(ip, &range->last) <= 0;
}

struct ip range_width(const struct range *range)
{
    struct ip width;
    int borrow = 0;

    for (int i = 15; i >= 0; i--) {
        int digit = range->last.byte[i] - range->first.byte[i] - borrow;

        borrow = digit < 0;
        width.byte[i] = (unsigned char)(digit & 0xff);
    }
    return width;
}

/* ---- counting ---- */

/* Units from first to last: IPv4 addresses, or IPv6 networks of /48. */
struct span {
    uint64_t first, last;
};

#define COUNT_OF(array) (sizeof(array) / sizeof(array)[0])

static const struct span public_ipv4[] = {
    {0x00000000, 0x09ffffff}, /* up to 10.0.0.0/8 */
    {0x0b000000, 0x643fffff}, /* 100.64.0.0/10 */
    {0x64800000, 0x7effffff}, /* 127.0.0.0/8 */
    {0x80000000, 0xa9fdffff}, /* 169.254.0.0/16 */
    {0xa9ff0000, 0xac0fffff}, /* 172.16.0.0/12 */
    {0xac200000, 0xc0a7ffff}, /* 192.168.0.0/16 */
    {0xc0a90000, 0xffffffff}  /* the end */
};

static const struct span public_ipv6[] = {
    {0x000000000000, 0xfbffffffffff}, /* up to fc00::/7 */
    {0xfe0000000000, 0xfe7fffffffff}, /* fe80::/10 */
    {0xfec000000000, 0xffffffffffff}  /* the end */
};

static uint64_t unit_of(const struct ip *ip, bool is_ipv4)
{
    uint64_t unit = 0;

    for (int i = is_ipv4 ? 12 : 0; i < (is_ipv4 ? 16 : 6); i++) {
        unit = unit << 8 | ip->byte[i];
    }
    return unit;
}

static uint64_t count_within(const struct span *spans, size_t count, uint64_t first, uint64_t last)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < count; i++) {
        uint64_t from = first > spans[i].first ? first : spans[i].first;
        uint64_t to = last < spans[i].last ? last : spans[i].last;

        if (from <= to) {
            sum += to - from + 1;
        }
    }
    return sum;
}

static int compare_first(const void *a, const void *b)
{
    const struct range *left = a, *right = b;

    return ip_compare(&left->first, &right->first);
}

void ranges_count_public(struct range *ranges, size_t count, uint64_t *ipv4, uint64_t *ipv6_48)
{
    uint64_t next4 = 0, next6 = 0; /* the first unit not looked at */

    *ipv4 = 0;
    *ipv6_48 = 0;
    if (count > 0) {
        qsort(ranges, count, sizeof ranges[0], compare_first);
    }
    /* No sum can overflow: there are 2^32 units of one kind and 2^48 of the other. */
    for (size_t i = 0; i < count; i++) {
        const struct range *range = &ranges[i];
        bool is_ipv4 = ip_is_ipv4(&range->first);
        uint64_t *next = is_ipv4 ? &next4 : &next6;
        uint64_t first = unit_of(&range->first, is_ipv4);
        uint64_t last = unit_of(&range->last, is_ipv4);

        /* ::1 shares its /48 with addresses that do count. */
        if (ip_is_loopback(&range->first) && ip_compare(&range->first, &range->last) == 0) {
            continue;
        }
        if (first < *next) {
            first = *next;
        }
        if (last < first) {
            continue;
        }
        *next = last + 1;
        if (is_ipv4) {
            *ipv4 += count_within(public_ipv4, COUNT_OF(public_ipv4), first, last);
        } else {
            *ipv6_48 += count_within(public_ipv6, COUNT_OF(public_ipv6), first, last);
        }
    }
}

uint32_t ip_ipv4_number(const struct ip *ip)
{
    return (uint32_t)ip->byte[12] << 24 | (uint32_t)ip->byte[13] << 16 |
           (uint32_t)ip->byte[14] << 8 | ip->byte[15];
}
