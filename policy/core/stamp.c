/* A moment of the wall clock as people read and write it: UTC, 2026-11-24 03:00:00. */
/* SPDX-License-Identifier: BSD-2-Clause */
#include "core/stamp.h"

/* 0000-01-01 00:00:00.000 and 9999-12-31 23:59:59.999 */
#define STAMP_FIRST INT64_C(-62167219200000)
#define STAMP_LAST INT64_C(253402300799999)
#define DAY_MS INT64_C(86400000)

/* Days from 1970-01-01 in the Gregorian calendar; the year begins in March so that the leap day is
 * its last. */
static int64_t days_from_civil(int64_t year, int month, int day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400, of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void put_digits(char *to, int64_t number, int count)
{
    while (count-- > 0) {
        to[count] = (char)('0' + number % 10);
        number /= 10;
    }
}

size_t stamp_write(int64_t wall, bool fraction, char text[STAMP_TEXT])
{
    wall = wall < STAMP_FIRST ? STAMP_FIRST : wall > STAMP_LAST ? STAMP_LAST : wall;
    int64_t days =
        (wall - STAMP_FIRST) / DAY_MS - 719528; /* 719528: days of the years before 1970 */
    int64_t of_day = (wall - STAMP_FIRST) % DAY_MS;
    /* back from days, counted in eras of 400 years that begin on a first of March */
    int64_t shifted = days + 719468;
    int64_t era = (shifted >= 0 ? shifted : shifted - 146096) / 146097;
    int64_t of_era = shifted - era * 146097;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * year + year / 4 - year / 100);
    int64_t month = (5 * of_year + 2) / 153;
    int64_t day = of_year - (153 * month + 2) / 5 + 1;
    month += month < 10 ? 3 : -9;
    year += era * 400 + (month <= 2);

    put_digits(text, year, 4);
    text[4] = text[7] = '-';
    put_digits(text + 5, month, 2);
    put_digits(text + 8, day, 2);
    text[10] = ' ';
    put_digits(text + 11, of_day / 3600000, 2);
    text[13] = text[16] = ':';
    put_digits(text + 14, of_day / 60000 % 60, 2);
    put_digits(text + 17, of_day / 1000 % 60, 2);
    if (!fraction) {
        text[19] = '\0';
        return 19;
    }
    text[19] = '.';
    put_digits(text + 20, of_day % 1000, 3);
    text[23] = '\0';
    return 23;
}

static bool digits(const char *text, int count, int least, int most, int *number)
{
    *number = 0;
    for (int i = 0; i < count; i++) {
        if (text[i] < '0' || text[i] > '9') {
            return false;
        }
        *number = *number * 10 + text[i] - '0';
    }
    return *number >= least && *number <= most;
}

bool stamp_read(const char *text, size_t size, int64_t *wall)
{
    static const int month_days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int year, month, day, hour, minute, second, fraction = 0;

    bool iso = size == 20 && text[10] == 'T' && text[19] == 'Z';
    bool plain = size == 19 && text[10] == ' ';
    bool fine = size == 23 && text[10] == ' ' && text[19] == '.';
    if (!(iso || plain || fine) || text[4] != '-' || text[7] != '-' || text[13] != ':' ||
        text[16] != ':' || !digits(text, 4, 0, 9999, &year) ||
        !digits(text + 5, 2, 1, 12, &month) || !digits(text + 8, 2, 1, 31, &day) ||
        !digits(text + 11, 2, 0, 23, &hour) || !digits(text + 14, 2, 0, 59, &minute) ||
        !digits(text + 17, 2, 0, 59, &second) ||
        (fine && !digits(text + 20, 3, 0, 999, &fraction))) {
        return false;
    }
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (day > month_days[month - 1] + (leap && month == 2)) {
        return false;
    }
    *wall =
        (days_from_civil(year, month, day) * 86400 + hour * 3600 + minute * 60 + second) * 1000 +
        fraction;
    return true;
}
