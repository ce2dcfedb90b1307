
/* See opay_money.h. */

#include "opay_money.h"


int
opay_money_add(int64_t a, int64_t b, int64_t *out)
{
    /* two amounts cannot leave int64 */

    if (!opay_money_valid(a) || !opay_money_valid(b)
        || !opay_money_valid(a + b))
    {
        return OPAY_ERROR;
    }

    *out = a + b;

    return OPAY_OK;
}


int
opay_money_sub(int64_t a, int64_t b, int64_t *out)
{
    if (!opay_money_valid(a) || !opay_money_valid(b) || a < b) {
        return OPAY_ERROR;
    }

    *out = a - b;

    return OPAY_OK;
}


int
opay_money_mul(int64_t amount, int64_t quantity, int64_t *out)
{
    int64_t  r;

    if (!opay_money_valid(amount) || quantity < 0
        || __builtin_mul_overflow(amount, quantity, &r)
        || !opay_money_valid(r))
    {
        return OPAY_ERROR;
    }

    *out = r;

    return OPAY_OK;
}


/*
 * ISO 4217, active codes that have a minor unit, with its digits, sorted.
 * Metals, funds and test codes have none and are not here.
 */

#define OPAY_CURRENCY_ROW  4

static const char  opay_currencies[] =
    "AED2AFN2ALL2AMD2AOA2ARS2AUD2AWG2AZN2BAM2BBD2BDT2BHD3BIF0BMD2BND2BOB2"
    "BRL2BSD2BTN2BWP2BYN2BZD2CAD2CDF2CHF2CLP0CNY2COP2CRC2CUP2CVE2CZK2DJF0"
    "DKK2DOP2DZD2EGP2ERN2ETB2EUR2FJD2FKP2GBP2GEL2GHS2GIP2GMD2GNF0GTQ2GYD2"
    "HKD2HNL2HTG2HUF2IDR2ILS2INR2IQD3IRR2ISK0JMD2JOD3JPY0KES2KGS2KHR2KMF0"
    "KPW2KRW0KWD3KYD2KZT2LAK2LBP2LKR2LRD2LSL2LYD3MAD2MDL2MGA2MKD2MMK2MNT2"
    "MOP2MRU2MUR2MVR2MWK2MXN2MYR2MZN2NAD2NGN2NIO2NOK2NPR2NZD2OMR3PAB2PEN2"
    "PGK2PHP2PKR2PLN2PYG0QAR2RON2RSD2RUB2RWF0SAR2SBD2SCR2SDG2SEK2SGD2SHP2"
    "SLE2SOS2SRD2SSP2STN2SVC2SYP2SZL2THB2TJS2TMT2TND3TOP2TRY2TTD2TWD2TZS2"
    "UAH2UGX0USD2UYU2UZS2VED2VES2VND0VUV0WST2XAF0XCD2XCG2XOF0XPF0YER2ZAR2"
    "ZMW2ZWG2";


int
opay_currency_digits(opay_str_t code)
{
    int          cmp;
    size_t       lo, hi, mid;
    const char  *row;

    if (code.len != 3) {
        return -1;
    }

    lo = 0;
    hi = (sizeof(opay_currencies) - 1) / OPAY_CURRENCY_ROW;

    while (lo < hi) {

        mid = lo + (hi - lo) / 2;
        row = &opay_currencies[mid * OPAY_CURRENCY_ROW];
        cmp = memcmp(code.data, row, 3);

        if (cmp == 0) {
            return row[3] - '0';
        }

        if (cmp < 0) {
            hi = mid;

        } else {
            lo = mid + 1;
        }
    }

    return -1;
}


int
opay_currency_valid(opay_str_t code)
{
    return opay_currency_digits(code) >= 0;
}
